package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// refusalPromises need one store each, because they are about the last super user.
var refusalPromises = []promise[auth.AccountStore]{
	{"what a limited session may not grant is refused before anything else", grantsRefusedFirst},
}

// deniedGrant is a call that a store must refuse for two reasons. A limited session may not make it, whatever
// the store contains. A session without a limit gets the error want.
type deniedGrant struct {
	want    error
	users   bool // the call needs a store with users
	prepare func(d denied) writing
}

// denied is what the call of a deniedGrant needs. The account makes the call, and is the only super user.
type denied struct {
	t     *testing.T
	store auth.AccountStore
	a     account
}

// writing is a call of the store with this Write.
type writing = func(ctx context.Context, w auth.Write) error

var deniedGrants = map[string]deniedGrant{
	"AddKey with a taken ID": {auth.ErrExists, false, addingTakenKey},
	"RotateKey during an overlap": {auth.ErrRotating, false, func(d denied) writing {
		_, err := d.store.RotateKey(d.t.Context(), byHost(now), d.a.key.ID, rotation(unique("hash")))
		require.NoError(d.t, err)
		return func(ctx context.Context, w auth.Write) error { return rotateKey(ctx, d.store, w, d.a.key.ID) }
	}},
	"Register with a taken name": {auth.ErrExists, true, func(d denied) writing {
		user := newUser()
		user.Username = d.a.user.Username
		return func(ctx context.Context, w auth.Write) error {
			return usersOf(d.store).Register(ctx, w, user, newKey(user))
		}
	}},
	"Bootstrap of another super user": {auth.ErrBootstrapped, true, func(d denied) writing {
		first, second := newSuperUser(), newSuperUser()
		require.NoError(d.t, usersOf(d.store).Bootstrap(d.t.Context(), byHost(now), first, newKey(first)))
		_, err := usersOf(d.store).DeleteUser(d.t.Context(), byHost(now), first.ID)
		require.NoError(d.t, err)
		return func(ctx context.Context, w auth.Write) error {
			return usersOf(d.store).Bootstrap(ctx, w, second, newKey(second))
		}
	}},
	"UpdateUser that demotes the last super user": {auth.ErrLastSuperUser, true,
		changingSelf(auth.UserChange{IsSuperUser: new(false), Email: new("demoted@example.com")})},
	"UpdateUser that disables the last super user": {auth.ErrLastSuperUser, true,
		changingSelf(auth.UserChange{IsActive: new(false), Username: new("disabled")})},
	"UpdateUser with a taken e-mail": {auth.ErrExists, true, func(d denied) writing {
		return changingSelf(toEmail(newAccount(d.t, d.store).user.Email))(d)
	}},
	"ResetUser that demotes the last super user":  {auth.ErrLastSuperUser, true, resettingSelf(demote)},
	"ResetUser that disables the last super user": {auth.ErrLastSuperUser, true, resettingSelf(disable)},
	"ResetUser with a taken key": {auth.ErrExists, true, func(d denied) writing {
		taken := addKey(d.t, d.store, d.a.user, now.AddDate(1, 0, 0))
		return func(ctx context.Context, w auth.Write) error {
			_, _, err := usersOf(d.store).ResetUser(ctx, w, d.a.user.ID, auth.UserChange{}, taken)
			return err
		}
	}},
	"ConnectGitHub with the account of another user": {auth.ErrExists, false, func(d denied) writing {
		connect := newConnect(d.a.session, newLinked(d.t, d.store).link.Account)
		return func(ctx context.Context, w auth.Write) error {
			return d.store.ConnectGitHub(ctx, w, connect.GitHubConnectWrite)
		}
	}},
	"ForgetGitHubAccount with a linked account": {auth.ErrExists, false, func(d denied) writing {
		account := newLinked(d.t, d.store).link.Account
		return func(ctx context.Context, w auth.Write) error {
			return d.store.ForgetGitHubAccount(ctx, w, account)
		}
	}},
	"ForgetGitHubAccount with an unknown account": {auth.ErrNotFound, false, func(d denied) writing {
		return func(ctx context.Context, w auth.Write) error {
			return d.store.ForgetGitHubAccount(ctx, w, newGitHubAccount())
		}
	}},
}

func addingTakenKey(d denied) writing {
	return func(ctx context.Context, w auth.Write) error { return d.store.AddKey(ctx, w, d.a.key) }
}

func changingSelf(change auth.UserChange) func(denied) writing {
	return func(d denied) writing {
		return func(ctx context.Context, w auth.Write) error {
			_, err := usersOf(d.store).UpdateUser(ctx, w, d.a.user.ID, change)
			return err
		}
	}
}

func resettingSelf(change auth.UserChange) func(denied) writing {
	return func(d denied) writing {
		return func(ctx context.Context, w auth.Write) error {
			_, _, err := usersOf(d.store).ResetUser(ctx, w, d.a.user.ID, change, newKey(d.a.user))
			return err
		}
	}
}

func grantsRefusedFirst(t *testing.T, store auth.AccountStore) {
	last := newAccountOf(t, store, newSuperUser())
	for name, r := range deniedGrants {
		if r.users && usersOf(store) == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			call := r.prepare(denied{t, store, last})
			limited := openScoped(t, store, last, limit)
			requireInsufficient(t, call(t.Context(), bySuperUser(limited, now)), "")
			require.ErrorIs(t, call(t.Context(), bySuperUser(last.session, now)), r.want)
		})
	}
}
