package wiretest

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// sleeper is a clock of a machine that can be suspended: the monotonic clock stands still meanwhile.
type sleeper struct{ seconds atomic.Int64 }

func (s *sleeper) now() time.Time { return authtest.Suspended(time.Now(), s.seconds.Load()) }

// The attack: a verifier is suspended for an hour. Meanwhile, a session is revoked. By the monotonic clock,
// the copy of the feed is still young.
func TestAVerifierThatWasSuspendedRejectsRevokedTokens(t *testing.T) {
	t.Parallel()
	f := newFollowing(t, func(_ *fixture, cfg *auth.Config) { cfg.Now = time.Now })
	own := &sleeper{}
	f.verifier = f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.Now = own.now })
	token, other := f.issue(f.user), f.issue(f.admin)
	f.require(accepted, token)
	f.require(accepted, other)
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), token.Bearer.Reveal()))
	own.seconds.Store(3600)
	f.require(rejected, token)
	f.require(accepted, other)
	own.seconds.Add(3600)
	f.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	f.require(unknown, other, "an hour without the issuer")
}

// The attack: an instance of the issuer is suspended for an hour, and then cannot read its store. Its copy
// of the feed, which lacks the revocations of the hour, is still young by its monotonic clock.
func TestAnIssuerThatWasSuspendedSignsNoOldPage(t *testing.T) {
	t.Parallel()
	issuerClock := &sleeper{}
	var down atomic.Bool
	f := newFollowing(t, withFaults(func(method string) error {
		if down.Load() && method == "ListRevocations" {
			return errors.New("the store is down")
		}
		return nil
	}), func(_ *fixture, cfg *auth.Config) { cfg.Now = issuerClock.now })
	awake := func() time.Time {
		return time.Now().Add(time.Duration(issuerClock.seconds.Load()) * time.Second)
	}
	f.verifier = f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.Now = awake })
	token := f.issue(f.user)
	f.require(accepted, token)
	down.Store(true)
	issuerClock.seconds.Store(3600)
	f.require(unknown, token)
	down.Store(false)
	require.Eventually(t, func() bool { return f.status(token) == accepted }, 10*time.Second,
		50*time.Millisecond)
}
