package wiretest

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// A token whose generation is above the head of the revocation feed may prove that the store has
// lost commits. Many requests with such a token must cause only one read of the feed. While the
// store fails, the loss cannot be proven, and the token is accepted as long as the last read of the
// feed is recent enough.
func TestManyTokensAheadOfTheFeedCostOneRead(t *testing.T) {
	t.Parallel()
	b := newBackedUp(t)
	other := b.instance()
	require.Equal(t, http.StatusOK, status(other, b.signIn(b.user)))
	b.revokeOnce(b.svc)
	tokens := []string{b.signIn(b.user), b.signIn(b.user), b.signIn(b.user)}
	before := b.calls.Load()
	for _, token := range append(tokens, tokens...) {
		require.Equal(t, http.StatusOK, status(other, token))
	}
	// Each of the six requests may make one call. In addition, the feed is read at most twice.
	require.LessOrEqual(t, b.calls.Load()-before-6, int64(2))

	b.revokeOnce(b.svc)
	token := b.signIn(b.user)
	b.inject(func(string) error { return authtest.ErrStoreAway })
	identify := func() error {
		_, err := other.Tokens().Verify(t.Context(), token)
		return err
	}
	require.NoError(t, identify())
	b.clock.Advance(61 * time.Second)
	require.Error(t, identify(), "the last read of the feed is too old")
}

// loseCommits issues a token and then restores a backup that is older than the token. It returns a
// restarted instance and the token, whose generation is above the head of the restored feed.
func loseCommits(t *testing.T) (b *backedUp, svc *auth.Service, ahead string) {
	t.Helper()
	b = newBackedUp(t)
	b.backUp(t)
	b.logOut(b.svc, 5) // the restore loses these revocations
	ahead = b.signIn(b.admin)
	b.restore(t)
	return b, b.instance(), ahead
}

// The tests below each add one fault to this test.
func TestATokenAheadOfTheFeedIsRejected(t *testing.T) {
	t.Parallel()
	_, svc, ahead := loseCommits(t)
	require.Equal(t, http.StatusUnauthorized, status(svc, ahead))
}

// If the instance cannot read the head of the feed, it accepts the token until its last read of the
// feed is too old. But one failed read must not make the token valid forever.
func TestAFailedReadOfTheHeadDoesNotAcceptATokenAheadForever(t *testing.T) {
	t.Parallel()
	b, svc, ahead := loseCommits(t)
	b.inject(func(method string) error {
		if method == "RevocationHead" {
			return authtest.ErrStoreAway
		}
		return nil
	})
	first := status(svc, ahead)
	b.inject(func(string) error { return nil })
	for minute := range 120 {
		b.clock.Advance(time.Minute)
		if got := status(svc, ahead); got != http.StatusUnauthorized {
			require.Less(t, minute, 119,
				"accepted for two hours after one failed read: %d, the first time %d", got, first)
			continue
		}
		return
	}
}

// An instance must check for lost commits even after the request that began the check was canceled.
func TestACanceledRequestDoesNotSkipTheCheckForLostCommits(t *testing.T) {
	t.Parallel()
	accepted := 0
	for range 10 {
		b, svc, ahead := loseCommits(t)
		require.ErrorIs(t, errorOf(svc.Tokens().Verify(t.Context(), "x")), auth.ErrTokenRejected)
		// This request makes the instance read the feed.
		require.Equal(t, http.StatusOK, status(svc, b.signInAt(svc, b.user)))
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		svc.Tokens().Verify(canceled, ahead)
		b.clock.Advance(time.Minute)
		if status(svc, ahead) == http.StatusOK {
			accepted++
		}
	}
	require.Zero(t, accepted, "tokens ahead of the feed were accepted after a canceled request")
}

// Several requests arrive at the same time. The generation of their token is above the head of the
// feed. The first request proves that commits were lost, and the instance revokes the sessions of
// all users. The other requests wait for it and must be rejected too.
func TestConcurrentTokensAheadOfTheFeedAreAllRejected(t *testing.T) {
	t.Parallel()
	for range 5 {
		synctest.Test(t, func(t *testing.T) { // no request waits for longer than a second
			b, svc, ahead := loseCommits(t)
			// This request makes the instance read the feed.
			require.Equal(t, 200, status(svc, b.signInAt(svc, b.user)))
			b.inject(func(method string) error {
				if method == "RevocationHead" || method == "ListRevocations" {
					time.Sleep(5 * time.Millisecond) // as slow as a database
				}
				return nil
			})
			statuses := make([]int, 10)
			var wg sync.WaitGroup
			for i := range statuses {
				wg.Go(func() { statuses[i] = status(svc, ahead) })
			}
			wg.Wait()
			require.NotContains(t, statuses, 200, "tokens ahead of the feed were accepted")
			b.clock.Advance(time.Minute)
			require.Equal(t, 401, status(svc, ahead))
		})
	}
}

// An attacker who holds a signing key can forge tokens until the key is removed. Attack: a forged
// token has a very high generation. After the key is removed, this must not affect the service.
func TestAForgedGenerationHasNoEffectAfterItsKeyIsDropped(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, generation := range []int64{1 << 40, 1<<53 - 1, math.MaxInt64 - 1, math.MaxInt64} {
			t.Run(fmt.Sprint(generation), func(t *testing.T) {
				f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = open(t) })
				login := func(svc *auth.Service) string {
					t.Helper()
					token, err := svc.Login(t.Context(), f.adminPair, auth.LoginOptions{})
					require.NoError(t, err)
					return token.Bearer.Reveal()
				}
				require.Equal(t, http.StatusOK, status(f.svc, login(f.svc)))

				now := f.clock.Now().Unix()
				header := fmt.Sprintf(`{"typ":"JWT","alg":"HS256","kid":%q}`, f.signer.Key.ID())
				forged := f.signer.Forge(t, header, fmt.Sprintf(
					`{"iss":%q,"aud":%q,"sub":%q,"jti":"x","iat":%d,"exp":%d,"gen":%d,"username":"root","is_super_user":true}`,
					issuer, issuer, f.admin.ID, now, now+3600, generation))
				t.Log("status of the forged token:", status(f.svc, forged))

				// The key is removed, and every instance is restarted.
				svc, err := auth.New(f.store, auth.Config{
					Issuer: issuer, SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["EdDSA"].Key},
					Now: f.clock.Now, Logger: slog.New(slog.DiscardHandler),
				})
				require.NoError(t, err)
				f.clock.Advance(time.Minute)
				token := login(svc)
				require.Equal(t, http.StatusOK, status(svc, token))
				require.NoError(t, svc.Tokens().RevokeToken(t.Context(), token), "log out")
				require.Equal(t, http.StatusUnauthorized, status(svc, token))
				token = login(svc)
				require.Equal(t, http.StatusOK, status(svc, token))
				require.NoError(t, svc.RevokeEverybody(t.Context(), authtest.ByHost))
				require.Equal(t, http.StatusUnauthorized, status(svc, token))
				_, err = svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, f.admin.ID)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, status(svc, login(svc)))
			})
		}
	})
}
