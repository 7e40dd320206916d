package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// mustRotatePromises are about keys that must be rotated.
var mustRotatePromises = []promise[auth.AccountStore]{
	{"a key must be rotated until it is, whatever else of it changes", mustRotateKept},
	{"a key that must be rotated opens only sessions that can rotate it", rotateOnlySessions},
	{"the rotation of a key that must be rotated revokes its sessions, and no others", mustRotateRotated},
	{"a key that must be rotated is rotated only by its own sessions, and by the host", othersCannotRotate},
	{"a session that can rotate its key changes nothing else", rotateOnlyChangesNothing},
	{"a key that must be rotated has no overlap", mustRotateWithoutOverlap},
	{"no key has the scope for the rotation", noKeyHasRotate},
	{"of many concurrent rotations of a key that must be rotated, one succeeds", racingRequiredRotations},
	{"a sign-in waits for a running rotation", signInWaitsForRotation},
}

var mustRotatePromisesOfUsers = []promise[auth.Store]{
	{"the first key of a new user must be rotated if it says so", firstKeyMustRotate},
}

var rotateOnly = auth.NewScopes(auth.ScopeRotate)

// addMustRotate adds a new key that must be rotated.
func addMustRotate(
	t *testing.T, store auth.AccountStore, user auth.User, scopes *auth.ScopeSet,
) auth.AccessKey {
	t.Helper()
	key := newLimitedKey(user, scopes)
	key.MustRotate = true
	require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	return key
}

// rotateNow returns a rotation without an overlap.
func rotateNow() auth.KeyRotation { return auth.KeyRotation{Hash: unique("hash")} }

// byRotateOnly returns a write by a session that can only rotate its key.
func byRotateOnly(session auth.Session) auth.Write {
	write := bySession(session, now)
	write.By.Scope = auth.ScopeRotate
	return write
}

func mustRotateKept(t *testing.T, store auth.AccountStore) {
	for _, test := range scopeSets {
		user, _ := register(t, store, newUser())
		key := addMustRotate(t, store, user, test.set)
		requireKeyRead(t, store, key)
		key = setScopes(t, store, key, auth.NewScopes("a"))
		requireKeyRead(t, store, key)
		key = setScopes(t, store, key, test.set)

		hash := unique("hash")
		require.NoError(t, store.SwapHash(t.Context(), key.ID, key.Hash, hash))
		key.Hash = hash
		requireKeyRead(t, store, key)
		session := openSession(t, store, newSession(key))
		key = usedAt(key, session.CreatedAt)
		requireKeyRead(t, store, key)

		r := rotateNow()
		got, err := store.RotateKey(t.Context(), byHost(now), key.ID, r)
		require.NoError(t, err)
		key.Hash, key.MustRotate = r.Hash, false
		require.Equal(t, key, got)
		requireKeyRead(t, store, key)
		require.Equal(t, test.set, openSession(t, store, newSession(key)).Scopes)
	}
}

func rotateOnlySessions(t *testing.T, store auth.AccountStore) {
	for _, test := range scopeSets {
		a := newAccount(t, store)
		key := addMustRotate(t, store, a.user, test.set)
		for _, limit := range []int{0, 3} {
			for _, asked := range []*auth.ScopeSet{nil, rotateOnly} {
				want := newSession(key)
				want.Scopes = asked
				got, _, err := store.CreateSession(t.Context(), want, limit)
				require.NoError(t, err)
				want.Scopes = rotateOnly
				requireSameSession(t, want, got)
				requireSessionRead(t, store, got)
			}
		}
		for _, asked := range []*auth.ScopeSet{
			auth.NewScopes(), within, auth.NewScopes(auth.ScopeRotate, "a:read"), auth.NewScopes(auth.ScopeKeys),
		} {
			session := newSession(key)
			session.Scopes = asked
			_, _, err := store.CreateSession(t.Context(), session, 0)
			require.ErrorIs(t, err, auth.ErrInsufficientScope)
			requireNoSession(t, store, session.ID)
		}
	}
}

func mustRotateRotated(t *testing.T, store auth.AccountStore) {
	for _, byTheHost := range []bool{false, true} {
		a, other := newAccount(t, store), newAccount(t, store)
		key := addMustRotate(t, store, a.user, nil)
		second := addMustRotate(t, store, a.user, nil)
		acting, beside := openSession(t, store, newSession(key)), openSession(t, store, newSession(key))
		unrelated := openSession(t, store, newSession(second))
		write := withEvent(byRotateOnly(acting))
		if byTheHost {
			write = withEvent(byHost(now))
		}
		r := rotateNow()
		got, err := store.RotateKey(t.Context(), write, key.ID, r)
		require.NoError(t, err)
		require.Equal(t, r.Hash, got.Hash)
		require.Empty(t, got.PreviousHash)
		require.False(t, got.MustRotate)
		if trail, ok := store.(auth.EventStore); ok {
			require.Len(t, eventsOf(t, trail, write), 1)
		}

		feed := entriesOf(t, store, a.user)
		require.Len(t, feed, 2)
		for _, session := range []auth.Session{acting, beside} {
			requireNoSession(t, store, session.ID)
			require.True(t, isDead(feed, session))
		}
		requireSession(t, store, unrelated)
		requireSession(t, store, a.session)
		other.requireUnchanged(t, store)
		requireKey(t, store, usedAt(second, unrelated.CreatedAt))

		// The sessions of the earlier secret can rotate the key no more.
		for _, session := range []auth.Session{acting, beside} {
			_, err = store.RotateKey(t.Context(), byRotateOnly(session), key.ID, rotateNow())
			require.ErrorIs(t, err, auth.ErrTokenRejected)
		}
		requireKey(t, store, got)
		// The next rotation is an ordinary one, and revokes nothing.
		session := openSession(t, store, newSession(got))
		require.Nil(t, session.Scopes)
		_, err = store.RotateKey(t.Context(), bySession(session, now), key.ID, rotation(unique("hash")))
		require.NoError(t, err)
		requireSession(t, store, session)
	}
}

func othersCannotRotate(t *testing.T, store auth.AccountStore) {
	for _, scopes := range []*auth.ScopeSet{nil, within, auth.NewScopes()} {
		t.Run(fmt.Sprint(scopes), func(t *testing.T) {
			a, admin := newAccount(t, store), newActor(t, store)
			key := addMustRotate(t, store, a.user, scopes)
			own := openSession(t, store, newSession(key))
			key = usedAt(key, own.CreatedAt)
			second := openSession(t, store, newSession(addMustRotate(t, store, a.user, scopes)))
			limited := openScoped(t, store, a, auth.NewScopes("a:read", auth.ScopeKeys))
			foreign := openSession(t, store, newSession(addMustRotate(t, store, admin.user, nil)))
			host := newHostSession(a.user)
			host.Scopes = rotateOnly
			host = openSession(t, store, host)
			writes := map[string]auth.Write{
				"an unlimited session of the user": bySession(a.session, now),
				"a session with the scope":         byRotateOnly(a.session),
				"a limited session of the user":    bySession(limited, now),
				"a session of a second key":        byRotateOnly(second),
				"a session without a key":          byRotateOnly(host),
				"a super user":                     bySuperUser(admin.session, now),
			}
			for name, write := range writes {
				_, err := store.RotateKey(t.Context(), withEvent(write), key.ID, rotateNow())
				requireInsufficient(t, err, auth.ScopeRotate)
				requireKey(t, store, key)
				requireSession(t, store, own)
				require.Empty(t, entriesOf(t, store, a.user), name)
			}
			_, err := store.RotateKey(t.Context(), byRotateOnly(foreign), key.ID, rotateNow())
			require.ErrorIs(t, err, auth.ErrNotFound)
			_, err = store.RotateKey(t.Context(), byRotateOnly(own), key.ID, rotateNow())
			require.NoError(t, err)
		})
	}
}

// rotateOnlyChangesNothing changes other keys with a session that can only rotate its own key.
func rotateOnlyChangesNothing(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	session := openSession(t, store, newSession(addMustRotate(t, store, a.user, nil)))
	for _, scopes := range []*auth.ScopeSet{nil, within, auth.NewScopes()} {
		key := addLimitedKey(t, store, a.user, scopes)
		_, err := store.RotateKey(t.Context(), byRotateOnly(session), key.ID, rotateNow())
		requireInsufficient(t, err, auth.ScopeRotate)
		requireKey(t, store, key)
	}
	// The methods of package auth require the scope of each change, which such a session lacks.
	write := bySession(session, now)
	write.By.Scope = auth.ScopeKeys
	requireInsufficient(t, store.AddKey(t.Context(), write, newLimitedKey(a.user, auth.NewScopes())),
		auth.ScopeKeys)
	requireInsufficient(t, store.RevokeKey(t.Context(), write, session.AccessKeyID), auth.ScopeKeys)
	write.By.Scope = "" // as in a transaction of the host
	requireInsufficient(t, store.AddKey(t.Context(), write, newLimitedKey(a.user, auth.NewScopes())),
		auth.ScopeRotate)
	requireInsufficient(t, store.RevokeKey(t.Context(), write, session.AccessKeyID), auth.ScopeRotate)
}

func mustRotateWithoutOverlap(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	key := addMustRotate(t, store, user, nil)
	session := openSession(t, store, newSession(key))
	for _, write := range []auth.Write{byRotateOnly(session), byHost(now)} {
		for _, overlap := range []time.Duration{time.Microsecond, time.Hour} {
			_, err := store.RotateKey(t.Context(), write, key.ID,
				auth.KeyRotation{Hash: unique("hash"), Overlap: overlap})
			requireInvalidField(t, err, "overlap_seconds")
		}
	}
	requireKey(t, store, usedAt(key, session.CreatedAt))
	requireSession(t, store, session)
	require.Empty(t, entriesOf(t, store, user))
}

func noKeyHasRotate(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, scopes := range []*auth.ScopeSet{rotateOnly, auth.NewScopes("a", auth.ScopeRotate, "z")} {
		key := newLimitedKey(a.user, scopes)
		requireInvalidField(t, store.AddKey(t.Context(), byHost(now), key), "scopes")
		requireNoKey(t, store, key.ID)
		_, err := store.SetKeyScopes(t.Context(), byHost(now), a.key.ID, scopes)
		requireInvalidField(t, err, "scopes")
	}
	a.requireUnchanged(t, store)
}

// racingRequiredRotations rotates a key with many of its sessions at the same time.
func racingRequiredRotations(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		user, _ := register(t, store, newUser())
		key := addMustRotate(t, store, user, nil)
		writes, rotations := make([]auth.Write, contenders), make([]auth.KeyRotation, contenders)
		for i := range writes {
			writes[i] = byRotateOnly(openSession(t, store, newSession(key)))
			rotations[i] = rotateNow()
		}
		errs := race(contenders, func(i int) error {
			_, err := store.RotateKey(t.Context(), writes[i], key.ID, rotations[i])
			return err
		})
		winner := requireOneWinner(t, errs, auth.ErrTokenRejected)
		got, _, err := store.FindKey(t.Context(), key.ID)
		require.NoError(t, err)
		require.Equal(t, rotations[winner].Hash, got.Hash)
		require.False(t, got.MustRotate)
		live, err := store.ListSessions(t.Context(), user.ID, now)
		require.NoError(t, err)
		require.Empty(t, live)
	}
}

// signInWaitsForRotation signs in while RotateKey holds its locks. The sign-in asks for the scope for the
// rotation, as [auth.Service.Login] does if the secret had to be replaced.
func signInWaitsForRotation(t *testing.T, store auth.AccountStore) {
	grace := graceOf(t, store)
	for _, scopes := range []*auth.ScopeSet{nil, within} {
		user, _ := register(t, store, newUser())
		key := addMustRotate(t, store, user, scopes)
		acting, session := openSession(t, store, newSession(key)), newSession(key)
		session.Scopes = rotateOnly
		h := callBehind(t, t.Context(), grace, now,
			func(ctx context.Context, hold func(auth.Write) auth.Write) error {
				_, err := store.RotateKey(ctx, hold(byRotateOnly(acting)), key.ID, rotateNow())
				return err
			},
			func(ctx context.Context) error {
				_, _, err := store.CreateSession(ctx, session, 0)
				return err
			})
		require.NoError(t, h.firstErr)
		if found, err := store.FindSession(t.Context(), session.ID); wasFound(t, err) {
			require.NoError(t, h.secondErr)
			require.Equal(t, rotateOnly, found.Scopes)
			_, err := store.RotateKey(t.Context(), byRotateOnly(found), key.ID, rotateNow())
			requireInsufficient(t, err, auth.ScopeRotate)
		} else if h.secondErr != nil {
			require.ErrorIs(t, h.secondErr, auth.ErrInsufficientScope)
		}
	}
}

func firstKeyMustRotate(t *testing.T, store auth.Store) {
	mustRotate := func(user auth.User) auth.AccessKey {
		key := newKey(user)
		key.MustRotate = true
		return key
	}
	user := newUser()
	key := mustRotate(user)
	require.NoError(t, store.Register(t.Context(), byHost(now), user, key))
	requireKeyRead(t, store, key)

	key = mustRotate(user)
	_, _, err := store.ResetUser(t.Context(), byHost(now), user.ID, auth.UserChange{}, key)
	require.NoError(t, err)
	requireKeyRead(t, store, key)

	var users []auth.UserWithKeys
	for range 5 {
		user := newUser()
		users = append(users, auth.UserWithKeys{User: user,
			Keys: []auth.AccessKey{newKey(user), mustRotate(user)}})
	}
	refusals, err := store.RegisterUsers(t.Context(), byHost(now), users)
	require.NoError(t, errors.Join(append(refusals, err)...))
	for _, user := range users {
		for _, key := range user.Keys {
			requireKeyRead(t, store, key)
		}
	}
}
