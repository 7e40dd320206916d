package oauth_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// hold begins a request, and holds back the last byte of its form until the returned function is called.
func (f *fixture) hold(path string, form url.Values, header ...string) (finish func() answer) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+path, nil)
	require.NoError(f.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return f.holdBody(r, form.Encode())
}

// holdBody sends the request with the text as its body, and holds back the last byte until the returned
// function is called. It returns after the service has begun to read the body.
func (f *fixture) holdBody(r *http.Request, text string) (finish func() answer) {
	f.t.Helper()
	body, rest := io.Pipe()
	r.Body, r.ContentLength = body, -1
	r.Header.Set("Expect", "100-continue") // the client then sends no body before the service reads it
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
	_, err := io.WriteString(rest, text[:len(text)-1])
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
		_, err := f.svc.Tokens().RevokeUser(f.t.Context(), byHost, user.ID)
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

// The attack: a page sends a decision about a device, and holds back the end of the body while the person or
// an administrator takes the power of the session.
func TestAHeldDecisionAboutADeviceHasOnlyThePowerOfItsEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		take           func(d *devices, b *browser) error
		status, denial int
	}{
		"signed out": {func(d *devices, b *browser) error {
			require.Equal(t, 200, d.answerOf(b.request("/auth/logout", "{}")).status)
			return nil
		}, 401, 401},
		"all sessions of the user revoked": {func(d *devices, _ *browser) error {
			_, err := d.svc.Tokens().RevokeUser(t.Context(), byHost, d.ada.User.ID)
			return err
		}, 401, 401},
		"the user disabled": {func(d *devices, _ *browser) error {
			change := auth.UserChange{IsActive: new(bool)}
			_, err := d.svc.UpdateUser(t.Context(), byHost, d.ada.User.ID, change)
			return err
		}, 401, 401},
		"the key revoked": {func(d *devices, _ *browser) error {
			return d.svc.Credentials().Revoke(t.Context(), byHost, d.ada.Pair.AccessKey)
		}, 401, 401},
		"too old": {func(d *devices, _ *browser) error {
			d.clock.Advance(10*time.Minute - time.Second)
			return nil
		}, 403, 204},
	} {
		for call, status := range map[string]int{
			"lookup": test.status, "approve": test.status, "deny": test.denial,
		} {
			t.Run(name+", "+call, func(t *testing.T) {
				t.Parallel()
				d := newDevices(t)
				b := d.signIn(d.ada.Pair)
				d.clock.Advance(time.Second) // the code outlives the session's power to approve
				code, userCode := d.codes()
				if call != "lookup" {
					require.Equal(t, 200, b.call("lookup", userCode).status)
				}
				finish := d.holdBody(b.request("/auth/device/"+call, ""), `{"user_code": "`+userCode+`"}`)
				require.NoError(t, test.take(d, b))
				a := finish()
				require.Equal(t, status, a.status, a.text)
				if call != "deny" {
					require.NotEqual(t, 200, d.poll(code).status)
				}
			})
		}
	}
}
