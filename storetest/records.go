package storetest

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// now is the time at which the suite creates its records. It is not the current time, because a
// store must not use a clock of its own.
var now = time.Date(2031, time.February, 3, 4, 5, 6, 789012000, time.UTC)

// unique returns a text that begins with the given text and that no other test uses.
func unique(what string) string { return what + "-" + rand.Text() }

// newUser returns a new active user who is not a super user. The user is not stored.
func newUser() auth.User {
	return auth.User{
		ID:        unique("user"),
		Username:  unique("Name"),
		Email:     unique("Mail") + "@example.com",
		IsActive:  true,
		CreatedAt: now.Add(-time.Hour),
	}
}

// newSuperUser returns a new active super user, who is not stored.
func newSuperUser() auth.User {
	user := newUser()
	user.IsSuperUser = true
	return user
}

// newService returns a new active service user with two audiences, who is not stored.
func newService() auth.User {
	user := newUser()
	user.IsService, user.CreatedBy = true, unique("creator")
	user.Audiences = "billing https://reports.example.com"
	return user
}

// usersOfEveryKind returns new users: for each combination of IsActive and IsSuperUser, a person and a
// service user.
func usersOfEveryKind() []auth.User { return append(personsOfEveryKind(), ofEveryKind(newService)...) }

// personsOfEveryKind returns a new person for each combination of IsActive and IsSuperUser.
func personsOfEveryKind() []auth.User { return ofEveryKind(newUser) }

func ofEveryKind(newUser func() auth.User) []auth.User {
	var users []auth.User
	for _, isActive := range []bool{true, false} {
		for _, isSuperUser := range []bool{true, false} {
			user := newUser()
			user.IsActive, user.IsSuperUser = isActive, isSuperUser
			users = append(users, user)
		}
	}
	return users
}

// newKey returns a new key of the user. The key never expires and is not stored.
func newKey(user auth.User) auth.AccessKey {
	return auth.AccessKey{
		ID:        unique("key"),
		UserID:    user.ID,
		Hash:      unique("hash"),
		Label:     "the laptop",
		CreatedAt: now.Add(-time.Hour),
	}
}

// newSession returns a new session that the key opens. The session lasts one hour and is not
// stored.
func newSession(key auth.AccessKey) auth.Session {
	return auth.Session{
		ID:          unique("session"),
		UserID:      key.UserID,
		Method:      auth.MethodAccessKey,
		AccessKeyID: key.ID,
		CreatedAt:   now,
		ExpiresAt:   now.Add(time.Hour),
	}
}

// newHostSession returns a new session that the host opens without a key. The session lasts one
// hour and is not stored.
func newHostSession(user auth.User) auth.Session {
	return auth.Session{
		ID:        unique("session"),
		UserID:    user.ID,
		Method:    auth.MethodHost,
		CreatedAt: now,
		ExpiresAt: now.Add(time.Hour),
	}
}

// register adds the user and a new key to the store.
func register(t *testing.T, store auth.AccountStore, user auth.User) (auth.User, auth.AccessKey) {
	t.Helper()
	key := newKey(user)
	return registerWith(t, store, user, key), key
}

// registerWith adds the user and the key to the store. If the store keeps no users, registerWith
// adds only the key. It returns the user in the form in which the store returns users: see
// [asReturned].
func registerWith(t *testing.T, store auth.AccountStore, user auth.User, key auth.AccessKey) auth.User {
	t.Helper()
	if users := usersOf(store); users != nil {
		require.NoError(t, users.Register(t.Context(), byHost(now), user, key))
	} else {
		require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	}
	return asReturned(store, user)
}

// asReturned returns the user in the form in which the store returns users. A store without users
// returns only the ID.
func asReturned(store auth.AccountStore, user auth.User) auth.User {
	if usersOf(store) == nil {
		return auth.User{ID: user.ID}
	}
	return user
}

// addKey adds a new key of the user to the store. The key expires at the given time.
func addKey(t *testing.T, store auth.AccountStore, user auth.User, expires time.Time) auth.AccessKey {
	t.Helper()
	key := newKey(user)
	key.ExpiresAt = expires
	require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	return key
}

// openSession adds the session to the store and returns the stored session.
func openSession(t *testing.T, store auth.AccountStore, session auth.Session) auth.Session {
	t.Helper()
	session, _, err := store.CreateSession(t.Context(), session, 0)
	require.NoError(t, err)
	return session
}

// account is a stored user with a key and a session that the key opened.
type account struct {
	user    auth.User
	key     auth.AccessKey
	session auth.Session
}

// newAccount registers a new user and opens a session with the user's key.
func newAccount(t *testing.T, store auth.AccountStore) account {
	t.Helper()
	return newAccountOf(t, store, newUser())
}

// newAccountOf registers the given user and opens a session with the user's key.
func newAccountOf(t *testing.T, store auth.AccountStore, user auth.User) account {
	t.Helper()
	_, key := register(t, store, user)
	session, user, err := store.CreateSession(t.Context(), newSession(key), 0)
	require.NoError(t, err)
	return account{user, usedAt(key, session.CreatedAt), session}
}

// signIn adds another key to a stored user and opens a session with that key.
func signIn(t *testing.T, store auth.AccountStore, user auth.User) account {
	t.Helper()
	key := addKey(t, store, user, time.Time{})
	session, user, err := store.CreateSession(t.Context(), newSession(key), 0)
	require.NoError(t, err)
	return account{user, usedAt(key, session.CreatedAt), session}
}

// usedAt returns the key after a sign-in at the given time.
func usedAt(key auth.AccessKey, at time.Time) auth.AccessKey {
	key.LastUsedAt = at
	return key
}

// rotation returns a rotation to the given hash, with an overlap of one hour.
func rotation(hash string) auth.KeyRotation {
	return auth.KeyRotation{Hash: hash, Overlap: time.Hour}
}

// requireUnchanged fails the test unless all records of the account are unchanged.
func (a account) requireUnchanged(t *testing.T, store auth.AccountStore) {
	t.Helper()
	requireUser(t, store, a.user)
	requireKey(t, store, a.key)
	requireSession(t, store, a.session)
}

// If the store keeps no users, requireUser and requireNoUser test nothing. So the promises about
// every store can call them.

func requireUser(t *testing.T, store auth.AccountStore, want auth.User) {
	t.Helper()
	users := usersOf(store)
	if users == nil {
		return
	}
	got, err := users.FindUser(t.Context(), want.ID)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func requireKey(t *testing.T, store auth.AccountStore, want auth.AccessKey) {
	t.Helper()
	got, _, err := store.FindKey(t.Context(), want.ID)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// requireKeyOf fails the test unless the store returns the wanted key and the wanted owner of the
// key.
func requireKeyOf(t *testing.T, store auth.AccountStore, want auth.AccessKey, owner auth.User) {
	t.Helper()
	got, user, err := store.FindKey(t.Context(), want.ID)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, owner, user)
}

func requireSession(t *testing.T, store auth.AccountStore, want auth.Session) {
	t.Helper()
	got, err := store.FindSession(t.Context(), want.ID)
	require.NoError(t, err)
	requireSameSession(t, want, got)
}

// requireSameSession fails the test unless all fields of the two sessions are equal. If the wanted
// session has a zero Generation, requireSameSession does not compare the Generations. The store
// chooses the Generation, and the value depends on other tests that use the same store.
func requireSameSession(t *testing.T, want, got auth.Session) {
	t.Helper()
	if want.Generation == 0 {
		want.Generation = got.Generation
	}
	require.Equal(t, want, got)
	require.GreaterOrEqual(t, got.Generation, int64(0))
}

func requireNoUser(t *testing.T, store auth.AccountStore, id string) {
	t.Helper()
	users := usersOf(store)
	if users == nil {
		return
	}
	_, err := users.FindUser(t.Context(), id)
	require.ErrorIs(t, err, auth.ErrNotFound, "user %q exists", id)
}

func requireNoKey(t *testing.T, store auth.AccountStore, id string) {
	t.Helper()
	_, _, err := store.FindKey(t.Context(), id)
	require.ErrorIs(t, err, auth.ErrNotFound, "key %q exists", id)
}

func requireNoSession(t *testing.T, store auth.AccountStore, id string) {
	t.Helper()
	_, err := store.FindSession(t.Context(), id)
	require.ErrorIs(t, err, auth.ErrNotFound, "session %q exists", id)
}

// hasUser, hasKey and hasSession report whether the store has the record. They fail the test if the
// store returns an error other than ErrNotFound.

func hasUser(t *testing.T, store auth.UserStore, id string) bool {
	t.Helper()
	_, err := store.FindUser(t.Context(), id)
	return wasFound(t, err)
}

func hasKey(t *testing.T, store auth.AccountStore, id string) bool {
	t.Helper()
	_, _, err := store.FindKey(t.Context(), id)
	return wasFound(t, err)
}

func hasSession(t *testing.T, store auth.AccountStore, id string) bool {
	t.Helper()
	_, err := store.FindSession(t.Context(), id)
	return wasFound(t, err)
}

func wasFound(t *testing.T, err error) bool {
	t.Helper()
	if errors.Is(err, auth.ErrNotFound) {
		return false
	}
	require.NoError(t, err)
	return true
}
