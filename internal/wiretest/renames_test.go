package wiretest

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func (f *fixture) patchUser(user auth.User, body string) response {
	f.t.Helper()
	return f.asAdmin("PATCH", "/auth/users/"+user.ID, body)
}

func TestASuperUserChangesTheNamesOfAUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.loginFrom("a browser")
	r := f.patchUser(f.user, `{"username":"alicia","email":"alicia@example.com"}`)
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, "alicia", r.json(t)["username"])
	require.Equal(t, "alicia@example.com", r.json(t)["email"])
	own := f.sendAs(token, "GET", "/auth/user", "")
	require.Equal(t, http.StatusOK, own.status, "the session stays")
	require.Equal(t, "alicia", own.json(t)["username"])
	events := f.trail()
	require.Equal(t, eventkind.UserChanged, events[0].Kind)
	require.Equal(t, "username=changed email=changed", events[0].Reason, "the event has no names")
	require.Equal(t, f.user.ID, events[0].UserID)
	require.Equal(t, f.admin.ID, events[0].ActorID)
	f.requireLogin(f.userPair, 200)

	r = f.patchUser(f.user, `{"email":null}`)
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Nil(t, r.json(t)["email"])
	require.Equal(t, "email=removed", f.trail()[0].Reason)
	require.Equal(t, http.StatusOK, f.asAdmin("POST", "/auth/users/register",
		`{"username":"new","email":"ALICIA@example.com"}`).status, "an e-mail that was given up is free")
}

func TestAUsernameThatWasGivenUpStaysTaken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.Equal(t, http.StatusOK, f.patchUser(f.user, `{"username":"alicia"}`).status)
	require.Equal(t, http.StatusConflict, f.asAdmin("POST", "/auth/users/register",
		`{"username":"ALICE"}`).status)
	robot := f.registerService("robot").User
	for _, name := range []string{"alice", "Alice", "ALICIA", "root"} {
		body := `{"username":"` + name + `"}`
		want := http.StatusConflict
		if name == "root" {
			want = http.StatusUnprocessableEntity // reserved
		}
		require.Equal(t, want, f.patchUser(robot, body).status, name)
	}
	require.Equal(t, http.StatusOK, f.patchUser(f.user, `{"username":"Alice"}`).status,
		"the same user takes the username again")
	require.Equal(t, http.StatusOK, f.patchUser(f.user, `{"username":"aLICE"}`).status)
	_, err := f.svc.UpdateUser(t.Context(), authtest.ByHost, robot.ID,
		auth.UserChange{Email: new("Root@example.com")})
	require.ErrorIs(t, err, auth.ErrExists)
}

func TestNamesThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before, err := f.store.FindUser(t.Context(), f.user.ID)
	require.NoError(t, err)
	for body, want := range map[string]int{
		`{"username":""}`:                                        422,
		`{"username":null}`:                                      400,
		`{"username":7}`:                                         422,
		`{"username":" alice"}`:                                  422,
		`{"username":"a  b"}`:                                    422,
		`{"username":"alice\u200b"}`:                             422,
		`{"username":"\uff41lice"}`:                              422,
		`{"username":"a\u0000"}`:                                 400,
		`{"username":"admin"}`:                                   422,
		`{"username":"Super-User"}`:                              422,
		`{"username":"` + strings.Repeat("x", 129) + `"}`:        422,
		`{"Username":"x"}`:                                       400,
		`{"username":"x","username":"y"}`:                        400,
		`{"email":""}`:                                           422,
		`{"email":7}`:                                            422,
		`{"email":"example.com"}`:                                422,
		`{"email":"N <new@example.com>"}`:                        422,
		`{"username":"fine","email":"example.com"}`:              422,
		`{"username":"fine","email":"root@example.com"}`:         409,
		`{"username":"admin","is_active":false}`:                 422,
		`{"email":"new@example.com","is_service":true}`:          422,
		`{"email":"new@example.com","audiences":["everything"]}`: 422,
	} {
		r := f.patchUser(f.user, body)
		require.Equal(t, want, r.status, "%s: %s", body, r.body)
		requireErrorBody(t, r)
	}
	user, err := f.store.FindUser(t.Context(), f.user.ID)
	require.NoError(t, err)
	require.Equal(t, before, user, "nothing has changed")
	for _, change := range []auth.UserChange{
		{Username: new("")}, {Username: new("a\u200b")}, {Email: new("x")},
	} {
		_, err := f.svc.UpdateUser(t.Context(), authtest.ByHost, f.user.ID, change)
		require.ErrorIs(t, err, auth.ErrInvalid)
	}
}

// A host can let a person who has lost a key sign in by e-mail. So a limited session cannot choose the
// address, and cannot take the known name from a super user.
func TestALimitedSessionChangesOnlyUsernamesOfOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	token := f.limited(f.admin, allScopes...)
	patch := func(user auth.User, body string) response {
		return f.sendAs(token, "PATCH", "/auth/users/"+user.ID, body)
	}
	require.Equal(t, http.StatusOK, patch(f.user, `{"username":"alicia"}`).status)
	require.Equal(t, http.StatusOK, patch(f.user, `{"email":null}`).status)
	for _, body := range []string{`{"email":"thief@example.com"}`,
		`{"username":"fine","email":"thief@example.com"}`} {
		requireLacks(t, "", patch(f.user, body))
		requireLacks(t, "", patch(f.admin, body))
	}
	requireLacks(t, "", patch(f.admin, `{"username":"somebody"}`))
	requireLacks(t, auth.ScopeUsers, f.sendAs(f.limited(f.admin, auth.ScopeKeys), "PATCH",
		"/auth/users/"+f.user.ID, `{"username":"x"}`))
}

func TestRetiredUsernamesArePruned(t *testing.T) {
	t.Parallel()
	register := func(f *fixture, name string) int {
		body, err := json.Marshal(map[string]string{"username": name})
		require.NoError(t, err)
		return f.asAdmin("POST", "/auth/users/register", string(body)).status
	}
	for name, retention := range map[string]time.Duration{"a month": 30 * 24 * time.Hour, "forever": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.NameRetention = retention })
			gone := f.registerService("gone").User
			require.Equal(t, http.StatusOK, f.patchUser(f.user, `{"username":"alicia"}`).status)
			require.Equal(t, http.StatusOK, f.asAdmin("DELETE", "/auth/users/"+gone.ID, "").status)
			f.clock.Advance(30*24*time.Hour - time.Second)
			_, err := f.svc.Prune(t.Context())
			require.NoError(t, err)
			require.Equal(t, http.StatusConflict, register(f, "alice"))
			require.Equal(t, http.StatusConflict, register(f, "gone"))
			f.clock.Advance(time.Second)
			removed, err := f.svc.Prune(t.Context())
			require.NoError(t, err)
			want := http.StatusConflict
			if retention > 0 {
				want = http.StatusOK
				require.GreaterOrEqual(t, removed, 2)
			}
			require.Equal(t, want, register(f, "alice"))
			require.Equal(t, want, register(f, "gone"))
			require.Equal(t, http.StatusConflict, register(f, "alicia"), "the name of a user is not pruned")
		})
	}
}

// The GitHub account of a deleted super user is pruned. If it is still listed in SuperUsers, it must not
// make a second super user.
func TestAPrunedGitHubAccountMakesNoSecondSuperUser(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.GitHub.SuperUsers = []int64{octocat}
		cfg.NameRetention = 12 * time.Hour
	}})
	first := g.browser().signIn()
	require.Equal(t, true, first["is_super_user"])
	own := g.sendAs(first["token"].(string), "GET", "/auth/user", "").json(t)["user_id"].(string)
	require.Equal(t, http.StatusOK, g.asAdmin("DELETE", "/auth/users/"+own, "").status)
	g.clock.Advance(12 * time.Hour)
	removed, err := g.svc.Prune(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, removed, 2, "the account and the username")
	again := g.browser().signIn()
	require.Equal(t, octocatLogin, again["username"], "the username is free")
	require.Equal(t, false, again["is_super_user"])
}

// The attack: a username is pruned soon after its user has given it up, and another user takes it. A token of
// the earlier user would still contain the username.
func TestAUsernameStaysTakenWhileATokenContainsIt(t *testing.T) {
	t.Parallel()
	config := func(f *fixture, lifetime, retention time.Duration) auth.Config {
		return auth.Config{Issuer: issuer, Now: f.clock.Now, SigningKeys: []auth.SigningKey{f.signer.Key},
			Tokens: auth.TokenConfig{Lifetime: lifetime}, NameRetention: retention}
	}
	f := newFixture(t)
	for _, lifetime := range []time.Duration{0, time.Hour, 48 * time.Hour} {
		longest := max(12*time.Hour, lifetime) // the default of Tokens.MaxLifetime
		for _, retention := range []time.Duration{1, time.Hour, longest - 1} {
			_, err := auth.New(f.store, config(f, lifetime, retention))
			require.ErrorContains(t, err, "auth: Config.NameRetention must be at least Tokens.MaxLifetime")
		}
		var err error
		f.svc, err = auth.New(f.store, config(f, lifetime, longest))
		require.NoError(t, err)
		token := f.signIn(f.user)
		name := "alice " + longest.String() + lifetime.String()
		before, err := f.svc.Tokens().Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, f.patchUser(f.user, `{"username":"`+name+`"}`).status)
		f.clock.Advance(cmp.Or(lifetime, 12*time.Hour) - time.Second)
		_, err = f.svc.Prune(t.Context())
		require.NoError(t, err)
		identity, err := f.svc.Tokens().Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, before.Username, identity.Username, "as it was when the token was issued")
		require.Equal(t, http.StatusConflict, f.asAdmin("POST", "/auth/users/register",
			`{"username":"`+before.Username+`"}`).status)
		f.clock.Advance(longest)
		_, err = f.svc.Prune(t.Context())
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, f.asAdmin("POST", "/auth/users/register",
			`{"username":"`+before.Username+`"}`).status)
	}
}
