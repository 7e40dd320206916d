package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var timePromises = []promise[auth.AccountStore]{
	{"a key with an invalid time is not added", invalidKeyTimes},
	{"a session with an invalid time is refused", invalidSessionTimes},
	{"times are compared as they are stored", timesComparedAsKept},
}

var timePromisesOfUsers = []promise[auth.Store]{
	{"times come back in UTC, truncated to the microsecond", timesKept},
	{"a zero time comes back zero", zeroTimes},
	{"a user with an invalid time is refused", invalidUserTimes},
	{"a first key with an invalid time is refused", invalidFirstKeyTimes},
}

// The first and the last time that a record may have.
var (
	earliest = time.UnixMicro(1).UTC()
	latest   = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// keptTimes contains pairs of times: the time that is passed to a store, and the time that the
// store must return.
var keptTimes = map[string]struct{ in, want time.Time }{
	"microseconds":  {now, now},
	"nanoseconds":   {now.Add(999 * time.Nanosecond), now},
	"a nanosecond":  {now.Add(time.Nanosecond), now},
	"east":          {now.In(time.FixedZone("east", 14*3600)), now},
	"west":          {now.Add(501).In(time.FixedZone("west", -12*3600-1800)), now},
	"UTC by a name": {now.In(time.FixedZone("UTC", 0)), now},
	"first":         {earliest.Add(999).In(time.FixedZone("west", -3600)), earliest},
	"last":          {latest.In(time.FixedZone("east", 3600)), latest},
	"after 2038":    {time.Unix(1<<31, 0), time.Unix(1<<31, 0).UTC()},
	"after 2262": {
		time.Date(2263, time.January, 1, 0, 0, 0, 1999, time.UTC),
		time.Date(2263, time.January, 1, 0, 0, 0, 1000, time.UTC),
	},
}

func timesKept(t *testing.T, store auth.Store) {
	for name, test := range keptTimes {
		t.Run(name, func(t *testing.T) { requireTimeKept(t, store, test.in, test.want) })
	}
	t.Run("a clock's", func(t *testing.T) {
		clock := time.Now()
		requireTimeKept(t, store, clock, time.UnixMicro(clock.UnixMicro()).UTC())
	})
}

// requireTimeKept fails the test unless the store returns the wanted time in every field.
func requireTimeKept(t *testing.T, store auth.Store, in, want time.Time) {
	t.Helper()
	ctx := t.Context()
	user := newUser()
	key, added, reset := newKey(user), newKey(user), newKey(user)
	user.CreatedAt, user.LastLogin, user.AdmittedAt = in, in, in
	for _, key := range []*auth.AccessKey{&key, &added, &reset} {
		key.CreatedAt, key.ExpiresAt, key.LastUsedAt, key.ExpiryNoticeAt = in, in, in, in
		key.PreviousHash, key.PreviousUntil = "previous", in
	}
	require.NoError(t, store.Register(ctx, byHost(now), user, key))
	require.NoError(t, store.AddKey(ctx, byHost(now), added))

	user.CreatedAt, user.LastLogin, user.AdmittedAt = want, want, want
	for _, key := range []*auth.AccessKey{&key, &added} {
		stored := *key
		stored.CreatedAt, stored.ExpiresAt, stored.PreviousUntil, stored.LastUsedAt = want, want, want, want
		stored.ExpiryNoticeAt = want
		requireKeyOf(t, store, stored, user)
	}
	requireUser(t, store, user)

	session := newHostSession(user)
	session.CreatedAt, session.ExpiresAt = in, in
	created, owner, err := store.CreateSession(ctx, session, 0)
	require.NoError(t, err)
	session.CreatedAt, session.ExpiresAt = want, want
	requireSameSession(t, session, created)
	require.Equal(t, user, owner)
	requireSession(t, store, session)

	updated, err := store.UpdateUser(ctx, byHost(now), user.ID, promote)
	require.NoError(t, err)
	user.IsSuperUser = true
	require.Equal(t, user, updated)
	updated, _, err = store.ResetUser(ctx, byHost(now), user.ID, auth.UserChange{}, reset)
	require.NoError(t, err)
	user.AdmittedAt = time.Time{}
	require.Equal(t, user, updated)
	reset.CreatedAt, reset.ExpiresAt, reset.PreviousUntil, reset.LastUsedAt = want, want, want, want
	reset.ExpiryNoticeAt = want
	requireKey(t, store, reset)
}

func zeroTimes(t *testing.T, store auth.Store) {
	for _, zero := range []time.Time{{}, time.Time{}.In(time.FixedZone("east", 3600))} {
		user := newUser()
		user.LastLogin = zero
		key := newKey(user)
		key.ExpiresAt = zero
		require.NoError(t, store.Register(t.Context(), byHost(now), user, key))

		user.LastLogin, key.ExpiresAt = time.Time{}, time.Time{}
		requireKeyOf(t, store, key, user)
		requireUser(t, store, user)
	}
}

// badTimes contains times that no field may have.
var badTimes = []time.Time{
	time.UnixMicro(0),
	earliest.Add(-time.Nanosecond),
	time.Date(1969, time.December, 31, 23, 59, 59, 0, time.UTC),
	time.Date(1, time.January, 1, 0, 0, 0, 1, time.UTC),
	time.Date(-5000, time.January, 1, 0, 0, 0, 0, time.UTC),
	latest.Add(time.Nanosecond),
	time.Date(10_000, time.January, 1, 0, 0, 0, 0, time.UTC),
	time.Date(300_000, time.January, 1, 0, 0, 0, 0, time.UTC), // beyond 64 bits of microseconds
}

// badRequiredTimes contains values that are not valid for a required time.
var badRequiredTimes = append([]time.Time{{}}, badTimes...)

func invalidUserTimes(t *testing.T, store auth.Store) {
	try := func(field string, user auth.User) {
		key := newKey(user)
		requireInvalidField(t, store.Register(t.Context(), byHost(now), user, key), field)
		requireInvalidField(t, store.Bootstrap(t.Context(), byHost(now), user, key), field)
		requireNoUser(t, store, user.ID)
		requireNoKey(t, store, key.ID)
	}
	for _, bad := range badRequiredTimes {
		user := newSuperUser()
		user.CreatedAt = bad
		try("created_at", user)
	}
	for _, bad := range badTimes {
		user := newSuperUser()
		user.LastLogin = bad
		try("last_login", user)

		user = newSuperUser()
		user.AdmittedAt = bad
		try("admitted_at", user)
	}
}

// everyBadKeyTime calls the given function for each time field of a key, with each bad time. The
// given function gets the name of the field, and a callback that sets the field to the bad time.
func everyBadKeyTime(try func(field string, edit func(*auth.AccessKey))) {
	for _, bad := range badRequiredTimes {
		try("created_at", func(key *auth.AccessKey) { key.CreatedAt = bad })
	}
	for _, bad := range badTimes {
		try("expires_at", func(key *auth.AccessKey) { key.ExpiresAt = bad })
	}
}

func invalidKeyTimes(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	everyBadKeyTime(func(field string, edit func(*auth.AccessKey)) {
		key := newKey(a.user)
		edit(&key)
		requireInvalidField(t, store.AddKey(t.Context(), byHost(now), key), field)
		requireNoKey(t, store, key.ID)
	})
	a.requireUnchanged(t, store)
}

func invalidFirstKeyTimes(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	everyBadKeyTime(func(field string, edit func(*auth.AccessKey)) {
		key := newKey(a.user)
		edit(&key)
		_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, disable, key)
		requireInvalidField(t, err, field)
		a.requireUnchanged(t, store)

		user := newUser()
		key.UserID = user.ID
		requireInvalidField(t, store.Register(t.Context(), byHost(now), user, key), field)
		requireNoUser(t, store, user.ID)
		requireNoKey(t, store, key.ID)
	})
}

func invalidSessionTimes(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	try := func(field string, session auth.Session) {
		_, _, err := store.CreateSession(t.Context(), session, 0)
		requireInvalidField(t, err, field)
		requireNoSession(t, store, session.ID)
		a.requireUnchanged(t, store)
	}
	for _, bad := range badRequiredTimes {
		session := newSession(a.key)
		session.CreatedAt = bad
		try("created_at", session)

		session = newSession(a.key)
		session.ExpiresAt = bad
		try("expires_at", session)
	}
}

func timesComparedAsKept(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, now.Add(500*time.Nanosecond)) // stored as now

	late := newSession(key)
	late.CreatedAt = now.Add(100 * time.Nanosecond) // stored as the expiry of the key
	_, _, err := store.CreateSession(t.Context(), late, 0)
	require.ErrorIs(t, err, auth.ErrNotFound)

	early := newSession(key)
	early.CreatedAt = now.Add(-time.Nanosecond)
	require.Equal(t, now, openSession(t, store, early).ExpiresAt)
}
