package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

func TestHostUsersSignInWithAccessKeys(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	for id, isSuperUser := range map[string]bool{"u-alice": false, "u-boss": true} {
		r := h.login(h.issue(id))
		require.Equal(t, http.StatusOK, r.status, r.body)
		answer := r.json(t)
		require.Equal(t, isSuperUser, answer["is_super_user"])

		token := answer["token"].(string)
		var claims jwt.MapClaims
		_, _, err := jwt.NewParser().ParseUnverified(token, &claims)
		require.NoError(t, err)
		require.Equal(t, id, claims["sub"])
		require.Equal(t, strings.TrimPrefix(id, "u-"), claims["username"])
		require.Equal(t, isSuperUser, claims["is_super_user"])

		r = h.sendAs(token, http.MethodGet, "/auth/user", "")
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.Equal(t, strings.TrimPrefix(id, "u-")+"@host.example", r.json(t)["email"])
	}
}

func TestTheHostsTableIsReadForTheSuperUserAtEveryCall(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	token, err := h.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})
	require.NoError(t, err)
	require.Equal(t, "alice", token.User.Username)
	purge := func(_ http.ResponseWriter, r *http.Request) {
		user, err := h.svc.User(r.Context())
		require.NoError(t, err)
		require.True(t, user.IsSuperUser)
	}
	handler := h.svc.Authenticate(h.svc.RequireSuperUser(http.HandlerFunc(purge)))
	ask := func() int {
		return send(handler, http.MethodDelete, "/reports", "",
			"Authorization", "Bearer "+token.Bearer.Reveal()).status
	}
	require.Equal(t, http.StatusForbidden, ask())
	h.table.change("u-alice", func(u *auth.User) { u.IsSuperUser = true })
	require.Equal(t, http.StatusOK, ask())
	h.table.setActive("u-alice", false)
	require.Equal(t, http.StatusUnauthorized, ask(), "a disabled user has no power, even before RevokeUser")
	h.table.setActive("u-alice", true)
	h.table.delete("u-alice")
	require.Equal(t, http.StatusUnauthorized, ask())
	h.table.before(func(context.Context, string) error { return errors.New("down") })
	require.Equal(t, http.StatusServiceUnavailable, ask())
}

func TestNewWithUsersRejectsMismatchedStoresAndUserSources(t *testing.T) {
	t.Parallel()
	key := authtest.NewSigners(t)["HS256"].Key
	keys := []auth.SigningKey{key}
	cfg := auth.Config{Issuer: issuer, SigningKeys: keys}
	for name, test := range map[string]struct {
		accounts auth.AccountStore
		users    auth.UserSource
		want     string // part of the error; empty if there is none
	}{
		"accounts and a table":         {memstore.NewAccounts(), newHostTable(), ""},
		"a store of users and a table": {memstore.New(), newHostTable(), "the store keeps users too"},
		"no table":                     {memstore.NewAccounts(), nil, "needs a"},
		"a nil table":                  {memstore.NewAccounts(), (*hostTable)(nil), "the UserSource is a nil pointer"},
		"a nil store":                  {(*memstore.Accounts)(nil), newHostTable(), "needs a store"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := auth.NewWithUsers(test.accounts, test.users, cfg)
			tokens, err2 := auth.NewTokenIssuer(test.accounts, issuer, keys,
				auth.TokenConfig{Users: test.users})
			if test.want == "" {
				require.NoError(t, err)
				require.NoError(t, err2)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err2, test.want)
			require.Nil(t, tokens)
		})
	}
}

func TestAServiceTakesTheUsersTableOnlyAsAnArgument(t *testing.T) {
	t.Parallel()
	cfg := auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
		Tokens: auth.TokenConfig{Users: newHostTable()}}
	_, err := auth.NewWithUsers(memstore.NewAccounts(), newHostTable(), cfg)
	require.ErrorContains(t, err, "Config.Tokens.Users must be nil")
	_, err = auth.New(memstore.New(), cfg)
	require.ErrorContains(t, err, "Config.Tokens.Users must be nil")
}

func TestUnknownAndDisabledHostUsersGetTheSame401(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	wrong := h.login(auth.KeyPair{AccessKey: h.pair.AccessKey, AccessSecret: h.issue("u-boss").AccessSecret})
	require.Equal(t, http.StatusUnauthorized, wrong.status)

	nobody := h.login(h.issue("u-nobody"))
	h.table.setActive("u-alice", false)
	disabled := h.login(h.pair)
	for _, r := range []response{nobody, disabled} {
		require.Equal(t, wrong.status, r.status)
		require.Equal(t, wrong.body, r.body)
		require.Equal(t, wrong.header, r.header)
	}
	require.ErrorIs(t, errorOf(h.svc.SignIn(t.Context(), "u-nobody", auth.LoginOptions{})), auth.ErrNotFound)
	require.ErrorIs(t, errorOf(h.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})),
		auth.ErrUserDisabled)
	for _, id := range []string{"u-alice", "u-nobody"} {
		h.requireNoSession(id)
	}
	h.table.setActive("u-alice", true)
	require.Equal(t, http.StatusOK, h.login(h.pair).status, "the key still works")
}

// A sign-in creates the session before it calls FindUser. So if FindUser still returns an active
// user, a later RevokeUser of the host finds the session.
func TestTheHostUserIsReadAfterTheSessionIsCreated(t *testing.T) {
	t.Parallel()
	var calls []string
	h := newHostFixture(t, withFaults(func(method string) error {
		calls = append(calls, method)
		return nil
	}))
	h.table.before(func(context.Context, string) error {
		calls = append(calls, "UserSource.FindUser")
		return nil
	})
	calls = nil
	require.Equal(t, http.StatusOK, h.login(h.pair).status)
	require.Equal(t, []string{"FindKey", "CreateSession", "UserSource.FindUser", "RememberClient"}, calls)

	h.table.setActive("u-alice", false)
	calls = nil
	require.Equal(t, http.StatusUnauthorized, h.login(h.pair).status)
	require.Equal(t, []string{"FindKey", "CreateSession", "UserSource.FindUser", "RevokeToken"}, calls)
}

// disableInNextFindUser makes the next call of FindUser disable the user and revoke the user's
// sessions, as a host does. At that time, the session of a sign-in already exists.
func disableInNextFindUser(t *testing.T, h *hostFixture) {
	h.table.before(func(ctx context.Context, id string) error {
		h.table.before(nil)
		h.table.setActive(id, false)
		n, err := h.svc.Tokens().RevokeUser(ctx, authtest.ByHost, id)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		return nil
	})
}

func TestAUserDisabledDuringASignInGetsNoSession(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	disableInNextFindUser(t, h)
	require.Equal(t, http.StatusUnauthorized, h.login(h.pair).status)
	h.requireNoSession("u-alice")

	h.table.setActive("u-alice", true)
	disableInNextFindUser(t, h)
	require.ErrorIs(t, errorOf(h.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})),
		auth.ErrUserDisabled)
	h.requireNoSession("u-alice")
}

// After the host has disabled a user and RevokeUser has returned, every token of the user is
// rejected. That includes tokens of sign-ins that were in progress.
func TestNoSessionSurvivesRevokeUserDuringConcurrentSignIns(t *testing.T) {
	t.Parallel()
	for range 20 {
		h := newHostFixture(t)
		const signIns = 64
		tokens := make([]auth.Token, signIns)
		var running sync.WaitGroup
		var done atomic.Int32
		for i := range signIns {
			running.Go(func() {
				var err error
				if i%2 == 0 {
					tokens[i], err = h.svc.Login(t.Context(), h.pair, auth.LoginOptions{})
				} else {
					tokens[i], err = h.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})
				}
				done.Add(1)
				disabled := errors.Is(err, auth.ErrInvalidCredentials) || errors.Is(err, auth.ErrUserDisabled)
				if err != nil && !disabled {
					t.Error(err)
				}
			})
		}
		for done.Load() < signIns/4 { // until a quarter of the sign-ins are done
			runtime.Gosched()
		}
		h.table.setActive("u-alice", false)
		_, err := h.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, "u-alice")
		require.NoError(t, err)
		running.Wait()
		h.requireNoSession("u-alice")
		for _, token := range tokens {
			if token.Bearer.Reveal() != "" {
				_, err := h.svc.Tokens().Verify(t.Context(), token.Bearer.Reveal())
				require.ErrorIs(t, err, auth.ErrTokenRejected)
			}
		}
	}
}

// tableFaults contains functions that fail in different ways, for FindUser of the host's table.
var tableFaults = map[string]func(ctx context.Context, id string) error{
	"fails":                            func(context.Context, string) error { return errors.New("down: canary") },
	"fails with ErrUserDisabled":       func(context.Context, string) error { return fmt.Errorf("other: %w", auth.ErrUserDisabled) },
	"fails with InvalidError":          func(context.Context, string) error { return &auth.InvalidError{Field: "canary", Reason: "canary"} },
	"fails with ErrInvalidCredentials": func(context.Context, string) error { return auth.ErrInvalidCredentials },
	"is canceled":                      func(context.Context, string) error { return context.Canceled },
	"panics":                           func(context.Context, string) error { panic("canary") },
	"panics with ErrNotFound":          func(context.Context, string) error { panic(auth.ErrNotFound) },
}

func TestAFailingUserSourceIsA503(t *testing.T) {
	t.Parallel()
	for name, fault := range tableFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostFixture(t)
			token := h.signIn(auth.User{ID: "u-boss"})
			h.table.before(fault)
			for _, r := range []response{h.login(h.pair), h.sendAs(token, http.MethodGet, "/auth/user", "")} {
				require.Equal(t, http.StatusServiceUnavailable, r.status)
				require.JSONEq(t, `{"detail": "Service temporarily unavailable: try again later"}`, r.body)
			}
			_, err := h.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})
			require.Error(t, err)
			require.NotErrorIs(t, err, auth.ErrUserDisabled)
			require.NotErrorIs(t, err, auth.ErrNotFound)
			h.requireNoSession("u-alice")

			h.table.before(nil)
			require.Equal(t, http.StatusOK, h.login(h.pair).status)
		})
	}
}

func TestAUserSourceThatReturnsAnInvalidUserIsA503(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*auth.User){
		"another user":                             func(u *auth.User) { u.ID = "u-boss" },
		"a zero user":                              func(u *auth.User) { *u = auth.User{IsActive: true} },
		"a username that is too long":              func(u *auth.User) { u.Username = strings.Repeat("x", limits.Username+1) },
		"a username with NUL":                      func(u *auth.User) { u.Username = "a\x00" },
		"a username with a bidirectional override": func(u *auth.User) { u.Username = "a\u202eb" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostFixture(t)
			h.table.change("u-alice", change)
			require.Equal(t, http.StatusServiceUnavailable, h.login(h.pair).status)
			h.requireNoSession("u-alice")
		})
	}
	t.Run("an empty username is allowed", func(t *testing.T) {
		t.Parallel()
		h := newHostFixture(t)
		h.table.change("u-alice", func(u *auth.User) { *u = auth.User{ID: u.ID, IsActive: true} })
		r := h.login(h.pair)
		require.Equal(t, http.StatusOK, r.status)
		require.Equal(t, http.StatusOK,
			h.sendAs(r.json(t)["token"].(string), http.MethodGet, "/auth/user", "").status)
	})
}

func TestAHangingUserSourceIsA503AfterTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHostFixture(t)
		token := h.signIn(auth.User{ID: "u-boss"})
		h.table.before(func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		})
		for _, ask := range []func() response{
			func() response { return h.login(h.pair) },
			func() response { return h.sendAs(token, http.MethodGet, "/auth/user", "") },
		} {
			start := time.Now()
			require.Equal(t, http.StatusServiceUnavailable, ask().status)
			require.Equal(t, 10*time.Second, time.Since(start))
		}
		h.requireNoSession("u-alice")
	})
}

// If the request is canceled during FindUser, the session must not be left behind.
func TestASignInCanceledDuringFindUserLeavesNoSession(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.table.before(func(ctx context.Context, _ string) error {
		cancel()
		return ctx.Err()
	})
	require.ErrorIs(t, errorOf(h.svc.Login(ctx, h.pair, auth.LoginOptions{})), context.Canceled)
	h.requireNoSession("u-alice")
}

// If the new session cannot be revoked, the response is a 503 and not a 401, so that the operator
// learns of the failure.
func TestARejectedSessionThatCannotBeRevokedIsA503(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t, withFaults(func(method string) error {
		if method == "RevokeToken" {
			return errors.New("disk full")
		}
		return nil
	}))
	h.table.setActive("u-alice", false)
	require.Equal(t, http.StatusServiceUnavailable, h.login(h.pair).status)
	require.Contains(t, h.log.String(), "disk full")
}

func TestAdministrationCallsDoNotExistWithAUserSource(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	boss := h.signIn(auth.User{ID: "u-boss"})
	for _, call := range []string{
		"POST /api/v1/user/register", "POST /auth/users/register", "GET /auth/users",
		"GET /auth/users/u-alice", "PATCH /auth/users/u-alice",
		"DELETE /auth/users/u-alice", "POST /auth/users/u-alice/regenerate-credentials",
		"POST /auth/users/u-alice/reinstate", "POST /auth/tokens/revoke-user/u-alice",
	} {
		method, path, _ := strings.Cut(call, " ")
		r := h.sendAs(boss, method, path, `{"username":"new","email":"new@example.com"}`)
		require.Equal(t, http.StatusNotFound, r.status, path)
		require.JSONEq(t, `{"detail": "Not found"}`, r.body)
	}
	require.Panics(t, func() { h.svc.Route("POST /auth/users/register") })
	require.Empty(t, h.svc.Routes(auth.GroupAdministration))
	require.Len(t, h.svc.Routes(),
		len(newFixture(t).svc.Routes(auth.GroupSignIn, auth.GroupGitHub, auth.GroupAccount)))

	ctx := t.Context()
	for name, err := range map[string]error{
		"Register":         errorOf(h.svc.Register(ctx, authtest.ByHost, auth.UserParams{Username: "new"})),
		"Bootstrap":        errorOf(h.svc.Bootstrap(ctx, auth.UserParams{Username: "new"}, h.svc.Credentials().GeneratePair())),
		"RecoverSuperUser": errorOf(h.svc.RecoverSuperUser(ctx, "u-alice")),
	} {
		require.ErrorContains(t, err, "made with NewWithUsers", name)
		require.NotErrorIs(t, err, auth.ErrNotFound, name)
	}
	require.Equal(t, http.StatusOK, h.login(h.pair).status, "the keys are unchanged")
}

func TestRevokeUserReturnsTheNumberOfRevokedSessions(t *testing.T) {
	t.Parallel()
	f, h := newFixture(t), newHostFixture(t)
	for name, test := range map[string]struct {
		*fixture
		id      string
		unknown error
	}{
		"the store's users":    {f, f.user.ID, auth.ErrNotFound},
		"the host's own users": {h.fixture, "u-alice", nil},
	} {
		t.Run(name, func(t *testing.T) {
			user := auth.User{ID: test.id}
			expired := test.signIn(user)
			test.clock.Advance(13 * time.Hour)
			tokens := []string{test.signIn(user), test.signIn(user)}
			n, err := test.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, test.id)
			require.NoError(t, err)
			require.Equal(t, 2, n)
			for _, token := range append(tokens, expired) {
				require.Equal(t, http.StatusUnauthorized,
					test.sendAs(token, http.MethodGet, "/auth/user", "").status)
			}
			n, err = test.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, test.id)
			require.NoError(t, err)
			require.Zero(t, n)
			test.signIn(user) // still works, because the user is not disabled

			n, err = test.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, "nobody")
			require.ErrorIs(t, err, test.unknown)
			require.Zero(t, n)
		})
	}
	down := errors.New("down")
	failing := newHostFixture(t, withFaults(func(method string) error {
		if method == "RevokeUserSessions" {
			return down
		}
		return nil
	}))
	_, err := failing.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, "u-alice")
	require.ErrorIs(t, err, down)
}
