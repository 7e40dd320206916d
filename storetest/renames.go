package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

var renamePromises = []promise[auth.Store]{
	{"new names take effect and leave everything else unchanged", renamed},
	{"a name of another user is refused, and the error names the field", renamedToTaken},
	{"a username that was given up stays taken, except for its user", givenUpStaysTaken},
	{"a username in another case is the same username", renamedInCase},
	{"the username of a deleted user cannot be taken by a change", renamedToDeleted},
	{"all usernames of a deleted user stay taken", deletedAfterRename},
	{"an e-mail that was given up is free", emailGivenUp},
	{"an invalid name changes nothing", renamedToInvalid},
	{"resetting a user changes no names", resetWithNames},
	{"of several concurrent changes to one name, one succeeds", racingRenames},
	{"of a change and registrations with one name, one succeeds", renameRacesRegister},
	{"a username that is given up during registrations goes to nobody else", givenUpDuringRegister},
	{"a change during the deletion of its user retires all usernames", renameRacesDelete},
	{"two users cannot exchange their usernames", racingExchange},
}

// renameGrants are grants that change names, or are about an e-mail: see grants.
var renameGrants = []grant{
	allowed("UpdateUser that changes the username", renaming(newUser, toNewUsername)).ofUsers(),
	allowed("UpdateUser that changes the username of a service user",
		renaming(newService, toNewUsername)).ofUsers(),
	allowed("UpdateUser that removes the e-mail", updating(newUser, withoutEmail)).ofUsers(),
	allowed("UpdateUser that removes the e-mail of a super user", updating(newSuperUser, withoutEmail)).ofUsers(),
	lacking("", "UpdateUser that changes the username of a super user",
		renaming(newSuperUser, toNewUsername)).ofUsers(),
	lacking("", "UpdateUser that changes the e-mail", renaming(newUser, toNewEmail)).ofUsers(),
	lacking("", "UpdateUser that changes the e-mail of a super user",
		renaming(newSuperUser, toNewEmail)).ofUsers(),
	lacking("", "Register with an e-mail", registering(newUser, within)).ofUsers(),
	lacking("", "RegisterUsers, the last with an e-mail", registeringAll(newUser, within)).ofUsers(),
	allowed("ResetUser that leaves a user with an e-mail enabled",
		resetting(newUser, enable, within)).ofUsers(),
	lacking("", "ResetUser that enables a user with an e-mail",
		resetting(newDisabled, enable, within)).ofUsers(),
	lacking("", "ResetUser that enables and demotes a user with an e-mail", resetting(newDisabled,
		auth.UserChange{IsActive: new(true), IsSuperUser: new(false)}, within)).ofUsers(),
}

var withoutEmail = auth.UserChange{Email: new("")}

// noEmail returns a function that returns the new user without the e-mail.
func noEmail(newUser func() auth.User) func() auth.User {
	return func() auth.User { return storekit.ChangeUser(newUser(), withoutEmail) }
}

func toUsername(name string) auth.UserChange { return auth.UserChange{Username: &name} }

func toEmail(email string) auth.UserChange { return auth.UserChange{Email: &email} }

func toNewUsername() auth.UserChange { return toUsername(unique("Renamed")) }

func toNewEmail() auth.UserChange { return toEmail(unique("Renamed") + "@example.com") }

// renaming is updating with a new name for each call.
func renaming(
	newUser func() auth.User, change func() auth.UserChange,
) func(*testing.T, auth.AccountStore, account) attempt {
	return func(t *testing.T, store auth.AccountStore, a account) attempt {
		return updating(newUser, change())(t, store, a)
	}
}

// requireNotRenamed fails the test unless the store refuses the change, because the only name in
// it is taken.
func requireNotRenamed(t *testing.T, store auth.Store, a account, change auth.UserChange) {
	t.Helper()
	_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, change)
	field := "username"
	if change.Username == nil {
		field = "email"
	}
	requireTaken(t, err, field)
	a.requireUnchanged(t, store)
}

// requireTaken fails the test unless err is an ExistsError for the field.
func requireTaken(t *testing.T, err error, field string) {
	t.Helper()
	var exists *auth.ExistsError
	require.ErrorAs(t, err, &exists)
	require.Equal(t, auth.ExistsError{Field: field}, *exists)
}

// renameAt changes the username of the user at the given time.
func renameAt(t *testing.T, store auth.Store, id, name string, at time.Time) {
	t.Helper()
	_, err := store.UpdateUser(t.Context(), byHost(at), id, toUsername(name))
	require.NoError(t, err)
}

func requireNameFree(t *testing.T, store auth.Store, name string) auth.User {
	t.Helper()
	user := newUser()
	user.Username = name
	register(t, store, user)
	return user
}

func cases(name string) []string { return []string{name, strings.ToUpper(name), strings.ToLower(name)} }

func renamed(t *testing.T, store auth.Store) {
	register(t, store, newSuperUser()) // so that no user below is the last super user
	for _, user := range usersOfEveryKind() {
		_, key := register(t, store, user)
		var session auth.Session
		if user.IsActive {
			session, user, _ = store.CreateSession(t.Context(), newSession(key), 0)
		}
		for _, change := range []auth.UserChange{toNewUsername(), toNewEmail(), withoutEmail, toNewEmail(),
			{Username: new(unique("Both")), Email: new(unique("Both"))}} {
			if change.Username != nil {
				user.Username = *change.Username
			}
			if change.Email != nil {
				user.Email = *change.Email
			}
			got, err := store.UpdateUser(t.Context(), byHost(now), user.ID, change)
			require.NoError(t, err)
			require.Equal(t, user, got)
			requireUser(t, store, user)
			_, owner, err := store.FindKey(t.Context(), key.ID)
			require.NoError(t, err)
			require.Equal(t, user, owner)
			if user.IsActive {
				requireSession(t, store, session)
			}
		}
	}
}

func renamedToTaken(t *testing.T, store auth.Store) {
	a, taken := newAccount(t, store), newAccount(t, store)
	for _, name := range cases(taken.user.Username) {
		requireNotRenamed(t, store, a, toUsername(name))
		_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID,
			auth.UserChange{Username: &name, Email: new(unique("free"))})
		requireTaken(t, err, "username")
	}
	for _, email := range cases(taken.user.Email) {
		requireNotRenamed(t, store, a, toEmail(email))
		_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID,
			auth.UserChange{Username: new(unique("free")), Email: &email})
		requireTaken(t, err, "email")
	}
	a.requireUnchanged(t, store)
	taken.requireUnchanged(t, store)
	requireNoUser(t, store, unique("nobody"))
	_, err := store.UpdateUser(t.Context(), byHost(now), unique("nobody"), toNewUsername())
	require.ErrorIs(t, err, auth.ErrNotFound)
}

func givenUpStaysTaken(t *testing.T, store auth.Store) {
	a, other := newAccount(t, store), newAccount(t, store)
	first, second, third := a.user.Username, unique("Second"), unique("Third")
	for _, step := range []struct {
		to    string
		taken []string // by a or for a
	}{
		{second, []string{first, second}},
		{third, []string{first, second, third}},
		{strings.ToUpper(first), []string{first, second, third}},
		{second, []string{first, second, third}},
		{first, []string{first, second, third}},
	} {
		update(t, store, a.user.ID, toUsername(step.to))
		for _, name := range step.taken {
			for _, spelled := range cases(name) {
				requireNameTaken(t, store, spelled)
				requireNotRenamed(t, store, other, toUsername(spelled))
			}
		}
	}
	requireUser(t, store, a.user)
}

func renamedInCase(t *testing.T, store auth.Store) {
	a, other := newAccount(t, store), newAccount(t, store)
	for _, name := range cases(a.user.Username) {
		update(t, store, a.user.ID, toUsername(name))
		a.user.Username = name
		requireUser(t, store, a.user)
		requireNotRenamed(t, store, other, toUsername(a.user.Username))
	}
	for _, email := range cases(a.user.Email) {
		update(t, store, a.user.ID, toEmail(email))
		a.user.Email = email
		a.requireUnchanged(t, store)
		requireNotRenamed(t, store, other, toEmail(strings.ToUpper(email)))
	}
}

func renamedToDeleted(t *testing.T, store auth.Store) {
	gone, a := newUser(), newAccount(t, store)
	register(t, store, gone)
	deleteUser(t, store, gone.ID)
	for _, name := range cases(gone.Username) {
		requireNotRenamed(t, store, a, toUsername(name))
	}
	update(t, store, a.user.ID, toEmail(gone.Email))
}

func deletedAfterRename(t *testing.T, store auth.Store) {
	a, other := newAccount(t, store), newAccount(t, store)
	names := []string{a.user.Username, unique("Second"), unique("Third")}
	for _, name := range append(names[1:], names[1]) {
		update(t, store, a.user.ID, toUsername(name))
	}
	deleteUser(t, store, a.user.ID)
	for _, name := range names {
		requireNameTaken(t, store, name)
		requireNotRenamed(t, store, other, toUsername(name))
	}
}

func emailGivenUp(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	earlier := a.user.Email
	for _, change := range []auth.UserChange{toNewEmail(), withoutEmail} {
		update(t, store, a.user.ID, change)
		user := newUser()
		user.Email = strings.ToUpper(earlier)
		register(t, store, user)
		earlier = *change.Email
		if earlier == "" {
			update(t, store, user.ID, withoutEmail) // any number of users may have none
			continue
		}
		requireNotRenamed(t, store, newAccount(t, store), toEmail(earlier))
	}
}

func renamedToInvalid(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for _, f := range userFields[1:] {
		for _, bad := range f.badValues() {
			change := toUsername(bad)
			if f.name == "email" {
				change = toEmail(bad)
			}
			_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, change)
			requireInvalidField(t, err, f.name)
			a.requireUnchanged(t, store)
		}
	}
}

func resetWithNames(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	for _, change := range []auth.UserChange{toNewUsername(), toNewEmail(), withoutEmail} {
		_, _, err := store.ResetUser(t.Context(), byHost(now), a.user.ID, change, newKey(a.user))
		requireInvalid(t, err)
		a.requireUnchanged(t, store)
	}
}

func racingRenames(t *testing.T, store auth.Store) {
	for range rounds(t) {
		var all []account
		for range contenders {
			all = append(all, newAccount(t, store))
		}
		for field, change := range map[string]func(string) auth.UserChange{
			"username": toUsername, "email": toEmail,
		} {
			shared := unique("Shared")
			errs := race(contenders, func(i int) error {
				_, err := store.UpdateUser(t.Context(), byHost(now), all[i].user.ID,
					change(cases(shared)[i%3]))
				return err
			})
			winner := requireOneWinner(t, errs, auth.ErrExists)
			for i, a := range all {
				got, err := store.FindUser(t.Context(), a.user.ID)
				require.NoError(t, err)
				if i != winner {
					requireTaken(t, errs[i], field)
					require.Equal(t, a.user, got)
				}
				all[i].user = got
			}
		}
	}
}

func renameRacesRegister(t *testing.T, store auth.Store) {
	for range rounds(t) {
		a, shared := newAccount(t, store), unique("Shared")
		users := make([]auth.User, contenders)
		winner := requireOneWinner(t, race(contenders, func(i int) error {
			if i == 0 {
				_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, toUsername(shared))
				return err
			}
			users[i] = newUser()
			users[i].Username = strings.ToUpper(shared)
			return store.Register(t.Context(), byHost(now), users[i], newKey(users[i]))
		}), auth.ErrExists)
		if winner != 0 {
			a.requireUnchanged(t, store)
			requireUser(t, store, users[winner])
		}
	}
}

func givenUpDuringRegister(t *testing.T, store auth.Store) {
	for range rounds(t) {
		a, other, next := newAccount(t, store), newAccount(t, store), unique("Next")
		require.Zero(t, requireOneWinner(t, race(contenders, func(i int) error {
			switch i {
			case 0:
				_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, toUsername(next))
				return err
			case 1:
				_, err := store.UpdateUser(t.Context(), byHost(now), other.user.ID,
					toUsername(a.user.Username))
				return err
			}
			user := newUser()
			user.Username = a.user.Username
			return store.Register(t.Context(), byHost(now), user, newKey(user))
		}), auth.ErrExists))
		other.requireUnchanged(t, store)
		requireNameTaken(t, store, a.user.Username)
	}
}

func renameRacesDelete(t *testing.T, store auth.Store) {
	for range rounds(t) {
		a, next := newAccount(t, store), unique("Next")
		errs := race(2, func(i int) error {
			if i == 0 {
				_, err := store.DeleteUser(t.Context(), byHost(now), a.user.ID)
				return err
			}
			_, err := store.UpdateUser(t.Context(), byHost(now), a.user.ID, toUsername(next))
			return err
		})
		require.NoError(t, errs[0])
		requireNameTaken(t, store, a.user.Username)
		if errs[1] == nil {
			requireNameTaken(t, store, next)
		} else {
			require.ErrorIs(t, errs[1], auth.ErrNotFound)
			requireNameFree(t, store, next)
		}
	}
}

func racingExchange(t *testing.T, store auth.Store) {
	for range rounds(t) {
		both := []account{newAccount(t, store), newAccount(t, store)}
		for _, err := range race(2, func(i int) error {
			_, err := store.UpdateUser(t.Context(), byHost(now), both[i].user.ID,
				toUsername(both[1-i].user.Username))
			return err
		}) {
			require.ErrorIs(t, err, auth.ErrExists)
		}
		both[0].requireUnchanged(t, store)
		both[1].requireUnchanged(t, store)
	}
}
