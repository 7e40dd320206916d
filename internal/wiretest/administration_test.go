package wiretest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func (f *fixture) asAdmin(method, path, body string) response {
	f.t.Helper()
	return f.sendAs(f.signIn(f.admin), method, path, body)
}

func TestASuperUserLooksUsersUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want := map[string]any{
		"user_id": f.user.ID, "username": "alice", "email": "alice@example.com",
		"is_super_user": false, "is_active": true, "created_at": "2026-01-02T03:04:05Z", "last_login": nil,
	}
	r := f.asAdmin("GET", "/auth/users/"+f.user.ID, "")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, want, r.json(t))
	users := f.asAdmin("GET", "/auth/users", "")
	require.Contains(t, users.array(t), want)
	require.Empty(t, users.header.Get("Link"), "this is the last page")
}

var nextLink = regexp.MustCompile(`^<(.*)>; rel="next"$`)

func TestListingUsersPageByPageVisitsEachUserOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 9 {
		_, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
			Username: fmt.Sprintf("user-%d", i),
		})
		require.NoError(t, err)
	}
	token := f.signIn(f.admin)
	for limit, pages := range map[int]int{1: 11, 4: 3, 10: 2, 11: 1, 200: 1} {
		seen := map[string]bool{}
		path, requests := fmt.Sprintf("/auth/users?limit=%d", limit), 0
		for path != "" {
			r := f.sendAs(token, "GET", path, "")
			requests++
			for _, user := range r.array(t) {
				require.False(t, seen[user["user_id"].(string)])
				seen[user["user_id"].(string)] = true
			}
			path = ""
			if link := nextLink.FindStringSubmatch(r.header.Get("Link")); link != nil {
				path = link[1]
			}
		}
		require.Len(t, seen, 11)
		require.Equal(t, pages, requests, "limit %d", limit)
	}
	for _, query := range []string{
		"limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "limit=1e2",
		"limit=99999999999999999999",
	} {
		r := f.sendAs(token, "GET", "/auth/users?"+query, "")
		require.Equal(t, http.StatusUnprocessableEntity, r.status, query)
		require.Equal(t, "Field limit must be from 1 to 200", r.json(t)["detail"])
	}
	require.Empty(t, f.sendAs(token, "GET", "/auth/users?after=~~~", "").array(t))
}

func TestTheNextPageLinkHasThePrefixOfTheMountPoint(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	mounted := http.StripPrefix("/v2", f.svc.Handler())
	r := send(mounted, "GET", "/v2/auth/users?limit=1", "", "Authorization", "Bearer "+f.signIn(f.admin))
	require.Regexp(t, `^</v2/auth/users\?after=[A-Z2-7]+&limit=1>; rel="next"$`, r.header.Get("Link"))
}

func TestASuperUserChangesUsers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token, path := f.loginFrom("test"), "/auth/users/"+f.user.ID

	r := f.asAdmin("PATCH", path, `{"is_active":false}`)
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, false, r.json(t)["is_active"])
	require.Equal(t, "alice", r.json(t)["username"])
	require.Equal(t, 401, f.sendAs(token, "GET", "/auth/user", "").status)
	f.requireLogin(f.userPair, 401)

	require.Equal(t, true, f.asAdmin("PATCH", path, `{"is_active":true}`).json(t)["is_active"])
	f.requireLogin(f.userPair, 200)
	require.Equal(t, 401, f.sendAs(token, "GET", "/auth/user", "").status, "revoked sessions stay revoked")

	token = f.loginFrom("test")
	require.Equal(t, 403, f.sendAs(token, "GET", "/auth/users", "").status)
	require.Equal(t, true, f.asAdmin("PATCH", path, `{"is_super_user":true}`).json(t)["is_super_user"])
	require.Equal(t, 200, f.sendAs(token, "GET", "/auth/users", "").status,
		"the super user is read from the store")
	require.Equal(t, 200, f.sendAs(token, "PATCH", "/auth/users/"+f.admin.ID,
		`{"is_super_user":false,"is_active":false}`).status)
	last := f.sendAs(token, "PATCH", path, `{"is_super_user":false}`)
	require.Equal(t, 409, last.status)
	require.Equal(t, "The last active super user must stay: make another first", last.json(t)["detail"])

	for _, body := range []string{
		`{}`, `{"is_superuser":true}`, `{"user_name":"x"}`, `{"is_active":"no"}`, `{"is_active":0}`,
	} {
		require.Equal(t, 422, f.sendAs(token, "PATCH", path, body).status, body)
	}
	require.Equal(t, 400, f.sendAs(token, "PATCH", path, `{"is_active":null}`).status)
}

func TestRegenerateReinstateRevokeAndDeleteAnswerAsDocumented(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.loginFrom("one")
	token := f.loginFrom("two")
	require.JSONEq(t,
		`{"status": "success", "message": "All sessions of the user were revoked.", "revoked_count": 2}`,
		f.asAdmin("POST", "/auth/tokens/revoke-user/"+f.user.ID, "").body)
	require.Equal(t, 401, f.sendAs(token, "GET", "/auth/user", "").status)

	r := f.asAdmin("POST", "/auth/users/"+f.user.ID+"/regenerate-credentials", `{}`)
	pair := r.pair(t)
	require.Equal(t, map[string]any{
		"message":    "Credentials regenerated. Store the access secret now: it is not shown again.",
		"access_key": pair.AccessKey, "access_secret": pair.AccessSecret.Reveal(),
	}, r.json(t))
	f.requireLogin(f.userPair, 401)
	f.requireLogin(pair, 200)

	f.setActive(f.user, false)
	require.Equal(t, 200, f.asAdmin("POST", "/auth/users/"+f.user.ID+"/regenerate-credentials", "").status)
	require.Equal(t, false, f.asAdmin("GET", "/auth/users/"+f.user.ID, "").json(t)["is_active"],
		"the user stays disabled")
	r = f.asAdmin("POST", "/auth/users/"+f.user.ID+"/reinstate", "")
	reinstated := r.pair(t)
	require.Equal(t, map[string]any{
		"user_id": f.user.ID, "username": "alice", "email": "alice@example.com", "role": "User",
		"status":     "Active",
		"access_key": reinstated.AccessKey, "access_secret": reinstated.AccessSecret.Reveal(),
		"created_on": "2026-01-02T03:04:05Z",
		"message":    "User reinstated. Store the access secret now: it is not shown again.",
	}, r.json(t))
	f.requireLogin(pair, 401)
	f.requireLogin(reinstated, 200)

	require.JSONEq(t, `{"status": "success", "message": "User deleted.", "deleted_user_id": "`+f.user.ID+`"}`,
		f.asAdmin("DELETE", "/auth/users/"+f.user.ID, "").body)
	f.requireLogin(reinstated, 401)
	require.Equal(t, 404, f.asAdmin("GET", "/auth/users/"+f.user.ID, "").status)
	require.Equal(t, 409, f.asAdmin("POST", "/auth/users/register",
		`{"username":"ALICE","email":"new@example.com"}`).status, "the username is not reused")

	for _, path := range []string{"/regenerate-credentials", "/reinstate"} {
		require.Equal(t, 422, f.asAdmin("POST", "/auth/users/"+f.admin.ID+path, `{"keep":true}`).status)
	}
}

// A thief who holds a token creates a key, rotates a key, connects GitHub, and begins another
// connect flow. Regenerating the credentials must revoke all of this.
func TestRegeneratingCredentialsRevokesEverythingAThiefCreated(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	stolen := g.loginFrom("the owner's browser")
	created := g.sendAs(stolen, "POST", "/auth/keys", `{"label":"nothing to see here"}`).pair(t)
	rotated := g.sendAs(stolen, "POST", "/auth/keys/"+g.userPair.AccessKey+"/rotate",
		`{"overlap_seconds":604800}`).pair(t)
	require.Equal(t, 200, g.browser().connect(stolen).status)
	require.Len(t, g.fake.Tokens(octocat), 1)
	thief := g.browser()
	// The thief opens this callback URL only later.
	pending := thief.callbackURL(thief.connectURL(stolen))
	opened := g.login(created).json(t)["token"].(string)

	pair := g.asAdmin("POST", "/auth/users/"+g.user.ID+"/regenerate-credentials", "").pair(t)

	for _, token := range []string{stolen, opened} {
		require.Equal(t, 401, g.sendAs(token, "GET", "/auth/user", "").status)
	}
	for _, key := range []auth.KeyPair{created, rotated, g.userPair} {
		g.requireLogin(key, 401)
	}
	require.NotEqual(t, 200, thief.get(pending).status)
	require.Empty(t, g.fake.Tokens(octocat), "the token is revoked at GitHub")
	again := g.browser()
	require.Equal(t, 403, again.get(again.authURL(signInCall)).status,
		"the GitHub account does not sign up again")
	g.requireLogin(pair, 200)
	token := g.login(pair).json(t)["token"].(string)
	require.Len(t, g.sendAs(token, "GET", "/auth/keys", "").array(t), 1)
	require.Equal(t, 404, g.status(token).status)
}

func TestRegeneratingCredentialsWorksWhileGitHubIsDown(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.browser().connect(g.signIn(g.user))
	g.fake.Close()
	require.Equal(t, 200, g.asAdmin("POST", "/auth/users/"+g.user.ID+"/regenerate-credentials", "").status)
	_, err := g.link(octocat)
	require.ErrorIs(t, err, auth.ErrNotFound)
}

// If two super users delete each other at the same time, only one of the requests must succeed.
func TestTwoSuperUsersDeletingEachOtherLeaveOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 50 {
		made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
			Username:    "boss" + f.svc.Credentials().GeneratePair().AccessKey[8:20],
			IsSuperUser: true,
		})
		require.NoError(t, err)
		both := []auth.User{f.admin, made.User}
		tokens := []string{f.signIn(both[0]), f.signIn(both[1])}
		var running sync.WaitGroup
		answers := make([]response, 2)
		for i := range both {
			running.Go(func() {
				answers[i] = f.sendAs(tokens[i], "DELETE", "/auth/users/"+both[1-i].ID, "")
			})
		}
		running.Wait()
		survivors := 0
		for _, user := range both {
			if _, err := f.store.FindUser(t.Context(), user.ID); err == nil {
				survivors++
				f.admin = user
			} else {
				require.ErrorIs(t, err, auth.ErrNotFound)
			}
		}
		require.Equal(t, 1, survivors, "%v", answers)
	}
}

func TestAdministrationCallsAnswer503IfTheStoreFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.admin)
	for method, call := range map[string]string{
		"ListUsers":          "GET /auth/users",
		"UpdateUser":         "PATCH /auth/users/USER",
		"DeleteUser":         "DELETE /auth/users/USER",
		"ResetUser":          "POST /auth/users/USER/reinstate",
		"RevokeUserSessions": "POST /auth/tokens/revoke-user/USER",
		"AddKey":             "POST /auth/keys",
	} {
		svc, err := auth.New(authtest.FaultyStore(f.store, func(called string) error {
			if called == method {
				return errors.New("the store is away, and says as_live_canary")
			}
			return nil
		}), auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now})
		require.NoError(t, err)
		verb, path, _ := strings.Cut(strings.ReplaceAll(call, "USER", f.user.ID), " ")
		body := ""
		if verb == "PATCH" {
			body = `{"is_active":false}`
		}
		r := send(svc.Handler(), verb, path, body, "Authorization", "Bearer "+token)
		require.Equal(t, http.StatusServiceUnavailable, r.status, method)
		require.NotContains(t, r.body, "canary")
	}
	f.requireLogin(f.userPair, 200)
}

// A host may use another router instead of ServeMux. That router then sets the path parameters with
// Request.SetPathValue.
func TestHandlersReadPathParametersFromTheRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := httptest.NewRequest("GET", "/anything", nil)
	r.SetPathValue("id", f.user.ID)
	r.Header.Set("Authorization", "Bearer "+f.signIn(f.admin))
	require.Equal(t, "alice", serve(f.svc.Route("GET /auth/users/{id}").Handler, r).json(t)["username"])
}
