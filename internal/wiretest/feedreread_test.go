package wiretest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
)

// rereadStore is a store whose feed has one entry, which revokes everybody. Each read returns a
// newer entry, so the issuer must read the feed again from its beginning.
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

// Attack: a revoked token is presented in a loop while the feed is read again and again.
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
