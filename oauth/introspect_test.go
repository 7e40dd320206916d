package oauth_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

func TestAClientRevokesItsOwnTokens(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, options := range []auth.LoginOptions{{}, {Audience: reports}, {Scopes: auth.NewScopes()}} {
		token := f.token(f.ada.Pair, options)
		a := f.post("/auth/revoke", client(f.agent.Pair, "token", token))
		require.Equal(t, "unauthorized_client", a.code(), "another client's token")
		a = f.post("/auth/revoke", client(f.ada.Pair, "token", token, "token_type_hint", "refresh_token"))
		require.Equal(t, 200, a.status, a.text)
		require.Empty(t, a.text)
		_, err := f.svc.Tokens().VerifyFor(t.Context(), f.audience(options), token)
		require.ErrorIs(t, err, auth.ErrTokenRejected)
		require.Equal(t, 200, f.post("/auth/revoke", client(f.ada.Pair, "token", token)).status, "again")
	}
	for name, test := range map[string]struct {
		form url.Values
		want int
		code string
	}{
		"unknown":      {client(f.ada.Pair, "token", "unknown"), 200, ""},
		"three parts":  {client(f.ada.Pair, "token", "a.eyJhdWQiOiJ4In0.c"), 200, ""},
		"no token":     {client(f.ada.Pair), 400, "invalid_request"},
		"no client":    {url.Values{"token": {"x"}}, 401, "invalid_client"},
		"wrong secret": {client(f.unknown(), "token", "x"), 401, "invalid_client"},
	} {
		a := f.post("/auth/revoke", test.form)
		require.Equal(t, test.want, a.status, name)
		require.Equal(t, test.code, a.code(), name)
	}
	user := f.token(f.ada.Pair, auth.LoginOptions{})
	delegated := f.post("/auth/token", exchangeForm(f.agent.Pair, user)).body["access_token"].(string)
	for _, pair := range []auth.KeyPair{f.agent.Pair, f.ada.Pair} {
		a := f.post("/auth/revoke", client(pair, "token", delegated))
		require.Equal(t, "unsupported_token_type", a.code())
	}
	_, err := f.svc.Tokens().VerifyFor(t.Context(), reports, delegated)
	require.NoError(t, err)
}

// unknown returns a pair that does not exist.
func (f *fixture) unknown() auth.KeyPair { return f.svc.Credentials().GeneratePair() }

func (f *fixture) audience(options auth.LoginOptions) string {
	if options.Audience == "" {
		return f.url
	}
	return options.Audience
}

func TestAServiceAsksWhetherATokenIsValidThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	asker := f.key(f.agent.User, auth.NewScopes(auth.ScopeIntrospect))
	bearer := "Bearer " + f.token(asker, auth.LoginOptions{})
	limited := f.key(f.ada.User, auth.NewScopes("reports:read", "reports:write"))
	token := f.token(limited, auth.LoginOptions{Audience: reports})
	form := url.Values{"token": {token}}
	for name, a := range map[string]answer{
		"with its key":    f.post("/auth/introspect", client(asker, "token", token)),
		"without a limit": f.post("/auth/introspect", client(f.agent.Pair, "token", token)),
		"with a token":    f.post("/auth/introspect", form, "Authorization", bearer),
		"with its key in the header": f.post("/auth/introspect", form, "Authorization",
			basic(asker.AccessKey, asker.AccessSecret.Reveal())),
	} {
		require.Equal(t, 200, a.status, "%s: %s", name, a.text)
		require.Equal(t, true, a.body["active"], name)
		require.Equal(t, "reports:read reports:write", a.body["scope"])
		require.Equal(t, f.ada.User.ID, a.body["sub"])
		require.Equal(t, "ada", a.body["username"])
		require.Equal(t, limited.AccessKey, a.body["client_id"])
		require.Equal(t, reports, a.body["aud"])
		require.Equal(t, f.url, a.body["iss"])
		require.EqualValues(t, 43200, a.body["exp"].(float64)-a.body["iat"].(float64))
		require.NotContains(t, a.body, "act")
	}
	user := f.token(f.ada.Pair, auth.LoginOptions{})
	delegated := f.post("/auth/token", exchangeForm(f.agent.Pair, user)).body["access_token"].(string)
	a := f.post("/auth/introspect", client(asker, "token", delegated))
	require.Equal(t, map[string]any{"sub": f.agent.User.ID}, a.body["act"])
	unlimited := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})
	require.NotContains(t, f.post("/auth/introspect", client(asker, "token", unlimited)).body, "scope")
	powerless := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports, Scopes: auth.NewScopes()})
	require.Equal(t, "", f.post("/auth/introspect", client(asker, "token", powerless)).body["scope"],
		"without a scope in the answer, the token would seem to have no limit")

	revoked := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), revoked))
	for name, token := range map[string]string{
		"revoked": revoked, "for the issuer": user, "unknown": "x", "forged": token[:len(token)-4] + "AAAA",
		"for another service": f.token(f.ada.Pair, auth.LoginOptions{Audience: other}),
	} {
		a := f.post("/auth/introspect", client(asker, "token", token))
		require.Equal(t, `{"active":false}`+"\n", a.text, name)
	}
}

// docs/import.md says so, because an imported key can be an e-mail address.
func TestTheClientIDOfAnImportedKeyIsTheTextOfTheOldSystem(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *auth.Config) { cfg.Credentials.AllowImported = true })
	pair := auth.KeyPair{AccessKey: "ada@example.com", AccessSecret: auth.NewSecret("correct horse")}
	require.NoError(t, f.svc.Credentials().Import(t.Context(), auth.ByHost("test"), auth.ImportedKey{
		UserID: f.ada.User.ID, AccessKey: pair.AccessKey, Secret: pair.AccessSecret,
		KeyOptions: auth.KeyOptions{Scopes: auth.NewScopes("reports:read")}}))
	asker := f.key(f.agent.User, auth.NewScopes(auth.ScopeIntrospect))
	token := f.token(pair, auth.LoginOptions{Audience: reports})
	answer := f.post("/auth/introspect", client(asker, "token", token))
	require.Equal(t, pair.AccessKey, answer.body["client_id"])
	identity, err := f.svc.Tokens().VerifyFor(t.Context(), reports, token)
	require.NoError(t, err)
	require.Equal(t, pair.AccessKey, identity.AccessKeyID)
}

func TestStrangersLearnNothingAboutTokens(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})
	narrow := f.key(f.agent.User, auth.NewScopes("reports:read"))
	person := f.key(f.ada.User, auth.NewScopes(auth.ScopeIntrospect))
	form := url.Values{"token": {token}}
	metadata := `resource_metadata="` + f.url + `/.well-known/oauth-protected-resource"`
	ask := func(form url.Values, header ...string) answer {
		return f.post("/auth/introspect", form, header...)
	}
	bearer := func(token string) answer { return ask(form, "Authorization", "Bearer "+token) }
	for name, test := range map[string]struct {
		a    answer
		want int
		code string
	}{
		"nobody":                    {ask(form), 401, "invalid_client"},
		"the token alone":           {bearer(token), 401, "invalid_token"},
		"wrong secret":              {ask(form, "Authorization", basic(f.agent.Pair.AccessKey, "x")), 401, "invalid_client"},
		"without the scope":         {ask(client(narrow, "token", token)), 403, "insufficient_scope"},
		"a token without the scope": {bearer(f.token(narrow, auth.LoginOptions{})), 403, "insufficient_scope"},
		"no token":                  {ask(client(f.agent.Pair)), 400, "invalid_request"},
	} {
		require.Equal(t, test.want, test.a.status, "%s: %s", name, test.a.text)
		require.Equal(t, test.code, test.a.code(), name)
		switch challenge := test.a.header.Get("WWW-Authenticate"); test.code { // RFC 6750, section 3.1
		case "insufficient_scope":
			require.Equal(t, `Bearer error="insufficient_scope", scope="auth:introspect", `+metadata, challenge, name)
		case "invalid_token":
			require.Equal(t, `Bearer error="invalid_token", `+metadata, challenge, name)
		}
	}
	for _, pair := range []auth.KeyPair{person, f.ada.Pair} {
		a := ask(client(pair, "token", token))
		require.Equal(t, `{"active":false}`+"\n", a.text, "a person is no service")
	}
}

func TestTheMetadataDescribesTheServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	get := func(path string) answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+path, nil)
		require.NoError(t, err)
		return f.do(r)
	}
	a := get("/.well-known/oauth-authorization-server")
	require.Equal(t, "public, max-age=300", a.header.Get("Cache-Control"))
	require.Equal(t, f.url, a.body["issuer"], "byte for byte (RFC 8414, section 3.3)")
	for _, name := range []string{"token", "revocation", "introspection"} {
		endpoint := a.body[name+"_endpoint"].(string)
		require.Equal(t, "invalid_request", f.post(endpoint[len(f.url):], url.Values{}).code(), endpoint)
	}
	require.Equal(t, 200, get(a.body["jwks_uri"].(string)[len(f.url):]).status)
	require.Contains(t, a.body["scopes_supported"], "reports:read")
	require.Contains(t, a.body["introspection_endpoint_auth_methods_supported"], "Bearer")
	require.NotContains(t, a.body["revocation_endpoint_auth_methods_supported"], "Bearer")
	require.Equal(t, []any{}, a.body["response_types_supported"])
	require.Equal(t, []any{"S256"}, a.body["code_challenge_methods_supported"], "clients of MCP require it")
	require.NotContains(t, a.body, "authorization_endpoint")
	a = get("/.well-known/oauth-protected-resource")
	require.Equal(t, f.url, a.body["resource"])
	require.Equal(t, []any{f.url}, a.body["authorization_servers"])
}

func TestTheIssuerDecidesThePathsOfTheMetadata(t *testing.T) {
	t.Parallel()
	key, err := auth.NewHS256Key("", []byte("0123456789abcdef0123456789abcdef-oauth"))
	require.NoError(t, err)
	for issuer, path := range map[string]string{
		"https://example.com": "", "https://example.com/auth/v1": "/auth/v1", "http://localhost:8080": "",
		"http://example.com": "refused",
	} {
		svc, err := auth.New(memstore.New(), auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{key},
			Proxies: auth.NoProxies()})
		require.NoError(t, err)
		server, err := oauth.New(svc, oauth.Config{})
		if path == "refused" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		mux := http.NewServeMux()
		server.Mount(mux)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/oauth-authorization-server"+path, nil))
		var body map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		require.Equal(t, issuer, body["issuer"])
		require.Equal(t, issuer+"/auth/token", body["token_endpoint"])
		require.NotContains(t, body, "jwks_uri", "an HS256 key is secret")
		require.NotContains(t, body, "scopes_supported", "an empty list is omitted (RFC 8414, section 3.2)")
	}
	_, err = oauth.New(nil, oauth.Config{})
	require.Error(t, err)
}

// A key that must be rotated opens nothing else, as at the documented calls.
func TestAKeyThatMustBeRotatedIsNoClient(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	made := f.register(auth.UserParams{Username: "fresh", IsService: true, Audiences: []string{reports},
		Key: auth.KeyOptions{MustRotate: true}})
	token := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})
	a := f.post("/auth/introspect", client(made.Pair, "token", token))
	require.Equal(t, "insufficient_scope", a.code(), a.text)
	a = f.post("/auth/token", exchangeForm(made.Pair, f.token(f.ada.Pair, auth.LoginOptions{})))
	require.Equal(t, "invalid_scope", a.code(), a.text)
	a = f.post("/auth/token", client(made.Pair, "grant_type", "client_credentials"))
	require.Equal(t, auth.ScopeRotate, a.body["scope"], a.text)
	a = f.post("/auth/token", client(made.Pair, "grant_type", "client_credentials", "scope", "reports:read"))
	require.Equal(t, "invalid_scope", a.code(), a.text)
}
