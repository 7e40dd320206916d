package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var registerUsersPromises = []promise[auth.Store]{
	{"all users of a list are registered with all their keys", listRegistered},
	{"an empty list registers no user", emptyListRegistered},
	{"a long list is registered", longListRegistered},
	{"users with taken values are refused, and the others are registered", listedTaken},
	{"of two users in a list with the same value, the first is registered", listedTwice},
	{"a refused user takes no value from later users", refusedTakesNothing},
	{"a value of a refused user goes to the next user with it", refusedLeavesToTheNext},
	{"a retired name is refused in a list", listedRetired},
	{"a user who lists one key twice is refused", listedKeyTwice},
	{"a user registered again is recognized as the same", listedAgain},
	{"a list with an invalid record registers no user", listedInvalid},
	{"if several lists name the same users at once, each user is registered once", racingLists},
	{"a list concurrent with single registrations leaves no user half registered", listRacingRegistrations},
	{"a list concurrent with a deletion does not reuse the deleted name", listRacingDeletion},
}

// newListed returns a new user with the given number of keys. The user and the keys are not stored.
func newListed(keys int) auth.UserWithKeys {
	listed := auth.UserWithKeys{User: newUser()}
	for range keys {
		listed.Keys = append(listed.Keys, newKey(listed.User))
	}
	return listed
}

// registerList calls RegisterUsers with the users. For each user it returns the field whose value
// was taken, or "" if the user was registered.
func registerList(t *testing.T, store auth.Store, users ...auth.UserWithKeys) []string {
	t.Helper()
	refusals, err := store.RegisterUsers(t.Context(), byHost(now), users)
	require.NoError(t, err)
	return fieldsOf(t, refusals)
}

// fieldsOf returns the field that each error names, or "" for a nil error.
func fieldsOf(t *testing.T, refusals []error) []string {
	t.Helper()
	fields := make([]string, len(refusals))
	for i, err := range refusals {
		if err == nil {
			continue
		}
		var exists *auth.ExistsError
		require.ErrorAs(t, err, &exists)
		require.ErrorIs(t, err, auth.ErrExists)
		require.NotEmpty(t, exists.Field)
		fields[i] = exists.Field
	}
	return fields
}

func requireListed(t *testing.T, store auth.AccountStore, want auth.UserWithKeys) {
	t.Helper()
	requireUser(t, store, want.User)
	keys, err := store.ListKeys(t.Context(), want.User.ID)
	require.NoError(t, err)
	require.ElementsMatch(t, want.Keys, keys)
	for _, key := range want.Keys {
		requireKeyOf(t, store, key, want.User)
	}
}

func requireNotListed(t *testing.T, store auth.AccountStore, unwanted auth.UserWithKeys) {
	t.Helper()
	requireNoUser(t, store, unwanted.User.ID)
	for _, key := range unwanted.Keys {
		requireNoKey(t, store, key.ID)
	}
}

func listRegistered(t *testing.T, store auth.Store) {
	var list []auth.UserWithKeys
	for i, user := range usersOfEveryKind() {
		user.LastLogin, user.AdmittedAt = now, now.Add(time.Hour)
		listed := auth.UserWithKeys{User: user}
		for range i + 1 {
			key := newKey(user)
			key.ExpiresAt, key.LastUsedAt = now.Add(time.Hour), now
			key.PreviousHash, key.PreviousUntil = unique("previous"), now.Add(time.Minute)
			listed.Keys = append(listed.Keys, key)
		}
		list = append(list, listed)
	}
	without := newListed(auth.MaxKeys)
	without.User.Email = ""
	another := newListed(1)
	another.User.Email = ""
	list = append(list, without, another)
	require.Equal(t, make([]string, len(list)), registerList(t, store, list...))
	for _, listed := range list {
		requireListed(t, store, listed)
		session := newSession(listed.Keys[0])
		if listed.User.IsActive {
			requireSession(t, store, openSession(t, store, session))
		}
	}
	require.ErrorIs(t, store.AddKey(t.Context(), byHost(now), newKey(without.User)),
		auth.ErrTooManyKeys)
}

func emptyListRegistered(t *testing.T, store auth.Store) {
	require.Empty(t, registerList(t, store))
}

func longListRegistered(t *testing.T, store auth.Store) {
	list := make([]auth.UserWithKeys, 5000)
	want := make([]string, len(list))
	for i := range list {
		list[i] = newListed(1 + i%2)
	}
	for _, i := range []int{0, 1, 511, 512, 1023, 1999, 4095, 4096, 4999} {
		register(t, store, list[i].User)
		want[i] = "user_id"
	}
	require.Equal(t, want, registerList(t, store, list...))
	for i, listed := range list {
		if want[i] == "" {
			requireListed(t, store, listed)
		} else {
			requireNoKey(t, store, listed.Keys[0].ID)
		}
	}
}

// wants contains one element for each field whose value only one user can have. The function edit
// gives the first user the value that the second user has in this field.
var wants = []struct {
	field string
	edit  func(wants *auth.UserWithKeys, has auth.UserWithKeys)
}{
	{"user_id", func(w *auth.UserWithKeys, has auth.UserWithKeys) {
		w.User.ID = has.User.ID
		for i := range w.Keys {
			w.Keys[i].UserID = has.User.ID
		}
	}},
	{"username", func(w *auth.UserWithKeys, has auth.UserWithKeys) {
		w.User.Username = strings.ToUpper(has.User.Username)
	}},
	{"email", func(w *auth.UserWithKeys, has auth.UserWithKeys) { w.User.Email = strings.ToUpper(has.User.Email) }},
	{"access_key", func(w *auth.UserWithKeys, has auth.UserWithKeys) { w.Keys[1].ID = has.Keys[1].ID }},
}

// wanting returns a new user who has the same value in the field as the given user.
func wanting(field string, has auth.UserWithKeys) (listed auth.UserWithKeys) {
	listed = newListed(3)
	for _, want := range wants {
		if want.field == field {
			want.edit(&listed, has)
		}
	}
	return listed
}

func listedTaken(t *testing.T, store auth.Store) {
	has := newListed(2)
	registerList(t, store, has)
	var list []auth.UserWithKeys
	var want []string
	for _, w := range wants {
		list = append(list, newListed(1), wanting(w.field, has))
		want = append(want, "", w.field)
	}
	// this user is already registered: all fields are taken, and the error names the first field
	list, want = append(list, has), append(want, "user_id")
	require.Equal(t, want, registerList(t, store, list...))
	requireListed(t, store, has)
	for i, listed := range list[:len(list)-1] {
		switch want[i] {
		case "":
			requireListed(t, store, listed)
		case "user_id":
			requireNoKey(t, store, listed.Keys[0].ID)
		case "access_key":
			requireNoUser(t, store, listed.User.ID)
			requireNoKey(t, store, listed.Keys[0].ID)
			requireNoKey(t, store, listed.Keys[2].ID)
		default:
			requireNotListed(t, store, listed)
		}
	}
}

func listedTwice(t *testing.T, store auth.Store) {
	for _, w := range wants {
		t.Run(w.field, func(t *testing.T) {
			has := newListed(2)
			later := wanting(w.field, has)
			require.Equal(t, []string{"", w.field, ""},
				registerList(t, store, has, later, newListed(1)))
			requireListed(t, store, has)
			requireNoKey(t, store, later.Keys[0].ID)
		})
	}
}

// eachRefused calls the function test for each field whose value only one user can have. The
// function test gets two users with the same value in that field. The first user is registered, and
// the store must refuse the second user.
func eachRefused(
	t *testing.T, store auth.Store, test func(t *testing.T, field string, has, refused auth.UserWithKeys),
) {
	for _, w := range wants {
		t.Run(w.field, func(t *testing.T) {
			has := newListed(2)
			registerList(t, store, has)
			test(t, w.field, has, wanting(w.field, has))
		})
	}
}

func refusedTakesNothing(t *testing.T, store auth.Store) {
	eachRefused(t, store, func(t *testing.T, field string, has, refused auth.UserWithKeys) {
		follows := newListed(2)
		if field != "username" {
			follows.User.Username = strings.ToLower(refused.User.Username)
		}
		if field != "email" {
			follows.User.Email = strings.ToLower(refused.User.Email)
		}
		follows.Keys[0].ID = refused.Keys[0].ID
		require.Equal(t, []string{field, ""}, registerList(t, store, refused, follows))
		requireListed(t, store, has)
		requireListed(t, store, follows)
	})
}

// refusedLeavesToTheNext registers a list of three users. The first user shares a value with a
// registered user, so the store must refuse the first. The second user shares a key ID with the
// first. The store must register the second, because a refused user takes no values. The third user
// shares a key ID with the second, so the store must refuse the third.
func refusedLeavesToTheNext(t *testing.T, store auth.Store) {
	eachRefused(t, store, func(t *testing.T, field string, _, refused auth.UserWithKeys) {
		next, last := newListed(2), newListed(2)
		next.Keys[0].ID = refused.Keys[0].ID
		last.Keys[0].ID = next.Keys[1].ID
		require.Equal(t, []string{field, "", "access_key"}, registerList(t, store, refused, next, last))
		requireListed(t, store, next)
		requireNotListed(t, store, auth.UserWithKeys{User: last.User, Keys: last.Keys[1:]})
	})
}

func listedRetired(t *testing.T, store auth.Store) {
	gone := newListed(1)
	registerList(t, store, gone)
	deleteUser(t, store, gone.User.ID)
	again, other := newListed(2), newListed(1)
	again.User.Username = strings.ToUpper(gone.User.Username)
	other.User.Email = gone.User.Email // the e-mail of a deleted user is available
	require.Equal(t, []string{"username", ""}, registerList(t, store, again, other))
	requireNotListed(t, store, again)
	requireListed(t, store, other)
}

func listedKeyTwice(t *testing.T, store auth.Store) {
	twice, other := newListed(3), newListed(1)
	twice.Keys[2].ID = twice.Keys[0].ID
	require.Equal(t, []string{"access_key", ""}, registerList(t, store, twice, other))
	requireNotListed(t, store, twice)
	requireListed(t, store, other)
}

// listedAgain registers users who are already registered, and other users who share values with
// them.
func listedAgain(t *testing.T, store auth.Store) {
	one, gone, other := newListed(3), newListed(1), newListed(2)
	registerList(t, store, one, gone, other)
	deleteUser(t, store, gone.User.ID)
	again := func(edit func(*auth.UserWithKeys)) auth.UserWithKeys {
		listed := auth.UserWithKeys{User: newUser(), Keys: slices.Clone(one.Keys)}
		listed.User.Username = strings.ToUpper(one.User.Username)
		edit(&listed)
		for i := range listed.Keys {
			listed.Keys[i].UserID = listed.User.ID
		}
		return listed
	}
	nothing := func(*auth.UserWithKeys) {}
	inCall := newListed(1)
	twin := inCall
	twin.User.ID = unique("twin")
	twin.Keys = []auth.AccessKey{twin.Keys[0]}
	twin.Keys[0].UserID = twin.User.ID
	tests := []struct {
		listed auth.UserWithKeys
		same   string
	}{
		{again(nothing), one.User.ID},
		{again(func(l *auth.UserWithKeys) { l.User.ID = one.User.ID }), one.User.ID},
		{again(func(l *auth.UserWithKeys) { l.User.Email = one.User.Email }), one.User.ID},
		{again(func(l *auth.UserWithKeys) { l.Keys = l.Keys[1:2] }), one.User.ID},
		{again(func(l *auth.UserWithKeys) { l.Keys[0].Hash = "another" }), one.User.ID},
		{again(func(l *auth.UserWithKeys) { l.Keys[2].ID = unique("key") }), ""},
		{again(func(l *auth.UserWithKeys) { l.Keys[2].ID = other.Keys[0].ID }), ""},
		{again(func(l *auth.UserWithKeys) { l.Keys[0].ID = other.Keys[0].ID }), ""},
		{again(func(l *auth.UserWithKeys) { l.User.Username = unique("name") }), ""},
		{again(func(l *auth.UserWithKeys) { l.User.Username = other.User.Username }), ""},
		{again(func(l *auth.UserWithKeys) { l.User.Username = gone.User.Username }), ""},
		{again(func(l *auth.UserWithKeys) { l.User.Username, l.Keys = gone.User.Username, gone.Keys }), ""},
		{twin, inCall.User.ID},
	}
	list := []auth.UserWithKeys{inCall}
	for _, test := range tests {
		list = append(list, test.listed)
	}
	refusals, err := store.RegisterUsers(t.Context(), byHost(now), list)
	require.NoError(t, err)
	require.NoError(t, refusals[0])
	for i, test := range tests {
		var exists *auth.ExistsError
		require.ErrorAs(t, refusals[i+1], &exists, i)
		require.Equal(t, test.same, exists.SameUserID, i)
	}
	requireListed(t, store, one)
}

func listedInvalid(t *testing.T, store auth.Store) {
	good := newListed(2)
	refuse := func(field string, bad auth.UserWithKeys) {
		t.Helper()
		for _, list := range [][]auth.UserWithKeys{{good, bad}, {bad, good}} {
			refusals, err := store.RegisterUsers(t.Context(), byHost(now), list)
			require.Nil(t, refusals)
			requireInvalidField(t, err, field)
			requireNotListed(t, store, good)
		}
	}
	for _, field := range userFields {
		for _, bad := range field.badValues() {
			listed := newListed(1)
			*field.of(&listed.User) = bad
			listed.Keys[0].UserID = listed.User.ID
			refuse(field.name, listed)
		}
	}
	for _, field := range keyFields {
		for _, bad := range field.badValues() {
			listed := newListed(2)
			*field.of(&listed.Keys[1]) = bad
			refuse(field.name, listed)
		}
	}
	foreign, none, tooMany := newListed(2), newListed(0), newListed(auth.MaxKeys+1)
	foreign.Keys[1].UserID = good.User.ID
	refuse("user_id", foreign)
	refuse("keys", none)
	refuse("keys", tooMany)
	require.Equal(t, []string{""}, registerList(t, store, good))
}
