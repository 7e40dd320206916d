package wiretest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// idleAttack is an attack on an idle instance, or on another service that follows the revocations of the
// instance. Meanwhile, another instance revokes sessions.
type idleAttack struct {
	*instances
	t      *testing.T
	random *rand.Rand
	ahead  atomic.Int64 // how far the wall clock is ahead of the monotonic one, in seconds
	remote *auth.RemoteVerifier

	mu      sync.Mutex
	end     func()    // ends the Run of the instance and of the verifier
	faultAt time.Time // when a read could last fail or hang
}

// newIdleAttack makes the attack. The time start has a reading of the monotonic clock, which the times of a
// bubble do not have.
func newIdleAttack(t *testing.T, start time.Time, key auth.SigningKey, seed uint64) *idleAttack {
	a := &idleAttack{t: t, random: rand.New(rand.NewPCG(seed, 1))}
	began := time.Now()
	now := func() time.Time { return authtest.Suspended(start.Add(time.Since(began)), a.ahead.Load()) }
	a.instances = newInstances(t, func(c *auth.Config) {
		c.Now, c.Tokens.Audiences = now, []string{audience}
	})
	for _, svc := range []*auth.Service{a.svc, a.other} { // an HS256 key signs no pages of revocations
		require.NoError(t, svc.Tokens().SetKeys([]auth.SigningKey{key}))
	}
	var err error
	a.remote, err = auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKS: a.svc.Tokens().JWKS(), Issuer: issuer, Audience: audience, Now: now,
		RevocationsURL: "https://api.example.com" + revocationsPath,
		TokenSource:    oauth2.StaticTokenSource(&oauth2.Token{AccessToken: a.signIn(a.admin)}),
		HTTPClient:     &http.Client{Transport: directTransport{a.other.Handler(auth.GroupVerifiers)}},
	})
	require.NoError(t, err)
	a.run()
	return a
}

func (a *idleAttack) upTo(d time.Duration) time.Duration {
	return time.Duration(a.random.Int64N(int64(d)))
}

// run starts the Run of the instance and of the verifier.
func (a *idleAttack) run() {
	ctx, cancel := context.WithCancel(a.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = a.other.Run(ctx) })
	running.Go(func() { _ = a.remote.Run(ctx) })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end = func() { cancel(); running.Wait() }
}

// stop ends what run has started.
func (a *idleAttack) stop() {
	a.mu.Lock()
	end := a.end
	a.mu.Unlock()
	end()
}

// disturb makes some of the faults, which end within two minutes.
func (a *idleAttack) disturb() {
	if a.random.IntN(3) == 0 {
		a.stop()
		time.AfterFunc(a.upTo(2*time.Minute), a.run)
	}
	if a.random.IntN(2) == 0 {
		jump := a.random.Int64N(20) - 10 // the wall clock is set, or the machine was suspended
		time.AfterFunc(a.upTo(2*time.Minute), func() { a.ahead.Add(jump) })
	}
	if a.random.IntN(3) == 0 {
		a.fail([]error{authtest.ErrHang, authtest.ErrStoreAway}[a.random.IntN(2)])
		time.AfterFunc(a.upTo(90*time.Second), func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.fail(nil)
			a.faultAt = time.Now()
		})
	}
}

// healthySince returns since when all reads of the feed can succeed.
func (a *idleAttack) healthySince() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fault.Load() != nil {
		return time.Now()
	}
	return a.faultAt.Add(10 * time.Second) // a read of Run that hangs ends after this time
}

// revoke revokes a session on the busy instance, and then uses its token on the idle one.
func (a *idleAttack) revoke() {
	token, verify := a.signIn(a.user), a.other.Tokens().Verify
	if a.random.IntN(2) == 0 {
		token, verify = a.signInFor(audience, a.user), a.remote.Verify
	}
	if a.random.IntN(2) == 0 {
		_, _ = verify(a.t.Context(), token)
	}
	time.Sleep(a.upTo(90 * time.Second))
	require.NoError(a.t, a.svc.Tokens().RevokeToken(a.t.Context(), token))
	revoked := time.Now()
	var requests sync.WaitGroup
	for range 20 {
		after, patience := a.upTo(70*time.Second), 10*time.Second
		if a.random.IntN(3) == 0 {
			patience = a.upTo(time.Second)
		}
		requests.Go(func() {
			time.Sleep(after)
			began, healthy := time.Now(), a.healthySince()
			ctx, cancel := context.WithTimeout(a.t.Context(), patience)
			defer cancel()
			if _, err := verify(ctx, token); err != nil {
				return
			}
			since := began.Sub(revoked)
			require.Less(a.t, since, time.Minute)
			if healthy.Before(revoked) && a.healthySince().Before(revoked) {
				require.Less(a.t, since, 5*time.Second)
			}
		})
	}
	requests.Wait()
}

// The attack: a session is revoked while an instance, or a service that follows it, is idle. Its token is
// used before, at and after the time at which they wake, by clients that go away, while the store fails or
// hangs, while the clock jumps, and after Run has ended and begun again.
func TestAnIdleInstanceAcceptsNoRevokedTokenForLonger(t *testing.T) {
	t.Parallel()
	start, key := time.Now(), authtest.NewSigners(t)["EdDSA"].Key
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newIdleAttack(t, start, key, seed)
				for range 6 {
					a.disturb()
					a.revoke()
					time.Sleep(2 * time.Minute) // the faults have ended
				}
				a.stop()
			})
		})
	}
}
