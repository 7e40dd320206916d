package wiretest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// Two instances revoke sessions at the same time, each through its own connections. A verifier that follows
// the feed meanwhile misses none of the entries, and sees no hole in the order of the commits.
func TestAFollowingVerifierMissesNoEntryOfConcurrentInstances(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		store := open(t)
		f := newFollowing(t, func(f *fixture, _ *auth.Config) { f.store = store })
		second := f.secondIssuer(t)
		const users, each = 6, 8
		var revoked, live []auth.Token
		var changes []func() error
		for i := range users {
			made, err := f.svc.Register(t.Context(), authtest.ByHost,
				auth.UserParams{Username: "user " + string(rune('a'+i))})
			require.NoError(t, err)
			for range each {
				token := f.issue(made.User)
				revoked = append(revoked, token)
				if i > 0 { // the sessions of the first user are revoked together
					changes = append(changes, func() error {
						return second.Tokens().RevokeToken(t.Context(), token.Bearer.Reveal())
					}, func() error {
						err := f.svc.Tokens().Revoke(t.Context(), authtest.ByHost, token.Session.ID)
						if errors.Is(err, auth.ErrNotFound) { // the other instance was first
							return nil
						}
						return err
					})
				}
			}
			if i > 0 {
				live = append(live, f.issue(made.User))
			}
		}
		changes = append(changes, func() error {
			return errorOf(second.Tokens().RevokeUser(t.Context(), authtest.ByHost, revoked[0].User.ID))
		})
		follow := func() {
			f.clock.Advance(interval)
			for _, token := range live {
				f.require(accepted, token)
			}
		}
		errs := make([]error, len(changes))
		var running sync.WaitGroup
		for i, change := range changes {
			running.Go(func() { errs[i] = change() })
			if i%20 == 0 {
				follow()
			}
		}
		running.Wait()
		require.NoError(t, errors.Join(errs...))
		follow()
		for _, verifier := range []*auth.RemoteVerifier{f.verifier, f.another(t)} {
			for _, token := range revoked {
				require.Equal(t, rejected, statusAt(verifier, token))
			}
			for _, token := range live {
				require.Equal(t, accepted, statusAt(verifier, token))
			}
		}
		require.NotContains(t, f.seen.String(), "revocation feed")

		// An instance whose clock is far ahead prunes what seems to have expired.
		f.clock.Advance(14 * time.Hour)
		require.NoError(t, errorOf(second.Prune(t.Context())))
		f.clock.Advance(-14 * time.Hour)
		for _, verifier := range []*auth.RemoteVerifier{f.verifier, f.another(t)} {
			for _, token := range revoked {
				require.Equal(t, rejected, statusAt(verifier, token), "the feed keeps its newest entries")
			}
		}
		require.NoError(t, f.svc.RevokeEverybody(t.Context(), authtest.ByHost))
		f.clock.Advance(interval)
		for _, token := range live {
			f.require(rejected, token)
		}
	})
}

// secondIssuer returns another instance of the issuer.
func (f *following) secondIssuer(t testing.TB) *auth.Service {
	t.Helper()
	svc, err := auth.New(f.store, auth.Config{Issuer: issuer, Now: f.clock.Now,
		SigningKeys: []auth.SigningKey{f.signer.Key}, OnEvent: func(auth.Event) {},
		Tokens: auth.TokenConfig{Audiences: []string{audience}, Scopes: []string{}}})
	require.NoError(t, err)
	return svc
}
