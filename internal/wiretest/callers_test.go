package wiretest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// callers are the kinds of callers, in the order of the columns in calls.
var callers = []struct {
	name  string
	token func(f *fixture) string
}{
	{"no token", func(*fixture) string { return "" }},
	{"a forged token", func(f *fixture) string { return flipCase(f.signIn(f.admin), 40) }},
	{"a disabled user", func(f *fixture) string {
		token := f.signIn(f.other())
		f.setActive(f.other(), false)
		return token
	}},
	{"the owner", func(f *fixture) string { return f.signIn(f.user) }},
	{"another user", func(f *fixture) string { return f.signIn(f.other()) }},
	{"a super user", func(f *fixture) string { return f.signIn(f.admin) }},
}

// other returns the ordinary user mallory, and creates the user if necessary.
func (f *fixture) other() auth.User {
	f.t.Helper()
	users, err := f.store.ListUsers(f.t.Context(), auth.UserQuery{Limit: 10})
	require.NoError(f.t, err)
	for _, user := range users {
		if user.Username == "mallory" {
			return user
		}
	}
	made, err := f.svc.Register(f.t.Context(), authtest.ByHost, auth.UserParams{Username: "mallory"})
	require.NoError(f.t, err)
	return made.User
}

// calls contains the status that each kind of caller gets from each call. In a path, USER, KEY and
// SESSION stand for IDs that belong to the caller of the column "the owner".
var calls = []struct {
	method, path, body string
	want               [6]int
}{
	{"POST", "/auth/users/login", "LOGIN", [6]int{200, 200, 200, 200, 200, 200}},
	{"GET", "/.well-known/jwks.json", "", [6]int{200, 200, 200, 200, 200, 200}},
	{"POST", "/auth/logout", "", [6]int{401, 401, 401, 200, 200, 200}},

	{"GET", "/auth/user", "", [6]int{401, 401, 401, 200, 200, 200}},
	{"GET", "/auth/user/", "", [6]int{401, 401, 401, 200, 200, 200}},
	{"GET", "/auth/sessions", "", [6]int{401, 401, 401, 200, 200, 200}},
	{"DELETE", "/auth/sessions/SESSION", "", [6]int{401, 401, 401, 204, 404, 204}},
	{"DELETE", "/auth/sessions/none", "", [6]int{401, 401, 401, 404, 404, 404}},
	{"DELETE", "/auth/sessions?except=current", "", [6]int{401, 401, 401, 200, 200, 200}},
	{"DELETE", "/auth/sessions", "", [6]int{401, 401, 401, 422, 422, 422}},
	{"GET", "/auth/keys", "", [6]int{401, 401, 401, 200, 200, 200}},
	{"POST", "/auth/keys", "", [6]int{401, 401, 401, 201, 201, 201}},
	{"POST", "/auth/keys", `{"label":"CI"}`, [6]int{401, 401, 401, 201, 201, 201}},
	{"POST", "/auth/keys/KEY/rotate", "", [6]int{401, 401, 401, 201, 404, 201}},
	{"POST", "/auth/keys/none/rotate", "", [6]int{401, 401, 401, 404, 404, 404}},
	{"DELETE", "/auth/keys/KEY", "", [6]int{401, 401, 401, 204, 404, 204}},
	{"DELETE", "/auth/keys/none", "", [6]int{401, 401, 401, 404, 404, 404}},

	{"POST", "/api/v1/user/register", `{"username":"new","email":"n@example.com"}`, [6]int{401, 401, 401, 403, 403, 200}},
	{"POST", "/auth/users/register", `{"username":"new","email":"n@example.com"}`, [6]int{401, 401, 401, 403, 403, 200}},
	{"GET", "/auth/users", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"GET", "/auth/users?search=A&state=active&kind=super_user", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"GET", "/auth/users?search=", "", [6]int{401, 401, 401, 403, 403, 422}},
	{"GET", "/auth/users/USER", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"GET", "/auth/users/none", "", [6]int{401, 401, 401, 403, 403, 404}},
	{"GET", "/auth/users/USER/keys", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"GET", "/auth/users/none/keys", "", [6]int{401, 401, 401, 403, 403, 404}},
	{"GET", "/auth/users/USER/sessions", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"GET", "/auth/users/none/sessions", "", [6]int{401, 401, 401, 403, 403, 404}},
	{"PATCH", "/auth/users/USER", `{"is_super_user":true}`, [6]int{401, 401, 401, 403, 403, 200}},
	{"PATCH", "/auth/users/none", `{"is_active":false}`, [6]int{401, 401, 401, 403, 403, 404}},
	{"PATCH", "/auth/users/USER", ``, [6]int{401, 401, 401, 403, 403, 422}},
	{"PATCH", "/auth/users/ADMIN", `{"is_super_user":false}`, [6]int{401, 401, 401, 403, 403, 409}},
	{"PATCH", "/auth/users/ADMIN", `{"is_active":false}`, [6]int{401, 401, 401, 403, 403, 409}},
	{"POST", "/auth/users/USER/regenerate-credentials", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"POST", "/auth/users/none/regenerate-credentials", "", [6]int{401, 401, 401, 403, 403, 404}},
	{"POST", "/auth/users/USER/reinstate", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"POST", "/auth/users/none/reinstate", "", [6]int{401, 401, 401, 403, 403, 404}},
	{"POST", "/auth/tokens/revoke-user/USER", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"POST", "/auth/tokens/revoke-user/none", "", [6]int{401, 401, 401, 403, 403, 404}},
	{"GET", "/auth/events", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"GET", "/auth/revocations", "", [6]int{401, 401, 401, 403, 403, 422}},
	{"GET", "/auth/events?from=2026-01-02T03:04:05Z", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"GET", "/auth/events?to=yesterday", "", [6]int{401, 401, 401, 403, 403, 422}},
	{"GET", "/auth/events?before=none", "", [6]int{401, 401, 401, 403, 403, 404}},
	{"DELETE", "/auth/users/USER", "", [6]int{401, 401, 401, 403, 403, 200}},
	{"DELETE", "/auth/users/none", "", [6]int{401, 401, 401, 403, 403, 404}},
	{"DELETE", "/auth/users/ADMIN", "", [6]int{401, 401, 401, 403, 403, 409}},
}

func TestEachKindOfCallerGetsTheDocumentedStatusFromEachCall(t *testing.T) {
	t.Parallel()
	for _, call := range calls {
		t.Run(call.method+" "+call.path, func(t *testing.T) {
			t.Parallel()
			for i, caller := range callers {
				f := newFixture(t)
				session, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
				require.NoError(t, err)
				name := strings.NewReplacer(
					"USER", f.user.ID, "ADMIN", f.admin.ID,
					"KEY", f.userPair.AccessKey, "SESSION", session.Session.ID,
				)
				body := strings.ReplaceAll(call.body, "LOGIN", loginBody(f.userPair))
				var r response
				if token := caller.token(f); token == "" {
					r = f.send(call.method, name.Replace(call.path), body)
				} else {
					r = f.sendAs(token, call.method, name.Replace(call.path), body)
				}
				require.Equal(t, call.want[i], r.status, "%s: %s", caller.name, r.body)
				if r.status >= 400 {
					requireErrorBody(t, r)
				}
				if r.status == http.StatusNoContent {
					require.Empty(t, r.body)
				}
				if call.path != "/.well-known/jwks.json" {
					require.Equal(t, "no-store", r.header.Get("Cache-Control"), caller.name)
				}
			}
		})
	}
}

// furtherCallers are kinds of callers whose statuses follow from the table above.
var furtherCallers = []struct {
	name  string
	token func(f *fixture) string
	want  func(path string, want []int) int
}{
	{"a service user", func(f *fixture) string { return f.signIn(f.agent()) },
		func(path string, want []int) int {
			if path == revocationsPath {
				return want[5] // as a super user
			}
			return want[4] // as another user
		}},
	{"a super user's token for another service", func(f *fixture) string {
		return f.signInFor(audience, f.admin)
	}, func(_ string, want []int) int { return want[1] }}, // as a forged token
	{"a delegated token of a super user", func(f *fixture) string {
		caller, err := f.svc.Tokens().Verify(f.t.Context(), f.signIn(f.admin))
		require.NoError(f.t, err)
		delegated, err := f.svc.Tokens().Delegate(f.t.Context(), caller, auth.Delegation{
			For: f.agent().ID, Audience: audience, Scopes: auth.NewScopes(reading, writing)})
		require.NoError(f.t, err)
		return delegated.Bearer.Reveal()
	}, func(_ string, want []int) int { return want[1] }},
	{"a super user's token without scopes", func(f *fixture) string { return f.limited(f.admin) },
		func(path string, want []int) int {
			if path == "/auth/logout" || strings.HasPrefix(path, "/auth/user/") || path == "/auth/user" ||
				want[0] != http.StatusUnauthorized {
				return want[5]
			}
			return http.StatusForbidden
		}},
}

// agent returns a service user, which may get delegated tokens for another service.
func (f *fixture) agent() auth.User {
	f.t.Helper()
	made, err := f.svc.Register(f.t.Context(), authtest.ByHost, auth.UserParams{
		Username: "agent", IsService: true, Audiences: []string{audience}})
	require.NoError(f.t, err)
	return made.User
}

func TestFurtherKindsOfCallersGetTheStatusThatFollows(t *testing.T) {
	t.Parallel()
	for _, call := range calls {
		t.Run(call.method+" "+call.path, func(t *testing.T) {
			t.Parallel()
			for _, caller := range furtherCallers {
				f := newFixture(t, twoAudiences)
				session, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
				require.NoError(t, err)
				name := strings.NewReplacer(
					"USER", f.user.ID, "ADMIN", f.admin.ID,
					"KEY", f.userPair.AccessKey, "SESSION", session.Session.ID,
				)
				body := strings.ReplaceAll(call.body, "LOGIN", loginBody(f.userPair))
				r := f.sendAs(caller.token(f), call.method, name.Replace(call.path), body)
				want := caller.want(call.path, call.want[:])
				require.Equal(t, want, r.status, "%s: %s", caller.name, r.body)
			}
		})
	}
}

func TestTheTableOfCallersListsEveryCall(t *testing.T) {
	t.Parallel()
	name := strings.NewReplacer("USER", "{id}", "KEY", "{access_key}", "SESSION", "{id}")
	var have, want []string
	for _, call := range calls {
		have = append(have, call.method+" "+name.Replace(call.path))
	}
	for _, route := range newFixture(t).svc.Routes(auth.GroupSignIn, auth.GroupAccount,
		auth.GroupAdministration) {
		want = append(want, route.Method+" "+route.Path)
	}
	require.Subset(t, have, want)
}

// The response must not show whether a session or a key of another user exists.
func TestUnknownAndOtherUsersRecordsGetTheSame404(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other, err := f.svc.SignIn(t.Context(), f.admin.ID, auth.LoginOptions{})
	require.NoError(t, err)
	alice := f.signIn(f.user)
	for _, pair := range [][2]string{
		{"DELETE /auth/sessions/" + other.Session.ID, "DELETE /auth/sessions/nobodys"},
		{"DELETE /auth/keys/" + f.adminPair.AccessKey, "DELETE /auth/keys/" + f.wrong().AccessKey},
		{"POST /auth/keys/" + f.adminPair.AccessKey + "/rotate", "POST /auth/keys/" + f.wrong().AccessKey + "/rotate"},
	} {
		var answers [2]response
		for i, call := range pair {
			method, target := call[:4], call[5:]
			if call[0] == 'D' {
				method, target = call[:6], call[7:]
			}
			answers[i] = f.sendAs(alice, method, target, "")
		}
		require.Equal(t, answers[0], answers[1])
		require.Equal(t, 404, answers[0].status)
	}
}
