package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
)

var servicePromises = []promise[auth.Store]{
	{"a service user with invalid audiences is refused", invalidUserAudiences},
	{"the longest audiences come back unchanged", longestAudiences},
	{"a person has no audiences and no creator", fieldsOfServicesOnly},
	{"a service user cannot be the first super user", bootstrapOfService},
	{"a service user does not sign in with GitHub and connects no account", serviceAtGitHub},
	{"users are listed by their kind", listedByKind},
	{"a page of one kind is no longer than the limit and passes over the other kind", kindsToLimit},
	{"an unknown kind of users is invalid", unknownKind},
}

// lastPersonPromises need a store each, because they are about the last super user.
var lastPersonPromises = []promise[auth.Store]{
	{"a service user does not count as the last super user", servicesDoNotReplace},
	{"super users who are service users can all be removed", servicesRemoved},
}

// serviceGrants are grants that add service users: see grants.
var serviceGrants = []grant{
	allowed("Register of a service user", registering(noEmail(withoutAudiences), within)).ofUsers(),
	lacking("", "Register of a service user with audiences",
		registering(noEmail(newService), within)).ofUsers(),
	lacking("", "Register of a service user with a key without a limit",
		registering(noEmail(withoutAudiences), nil)).ofUsers(),
	lacking("", "RegisterUsers, the last a service user with audiences",
		registeringAll(noEmail(newService), within)).ofUsers(),
}

func withoutAudiences() auth.User {
	user := newService()
	user.Audiences = ""
	return user
}

func invalidUserAudiences(t *testing.T, store auth.Store) {
	for _, bad := range []string{
		" ", "a ", " a", "a  b", "b a", "a a", "a\tb", "a\n", `a"b`, `a\b`, "é", "a\x00", "\xff", "\x7f",
		strings.Repeat("x", 257),
		strings.Join([]string{fill("a", "x", 256), fill("b", "x", 256), fill("c", "x", 256), fill("d", "x", 130)}, " "),
	} {
		user := newService()
		user.Audiences = bad
		key := newKey(user)
		requireInvalidField(t, store.Register(t.Context(), byHost(now), user, key), "audiences")
		_, err := store.RegisterUsers(t.Context(), byHost(now),
			[]auth.UserWithKeys{{User: user, Keys: []auth.AccessKey{key}}})
		requireInvalidField(t, err, "audiences")
		requireNoUser(t, store, user.ID)
		requireNoKey(t, store, key.ID)
	}
}

func longestAudiences(t *testing.T, store auth.Store) {
	user := newService()
	user.CreatedBy = fill("", "x", limits.ID)
	user.Audiences = strings.Join([]string{fill("a", "x", 256), fill("b", "x", 256), fill("c", "x", 256),
		fill("d", "x", 129)}, " ")
	require.Len(t, user.Audiences, limits.Audiences)
	register(t, store, user)
	requireUser(t, store, user)
	for _, audience := range strings.Split(user.Audiences, " ") {
		require.True(t, user.HasAudience(audience))
		require.False(t, user.HasAudience(audience[1:]))
	}
}

func fieldsOfServicesOnly(t *testing.T, store auth.Store) {
	for field, set := range map[string]func(*auth.User){
		"audiences":  func(u *auth.User) { u.Audiences = "billing" },
		"created_by": func(u *auth.User) { u.CreatedBy = "somebody" },
	} {
		user := newUser()
		set(&user)
		requireInvalidField(t, store.Register(t.Context(), byHost(now), user, newKey(user)), field)
		requireNoUser(t, store, user.ID)
	}
}

func bootstrapOfService(t *testing.T, store auth.Store) {
	user := newService()
	user.IsSuperUser = true
	key := newKey(user)
	requireInvalid(t, store.Bootstrap(t.Context(), byHost(now), user, key))
	requireNoUser(t, store, user.ID)
	requireNoKey(t, store, key.ID)
}

func serviceAtGitHub(t *testing.T, store auth.Store) {
	signIn := firstSignIn(newService())
	_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	requireInvalidField(t, err, "is_service")
	requireNoUser(t, store, signIn.NewUser.ID)
	requireNoLink(t, store, signIn.Link.Account)

	service := newAccountOf(t, store, newService())
	signIn = firstSignIn(service.user)
	signIn.NewUser = nil
	_, _, err = store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.ErrorIs(t, err, auth.ErrServiceUser)
	requireNoSession(t, store, signIn.Session.ID)

	connect := newConnect(service.session, newGitHubAccount())
	require.ErrorIs(t, connect.call(t.Context(), store), auth.ErrServiceUser)
	requireNoLink(t, store, connect.Link.Account)
	requireNoConnection(t, store, service.user.ID, connect.Link.Account.Host)
	service.requireUnchanged(t, store)

	// Neither call has remembered its account for the service user.
	person := newUser()
	again := firstSignIn(person)
	again.Link.Account, again.Token.Account = connect.Link.Account, connect.Link.Account
	_, user, err := store.SignInGitHub(t.Context(), byHost(now), again)
	require.NoError(t, err)
	require.Equal(t, person.ID, user.ID)
}

func listOf(t *testing.T, store auth.Store, kind auth.UserKind, after string, limit int) []auth.User {
	t.Helper()
	page, err := store.ListUsers(t.Context(), auth.UserQuery{After: after, Limit: limit, Kind: kind})
	require.NoError(t, err)
	return page
}

// registerMixed registers users whose IDs begin with the prefix. Every third is a service user.
func registerMixed(t *testing.T, store auth.Store, prefix string, count int) (persons, services []auth.User) {
	t.Helper()
	for i := range count {
		user := newUser()
		if i%3 == 0 {
			user = newService()
		}
		user.ID = fmt.Sprintf("%s%02d", prefix, i)
		register(t, store, user)
		if user.IsService {
			services = append(services, user)
		} else {
			persons = append(persons, user)
		}
	}
	return persons, services
}

func listedByKind(t *testing.T, store auth.Store) {
	prefix := unique("kind")
	persons, services := registerMixed(t, store, prefix, 12)
	require.Equal(t, persons, listOf(t, store, auth.UserKindPerson, prefix, len(persons)))
	require.Equal(t, services, listOf(t, store, auth.UserKindService, prefix, len(services)))
	require.Len(t, listOf(t, store, "", prefix, 12), 12)

	register(t, store, newSuperUser()) // so that neither user below is the last super user
	// No change makes a service user of a person, or a person of a service user.
	for _, change := range everyUserChange() {
		update(t, store, persons[0].ID, change)
		update(t, store, services[0].ID, change)
		require.Equal(t, persons[0].ID, listOf(t, store, auth.UserKindPerson, prefix, 1)[0].ID)
		require.Equal(t, services[0].ID, listOf(t, store, auth.UserKindService, prefix, 1)[0].ID)
	}
	for _, user := range services {
		deleteUser(t, store, user.ID)
		for _, left := range listOf(t, store, auth.UserKindService, prefix, len(services)) {
			require.NotEqual(t, user.ID, left.ID)
		}
	}
	require.Equal(t, idsOf(persons), idsOf(listOf(t, store, "", prefix, len(persons))))
}

func kindsToLimit(t *testing.T, store auth.Store) {
	prefix := unique("kind")
	persons, services := registerMixed(t, store, prefix, 12)
	for kind, want := range map[auth.UserKind][]auth.User{
		auth.UserKindPerson: persons, auth.UserKindService: services,
	} {
		for _, limit := range []int{-1, 0} {
			require.Empty(t, listOf(t, store, kind, prefix, limit))
		}
		after := prefix
		for i := 0; i < len(want); i += 2 {
			page := listOf(t, store, kind, after, 2)
			require.Equal(t, want[i:i+2], page)
			after = page[1].ID
		}
		// The ID of a user of the other kind is a place to begin, too.
		require.Equal(t, persons[1], listOf(t, store, auth.UserKindPerson, persons[0].ID, 1)[0])
		require.Equal(t, services[1], listOf(t, store, auth.UserKindService, persons[0].ID, 1)[0])
		require.Equal(t, persons[0], listOf(t, store, auth.UserKindPerson, services[0].ID, 1)[0])
	}
}

func unknownKind(t *testing.T, store auth.Store) {
	for _, kind := range []auth.UserKind{"all", "Person", "service ", "x"} {
		_, err := store.ListUsers(t.Context(), auth.UserQuery{Limit: 1, Kind: kind})
		requireInvalidField(t, err, "kind")
	}
}

func newSuperService() auth.User {
	user := newService()
	user.IsSuperUser = true
	return user
}

func servicesDoNotReplace(t *testing.T, store auth.Store) {
	last := newAccountOf(t, store, newSuperUser())
	for range 2 {
		register(t, store, newSuperService())
	}
	promoted, _ := register(t, store, newService())
	update(t, store, promoted.ID, promote)
	requireLast(t, store, last)
}

func servicesRemoved(t *testing.T, store auth.Store) {
	only := newSuperService()
	register(t, store, only)
	update(t, store, only.ID, demote)
	update(t, store, only.ID, promote)
	update(t, store, only.ID, disable)
	update(t, store, only.ID, enable)
	_, _, err := store.ResetUser(t.Context(), byHost(now), only.ID, demote, newKey(only))
	require.NoError(t, err)
	update(t, store, only.ID, promote)
	deleteUser(t, store, only.ID)

	person := newAccountOf(t, store, newSuperUser())
	service := newSuperService()
	register(t, store, service)
	requireLast(t, store, person)
	deleteUser(t, store, service.ID)
	requireLast(t, store, person)
}
