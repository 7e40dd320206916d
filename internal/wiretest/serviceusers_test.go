package wiretest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// registerService registers a service user and returns the record.
func (f *fixture) registerService(name string, audiences ...string) auth.Registration {
	f.t.Helper()
	made, err := f.svc.Register(f.t.Context(), authtest.ByHost,
		auth.UserParams{Username: name, IsService: true, Audiences: audiences})
	require.NoError(f.t, err)
	return made
}

// Both paths make a service user: a client that asks for a service user must not get a person.
func TestAServiceUserIsRegisteredAtBothPaths(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, path := range []string{"/api/v1/user/register", "/auth/users/register"} {
		name := []string{"robot-1", "robot-2"}[i]
		r := f.asAdmin("POST", path, `{"username":"`+name+`","is_service":true,"audiences":["b","a:x","b"]}`)
		require.Equal(t, http.StatusOK, r.status, r.body)
		got := r.json(t)
		require.Equal(t, true, got["is_service"])
		require.Equal(t, []any{"a:x", "b"}, got["audiences"])
		require.Equal(t, "User", got["role"], "a service user is a super user only if the request says so")

		pair := r.pair(t)
		f.requireLogin(pair, 200)
		own := f.sendAs(f.login(pair).json(t)["token"].(string), "GET", "/auth/user", "").json(t)
		require.Equal(t, true, own["is_service"])
		require.Equal(t, []any{"a:x", "b"}, own["audiences"])
		require.Equal(t, f.admin.ID, own["created_by"])

		stored, err := f.store.FindUser(t.Context(), got["user_id"].(string))
		require.NoError(t, err)
		require.Equal(t, "a:x b", stored.Audiences)
		require.Equal(t, f.admin.ID, stored.CreatedBy)
		require.True(t, stored.HasAudience("b"))
		require.False(t, stored.HasAudience("a"))
	}
	plain := f.asAdmin("POST", "/auth/users/register", `{"username":"robot-3","is_service":true}`).json(t)
	require.Equal(t, []any{}, plain["audiences"])
	boss := f.asAdmin("POST", "/auth/users/register",
		`{"username":"robot-4","is_service":true,"is_super_user":true}`).json(t)
	require.Equal(t, "Super User", boss["role"])

	byHost := f.registerService("robot-5")
	require.Empty(t, byHost.User.CreatedBy)
	require.NotContains(t, f.asAdmin("GET", "/auth/users/"+byHost.User.ID, "").json(t), "created_by")
	person := f.asAdmin("GET", "/auth/users/"+f.user.ID, "").json(t)
	for _, field := range []string{"is_service", "audiences", "created_by"} {
		require.NotContains(t, person, field)
	}
}

func TestInvalidServiceUsersAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	long := strings.Repeat("x", 250)
	tooLong, err := json.Marshal([]string{"a" + long, "b" + long, "c" + long, "d" + long})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		fields string
		status int
	}{
		"audiences of a person":          {`"audiences":["a"]`, 422},
		"no audiences of a person":       {`"audiences":[]`, 422},
		"audiences of a declared person": {`"is_service":false,"audiences":["a"]`, 422},
		"an empty audience":              {`"is_service":true,"audiences":[""]`, 422},
		"an audience with a space":       {`"is_service":true,"audiences":["a b"]`, 422},
		"an audience in quotes":          {`"is_service":true,"audiences":["\"a\""]`, 422},
		"an audience that is not ASCII":  {`"is_service":true,"audiences":["é"]`, 422},
		"an audience of 257 bytes":       {`"is_service":true,"audiences":["1234567` + long + `"]`, 422},
		"audiences of 1000 bytes":        {`"is_service":true,"audiences":` + string(tooLong), 422},
		"a text":                         {`"is_service":true,"audiences":"a"`, 422},
		"numbers":                        {`"is_service":true,"audiences":[1]`, 422},
		"null audiences":                 {`"is_service":true,"audiences":null`, 400},
		"null is_service":                {`"is_service":null`, 400},
		"is_service a text":              {`"is_service":"true"`, 422},
		"Is_Service":                     {`"Is_Service":true`, 400},
		"is_service twice":               {`"is_service":true,"is_service":false`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.asAdmin("POST", "/auth/users/register", `{"username":"robot",`+test.fields+`}`)
			require.Equal(t, test.status, r.status, r.body)
			requireErrorBody(t, r)
		})
	}
	_, err = f.svc.Register(t.Context(), authtest.ByHost,
		auth.UserParams{Username: "robot", Audiences: []string{"a"}})
	require.ErrorIs(t, err, auth.ErrInvalid)
	_, err = f.svc.Register(t.Context(), authtest.ByHost,
		auth.UserParams{Username: "robot", IsService: true, Audiences: []string{"a b"}})
	require.ErrorIs(t, err, auth.ErrInvalid, "one audience that looks like two")
}

// A limited session gives nobody more power than it has.
func TestALimitedSessionMakesOnlyALimitedServiceUserWithoutAudiences(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	token := f.limited(f.admin, auth.ScopeUsers, reading)
	r := f.sendAs(token, "POST", "/auth/users/register", `{"username":"robot","is_service":true}`)
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, auth.NewScopes(auth.ScopeUsers, reading), f.scopesOf(r.pair(t)))
	requireLacks(t, "", f.sendAs(token, "POST", "/auth/users/register",
		`{"username":"robot-2","is_service":true,"audiences":["billing"]}`))
	requireLacks(t, "", f.sendAs(token, "POST", "/auth/users/register",
		`{"username":"robot-2","is_service":true,"is_super_user":true}`))
}

func TestServiceUsersAreNotTheLastSuperUsers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	made, err := f.svc.Register(t.Context(), authtest.ByHost,
		auth.UserParams{Username: "robot", IsService: true, IsSuperUser: true})
	require.NoError(t, err)
	robot := f.signIn(made.User)
	for _, call := range []string{"DELETE ", `PATCH {"is_active":false}`, `PATCH {"is_super_user":false}`} {
		method, body, _ := strings.Cut(call, " ")
		require.Equal(t, 409, f.sendAs(robot, method, "/auth/users/"+f.admin.ID, body).status, call)
	}
	require.Equal(t, 200, f.sendAs(robot, "DELETE", "/auth/users/"+made.User.ID, "").status)

	_, err = f.svc.RecoverSuperUser(t.Context(), f.registerService("robot-2").User.ID)
	require.ErrorIs(t, err, auth.ErrServiceUser)
	_, err = f.svc.Bootstrap(t.Context(), auth.UserParams{Username: "robot-3", IsService: true},
		f.svc.Credentials().GeneratePair())
	require.ErrorIs(t, err, auth.ErrServiceUser)
}

func TestAServiceUserConnectsNoGitHubAccount(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	robot := g.registerService("robot")
	token := g.signIn(robot.User)
	r := g.browser().get(connectCall, "Authorization", "Bearer "+token)
	require.Equal(t, http.StatusForbidden, r.status)
	require.JSONEq(t, `{"detail": "A service user cannot do this: it signs in with access keys only"}`, r.body)

	// A host can begin the flow itself. The store then refuses to write the link.
	identity, err := g.svc.Tokens().Verify(t.Context(), token)
	require.NoError(t, err)
	authURL, cookie, err := g.svc.GitHub().BeginConnect(newBearer(token), identity.Authority(), "")
	require.NoError(t, err)
	callback, err := url.Parse(g.browser().callbackURL(authURL))
	require.NoError(t, err)
	answer := send(g.svc.Handler(), http.MethodGet, callback.RequestURI(), "",
		"Cookie", cookie.Name+"="+cookie.Value)
	require.Equal(t, http.StatusForbidden, answer.status, answer.body)
	_, err = g.link(octocat)
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Empty(t, g.fake.Tokens(octocat), "the token is revoked at GitHub")

	_, err = g.svc.Tokens().Issue(t.Context(),
		auth.IssueParams{UserID: robot.User.ID, Method: auth.MethodGitHub})
	require.ErrorIs(t, err, auth.ErrServiceUser)
	sessions, err := g.store.ListSessions(t.Context(), robot.User.ID, g.clock.Now())
	require.NoError(t, err)
	require.Len(t, sessions, 1, "the refused sign-in leaves no session")
}

// The host's table says which of its users are service users.
func TestAServiceUserOfTheHostDoesNotSignInWithGitHub(t *testing.T) {
	t.Parallel()
	setService := func(h *hostGitHubFixture, is bool) {
		h.table.change("u-alice", func(u *auth.User) { u.IsService = is })
	}
	t.Run("first sign-in", func(t *testing.T) {
		t.Parallel()
		h := newHostGitHub(t)
		setService(h, true)
		b := h.browser()
		require.Equal(t, http.StatusForbidden, b.get(b.authURL(signInCall)).status)
		h.requireNothingLeft()
	})
	t.Run("linked account", func(t *testing.T) {
		t.Parallel()
		h := newHostGitHub(t)
		token := h.browser().signIn()["token"].(string)
		setService(h, true)
		b := h.browser()
		require.Equal(t, http.StatusForbidden, b.get(b.authURL(signInCall)).status)
		require.Equal(t, http.StatusForbidden,
			b.get(connectCall, "Authorization", "Bearer "+token).status)
	})
	t.Run("connecting", func(t *testing.T) {
		t.Parallel()
		h := newHostGitHub(t)
		b := h.browser()
		token, err := h.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})
		require.NoError(t, err)
		callback := b.callbackURL(b.connectURL(token.Bearer.Reveal()))
		setService(h, true)
		require.Equal(t, http.StatusForbidden, b.get(callback).status)
		_, err = h.link(octocat)
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.Empty(t, h.fake.Tokens(octocat))
	})
}

func TestUsersAreListedByKind(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var services []string
	for _, name := range []string{"robot-1", "robot-2", "robot-3"} {
		services = append(services, f.registerService(name).User.ID)
	}
	slices.Sort(services)
	persons := []string{f.admin.ID, f.user.ID}
	slices.Sort(persons)
	all := slices.Sorted(slices.Values(slices.Concat(persons, services)))
	for query, want := range map[string][]string{
		"": persons, "kind=person": persons, "kind=service": services, "kind=all": all,
	} {
		for _, limit := range []string{"", "&limit=1", "&limit=2", "&limit=200"} {
			require.Equal(t, want, f.walkUsers("/auth/users?"+query+limit), query+limit)
		}
	}
	for _, kind := range []string{"x", "Service", "services", "service%20"} {
		require.Equal(t, 422, f.asAdmin("GET", "/auth/users?kind="+kind, "").status, kind)
	}
}

// walkUsers returns the IDs of the users on the page and on all later pages.
func (f *fixture) walkUsers(page string) (ids []string) {
	f.t.Helper()
	for page != "" {
		r := f.asAdmin("GET", page, "")
		require.Equal(f.t, http.StatusOK, r.status, r.body)
		for _, user := range r.array(f.t) {
			ids = append(ids, user["user_id"].(string))
		}
		page, _, _ = strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), ">")
	}
	return ids
}

func TestServiceUsersAreImported(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	keys := `"keys":[{"access_key":"KEY","hash":"` + bcrypted + `"}]`
	line := func(fields, key string) string {
		return `{"username":"` + key + `",` + fields + strings.ReplaceAll(keys, "KEY", key) + `}`
	}
	progress, err := i.importLines(line(`"is_service":true,"audiences":["b","a"],`, "robot"),
		line(`"is_service":false,`, "person"), line(`"audiences":["a"],`, "x1"),
		line(`"is_service":true,"audiences":["a b"],`, "x2"), line(`"is_service":null,`, "x3"))
	require.NoError(t, err)
	require.Equal(t, 2, progress.Added)
	require.Equal(t, 3, progress.Rejected)
	users, err := i.store.ListUsers(t.Context(), auth.UserQuery{Limit: 10, Kind: auth.UserKindService})
	require.NoError(t, err)
	require.Len(t, users, 1)
	require.Equal(t, "a b", users[0].Audiences)
	require.Empty(t, users[0].CreatedBy)

	caller, err := i.svc.Tokens().Verify(t.Context(), i.signIn(i.admin))
	require.NoError(t, err)
	by := caller.Authority()
	by.SuperUser = true
	_, err = i.svc.ImportUsers(t.Context(), by, strings.NewReader(line(`"is_service":true,`, "robot-2")),
		auth.ImportOptions{})
	require.NoError(t, err)
	users, err = i.store.ListUsers(t.Context(), auth.UserQuery{Limit: 10, Kind: auth.UserKindService})
	require.NoError(t, err)
	creators := []string{users[0].CreatedBy, users[1].CreatedBy}
	require.ElementsMatch(t, []string{"", i.admin.ID}, creators)
}

// With a key of the service user, the limited session could get delegated tokens for other services.
func TestALimitedSessionGetsNoKeyOfAServiceUserWithAudiences(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store := open(t)
		f := newFixture(t, func(f *fixture, cfg *auth.Config) {
			f.store = store
			twoAudiences(f, cfg)
		})
		agent := f.agent()
		pair := f.keyOf(agent, auth.NewScopes(reading))
		limited := f.limited(f.admin, allScopes...)
		for _, call := range []string{"regenerate-credentials", "reinstate"} {
			r := f.sendAs(limited, http.MethodPost, "/auth/users/"+agent.ID+"/"+call, "")
			requireLacks(t, "", r, call)
		}
		requireLacks(t, "", f.sendAs(limited, http.MethodPost, "/auth/keys/"+pair.AccessKey+"/rotate", ""))
		identity, err := f.svc.Tokens().Verify(t.Context(), limited)
		require.NoError(t, err)
		by := identity.Authority()
		by.SuperUser = true
		keys := f.svc.Credentials()
		_, err = keys.Issue(t.Context(), by, agent.ID, auth.KeyOptions{Scopes: auth.NewScopes()})
		require.ErrorIs(t, err, auth.ErrInsufficientScope)
		require.ErrorIs(t, keys.SetScopes(t.Context(), by, pair.AccessKey, auth.NewScopes()),
			auth.ErrInsufficientScope)
		require.Equal(t, http.StatusOK, f.login(pair).status, "nothing has changed")
		by.SuperUser = false
		_, err = keys.Rotate(t.Context(), by, pair.AccessKey, 0)
		require.ErrorIs(t, err, auth.ErrNotFound, "the error does not say that there is such a key")
		r := f.sendAs(f.signIn(f.admin), http.MethodPost, "/auth/users/"+agent.ID+"/reinstate", "")
		require.Equal(t, http.StatusOK, r.status, "a session without a limit may")
	})
}

// The store does not know the audiences of a user in the host's table.
func TestALimitedSessionGetsNoKeyOfAServiceUserInTheTableOfTheHost(t *testing.T) {
	t.Parallel()
	table := newHostTable()
	f := newFixture(t, ownTable(table), twoAudiences)
	table.change("agent", func(u *auth.User) {
		*u = auth.User{ID: "agent", IsActive: true, IsService: true, Audiences: audience}
	})
	table.change("robot", func(u *auth.User) { *u = auth.User{ID: "robot", IsActive: true, IsService: true} })
	keys, options := f.svc.Credentials(), auth.KeyOptions{Scopes: auth.NewScopes(reading)}
	limited := f.limited(auth.User{ID: "u-boss"}, reading, auth.ScopeKeys, auth.ScopeUsers)
	identity, err := f.svc.Tokens().Verify(t.Context(), limited)
	require.NoError(t, err)
	by := identity.Authority()
	by.SuperUser = true
	change := func(user string) []error {
		pair := f.keyOf(auth.User{ID: user}, options.Scopes)
		_, issued := keys.Issue(t.Context(), by, user, options)
		_, rotated := keys.Rotate(t.Context(), by, pair.AccessKey, 0)
		return []error{issued, rotated, keys.SetScopes(t.Context(), by, pair.AccessKey, auth.NewScopes())}
	}
	for _, err := range change("agent") {
		require.ErrorIs(t, err, auth.ErrInsufficientScope)
	}
	for _, user := range []string{"robot", "u-alice", "u-boss"} {
		for _, err := range change(user) {
			require.NoError(t, err, user)
		}
	}
	by.SuperUser = false
	for _, err := range change("agent") {
		require.ErrorIs(t, err, auth.ErrNotFound, "the error does not say that there is such a key")
	}
}
