package revocation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storekit"
	"github.com/stretchr/testify/require"
)

// named returns an entry that revokes the session by its ID.
func named(user, session string, generation int64, expires time.Time) []revocation.Entry {
	return []revocation.Entry{{
		Position: generation + 1, UserID: user, SessionID: session, Generation: generation, ExpiresAt: expires,
	}}
}

// capped returns an entry for a session whose token claims a generation that the feed has not reached.
func capped(user, session string, position int64, expires time.Time) []revocation.Entry {
	return []revocation.Entry{{
		Position: position, UserID: user, SessionID: session, Generation: position, ExpiresAt: expires,
	}}
}

// allBelow returns an entry that revokes all sessions of the user with a generation below the given
// one.
func allBelow(user string, generation int64, expires time.Time) []revocation.Entry {
	return []revocation.Entry{{UserID: user, Generation: generation, ExpiresAt: expires}}
}

func TestARevokedSessionIsKnownUntilTwoHoursAfterItsTokenExpired(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	for name, entry := range map[string]func(time.Time) []revocation.Entry{
		"by its ID":        func(at time.Time) []revocation.Entry { return named("u", "s", 3, at) },
		"by its ID, ahead": func(at time.Time) []revocation.Entry { return capped("u", "s", 3, at) },
		"with all":         func(at time.Time) []revocation.Entry { return allBelow("u", 4, at) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := revocation.NewRevoked()
			r.Add(entry(now.Add(-2*time.Hour-time.Second)), now)
			require.False(t, r.Contains("u", "s", 3), "no clock accepts its token")
			require.Zero(t, r.Len())
			r.Add(entry(now.Add(-2*time.Hour+time.Second)), now)
			require.True(t, r.Contains("u", "s", 3), "a clock that is set back could revive its token")
			require.False(t, r.Contains("v", "s", 3))
			require.False(t, r.Contains("u", "another", 4))
			require.Equal(t, 1, r.Len())

			for i := range 2000 { // so many that Add looks for expired entries
				r.Add(named(fmt.Sprint("user ", i), "s", 0, now.Add(24*time.Hour)), now.Add(time.Minute))
			}
			require.False(t, r.Contains("u", "s", 3))
			require.Equal(t, 2000, r.Len())
		})
	}
}

func TestSessionsThatAreRevokedTogetherTakeTheMemoryOfOne(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	r := revocation.NewRevoked()
	for i := range int64(100) {
		r.Add(named("u", fmt.Sprint(i), i, now.Add(time.Hour)), now)
	}
	require.Equal(t, 100, r.Len())
	r.Add(allBelow("u", 90, now.Add(time.Hour)), now)
	require.Equal(t, 11, r.Len(), "one, and the sessions that it does not revoke")
	r.Add(allBelow("u", 50, now.Add(2*time.Hour)), now) // read later, and revokes fewer
	require.Equal(t, 11, r.Len())
	r.Add(named("u", "5", 5, now.Add(time.Hour)), now)
	require.Equal(t, 11, r.Len(), "it is revoked already")
	for i := range int64(100) {
		require.True(t, r.Contains("u", fmt.Sprint(i), i))
	}
	require.True(t, r.Contains("u", "never named", 89))
	require.False(t, r.Contains("u", "never named", 90))
}

// The generation that the token claims is above the Generation of the entry for the user.
func TestAnEntryForTheUserDoesNotReplaceACappedOne(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	expires := now.Add(time.Hour)
	for name, order := range map[string][]revocation.Entry{
		"capped first": join(capped("u", "ahead", 5, expires), allBelow("u", 90, expires)),
		"capped last":  join(allBelow("u", 90, expires), capped("u", "ahead", 5, expires)),
	} {
		r := revocation.NewRevoked()
		r.Add(order, now)
		require.True(t, r.Contains("u", "ahead", 900), name)
		require.False(t, r.Contains("u", "another", 900), name)
	}
}

func TestAnEntryForAllUsersRevokesEverySessionBelowItsGeneration(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	r := revocation.NewRevoked()
	r.Add([]revocation.Entry{{Position: 10, Generation: 10, ExpiresAt: now.Add(time.Hour)}}, now)
	r.Add([]revocation.Entry{{Position: 4, Generation: 4, ExpiresAt: now.Add(time.Hour)}}, now)
	require.True(t, r.Contains("u", "s", 9))
	require.False(t, r.Contains("u", "s", 10))
	require.Zero(t, r.Len(), "it takes no memory")
}

func TestAnEntryForTheUserIsNotForgottenWhileOtherEntriesExpire(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	r := revocation.NewRevoked()
	r.Add(allBelow("u", 10, now.Add(24*time.Hour)), now)
	r.Add(allBelow("u", 5, now), now) // read later, and revokes fewer
	for i := range 1000 {
		r.Add(named(fmt.Sprint("user ", i), "s", 0, now), now)
	}
	for i := range int64(100) {
		r.Add(named("u", fmt.Sprint(i), 20+i, now.Add(24*time.Hour)), now.Add(3*time.Hour))
	}
	require.True(t, r.Contains("u", "never named", 9))
	require.Equal(t, 101, r.Len())
}

func TestUsersWhoseEntriesHaveExpiredTakeNoMemory(t *testing.T) {
	t.Parallel()
	now := authtest.NewClock().Now()
	r := revocation.NewRevoked()
	for i := range 1000 {
		r.Add(named(fmt.Sprint("user ", i), "s", 0, now), now)
	}
	require.Equal(t, 1000, r.Users())
	for i := range int64(100) {
		r.Add(named("u", fmt.Sprint(i), i, now.Add(24*time.Hour)), now.Add(3*time.Hour))
	}
	require.Equal(t, 1, r.Users())
}

// The attack: a user signs in and out all the time, to fill the memory of every instance.
func TestALoopOfSignInAndLogoutTakesNoMoreMemory(t *testing.T) {
	t.Parallel()
	store, clock := memstore.New(), authtest.NewClock()
	user := auth.User{ID: "u", Username: "alice", IsActive: true, CreatedAt: clock.Now()}
	key := auth.AccessKey{ID: "k", UserID: "u", Hash: "hash", CreatedAt: clock.Now()}
	require.NoError(t, store.Register(t.Context(), authtest.HostWrite, user, key))
	r := revocation.NewRevoked()
	for i := range 5 * storekit.MaxNamedRevocations {
		session, _, err := store.CreateSession(t.Context(), auth.Session{
			ID: fmt.Sprint("session ", i), UserID: "u", Method: auth.MethodHost,
			CreatedAt: clock.Now(), ExpiresAt: clock.Now().Add(time.Hour),
		}, 0)
		require.NoError(t, err)
		require.NoError(t, store.RevokeSession(t.Context(), authtest.HostWrite, session.ID))
		page, err := store.ListRevocations(t.Context(), session.Generation+1, 10)
		require.NoError(t, err)
		for _, e := range page {
			r.Add([]revocation.Entry{revocation.Entry(e)}, clock.Now())
		}
		require.True(t, r.Contains("u", session.ID, session.Generation))
		require.LessOrEqual(t, r.Len(), storekit.MaxNamedRevocations+1)
	}
	require.True(t, r.Contains("u", "session 0", 0), "the oldest sessions are revoked by one entry")
}
