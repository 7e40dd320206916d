package wiretest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// signOut revokes a token, as if its user signed out.
func (b *backedUp) signOut(ctx context.Context) error {
	return b.store.RevokeToken(ctx, auth.SessionClaims{
		UserID: rand.Text(), SessionID: rand.Text(), ExpiresAt: b.clock.Now().Add(time.Hour)})
}

// An instance finds lost commits while users sign out all the time. The sign-outs must not keep the
// feed from being repaired.
func TestLostCommitsAreRepairedWhileUsersSignOut(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	var log authtest.Log
	b.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	svc := b.instance()
	b.backUp(t)
	b.logOut(b.svc, 5)
	require.Equal(t, http.StatusOK, status(svc, b.signInAt(svc, b.user))) // svc reads the five entries
	b.restore(t)
	b.logOut(b.instance(), 10) // the head is above the cursor of svc again
	log.Reset()

	ctx, stop := context.WithCancel(t.Context())
	var signingOut sync.WaitGroup
	for range 4 {
		signingOut.Go(func() {
			for ctx.Err() == nil {
				if err := b.signOut(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	b.clock.Advance(time.Minute)
	answer := status(svc, b.signInAt(svc, b.user))
	stop()
	signingOut.Wait()
	require.Contains(t, []int{http.StatusOK, http.StatusUnauthorized}, answer,
		"the token was issued before or after everybody was revoked")
	require.Equal(t, http.StatusOK, status(svc, b.signInAt(svc, b.user)))
	require.Equal(t, 1, strings.Count(log.String(), "all sessions are revoked"))
}

// A token was revoked after the backup, and the restore undoes the revocation. The token proves that
// commits were lost. Before each repair, as many sign-outs commit as commits were lost.
func TestARejectedLostTokenIsNotAcceptedWhenTheHeadClimbs(t *testing.T) {
	t.Parallel()
	b, svc, ahead := loseCommits(t)
	b.inject(func(method string) error {
		for range 6 {
			if method != "RevokeEverybody" {
				break
			}
			require.NoError(t, b.signOut(t.Context()))
		}
		return nil
	})
	for range 15 {
		require.Equal(t, http.StatusUnauthorized, status(svc, ahead))
		b.clock.Advance(5 * time.Second)
	}
}

// Two instances find lost commits at the same time. Only the one that revokes everybody reports it.
func TestARepairThatChangedNothingIsNotReported(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	b.backUp(t)
	b.logOut(b.svc, 5)
	ahead := b.signIn(b.admin)
	b.restore(t)
	var log authtest.Log
	b.config.Logger, b.config.DisableAuditTrail = slog.New(slog.NewTextHandler(&log, nil)), true
	first, second := b.instance(), b.instance()
	repaired := false
	b.inject(func(method string) error {
		if method == "RevokeEverybody" && !repaired {
			repaired = true
			require.Equal(t, http.StatusUnauthorized, status(first, ahead)) // repairs the feed
		}
		return nil
	})
	require.Equal(t, http.StatusUnauthorized, status(second, ahead))
	entries, err := b.store.ListRevocations(t.Context(), 0, 100)
	require.NoError(t, err)
	require.Len(t, slices.DeleteFunc(entries, func(e auth.Revocation) bool { return e.UserID != "" }), 1)
	text := log.String()
	require.Equal(t, 1, strings.Count(text, "all sessions are revoked"))
	require.Equal(t, 1, strings.Count(text, `"auth: `+string(eventkind.CommitsLost)+`"`), text)
}

// An instance whose clock was two days ahead has revoked everybody. Later a backup is restored. A
// token whose revocation was lost proves the loss.
func TestLostCommitsAreRepairedAfterAFastClockRevokedEverybody(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	fast := b.config
	fast.Now = func() time.Time { return b.clock.Now().Add(48 * time.Hour) }
	machine, err := auth.New(b.store, fast)
	require.NoError(t, err)
	require.NoError(t, machine.RevokeEverybody(t.Context(), authtest.ByHost))
	b.clock.Advance(time.Minute)

	b.backUp(t)
	b.logOut(b.svc, 5)
	stolen := b.signIn(b.admin)
	require.NoError(t, b.svc.Tokens().RevokeToken(t.Context(), stolen)) // the restore undoes this
	b.restore(t)
	svc := b.instance()
	require.Equal(t, http.StatusUnauthorized, status(svc, stolen))
	b.logOut(b.instance(), 10)
	b.clock.Advance(time.Minute)
	require.Equal(t, http.StatusUnauthorized, status(svc, stolen), "it has proven lost commits")
}

// After a RevokeEverybody, two users sign in, and one of them is revoked. All this is lost. The
// instance that finds the loss sees only the token with the lower generation. Its clock is so late
// that the time in microseconds is below the lost generations.
func TestARepairRevokesLostTokensThatItHasNotSeen(t *testing.T) {
	t.Parallel()
	for name, clock := range map[string]time.Duration{
		"a slow clock repairs":           -20 * time.Second,
		"a fast clock revoked everybody": 0,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackedUp(t)
			revokeEverybody := func(ahead time.Duration) {
				cfg := b.config
				cfg.Now = func() time.Time { return b.clock.Now().Add(ahead) }
				svc, err := auth.New(b.store, cfg)
				require.NoError(t, err)
				require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
			}
			if clock == 0 {
				revokeEverybody(48 * time.Hour)
				b.backUp(t)
				b.logOut(b.svc, 5)
			} else {
				b.backUp(t)
				revokeEverybody(0)
			}
			first := b.signIn(b.user)
			b.logOut(b.svc, 1)
			stolen := b.signIn(b.admin)
			require.NoError(t, b.svc.Tokens().RevokeToken(t.Context(), stolen))
			b.clock.Advance(5 * time.Second)
			b.restore(t)

			cfg := b.config
			cfg.Now = func() time.Time { return b.clock.Now().Add(clock) }
			svc, err := auth.New(b.store, cfg)
			require.NoError(t, err)
			require.Equal(t, http.StatusUnauthorized, status(svc, first), "it proves the loss")
			for range 3 {
				b.clock.Advance(time.Minute)
				require.Equal(t, http.StatusUnauthorized, status(svc, stolen))
				require.Equal(t, http.StatusUnauthorized, status(b.instance(), stolen))
			}
		})
	}
}

// An instance reads nothing for 15 hours, because it is a standby that does not run. Meanwhile the
// store is restored, and the operator calls RevokeEverybody, as docs/backup-and-restore.md says.
func TestAStandbyThatMissedARestoreServesAgain(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	standby := b.instance()
	b.backUp(t)
	b.logOut(b.svc, 5)
	require.Equal(t, http.StatusOK, status(standby, b.signInAt(standby, b.user))) // reads five entries
	b.restore(t)
	running := b.instance()
	b.logOut(running, 10)
	require.NoError(t, running.RevokeEverybody(t.Context(), authtest.ByHost))
	b.clock.Advance(15 * time.Hour) // more than MaxLifetime and two hours
	for range 3 {
		b.clock.Advance(time.Minute)
		fresh := b.signInAt(running, b.user)
		for _, svc := range []*auth.Service{running, standby} {
			require.Equal(t, http.StatusOK, status(svc, fresh))
		}
	}
}

// An instance whose clock was two days ahead has revoked everybody. A user then signs in on one
// instance and calls another one that has not read the new entry yet.
func TestANewTokenIsAcceptedEverywhereAfterAFastClockRevokedEverybody(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t))
		require.Equal(t, http.StatusOK, status(s.other, s.bearer)) // the latest read is recent
		fast, err := auth.New(s.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{s.signer.Key},
			Now: func() time.Time { return s.clock.Now().Add(48 * time.Hour) },
		})
		require.NoError(t, err)
		require.NoError(t, fast.RevokeEverybody(t.Context(), authtest.ByHost))
		token := s.signIn(s.user)
		require.Equal(t, http.StatusOK, status(s.svc, token))
		require.Equal(t, http.StatusOK, status(s.other, token))
	})
}

// Clients of a handler that calls Recheck go away while the store is read. Other requests must still
// read the feed, because the store is healthy.
func TestClientsOfRecheckThatGoAwayDoNotKeepTheFeedFromBeingRead(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t))
		var leave func()
		svc, err := auth.New(authtest.FaultyStore(s.store, func(method string) error {
			if leave != nil && method == "ListRevocations" {
				leave()
			}
			return nil
		}), auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{s.signer.Key}, Now: s.clock.Now})
		require.NoError(t, err)
		attacker, victim := s.signIn(s.user), s.bearer
		for _, token := range []string{attacker, victim} {
			require.Equal(t, http.StatusOK, status(svc, token))
		}
		require.NoError(t, s.other.Tokens().RevokeToken(t.Context(), victim))
		h := svc.Authenticate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx, stop := context.WithCancel(r.Context())
			leave = stop
			_, _ = svc.Recheck(ctx)
			leave = nil
		}))
		s.clock.Advance(4900 * time.Millisecond)
		send(h, http.MethodGet, "/", "", "Authorization", "Bearer "+attacker)
		s.clock.Advance(900 * time.Millisecond)
		require.Equal(t, http.StatusUnauthorized, status(svc, victim))
	})
}
