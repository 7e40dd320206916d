package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

func signInRacingUnlink(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newUnlinkable(t, store)
		errs := race(contenders, func(i int) error {
			if i == contenders/2 {
				_, _, err := store.UnlinkGitHub(t.Context(), byHost(now), a.user.ID, githubHost)
				return err
			}
			signIn := a.nextSignIn()
			signIn.Token, signIn.TokenVersion = nil, ""
			_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
			if errors.Is(err, auth.ErrGitHubNotAllowed) {
				return nil
			}
			return err
		})
		require.NoError(t, errors.Join(errs...))
		a.requireUnlinked(t, store)
	}
}

// signInEnds contains calls that revoke all sessions of the user. The field refused contains the
// errors that a sign-in after the call may return.
var signInEnds = map[string]struct {
	end     func(ctx context.Context, store auth.Store, a linked) error
	refused []error
	unlinks bool
}{
	"disabling the user": {func(ctx context.Context, store auth.Store, a linked) error {
		_, err := store.UpdateUser(ctx, byHost(now), a.user.ID, disable)
		return err
	}, []error{auth.ErrUserDisabled}, false},
	"resetting the user": {func(ctx context.Context, store auth.Store, a linked) error {
		_, _, err := store.ResetUser(ctx, byHost(now), a.user.ID, auth.UserChange{}, newKey(a.user))
		return err
	}, []error{auth.ErrGitHubNotAllowed}, true},
	"resetting and disabling the user": {func(ctx context.Context, store auth.Store, a linked) error {
		_, _, err := store.ResetUser(ctx, byHost(now), a.user.ID, disable, newKey(a.user))
		return err
	}, []error{auth.ErrGitHubNotAllowed, auth.ErrUserDisabled}, true},
	"deleting the user": {func(ctx context.Context, store auth.Store, a linked) error {
		_, err := store.DeleteUser(ctx, byHost(now), a.user.ID)
		return err
	}, []error{auth.ErrChanged, auth.ErrNotFound}, true},
}

func signInsRacingTheirEnd(t *testing.T, store auth.Store) {
	for name, test := range signInEnds {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				a := newLinked(t, store)
				requireNoSignInOutlasts(t, store, a, test.refused, func() error {
					return test.end(t.Context(), store, a)
				})
				if test.unlinks {
					a.requireUnlinked(t, store)
				}
			}
		})
	}
}

// requireNoSignInOutlasts does the same as requireNoneOutlasts, but creates the sessions by GitHub
// sign-ins.
func requireNoSignInOutlasts(
	t *testing.T, store auth.AccountStore, a linked, refused []error, end func() error,
) {
	t.Helper()
	signIns := make([]auth.GitHubSignInWrite, contenders)
	for i := range signIns {
		signIns[i] = a.nextSignIn()
		signIns[i].Token = nil
	}
	errs := race(contenders, func(i int) error {
		if i == contenders/2 { // the middle call revokes, so that some sign-ins come before it
			return end()
		}
		_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIns[i])
		if isOneOf(err, refused...) {
			return nil
		}
		return err
	})
	require.NoError(t, errors.Join(errs...))
	requireNoSession(t, store, a.session.ID)
	for _, signIn := range signIns {
		requireNoSession(t, store, signIn.Session.ID)
	}
}

// connectEnd is a call that takes the authority from the account's session. After the call, the
// session cannot connect a GitHub account.
type connectEnd[S any] struct {
	end     func(ctx context.Context, store S, a account) error
	unlinks bool // whether the call also removes earlier connections
}

// connectEnds contains the calls that end the session of a sign-in and that every store has.
var connectEnds = map[string]connectEnd[auth.AccountStore]{
	"signing out": {func(ctx context.Context, store auth.AccountStore, a account) error {
		return store.RevokeSession(ctx, byHost(now), a.session.ID)
	}, false},
	"revoking all sessions": {func(ctx context.Context, store auth.AccountStore, a account) error {
		_, err := store.RevokeUserSessions(ctx, byHost(now), a.user.ID)
		return err
	}, false},
	"revoking the key": {func(ctx context.Context, store auth.AccountStore, a account) error {
		return store.RevokeKey(ctx, byHost(now), a.key.ID)
	}, false},
}

// userConnectEnds contains the calls that are possible only in a store with users.
var userConnectEnds = map[string]connectEnd[auth.UserStore]{
	"disabling the user": {func(ctx context.Context, users auth.UserStore, a account) error {
		_, err := users.UpdateUser(ctx, byHost(now), a.user.ID, disable)
		return err
	}, false},
	"resetting the user": {func(ctx context.Context, users auth.UserStore, a account) error {
		_, _, err := users.ResetUser(ctx, byHost(now), a.user.ID, auth.UserChange{}, newKey(a.user))
		return err
	}, true},
	"deleting the user": {func(ctx context.Context, users auth.UserStore, a account) error {
		_, err := users.DeleteUser(ctx, byHost(now), a.user.ID)
		return err
	}, true},
}

func connectRacingItsEnd(t *testing.T, store auth.AccountStore) {
	for name, test := range connectEnds {
		t.Run(name, func(t *testing.T) { requireEndsConnecting(t, store, store, test) })
	}
	if users := usersOf(store); users != nil {
		for name, test := range userConnectEnds {
			t.Run(name, func(t *testing.T) { requireEndsConnecting(t, store, users, test) })
		}
	}
}

// requireEndsConnecting calls test.end and connects accounts at the same time. The parameters store
// and s are the same store. Only the type differs: s has the type that test.end needs.
func requireEndsConnecting[S any](t *testing.T, store auth.AccountStore, s S, test connectEnd[S]) {
	t.Helper()
	for range rounds(t) {
		a := newAccount(t, store)
		requireNoneConnectsLate(t, store, a, test.unlinks, func() error {
			return test.end(t.Context(), s, a)
		})
	}
}

// requireNoneConnectsLate makes the given call, and connects accounts of several GitHub hosts at
// the same time. As soon as the given call has returned, requireNoneConnectsLate reads all
// connections. A connection that does not exist at that time must not appear later.
func requireNoneConnectsLate(
	t *testing.T, store auth.AccountStore, a account, unlinks bool, end func() error,
) {
	t.Helper()
	connects, seen := make([]connecting, contenders), make([]error, contenders)
	for i := range connects {
		account := newGitHubAccount()
		account.Host = unique("host")
		connects[i] = newConnect(a.session, account)
	}
	errs := race(contenders, func(i int) error {
		// the middle call revokes, so that some connections come before it
		if i != contenders/2 {
			return connects[i].call(t.Context(), store)
		}
		err := end()
		for i, c := range connects {
			_, seen[i] = store.FindGitHubLink(t.Context(), c.Link.Account)
		}
		return err
	})
	require.NoError(t, errs[contenders/2])
	for i, c := range connects {
		if i == contenders/2 {
			continue
		}
		if errs[i] != nil {
			require.ErrorIs(t, errs[i], auth.ErrTokenRejected)
		}
		require.Equal(t, errs[i] == nil && !unlinks, wasFound(t, seen[i]))
		require.Equal(t, wasFound(t, seen[i]), hasLink(t, store, c.Link.Account))
	}
}
