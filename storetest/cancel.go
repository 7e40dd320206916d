package storetest

import (
	"context"
	"errors"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

var cancelPromises = []promise[auth.AccountStore]{
	{"a call whose context is done changes nothing", canceledBefore},
	{"a call whose context is done returns that error before any other", canceledFirst},
	{"a call whose context ends during the call does everything or nothing", canceledDuring},
}

// method calls one method of the store. The parameter own contains stored records, which the call
// can read or change. The parameter draft contains records that are not stored, which the call can
// add.
type method[S any] = func(ctx context.Context, store S, own, draft account) error

// methodsOf returns one call of each method of the store, except the GitHub methods.
func methodsOf(store auth.AccountStore) map[string]method[auth.AccountStore] {
	return withUserMethods(store, accountMethods, userMethods)
}

// withUserMethods returns a copy of the first map. If the store keeps users, the copy also contains
// the entries of the second map.
func withUserMethods[O, D any](
	store auth.AccountStore,
	accounts map[string]func(ctx context.Context, store auth.AccountStore, own O, draft D) error,
	users map[string]func(ctx context.Context, users auth.UserStore, own O, draft D) error,
) map[string]func(ctx context.Context, store auth.AccountStore, own O, draft D) error {
	all := maps.Clone(accounts)
	if usersOf(store) == nil {
		return all
	}
	for name, call := range users {
		all[name] = func(ctx context.Context, store auth.AccountStore, own O, draft D) error {
			return call(ctx, usersOf(store), own, draft)
		}
	}
	return all
}

var userMethods = map[string]method[auth.UserStore]{
	"Register": func(ctx context.Context, users auth.UserStore, _, draft account) error {
		return users.Register(ctx, byHost(now), draft.user, draft.key)
	},
	"RegisterUsers": func(ctx context.Context, users auth.UserStore, _, draft account) error {
		_, err := users.RegisterUsers(ctx, byHost(now),
			[]auth.UserWithKeys{{User: draft.user, Keys: []auth.AccessKey{draft.key}}})
		return err
	},
	"Bootstrap": func(ctx context.Context, users auth.UserStore, _, draft account) error {
		return users.Bootstrap(ctx, byHost(now), draft.user, draft.key)
	},
	"FindUser": func(ctx context.Context, users auth.UserStore, own, _ account) error {
		_, err := users.FindUser(ctx, own.user.ID)
		return err
	},
	"ListUsers": func(ctx context.Context, users auth.UserStore, own, _ account) error {
		_, err := users.ListUsers(ctx, auth.UserQuery{After: own.user.ID, Limit: 1})
		return err
	},
	"ListRetiredUsernames": func(ctx context.Context, users auth.UserStore, own, _ account) error {
		_, err := users.ListRetiredUsernames(ctx, own.user.ID)
		return err
	},
	"PruneRetiredUsernames": func(ctx context.Context, users auth.UserStore, _, _ account) error {
		_, err := users.PruneRetiredUsernames(ctx, now, 1)
		return err
	},
	"UpdateUser": func(ctx context.Context, users auth.UserStore, own, _ account) error {
		_, err := users.UpdateUser(ctx, byHost(now), own.user.ID, disable)
		return err
	},
	"ResetUser": func(ctx context.Context, users auth.UserStore, own, draft account) error {
		draft.key.UserID = own.user.ID
		_, _, err := users.ResetUser(ctx, byHost(now), own.user.ID, disable, draft.key)
		return err
	},
	"DeleteUser": func(ctx context.Context, users auth.UserStore, own, _ account) error {
		_, err := users.DeleteUser(ctx, byHost(now), own.user.ID)
		return err
	},
}

var accountMethods = map[string]method[auth.AccountStore]{
	"Ping": func(ctx context.Context, store auth.AccountStore, _, _ account) error {
		return store.Ping(ctx)
	},
	"AddKey": func(ctx context.Context, store auth.AccountStore, own, draft account) error {
		draft.key.UserID = own.user.ID
		return store.AddKey(ctx, byHost(now), draft.key)
	},
	"FindKey": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, _, err := store.FindKey(ctx, own.key.ID)
		return err
	},
	"ListKeys": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.ListKeys(ctx, own.user.ID)
		return err
	},
	"ListAllKeys": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.ListAllKeys(ctx, own.key.ID, 1)
		return err
	},
	"RotateKey": func(ctx context.Context, store auth.AccountStore, own, draft account) error {
		_, err := store.RotateKey(ctx, byHost(now), own.key.ID, rotation(draft.key.Hash))
		return err
	},
	"SetKeyScopes": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.SetKeyScopes(ctx, byHost(now), own.key.ID, auth.NewScopes("a"))
		return err
	},
	"TouchKey": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		return store.TouchKey(ctx, own.key.ID, own.key.LastUsedAt.Add(storekit.KeyUsePrecision))
	},
	"ListSessions": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.ListSessions(ctx, own.user.ID, now)
		return err
	},
	"SwapHash": func(ctx context.Context, store auth.AccountStore, own, draft account) error {
		return store.SwapHash(ctx, own.key.ID, own.key.Hash, draft.key.Hash)
	},
	"RevokeKey": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		return store.RevokeKey(ctx, byHost(now), own.key.ID)
	},
	"PruneKeys": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.PruneKeys(ctx, own.key.ExpiresAt, math.MaxInt)
		return err
	},
	"PrunePreviousHashes": func(ctx context.Context, store auth.AccountStore, _, _ account) error {
		_, err := store.PrunePreviousHashes(ctx, earliest, math.MaxInt)
		return err
	},
	"CreateSession": func(ctx context.Context, store auth.AccountStore, own, draft account) error {
		session := newSession(own.key)
		session.ID, session.CreatedAt = draft.session.ID, draft.session.CreatedAt
		_, _, err := store.CreateSession(ctx, session, 0)
		return err
	},
	"FindSession": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.FindSession(ctx, own.session.ID)
		return err
	},
	"RevokeSession": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		return store.RevokeSession(ctx, byHost(now), own.session.ID)
	},
	"RevokeUserSessions": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.RevokeUserSessions(ctx, byHost(now), own.user.ID)
		return err
	},
	"RevokeOtherSessions": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.RevokeOtherSessions(ctx, bySession(own.session, now))
		return err
	},
	"ExtendSession": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, _, err := store.ExtendSession(ctx, bySession(own.session, now), now.Add(2*time.Hour))
		return err
	},
	"PruneSessions": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.PruneSessions(ctx, own.session.ExpiresAt, math.MaxInt)
		return err
	},
	"ListRevocations": func(ctx context.Context, store auth.AccountStore, _, _ account) error {
		_, err := store.ListRevocations(ctx, 0, 1)
		return err
	},
	"PruneRevocations": func(ctx context.Context, store auth.AccountStore, own, _ account) error {
		_, err := store.PruneRevocations(ctx, own.session.CreatedAt.Add(-24*time.Hour), math.MaxInt)
		return err
	},
}

// newDraft returns a new super user with a key and a session. The three records are not stored.
func newDraft() account {
	user := newSuperUser()
	key := newKey(user)
	session := newSession(key)
	session.CreatedAt = now.Add(time.Minute) // no stored account has signed in at this time
	return account{user, key, session}
}

// newExpiring registers a user and returns an account of that user. The key and the session of the
// account expire and can then be pruned.
func newExpiring(t *testing.T, store auth.AccountStore) account {
	t.Helper()
	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, now.Add(time.Hour))
	session, user, err := store.CreateSession(t.Context(), newSession(key), 0)
	require.NoError(t, err)
	return account{user, usedAt(key, session.CreatedAt), session}
}

// doneContexts returns contexts that are done, one for each way in which a context can end.
func doneContexts(t *testing.T) map[string]context.Context {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	caused, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(errors.New("a cause of its own"))
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(1, 0))
	cancelLate()
	return map[string]context.Context{"canceled": canceled, "canceled with a cause": caused,
		"late": late}
}

func canceledBefore(t *testing.T, store auth.AccountStore) {
	for name, call := range methodsOf(store) {
		t.Run(name, func(t *testing.T) {
			own, draft := newExpiring(t, store), newDraft()
			for name, ctx := range doneContexts(t) {
				require.ErrorIs(t, call(ctx, store, own, draft), ctx.Err(), name)
				own.requireUnchanged(t, store)
				requireNoUser(t, store, draft.user.ID)
				requireNoKey(t, store, draft.key.ID)
				requireNoSession(t, store, draft.session.ID)
			}
		})
	}
}

// canceledFirst calls each method with a context that is done and with arguments that the store
// must refuse. The method must return the error of the context.
func canceledFirst(t *testing.T, store auth.AccountStore) {
	for name, call := range methodsOf(store) {
		t.Run(name, func(t *testing.T) {
			for name, ctx := range doneContexts(t) {
				require.ErrorIs(t, call(ctx, store, account{}, account{}), ctx.Err(), name)
				require.ErrorIs(t, call(ctx, store, newDraft(), newDraft()), ctx.Err(), name)
			}
		})
	}
}
