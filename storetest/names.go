package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var namePromises = []promise[auth.AccountStore]{
	{"look-alike key IDs are different", lookalikeKeyIDs},
	{"look-alike session IDs are different", lookalikeSessionIDs},
}

var namePromisesOfUsers = []promise[auth.Store]{
	{"a taken name or ID registers neither the user nor the key", conflicts},
	{"ASCII letters are folded among other letters", foldsAmongOthers},
	{"names are stored as they were given", namesKeptAsGiven},
	{"any number of users may have no e-mail address", emptyEmails},
	{"a username may equal another user's e-mail address", usernameIsNoEmail},
	{"look-alike names are different", lookalikeNames},
	{"look-alike user IDs are different", lookalikeUserIDs},
}

func conflicts(t *testing.T, store auth.Store) {
	tests := []struct {
		name string
		edit func(user *auth.User, key *auth.AccessKey, taken account)
	}{
		{"user id", func(user *auth.User, key *auth.AccessKey, taken account) {
			user.ID, key.UserID = taken.user.ID, taken.user.ID
		}},
		{"username", func(user *auth.User, _ *auth.AccessKey, taken account) {
			user.Username = taken.user.Username
		}},
		{"username in capitals", func(user *auth.User, _ *auth.AccessKey, taken account) {
			user.Username = strings.ToUpper(taken.user.Username)
		}},
		{"username in small letters", func(user *auth.User, _ *auth.AccessKey, taken account) {
			user.Username = strings.ToLower(taken.user.Username)
		}},
		{"e-mail", func(user *auth.User, _ *auth.AccessKey, taken account) {
			user.Email = taken.user.Email
		}},
		{"e-mail in capitals", func(user *auth.User, _ *auth.AccessKey, taken account) {
			user.Email = strings.ToUpper(taken.user.Email)
		}},
		{"e-mail in small letters", func(user *auth.User, _ *auth.AccessKey, taken account) {
			user.Email = strings.ToLower(taken.user.Email)
		}},
		{"key id", func(_ *auth.User, key *auth.AccessKey, taken account) {
			key.ID = taken.key.ID
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			taken := newAccount(t, store)
			freeUser := newUser()
			freeKey := newKey(freeUser)
			user, key := freeUser, freeKey
			test.edit(&user, &key, taken)

			require.ErrorIs(t, store.Register(t.Context(), byHost(now), user, key), auth.ErrExists)
			taken.requireUnchanged(t, store)
			// The refused registration must have stored nothing. So freeUser and freeKey, which
			// have no taken value, can still be registered.
			requireNoUser(t, store, freeUser.ID)
			requireNoKey(t, store, freeKey.ID)
			require.NoError(t, store.Register(t.Context(), byHost(now), freeUser, freeKey))
		})
	}
}

func foldsAmongOthers(t *testing.T, store auth.Store) {
	first := newUser()
	first.Username, first.Email = unique("Ütf É🦆 Name"), unique("Ütf É🦆 Mail")
	register(t, store, first)

	second := newUser()
	second.Username = auth.FoldASCII(first.Username)
	require.ErrorIs(t, store.Register(t.Context(), byHost(now), second, newKey(second)), auth.ErrExists)
	third := newUser()
	third.Email = auth.FoldASCII(first.Email)
	require.ErrorIs(t, store.Register(t.Context(), byHost(now), third, newKey(third)), auth.ErrExists)
}

func namesKeptAsGiven(t *testing.T, store auth.Store) {
	user := newUser()
	user.Username, user.Email = unique("MiXeD ÉcÔle"), unique("MiXeD")+"@Example.COM"
	register(t, store, user)
	requireUser(t, store, user)
}

func emptyEmails(t *testing.T, store auth.Store) {
	for range 3 {
		user := newUser()
		user.Email = ""
		register(t, store, user)
		requireUser(t, store, user)
	}
}

func usernameIsNoEmail(t *testing.T, store auth.Store) {
	first, second := newUser(), newUser()
	first.Username = first.Email
	second.Username, second.Email = unique("name"), unique("name")
	third := newUser()
	third.Username, third.Email = second.Email, second.Username
	for _, user := range []auth.User{first, second, third} {
		register(t, store, user)
		requireUser(t, store, user)
	}
}

// foldedTwins contains pairs of texts that differ only in the case of ASCII letters or in a space
// at the end. The two texts of a pair are valid and different IDs.
var foldedTwins = [][2]string{
	{"Key", "key"},
	{"key", "kEY"},
	{"space", "space "},
}

// lookalikes contains pairs of texts that are different IDs and different names. For each pair,
// there is a database or a function of package strings that treats the two texts as equal.
var lookalikes = [][2]string{
	{"É", "é"},                       // strings.ToLower
	{"\u212a", "k"},                  // the Kelvin sign, which ToLower converts to k
	{"\u212a", "K"},                  // the same
	{"\u017f", "s"},                  // the long s, which EqualFold equates with s
	{"\u0130", "i"},                  // capital I with a dot
	{"\u0131", "I"},                  // small i without a dot
	{"Σ", "ς"},                       // capital sigma and final sigma
	{"ß", "ss"},                      // equal in collations that expand letters
	{"ﬁ", "fi"},                      // equal in compatibility forms
	{"e\u0301", "\u00e9"},            // combining accent and single code point
	{"a", "á"},                       // equal in collations without accents
	{"x", "ｘ"},                       // full width
	{"а", "a"},                       // Cyrillic and Latin
	{"ab", "a\u200bb"},               // zero-width space
	{"a\u00a0b", "a b"},              // no-break space
	{"a  b", "a b"},                  // two spaces
	{"a_b", "axb"},                   // wildcard of LIKE
	{"a%b", "axb"},                   // wildcard of LIKE
	{"@[\\]^", "`{|}~"},              // the neighbors of the letters in ASCII
	{"1", "01"},                      // numbers
	{"1e1", "10"},                    // the same
	{"\U0001f986", "\U0001f985"},     // beyond 16 bits: duck and eagle
	{"a\\b", "a\\\\b"},               // escapes
	{"a\ufffdb", "a\ufffd\ufffdb"},   // replacements of invalid UTF-8
	{"\u4e00\u4e01", "\u4e01\u4e00"}, // the same characters in another order
}

// apart calls the function test for each pair. Before the call, it puts the same random prefix in
// front of both texts of the pair.
func apart(t *testing.T, pairs [][2]string, test func(t *testing.T, one, other string)) {
	for _, pair := range pairs {
		prefix := unique("") + "-"
		t.Run(pair[0]+" and "+pair[1], func(t *testing.T) { test(t, prefix+pair[0], prefix+pair[1]) })
	}
}

func lookalikeNames(t *testing.T, store auth.Store) {
	apart(t, lookalikes, func(t *testing.T, one, other string) {
		for _, name := range []string{one, other} {
			user := newUser()
			user.Username, user.Email = name, name
			register(t, store, user)
			requireUser(t, store, user)
		}
	})
	apart(t, [][2]string{{"mail", "mail "}}, func(t *testing.T, one, other string) {
		for _, email := range []string{one, other} {
			user := newUser()
			user.Email = email
			register(t, store, user)
			requireUser(t, store, user)
		}
	})
}

func lookalikeUserIDs(t *testing.T, store auth.Store) {
	apart(t, slices.Concat(foldedTwins, lookalikes), func(t *testing.T, one, other string) {
		first := newUser()
		first.ID = one
		a := newAccountOf(t, store, first)

		second := newUser()
		second.ID = other
		requireNoUser(t, store, other)
		_, err := store.UpdateUser(t.Context(), byHost(now), other, disable)
		require.ErrorIs(t, err, auth.ErrNotFound)
		_, _, err = store.ResetUser(t.Context(), byHost(now), other, auth.UserChange{}, newKey(second))
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.ErrorIs(t, store.AddKey(t.Context(), byHost(now), newKey(second)), auth.ErrNotFound)
		_, _, err = store.CreateSession(t.Context(), newHostSession(second), 0)
		require.ErrorIs(t, err, auth.ErrNotFound)
		_, err = store.RevokeUserSessions(t.Context(), byHost(now), other)
		require.ErrorIs(t, err, auth.ErrNotFound)
		_, err = store.DeleteUser(t.Context(), byHost(now), other)
		require.ErrorIs(t, err, auth.ErrNotFound)

		register(t, store, second)
		update(t, store, other, disable)
		_, err = store.RevokeUserSessions(t.Context(), byHost(now), other)
		require.NoError(t, err)
		_, err = store.DeleteUser(t.Context(), byHost(now), other)
		require.NoError(t, err)
		a.requireUnchanged(t, store)
	})
}

func lookalikeKeyIDs(t *testing.T, store auth.AccountStore) {
	apart(t, slices.Concat(foldedTwins, lookalikes), func(t *testing.T, one, other string) {
		a := newAccount(t, store)
		first := newKey(a.user)
		first.ID = one
		require.NoError(t, store.AddKey(t.Context(), byHost(now), first))
		session := openSession(t, store, newSession(first))

		second := newKey(a.user)
		second.ID = other
		requireNoKey(t, store, other)
		require.ErrorIs(t, store.RevokeKey(t.Context(), byHost(now), other), auth.ErrNotFound)
		require.ErrorIs(t, store.SwapHash(t.Context(), other, first.Hash, "new"), auth.ErrNotFound)
		_, _, err := store.CreateSession(t.Context(), newSession(second), 0)
		require.ErrorIs(t, err, auth.ErrNotFound)

		require.NoError(t, store.AddKey(t.Context(), byHost(now), second))
		openSession(t, store, newSession(second))
		require.NoError(t, store.RevokeKey(t.Context(), byHost(now), other))
		requireKey(t, store, usedAt(first, session.CreatedAt))
		requireSession(t, store, session)
	})
}

func lookalikeSessionIDs(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	key = addKey(t, store, user, now.Add(time.Hour))
	apart(t, slices.Concat(foldedTwins, lookalikes), func(t *testing.T, one, other string) {
		first, second := newSession(key), newSession(key)
		first.ID, second.ID = one, other
		openSession(t, store, first)
		requireNoSession(t, store, other)
		require.ErrorIs(t, store.RevokeSession(t.Context(), byHost(now), other), auth.ErrNotFound)

		openSession(t, store, second)
		require.NoError(t, store.RevokeSession(t.Context(), byHost(now), other))
		requireSession(t, store, first)
	})
}
