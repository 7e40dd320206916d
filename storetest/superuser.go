package storetest

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var lastSuperUserPromises = []promise[auth.Store]{
	{"the last super user cannot be removed", lastSuperUserStays},
	{"other changes of the last super user are allowed", lastSuperUserChanged},
	{"a disabled super user does not count", disabledDoesNotReplace},
	{"one of two super users can be removed, however they were created", oneOfTwo},
	{"users can be changed if there is no super user", noSuperUser},
	{"if the last two super users are removed at once, one stays", takenAwayAtOnce(2)},
	{"if the last four super users are removed at once, one stays", takenAwayAtOnce(4)},
	{"if the last two super users are deleted or demoted at once, one stays", deletedAtOnce},
	{"of the last two super users one stays, however many callers remove them", takenAwayByMany},
}

// losses contains the changes that disable or demote a super user.
var losses = map[string]auth.UserChange{
	"disable":                            disable,
	"demote":                             demote,
	"disable and demote":                 {IsActive: new(false), IsSuperUser: new(false)},
	"disable a super user who stays one": {IsActive: new(false), IsSuperUser: new(true)},
	"demote a user who stays active":     {IsActive: new(true), IsSuperUser: new(false)},
}

// requireLast fails the test unless the store refuses to remove, disable or demote the last super
// user.
func requireLast(t *testing.T, store auth.Store, last account) {
	t.Helper()
	for name, loss := range losses {
		_, err := store.UpdateUser(t.Context(), byHost(now), last.user.ID, loss)
		require.ErrorIs(t, err, auth.ErrLastSuperUser, name)
		last.requireUnchanged(t, store)

		key := newKey(last.user)
		_, _, err = store.ResetUser(t.Context(), byHost(now), last.user.ID, loss, key)
		require.ErrorIs(t, err, auth.ErrLastSuperUser, name)
		requireNoKey(t, store, key.ID)
		last.requireUnchanged(t, store)
	}
	_, err := store.DeleteUser(t.Context(), byHost(now), last.user.ID)
	require.ErrorIs(t, err, auth.ErrLastSuperUser)
	last.requireUnchanged(t, store)
}

func lastSuperUserStays(t *testing.T, store auth.Store) {
	last := newAccountOf(t, store, newSuperUser())
	newAccount(t, store) // this user is active, but no super user
	requireLast(t, store, last)
}

func lastSuperUserChanged(t *testing.T, store auth.Store) {
	last := newAccountOf(t, store, newSuperUser())
	for _, change := range []auth.UserChange{{}, enable, promote,
		{IsActive: new(true), IsSuperUser: new(true)}} {
		update(t, store, last.user.ID, change)
		last.requireUnchanged(t, store)
	}
	key := newKey(last.user)
	user, _, err := store.ResetUser(t.Context(), byHost(now), last.user.ID, auth.UserChange{}, key)
	require.NoError(t, err)
	require.Equal(t, last.user, user)
	requireNoKey(t, store, last.key.ID)
	requireNoSession(t, store, last.session.ID)
	requireKey(t, store, key)
}

func disabledDoesNotReplace(t *testing.T, store auth.Store) {
	last := newAccountOf(t, store, newSuperUser())
	disabled := newSuperUser()
	disabled.IsActive = false
	register(t, store, disabled)
	requireLast(t, store, last)

	// A disabled super user is never the last super user, and can be demoted and deleted.
	update(t, store, disabled.ID, demote)
	update(t, store, disabled.ID, promote)
	deleteUser(t, store, disabled.ID)
	requireLast(t, store, last)
}

// appearances contains the ways in which a user can become an active super user.
var appearances = map[string]func(t *testing.T, store auth.Store) auth.User{
	"bootstrap": func(t *testing.T, store auth.Store) auth.User {
		user := newSuperUser()
		require.NoError(t, store.Bootstrap(t.Context(), byHost(now), user, newKey(user)))
		return user
	},
	"registration": func(t *testing.T, store auth.Store) auth.User {
		user, _ := register(t, store, newSuperUser())
		return user
	},
	"promotion": func(t *testing.T, store auth.Store) auth.User {
		user, _ := register(t, store, newUser())
		update(t, store, user.ID, promote)
		return changed(user, promote)
	},
	"revival": func(t *testing.T, store auth.Store) auth.User {
		user, _ := register(t, store, changed(newSuperUser(), disable))
		update(t, store, user.ID, enable)
		return changed(user, enable)
	},
	"reset": func(t *testing.T, store auth.Store) auth.User {
		user, _ := register(t, store, changed(newUser(), disable))
		both := auth.UserChange{IsActive: new(true), IsSuperUser: new(true)}
		_, _, err := store.ResetUser(t.Context(), byHost(now), user.ID, both, newKey(user))
		require.NoError(t, err)
		return changed(user, both)
	},
}

func oneOfTwo(t *testing.T, store auth.Store) {
	first := newAccountOf(t, store, newSuperUser())
	for _, appear := range appearances {
		second := signIn(t, store, appear(t, store))
		update(t, store, first.user.ID, demote)
		requireLast(t, store, second)

		update(t, store, first.user.ID, promote)
		require.NoError(t, takeAway(t.Context(), store, second.user))
		requireLast(t, store, first)

		third := newAccountOf(t, store, newSuperUser())
		deleteUser(t, store, first.user.ID)
		requireLast(t, store, third)
		first = third
	}
}

func noSuperUser(t *testing.T, store auth.Store) {
	administers := func(user auth.User) bool { return user.IsActive && user.IsSuperUser && !user.IsService }
	for _, change := range everyUserChange() {
		for _, user := range usersOfEveryKind() {
			if administers(user) || administers(changed(user, change)) {
				continue
			}
			register(t, store, user)
			update(t, store, user.ID, change)
			_, _, err := store.ResetUser(t.Context(), byHost(now), user.ID, change, newKey(user))
			require.NoError(t, err)
			deleteUser(t, store, user.ID)
		}
	}
}

// takeAway disables or demotes the super user, with UpdateUser or ResetUser. It chooses the change
// and the method at random.
func takeAway(ctx context.Context, store auth.Store, user auth.User) error {
	loss := disable
	if rand.N(2) == 0 {
		loss = demote
	}
	if rand.N(2) == 0 {
		_, _, err := store.ResetUser(ctx, byHost(now), user.ID, loss, newKey(user))
		return err
	}
	_, err := store.UpdateUser(ctx, byHost(now), user.ID, loss)
	return err
}

// takenAwayAtOnce returns a test of a store with n super users. The test makes n calls at the same
// time. Each call disables or demotes a different super user. Exactly one call must fail.
func takenAwayAtOnce(n int) func(t *testing.T, store auth.Store) {
	return func(t *testing.T, store auth.Store) {
		users := make([]auth.User, n)
		for i := range users {
			users[i], _ = register(t, store, newSuperUser())
		}
		for range rounds(t) {
			accounts := make([]account, n)
			for i, user := range users {
				update(t, store, user.ID, auth.UserChange{IsActive: new(true), IsSuperUser: new(true)})
				accounts[i] = signIn(t, store, user)
			}
			errs := race(n, func(i int) error { return takeAway(t.Context(), store, users[i]) })
			requireLast(t, store, accounts[requireOneLoser(t, errs, auth.ErrLastSuperUser)])
		}
	}
}

// deletedAtOnce adds a second super user in each round. It then makes two calls at the same time.
// The first call deletes the older super user. The second call alternates from round to round: it
// deletes the newer super user, or it disables or demotes the newer super user.
func deletedAtOnce(t *testing.T, store auth.Store) {
	last := newAccountOf(t, store, newSuperUser())
	for round := range 2 * rounds(t) {
		both := []account{last, newAccountOf(t, store, newSuperUser())}
		errs := race(len(both), func(i int) error {
			if i == 1 && round%2 == 1 {
				return takeAway(t.Context(), store, both[i].user)
			}
			_, err := store.DeleteUser(t.Context(), byHost(now), both[i].user.ID)
			return err
		})
		last = both[requireOneLoser(t, errs, auth.ErrLastSuperUser)]
		requireLast(t, store, last)
	}
}

// takenAwayByMany makes many calls at the same time. Each call removes one of two super users, so
// most calls repeat what another call has done.
func takenAwayByMany(t *testing.T, store auth.Store) {
	const callers = 256
	both := []account{newAccountOf(t, store, newSuperUser()), newAccountOf(t, store, newSuperUser())}
	errs := race(callers, func(i int) error {
		user := both[i%2].user
		if i%4 < 2 {
			return takeAway(t.Context(), store, user)
		}
		_, err := store.DeleteUser(t.Context(), byHost(now), user.ID)
		return err
	})
	for _, err := range errs {
		if err != nil {
			requireOneOf(t, err, auth.ErrLastSuperUser, auth.ErrNotFound)
		}
	}
	users, err := store.ListUsers(t.Context(), auth.UserQuery{Limit: 3})
	require.NoError(t, err)
	users = slices.DeleteFunc(users, func(user auth.User) bool {
		return !user.IsActive || !user.IsSuperUser
	})
	require.Len(t, users, 1)
}
