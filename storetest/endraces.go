package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// racingChanges makes three changes of a user at the same time, and tests that all three take
// effect. A store that reads the user, changes one field, and writes all fields back would undo a
// concurrent change.
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
				_, err := store.UpdateUser(t.Context(), byHost(now), user.ID, promote)
				return err
			default:
				_, err := store.UpdateUser(t.Context(), byHost(now), user.ID, enable)
				return err
			}
		})
		require.NoError(t, errors.Join(errs...))
		user = changed(user, promote)
		user.LastLogin = session.CreatedAt
		requireUser(t, store, user)
	}
}

// sessionEnd is a call that revokes sessions of an account. Other calls create sessions of that
// account at the same time.
type sessionEnd[S any] struct {
	name    string
	host    bool    // whether the call also revokes sessions that no key opened
	refused []error // errors that CreateSession may return after the call
	end     func(ctx context.Context, store S, a account) error
}

// keyEnd is the sessionEnd that is possible in every store.
var keyEnd = sessionEnd[auth.AccountStore]{"revoking the key", false, []error{auth.ErrNotFound},
	func(ctx context.Context, store auth.AccountStore, a account) error {
		return store.RevokeKey(ctx, byHost(now), a.key.ID)
	}}

// userEnds contains the calls that are possible only in a store with users.
var userEnds = []sessionEnd[auth.UserStore]{
	{"disabling the user", true, []error{auth.ErrUserDisabled},
		func(ctx context.Context, users auth.UserStore, a account) error {
			_, err := users.UpdateUser(ctx, byHost(now), a.user.ID, disable)
			return err
		}},
	{"resetting the user", false, []error{auth.ErrNotFound},
		func(ctx context.Context, users auth.UserStore, a account) error {
			_, _, err := users.ResetUser(ctx, byHost(now), a.user.ID, auth.UserChange{}, newKey(a.user))
			return err
		}},
	{"resetting and disabling the user", true, []error{auth.ErrNotFound, auth.ErrUserDisabled},
		func(ctx context.Context, users auth.UserStore, a account) error {
			_, _, err := users.ResetUser(ctx, byHost(now), a.user.ID, disable, newKey(a.user))
			return err
		}},
	{"deleting the user", true, []error{auth.ErrNotFound},
		func(ctx context.Context, users auth.UserStore, a account) error {
			_, err := users.DeleteUser(ctx, byHost(now), a.user.ID)
			return err
		}},
}

// endsOf returns the sessionEnds that are possible in the store.
func endsOf(store auth.AccountStore) []sessionEnd[auth.AccountStore] {
	all := []sessionEnd[auth.AccountStore]{keyEnd}
	users := usersOf(store)
	if users == nil {
		return all
	}
	for _, e := range userEnds {
		all = append(all, sessionEnd[auth.AccountStore]{e.name, e.host, e.refused,
			func(ctx context.Context, _ auth.AccountStore, a account) error {
				return e.end(ctx, users, a)
			}})
	}
	return all
}

func sessionsRacingTheirEnd(t *testing.T, store auth.AccountStore) {
	for _, test := range endsOf(store) {
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

// requireNoneOutlasts makes the given call, which revokes sessions of the account, and creates
// sessions of the account at the same time. It fails the test if a session of the account is left
// after all calls have returned.
func requireNoneOutlasts(
	t *testing.T, store auth.AccountStore, a account, host bool, refused []error, end func() error,
) {
	t.Helper()
	sessions := make([]auth.Session, contenders)
	for i := range sessions {
		sessions[i] = newSession(a.key)
		if host && i%2 == 1 {
			sessions[i] = newHostSession(a.user)
		}
	}
	errs := race(contenders, func(i int) error {
		if i == contenders/2 { // the middle call, so that some sessions come before it
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

// resetSeenWhole resets and disables a user in one call, and reads the new key at the same time. A
// reader that finds the key must find the user disabled.
func resetSeenWhole(t *testing.T, store auth.Store) {
	for range rounds(t) {
		user, _ := register(t, store, newUser())
		key := newKey(user)
		reset := make(chan struct{})
		errs := race(2, func(i int) error {
			if i == 0 {
				defer close(reset)
				_, _, err := store.ResetUser(t.Context(), byHost(now), user.ID, disable, key)
				return err
			}
			return watchReset(t.Context(), store, key.ID, reset)
		})
		require.NoError(t, errors.Join(errs...))
	}
}

// watchReset reads the key until the key exists. It returns an error if the owner of the key is
// then active, or if the key does not exist after the reset has ended.
func watchReset(ctx context.Context, store auth.AccountStore, id string, reset <-chan struct{}) error {
	for over := false; ; {
		_, user, err := store.FindKey(ctx, id)
		switch {
		case err == nil && user.IsActive:
			return errors.New("the key exists and its user is not disabled yet")
		case err == nil:
			return nil
		case over || !errors.Is(err, auth.ErrNotFound):
			return err
		}
		select {
		case <-reset:
			over = true // read once more after the reset
		default:
		}
	}
}
