package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// flows returns functions that each send one call of a client.
func flows(f *fixture) map[string]func() response {
	admin, user := f.signIn(f.admin), f.signIn(f.user)
	return map[string]func() response{
		"login":  func() response { return f.login(f.userPair) },
		"user":   func() response { return f.sendAs(user, http.MethodGet, "/auth/user", "") },
		"logout": func() response { return f.sendAs(user, http.MethodPost, "/auth/logout", "") },
		"register": func() response {
			return f.sendAs(admin, http.MethodPost, "/api/v1/user/register",
				`{"username":"new","email":"new@example.com"}`)
		},
	}
}

// If any call of the store fails in any way, the response has status 503 and nothing has changed.
func TestAStoreFailureAtAnyPointOfACallIsA503(t *testing.T) {
	t.Parallel()
	failures := map[string]error{
		"failing":   errors.New("disk full"),
		"timed out": fmt.Errorf("waiting: %w", context.DeadlineExceeded),
		"canceled":  fmt.Errorf("gone: %w", context.Canceled),
	}
	for failure, fault := range failures {
		for _, flow := range []string{"login", "user", "logout", "register"} {
			t.Run(failure+" in "+flow, func(t *testing.T) {
				t.Parallel()
				calls := 0
				for failAt := 1; ; failAt++ {
					armed, revoked := false, false
					f := newFixture(t, withFaults(func(method string) error {
						// A stored revocation takes effect even if the instance cannot read the
						// feed afterwards. No sign-in depends on RememberClient.
						if !armed || method == "RememberClient" || revoked && method == "ListRevocations" {
							return nil
						}
						revoked = method == "RevokeToken"
						calls++
						if calls == failAt {
							return fault
						}
						return nil
					}))
					send := flows(f)[flow]
					armed, calls = true, 0
					r := send()
					armed = false
					if calls < failAt {
						require.Equal(t, http.StatusOK, r.status, "nothing failed")
						require.Greater(t, failAt, 1, "the call never asked the store")
						return
					}
					require.Equal(t, http.StatusServiceUnavailable, r.status, "call %d", failAt)
					require.JSONEq(t,
						`{"detail": "Service temporarily unavailable: try again later"}`, r.body)
					require.Empty(t, r.header.Get("WWW-Authenticate"))
					require.Equal(t, http.StatusOK, send().status,
						"nothing has changed, so the same call now succeeds")
				}
			})
		}
	}
}

// If any call of the store hangs, the request ends after Config.Timeout.
func TestAHangingStoreIsA503AfterTheTimeout(t *testing.T) {
	t.Parallel()
	t.Run("reading the feed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			hang := false
			f := newFixture(t, withFaults(func(method string) error {
				if hang && method == "ListRevocations" {
					return authtest.ErrHang
				}
				return nil
			}))
			token := f.signIn(f.user)
			hang = true
			start := time.Now()
			require.Equal(t, http.StatusServiceUnavailable,
				f.sendAs(token, http.MethodGet, "/auth/user", "").status)
			require.Equal(t, time.Second, time.Since(start),
				"an instance that has not read the feed waits for a second")
		})
	})
	for flow, calls := range map[string][]string{
		"login":    {"FindKey", "CreateSession"},
		"user":     {"FindUser"},
		"logout":   {"RevokeToken"},
		"register": {"FindUser", "Register"},
	} {
		for _, hanging := range calls {
			t.Run(flow+" at "+hanging, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					armed := false
					f := newFixture(t, withFaults(func(method string) error {
						if armed && method == hanging {
							return authtest.ErrHang
						}
						return nil
					}))
					send := flows(f)[flow]
					armed = true
					start := time.Now()
					require.Equal(t, http.StatusServiceUnavailable, send().status)
					require.Equal(t, 10*time.Second, time.Since(start))
				})
			})
		}
	}
}

func TestAFailedBootstrapCanBeRetried(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	faults := map[string]bool{"Bootstrap": true}
	store := authtest.FaultyStore(f.store, func(method string) error {
		if faults[method] {
			return errors.New("away")
		}
		return nil
	})
	svc, err := auth.New(store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now,
	})
	require.NoError(t, err)
	bootstrap := func() error {
		_, err := svc.Bootstrap(t.Context(), auth.UserParams{Username: "root"}, f.adminPair)
		return err
	}
	require.ErrorContains(t, bootstrap(), "away")
	faults["Bootstrap"], faults["FindKey"] = false, true
	err = bootstrap()
	require.ErrorContains(t, err, "away")
	require.NotErrorIs(t, err, auth.ErrBootstrapped, "it is not known whether the pair was stored")
	faults["FindKey"] = false
	require.NoError(t, bootstrap())
}

func TestEveryStoreErrorReachesTheCaller(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	f := newFixture(t)
	store := authtest.FaultyStore(f.store, func(string) error { return down })
	svc, err := auth.New(store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now,
	})
	require.NoError(t, err)
	ctx := t.Context()
	require.ErrorIs(t, errorOf(svc.Register(ctx, authtest.ByHost, auth.UserParams{Username: "new"})), down)
	require.ErrorIs(t, errorOf(svc.RecoverSuperUser(ctx, f.user.ID)), down)
	require.ErrorIs(t, errorOf(svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})), down)
	require.ErrorIs(t, errorOf(svc.Login(ctx, f.userPair, auth.LoginOptions{})), down)
	require.ErrorIs(t, errorOf(svc.Credentials().Issue(ctx, authtest.ByHost, f.user.ID,
		auth.KeyOptions{})), down)
	require.ErrorIs(t, svc.Credentials().Revoke(ctx, authtest.ByHost, f.userPair.AccessKey), down)
	require.ErrorIs(t, svc.Tokens().Revoke(ctx, authtest.ByHost, "x"), down)
	require.ErrorIs(t, errorOf(svc.Prune(ctx)), down)
	require.ErrorIs(t, errorOf(svc.Tokens().Verify(ctx, f.signIn(f.user))), down)
}
