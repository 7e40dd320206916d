package wiretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

func TestRegisterReturnsTheDocumentedFields(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.admin)
	for _, path := range []string{"/api/v1/user/register", "/auth/users/register"} {
		for role, body := range map[string]string{
			"User":       `{"username":"bob%s","email":"bob%s@example.com","surprise":[1]}`,
			"Super User": `{"username":"eve%s","email":"eve%s@example.com","is_super_user":true}`,
		} {
			suffix := map[string]string{"/api/v1/user/register": "1", "/auth/users/register": "2"}[path]
			body = strings.ReplaceAll(body, "%s", suffix)
			r := f.sendAs(token, http.MethodPost, path, body)
			require.Equal(t, http.StatusOK, r.status, r.body)
			require.Equal(t, "no-store", r.header.Get("Cache-Control"))
			got := r.json(t)
			name := map[string]string{"User": "bob", "Super User": "eve"}[role] + suffix
			require.Equal(t, map[string]any{
				"user_id": got["user_id"], "username": name, "email": name + "@example.com",
				"role": role, "status": "Active",
				"access_key": got["access_key"], "access_secret": got["access_secret"],
				"created_on": "2026-01-02T03:04:05Z",
				"message":    "User registered. Store the access secret now: it is not shown again.",
			}, got)
			login := f.login(auth.KeyPair{
				AccessKey:    got["access_key"].(string),
				AccessSecret: auth.NewSecret(got["access_secret"].(string)),
			})
			require.Equal(t, http.StatusOK, login.status)
			require.Equal(t, role == "Super User", login.json(t)["is_super_user"])
		}
	}
}

// A user without an e-mail address, such as the user of a program, can be registered. The answers of
// register and reinstate have a null email, as GET /auth/user has.
func TestUsersWithoutAnEmailAreRegisteredOverHTTP(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.admin)
	for path, name := range map[string]string{
		"/api/v1/user/register": "robot-1", "/auth/users/register": "robot-2",
	} {
		r := f.sendAs(token, http.MethodPost, path, `{"username":"`+name+`"}`)
		require.Equal(t, http.StatusOK, r.status, r.body)
		made := r.json(t)
		require.Contains(t, made, "email")
		require.Nil(t, made["email"])
		pair := auth.KeyPair{
			AccessKey:    made["access_key"].(string),
			AccessSecret: auth.NewSecret(made["access_secret"].(string)),
		}
		own := f.login(pair).json(t)["token"].(string)
		user := f.sendAs(own, http.MethodGet, "/auth/user", "").json(t)
		require.Equal(t, name, user["username"])
		require.Nil(t, user["email"])
		reinstated := f.sendAs(token, http.MethodPost,
			"/auth/users/"+user["user_id"].(string)+"/reinstate", "").json(t)
		require.Contains(t, reinstated, "email")
		require.Nil(t, reinstated["email"])
	}
}

// Each of these names looks like another name, or is invisible. No call adds a user with such a name.
func TestUsernamesThatLookLikeOthersAreRefused(t *testing.T) {
	t.Parallel()
	f := newImporting(t)
	token := f.signIn(f.admin)
	for _, name := range []string{
		"alice\u200b", "\u3164", "alice\u00ad", "alice\u034f", "alice\ufe0f", "alice\U000e0041",
		"\uff41lice", "zoe\u0308", "\u0301alice", "alice\u2800", "\u202ealice",
		"al\u0069\u0307ce", "alice  b", "alice\U00013441",
	} {
		body, err := json.Marshal(map[string]string{"username": name})
		require.NoError(t, err)
		r := f.sendAs(token, http.MethodPost, "/api/v1/user/register", string(body))
		require.Equal(t, http.StatusUnprocessableEntity, r.status, "%+q", name)
		require.Contains(t, r.json(t)["detail"], "Field username must ")
		require.NotContains(t, r.body, name)

		_, err = f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: name})
		require.ErrorIs(t, err, auth.ErrInvalid, "%+q", name)
		_, err = f.svc.Register(t.Context(), authtest.ByHost,
			auth.UserParams{Username: "new", Email: name + "@example.com"})
		require.ErrorIs(t, err, auth.ErrInvalid, "%+q", name)

		line, err := json.Marshal(map[string]any{"username": name, "keys": []map[string]string{
			{"access_key": "old-key", "hash": bcrypted}}})
		require.NoError(t, err)
		progress, err := f.importLines(string(line))
		require.NoError(t, err)
		require.Equal(t, 1, progress.Rejected, "%+q", name)
	}
}

// A person who sees a user with one of these names would believe that the user speaks for the
// service.
func TestReservedUsernamesAreRefusedOverHTTPAndLeftToTheHost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.admin)
	for _, path := range []string{"/api/v1/user/register", "/auth/users/register"} {
		for _, name := range []string{"admin", "ROOT", "Super-User", "web_master", "adm in", "admin."} {
			r := f.sendAs(token, http.MethodPost, path, `{"username":"`+name+`"}`)
			require.Equal(t, http.StatusUnprocessableEntity, r.status, name)
			require.JSONEq(t, `{"detail": "Field username must not be a reserved name such as admin"}`, r.body)
		}
	}
	made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "support"})
	require.NoError(t, err)
	require.Equal(t, "support", made.User.Username)
}

func TestInvalidRegistrationsAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.admin)
	const ok = `"email":"new@example.com"`
	for name, test := range map[string]struct {
		body   string
		status int
	}{
		"a taken username":                       {`{"username":"alice",` + ok + `}`, http.StatusConflict},
		"a taken username by case":               {`{"username":"ALICE",` + ok + `}`, http.StatusConflict},
		"a taken email by case":                  {`{"username":"new","email":"Alice@Example.COM"}`, http.StatusConflict},
		"no username":                            {`{` + ok + `}`, http.StatusUnprocessableEntity},
		"an empty username":                      {`{"username":"",` + ok + `}`, http.StatusUnprocessableEntity},
		"a username of spaces":                   {`{"username":"  ",` + ok + `}`, http.StatusUnprocessableEntity},
		"a username with a trailing space":       {`{"username":"new ",` + ok + `}`, http.StatusUnprocessableEntity},
		"a username with a newline":              {`{"username":"a\nb",` + ok + `}`, http.StatusUnprocessableEntity},
		"a username with an override":            {`{"username":"a\u202eb",` + ok + `}`, http.StatusUnprocessableEntity},
		"a username of 129 bytes":                {`{"username":"` + strings.Repeat("x", 129) + `",` + ok + `}`, http.StatusUnprocessableEntity},
		"a username with NUL":                    {`{"username":"a\u0000",` + ok + `}`, http.StatusBadRequest},
		"a null username":                        {`{"username":null,` + ok + `}`, http.StatusBadRequest},
		"a number for a username":                {`{"username":7,` + ok + `}`, http.StatusUnprocessableEntity},
		"a null email":                           {`{"username":"new","email":null}`, http.StatusBadRequest},
		"a number for an email":                  {`{"username":"new","email":7}`, http.StatusUnprocessableEntity},
		"an empty email":                         {`{"username":"new","email":""}`, http.StatusUnprocessableEntity},
		"an email without @":                     {`{"username":"new","email":"example.com"}`, http.StatusUnprocessableEntity},
		"an email with a name":                   {`{"username":"new","email":"N <new@example.com>"}`, http.StatusUnprocessableEntity},
		"two emails":                             {`{"username":"new","email":"a@example.com, b@example.com"}`, http.StatusUnprocessableEntity},
		"an email of 255 bytes":                  {`{"username":"new","email":"` + strings.Repeat("x", 243) + `@example.com"}`, http.StatusUnprocessableEntity},
		"is_super_user a string":                 {`{"username":"new",` + ok + `,"is_super_user":"true"}`, http.StatusUnprocessableEntity},
		"is_super_user a number":                 {`{"username":"new",` + ok + `,"is_super_user":1}`, http.StatusUnprocessableEntity},
		"is_super_user null":                     {`{"username":"new",` + ok + `,"is_super_user":null}`, http.StatusBadRequest},
		"Is_Super_User":                          {`{"username":"new",` + ok + `,"Is_Super_User":true}`, http.StatusBadRequest},
		"is_super_user with a long s":            {`{"username":"new",` + ok + `,"i\u017f_super_user":true}`, http.StatusBadRequest},
		"is_super_user twice":                    {`{"username":"new",` + ok + `,"is_super_user":false,"is_super_user":true}`, http.StatusBadRequest},
		"a body of 9 KiB":                        {`{"username":"new",` + ok + `,"x":"` + strings.Repeat("x", 9000) + `"}`, http.StatusRequestEntityTooLarge},
		"an array":                               {`[]`, http.StatusBadRequest},
		"a field name with an upper-case letter": {`{"userName":"new",` + ok + `}`, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := f.sendAs(token, http.MethodPost, "/api/v1/user/register", test.body)
			require.Equal(t, test.status, r.status, r.body)
			requireErrorBody(t, r)
		})
	}
}

func TestOnlySuperUsersRegisterUsers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	body := `{"username":"new","email":"new@example.com"}`
	r := f.sendAs(f.signIn(f.user), http.MethodPost, "/api/v1/user/register", body)
	require.Equal(t, http.StatusForbidden, r.status)
	require.JSONEq(t, `{"detail": "Super user access required"}`, r.body)
	require.Empty(t, r.header.Get("WWW-Authenticate"))
	require.Equal(t, http.StatusUnauthorized, f.send(http.MethodPost, "/api/v1/user/register", body).status)

	// The store, not the token, decides whether a user is a super user. The token of the demoted
	// user still says that the user is a super user.
	token := f.signIn(f.admin)
	made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
		Username: "second", IsSuperUser: true,
	})
	require.NoError(t, err)
	no := false
	_, err = f.store.UpdateUser(t.Context(), authtest.HostWrite, f.admin.ID,
		auth.UserChange{IsSuperUser: &no})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, http.StatusForbidden,
		f.sendAs(token, http.MethodPost, "/api/v1/user/register", body).status)
	require.Equal(t, http.StatusOK,
		f.sendAs(f.signIn(made.User), http.MethodPost, "/api/v1/user/register", body).status)
}

func TestGetUserReturnsTheCaller(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	want := map[string]any{
		"user_id": f.user.ID, "username": "alice", "email": "alice@example.com",
		"is_super_user": false, "is_active": true,
		"created_at": "2026-01-02T03:04:05Z", "last_login": "2026-01-02T03:04:05Z",
	}
	for _, path := range []string{"/auth/user", "/auth/user/"} {
		r := f.sendAs(token, http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, r.status)
		require.Equal(t, "no-store", r.header.Get("Cache-Control"))
		require.Equal(t, want, r.json(t))
	}
	require.Equal(t, http.StatusNotFound, f.sendAs(token, http.MethodGet, "/auth/user/more", "").status)

	made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "no mail"})
	require.NoError(t, err)
	require.Nil(t, f.sendAs(f.signIn(made.User), http.MethodGet, "/auth/user", "").json(t)["email"])
}

func TestLogoutRevokesOnlyTheTokenOfTheRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token, other := f.signIn(f.user), f.signIn(f.user)
	r := f.sendAs(token, http.MethodPost, "/auth/logout", "")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, true, r.json(t)["success"])
	require.IsType(t, "", r.json(t)["message"])
	require.Len(t, r.json(t), 2)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(token, http.MethodPost, "/auth/logout", "").status)
	require.Equal(t, http.StatusOK, f.sendAs(other, http.MethodGet, "/auth/user", "").status)
}

func TestALogoutSucceedsIfAnotherOneRevokesTheSessionFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withFaults(func(method string) error {
		if method == "RevokeSession" {
			return auth.ErrNotFound
		}
		return nil
	}))
	require.Equal(t, http.StatusOK, f.sendAs(f.signIn(f.user), http.MethodPost, "/auth/logout", "").status)
}

func TestDisablingAUserRevokesSessionsAndSuspendsKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	f.setActive(f.user, false)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, http.StatusUnauthorized, f.login(f.userPair).status)
	_, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
	require.ErrorIs(t, err, auth.ErrUserDisabled)
	f.setActive(f.user, true)
	require.Equal(t, http.StatusUnauthorized,
		f.sendAs(token, http.MethodGet, "/auth/user", "").status, "revoked sessions stay revoked")
	require.Equal(t, http.StatusOK, f.login(f.userPair).status)
}

func TestRevokingAKeyRevokesOnlyTheSessionsOfThatKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	opened := f.login(f.userPair).json(t)["token"].(string)
	other := f.signIn(f.user)
	require.NoError(t, f.svc.Credentials().Revoke(t.Context(), authtest.ByHost, f.userPair.AccessKey))
	require.Equal(t, http.StatusUnauthorized, f.sendAs(opened, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, http.StatusOK, f.sendAs(other, http.MethodGet, "/auth/user", "").status)
}

func TestBootstrapSucceedsOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	second := f.svc.Credentials().GeneratePair()
	_, err := f.svc.Bootstrap(t.Context(), auth.UserParams{Username: "mallory"}, second)
	require.ErrorIs(t, err, auth.ErrBootstrapped)
	_, err = f.svc.Login(t.Context(), second, auth.LoginOptions{})
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)

	// If a program crashes before it has shown the secret, it can repeat the call with the same
	// pair.
	user, err := f.svc.Bootstrap(t.Context(),
		auth.UserParams{Username: "root", Email: "root@example.com"}, f.adminPair)
	require.NoError(t, err)
	require.Equal(t, f.admin.ID, user.ID)

	// A call with the pair of another user fails.
	_, err = f.svc.Bootstrap(t.Context(), auth.UserParams{Username: "x"}, f.userPair)
	require.ErrorIs(t, err, auth.ErrBootstrapped)
	require.NoError(t, f.svc.Credentials().Revoke(t.Context(), authtest.ByHost, f.adminPair.AccessKey))
	_, err = f.svc.Bootstrap(t.Context(), auth.UserParams{Username: "root"}, f.adminPair)
	require.ErrorIs(t, err, auth.ErrBootstrapped, "a revoked pair is not accepted again")
}

func TestBootstrapRejectsInvalidPairs(t *testing.T) {
	t.Parallel()
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
	})
	require.NoError(t, err)
	a, b := svc.Credentials().GeneratePair(), svc.Credentials().GeneratePair()
	for name, pair := range map[string]auth.KeyPair{
		"an empty pair":       {},
		"no secret":           {AccessKey: a.AccessKey},
		"halves of two pairs": {AccessKey: a.AccessKey, AccessSecret: b.AccessSecret},
		"a chosen pair":       {AccessKey: "admin", AccessSecret: auth.NewSecret("admin")},
	} {
		_, err := svc.Bootstrap(t.Context(), auth.UserParams{Username: "root"}, pair)
		require.ErrorIs(t, err, auth.ErrInvalid, name)
	}
	_, err = svc.Bootstrap(t.Context(), auth.UserParams{}, a)
	require.ErrorIs(t, err, auth.ErrInvalid)
	user, err := svc.Bootstrap(t.Context(), auth.UserParams{Username: "root"}, a)
	require.NoError(t, err)
	require.True(t, user.IsSuperUser)
}

func TestOneOfManyConcurrentBootstrapsSucceeds(t *testing.T) {
	t.Parallel()
	store := memstore.New()
	var wins []auth.KeyPair
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			svc, err := auth.New(store, auth.Config{
				Issuer: issuer, SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
			})
			if err != nil {
				t.Error(err)
				return
			}
			pair := svc.Credentials().GeneratePair()
			_, err = svc.Bootstrap(t.Context(), auth.UserParams{Username: "root"}, pair)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				wins = append(wins, pair)
			} else if !errors.Is(err, auth.ErrBootstrapped) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, wins, 1)
}

func TestRecoverSuperUserRevokesAllOtherCredentials(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stolen := f.signIn(f.user)
	f.setActive(f.user, false)
	pair, err := f.svc.RecoverSuperUser(t.Context(), f.user.ID)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, f.login(f.userPair).status, "all earlier keys are revoked")
	require.Equal(t, http.StatusUnauthorized, f.sendAs(stolen, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, true, f.login(pair).json(t)["is_super_user"])

	_, err = f.svc.RecoverSuperUser(t.Context(), "nobody")
	require.ErrorIs(t, err, auth.ErrNotFound)
	for _, route := range f.svc.Routes() {
		require.NotContains(t, strings.ToLower(route.Path), "recover", "the call does not exist over HTTP")
		require.NotContains(t, strings.ToLower(route.Path), "bootstrap")
	}
}

func TestSignInCreatesASession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	require.Equal(t, auth.MethodHost, token.Session.Method)
	require.Equal(t, 12*time.Hour, token.ExpiresIn())
	_, err = f.svc.SignIn(t.Context(), "nobody", auth.LoginOptions{})
	require.ErrorIs(t, err, auth.ErrNotFound)
}

// The instance has not read the revocation from the feed yet, so its middleware accepts the token.
func TestCreatingAKeyForAUserDeletedElsewhereIsA401(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.signIn(f.user)
	// The test deletes the user directly in the store.
	_, err := f.store.DeleteUser(t.Context(), authtest.HostWrite, f.user.ID)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(token, http.MethodPost, "/auth/keys", "").status)
}

// A store can have users from before the rules about names, or users that the host's own code has
// written. Such a user can still sign in, and a super user can still administer the user.
func TestUsersWhoseStoredNamesBreakTheRulesKeepWorking(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, name := range []string{"al\u0069\u0307ce  b", "alice\u200b", "zoe\u0308", "\uff41lice"} {
		user := auth.User{ID: fmt.Sprintf("legacy-%d", i), Username: name, Email: name + "@example.com",
			IsActive: true, CreatedAt: f.clock.Now()}
		require.NoError(t, f.store.Register(t.Context(), authtest.HostWrite, user,
			auth.AccessKey{ID: "legacy-key-" + user.ID, UserID: user.ID, Hash: bcrypted,
				CreatedAt: user.CreatedAt}), "%+q", name)
		token, admin := f.signIn(user), f.signIn(f.admin)
		require.Equal(t, name, f.sendAs(token, http.MethodGet, "/auth/user", "").json(t)["username"])
		path := "/auth/users/" + user.ID
		for _, call := range [][3]string{
			{http.MethodPatch, path, `{"is_super_user": true}`}, {http.MethodPatch, path, `{"is_active": false}`},
			{http.MethodPost, path + "/reinstate", ""}, {http.MethodPost, path + "/regenerate-credentials", ""},
			{http.MethodGet, path, ""}, {http.MethodDelete, path, ""},
		} {
			answer := f.sendAs(admin, call[0], call[1], call[2])
			require.Equal(t, http.StatusOK, answer.status, "%+q: %v: %s", name, call, answer.body)
		}
	}
}
