package revocation_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/revocation"
)

func TestIsRevokedReadsTheFeedEvenIfTheLatestReadIsRecent(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	s := session{"u", "s", 0}
	require.False(t, in.isRevoked(t, s))
	in.store.revoke(s)
	require.False(t, in.knows(s))
	require.True(t, in.isRevoked(t, s))
	require.False(t, in.isRevoked(t, session{"u", "other", 0}))

	in.store.fail(errAway)
	_, err := in.IsRevoked(t.Context(), s.user, s.id, s.generation)
	require.ErrorIs(t, err, errAway)
}

func (in *instance) isRevoked(t *testing.T, s session) bool {
	t.Helper()
	revoked, err := in.IsRevoked(t.Context(), s.user, s.id, s.generation)
	require.NoError(t, err)
	return revoked
}

// A caller of IsRevoked that goes away must not look like a store that fails. For a second after a
// failure, requests do not ask the store.
func TestACallerOfIsRevokedThatGoesAwayDoesNotKeepOthersFromReading(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	victim := session{"u", "s", 0}
	require.NoError(t, in.check(victim))
	ctx, cancel := context.WithCancel(t.Context())
	in.store.onRead = func(ctx context.Context) error {
		cancel()
		return ctx.Err() // nil, because the read serves other callers too
	}
	_, err := in.IsRevoked(ctx, "w", "x", 0)
	require.NoError(t, err)
	in.store.onRead = nil
	require.Equal(t, revocation.ErrCommitsLost, in.check(ahead))

	in.store.revoke(victim)
	in.clock.Advance(interval)
	require.Equal(t, revocation.ErrRevoked, in.check(victim))
}

// The entry that was read last is pruned, so the next read begins at the start of the feed. During
// this read, the set does not yet have all entries again.
func TestIsRevokedWaitsWhileTheFeedIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	dead := session{"u", "s", 0}
	in.store.add(revocation.Entry{UserID: dead.user, Generation: 1})
	in.store.revoke(session{"w", "x", 1})
	require.NoError(t, in.ReadNow(t.Context()))
	in.store.dropNewest()
	for range revocation.KeptEntries + 1 {
		in.store.revoke(session{"w", "y", 1})
	}
	answers := make(chan bool, 1)
	reads := 0
	in.store.onRead = func(context.Context) error {
		if reads++; reads == 2 {
			require.False(t, in.knows(dead), "the set has forgotten it for a moment")
			go func() { answers <- in.isRevoked(t, dead) }()
		}
		return nil
	}
	require.NoError(t, in.ReadNow(t.Context()))
	require.True(t, <-answers)
}
