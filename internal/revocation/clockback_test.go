package revocation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

// The attack: the clock of an instance is a day ahead, for example after a boot with a wrong hardware clock.
// The instance reads revocations, which seem to have expired long ago, and skips them. Then the clock is
// corrected, and the revoked tokens have not expired.
func TestAClockThatWasAheadRevivesNoRevokedSession(t *testing.T) {
	t.Parallel()
	revoked := map[string]session{"its own": {"u", "s", 0}, "all of the user": {"v", "s", 0}}
	for name, c := range map[string]struct{ ahead, readAfter time.Duration }{
		"revoked while the clock was ahead":         {25 * time.Hour, 0},
		"revoked before the clock was ahead":        {0, 25 * time.Hour},
		"a clock that is ahead of the grace period": {2*time.Hour + 31*time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstance(t)
			expires := in.now().Add(30 * time.Minute)
			in.clock.Advance(c.ahead)
			in.store.add(revocation.Entry{UserID: "u", SessionID: "s", ExpiresAt: expires},
				revocation.Entry{UserID: "v", Generation: 2, ExpiresAt: expires})
			require.NoError(t, in.ReadNow(t.Context()))
			in.clock.Advance(c.readAfter)
			for i := range 1500 { // so many that the instance looks for expired entries
				in.store.add(revocation.Entry{UserID: fmt.Sprint("user ", i), SessionID: "s"})
			}
			require.NoError(t, in.ReadNow(t.Context()))

			in.clock.Advance(-c.ahead - c.readAfter)
			for who, session := range revoked {
				require.ErrorIs(t, in.check(session), revocation.ErrRevoked, who)
			}
			require.NoError(t, in.check(session{"u", "another", 0}))
			reads := in.store.countReads()
			in.clock.Advance(interval)
			require.NoError(t, in.check(session{"u", "another", 0}))
			require.Equal(t, reads+1, in.store.countReads(), "the whole feed is read again once")
		})
	}
}

// The attack: two instances of the issuer with different histories are behind one address, so each read
// finds another feed.
func TestReadingTheWholeFeedAgainTakesNoMoreMemory(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	r := revocation.NewRevoked()
	for range 100 {
		for i := range int64(20) {
			r.Add(named("u", fmt.Sprint(i), i, now.Add(time.Hour)), now)
			r.Add(capped("u", fmt.Sprint("ahead ", i), i, now.Add(time.Hour)), now)
		}
	}
	require.Equal(t, 40, r.Len())
}
