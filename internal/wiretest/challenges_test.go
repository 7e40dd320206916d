package wiretest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// metadataURL is the URL of the metadata of a protected resource (RFC 9728, section 3).
const metadataURL = "https://api.example.com/.well-known/oauth-protected-resource"

// challengeNaming returns the challenge with the given parameters and the URL of the metadata.
func challengeNaming(parameters string) string {
	return "Bearer " + parameters + `resource_metadata="` + metadataURL + `"`
}

const invalidToken = `error="invalid_token", `

// missing returns the parameters of a challenge for a token that lacks the scope.
func missing(scope string) string { return `error="insufficient_scope", scope="` + scope + `", ` }

func TestEveryChallengeNamesTheMetadataOfTheResource(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes,
		func(_ *fixture, cfg *auth.Config) { cfg.ResourceMetadataURL = metadataURL })
	served := 0
	next := reached(&served)
	scoped, super := f.svc.RequireScope(reading, next), f.svc.RequireSuperUser(next)
	limited, forged := "Bearer "+f.limited(f.admin, writing), "Bearer x"
	for name, test := range map[string]struct {
		handler       http.Handler
		authorization string
		want          string
	}{
		"no token":                          {f.svc.Authenticate(next), "", ""},
		"another scheme":                    {f.svc.Authenticate(next), "Basic x", ""},
		"a forged token":                    {f.svc.Authenticate(next), forged, invalidToken},
		"no token for a scope":              {scoped, "", `scope="` + reading + `", `},
		"a forged token for a scope":        {scoped, forged, invalidToken + `scope="` + reading + `", `},
		"the scope is missing":              {scoped, limited, missing(reading)},
		"no token inside Authenticate":      {f.svc.Authenticate(scoped), "", ""},
		"a missing scope inside":            {f.svc.Authenticate(scoped), limited, missing(reading)},
		"no token for a super user":         {super, "", ""},
		"a forged token for a super user":   {super, forged, invalidToken},
		"a limited token for a super user":  {super, limited, missing(auth.ScopeSuperUser)},
		"a missing scope for a super user":  {f.svc.RequireScope(reading, super), limited, missing(reading)},
		"no token for a scope and a person": {f.svc.RequireSuperUser(scoped), "", ""},
	} {
		var header []string
		if test.authorization != "" {
			header = []string{"Authorization", test.authorization}
		}
		r := send(test.handler, http.MethodGet, "/", "", header...)
		require.Equal(t, []string{challengeNaming(test.want)}, r.header.Values("WWW-Authenticate"), name)
	}
	require.Zero(t, served)
	for _, header := range [][]string{nil, {"Authorization", forged}, {"Authorization", limited}} {
		for call, scope := range scopesOfCalls {
			if scope == "" && slices.Contains(header, limited) {
				continue
			}
			method, path, _ := strings.Cut(call, " ")
			path = strings.NewReplacer("{id}", "x", "{access_key}", "x").Replace(path)
			r := f.send(method, path, "", header...)
			if r.status != http.StatusServiceUnavailable { // GitHub is not configured
				require.Contains(t, r.header.Get("WWW-Authenticate"), `resource_metadata="`+metadataURL, call)
			}
		}
	}
	refused := f.send(http.MethodPost, "/auth/users/login", `{"access_key": "ak_x", "access_secret": "as_x"}`)
	require.Equal(t, challengeNaming(""), refused.header.Get("WWW-Authenticate"))
	user := "Bearer " + f.signIn(f.user)
	for _, handler := range []http.Handler{super, f.svc.Authenticate(super)} {
		r := send(handler, http.MethodGet, "/", "", "Authorization", user)
		require.Equal(t, http.StatusForbidden, r.status)
		require.Empty(t, r.header.Values("WWW-Authenticate"), "no token of this user suffices")
	}
}

func TestEveryChallengeOfARemoteVerifierNamesTheMetadata(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "ES256")
	r.verifier = r.verifierWith(t,
		func(cfg *auth.RemoteVerifierConfig) { cfg.ResourceMetadataURL = metadataURL })
	r.requireGood(t, r.token.Bearer.Reveal()) // fetches the keys
	token, err := r.issuer.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost,
		Scopes: auth.NewScopes(auth.ScopeKeys), Audience: audience})
	require.NoError(t, err)
	served := 0
	authenticated := r.verifier.Authenticate(reached(&served))
	scoped := r.verifier.RequireScope(auth.ScopeEvents, reached(&served))
	limited, named := "Bearer "+token.Bearer.Reveal(), `scope="`+auth.ScopeEvents+`", `
	for name, test := range map[string]struct {
		handler       http.Handler
		authorization []string
		want          string
	}{
		"no token":                     {authenticated, nil, ""},
		"a forged token":               {authenticated, []string{"Bearer x"}, invalidToken},
		"two tokens":                   {authenticated, []string{limited, limited}, invalidToken},
		"no token for a scope":         {scoped, nil, named},
		"a forged token for a scope":   {scoped, []string{"Bearer x"}, invalidToken + named},
		"the scope is missing":         {scoped, []string{limited}, missing(auth.ScopeEvents)},
		"no token inside Authenticate": {r.verifier.Authenticate(scoped), nil, ""},
		"a missing scope inside": {r.verifier.Authenticate(scoped), []string{limited},
			missing(auth.ScopeEvents)},
	} {
		var header []string
		for _, line := range test.authorization {
			header = append(header, "Authorization", line)
		}
		answer := send(test.handler, http.MethodGet, "/", "", header...)
		require.Equal(t, []string{challengeNaming(test.want)}, answer.header.Values("WWW-Authenticate"), name)
	}
	require.Zero(t, served)
}

// A host's own middleware and a host's own error writer get the URL with the error.
func TestTheErrorOfAHostsOwnMiddlewareNamesTheMetadata(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.ResourceMetadataURL = metadataURL
		cfg.WriteError = func(w http.ResponseWriter, r *http.Request, err error) {
			w.Header().Set("X-Host", "1")
			auth.WriteError(w, r, err)
		}
	})
	r := f.send(http.MethodGet, "/auth/user", "")
	require.Equal(t, "1", r.header.Get("X-Host"))
	require.Equal(t, challengeNaming(""), r.header.Get("WWW-Authenticate"))
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	_, err := f.svc.Identify(request)
	require.ErrorIs(t, err, auth.ErrTokenMissing)
	require.Equal(t, auth.ErrTokenMissing.Error(), err.Error())
	w := httptest.NewRecorder()
	auth.WriteError(w, request, err)
	require.Equal(t, challengeNaming(""), w.Header().Get("WWW-Authenticate"))
	w = httptest.NewRecorder()
	auth.WriteError(w, request, io.EOF)
	require.Empty(t, w.Header().Get("WWW-Authenticate"))
}

// The attack: a host asks for a scope that it builds from the request, such as "notes:" and a name.
func TestAScopeFromARequestAddsNothingToTheChallenge(t *testing.T) {
	t.Parallel()
	caller := auth.Identity{Limited: true, Scope: reading}
	w := httptest.NewRecorder()
	err := caller.CheckScope(`notes:x", resource_metadata="https://attacker.example.com`)
	auth.WriteError(w, httptest.NewRequest(http.MethodGet, "/", nil), err)
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, `Bearer error="insufficient_scope"`, w.Header().Get("WWW-Authenticate"))
}

// The attack: a URL ends the quoted string of the challenge, or names a page that an attacker can change.
func TestTheURLOfTheMetadataIsChecked(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "ES256")
	for url, valid := range map[string]bool{
		metadataURL: true, metadataURL + "/mcp": true, "http://127.0.0.1:8080/x": true,
		"http://localhost/x": true, "https://api.example.com": true, metadataURL + "?v=1": true,
		"http://api.example.com/x": false, "api.example.com/x": false, "/x": false, "https:///x": false,
		"ftp://api.example.com/x": false, metadataURL + "#x": false, metadataURL + "#": false,
		"https://user@api.example.com/x": false, metadataURL + `?a="`: false, metadataURL + `?a=\`: false,
		metadataURL + "?a= b": false, metadataURL + "?a=\t": false, metadataURL + "?a=é": false,
		metadataURL + "/a b": false, metadataURL + "?" + strings.Repeat("a", 512): false,
	} {
		cfg := auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{r.Key}, Proxies: auth.NoProxies(),
			ResourceMetadataURL: url}
		_, err := auth.New(r.store, cfg)
		remote := r.cfg
		remote.ResourceMetadataURL = url
		_, remoteErr := auth.NewRemoteVerifier(remote)
		if valid {
			require.NoError(t, err, url)
			require.NoError(t, remoteErr, url)
			continue
		}
		require.ErrorContains(t, err, "auth: Config.ResourceMetadataURL must be ", url)
		require.ErrorContains(t, remoteErr, "auth: RemoteVerifierConfig.ResourceMetadataURL must be ", url)
	}
}
