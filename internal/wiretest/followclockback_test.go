package wiretest

import (
	"context"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The attack: a verifier boots with a clock that is far ahead. It reads the revocations of tokens that seem
// to have expired. Then its clock is corrected, and the tokens have not expired.
func TestAVerifierWhoseClockWasAheadRejectsRevokedTokens(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token, revoked := f.issue(f.user), f.signOut(f.user)
	own := authtest.NewClock()
	own.Advance(15 * time.Hour)
	f.verifier = f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.Now = own.Now })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.verifier.Run(ctx) }()
	require.Eventually(t, func() bool { _, accepts := f.verifier.FeedAge(); return accepts }, 10*time.Second,
		time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	f.require(rejected, token)
	own.Advance(-15 * time.Hour)
	f.require(rejected, revoked)
	f.require(accepted, token)
}
