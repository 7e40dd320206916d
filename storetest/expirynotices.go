package storetest

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// expiryNoticePromises need one store each, because they list the keys of all users.
var expiryNoticePromises = []promise[auth.AccountStore]{
	{"the keys whose expiry needs a notice are listed, the first to expire first", expiringKeysListed},
	{"a notice of an expiry is recorded once, and changes nothing else of the key", noticeRecorded},
	{"no notice is recorded if none is due", noNoticeDue},
	{"each time before the expiry has a notice of its own", noticeForEachLead},
	{"of many concurrent notices of an expiry, one is recorded", racingNotices},
	{"a notice of an expiry needs the authority over the key", noticeNeedsAuthority},
}

const lead = 24 * time.Hour

// expiring returns a new key that expires at the given time after now. It was created long ago, and there was
// no notice yet.
func expiring(user auth.User, after time.Duration) auth.AccessKey {
	key := newKey(user)
	key.CreatedAt, key.ExpiresAt = now.Add(-1000*time.Hour), now.Add(after)
	return key
}

func addExpiring(t *testing.T, store auth.AccountStore, key auth.AccessKey) auth.AccessKey {
	t.Helper()
	require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	return key
}

func listExpiring(
	t *testing.T, store auth.AccountStore, at time.Time, lead time.Duration, limit int,
) []auth.AccessKey {
	t.Helper()
	keys, err := store.ListExpiringKeys(t.Context(), at, lead, limit)
	require.NoError(t, err)
	return keys
}

func expiringKeysListed(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	other, _ := register(t, store, newUser())
	edit := func(key auth.AccessKey, change func(*auth.AccessKey)) auth.AccessKey {
		change(&key)
		return key
	}
	want := []auth.AccessKey{
		expiring(user, time.Microsecond),
		expiring(user, time.Hour), expiring(other, time.Hour),
		edit(expiring(other, 2*time.Hour), func(k *auth.AccessKey) {
			k.CreatedAt = k.ExpiresAt.Add(-lead - time.Microsecond)
		}),
		edit(expiring(user, 3*time.Hour), func(k *auth.AccessKey) {
			k.ExpiryNoticeAt = k.ExpiresAt.Add(-lead - time.Microsecond)
			k.MustRotate = true
		}),
		expiring(other, lead),
	}
	others := []auth.AccessKey{
		expiring(user, 0), expiring(user, -time.Microsecond), expiring(user, -1000*time.Hour),
		expiring(user, lead+time.Microsecond), expiring(user, 1000*time.Hour),
		edit(expiring(user, time.Hour), func(k *auth.AccessKey) { k.CreatedAt = k.ExpiresAt.Add(-lead) }),
		edit(expiring(user, time.Hour), func(k *auth.AccessKey) { k.CreatedAt = now }),
		edit(expiring(user, time.Hour), func(k *auth.AccessKey) { k.ExpiryNoticeAt = k.ExpiresAt.Add(-lead) }),
		edit(expiring(user, time.Hour), func(k *auth.AccessKey) { k.ExpiryNoticeAt = now }),
		edit(expiring(user, time.Hour), func(k *auth.AccessKey) { k.ExpiryNoticeAt = now.Add(lead) }),
		newKey(user),
	}
	for i := range others { // added in turn with the others
		require.False(t, storekit.ExpiryNoticeDue(others[i], now, lead), i)
		addExpiring(t, store, others[i])
		if i < len(want) {
			require.True(t, storekit.ExpiryNoticeDue(want[i], now, lead), i)
			addExpiring(t, store, want[len(want)-1-i])
		}
	}
	for _, limit := range []int{1, 3, len(want), len(want) + 1, math.MaxInt32} {
		got := listExpiring(t, store, now, lead, limit)
		require.Len(t, got, min(limit, len(want)))
		require.Subset(t, want, got)
		for i, key := range got { // the order of two keys that expire at the same time does not matter
			require.Equal(t, want[i].ExpiresAt, key.ExpiresAt)
		}
	}
	require.ElementsMatch(t, want, listExpiring(t, store, now, lead, len(want)))
	for _, limit := range []int{0, -1} {
		require.Empty(t, listExpiring(t, store, now, lead, limit))
	}
	// A store truncates the given time, as it does with all times.
	require.Len(t, listExpiring(t, store, now.Add(time.Nanosecond), lead, 100), len(want))
	require.Empty(t, listExpiring(t, store, now, 0, 100))
	require.Empty(t, listExpiring(t, store, now, -lead, 100))
}

func noticeRecorded(t *testing.T, store auth.AccountStore) {
	user, first := register(t, store, newUser())
	key := expiring(user, time.Hour)
	key.Scopes, key.MustRotate = auth.NewScopes("a"), true
	addExpiring(t, store, key)
	session := openSession(t, store, newSession(key))
	key = usedAt(key, session.CreatedAt)
	write := withEvent(byHost(now.Add(time.Nanosecond)))
	require.NoError(t, store.RecordExpiryNotice(t.Context(), write, key.ID, lead))
	key.ExpiryNoticeAt = now
	requireKeyRead(t, store, key)
	requireSession(t, store, session)
	requireKey(t, store, first)
	require.Empty(t, listExpiring(t, store, now, lead, 100))
	if trail, ok := store.(auth.EventStore); ok {
		events := eventsOf(t, trail, write)
		require.Len(t, events, 1)
		require.Equal(t, user.ID, events[0].UserID)
	}
	for _, at := range []time.Time{now, now.Add(time.Minute), now.Add(-time.Minute)} {
		again := withEvent(byHost(at))
		require.ErrorIs(t, store.RecordExpiryNotice(t.Context(), again, key.ID, lead), auth.ErrChanged)
		if trail, ok := store.(auth.EventStore); ok {
			require.Empty(t, eventsOf(t, trail, again))
		}
	}

	// The notice stays while other fields of the key change.
	key = setScopes(t, store, key, auth.NewScopes("b"))
	requireKeyRead(t, store, key)
	r := rotateNow()
	got, err := store.RotateKey(t.Context(), byHost(now), key.ID, r)
	require.NoError(t, err)
	require.Equal(t, now, got.ExpiryNoticeAt)
	requireKeyRead(t, store, got)
}

func noNoticeDue(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	soon := addExpiring(t, store, expiring(user, time.Hour))
	young := expiring(user, time.Hour)
	young.CreatedAt = now
	addExpiring(t, store, young)
	for _, test := range []struct {
		key auth.AccessKey
		at  time.Time
	}{
		{key, now}, {young, now}, // the first never expires
		{soon, soon.ExpiresAt}, {soon, soon.ExpiresAt.Add(time.Hour)}, // has expired
		{soon, soon.ExpiresAt.Add(-lead - time.Microsecond)}, // a clock that was set back
	} {
		write := withEvent(byHost(test.at))
		require.ErrorIs(t, store.RecordExpiryNotice(t.Context(), write, test.key.ID, lead), auth.ErrChanged)
		requireKey(t, store, test.key)
		if trail, ok := store.(auth.EventStore); ok {
			require.Empty(t, eventsOf(t, trail, write))
		}
	}
	for _, id := range []string{unique("none"), "", user.ID, key.ID + "\x00", key.ID + " "} {
		require.ErrorIs(t, store.RecordExpiryNotice(t.Context(), byHost(now), id, lead), auth.ErrNotFound)
	}
	at := byHost(soon.ExpiresAt.Add(-time.Microsecond))
	require.NoError(t, store.RecordExpiryNotice(t.Context(), at, soon.ID, lead))
}

func noticeForEachLead(t *testing.T, store auth.AccountStore) {
	const long = 14 * lead
	user, _ := register(t, store, newUser())
	key := addExpiring(t, store, expiring(user, long))
	record := func(at time.Time, lead time.Duration) error {
		return store.RecordExpiryNotice(t.Context(), byHost(at), key.ID, lead)
	}
	require.ErrorIs(t, record(now, lead), auth.ErrChanged)
	require.NoError(t, record(now, long))
	require.ErrorIs(t, record(now, long), auth.ErrChanged)
	last := key.ExpiresAt.Add(-lead)
	require.ErrorIs(t, record(last.Add(-time.Microsecond), lead), auth.ErrChanged)
	require.Empty(t, listExpiring(t, store, last, long, 100))
	require.Len(t, listExpiring(t, store, last, lead, 100), 1)
	require.NoError(t, record(last, lead))
	require.ErrorIs(t, record(last, lead), auth.ErrChanged)

	// If the first notice comes late, the notice of the shorter time counts for the longer one.
	late := addExpiring(t, store, expiring(user, time.Hour))
	require.NoError(t, store.RecordExpiryNotice(t.Context(), byHost(now), late.ID, lead))
	require.ErrorIs(t, store.RecordExpiryNotice(t.Context(), byHost(now), late.ID, long), auth.ErrChanged)
}

func racingNotices(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	for range rounds(t) {
		key := addExpiring(t, store, expiring(user, time.Hour))
		write := withEvent(byHost(now))
		errs := race(contenders, func(int) error {
			return store.RecordExpiryNotice(t.Context(), write, key.ID, lead)
		})
		requireOneWinner(t, errs, auth.ErrChanged)
		if trail, ok := store.(auth.EventStore); ok {
			require.Len(t, eventsOf(t, trail, write), 1)
		}
		require.NoError(t, store.RevokeKey(t.Context(), byHost(now), key.ID))
	}
}

// noticeNeedsAuthority records a notice with sessions. Package auth does it as the host, but a store must
// check every write.
func noticeNeedsAuthority(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newActor(t, store)
	key := addExpiring(t, store, expiring(a.user, time.Hour))
	revoked := openSession(t, store, newSession(a.key))
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), revoked.ID))
	for want, write := range map[error]auth.Write{
		auth.ErrNotFound:      bySession(other.session, now),
		auth.ErrTokenRejected: bySession(revoked, now),
		auth.ErrInvalid:       {},
	} {
		err := store.RecordExpiryNotice(t.Context(), withEvent(write), key.ID, lead)
		require.ErrorIs(t, err, want)
		requireKey(t, store, key)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, store.RecordExpiryNotice(canceled, byHost(now), key.ID, lead), context.Canceled)
	_, err := store.ListExpiringKeys(canceled, now, lead, 10)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, store.RecordExpiryNotice(t.Context(), bySession(a.session, now), key.ID, lead))
}
