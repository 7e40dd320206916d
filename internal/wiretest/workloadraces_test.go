package wiretest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// The attack: a stolen assertion is sent to two instances at the same moment.
func TestOfManyUsesOfAnAssertionOnTwoInstancesOneSucceeds(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		var cfg auth.Config
		f := newFixture(t, func(f *fixture, c *auth.Config) {
			f.store = open(t)
			c.Throttling.Off, c.SigningKeys = true, []auth.SigningKey{f.signer.Key}
			cfg = *c
		})
		second, err := auth.New(f.store, cfg)
		require.NoError(t, err)
		instances := []*auth.Service{f.svc, second}
		robot := f.registerService("robot").User
		const rounds = 3
		for round := range rounds {
			signIn := auth.WorkloadSignIn{UserID: robot.ID, Issuer: "https://issuer.example.com",
				AssertionID: fmt.Sprint(round), ExpiresAt: f.clock.Now().Add(time.Minute)}
			errs := make([]error, 128)
			var running sync.WaitGroup
			for i := range errs {
				running.Go(func() {
					_, errs[i] = instances[i%2].SignInWorkload(t.Context(),
						func(context.Context) (auth.WorkloadSignIn, error) { return signIn, nil })
				})
			}
			running.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
					continue
				}
				require.ErrorContains(t, err, "it was used already")
			}
			require.Equal(t, 1, won)
		}
		sessions, err := f.store.ListSessions(t.Context(), robot.ID, f.clock.Now())
		require.NoError(t, err)
		require.Len(t, sessions, rounds)
	})
}
