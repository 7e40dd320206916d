package wiretest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The tests in this file try to get more from a limited session than its scopes allow.

// scopesOn makes the fixture use the store, with the scopes of the host and with imports.
func scopesOn(store auth.Store) func(*fixture, *auth.Config) {
	return func(f *fixture, cfg *auth.Config) {
		f.store = store
		hostScopes(f, cfg)
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	}
}

func TestALimitedSuperUserMakesOnlyKeysWithItsOwnScopes(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, scopesOn(open(t)))
		limit := auth.NewScopes(auth.ScopeUsers, reading)
		limited, unlimited := f.limited(f.admin, limit.List()...), f.signIn(f.admin)
		for _, call := range []struct{ path, body string }{
			{"/api/v1/user/register", `{"username": "one", "scopes": null}`},
			{"/auth/users/register", `{"username": "two", "scopes": ["reports:write"]}`},
			{"/auth/users/" + f.user.ID + "/regenerate-credentials", ""},
			{"/auth/users/" + f.user.ID + "/reinstate", ""},
			{"/auth/users/" + f.admin.ID + "/regenerate-credentials", ""},
		} {
			made := f.sendAs(limited, http.MethodPost, call.path, call.body)
			require.Equal(t, http.StatusOK, made.status, made.body)
			require.True(t, limit.Equal(f.scopesOf(made.pair(t))), call.path)
			if strings.Contains(call.path, f.admin.ID) {
				require.Equal(t, http.StatusUnauthorized, status(f.svc, unlimited))
				continue
			}
			body := strings.Replace(call.body, `": "`, `": "un`, 1) // another username
			made = f.sendAs(unlimited, http.MethodPost, call.path, body)
			require.Equal(t, http.StatusOK, made.status, made.body)
			require.Nil(t, f.scopesOf(made.pair(t)), "no limit: %s", call.path)
		}
	})
}

func TestALimitedSuperUserTakesPowerButGivesNone(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, scopesOn(open(t)))
		boss, err := f.svc.Register(t.Context(), authtest.ByHost,
			auth.UserParams{Username: "boss", IsSuperUser: true})
		require.NoError(t, err)
		limited := f.limited(f.admin, allScopes...)
		read := func(id string) auth.User {
			user, err := f.store.FindUser(t.Context(), id)
			require.NoError(t, err)
			return user
		}
		patch := func(id, body string) response {
			return f.sendAs(limited, http.MethodPatch, "/auth/users/"+id, body)
		}
		before := read(f.user.ID)
		for _, body := range []string{
			`{"is_super_user": true}`, `{"is_active": true}`, `{"is_super_user": true, "is_active": false}`,
			`{"is_super_user": false, "is_active": true}`,
		} {
			requireLacks(t, "", patch(f.user.ID, body), body)
			require.Equal(t, before, read(f.user.ID), body)
		}
		requireLacks(t, "", f.sendAs(limited, http.MethodPost, "/auth/users/register",
			`{"username": "mallory", "is_super_user": true}`))
		require.Equal(t, "mallory", f.other().Username, "the name is not taken")

		require.Equal(t, http.StatusOK, patch(f.user.ID, `{"is_active": false}`).status)
		require.False(t, read(f.user.ID).IsActive)
		require.Equal(t, http.StatusOK, patch(boss.User.ID, `{"is_super_user": false}`).status)
		require.False(t, read(boss.User.ID).IsSuperUser)
		require.Equal(t, http.StatusOK,
			f.sendAs(limited, http.MethodDelete, "/auth/users/"+boss.User.ID, "").status)
	})
}

// authorities returns the authority of a new limited session, with and without SuperUser.
func (f *fixture) authorities(scopes *auth.ScopeSet) (super, own auth.Authority) {
	f.t.Helper()
	session := f.open(f.keyOf(f.admin, scopes)).Session
	own = auth.Authority{SessionID: session.ID, UserID: f.admin.ID}
	super = own
	super.SuperUser = true
	return super, own
}

// requireInsufficient fails the test unless the error names the scope as the missing one.
func requireInsufficient(t testing.TB, scope string, err error, message ...any) {
	t.Helper()
	var insufficient *auth.InsufficientScopeError
	require.ErrorAs(t, err, &insufficient, message...)
	require.Equal(t, scope, insufficient.Scope, message...)
}

// A host calls these methods with the authority of its caller. They need the same scopes as the HTTP
// calls.
func TestGoCallsNeedTheScopesOfTheHTTPCalls(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store := open(t)
		g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
			scopesOn(store)(g.fixture, cfg)
		}})
		ctx, options := t.Context(), auth.KeyOptions{Scopes: auth.NewScopes(reading)}
		svc, keys, own, user := g.svc, g.svc.Credentials(), g.admin.ID, g.user.ID
		pair, token := g.keyOf(g.admin, auth.NewScopes(reading)), g.open(g.adminPair)
		key, opened := pair.AccessKey, token.Session.ID
		type authority = auth.Authority
		for scope, calls := range map[string]map[string]func(by authority) error{
			auth.ScopeKeys: {
				"Issue":     func(by authority) error { return errorOf(keys.Issue(ctx, by, own, options)) },
				"Rotate":    func(by authority) error { return errorOf(keys.Rotate(ctx, by, key, 0)) },
				"Revoke":    func(by authority) error { return keys.Revoke(ctx, by, key) },
				"SetScopes": func(by authority) error { return keys.SetScopes(ctx, by, key, nil) },
				"Import": func(by authority) error {
					return keys.Import(ctx, by, auth.ImportedKey{UserID: own, AccessKey: "old",
						Hash: bcrypted, KeyOptions: options})
				},
			},
			auth.ScopeSessions: {
				"Revoke":     func(by authority) error { return svc.Tokens().Revoke(ctx, by, opened) },
				"RevokeUser": func(by authority) error { return errorOf(svc.Tokens().RevokeUser(ctx, by, own)) },
			},
			auth.ScopeGitHub: {
				"Disconnect": func(by authority) error { return svc.GitHub().Disconnect(ctx, by, own) },
				"Unlink":     func(by authority) error { return svc.GitHub().Unlink(ctx, by, own) },
			},
			auth.ScopeUsers: {
				"Register": func(by authority) error {
					return errorOf(svc.Register(ctx, by, auth.UserParams{Username: "carol", Key: options}))
				},
				"ImportUsers": func(by authority) error {
					lines := strings.NewReader(line("carol"))
					return errorOf(svc.ImportUsers(ctx, by, lines, auth.ImportOptions{}))
				},
				"RegenerateCredentials": func(by authority) error {
					return errorOf(svc.RegenerateCredentials(ctx, by, user, options))
				},
				"ReinstateUser": func(by authority) error {
					return errorOf(svc.ReinstateUser(ctx, by, user, options))
				},
				"UpdateUser": func(by authority) error {
					return errorOf(svc.UpdateUser(ctx, by, user, auth.UserChange{IsActive: new(false)}))
				},
				"DeleteUser":      func(by authority) error { return svc.DeleteUser(ctx, by, user) },
				"RevokeUser":      func(by authority) error { return errorOf(svc.Tokens().RevokeUser(ctx, by, user)) },
				"RevokeEverybody": func(by authority) error { return svc.RevokeEverybody(ctx, by) },
				"Issue": func(by authority) error {
					return errorOf(keys.Issue(ctx, by, user, options))
				},
				"Forget": func(by authority) error {
					return svc.GitHub().Forget(ctx, by, auth.GitHubAccount{Host: "x", ID: 1})
				},
			},
		} {
			super, by := g.authorities(without(scope))
			if scope == auth.ScopeUsers {
				by = super
			}
			for name, call := range calls {
				requireInsufficient(t, scope, call(by), name)
			}
		}
		require.Equal(t, http.StatusOK, status(g.svc, token.Bearer.Reveal()), "nothing was revoked")
		require.Equal(t, http.StatusOK, g.login(pair).status)
		require.Equal(t, http.StatusOK, g.login(g.userPair).status)
		super, _ := g.authorities(auth.NewScopes(allScopes...))
		requireInsufficient(t, "", g.svc.GitHub().Forget(ctx, super, auth.GitHubAccount{Host: "x", ID: 1}))
	})
}

func TestALimitedSessionChangesNoKeyBeyondItsScopes(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, scopesOn(open(t)))
		keys, ctx := f.svc.Credentials(), t.Context()
		limit := auth.NewScopes(auth.ScopeKeys, auth.ScopeUsers, reading)
		super, own := f.authorities(limit)
		for name, wide := range map[string]*auth.ScopeSet{
			"": nil, writing: auth.NewScopes(reading, writing),
			auth.ScopeEvents: auth.NewScopes(auth.ScopeEvents),
		} {
			for _, by := range []auth.Authority{super, own} {
				wider, narrow := f.keyOf(f.admin, wide), f.keyOf(f.admin, auth.NewScopes(reading))
				options, before := auth.KeyOptions{Scopes: wide}, f.keyCount(f.admin)
				for call, err := range map[string]error{
					"Issue":            errorOf(keys.Issue(ctx, by, f.admin.ID, options)),
					"Rotate":           errorOf(keys.Rotate(ctx, by, wider.AccessKey, 0)),
					"Revoke":           keys.Revoke(ctx, by, wider.AccessKey),
					"SetScopes":        keys.SetScopes(ctx, by, narrow.AccessKey, wide),
					"SetScopes narrow": keys.SetScopes(ctx, by, wider.AccessKey, auth.NewScopes()),
					"Import": keys.Import(ctx, by, auth.ImportedKey{UserID: f.admin.ID, AccessKey: "old",
						Hash: bcrypted, KeyOptions: options}),
				} {
					requireInsufficient(t, name, err, call)
				}
				require.Equal(t, before, f.keyCount(f.admin))
				require.True(t, wide.Equal(f.scopesOf(wider)))
				require.True(t, auth.NewScopes(reading).Equal(f.scopesOf(narrow)))
				require.NoError(t, keys.SetScopes(ctx, by, narrow.AccessKey, auth.NewScopes(auth.ScopeKeys)))
				require.NoError(t, keys.Revoke(ctx, by, narrow.AccessKey))
			}
			requireInsufficient(t, name, errorOf(f.svc.Register(ctx, super,
				auth.UserParams{Username: "carol", Key: auth.KeyOptions{Scopes: wide}})))
			requireInsufficient(t, name, errorOf(f.svc.ReinstateUser(ctx, super, f.user.ID,
				auth.KeyOptions{Scopes: wide})))
		}
		require.Equal(t, http.StatusOK, f.login(f.userPair).status, "the user was not reset")
	})
}

func TestALimitedSuperUserImportsOnlyKeysWithItsOwnScopes(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, scopesOn(open(t)))
		super, _ := f.authorities(auth.NewScopes(auth.ScopeUsers, reading))
		imported := func(by auth.Authority, scopes string) (auth.ImportProgress, error) {
			text := strings.Replace(line("carol"), `"hash"`, scopes+`"hash"`, 1)
			text = strings.Replace(text, `"email":"carol@example.com",`, "", 1)
			return f.svc.ImportUsers(t.Context(), by, strings.NewReader(text), auth.ImportOptions{})
		}
		for scopes, missing := range map[string]string{
			``: "", `"scopes":["reports:read","reports:write"],`: writing,
			`"scopes":["auth:keys"],`: auth.ScopeKeys,
		} {
			_, err := imported(super, scopes)
			requireInsufficient(t, missing, err, scopes)
		}
		for _, scopes := range []string{`"scopes":["reports:delete"],`, `"scopes":null,`,
			`"scopes":"reports:read",`, `"scopes":[7],`, `"scopes":[""],`} {
			progress, err := imported(authtest.ByHost, scopes)
			require.NoError(t, err)
			require.Equal(t, 1, progress.Rejected, scopes)
		}
		progress, err := imported(super, `"scopes":["reports:read"],`)
		require.NoError(t, err)
		require.Equal(t, 1, progress.Added)
		pair := auth.KeyPair{AccessKey: "key-carol", AccessSecret: auth.NewSecret("correct horse")}
		require.True(t, auth.NewScopes(reading).Equal(f.scopesOf(pair)))
	})
}

func TestALimitedSessionConnectsNoGitHubAccount(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubHostScopes)
	connect := func(token string) page {
		identity, err := g.svc.Tokens().Verify(t.Context(), token)
		require.NoError(t, err)
		authURL, cookie, err := g.svc.GitHub().BeginConnect(newBearer(token), identity.Authority(), "")
		require.NoError(t, err, "BeginConnect does not check the session")
		b := g.browser()
		b.client.Jar.SetCookies(mustURL(t, g.server.URL), []*http.Cookie{cookie})
		return b.get(authURL)
	}
	p := connect(g.limited(g.user, allScopes...))
	require.Equal(t, http.StatusForbidden, p.status, p.body)
	require.Equal(t, 1, g.fake.Count(githubtest.EndpointDeleteToken), "GitHub's new token is revoked")
	_, err := g.link(octocat)
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Equal(t, http.StatusNotFound, g.status(g.signIn(g.user)).status, "no token is kept")
	require.Equal(t, http.StatusOK, connect(g.signIn(g.user)).status)
	_, err = g.link(octocat)
	require.NoError(t, err)
}

func TestASessionIsLimitedAsItsKeyIs(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, scopesOn(open(t)))
		pair := f.keyOf(f.user, auth.NewScopes(reading, writing))
		params := auth.IssueParams{UserID: f.user.ID, Method: auth.MethodAccessKey,
			AccessKeyID: pair.AccessKey}
		for _, test := range []struct {
			scopes, want *auth.ScopeSet
			missing      string
		}{
			{nil, auth.NewScopes(reading, writing), ""},
			{auth.NewScopes(reading), auth.NewScopes(reading), ""},
			{auth.NewScopes(), auth.NewScopes(), ""},
			{auth.NewScopes(reading, auth.ScopeUsers), nil, auth.ScopeUsers},
		} {
			params.Scopes = test.scopes
			issued, err := f.svc.Tokens().Issue(t.Context(), params)
			if test.want == nil {
				requireInsufficient(t, test.missing, err)
				continue
			}
			require.NoError(t, err)
			require.True(t, test.want.Equal(issued.Session.Scopes))
			identity, err := f.svc.Tokens().Verify(t.Context(), issued.Bearer.Reveal())
			require.NoError(t, err)
			require.True(t, test.want.Equal(identity.Scopes()))
		}
		params.Scopes = auth.NewScopes("reports:delete")
		require.ErrorIs(t, errorOf(f.svc.Tokens().Issue(t.Context(), params)), auth.ErrInvalid)
		sessions, err := f.store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
		require.NoError(t, err)
		require.Len(t, sessions, 3, "a refused session is not left behind")
	})
}

// Attack: the client signs in or makes a key at the moment at which the key of its session is limited.
func TestLimitingAKeyHoldsForCallsThatHaveBegun(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		var limitBefore string // the store method before which the key is limited
		var pair auth.KeyPair
		f := &fixture{}
		f = newFixture(t, scopesOn(authtest.FaultyStore(open(t), func(method string) error {
			if method != limitBefore {
				return nil
			}
			limitBefore = ""
			return f.svc.Credentials().SetScopes(context.Background(), authtest.ByHost, pair.AccessKey,
				auth.NewScopes(reading))
		})))
		pair = f.keyOf(f.user, nil)
		limitBefore = "CreateSession"
		require.True(t, auth.NewScopes(reading).Equal(f.scopesOf(pair)),
			"the sign-in had verified the secret before")

		pair = f.keyOf(f.user, nil)
		opened, before := f.open(pair).Bearer.Reveal(), f.keyCount(f.user)
		limitBefore = "AddKey"
		made := f.sendAs(opened, http.MethodPost, "/auth/keys", "")
		require.Equal(t, http.StatusUnauthorized, made.status, "a session that was revoked meanwhile")
		require.Equal(t, before, f.keyCount(f.user))
	})
}

// A program that filters scopes may be left with none. The result must not be a key without a limit.
func TestNoScopesLeftAllowsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	none := slices.DeleteFunc([]string{reading}, func(string) bool { return true })
	var unset []string
	for _, set := range []*auth.ScopeSet{
		auth.NewScopes(), auth.NewScopes(unset...), auth.NewScopes(none...), {},
	} {
		require.NotNil(t, set)
		require.NotNil(t, set.List())
		require.Empty(t, set.List())
		token := f.open(f.keyOf(f.user, set)).Bearer.Reveal()
		requireLacks(t, auth.ScopeKeys, f.sendAs(token, http.MethodGet, "/auth/keys", ""))
	}
}

// Attack: a host decodes the body of a request into options that have the scopes of the caller's session.
// If decoding changed the set itself, it would change the session in a store that shares the set.
func TestDecodingJSONChangesNoSetThatIsInUse(t *testing.T) {
	t.Parallel()
	for _, scopes := range []*auth.ScopeSet{auth.NewScopes(auth.ScopeKeys), auth.NewScopes()} {
		f := newFixture(t, hostScopes)
		token := f.open(f.keyOf(f.user, scopes))
		want := scopes.String()
		for _, set := range []*auth.ScopeSet{scopes, token.Session.Scopes} {
			options := auth.KeyOptions{Scopes: set}
			require.Error(t, json.Unmarshal([]byte(`{"Scopes": ["reports:write"]}`), &options))
			require.Equal(t, want, set.String())
		}
		session, err := f.store.FindSession(t.Context(), token.Session.ID)
		require.NoError(t, err)
		require.Equal(t, want, session.Scopes.String())
	}
}

func TestScopeSetsStayTheSameInJSON(t *testing.T) {
	t.Parallel()
	type record struct{ Scopes *auth.ScopeSet }
	for _, test := range []struct {
		set  *auth.ScopeSet
		text string
	}{
		{nil, `{"Scopes":null}`},
		{auth.NewScopes(), `{"Scopes":[]}`},
		{auth.NewScopes(writing, reading, writing), `{"Scopes":["reports:read","reports:write"]}`},
	} {
		text, err := json.Marshal(record{test.set})
		require.NoError(t, err)
		require.Equal(t, test.text, string(text))
		var read record
		require.NoError(t, json.Unmarshal(text, &read))
		require.True(t, test.set.Equal(read.Scopes), test.text)
		require.Equal(t, test.set == nil, read.Scopes == nil, test.text)
	}
	var absent record
	require.NoError(t, json.Unmarshal([]byte(`{}`), &absent))
	require.Nil(t, absent.Scopes)
	for _, text := range []string{`"reports:read"`, `7`, `{}`, `[7]`, `[null]`, `[""]`, `["a b"]`,
		`["` + strings.Repeat("x", 65) + `"]`} {
		var read struct{ Scopes auth.ScopeSet }
		require.Error(t, json.Unmarshal([]byte(`{"Scopes":`+text+`}`), &read), text)
		require.False(t, read.Scopes.Allows(reading) || read.Scopes.Allows(""), text)
	}
	var set auth.ScopeSet // a field that is no pointer cannot be without a limit
	require.NoError(t, json.Unmarshal([]byte(`null`), &set))
	require.False(t, set.Allows(reading))
}
