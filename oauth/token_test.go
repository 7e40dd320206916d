package oauth_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/sallyport-go/auth"
)

func basic(name, password string) string {
	return "Basic " + encoded(url.QueryEscape(name)+":"+url.QueryEscape(password))
}

func encoded(pair string) string { return base64.StdEncoding.EncodeToString([]byte(pair)) }

func grant(pairs ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

func TestAClientSignsInWithItsAccessKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pair := f.ada.Pair
	id, secret := pair.AccessKey, pair.AccessSecret.Reveal()
	header := basic(id, secret)
	post := func(form url.Values, header ...string) answer { return f.post("/auth/token", form, header...) }
	form := client(pair, "grant_type", "client_credentials")
	for name, a := range map[string]answer{
		"header":            post(grant(), "Authorization", header),
		"header and id":     post(grant("client_id", id), "Authorization", header),
		"form":              post(form),
		"unknown parameter": post(client(pair, "grant_type", "client_credentials", "x", "1")),
		"empty parameters":  post(client(pair, "grant_type", "client_credentials", "scope", "", "resource", "")),
		"content type with a charset": f.send("/auth/token", form.Encode(),
			"Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"),
	} {
		require.Equal(t, 200, a.status, "%s: %s", name, a.text)
		require.Equal(t, "Bearer", a.body["token_type"])
		require.EqualValues(t, 43200, a.body["expires_in"])
		require.NotContains(t, a.body, "scope", "the token has no limit")
		require.Len(t, a.body, 3)
		identity, err := f.svc.Tokens().Verify(t.Context(), a.body["access_token"].(string))
		require.NoError(t, err)
		require.Equal(t, f.ada.User.ID, identity.UserID)
		require.False(t, identity.Limited)
	}
}

func TestScopesAndResourceNarrowTheToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	limited := f.key(f.ada.User, auth.NewScopes("reports:read", "auth:keys"))
	for _, test := range []struct {
		pair                            auth.KeyPair
		scope, resource, scopes, target string
		code                            string
	}{
		{f.ada.Pair, "reports:read", "", "reports:read", f.url, ""},
		{f.ada.Pair, "reports:write  reports:read", "", "reports:read reports:write", f.url, ""},
		{limited, "", "", "auth:keys reports:read", f.url, ""},
		{limited, "reports:read", reports, "reports:read", reports, ""},
		{limited, "", f.url, "auth:keys reports:read", f.url, ""},
		{limited, "reports:write", "", "", "", "invalid_scope"},
		{limited, "auth:keys reports:write", "", "", "", "invalid_scope"},
		{f.ada.Pair, "unknown", "", "", "", "invalid_scope"},
		{f.ada.Pair, "\"", "", "", "", "invalid_scope"},
		{f.ada.Pair, "", "https://unknown.example.com", "", "", "invalid_target"},
		{f.ada.Pair, "", reports + "/", "", "", "invalid_target"},
		{f.ada.Pair, "", strings.ToUpper(reports), "", "", "invalid_target"},
		{f.ada.Pair, "", reports[:len(reports)-1], "", "", "invalid_target"},
		{f.ada.Pair, "", reports + ".example.org", "", "", "invalid_target"},
		{f.ada.Pair, "", reports + " " + other, "", "", "invalid_target"},
		{f.ada.Pair, "", " " + f.url, "", "", "invalid_target"},
		{f.ada.Pair, "", f.url + "/", "", "", "invalid_target"},
	} {
		a := f.post("/auth/token", client(test.pair, "grant_type", "client_credentials", "scope", test.scope,
			"resource", test.resource))
		require.Equal(t, test.code, a.code(), a.text)
		if test.code != "" {
			require.Equal(t, 400, a.status)
			continue
		}
		require.Equal(t, test.scopes, a.body["scope"])
		identity, err := f.svc.Tokens().VerifyFor(t.Context(), test.target, a.body["access_token"].(string))
		require.NoError(t, err)
		require.True(t, identity.Limited)
		require.Equal(t, test.scopes, identity.Scope)
	}
	two := client(f.ada.Pair, "grant_type", "client_credentials", "resource", reports,
		"resource", other)
	require.Equal(t, "invalid_target", f.post("/auth/token", two).code())
	two = client(f.ada.Pair, "grant_type", "client_credentials", "resource", reports, "resource", reports)
	require.Equal(t, 200, f.post("/auth/token", two).status)
}

func TestRequestsThatAreNotValidAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, secret := f.ada.Pair.AccessKey, f.ada.Pair.AccessSecret.Reveal()
	const formType = "application/x-www-form-urlencoded"
	const request, noClient = "invalid_request", "invalid_client"
	valid := client(f.ada.Pair, "grant_type", "client_credentials")
	post := func(form url.Values, header ...string) answer { return f.post("/auth/token", form, header...) }
	asHeader := func(value string) answer { return post(grant(), "Authorization", value) }
	send := func(body, kind string) answer { return f.send("/auth/token", body, "Content-Type", kind) }
	header := basic(id, secret)
	for name, test := range map[string]struct {
		answer answer
		status int
		code   string
		basic  bool
	}{
		"no grant":                   {post(client(f.ada.Pair)), 400, request, false},
		"another grant":              {post(client(f.ada.Pair, "grant_type", "password")), 400, "unsupported_grant_type", false},
		"no client":                  {post(grant()), 401, noClient, false},
		"no secret":                  {post(grant("client_id", id)), 401, noClient, false},
		"wrong secret":               {post(grant("client_id", id, "client_secret", "as_x")), 401, noClient, false},
		"wrong secret in the header": {asHeader(basic(id, "as_x")), 401, noClient, true},
		"broken header":              {asHeader("Basic !!!"), 401, noClient, true},
		"header with a bad escape":   {asHeader("Basic " + encoded(id+":%zz")), 401, noClient, true},
		"bearer":                     {asHeader("Bearer x"), 401, noClient, true},
		"header and form":            {post(valid, "Authorization", header), 400, request, false},
		"two identities":             {post(grant("client_id", id+"x"), "Authorization", header), 400, request, false},
		"two headers":                {post(grant(), "Authorization", header, "Authorization", header), 400, request, false},
		"repeated":                   {send(valid.Encode()+"&grant_type=client_credentials", formType), 400, request, false},
		"JSON":                       {send(`{"grant_type": "client_credentials"}`, "application/json"), 400, request, false},
		"no type":                    {f.send("/auth/token", valid.Encode()), 400, request, false},
		"bad escapes":                {send(valid.Encode()+"&x=%zz", formType), 400, request, false},
		"huge":                       {send(valid.Encode()+"&x="+strings.Repeat("x", 16<<10), formType), 413, request, false},
		"secret in the URL":          {f.post("/auth/token?client_secret="+secret, valid), 400, request, false},
		"all in the URL":             {f.send("/auth/token?"+grant("client_id", id).Encode(), "", "Content-Type", formType), 400, request, false},
	} {
		require.Equal(t, test.status, test.answer.status, "%s: %s", name, test.answer.text)
		require.Equal(t, test.code, test.answer.code(), name)
		require.NotEmpty(t, test.answer.body["error_description"])
		challenge := test.answer.header.Get("WWW-Authenticate")
		require.Equal(t, test.basic, strings.HasPrefix(challenge, "Basic "), "%s: %s", name, challenge)
		require.NotContains(t, test.answer.text, secret)
	}
	for _, name := range []string{"client_secret", "client_assertion", "assertion", "subject_token",
		"actor_token", "token", "device_code"} {
		for _, path := range []string{"/auth/token", "/auth/revoke", "/auth/introspect"} {
			a := f.post(path+"?"+name+"=", valid)
			require.Equal(t, "Secrets and tokens must not be in the URL", a.body["error_description"], name)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/auth/token", nil)
	require.NoError(t, err)
	a := f.do(r)
	require.Equal(t, 405, a.status)
	require.Equal(t, "POST", a.header.Get("Allow"))
}

// Package x/oauth2 tries the header first, and the form after a refusal.
func TestTheClientsOfXOAuth2SignIn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleAutoDetect, oauth2.AuthStyleInHeader,
		oauth2.AuthStyleInParams} {
		cfg := clientcredentials.Config{ClientID: f.ada.Pair.AccessKey,
			ClientSecret: f.ada.Pair.AccessSecret.Reveal(), TokenURL: f.url + "/auth/token", AuthStyle: style,
			Scopes: []string{"reports:read"}, EndpointParams: url.Values{"resource": {reports}}}
		token, err := cfg.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "Bearer", token.Type())
		require.WithinDuration(t, time.Now().Add(12*time.Hour), token.Expiry, time.Minute)
		identity, err := f.svc.Tokens().VerifyFor(t.Context(), reports, token.AccessToken)
		require.NoError(t, err)
		require.Equal(t, "reports:read", identity.Scope)
	}
}

// A client with a wrong secret that tries both ways counts as one failed sign-in.
func TestAWrongSecretCountsOnce(t *testing.T) {
	t.Parallel()
	rejected := 0
	f := newFixture(t, func(cfg *auth.Config) {
		cfg.Hooks.SignIn = func(_ context.Context, _ auth.SignInMethod, err error, _ time.Duration) {
			if err != nil {
				rejected++
			}
		}
	})
	cfg := clientcredentials.Config{ClientID: f.ada.Pair.AccessKey,
		ClientSecret: f.agent.Pair.AccessSecret.Reveal(), TokenURL: f.url + "/auth/token"}
	_, err := cfg.Token(t.Context())
	var refused *oauth2.RetrieveError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "invalid_client", refused.ErrorCode)
	require.Equal(t, 1, rejected)
}

func TestTooManyAttemptsSayWhenToTryAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var a answer
	for range 200 {
		a = f.post("/auth/token", grant("client_id", "ak_x", "client_secret", rand.Text()))
		if a.status != 401 {
			break
		}
	}
	require.Equal(t, 429, a.status)
	require.Equal(t, "temporarily_unavailable", a.code())
	require.NotEmpty(t, a.header.Get("Retry-After"))
}
