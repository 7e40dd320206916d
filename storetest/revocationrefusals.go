package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// refusedEnd is a call that the store must refuse. If the call succeeded, it would revoke sessions
// of one of the accounts that it gets. If the store keeps users, the first of these accounts
// belongs to the last super user.
type refusedEnd[S any] struct {
	name string
	want error
	call func(ctx context.Context, store S, own, other account) error
}

// reset calls ResetUser and returns only the error.
func reset(
	ctx context.Context, store auth.UserStore, userID string, change auth.UserChange, key auth.AccessKey,
) error {
	_, _, err := store.ResetUser(ctx, byHost(now), userID, change, key)
	return err
}

// refusedEnds contains the calls that every store must refuse.
var refusedEnds = []refusedEnd[auth.AccountStore]{
	{"revoking an unknown session", auth.ErrNotFound,
		func(ctx context.Context, store auth.AccountStore, own, _ account) error {
			return store.RevokeSession(ctx, byHost(now), own.key.ID)
		}},
	{"revoking an unknown key", auth.ErrNotFound,
		func(ctx context.Context, store auth.AccountStore, own, _ account) error {
			return store.RevokeKey(ctx, byHost(now), own.session.ID)
		}},
	{"creating an existing session", auth.ErrExists,
		func(ctx context.Context, store auth.AccountStore, own, _ account) error {
			_, _, err := store.CreateSession(ctx, own.session, 0)
			return err
		}},
	{"creating a session with another user's key", auth.ErrNotFound,
		func(ctx context.Context, store auth.AccountStore, own, other account) error {
			session := newSession(own.key)
			session.UserID = other.user.ID
			_, _, err := store.CreateSession(ctx, session, 0)
			return err
		}},
}

// refusedEndsOfUsers contains the calls that a store with users must refuse.
var refusedEndsOfUsers = []refusedEnd[auth.Store]{
	{"disabling an unknown user", auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.UpdateUser(ctx, byHost(now), own.key.ID, disable)
			return err
		}},
	{"disabling the last super user", auth.ErrLastSuperUser,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.UpdateUser(ctx, byHost(now), own.user.ID, disable)
			return err
		}},
	{"resetting an unknown user", auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, _, _ account) error {
			nobody := newUser()
			return reset(ctx, store, nobody.ID, enable, newKey(nobody))
		}},
	{"demoting the last super user by a reset", auth.ErrLastSuperUser,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			return reset(ctx, store, own.user.ID, demote, newKey(own.user))
		}},
	{"resetting with a key that is taken", auth.ErrExists,
		func(ctx context.Context, store auth.Store, own, other account) error {
			key := newKey(other.user)
			key.ID = own.key.ID
			return reset(ctx, store, other.user.ID, disable, key)
		}},
	{"resetting with the user's old key", auth.ErrExists,
		func(ctx context.Context, store auth.Store, _, other account) error {
			return reset(ctx, store, other.user.ID, enable, other.key)
		}},
	{"resetting with another user's key", auth.ErrInvalid,
		func(ctx context.Context, store auth.Store, own, other account) error {
			return reset(ctx, store, other.user.ID, disable, newKey(own.user))
		}},
	{"deleting an unknown user", auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.DeleteUser(ctx, byHost(now), own.key.ID)
			return err
		}},
	{"deleting the last super user", auth.ErrLastSuperUser,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.DeleteUser(ctx, byHost(now), own.user.ID)
			return err
		}},
	{"revoking all sessions of an unknown user", auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.RevokeUserSessions(ctx, byHost(now), own.key.ID)
			return err
		}},
}

// refusedAddNothing tests that a refused call adds no entries to the feed. The same holds for a
// call whose context is done.
func refusedAddNothing(t *testing.T, store auth.AccountStore) {
	own, other := newAccountOf(t, store, newSuperUser()), newAccount(t, store)
	feed := endSeveral(t, store, 2)
	for _, test := range refusedEnds {
		require.ErrorIs(t, test.call(t.Context(), store, own, other), test.want, test.name)
		require.Equal(t, feed, readFeed(t, store), test.name)
	}
	if whole, ok := store.(auth.Store); ok {
		for _, test := range refusedEndsOfUsers {
			require.ErrorIs(t, test.call(t.Context(), whole, own, other), test.want, test.name)
			require.Equal(t, feed, readFeed(t, store), test.name)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range methodsOf(store) {
		require.ErrorIs(t, call(done, store, other, newDraft()), context.Canceled, name)
	}
	own.requireUnchanged(t, store)
	other.requireUnchanged(t, store)
	require.Equal(t, feed, readFeed(t, store), "a call whose context is done")
}
