package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// scopePromises are about the scopes of access keys: see [auth.ScopeSet].
var scopePromises = []promise[auth.AccountStore]{
	{"a key keeps its scopes, whatever else of it changes", keyScopesKept},
	{"keys with different scopes are listed with their own", keyScopesListed},
	{"a key with invalid scopes is not added", invalidKeyScopes},
	{"SetKeyScopes changes the scopes, and nothing else of the key", keyScopesSet},
	{"SetKeyScopes revokes the sessions of the key, and no others", settingRevokesSessions},
	{"SetKeyScopes revokes the sessions even if the scopes stay the same", sameScopesSet},
	{"the scopes of an expired key can be set", scopesOfExpiredKeySet},
	{"the scopes of an unknown key cannot be set", scopesOfUnknownKey},
	{"invalid scopes are not set", invalidScopesNotSet},
	{"the scopes, the hash and the use of a key can change at once", racingChangesOfKey},
	{"only super users set the scopes of another user's key", scopesOfAnother},
}

var scopePromisesOfUsers = []promise[auth.Store]{
	{"the first key of a new user keeps its scopes", firstKeyScopesKept},
	{"the keys of many users who are registered at once keep their scopes", registeredScopesKept},
	{"the key of a reset keeps its scopes", resetScopesKept},
	{"a user whose key has invalid scopes is refused", invalidScopesOfUsers},
}

// bootstrapScopePromises need one store each.
var bootstrapScopePromises = []promise[auth.Store]{
	{"a key without a limit has none after the bootstrap", bootstrapKeepsScopes(nil)},
	{"a key with the empty set has it after the bootstrap", bootstrapKeepsScopes(auth.NewScopes())},
	{"a key with scopes has them after the bootstrap", bootstrapKeepsScopes(longestScopes())},
	{"a limited session does not bootstrap", bootstrapNeedsNoLimit},
}

// scopeSets are sets of every kind: nil, the empty set, the longest set, and sets whose text has a
// meaning in a database.
var scopeSets = []struct {
	name string
	set  *auth.ScopeSet
}{
	{"no limit", nil},
	{"the empty set", auth.NewScopes()},
	{"one scope", auth.NewScopes("reports:read")},
	{"several scopes", auth.NewScopes("reports:write", "a", "B", "b", "reports:read")},
	{"the shortest text", auth.NewScopes("!")},
	{"NULL", auth.NewScopes("NULL")},
	{"null", auth.NewScopes("null")},
	{"an array", auth.NewScopes("{}", "{a,b}", "[]", ",", "{", "}")},
	{"statements", auth.NewScopes("'", "''", "';--", "?", "$1", ":id", "%s", "_", "/*", "*/")},
	{"the text of nil", auth.NewScopes("(no", "limit)", "no", "limit", "<nil>", "nil")},
	{"the longest set", longestScopes()},
}

// longestScopes returns a set with a text of 1024 bytes, which is the maximum. Its scopes are as long
// as a scope can be, except the last.
func longestScopes() *auth.ScopeSet {
	const longest, room = 64, 1024
	var names []string
	for i := range room / longest {
		names = append(names, string(rune('a'+i))+strings.Repeat("~", longest-1))
	}
	last := &names[len(names)-1]
	*last = (*last)[:longest-(len(names)-1)] // makes room for the spaces
	return auth.NewScopes(names...)
}

// invalidScopes are sets that no store may keep.
var invalidScopes = map[string]*auth.ScopeSet{
	"a space":           auth.NewScopes("a b"),
	"no text":           auth.NewScopes("a", ""),
	"a quotation mark":  auth.NewScopes(`a"b`),
	"a backslash":       auth.NewScopes(`a\b`),
	"not ASCII":         auth.NewScopes("é"),
	"a control":         auth.NewScopes("a\x00"),
	"a scope too long":  auth.NewScopes(strings.Repeat("x", 65)),
	"a set that is one": auth.NewScopes(append(longestScopes().List(), "x")...),
}

// newLimitedKey returns a new key with the scopes. The key is not stored.
func newLimitedKey(user auth.User, scopes *auth.ScopeSet) auth.AccessKey {
	key := newKey(user)
	key.Scopes = scopes
	return key
}

// addLimitedKey adds a new key with the scopes.
func addLimitedKey(
	t *testing.T, store auth.AccountStore, user auth.User, scopes *auth.ScopeSet,
) auth.AccessKey {
	t.Helper()
	key := newLimitedKey(user, scopes)
	require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	return key
}

// setScopes sets the scopes of the key, and fails the test unless the store returns the changed key.
func setScopes(
	t *testing.T, store auth.AccountStore, key auth.AccessKey, scopes *auth.ScopeSet,
) auth.AccessKey {
	t.Helper()
	got, err := store.SetKeyScopes(t.Context(), byHost(now), key.ID, scopes)
	require.NoError(t, err)
	key.Scopes = scopes
	require.Equal(t, key, got)
	return got
}

// requireKeyRead fails the test unless every method that reads keys returns the key.
func requireKeyRead(t *testing.T, store auth.AccountStore, want auth.AccessKey) {
	t.Helper()
	requireKey(t, store, want)
	keys, err := store.ListKeys(t.Context(), want.UserID)
	require.NoError(t, err)
	require.Contains(t, keys, want)
	keys, err = store.ListAllKeys(t.Context(), want.ID[:len(want.ID)-1], 1)
	require.NoError(t, err)
	require.Equal(t, []auth.AccessKey{want}, keys)
}

func keyScopesKept(t *testing.T, store auth.AccountStore) {
	for _, test := range scopeSets {
		t.Run(test.name, func(t *testing.T) {
			user, _ := register(t, store, newUser())
			key := addLimitedKey(t, store, user, test.set)
			requireKeyRead(t, store, key)

			key = rotate(t, store, key, rotation(unique("hash")), now)
			requireKeyRead(t, store, key)

			hash := unique("hash")
			require.NoError(t, store.SwapHash(t.Context(), key.ID, key.Hash, hash))
			key.Hash = hash
			requireKeyRead(t, store, key)

			require.NoError(t, store.TouchKey(t.Context(), key.ID, now))
			key = usedAt(key, now)
			requireKeyRead(t, store, key)

			session := newSession(key)
			session.CreatedAt = now.Add(time.Minute)
			openSession(t, store, session)
			requireKeyRead(t, store, usedAt(key, session.CreatedAt))
		})
	}
}

func keyScopesListed(t *testing.T, store auth.AccountStore) {
	prefix, owner := unique("list"), newUser()
	want := make([]auth.AccessKey, len(scopeSets))
	for i, test := range scopeSets {
		want[i] = newLimitedKey(owner, test.set)
		want[i].ID = prefix + string(rune('a'+i))
	}
	registerWith(t, store, owner, want[0])
	for _, key := range want[1:] {
		require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	}
	requireKeys(t, store, owner.ID, want...)
	allKeys(t, store).requireAfter(t, prefix, want)
}

func invalidKeyScopes(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for name, bad := range invalidScopes {
		t.Run(name, func(t *testing.T) {
			key := newLimitedKey(a.user, bad)
			requireInvalidField(t, store.AddKey(t.Context(), byHost(now), key), "scopes")
			requireNoKey(t, store, key.ID)
			a.requireUnchanged(t, store)
		})
	}
}

func keyScopesSet(t *testing.T, store auth.AccountStore) {
	for _, from := range scopeSets {
		t.Run(from.name, func(t *testing.T) {
			user, other := register(t, store, newUser())
			key := newLimitedKey(user, from.set)
			key.ExpiresAt, key.LastUsedAt = now.Add(time.Hour), now
			key.PreviousHash, key.PreviousUntil = "a-hash", now.Add(time.Minute)
			require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
			for _, to := range scopeSets {
				key = setScopes(t, store, key, to.set)
				requireKeyRead(t, store, key)
			}
			requireKeyOf(t, store, other, user)
		})
	}
}

func settingRevokesSessions(t *testing.T, store auth.AccountStore) {
	for _, to := range scopeSets {
		t.Run(to.name, func(t *testing.T) {
			a, other := newAccount(t, store), newAccount(t, store)
			second, third := openSession(t, store, newSession(a.key)), signIn(t, store, a.user)
			host := openSession(t, store, newHostSession(a.user))
			a.key = setScopes(t, store, a.key, to.set)

			requireNoSession(t, store, a.session.ID)
			requireNoSession(t, store, second.ID)
			requireSession(t, store, host)
			third.requireUnchanged(t, store)
			other.requireUnchanged(t, store)
			requireKey(t, store, a.key)
			requireUser(t, store, a.user)
			feed := entriesOf(t, store, a.user)
			require.Len(t, feed, 2)
			for _, e := range feed {
				session := a.session
				if e.SessionID == second.ID {
					session = second
				}
				requireNamed(t, session, e)
			}
			require.NotEqual(t, feed[0].SessionID, feed[1].SessionID)
			require.Empty(t, entriesOf(t, store, other.user))

			again := openSession(t, store, newSession(a.key))
			require.Equal(t, to.set, again.Scopes)
			require.False(t, isDead(feed, again))
		})
	}
}

// sameScopesSet sets the scopes that the key already has. In some databases, such an update changes
// no row, and a store must not conclude that the key does not exist.
func sameScopesSet(t *testing.T, store auth.AccountStore) {
	for _, test := range scopeSets {
		user, _ := register(t, store, newUser())
		key := addLimitedKey(t, store, user, test.set)
		session := openSession(t, store, newSession(key))
		key = usedAt(key, session.CreatedAt)
		for range 2 {
			key = setScopes(t, store, key, test.set)
			requireKey(t, store, key)
			requireNoSession(t, store, session.ID)
		}
		feed := entriesOf(t, store, user)
		require.Len(t, feed, 1)
		requireNamed(t, session, feed[0])
	}
}

func scopesOfExpiredKeySet(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, time.UnixMicro(1).UTC())
	requireKey(t, store, setScopes(t, store, key, auth.NewScopes("a")))
}

func scopesOfUnknownKey(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, id := range []string{unique("none"), a.user.ID, a.session.ID, "", a.key.ID + "\x00",
		strings.ToLower(a.key.ID), a.key.ID + " "} {
		key, err := store.SetKeyScopes(t.Context(), byHost(now), id, auth.NewScopes("a"))
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.Empty(t, key)
		a.requireUnchanged(t, store)
	}
}

func invalidScopesNotSet(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for name, bad := range invalidScopes {
		t.Run(name, func(t *testing.T) {
			for _, id := range []string{a.key.ID, unique("none")} {
				_, err := store.SetKeyScopes(t.Context(), byHost(now), id, bad)
				requireInvalidField(t, err, "scopes")
				a.requireUnchanged(t, store)
				require.Empty(t, entriesOf(t, store, a.user))
			}
		})
	}
}

// racingChangesOfKey makes three changes of a key at the same time. A store that reads the key, changes
// one field, and writes all fields back without a lock would undo a concurrent change.
func racingChangesOfKey(t *testing.T, store auth.AccountStore) {
	for range 3 * rounds(t) {
		_, key := register(t, store, newUser())
		r, scopes := rotation(unique("hash")), auth.NewScopes("a")
		require.NoError(t, errors.Join(race(3, func(i int) (err error) {
			switch i {
			case 0:
				_, err = store.RotateKey(t.Context(), byHost(now), key.ID, r)
			case 1:
				_, err = store.SetKeyScopes(t.Context(), byHost(now), key.ID, scopes)
			default:
				err = store.TouchKey(t.Context(), key.ID, now)
			}
			return err
		})...))
		want := usedAt(rotated(key, r, now), now)
		want.Scopes = scopes
		requireKey(t, store, want)
	}
}

func scopesOfAnother(t *testing.T, store auth.AccountStore) {
	a, other := newActor(t, store), newAccount(t, store)
	_, err := store.SetKeyScopes(t.Context(), bySession(a.session, now), other.key.ID, auth.NewScopes("a"))
	require.ErrorIs(t, err, auth.ErrNotFound)
	other.requireUnchanged(t, store)

	key, err := store.SetKeyScopes(t.Context(), bySuperUser(a.session, now), other.key.ID,
		auth.NewScopes("a"))
	require.NoError(t, err)
	requireKey(t, store, key)
	requireNoSession(t, store, other.session.ID)
}

func firstKeyScopesKept(t *testing.T, store auth.Store) {
	for _, test := range scopeSets {
		user := newUser()
		key := newLimitedKey(user, test.set)
		require.NoError(t, store.Register(t.Context(), byHost(now), user, key))
		requireKeyRead(t, store, key)
		requireKeyOf(t, store, key, user)
	}
}

// registeredScopesKept registers all sets in one call, first in order, then in reverse order.
func registeredScopesKept(t *testing.T, store auth.Store) {
	first := auth.UserWithKeys{User: newUser()}
	users := []auth.UserWithKeys{}
	for i, test := range scopeSets {
		first.Keys = append(first.Keys, newLimitedKey(first.User, test.set))
		user := newUser()
		opposite := scopeSets[len(scopeSets)-1-i].set
		users = append(users, auth.UserWithKeys{User: user,
			Keys: []auth.AccessKey{newLimitedKey(user, opposite), newLimitedKey(user, test.set)}})
	}
	users = append(users, first)
	refusals, err := store.RegisterUsers(t.Context(), byHost(now), users)
	require.NoError(t, errors.Join(append(refusals, err)...))
	for _, user := range users {
		for _, key := range user.Keys {
			requireKeyRead(t, store, key)
		}
	}
}

func resetScopesKept(t *testing.T, store auth.Store) {
	user, _ := register(t, store, newUser())
	for _, test := range scopeSets {
		key := newLimitedKey(user, test.set)
		_, _, err := store.ResetUser(t.Context(), byHost(now), user.ID, auth.UserChange{}, key)
		require.NoError(t, err)
		requireKeys(t, store, user.ID, key)
		requireKeyRead(t, store, key)
	}
}

func bootstrapKeepsScopes(scopes *auth.ScopeSet) func(t *testing.T, store auth.Store) {
	return func(t *testing.T, store auth.Store) {
		user := newSuperUser()
		key := newLimitedKey(user, scopes)
		require.NoError(t, store.Bootstrap(t.Context(), byHost(now), user, key))
		requireKeyRead(t, store, key)
	}
}

// bootstrapNeedsNoLimit calls Bootstrap with a limited session. A host never does this, but a store must
// check every write: a bootstrap makes a super user.
func bootstrapNeedsNoLimit(t *testing.T, store auth.Store) {
	a := newActor(t, store)
	limited := openScoped(t, store, a, auth.NewScopes("a"))
	user := newSuperUser()
	key := newLimitedKey(user, auth.NewScopes("a"))
	err := store.Bootstrap(t.Context(), bySuperUser(limited, now), user, key)
	requireInsufficient(t, err, "")
	requireNoUser(t, store, user.ID)
	requireNoKey(t, store, key.ID)
	bootstrap(t, store)
}

func invalidScopesOfUsers(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for name, bad := range invalidScopes {
		t.Run(name, func(t *testing.T) {
			user := newSuperUser()
			key := newLimitedKey(user, bad)
			requireInvalidField(t, store.Register(t.Context(), byHost(now), user, key), "scopes")
			requireInvalidField(t, store.Bootstrap(t.Context(), byHost(now), user, key), "scopes")
			good := newUser()
			_, err := store.RegisterUsers(t.Context(), byHost(now), []auth.UserWithKeys{
				{User: good, Keys: []auth.AccessKey{newKey(good)}},
				{User: user, Keys: []auth.AccessKey{newKey(user), key}}})
			requireInvalidField(t, err, "scopes")
			requireNoUser(t, store, good.ID)
			requireNoUser(t, store, user.ID)
			requireNoKey(t, store, key.ID)

			key = newLimitedKey(a.user, bad)
			_, _, err = store.ResetUser(t.Context(), byHost(now), a.user.ID, disable, key)
			requireInvalidField(t, err, "scopes")
			requireNoKey(t, store, key.ID)
			a.requireUnchanged(t, store)
		})
	}
}
