package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var keyPromises = []promise[auth.AccountStore]{
	{"a user may have several keys", severalKeys},
	{"a key with a taken ID is not added", keyTaken},
	{"a key is found only by its ID", keyFoundByIDOnly},
	{"an expired key is found until it is pruned", expiredKeyFound},
	{"replacing a hash changes nothing else of the key", hashReplaced},
	{"a hash can be replaced by itself", hashReplacedBySame},
	{"a hash is not replaced if the old hash does not match", hashNotReplaced},
	{"a revoked key no longer exists, nor do the sessions it opened", revokedKeyGone},
	{"revoking a key leaves the user's other keys and sessions unchanged", revokingSparesOthers},
	{"an expired key can be revoked", expiredKeyRevoked},
	{"an unknown key cannot be revoked", revokeUnknownKey},
}

var keyPromisesOfUsers = []promise[auth.Store]{
	{"a key can be added to a disabled user", keyForDisabledUser},
	{"a key of an unknown user is not added", keyOfNobody},
	{"a key is found with the current record of its owner", keyFoundWithOwner},
}

func severalKeys(t *testing.T, store auth.AccountStore) {
	user, first := register(t, store, newUser())
	second := addKey(t, store, user, time.Time{})
	third := addKey(t, store, user, now.Add(time.Hour))
	for _, key := range []auth.AccessKey{first, second, third} {
		requireKey(t, store, key)
	}
	requireUser(t, store, user)
}

func keyForDisabledUser(t *testing.T, store auth.Store) {
	user, _ := register(t, store, newUser())
	update(t, store, user.ID, disable)
	requireKey(t, store, addKey(t, store, user, time.Time{}))
}

func keyOfNobody(t *testing.T, store auth.Store) {
	key := newKey(newUser())
	require.ErrorIs(t, store.AddKey(t.Context(), byHost(now), key), auth.ErrNotFound)
	requireNoKey(t, store, key.ID)
}

func keyTaken(t *testing.T, store auth.AccountStore) {
	own, other := newAccount(t, store), newAccount(t, store)
	for _, taken := range []string{own.key.ID, other.key.ID} {
		key := newKey(own.user)
		key.ID = taken
		require.ErrorIs(t, store.AddKey(t.Context(), byHost(now), key), auth.ErrExists)
		own.requireUnchanged(t, store)
		other.requireUnchanged(t, store)
	}
}

func keyFoundByIDOnly(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, id := range []string{unique("none"), a.user.ID, a.key.Hash, a.key.Label, a.session.ID} {
		requireNoKey(t, store, id)
	}
}

func keyFoundWithOwner(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for _, change := range []auth.UserChange{disable, enable, promote} {
		user, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, change)
		require.NoError(t, err)
		requireKeyOf(t, store, a.key, user)
	}
}

func expiredKeyFound(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	requireKey(t, store, addKey(t, store, user, time.UnixMicro(1).UTC()))
}

func hashReplaced(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	old := a.key.Hash
	a.key.Hash = unique("new")
	require.NoError(t, store.SwapHash(t.Context(), a.key.ID, old, a.key.Hash))
	a.requireUnchanged(t, store)
	require.ErrorIs(t, store.SwapHash(t.Context(), a.key.ID, old, unique("newer")), auth.ErrNotFound)
	a.requireUnchanged(t, store)
}

func hashReplacedBySame(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	require.NoError(t, store.SwapHash(t.Context(), a.key.ID, a.key.Hash, a.key.Hash))
	a.requireUnchanged(t, store)
}

func hashNotReplaced(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := newKey(user)
	key.Hash = "Hash$1_%"
	require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	for _, old := range []string{
		"another", "hash$1_%", "HASH$1_%", "Hash$1_", "Hash$1_%%", "Hash$1%%", "%", "Hash$1_% ",
		"", "Hash$1_%\x00", "Hash$1_%\xff",
	} {
		require.ErrorIsf(t, store.SwapHash(t.Context(), key.ID, old, "new"), auth.ErrNotFound, "%q",
			old)
	}
	require.ErrorIs(t, store.SwapHash(t.Context(), unique("none"), key.Hash, "new"), auth.ErrNotFound)
	requireKey(t, store, key)
}

func revokedKeyGone(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	second := openSession(t, store, newSession(a.key))
	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), a.key.ID))

	requireNoKey(t, store, a.key.ID)
	requireNoSession(t, store, a.session.ID)
	requireNoSession(t, store, second.ID)
	requireUser(t, store, a.user)
	require.ErrorIs(t, store.RevokeKey(t.Context(), byHost(now), a.key.ID), auth.ErrNotFound)
	require.ErrorIs(t, store.SwapHash(t.Context(), a.key.ID, a.key.Hash, "new"), auth.ErrNotFound)
}

func revokingSparesOthers(t *testing.T, store auth.AccountStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	second := addKey(t, store, a.user, time.Time{})
	host := openSession(t, store, newHostSession(a.user))
	openSession(t, store, newSession(second))

	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), second.ID))
	a.requireUnchanged(t, store)
	other.requireUnchanged(t, store)
	requireSession(t, store, host)
}

func expiredKeyRevoked(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, time.UnixMicro(1))
	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), key.ID))
	requireNoKey(t, store, key.ID)
}

func revokeUnknownKey(t *testing.T, store auth.AccountStore) {
	require.ErrorIs(t, store.RevokeKey(t.Context(), byHost(now), unique("none")), auth.ErrNotFound)
}
