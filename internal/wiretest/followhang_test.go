package wiretest

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// Attack: the issuer holds its answers. Only the requests whose tokens are newer than the copy wait for it,
// and each of them waits for at most a second, also while Run waits for the issuer.
func TestAnIssuerThatHoldsItsAnswersDelaysOnlyNewerTokens(t *testing.T) {
	t.Parallel()
	for name, runs := range map[string]bool{"with Run": true, "without Run": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, signedBy("EdDSA"), func(_ *fixture, cfg *auth.Config) {
					cfg.Now, cfg.Tokens.Audiences = time.Now, []string{audience}
				})
				var held atomic.Bool
				v, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
					JWKS: f.svc.Tokens().JWKS(), Issuer: issuer, Audience: audience,
					RevocationsURL: "https://api.example.com/auth/revocations",
					TokenSource:    oauth2.StaticTokenSource(&oauth2.Token{AccessToken: f.signIn(f.admin)}),
					HTTPClient:     &http.Client{Transport: slowTransport{f.svc.Handler(auth.GroupVerifiers), &held}},
				})
				require.NoError(t, err)
				verify := func(token string) time.Duration {
					began := time.Now()
					_, err := v.Verify(t.Context(), token)
					require.NoError(t, err)
					return time.Since(began)
				}
				old := f.signInFor(audience, f.user)
				require.Zero(t, verify(old))
				f.signOut(f.user)
				newer := f.signInFor(audience, f.user)
				held.Store(true)
				ctx, stop := context.WithCancel(t.Context())
				var running sync.WaitGroup
				if runs {
					running.Go(func() { _ = v.Run(ctx) })
				}
				var requests sync.WaitGroup
				for i := range 300 { // in the time in which the copy is younger than the interval
					requests.Go(func() {
						time.Sleep(time.Duration(i) * 15 * time.Millisecond)
						require.LessOrEqual(t, verify(newer), time.Second)
					})
					requests.Go(func() {
						time.Sleep(time.Duration(i)*15*time.Millisecond + time.Nanosecond)
						require.Zero(t, verify(old), "the token is not newer than the copy")
					})
				}
				requests.Wait()
				time.Sleep(interval) // from now on, each request would like to read
				for range 50 {
					require.LessOrEqual(t, verify(newer), time.Second)
					require.LessOrEqual(t, verify(old), time.Second)
				}
				stop()
				running.Wait()
			})
		})
	}
}
