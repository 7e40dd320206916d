package wiretest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

const (
	reading = "reports:read"
	writing = "reports:write"
)

// allScopes contains every scope that exists in a fixture with hostScopes.
var allScopes = []string{auth.ScopeKeys, auth.ScopeSessions, auth.ScopeGitHub, auth.ScopeUsers,
	auth.ScopeEvents, auth.ScopeRevocations, auth.ScopeSuperUser, reading, writing}

// hostScopes configures the scopes of the host.
func hostScopes(_ *fixture, cfg *auth.Config) { cfg.Tokens.Scopes = []string{reading, writing} }

// githubHostScopes does the same as hostScopes.
var githubHostScopes = githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
	hostScopes(g.fixture, cfg)
}}

// without returns all scopes except the given one.
func without(scope string) *auth.ScopeSet {
	others := slices.DeleteFunc(slices.Clone(allScopes), func(s string) bool { return s == scope })
	return auth.NewScopes(others...)
}

// keyOf makes an access key with these scopes. nil means no limit.
func (f *fixture) keyOf(user auth.User, scopes *auth.ScopeSet) auth.KeyPair {
	f.t.Helper()
	pair, err := f.svc.Credentials().Issue(f.t.Context(), authtest.ByHost, user.ID,
		auth.KeyOptions{Scopes: scopes})
	require.NoError(f.t, err)
	return pair
}

// open signs in with the pair.
func (f *fixture) open(pair auth.KeyPair) auth.Token {
	f.t.Helper()
	token, err := f.svc.Login(f.t.Context(), pair, auth.LoginOptions{})
	require.NoError(f.t, err)
	return token
}

// limited signs in with a new access key that has exactly these scopes.
func (f *fixture) limited(user auth.User, scopes ...string) string {
	f.t.Helper()
	return f.open(f.keyOf(user, auth.NewScopes(scopes...))).Bearer.Reveal()
}

// scopesOf signs in with the pair and returns the scopes of the session.
func (f *fixture) scopesOf(pair auth.KeyPair) *auth.ScopeSet {
	f.t.Helper()
	token := f.open(pair)
	identity, err := f.svc.Tokens().Verify(f.t.Context(), token.Bearer.Reveal())
	require.NoError(f.t, err)
	require.True(f.t, identity.Scopes().Equal(token.Session.Scopes))
	return identity.Scopes()
}

// challengeFor returns the challenge for a token that lacks the scope. If the scope is empty, no limited
// token can make the call.
func challengeFor(scope string) string {
	if scope == "" {
		return `Bearer error="insufficient_scope"`
	}
	return `Bearer error="insufficient_scope", scope="` + scope + `"`
}

// requireLacks fails the test unless the response refuses a token that lacks the scope.
func requireLacks(t testing.TB, scope string, r response, message ...any) {
	t.Helper()
	require.Equal(t, http.StatusForbidden, r.status, message...)
	require.Equal(t, []string{challengeFor(scope)}, r.header.Values("WWW-Authenticate"), message...)
	require.Equal(t, `{"detail":"The scopes of this token do not allow this"}`+"\n", r.body, message...)
}

// noLimited stands for a scope in scopesOfCalls. No limited token can make the call.
const noLimited = "no limited token"

// scopesOfCalls has the scope of each documented call that needs a token. Every token can make the calls
// with an empty scope.
var scopesOfCalls = map[string]string{
	"GET /auth/user":                               "",
	"POST /auth/logout":                            "",
	"GET /api/v1/auth/github/login":                noLimited,
	"GET /api/v1/auth/github/token":                auth.ScopeGitHub,
	"POST /api/v1/auth/github/logout":              auth.ScopeGitHub,
	"DELETE /api/v1/auth/github/link":              auth.ScopeGitHub,
	"GET /auth/sessions":                           auth.ScopeSessions,
	"DELETE /auth/sessions":                        auth.ScopeSessions,
	"DELETE /auth/sessions/{id}":                   auth.ScopeSessions,
	"GET /auth/keys":                               auth.ScopeKeys,
	"POST /auth/keys":                              auth.ScopeKeys,
	"POST /auth/keys/{access_key}/rotate":          auth.ScopeKeys,
	"DELETE /auth/keys/{access_key}":               auth.ScopeKeys,
	"POST /api/v1/user/register":                   auth.ScopeUsers,
	"POST /auth/users/register":                    auth.ScopeUsers,
	"GET /auth/users":                              auth.ScopeUsers,
	"GET /auth/users/{id}":                         auth.ScopeUsers,
	"GET /auth/users/{id}/keys":                    auth.ScopeUsers,
	"GET /auth/users/{id}/sessions":                auth.ScopeUsers,
	"PATCH /auth/users/{id}":                       auth.ScopeUsers,
	"DELETE /auth/users/{id}":                      auth.ScopeUsers,
	"POST /auth/users/{id}/regenerate-credentials": auth.ScopeUsers,
	"POST /auth/users/{id}/reinstate":              auth.ScopeUsers,
	"POST /auth/tokens/revoke-user/{id}":           auth.ScopeUsers,
	"GET /auth/events":                             auth.ScopeEvents,
	"GET /auth/revocations":                        auth.ScopeRevocations,
}

// allowedStatuses has the status of the calls that do not answer an allowed request with 200.
var allowedStatuses = map[string]int{
	"GET /api/v1/auth/github/token":       http.StatusNotFound, // no account is connected
	"DELETE /api/v1/auth/github/link":     http.StatusNoContent,
	"DELETE /auth/sessions/{id}":          http.StatusNoContent,
	"POST /auth/keys":                     http.StatusCreated,
	"POST /auth/keys/{access_key}/rotate": http.StatusCreated,
	"DELETE /auth/keys/{access_key}":      http.StatusNoContent,
	"GET /auth/revocations":               http.StatusUnprocessableEntity, // without parameters
}

// makeCall makes a documented call with a new session of the super user. The call changes a key or a
// session that has the same scopes, or the ordinary user.
func (f *fixture) makeCall(o operation, scopes *auth.ScopeSet) response {
	f.t.Helper()
	pair := f.keyOf(f.admin, scopes)
	id := f.user.ID
	if strings.Contains(o.path, "/sessions/") {
		id = f.open(pair).Session.ID
	}
	path := strings.NewReplacer("{id}", id, "{access_key}", pair.AccessKey).Replace(o.path)
	if o.String() == "DELETE /auth/sessions" {
		path += "?except=current"
	}
	body := ""
	switch {
	case strings.HasSuffix(o.path, "/register"):
		body = `{"username": "carol"}`
	case o.method == http.MethodPatch:
		body = `{"is_active": false}`
	}
	return f.sendAs(f.open(pair).Bearer.Reveal(), o.method, path, body)
}

func TestEachCallNeedsItsScopeFromALimitedToken(t *testing.T) {
	t.Parallel()
	for _, o := range wire.calls {
		if !protected(o) {
			continue
		}
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			scope, known := scopesOfCalls[o.String()]
			require.True(t, known, "a call that needs a token must be in scopesOfCalls")
			allowed := max(allowedStatuses[o.String()], http.StatusOK)
			g := newGitHub(t, githubHostScopes)
			for name, scopes := range map[string]*auth.ScopeSet{
				"every other scope": without(scope), "the empty set": auth.NewScopes(),
			} {
				answer := g.makeCall(o, scopes)
				switch scope {
				case "":
					require.Equal(t, allowed, answer.status, name)
				case noLimited:
					requireLacks(t, "", answer, name)
				default:
					requireLacks(t, scope, answer, name)
				}
			}
			if scope != "" && scope != noLimited {
				answer := g.makeCall(o, auth.NewScopes(scope))
				require.Equal(t, allowed, answer.status, "only the scope of the call: %s", answer.body)
			}
			answer := newGitHub(t, githubHostScopes).makeCall(o, nil)
			require.Equal(t, allowed, answer.status, "no limit: %s", answer.body)
		})
	}
}

func TestOpenAPIDocumentsTheScopeOfEachCall(t *testing.T) {
	t.Parallel()
	documented := map[string]string{}
	for _, o := range wire.calls {
		for _, requirement := range o.object["security"].([]any) {
			for scheme, names := range requirement.(map[string]any) {
				scope := ""
				for _, name := range names.([]any) {
					scope += name.(string)
				}
				if other, ok := documented[o.String()]; ok {
					require.Equal(t, other, scope, "%s: %s", o, scheme)
				}
				documented[o.String()] = scope
			}
		}
		_, forbidden := wire.object(o.pointer + pointerTo("responses", "403"))
		headers, _ := forbidden["headers"].(map[string]any)
		// A token that can only rotate its key gets a challenge for every other call, except the logout.
		challenged := protected(o) && o.String() != "POST /auth/logout"
		require.Equal(t, challenged, headers["WWW-Authenticate"] != nil, o)
	}
	want := map[string]string{}
	for call, scope := range scopesOfCalls {
		want[call] = strings.ReplaceAll(scope, noLimited, "") // no scope is enough
	}
	require.Equal(t, want, documented)
}

// Attack: an ordinary user with a limited session looks for the keys and sessions of other users.
func TestAnotherUsersKeyOrSessionNeedsTheScopeForUsersToo(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	own := []string{auth.ScopeKeys, auth.ScopeSessions, reading}
	both := append(slices.Clone(own), auth.ScopeUsers)
	for name, call := range map[string]struct {
		method, path, missing string
		want                  int
	}{
		"revoke a key":     {"DELETE", "/auth/keys/KEY", "/auth/keys/x", http.StatusNoContent},
		"rotate a key":     {"POST", "/auth/keys/KEY/rotate", "/auth/keys/x/rotate", http.StatusCreated},
		"revoke a session": {"DELETE", "/auth/sessions/SESSION", "/auth/sessions/x", http.StatusNoContent},
	} {
		pair := f.keyOf(f.user, auth.NewScopes(reading))
		session := f.open(pair).Session.ID
		path := strings.NewReplacer("KEY", pair.AccessKey, "SESSION", session).Replace(call.path)
		for _, scopes := range [][]string{own, both} {
			stranger := f.limited(f.other(), scopes...)
			got := f.sendAs(stranger, call.method, path, "")
			require.Equal(t, http.StatusNotFound, got.status, name)
			require.Equal(t, f.sendAs(stranger, call.method, call.missing, ""), got, name)
		}
		requireLacks(t, auth.ScopeUsers, f.sendAs(f.limited(f.admin, own...), call.method, path, ""), name)
		require.Equal(t, call.want, f.sendAs(f.limited(f.admin, both...), call.method, path, "").status, name)
	}
}

// keyCount returns the number of the user's access keys.
func (f *fixture) keyCount(user auth.User) int {
	f.t.Helper()
	keys, err := f.svc.Credentials().List(f.t.Context(), user.ID)
	require.NoError(f.t, err)
	return len(keys)
}

// listOf returns the value of the field scopes in a response.
func listOf(t testing.TB, object map[string]any) *auth.ScopeSet {
	t.Helper()
	require.Contains(t, object, "scopes")
	text, err := json.Marshal(object["scopes"])
	require.NoError(t, err)
	var scopes *auth.ScopeSet
	require.NoError(t, json.Unmarshal(text, &scopes))
	return scopes
}

func TestANewKeyHasTheScopesOfTheBodyOrOfTheSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	limit := auth.NewScopes(auth.ScopeKeys, reading)
	unlimited := f.signIn(f.user)
	limited := f.limited(f.user, limit.List()...)
	for _, test := range []struct {
		token, body string
		want        *auth.ScopeSet
	}{
		{unlimited, "", nil},
		{unlimited, `{}`, nil},
		{unlimited, `{"label": "x"}`, nil},
		{unlimited, `{"scopes": ["reports:read"]}`, auth.NewScopes(reading)},
		{unlimited, `{"scopes": ["reports:write", "auth:keys", "reports:write"]}`,
			auth.NewScopes(auth.ScopeKeys, writing)},
		{limited, "", limit},
		{limited, `{"label": "x"}`, limit},
		{limited, `{"scopes": ["reports:read", "auth:keys"]}`, limit},
		{limited, `{"scopes": ["reports:read", "reports:read"]}`, auth.NewScopes(reading)},
		{limited, `{"scopes": ["auth:keys"]}`, auth.NewScopes(auth.ScopeKeys)},
	} {
		made := f.sendAs(test.token, http.MethodPost, "/auth/keys", test.body)
		require.Equal(t, http.StatusCreated, made.status, made.body)
		require.True(t, test.want.Equal(listOf(t, made.json(t))), "%s: %s", test.body, made.body)
		require.True(t, test.want.Equal(f.scopesOf(made.pair(t))), "%s: of the session", test.body)
		for _, listed := range f.sendAs(unlimited, http.MethodGet, "/auth/keys", "").array(t) {
			if listed["access_key"] == made.pair(t).AccessKey {
				require.True(t, test.want.Equal(listOf(t, listed)), test.body)
			}
		}
	}
}

func TestAKeyWithScopesThatAreNotAllowedIsNotMade(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	tokens := map[string]string{
		"no limit": f.signIn(f.user), "limited": f.limited(f.user, auth.ScopeKeys, reading),
	}
	before := f.keyCount(f.user)
	refuse := func(who, body string, want int) response {
		t.Helper()
		answer := f.sendAs(tokens[who], http.MethodPost, "/auth/keys", body)
		require.Equal(t, want, answer.status, "%s: %s: %s", who, body, answer.body)
		require.Equal(t, before, f.keyCount(f.user), "%s: %s", who, body)
		return answer
	}
	long := `["` + strings.Repeat(strings.Repeat("x", 63)+`", "y`, 17) + `"]` // 1100 bytes and more
	for scopes, want := range map[string]int{
		`[]`:                                   http.StatusUnprocessableEntity,
		`["quarterly:secret"]`:                 http.StatusUnprocessableEntity,
		`["reports:read", "quarterly:secret"]`: http.StatusUnprocessableEntity,
		`["reports:"]`:                         http.StatusUnprocessableEntity,
		`["Reports:Read"]`:                     http.StatusUnprocessableEntity,
		`["auth:everything"]`:                  http.StatusUnprocessableEntity,
		`["everything"]`:                       http.StatusUnprocessableEntity,
		`["*"]`:                                http.StatusUnprocessableEntity,
		`[""]`:                                 http.StatusUnprocessableEntity,
		`["reports:read auth:keys"]`:           http.StatusUnprocessableEntity,
		`["reports:read\u0000"]`:               http.StatusBadRequest,
		`["reports:read\""]`:                   http.StatusUnprocessableEntity,
		`["` + strings.Repeat("x", 65) + `"]`:  http.StatusUnprocessableEntity,
		long:                                   http.StatusUnprocessableEntity,
		`"reports:read"`:                       http.StatusUnprocessableEntity,
		`7`:                                    http.StatusUnprocessableEntity,
		`true`:                                 http.StatusUnprocessableEntity,
		`{"reports:read": true}`:               http.StatusUnprocessableEntity,
		`[7]`:                                  http.StatusUnprocessableEntity,
		`[null]`:                               http.StatusUnprocessableEntity,
		`[["reports:read"]]`:                   http.StatusUnprocessableEntity,
		`["reports:read", 7]`:                  http.StatusUnprocessableEntity,
		`null`:                                 http.StatusBadRequest,
		`["reports:read"], "scopes": ["x"]`:    http.StatusBadRequest,
		`["reports:read"], "Scopes": ["x"]`:    http.StatusBadRequest,
		`["reports:read"], "scope": "x"`:       http.StatusUnprocessableEntity,
	} {
		for who := range tokens {
			answer := refuse(who, `{"scopes": `+scopes+`}`, want)
			require.NotContains(t, answer.body, "quarterly", "the detail is no echo")
		}
	}
	for scopes, missing := range map[string]string{
		`["reports:write"]`:                            writing,
		`["reports:read", "reports:write"]`:            writing,
		`["auth:keys", "auth:users", "reports:write"]`: auth.ScopeUsers,
	} {
		requireLacks(t, missing, refuse("limited", `{"scopes": `+scopes+`}`, http.StatusForbidden), scopes)
	}
}

func TestTheListOfKeysShowsTheirScopes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	want := map[string]any{
		f.userPair.AccessKey: nil,
		f.keyOf(f.user, auth.NewScopes(writing, reading)).AccessKey: []any{reading, writing},
		f.keyOf(f.user, auth.NewScopes()).AccessKey:                 []any{},
	}
	got := map[string]any{}
	for _, key := range f.sendAs(f.signIn(f.user), http.MethodGet, "/auth/keys", "").array(t) {
		got[key["access_key"].(string)] = key["scopes"]
	}
	require.Equal(t, want, got)
}

func TestRotatingAKeyKeepsItsScopes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	scopes := auth.NewScopes(auth.ScopeKeys, reading)
	for _, want := range []*auth.ScopeSet{nil, scopes, auth.NewScopes()} {
		pair := f.keyOf(f.user, want)
		path := "/auth/keys/" + pair.AccessKey + "/rotate"
		for _, body := range []string{`{"scopes": ["reports:read"]}`, `{"scopes": null}`} {
			refused := f.sendAs(f.signIn(f.user), http.MethodPost, path, body)
			require.Equal(t, http.StatusUnprocessableEntity, refused.status, "rotate has no field scopes")
		}
		rotated := f.sendAs(f.signIn(f.user), http.MethodPost, path, "")
		require.Equal(t, http.StatusCreated, rotated.status)
		require.True(t, want.Equal(listOf(t, rotated.json(t))), rotated.body)
		require.True(t, want.Equal(f.scopesOf(rotated.pair(t))))
	}
	own := f.keyOf(f.user, scopes)
	rotated := f.sendAs(f.open(own).Bearer.Reveal(), http.MethodPost,
		"/auth/keys/"+own.AccessKey+"/rotate", "")
	require.Equal(t, http.StatusCreated, rotated.status, "a limited session rotates its own key")
	require.True(t, scopes.Equal(f.scopesOf(rotated.pair(t))))
}
