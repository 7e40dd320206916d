package storetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
)

var valuePromises = []promise[auth.AccountStore]{
	{"a key with an invalid value is not added", invalidKey},
	{"an invalid hash replaces none", invalidHash},
	{"a session with an invalid value is refused", invalidSession},
	{"an ID that cannot be stored is not found", impossibleIDs},
	{"the longest values come back unchanged", longestValues},
	{"the strangest values come back unchanged", strangestValues},
	{"values that may be empty come back empty", emptyValues},
}

var valuePromisesOfUsers = []promise[auth.Store]{
	{"a user with an invalid value is refused", invalidUser},
	{"a first key with an invalid value is refused", invalidFirstKey},
}

// field is a text field of the record type R.
type field[R any] struct {
	name     string // the name of the field in an InvalidError
	limit    int    // in bytes
	required bool
	of       func(*R) *string
}

var userFields = []field[auth.User]{
	{"user_id", limits.ID, true, func(u *auth.User) *string { return &u.ID }},
	{"username", limits.Username, true, func(u *auth.User) *string { return &u.Username }},
	{"email", limits.Email, false, func(u *auth.User) *string { return &u.Email }},
}

var hashField = field[auth.AccessKey]{"hash", limits.Hash, true, func(k *auth.AccessKey) *string {
	return &k.Hash
}}

var keyFields = []field[auth.AccessKey]{
	{"access_key", limits.AccessKey, true, func(k *auth.AccessKey) *string { return &k.ID }},
	{"user_id", limits.ID, true, func(k *auth.AccessKey) *string { return &k.UserID }},
	hashField,
	{"label", limits.Label, false, func(k *auth.AccessKey) *string { return &k.Label }},
	{"hash", limits.Hash, false, previousHashOf},
}

func previousHashOf(k *auth.AccessKey) *string {
	k.PreviousUntil = now
	return &k.PreviousHash
}

var sessionFields = []field[auth.Session]{
	{"session_id", limits.ID, true, func(s *auth.Session) *string { return &s.ID }},
	{"user_id", limits.ID, true, func(s *auth.Session) *string { return &s.UserID }},
	{"method", limits.ID, true, func(s *auth.Session) *string { return (*string)(&s.Method) }},
	{"access_key", limits.AccessKey, false, func(s *auth.Session) *string { return &s.AccessKeyID }},
	{"user_agent", limits.UserAgent, false, func(s *auth.Session) *string { return &s.UserAgent }},
	{"ip", limits.Address, false, func(s *auth.Session) *string { return &s.Address }},
}

// canary is the beginning of every invalid value. The error for such a value must not contain it.
const canary = "canary"

// badValues returns texts that are invalid for the field.
func (f field[R]) badValues() []string {
	values := []string{
		// NUL ends a text in C and is an error in PostgreSQL.
		canary + "\x00", canary + "\x00tail",
		// Invalid UTF-8: a stray byte, half a letter, NUL in two bytes, a surrogate, and a code
		// point beyond Unicode.
		canary + "\xff", canary + "\xc3", canary + "\xc0\x80", canary + "\xed\xa0\x80", canary + "\xf4\x90\x80\x80",
		// Control characters, bidirectional controls and separators.
		canary + "\n", canary + "\r", canary + "\t", canary + "\x1b[2J", canary + "\x7f", canary + "\u0085",
		canary + "\u202e", canary + "\u2066", canary + "\u200e", canary + "\u061c",
		canary + "\u2028", canary + "\u2029",
		// Texts that are too long.
		fill(canary, "x", f.limit+1), fill(canary, "🦆", f.limit+1), fill(canary, "x", 10_000),
	}
	if f.required {
		values = append(values, "")
	}
	switch f.name {
	case "username":
		values = append(values, canary+" ", " "+canary, canary+"\u00a0", canary+"\u3000", " ")
	case "hash":
		values = append(values, canary+" ", canary+"é", canary+"🦆")
	}
	return values
}

// fill returns a text that is length bytes long. It consists of the prefix, copies of the filler,
// and dots for the rest.
func fill(prefix, filler string, length int) string {
	room := length - len(prefix)
	return prefix + strings.Repeat(filler, room/len(filler)) + strings.Repeat(".", room%len(filler))
}

// requireInvalid fails the test unless err is an InvalidError, and returns it.
func requireInvalid(t *testing.T, err error) *auth.InvalidError {
	t.Helper()
	require.ErrorIs(t, err, auth.ErrInvalid)
	var invalid *auth.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.NotEmpty(t, invalid.Reason)
	return invalid
}

// requireInvalidField fails the test unless err is an InvalidError for the field. The error must
// not contain the value of the field.
func requireInvalidField(t *testing.T, err error, field string) {
	t.Helper()
	require.Equal(t, field, requireInvalid(t, err).Field)
	require.NotContains(t, err.Error(), canary)
}

func invalidUser(t *testing.T, store auth.Store) {
	for _, field := range userFields {
		for _, bad := range field.badValues() {
			user := newUser()
			key := newKey(user)
			*field.of(&user) = bad
			requireInvalidField(t, store.Register(t.Context(), byHost(now), user, key), field.name)
			requireNoUser(t, store, user.ID)
			requireNoKey(t, store, key.ID)

			user.IsSuperUser = true
			requireInvalidField(t, store.Bootstrap(t.Context(), byHost(now), user, key), field.name)
			requireNoUser(t, store, user.ID)
			requireNoKey(t, store, key.ID)
		}
	}
}

func invalidKey(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, field := range keyFields {
		for _, bad := range field.badValues() {
			key := newKey(a.user)
			*field.of(&key) = bad
			requireInvalidField(t, store.AddKey(t.Context(), byHost(now), key), field.name)
			requireNoKey(t, store, key.ID)
			a.requireUnchanged(t, store)
		}
	}
}

func invalidFirstKey(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for _, field := range keyFields {
		for _, bad := range field.badValues() {
			key := newKey(a.user)
			*field.of(&key) = bad
			_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, disable, key)
			requireInvalidField(t, err, field.name)
			requireNoKey(t, store, key.ID)
			a.requireUnchanged(t, store)

			user := newSuperUser()
			key = newKey(user)
			*field.of(&key) = bad
			requireInvalidField(t, store.Register(t.Context(), byHost(now), user, key), field.name)
			requireInvalidField(t, store.Bootstrap(t.Context(), byHost(now), user, key), field.name)
			requireNoUser(t, store, user.ID)
			requireNoKey(t, store, key.ID)
		}
	}
}

func invalidHash(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, bad := range hashField.badValues() {
		requireInvalidField(t, store.SwapHash(t.Context(), a.key.ID, a.key.Hash, bad), "hash")
		_, err := store.RotateKey(t.Context(), byHost(now), a.key.ID, rotation(bad))
		requireInvalidField(t, err, "hash")
		a.requireUnchanged(t, store)
	}
}

func invalidSession(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, field := range sessionFields {
		for _, bad := range field.badValues() {
			session := newSession(a.key)
			session.CreatedAt = refusedAt
			*field.of(&session) = bad
			_, _, err := store.CreateSession(t.Context(), session, 0)
			requireInvalidField(t, err, field.name)
			requireNoSession(t, store, session.ID)
			a.requireUnchanged(t, store)
		}
	}
}

func impossibleIDs(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, tail := range []string{"\x00", "\x00tail", "\xff", "\xed\xa0\x80", "\n", "\u202e",
		fill("", "x", 10_000)} {
		requireNothing(t, store, tail)
		// A store that truncated the ID or ignored its tail would find a record.
		requireNothing(t, store, a.user.ID+tail)
		requireNothing(t, store, a.key.ID+tail)
		requireNothing(t, store, a.session.ID+tail)
	}
	requireNothing(t, store, "")
	a.requireUnchanged(t, store)
}

// requireNothing fails the test unless each method that takes an ID returns ErrNotFound.
func requireNothing(t *testing.T, store auth.AccountStore, id string) {
	t.Helper()
	ctx := t.Context()
	requireNoUser(t, store, id)
	requireNoKey(t, store, id)
	requireNoSession(t, store, id)
	require.ErrorIsf(t, store.SwapHash(ctx, id, "old", "new"), auth.ErrNotFound, "%.80q", id)
	require.ErrorIsf(t, store.RevokeKey(ctx, byHost(now), id), auth.ErrNotFound, "%.80q", id)
	require.ErrorIsf(t, store.TouchKey(ctx, id, now), auth.ErrNotFound, "%.80q", id)
	_, err := store.RotateKey(ctx, byHost(now), id, rotation("new"))
	require.ErrorIsf(t, err, auth.ErrNotFound, "%.80q", id)
	_, err = store.SetKeyScopes(ctx, byHost(now), id, nil)
	require.ErrorIsf(t, err, auth.ErrNotFound, "%.80q", id)
	keys, err := store.ListKeys(ctx, id)
	require.NoErrorf(t, err, "%.80q", id)
	require.Emptyf(t, keys, "%.80q", id)
	sessions, err := store.ListSessions(ctx, id, now)
	require.NoErrorf(t, err, "%.80q", id)
	require.Emptyf(t, sessions, "%.80q", id)
	require.ErrorIsf(t, store.RevokeSession(ctx, byHost(now), id), auth.ErrNotFound, "%.80q", id)
	n, err := store.RevokeUserSessions(ctx, byHost(now), id)
	require.Zero(t, n)
	users := usersOf(store)
	// In a store without users, every ID belongs to a user.
	if users == nil {
		require.Truef(t, err == nil || errors.Is(err, auth.ErrNotFound), "%.80q: %v", id, err)
		return
	}
	require.ErrorIsf(t, err, auth.ErrNotFound, "%.80q", id)
	_, err = users.UpdateUser(ctx, byHost(now), id, disable)
	require.ErrorIsf(t, err, auth.ErrNotFound, "%.80q", id)
	_, err = users.DeleteUser(ctx, byHost(now), id)
	require.ErrorIsf(t, err, auth.ErrNotFound, "%.80q", id)

	// The user ID of the key is invalid, too. So two errors are correct.
	_, _, err = users.ResetUser(ctx, byHost(now), id, disable, newKey(auth.User{ID: id}))
	if !isOneOf(err, auth.ErrNotFound, auth.ErrInvalid) {
		require.Failf(t, "the reset of an impossible user", "%.80q: %v", id, err)
	}
}
