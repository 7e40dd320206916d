package revocation_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

// reader is a Feed that reads a copy of the feed, as a service without the store does. The copy is as old
// as lag says.
type reader struct {
	*instance
	lag    time.Duration
	hashes int
}

func newReader(t testing.TB) *reader {
	r := &reader{instance: newInstance(t)}
	r.Feed = revocation.NewFeed(revocation.Source{
		Read: r.store.read, Head: r.store.head,
		AsOf: func() time.Time { return r.clock.Now().Add(-r.lag) },
		Hash: func(userID, sessionID string) (string, string) {
			r.hashes++
			return strings.ToUpper(userID), strings.ToUpper(sessionID)
		},
	}, interval, maxStaleness, r.clock.Now)
	return r
}

func TestAReaderLooksUpHashes(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.store.revoke(session{"U", "S", 0})
	require.Equal(t, revocation.ErrRevoked, r.check(session{"u", "s", 0}))
	require.NoError(t, r.check(session{"u", "other", 0}))
	revoked, err := r.IsRevoked(t.Context(), "u", "s", 0)
	require.NoError(t, err)
	require.True(t, revoked)

	var checked atomic.Uint64
	hashes := r.hashes
	for range 10 {
		require.NoError(t, r.checkAt(t.Context(), session{"u", "other", 0}, &checked))
	}
	require.Equal(t, hashes+1, r.hashes, "a session is hashed only after a change")
}

func TestTheAgeOfACopyCountsFromItsOrigin(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	live := session{"u", "s", 0}
	r.lag = 4 * time.Second
	require.NoError(t, r.check(live))
	require.Equal(t, r.lag, r.Age(r.now()))
	r.lag = 6 * time.Second
	r.clock.Advance(4 * time.Second)
	require.NoError(t, r.check(live), "the copy of before, which is 8 seconds old by now, is not used")
	require.Equal(t, 6*time.Second, r.Age(r.now()))
	reads := r.store.countReads()
	for range 10 {
		require.NoError(t, r.check(live))
	}
	require.Equal(t, reads, r.store.countReads(), "an old copy is not read again at once")
	r.clock.Advance(time.Second)
	require.NoError(t, r.check(live))
	require.Equal(t, reads+1, r.store.countReads())
	r.lag = maxStaleness
	r.clock.Advance(maxStaleness)
	require.Error(t, r.check(live))
	r.lag = 0
	require.NoError(t, r.check(live))
}

// Two copies differ in age. The older one does not make the Feed older, but its entries count.
func TestAnOlderCopyTakesNothingAway(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	require.NoError(t, r.ReadNow(t.Context()))
	r.store.revoke(session{"U", "S", 0})
	r.lag = 3 * time.Second
	r.clock.Advance(time.Second)
	require.NoError(t, r.ReadNow(t.Context()))
	require.Equal(t, time.Second, r.Age(r.now()))
	require.Equal(t, revocation.ErrRevoked, r.check(session{"u", "s", 0}))

	r.clock.Advance(-time.Hour) // the clock is set back, so the age is not known
	r.lag = time.Second
	require.NoError(t, r.ReadNow(t.Context()))
	require.Equal(t, time.Second, r.Age(r.now()))
}

// Only the issuer can repair the feed. Until it has, the reader accepts no session, and afterwards it has
// the entry of the repair.
func TestAReaderWaitsForTheRepairOfTheIssuer(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	for range 5 {
		r.store.revoke(session{"U", "S", 0})
	}
	live := session{"u", "other", 4}
	require.NoError(t, r.check(live))
	r.store.restore(3)
	r.clock.Advance(interval)
	for range 3 {
		err := r.check(live)
		require.ErrorContains(t, err, "has not revoked all sessions")
		require.NotErrorIs(t, err, revocation.ErrCommitsLost)
		r.requireUnknown()
		r.clock.Advance(time.Hour)
	}
	require.NoError(t, r.store.repair(t.Context(), 5))
	require.Equal(t, revocation.ErrRevoked, r.check(live))
	require.NoError(t, r.check(session{"u", "new", 6}))
}

// A session from after the head is not accepted. The other sessions are, and the store is not read for
// each request.
func TestAReaderDoesNotDecideAboutASessionFromAfterTheHead(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.store.revoke(session{"U", "S", 0})
	live, ahead := session{"u", "other", 1}, session{"u", "ahead", 3}
	require.NoError(t, r.check(live))
	require.Equal(t, revocation.ErrCommitsLost, r.check(ahead))
	r.requireKnown()
	require.NoError(t, r.check(live))
	reads, heads := r.store.countReads(), r.store.heads
	for range 10 {
		require.Equal(t, revocation.ErrCommitsLost, r.check(ahead))
	}
	require.Equal(t, [2]int{reads, heads}, [2]int{r.store.countReads(), r.store.heads})
	for range 2 {
		r.store.revoke(session{"U", "S", 0})
	}
	require.NoError(t, r.ReadNow(t.Context()))
	require.NoError(t, r.check(ahead))
	r.store.revoke(session{"U", "S", 0})
	require.NoError(t, r.check(session{"u", "later", 4}), "the feed has grown beyond the limit")
}

// An instance of the issuer answers from a copy of the store that is behind, so that the reader misses an
// entry that it has read. The next answers show that nothing was lost. Both a request and a poll notice this.
func TestAReaderAcceptsSessionsAgainIfNothingWasLost(t *testing.T) {
	t.Parallel()
	live, dead := session{"u", "other", 4}, session{"u", "s", 0}
	for name, notice := range map[string]func(r *reader) error{
		"a request": func(r *reader) error { return r.check(live) },
		"a poll":    func(r *reader) error { return r.ReadNow(t.Context()) },
	} {
		for _, behind := range []int{0, 3} {
			r := newReader(t)
			r.store.revoke(session{"U", "S", 0})
			for range 4 {
				r.store.revoke(session{"V", "S", 0})
			}
			require.NoError(t, r.check(live), name)
			all := r.store.entries
			r.store.entries = all[:behind]
			r.clock.Advance(interval)
			require.ErrorContains(t, notice(r), "has not revoked all sessions", name)
			r.requireUnknown()
			r.store.entries = all
			r.clock.Advance(interval)
			require.NoError(t, notice(r), name)
			require.NoError(t, r.check(live), name)
			require.Equal(t, revocation.ErrRevoked, r.check(dead), name)
		}
	}
}

// An entry of the same Position is not the missing one, and after two losses no entry proves that nothing
// was lost.
func TestAReaderThatHasMissedMoreThanACopyWaitsForTheRepair(t *testing.T) {
	t.Parallel()
	live := session{"u", "other", 2}
	for name, goOn := range map[string]func(r *reader, all []revocation.Entry){
		"another history": func(r *reader, all []revocation.Entry) {
			for range len(all) {
				r.store.revoke(session{"V", "S", 0})
			}
		},
		"the history returns without its end": func(r *reader, all []revocation.Entry) {
			r.store.revoke(session{"W", "S", 0})
			r.clock.Advance(interval)
			require.Error(r.t, r.check(live))
			r.store.entries = all
		},
		"a copy of another history is behind, too": func(r *reader, _ []revocation.Entry) {
			r.store.revoke(session{"W", "S", 0})
			r.clock.Advance(interval)
			require.Error(r.t, r.check(live))
			other := r.store.entries
			r.store.entries = other[:2]
			r.clock.Advance(interval)
			require.Error(r.t, r.check(live))
			r.store.entries = other
		},
	} {
		r := newReader(t)
		for range 5 {
			r.store.revoke(session{"V", "S", 0})
		}
		require.NoError(t, r.check(live), name)
		all := r.store.entries
		r.store.restore(2)
		r.store.entries = append([]revocation.Entry{}, r.store.entries...)
		r.clock.Advance(interval)
		require.Error(t, r.check(live), name)
		goOn(r, all)
		for range 3 {
			r.clock.Advance(interval)
			require.ErrorContains(t, r.check(live), "has not revoked all sessions", name)
		}
		require.NoError(t, r.store.repair(t.Context(), 5))
		require.Equal(t, revocation.ErrRevoked, r.check(live), name)
	}
}
