package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
)

// strangeTexts contains valid texts. A store that builds statements from texts, or that truncates,
// normalizes or converts texts, fails with some of them.
var strangeTexts = []string{
	`'`, `"`, "`", `\`, `\\`, `\'`, `'';--`, `%`, `_`, `%s%n`, `$1`, `?`, `:id`, `@id`, `{{.}}`,
	`Robert'); DROP TABLE users;--`, `" OR ""="`, `/*`, `E'\\x41'`,
	"NULL", "null", "nil", "true", "0", "-1", "1e400", "NaN", "0x41", `\x41`, `\u0041`, `\N`, `[]`,
	"é", "e\u0301", "Zażółć gęślą jaźń", "ſﬁ½", "漢字", "עברית", "العربية", "a\u0300\u0301\u0302\u0303",
	"🦆", "👩‍👩‍👧‍👦", "🇺🇳", "\U0010ffff", "\ufffd", "\ufffe", "\ue000",
	"\ufeffmark", "in\u200bvisible", "soft\u00adhyphen",
	"a  b", "tail.", "<b>&amp;", "../../etc", "CON",
}

func longestValues(t *testing.T, store auth.AccountStore) {
	for _, what := range []string{"x", "é", "漢", "🦆", "'", `\`} {
		t.Run(what, func(t *testing.T) {
			requireRoundTrip(t, store, func(prefix string, limit int) string {
				return fill(prefix, what, limit)
			})
		})
	}
}

func strangestValues(t *testing.T, store auth.AccountStore) {
	for _, strange := range strangeTexts {
		t.Run(strange, func(t *testing.T) {
			requireRoundTrip(t, store, func(prefix string, _ int) string { return prefix + strange })
			requireRoundTrip(t, store, func(prefix string, _ int) string { return strange + prefix })
		})
	}
}

// requireRoundTrip fails the test unless the store returns a user, a key and a session as they were
// stored. The given function makes the text of each field from a prefix and the maximum length of
// the field. This function does not make the hash of the key, because hashes contain only ASCII.
func requireRoundTrip(
	t *testing.T, store auth.AccountStore, value func(prefix string, limit int) string,
) {
	t.Helper()
	user := newUser()
	for _, field := range userFields {
		*field.of(&user) = value(unique(""), field.limit)
	}
	key := newKey(user)
	key.ID = value(unique(""), limits.AccessKey)
	key.Label = value("", limits.Label)
	key.Hash = longestHash()
	session := newSession(key)
	session.ID = value(unique(""), limits.ID)
	session.Method = auth.SignInMethod(value("m", limits.ID))
	session.UserAgent = value("", limits.UserAgent)
	session.Address = value("", limits.Address)

	user = registerWith(t, store, user, key)
	requireKeyOf(t, store, key, user)
	requireSameSession(t, session, openSession(t, store, session))
	requireSession(t, store, session)
	user.LastLogin = session.CreatedAt
	requireUser(t, store, user)

	key = usedAt(key, session.CreatedAt)
	old := key.Hash
	key.Hash = `'"\%_$1?`
	require.NoError(t, store.SwapHash(t.Context(), key.ID, old, key.Hash))
	requireKey(t, store, key)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), session.ID))
	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), key.ID))
	requireNoSession(t, store, session.ID)
	requireNoKey(t, store, key.ID)

	openSession(t, store, newHostSession(user))
	require.Equal(t, 1, endAll(t, store, user, now))
	if whole, ok := store.(auth.Store); ok {
		deleteUser(t, whole, user.ID)
		requireDeleted(t, whole, user)
		requireNameTaken(t, whole, user.Username)
	}
}

// longestHash returns a hash of the maximum length. It contains every allowed character.
func longestHash() string {
	var visible []byte
	for c := byte('!'); c <= '~'; c++ {
		visible = append(visible, c)
	}
	return fill(string(visible), "z", limits.Hash)
}

func emptyValues(t *testing.T, store auth.AccountStore) {
	user := newUser()
	user.Email = ""
	key := newKey(user)
	key.Label = ""
	user = registerWith(t, store, user, key)
	session := newSession(key)
	session.AccessKeyID = ""

	requireKeyOf(t, store, key, user)
	requireSameSession(t, session, openSession(t, store, session))
	requireSession(t, store, session)
}
