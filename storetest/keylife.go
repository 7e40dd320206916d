package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

var keyLifePromises = []promise[auth.AccountStore]{
	{"a user's keys are listed, the oldest first", keysListed},
	{"a user without keys has none listed", noKeysListed},
	{"a user has at most MaxKeys keys", keysCapped},
	{"a rotated key has the new hash and, until the overlap ends, the old one", keyRotated},
	{"a key rotated without overlap has only the new hash", keyRotatedAtOnce},
	{"a key is not rotated while an earlier secret works", keyNotRotatedTwice},
	{"a key that has expired is not rotated", expiredKeyNotRotated},
	{"rotating a key leaves sessions and other keys unchanged", rotationSparesOthers},
	{"of several concurrent rotations with an overlap, one succeeds", racingRotations},
	{"a rotation with an invalid value changes nothing", invalidRotation},
	{"a rotated key's times are stored like other times", rotationTimes},
	{"the use of a key is recorded once a minute", keyUsed},
	{"a use older than the recorded one is not recorded", earlierUse},
	{"opening a session records a use of its key, and of no other", sessionUsesKey},
	{"a refused session records no use of the key", refusedSessionUsesNothing},
}

var keyLifePromisesOfUsers = []promise[auth.Store]{
	{"of several keys added at once for the last place, one is added", racingKeysForLastPlace},
}

func requireKeys(t *testing.T, store auth.AccountStore, userID string, want ...auth.AccessKey) {
	t.Helper()
	keys, err := store.ListKeys(t.Context(), userID)
	require.NoError(t, err)
	require.Equal(t, want, keys)
}

func keysListed(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	oldest, expired, rotating := newKey(a.user), newKey(a.user), newKey(a.user)
	oldest.CreatedAt = a.key.CreatedAt.Add(-time.Hour)
	expired.ExpiresAt = now.Add(-time.Minute)
	rotating.PreviousHash, rotating.PreviousUntil, rotating.LastUsedAt =
		"an-old-hash", now, now.Add(-time.Second)
	for _, key := range []auth.AccessKey{expired, rotating, oldest} {
		require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	}
	sameAge := []auth.AccessKey{a.key, expired, rotating}
	slices.SortFunc(sameAge, func(a, b auth.AccessKey) int {
		return slices.Compare([]byte(a.ID), []byte(b.ID))
	})
	requireKeys(t, store, a.user.ID, slices.Concat([]auth.AccessKey{oldest}, sameAge)...)
	requireKeys(t, store, other.user.ID, other.key)

	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), oldest.ID))
	requireKeys(t, store, a.user.ID, sameAge...)
}

func noKeysListed(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, id := range []string{unique("nobody"), a.key.ID, "", a.user.ID + "\x00"} {
		keys, err := store.ListKeys(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, keys)
	}
}

// addKeys adds keys until the user has the wanted number of keys.
func addKeys(t *testing.T, store auth.AccountStore, user auth.User, until int) {
	t.Helper()
	keys, err := store.ListKeys(t.Context(), user.ID)
	require.NoError(t, err)
	for range until - len(keys) {
		addKey(t, store, user, now.Add(-time.Minute)) // an expired key counts, too
	}
}

func keysCapped(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	addKeys(t, store, a.user, auth.MaxKeys)
	more := newKey(a.user)
	require.ErrorIs(t, store.AddKey(t.Context(), byHost(now), more), auth.ErrTooManyKeys)
	requireNoKey(t, store, more.ID)
	a.requireUnchanged(t, store)
	addKey(t, store, other.user, time.Time{})

	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), a.key.ID))
	require.NoError(t, store.AddKey(t.Context(), byHost(now), more))
	requireKey(t, store, more)
}

func racingKeysForLastPlace(t *testing.T, store auth.Store) {
	user, _ := register(t, store, newUser())
	addKeys(t, store, user, auth.MaxKeys-1)
	for range rounds(t) {
		keys := make([]auth.AccessKey, contenders)
		for i := range keys {
			keys[i] = newKey(user)
		}
		errs := race(contenders, func(i int) error {
			return store.AddKey(t.Context(), byHost(now), keys[i])
		})
		winner := keys[requireOneWinner(t, errs, auth.ErrTooManyKeys)]
		require.NoError(t, store.RevokeKey(t.Context(), byHost(now), winner.ID))
	}
}

// rotated returns the key after the rotation at the given time.
func rotated(key auth.AccessKey, r auth.KeyRotation, at time.Time) auth.AccessKey {
	key.PreviousHash, key.PreviousUntil = "", time.Time{}
	if r.Overlap > 0 {
		key.PreviousHash, key.PreviousUntil = key.Hash, at.Add(r.Overlap)
	}
	key.Hash = r.Hash
	return key
}

func rotate(
	t *testing.T, store auth.AccountStore, key auth.AccessKey, r auth.KeyRotation, at time.Time,
) auth.AccessKey {
	t.Helper()
	got, err := store.RotateKey(t.Context(), byHost(at), key.ID, r)
	require.NoError(t, err)
	require.Equal(t, rotated(key, r, at), got)
	requireKey(t, store, got)
	return got
}

func keyRotated(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, now.Add(time.Hour))
	rotate(t, store, key, rotation(unique("hash")), now)

	// After the end of the overlap, the key can be rotated again.
	key = addKey(t, store, user, time.Time{})
	key = rotate(t, store, key, rotation(unique("hash")), now)
	rotate(t, store, key, rotation(unique("hash")), key.PreviousUntil)
}

func keyRotatedAtOnce(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for range 3 { // a rotation without an overlap never has to wait
		r := rotation(unique("hash"))
		r.Overlap = 0
		a.key = rotate(t, store, a.key, r, now)
	}
	a.requireUnchanged(t, store)
}

func keyNotRotatedTwice(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	a.key = rotate(t, store, a.key, rotation(unique("hash")), now)
	again := rotation(unique("hash"))
	for _, overlap := range []time.Duration{0, time.Microsecond, time.Hour} {
		again.Overlap = overlap
		_, err := store.RotateKey(t.Context(), byHost(a.key.PreviousUntil.Add(-time.Microsecond)),
			a.key.ID, again)
		require.ErrorIs(t, err, auth.ErrRotating)
		a.requireUnchanged(t, store)
	}
}

func expiredKeyNotRotated(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, now)
	for _, at := range []time.Time{now, now.Add(time.Hour)} {
		_, err := store.RotateKey(t.Context(), byHost(at), key.ID, rotation(unique("hash")))
		require.ErrorIs(t, err, auth.ErrNotFound)
		requireKey(t, store, key)
	}
}

func rotationSparesOthers(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	second, other := addKey(t, store, a.user, now.Add(time.Hour)), newAccount(t, store)
	a.key = rotate(t, store, a.key, rotation(unique("hash")), now)
	a.requireUnchanged(t, store)
	other.requireUnchanged(t, store)
	requireKey(t, store, second)
}

func racingRotations(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		_, key := register(t, store, newUser())
		rotations := make([]auth.KeyRotation, contenders)
		for i := range rotations {
			rotations[i] = rotation(unique("hash"))
		}
		errs := race(contenders, func(i int) error {
			_, err := store.RotateKey(t.Context(), byHost(now), key.ID, rotations[i])
			return err
		})
		requireKey(t, store, rotated(key, rotations[requireOneWinner(t, errs, auth.ErrRotating)], now))
	}
}

func invalidRotation(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	r := rotation(unique("hash"))
	r.Overlap = -time.Nanosecond
	_, err := store.RotateKey(t.Context(), byHost(now), a.key.ID, r)
	requireInvalidField(t, err, "overlap_seconds")
	for _, half := range []auth.AccessKey{{PreviousHash: "a-hash"}, {PreviousUntil: now}} {
		key := newKey(a.user)
		key.PreviousHash, key.PreviousUntil = half.PreviousHash, half.PreviousUntil
		requireInvalidField(t, store.AddKey(t.Context(), byHost(now), key), "previous_until")
	}
	a.requireUnchanged(t, store)
}

func rotationTimes(t *testing.T, store auth.AccountStore) {
	east := time.FixedZone("east", 3600)
	_, key := register(t, store, newUser())
	r := rotation(unique("hash"))
	want := rotated(key, r, now)
	got, err := store.RotateKey(t.Context(), byHost(now.Add(999*time.Nanosecond).In(east)), key.ID, r)
	require.NoError(t, err)
	require.Equal(t, want, got)
	requireKey(t, store, want)

	require.NoError(t, store.TouchKey(t.Context(), key.ID, now.Add(999*time.Nanosecond).In(east)))
	requireKey(t, store, usedAt(want, now))
}

func keyUsed(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	_, key := register(t, store, newUser())
	require.NoError(t, store.TouchKey(t.Context(), key.ID, now))
	requireKey(t, store, usedAt(key, now))
	require.NoError(t, store.TouchKey(t.Context(), key.ID,
		now.Add(storekit.KeyUsePrecision-time.Microsecond)))
	requireKey(t, store, usedAt(key, now))
	next := now.Add(storekit.KeyUsePrecision)
	require.NoError(t, store.TouchKey(t.Context(), key.ID, next))
	requireKey(t, store, usedAt(key, next))

	require.ErrorIs(t, store.TouchKey(t.Context(), unique("none"), now), auth.ErrNotFound)
	a.requireUnchanged(t, store)
}

func earlierUse(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, earlier := range []time.Time{a.key.LastUsedAt.Add(-24 * time.Hour), time.UnixMicro(1), {}} {
		require.NoError(t, store.TouchKey(t.Context(), a.key.ID, earlier))
		a.requireUnchanged(t, store)
	}
}

func sessionUsesKey(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	second := addKey(t, store, a.user, time.Time{})
	openSession(t, store, newHostSession(a.user))
	requireKey(t, store, second)

	session := newSession(a.key)
	session.CreatedAt = now.Add(storekit.KeyUsePrecision - time.Microsecond)
	openSession(t, store, session)
	requireKey(t, store, a.key)

	session = newSession(a.key)
	session.CreatedAt = now.Add(storekit.KeyUsePrecision)
	openSession(t, store, session)
	requireKey(t, store, usedAt(a.key, session.CreatedAt))
	requireKey(t, store, second)
}

func refusedSessionUsesNothing(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	session := newSession(a.key)
	session.ID, session.CreatedAt = a.session.ID, refusedAt
	_, _, err := store.CreateSession(t.Context(), session, 0)
	require.ErrorIs(t, err, auth.ErrExists)
	requireKey(t, store, a.key)
}
