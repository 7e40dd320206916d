package storetest

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/storekit"
)

// countNamed returns the number of entries in force that name a session.
func countNamed(entries []auth.Revocation) (n int) {
	for _, e := range entries {
		if e.SessionID != "" && !e.ExpiresAt.IsZero() {
			n++
		}
	}
	return n
}

// countFolds returns how often the store has folded the user's entries. Each fold adds an entry
// that names no session, and these tests add no other such entry.
func countFolds(entries []auth.Revocation) (n int) {
	for _, e := range entries {
		if e.SessionID == "" {
			n++
		}
	}
	return n
}

// requireFolded fails the test unless the last entry is the result of [storekit.FoldRevocations], and
// the entries revoke all sessions in the parameter ended. At most storekit.MaxNamedRevocations/2 of the
// entries in force may name a session. If there was an earlier fold, the parameter replaced is the
// expiry of the entry that this earlier fold added. After the first fold, replaced is zero.
func requireFolded(t *testing.T, entries []auth.Revocation, ended []auth.Session, replaced time.Time) {
	t.Helper()
	require.LessOrEqual(t, countNamed(entries), storekit.MaxNamedRevocations/2)
	folded := entries[len(entries)-1]
	require.Empty(t, folded.SessionID)
	require.NotEmpty(t, folded.ID)
	require.LessOrEqual(t, folded.Generation, folded.Position)
	expires := replaced
	for _, session := range ended {
		require.True(t, isDead(entries, session))
		expires = laterOf(expires, session.ExpiresAt)
	}
	require.Equal(t, expires, folded.ExpiresAt,
		"it must expire no earlier than each session that was revoked")
	for _, e := range entries {
		if e.SessionID != "" {
			require.Equal(t, e.Generation < folded.Generation, e.ExpiresAt.IsZero(),
				"ExpiresAt must be zero if the new entry replaces the entry")
		}
	}
}

// feedFolds revokes sessions of a user until the store must fold the entries, as
// [storekit.FoldRevocations] describes. To save time, it revokes half of the sessions with one call.
func feedFolds(t *testing.T, store auth.AccountStore) {
	if testenv.Race {
		return
	}
	a, other := newAccount(t, store), newAccount(t, store)
	early := openSession(t, store, newSession(a.key)) // never revoked by a call
	lasting := newSession(a.key)
	lasting.ExpiresAt = now.Add(storekit.MaxNamedRevocations * time.Hour) // later than all others
	lasting = openSession(t, store, lasting)
	ended := endMany(t, store, a.user, storekit.MaxNamedRevocations/2)
	var middle auth.Session
	for len(ended) <= storekit.MaxNamedRevocations {
		if len(ended) == storekit.MaxNamedRevocations {
			middle = openSession(t, store, newSession(a.key))
			require.Zero(t, countFolds(entriesOf(t, store, a.user)),
				"the feed may name this many sessions")
		}
		session := openSession(t, store, newSession(a.key))
		require.NoError(t, store.RevokeSession(t.Context(), briefly(), session.ID))
		ended = append(ended, session)
	}

	feed := entriesOf(t, store, a.user)
	require.Equal(t, 1, countFolds(feed))
	olders := []auth.Session{a.session, early, lasting}
	requireFolded(t, feed, append(olders, ended...), time.Time{})
	for _, session := range olders {
		requireNoSession(t, store, session.ID) // as old as the folded sessions
	}
	require.False(t, isDead(feed, middle))
	requireSession(t, store, middle)
	other.requireUnchanged(t, store)
	require.False(t, isDead(readFeed(t, store), other.session))
}

// endMany opens n sessions of the user with a new key and revokes that key.
func endMany(t *testing.T, store auth.AccountStore, user auth.User, n int) []auth.Session {
	t.Helper()
	key := addKey(t, store, user, time.Time{})
	sessions := openMany(t, store, key, n)
	require.NoError(t, store.RevokeKey(t.Context(), briefly(), key.ID))
	return sessions
}

// foldsCounted tests that replaced entries and pruned entries do not count toward
// storekit.MaxNamedRevocations. After a fold, it adds as many entries as this limit allows. It then
// prunes some entries and adds the same number of new entries. None of these entries may cause a
// second fold, but the next entry must cause one.
func foldsCounted(t *testing.T, store auth.AccountStore) {
	if testenv.Race {
		return
	}
	user, ended := foldedByKey(t, store)
	entries := entriesOf(t, store, user)
	require.Equal(t, 1, countFolds(entries), "a call that ends more than may be named leaves one entry")
	requireFolded(t, entries, ended, time.Time{})
	first := entries[len(entries)-1]

	ended = append(ended, endMany(t, store, user, storekit.MaxNamedRevocations-countNamed(entries))...)
	entries = entriesOf(t, store, user)
	require.Equal(t, storekit.MaxNamedRevocations, countNamed(entries))
	require.Equal(t, 1, countFolds(entries), "what was folded counts as named")

	pruneSome(t, store, ended[0].ExpiresAt)
	entries = entriesOf(t, store, user)
	ended = append(ended, endMany(t, store, user, storekit.MaxNamedRevocations-countNamed(entries))...)
	entries = entriesOf(t, store, user)
	require.Equal(t, storekit.MaxNamedRevocations, countNamed(entries))
	require.Equal(t, 1, countFolds(entries), "what was pruned counts as named")

	named := slices.DeleteFunc(ended, func(s auth.Session) bool {
		return !slices.ContainsFunc(entries, func(e auth.Revocation) bool {
			return e.SessionID == s.ID && !e.ExpiresAt.IsZero()
		})
	})
	named = append(named, endMany(t, store, user, 1)...)
	entries = entriesOf(t, store, user)
	require.Equal(t, 2, countFolds(entries), "too many are named for the second time")
	i := slices.IndexFunc(entries, func(e auth.Revocation) bool { return e.Position == first.Position })
	require.Zero(t, entries[i].ExpiresAt, "the newer entry stands for the older one")
	requireFolded(t, entries, named, first.ExpiresAt)
}

// foldedByKey revokes a key that has storekit.MaxNamedRevocations+1 sessions. Before that, the host
// opens ten sessions of the same user, and these sessions are revoked one by one. The host's
// sessions are newer than more than half of the key's sessions, and expire before all of them.
// foldedByKey returns all sessions in the order in which they were revoked.
func foldedByKey(t *testing.T, store auth.AccountStore) (auth.User, []auth.Session) {
	t.Helper()
	const further, newer = 10, storekit.MaxNamedRevocations/2 - 10
	user, key := register(t, store, newUser())
	old := openMany(t, store, key, storekit.MaxNamedRevocations+1-newer)
	endSeveral(t, store, 1) // so that the later sessions have other Generations
	ended := make([]auth.Session, further)
	for i := range ended {
		session := newHostSession(user)
		session.ExpiresAt = now.Add(time.Minute)
		ended[i] = openSession(t, store, session)
	}
	for _, session := range ended {
		require.NoError(t, store.RevokeSession(t.Context(), briefly(), session.ID))
	}
	ended = append(append(ended, old...), openMany(t, store, key, newer)...)
	require.NoError(t, store.RevokeKey(t.Context(), briefly(), key.ID))
	return user, ended
}

// pruneSome prunes the entries that have expired at the given time. It fails the test unless
// exactly these entries are removed. Not all of them are at the beginning of the feed.
func pruneSome(t *testing.T, store auth.AccountStore, expired time.Time) {
	t.Helper()
	feed := readFeed(t, store)
	last := feed[len(feed)-1].Position - storekit.KeptRevocations
	left := slices.DeleteFunc(slices.Clone(feed), func(e auth.Revocation) bool {
		return e.Position <= last && !e.ExpiresAt.After(expired)
	})
	n, err := store.PruneRevocations(t.Context(), expired, math.MaxInt)
	require.NoError(t, err)
	require.Equal(t, len(feed)-len(left), n)
	require.Equal(t, left, readFeed(t, store))
}

// foldsWithinLimit signs a user in until the store has folded the user's entries twice. The limit
// on the user's sessions is 2. Each sign-in beyond the limit revokes the oldest session, so the
// store adds an entry that names the oldest session.
func foldsWithinLimit(t *testing.T, store auth.AccountStore) {
	if testenv.Race {
		return
	}
	const limit = 2
	user, key := register(t, store, newUser())
	other := newAccount(t, store)
	var newest [limit]auth.Session
	signIn := func(n int) {
		t.Helper()
		for range n {
			session, _, err := store.CreateSession(t.Context(), newSession(key), limit)
			require.NoError(t, err)
			newest[0], newest[1] = newest[1], session
		}
	}
	requireFolds := func(wantFolds int) (named int) {
		t.Helper()
		feed := entriesOf(t, store, user)
		require.Equal(t, wantFolds, countFolds(feed))
		named = countNamed(feed)
		require.LessOrEqual(t, named, storekit.MaxNamedRevocations)
		for _, session := range newest {
			require.False(t, isDead(feed, session), "the feed revokes one of the newest sessions")
			requireSession(t, store, session)
		}
		return named
	}
	signIn(limit + storekit.MaxNamedRevocations)
	require.Equal(t, storekit.MaxNamedRevocations, requireFolds(0), "as many as may be named")
	signIn(1)
	named := requireFolds(1)
	require.LessOrEqual(t, named, storekit.MaxNamedRevocations/2)
	signIn(storekit.MaxNamedRevocations - named)
	require.Equal(t, storekit.MaxNamedRevocations, requireFolds(1), "what was folded counts no more")
	signIn(1)
	requireFolds(2)
	other.requireUnchanged(t, store)
	require.Empty(t, entriesOf(t, store, other.user))
}
