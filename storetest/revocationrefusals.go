package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// refusedEnd is a call that would end sessions of own, or of others, if it were not
// refused. Own is the last super user where the store keeps users.
type refusedEnd struct {
	name    string
	ofUsers bool // is of what only a store with users has
	want    error
	call    func(ctx context.Context, store auth.Store, own, other account) error
}

// reset is a ResetUser that ends the user's sessions.
func reset(ctx context.Context, store auth.Store, userID string, change auth.UserChange, key auth.AccessKey) error {
	_, _, err := store.ResetUser(ctx, userID, change, key)
	return err
}

var refusedEnds = []refusedEnd{
	{"ending no session", false, auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			return store.RevokeSession(ctx, own.key.ID)
		}},
	{"revoking no key", false, auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			return store.RevokeKey(ctx, own.session.ID)
		}},
	{"ending all of nobody", true, auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.RevokeUserSessions(ctx, own.key.ID, now)
			return err
		}},
	{"disabling nobody", true, auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.UpdateUser(ctx, own.key.ID, disable)
			return err
		}},
	{"disabling the last super user", true, auth.ErrLastSuperUser,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.UpdateUser(ctx, own.user.ID, disable)
			return err
		}},
	{"resetting nobody", true, auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, _, _ account) error {
			nobody := newUser()
			return reset(ctx, store, nobody.ID, enable, newKey(nobody))
		}},
	{"resetting the last super user away", true, auth.ErrLastSuperUser,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			return reset(ctx, store, own.user.ID, demote, newKey(own.user))
		}},
	{"resetting with a key that is taken", true, auth.ErrExists,
		func(ctx context.Context, store auth.Store, own, other account) error {
			key := newKey(other.user)
			key.ID = own.key.ID
			return reset(ctx, store, other.user.ID, disable, key)
		}},
	{"resetting with the user's old key", true, auth.ErrExists,
		func(ctx context.Context, store auth.Store, _, other account) error {
			return reset(ctx, store, other.user.ID, enable, other.key)
		}},
	{"resetting with another's key", true, auth.ErrInvalid,
		func(ctx context.Context, store auth.Store, own, other account) error {
			return reset(ctx, store, other.user.ID, disable, newKey(own.user))
		}},
	{"deleting nobody", true, auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.DeleteUser(ctx, own.key.ID)
			return err
		}},
	{"deleting the last super user", true, auth.ErrLastSuperUser,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, err := store.DeleteUser(ctx, own.user.ID)
			return err
		}},
	{"creating a session that is there", false, auth.ErrExists,
		func(ctx context.Context, store auth.Store, own, _ account) error {
			_, _, err := store.CreateSession(ctx, own.session, 0)
			return err
		}},
	{"creating a session with another's key", false, auth.ErrNotFound,
		func(ctx context.Context, store auth.Store, own, other account) error {
			session := newSession(own.key)
			session.UserID = other.user.ID
			_, _, err := store.CreateSession(ctx, session, 0)
			return err
		}},
}

// refusedAddNothing calls each twice: with what the answer is for, and with a context
// that is done. It finds a store that adds to the feed before it has looked at all.
func refusedAddNothing(t *testing.T, store auth.Store) {
	own, other := newAccountOf(t, store, newSuperUser()), newAccount(t, store)
	feed := endSeveral(t, store, 2)
	for _, test := range refusedEnds {
		if test.ofUsers && !store.KeepsUsers() {
			continue
		}
		require.ErrorIs(t, test.call(t.Context(), store, own, other), test.want, test.name)
		require.Equal(t, feed, readFeed(t, store), test.name)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range methods {
		require.ErrorIs(t, call(done, store, other, newDraft()), context.Canceled, name)
	}
	own.requireUnchanged(t, store)
	other.requireUnchanged(t, store)
	require.Equal(t, feed, readFeed(t, store), "a call whose context is done")
}
