package oauth_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// hold begins a request, and holds back the last byte of its form until the returned function is called.
func (f *fixture) hold(path string, form url.Values, header ...string) (finish func() answer) {
	f.t.Helper()
	body, rest := io.Pipe()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+path, body)
	require.NoError(f.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	type result struct {
		answer answer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			done <- result{err: err}
			return
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		a := answer{status: response.StatusCode, text: string(text)}
		_ = json.Unmarshal(text, &a.body)
		done <- result{a, err}
	}()
	text := form.Encode()
	_, err = io.WriteString(rest, text[:len(text)-1])
	require.NoError(f.t, err)
	return func() answer {
		_, err := io.WriteString(rest, text[len(text)-1:])
		require.NoError(f.t, err)
		require.NoError(f.t, rest.Close())
		result := <-done
		require.NoError(f.t, result.err)
		return result.answer
	}
}

// The attack: a client holds back the end of a form while an administrator takes its power.
func TestAHeldFormHasOnlyThePowerOfItsEnd(t *testing.T) {
	t.Parallel()
	disable := func(f *fixture, user auth.User) {
		_, err := f.svc.UpdateUser(f.t.Context(), byHost, user.ID, auth.UserChange{IsActive: new(bool)})
		require.NoError(f.t, err)
	}
	revokeUser := func(f *fixture, user auth.User) {
		_, err := f.svc.RevokeUser(f.t.Context(), byHost, user.ID)
		require.NoError(f.t, err)
	}
	agent := func(f *fixture) auth.User { return f.agent.User }
	ada := func(f *fixture) auth.User { return f.ada.User }
	revokeKey := func(f *fixture, user auth.User) {
		pair := f.agent.Pair
		require.NoError(f.t, f.svc.Credentials().Revoke(f.t.Context(), byHost, pair.AccessKey))
	}
	for name, test := range map[string]struct {
		path   string
		form   func(f *fixture) url.Values
		bearer bool // the agent authenticates with a token
		take   func(f *fixture, user auth.User)
		from   func(f *fixture) auth.User
		code   string
	}{
		"sign-in, disabled": {"/auth/token", func(f *fixture) url.Values {
			return client(f.agent.Pair, "grant_type", "client_credentials")
		}, false, disable, agent, "invalid_client"},
		"exchange, the client disabled": {"/auth/token", func(f *fixture) url.Values {
			return exchangeForm(f.agent.Pair, f.token(f.ada.Pair, auth.LoginOptions{}))
		}, false, disable, agent, "invalid_client"},
		"exchange, the key revoked": {"/auth/token", func(f *fixture) url.Values {
			return exchangeForm(f.agent.Pair, f.token(f.ada.Pair, auth.LoginOptions{}))
		}, false, revokeKey, agent, "invalid_client"},
		"exchange, the subject's sessions revoked": {"/auth/token", func(f *fixture) url.Values {
			return exchangeForm(f.agent.Pair, f.token(f.ada.Pair, auth.LoginOptions{}))
		}, false, revokeUser, ada, "invalid_request"},
		"introspection, disabled": {"/auth/introspect", func(f *fixture) url.Values {
			return client(f.agent.Pair, "token", f.token(f.ada.Pair, auth.LoginOptions{Audience: reports}))
		}, false, disable, agent, "invalid_client"},
		"introspection, the caller's sessions revoked": {"/auth/introspect", func(f *fixture) url.Values {
			return url.Values{"token": {f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})}}
		}, true, revokeUser, agent, "invalid_token"},
		"revocation, the key revoked": {"/auth/revoke", func(f *fixture) url.Values {
			return client(f.agent.Pair, "token", "x")
		}, false, revokeKey, agent, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			var header []string
			if test.bearer {
				header = []string{"Authorization", "Bearer " + f.token(f.agent.Pair, auth.LoginOptions{})}
			}
			finish := f.hold(test.path, test.form(f), header...)
			test.take(f, test.from(f))
			a := finish()
			require.Equal(t, test.code, a.code(), a.text)
		})
	}
}
