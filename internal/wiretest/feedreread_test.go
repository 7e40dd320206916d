package wiretest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storekit"
	"github.com/stretchr/testify/require"
)

// rereadStore is a store whose feed has one entry, which revokes the sessions of all users. Each
// read returns a new entry at a higher position, so the issuer must read the feed from the
// beginning again.
type rereadStore struct {
	auth.Store
	position atomic.Int64
}

func (s *rereadStore) ListRevocations(_ context.Context, from int64, _ int) ([]auth.Revocation, error) {
	p := s.position.Add(1)
	return []auth.Revocation{{
		ID: fmt.Sprint(p), Position: p, Generation: p, ExpiresAt: time.Now().Add(24 * time.Hour * 365 * 100),
	}}, nil
}

func (s *rereadStore) RevokeToken(context.Context, auth.SessionClaims) error { return nil }

// Attack: a revoked token is sent many times while the issuer reads the feed again and again.
func TestARevokedTokenIsRejectedWhileTheFeedIsReread(t *testing.T) {
	t.Parallel()
	signer := authtest.NewSigners(t)["HS256"]
	store := &rereadStore{Store: memstore.New()}
	clock := authtest.NewClock()
	register(t, store, clock, "u1", "alice")
	tokens, err := auth.NewTokenIssuer(store, issuer, []auth.SigningKey{signer.Key},
		auth.TokenConfig{Now: clock.Now})
	require.NoError(t, err)
	token, err := tokens.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
	require.NoError(t, err)
	bearer := token.Bearer.Reveal()
	require.NoError(t, tokens.RevokeToken(t.Context(), bearer))

	var all sync.WaitGroup
	var accepted atomic.Int64
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := tokens.Verify(t.Context(), bearer); err == nil {
					accepted.Add(1)
				}
			}
		})
	}
	for range 20_000 {
		require.NoError(t, tokens.RevokeToken(t.Context(), bearer))
	}
	close(done)
	all.Wait()
	require.Zero(t, accepted.Load())
}

// replaceableStore is a store whose inner store a test can replace, to simulate a restore.
type replaceableStore struct{ auth.Store }

func TestARestoredStoreRevokesEverybodyOnce(t *testing.T) {
	t.Parallel()
	// The instance has read entries that the restored store does not have. The feed of the restored
	// store is shorter than the old feed, equally long, or longer.
	for _, later := range []int{0, 1, 2, 3, 50} {
		t.Run(fmt.Sprint(later), func(t *testing.T) {
			t.Parallel()
			store := &replaceableStore{memstore.New()}
			f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store })
			lost := f.signIn(f.user)
			require.Equal(t, http.StatusOK, status(f.svc, lost))
			for range 3 {
				_, err := f.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, f.user.ID)
				require.NoError(t, err)
				f.signIn(f.user)
			}

			restored := memstore.New()
			old := store.Store
			store.Store = restored
			for _, id := range []string{f.user.ID, f.admin.ID} {
				user, err := old.FindUser(t.Context(), id)
				require.NoError(t, err)
				require.NoError(t, restored.Register(t.Context(), authtest.HostWrite, user, auth.AccessKey{
					ID: "key of " + id, UserID: id, Hash: "hash", CreatedAt: f.clock.Now(),
				}))
			}
			other, err := auth.New(store, auth.Config{
				Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now,
			})
			require.NoError(t, err)
			var revoked []string
			for range later {
				token, err := other.SignIn(t.Context(), f.admin.ID, auth.LoginOptions{})
				require.NoError(t, err)
				require.NoError(t, other.Tokens().Revoke(t.Context(), authtest.ByHost, token.Session.ID))
				revoked = append(revoked, token.Bearer.Reveal())
			}
			fresh, err := other.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
			require.NoError(t, err)

			f.clock.Advance(5 * time.Second)
			store.Store = authtest.FaultyStore(restored, failSecond())
			require.Equal(t, http.StatusServiceUnavailable, status(f.svc, fresh.Bearer.Reveal()),
				"no token is accepted before the restored feed was read")
			store.Store = restored
			require.Equal(t, http.StatusUnauthorized, status(f.svc, fresh.Bearer.Reveal()),
				"revocations may be lost, so everybody is revoked")
			require.Contains(t, f.log.String(), "the store has lost commits")
			for _, token := range append(revoked, lost) {
				require.Equal(t, http.StatusUnauthorized, status(f.svc, token))
			}
			f.log.Reset()
			again, err := other.SignIn(t.Context(), f.user.ID, auth.LoginOptions{})
			require.NoError(t, err)
			for range 3 {
				require.Equal(t, http.StatusOK, status(f.svc, again.Bearer.Reveal()))
				require.Equal(t, http.StatusOK, status(other, again.Bearer.Reveal()))
				f.clock.Advance(5 * time.Second)
			}
			require.NotContains(t, f.log.String(), "the store has lost commits",
				"everybody is revoked only once")
		})
	}
}

// failSecond returns a fault that lets the first read of the feed succeed and makes all later reads
// fail. The first read detects that the store was restored.
func failSecond() func(string) error {
	var reads atomic.Int64
	return func(method string) error {
		if method == "ListRevocations" && reads.Add(1) > 1 {
			return authtest.ErrStoreAway
		}
		return nil
	}
}

func TestAClockThatIsOffByAnHourRestoresNoRevokedToken(t *testing.T) {
	t.Parallel()
	// If a clock is set back by more than 30 seconds, tokens are rejected because their issue time
	// is in the future. With -20 seconds, tokens are not rejected for this reason.
	for _, off := range []time.Duration{time.Hour, -20 * time.Second, -time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			in := newInstances(t)
			token := in.signIn(in.user)
			require.Equal(t, http.StatusOK, status(in.other, token))
			_, err := in.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
			require.NoError(t, err)
			in.clock.Advance(off)
			require.Equal(t, http.StatusUnauthorized, status(in.svc, token))
			require.Equal(t, http.StatusUnauthorized, status(in.other, token),
				"the instance cannot tell the age of its last read")
		})
	}
	t.Run("another instance prunes an hour too early", func(t *testing.T) {
		t.Parallel()
		in := newInstances(t)
		token := in.signIn(in.user)
		_, err := in.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
		require.NoError(t, err)
		for range storekit.KeptRevocations { // the newest KeptRevocations entries are never pruned
			session, err := in.svc.SignIn(t.Context(), in.admin.ID, auth.LoginOptions{})
			require.NoError(t, err)
			require.NoError(t, in.store.RevokeSession(t.Context(), authtest.HostWrite, session.Session.ID))
		}
		in.clock.Advance(12*time.Hour - time.Minute)
		early := authtest.NewClock()
		early.Advance(13 * time.Hour)
		hasty, err := auth.New(in.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{in.signer.Key}, Now: early.Now,
		})
		require.NoError(t, err)
		_, err = hasty.Prune(t.Context())
		require.NoError(t, err)
		cold, err := auth.New(in.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{in.signer.Key}, Now: in.clock.Now,
		})
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status(cold, token))

		early.Advance(3 * time.Hour)
		removed, err := hasty.Prune(t.Context())
		require.NoError(t, err)
		require.Positive(t, removed, "the entry is pruned in the end")
	})
}
