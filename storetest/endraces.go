package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// racingChanges finds a store that reads a user, changes the copy, and writes
// all of it back.
func racingChanges(t *testing.T, store auth.Store) {
	for range rounds(t) {
		user, key := register(t, store, newUser())
		session := newSession(key)
		errs := race(3, func(i int) error {
			switch i {
			case 0:
				_, _, err := store.CreateSession(t.Context(), session, 0)
				return err
			case 1:
				_, err := store.UpdateUser(t.Context(), user.ID, promote)
				return err
			default:
				_, err := store.UpdateUser(t.Context(), user.ID, enable)
				return err
			}
		})
		require.NoError(t, errors.Join(errs...))
		user = changed(user, promote)
		user.LastLogin = session.CreatedAt
		requireUser(t, store, user)
	}
}

// ends are the verbs that end sessions which may be about to be created.
var ends = []struct {
	name    string
	ofUsers bool    // is a verb that only a store with users has
	host    bool    // ends sessions that no key opened too
	refused []error // what a session meets that comes too late
	end     func(ctx context.Context, store auth.Store, a account) error
}{
	{"disabling the user", true, true, []error{auth.ErrUserDisabled},
		func(ctx context.Context, store auth.Store, a account) error {
			_, err := store.UpdateUser(ctx, a.user.ID, disable)
			return err
		}},
	{"resetting the user", true, false, []error{auth.ErrNotFound},
		func(ctx context.Context, store auth.Store, a account) error {
			_, _, err := store.ResetUser(ctx, a.user.ID, auth.UserChange{}, newKey(a.user))
			return err
		}},
	{"resetting and disabling the user", true, true, []error{auth.ErrNotFound, auth.ErrUserDisabled},
		func(ctx context.Context, store auth.Store, a account) error {
			_, _, err := store.ResetUser(ctx, a.user.ID, disable, newKey(a.user))
			return err
		}},
	{"deleting the user", true, true, []error{auth.ErrNotFound},
		func(ctx context.Context, store auth.Store, a account) error {
			_, err := store.DeleteUser(ctx, a.user.ID)
			return err
		}},
	{"revoking the key", false, false, []error{auth.ErrNotFound},
		func(ctx context.Context, store auth.Store, a account) error {
			return store.RevokeKey(ctx, a.key.ID)
		}},
}

func sessionsRacingTheirEnd(t *testing.T, store auth.Store) {
	for _, test := range ends {
		if test.ofUsers && !store.KeepsUsers() {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			for range rounds(t) {
				a := newAccount(t, store)
				requireNoneOutlasts(t, store, a, test.host, test.refused, func() error {
					return test.end(t.Context(), store, a)
				})
			}
		})
	}
}

// requireNoneOutlasts creates sessions of the account while end is at work, and
// fails the test if one of them is there afterwards.
func requireNoneOutlasts(t *testing.T, store auth.Store, a account, host bool, refused []error, end func() error) {
	t.Helper()
	sessions := make([]auth.Session, contenders)
	for i := range sessions {
		sessions[i] = newSession(a.key)
		if host && i%2 == 1 {
			sessions[i] = newHostSession(a.user)
		}
	}
	errs := race(contenders, func(i int) error {
		if i == contenders/2 { // in the middle, for some sessions to be before it
			return end()
		}
		_, _, err := store.CreateSession(t.Context(), sessions[i], 0)
		if isOneOf(err, refused...) {
			return nil
		}
		return err
	})
	require.NoError(t, errors.Join(errs...))
	requireNoSession(t, store, a.session.ID)
	for _, session := range sessions {
		requireNoSession(t, store, session.ID)
	}
}

// resetSeenWhole reads the key of a reset that also disables its user: whoever
// sees the key sees the user disabled.
func resetSeenWhole(t *testing.T, store auth.Store) {
	for range rounds(t) {
		user, _ := register(t, store, newUser())
		key := newKey(user)
		reset := make(chan struct{})
		errs := race(2, func(i int) error {
			if i == 0 {
				defer close(reset)
				_, _, err := store.ResetUser(t.Context(), user.ID, disable, key)
				return err
			}
			return watchReset(t.Context(), store, key.ID, reset)
		})
		require.NoError(t, errors.Join(errs...))
	}
}

// watchReset reads the key until it is there, and returns an error if its owner
// is active then, or if it is not there after the reset.
func watchReset(ctx context.Context, store auth.Store, id string, reset <-chan struct{}) error {
	for over := false; ; {
		credential, err := store.FindKey(ctx, id)
		switch {
		case err == nil && credential.User.IsActive:
			return errors.New("the key is there and its user is not disabled yet")
		case err == nil:
			return nil
		case over || !errors.Is(err, auth.ErrNotFound):
			return err
		}
		select {
		case <-reset:
			over = true // one more look
		default:
		}
	}
}
