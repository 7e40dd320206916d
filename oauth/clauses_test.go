package oauth_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// endpoints are the paths of the calls that take a form.
var endpoints = []string{"/auth/token", "/auth/revoke", "/auth/introspect"}

const formType = "application/x-www-form-urlencoded"

// validForm returns a form that each endpoint accepts.
func (f *fixture) validForm() url.Values {
	return client(f.agent.Pair, "grant_type", "client_credentials", "token", "x")
}

// RFC 6749, section 3.2, RFC 7009, section 2.1, and RFC 7662, section 2.1.
func TestEachCallTakesOnlyPostedForms(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	valid := f.validForm().Encode()
	for _, path := range endpoints {
		require.Equal(t, 200, f.send(path, valid, "Content-Type", formType).status, path)
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"} {
			r, err := http.NewRequestWithContext(t.Context(), method, f.url+path+"?"+valid,
				strings.NewReader(valid))
			require.NoError(t, err)
			r.Header.Set("Content-Type", formType)
			a := f.do(r)
			require.Equal(t, 405, a.status, "%s %s", method, path)
			require.Equal(t, "POST", a.header.Get("Allow"), method)
		}
		for _, kind := range []string{"", "application/json", "text/plain", "multipart/form-data; boundary=x",
			"application/x-www-form-urlencoded2", formType + ", text/plain", formType + "; charset=latin1"} {
			header := []string{"Content-Type", kind}
			if kind == "" {
				header = nil
			}
			a := f.send(path, valid, header...)
			require.Equal(t, "invalid_request", a.code(), "%s %q: %s", path, kind, a.text)
			require.Equal(t, 400, a.status)
		}
	}
}

// The attack: a request has two meanings, so that a proxy or a log sees another one than the server.
func TestNoCallTakesARequestWithTwoMeanings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	valid := f.validForm().Encode()
	id, secret := f.agent.Pair.AccessKey, f.agent.Pair.AccessSecret.Reveal()
	header := basic(id, secret)
	other := f.ada.Pair
	for _, path := range endpoints {
		for name, test := range map[string]struct {
			a      answer
			status int
		}{
			"header and form": {f.send(path, valid, "Content-Type", formType, "Authorization", header), 400},
			"header and the secret alone": {f.post(path, url.Values{"grant_type": {"client_credentials"},
				"token": {"x"}, "client_secret": {secret}}, "Authorization", header), 400},
			"header and another client": {f.post(path, url.Values{"grant_type": {"client_credentials"},
				"token": {"x"}, "client_id": {other.AccessKey}}, "Authorization", header), 400},
			"the secret in the URL": {f.send(path+"?client_secret="+secret, valid, "Content-Type", formType), 400},
			"the token in the URL":  {f.send(path+"?token=x", valid, "Content-Type", formType), 400},
			"a client twice":        {f.send(path, valid+"&client_id="+id, "Content-Type", formType), 400},
			"a secret twice":        {f.send(path, valid+"&client_secret="+secret, "Content-Type", formType), 400},
			"a token twice":         {f.send(path, valid+"&token=y", "Content-Type", formType), 400},
			"a hint twice": {f.send(path, valid+"&token_type_hint=a&token_type_hint=b",
				"Content-Type", formType), 400},
			"oversized": {f.send(path, valid+"&x="+strings.Repeat("x", 16<<10), "Content-Type", formType), 413},
		} {
			require.Equal(t, "invalid_request", test.a.code(), "%s: %s: %s", path, name, test.a.text)
			require.Equal(t, test.status, test.a.status, name)
			require.NotContains(t, test.a.text, secret)
		}
	}
}

// RFC 6749, section 2.3.1: the name and the secret are each encoded like a form before a colon joins them. So
// a name can contain a colon.
func TestTheHeaderOfAClientIsDecodedLikeAForm(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *auth.Config) { cfg.Credentials.AllowImported = true })
	const name, secret = "team/ada:laptop+1@example.com", "p:a+s s%w=d&r?#é"
	require.NoError(t, f.svc.Credentials().Import(t.Context(), byHost,
		auth.ImportedKey{UserID: f.ada.User.ID, AccessKey: name, Secret: auth.NewSecret(secret)}))
	lower := func(text string) string {
		return strings.NewReplacer("%3A", "%3a", "%2F", "%2f", "%2B", "%2b").Replace(url.QueryEscape(text))
	}
	every := func(text string) string {
		var all strings.Builder
		for _, b := range []byte(text) {
			fmt.Fprintf(&all, "%%%02X", b)
		}
		return all.String()
	}
	for what, test := range map[string]struct {
		pair string
		code string
	}{
		"encoded":                   {url.QueryEscape(name) + ":" + url.QueryEscape(secret), ""},
		"in lower case":             {lower(name) + ":" + lower(secret), ""},
		"every byte":                {every(name) + ":" + every(secret), ""},
		"a plus sign as it is":      {url.QueryEscape(name) + ":" + url.PathEscape(secret), "invalid_client"},
		"a colon in the secret":     {url.QueryEscape(name) + ":" + strings.Replace(url.QueryEscape(secret), "%3A", ":", 1), ""},
		"a colon in the name":       {strings.Replace(url.QueryEscape(name), "%3A", ":", 1) + ":" + url.QueryEscape(secret), "invalid_client"},
		"not encoded":               {name + ":" + secret, "invalid_client"},
		"encoded twice":             {url.QueryEscape(url.QueryEscape(name)) + ":" + url.QueryEscape(url.QueryEscape(secret)), "invalid_client"},
		"half an escape":            {url.QueryEscape(name) + ":%e", "invalid_client"},
		"the colon encoded as well": {url.QueryEscape(name + ":" + secret), "invalid_client"},
	} {
		a := f.post("/auth/token", grant(), "Authorization", "Basic "+encoded(test.pair))
		require.Equal(t, test.code, a.code(), "%s: %s", what, a.text)
		require.Equal(t, test.code == "", a.status == 200, what)
	}
}

// RFC 7009, section 2.1, and RFC 7662, section 2.1: a hint only helps to find a token.
func TestAHintAboutTheTypeOfATokenChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, hint := range []string{"access_token", "refresh_token", "id_token", "unknown", ""} {
		token := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})
		a := f.post("/auth/introspect", client(f.agent.Pair, "token", token, "token_type_hint", hint))
		require.Equal(t, true, a.body["active"], hint)
		a = f.post("/auth/revoke", client(f.ada.Pair, "token", token, "token_type_hint", hint))
		require.Equal(t, 200, a.status, hint)
		a = f.post("/auth/introspect", client(f.agent.Pair, "token", token, "token_type_hint", hint))
		require.Equal(t, `{"active":false}`+"\n", a.text, hint)
	}
}

// The attack: two services with different audiences ask about each other's tokens (RFC 7662, section 4).
func TestAServiceLearnsOnlyAboutItsOwnTokens(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	service := func(name string, audiences ...string) auth.Registration {
		return f.register(auth.UserParams{Username: name, IsService: true, Audiences: audiences})
	}
	elsewhere, both, none := service("elsewhere", other), service("both", reports, other), service("none")
	user := f.token(f.ada.Pair, auth.LoginOptions{})
	delegated := f.post("/auth/token", exchangeForm(f.agent.Pair, user)).body["access_token"].(string)
	tokens := map[string]string{
		reports: f.token(f.ada.Pair, auth.LoginOptions{Audience: reports}), "delegated to " + reports: delegated,
		other: f.token(f.ada.Pair, auth.LoginOptions{Audience: other}), "the issuer": user,
	}
	for name, test := range map[string]struct {
		asker  auth.KeyPair
		active []string
	}{
		"reports":   {f.agent.Pair, []string{reports, "delegated to " + reports}},
		"elsewhere": {elsewhere.Pair, []string{other}},
		"both":      {both.Pair, []string{reports, other, "delegated to " + reports}},
		"none":      {none.Pair, nil},
	} {
		var active []string
		for audience, token := range tokens {
			a := f.post("/auth/introspect", client(test.asker, "token", token))
			require.Equal(t, 200, a.status, name)
			if a.body["active"] == true {
				active = append(active, audience)
				continue
			}
			require.Equal(t, `{"active":false}`+"\n", a.text, name)
		}
		require.ElementsMatch(t, test.active, active, name)
	}
	require.NoError(t, f.svc.DeleteUser(t.Context(), byHost, elsewhere.User.ID))
	a := f.post("/auth/introspect", client(elsewhere.Pair, "token", tokens[other]))
	require.Equal(t, "invalid_client", a.code(), "a service that is gone learns nothing")
}

// RFC 7662, section 4: an expired token is not active.
func TestATokenIsActiveUntilItExpires(t *testing.T) {
	t.Parallel()
	clock := authtest.NewClock()
	f := newFixture(t, func(cfg *auth.Config) { cfg.Now = clock.Now })
	token := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})
	ask := func() answer { return f.post("/auth/introspect", client(f.agent.Pair, "token", token)) }
	clock.Advance(12*time.Hour - time.Second)
	require.Equal(t, true, ask().body["active"])
	clock.Advance(time.Second)
	require.Equal(t, `{"active":false}`+"\n", ask().text)
	a := f.post("/auth/revoke", client(f.ada.Pair, "token", token))
	require.Equal(t, 200, a.status, "an expired token is no error (RFC 7009, section 2.2)")
}

// RFC 8707, section 2: a resource is an absolute URI without a fragment. Here, it is one of a list.
func TestAResourceThatIsNotInTheListIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user := f.token(f.ada.Pair, auth.LoginOptions{})
	for _, resource := range []string{"/reports", "reports.example.com", reports + "#a", reports + "#",
		reports + "?a=b", reports + "/a", "urn:reports", "*", strings.ToUpper(reports), reports + "\n"} {
		a := f.post("/auth/token",
			client(f.ada.Pair, "grant_type", "client_credentials", "resource", resource))
		require.Equal(t, "invalid_target", a.code(), resource)
		a = f.post("/auth/token", exchangeForm(f.agent.Pair, user, "resource", resource))
		require.Equal(t, "invalid_target", a.code(), resource)
	}
}
