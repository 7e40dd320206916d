package storetest

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

func registerUsersEvent(t *testing.T, store auth.Store, trail trailStore) {
	var users []auth.UserWithKeys
	for range 5 {
		user := newUser()
		users = append(users, auth.UserWithKeys{User: user, Keys: []auth.AccessKey{newKey(user)}})
	}
	for i, want := range []int{1, 0} { // the second time, all users exist already
		write := withEvent(byHost(now))
		refusals, err := store.RegisterUsers(t.Context(), write, users)
		require.NoError(t, err)
		for _, refusal := range refusals {
			require.Equal(t, i == 1, refusal != nil)
		}
		require.Len(t, eventsOf(t, trail, write), want)
	}
	user := newUser()
	write := withEvent(byHost(now))
	_, err := store.RegisterUsers(t.Context(), write,
		append(users, auth.UserWithKeys{User: user, Keys: []auth.AccessKey{newKey(user)}}))
	require.NoError(t, err)
	require.Len(t, eventsOf(t, trail, write), 1, "one was added")
	write = withEvent(byHost(now))
	refusals, err := store.RegisterUsers(t.Context(), write, nil)
	require.NoError(t, err)
	require.Empty(t, refusals)
	require.Empty(t, eventsOf(t, trail, write))
}

func grantEvents(t *testing.T, store auth.Store, trail trailStore) {
	register(t, store, newSuperUser())
	a := newLinked(t, store)
	for _, want := range []int{1, 0} { // the second time, the grant is spent
		signIn, write := a.nextSignIn(), withEvent(byHost(now))
		signIn.GrantSuperUser = true
		_, user, err := store.SignInGitHub(t.Context(), write, signIn)
		require.NoError(t, err)
		require.True(t, user.IsSuperUser)
		events := eventsOf(t, trail, write)
		require.Len(t, events, want)
		if want == 1 {
			require.Equal(t, a.user.ID, events[0].UserID)
			require.Equal(t, a.link.Account, events[0].GitHub)
		}
		a.token = *signIn.Token
	}
}

func deletionBlanks(t *testing.T, store auth.Store, trail trailStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	client := auth.ClientInfo{Address: netip.MustParseAddr("192.0.2.1"), UserAgent: "curl/8.14.1",
		RequestID: unique("request")}
	event := func(actor, about auth.User) auth.Event {
		t.Helper()
		write := withEvent(byHost(now))
		write.Event.Host, write.Event.ActorID, write.Event.Client = "", actor.ID, client
		return addEvent(t, trail, about, write)
	}
	own, byAnother, ofAnother := event(a.user, a.user), event(other.user, a.user), event(a.user,
		other.user)
	deletion := withEvent(byHost(now))
	deletion.Event.Client = client
	_, err := store.DeleteUser(t.Context(), deletion, a.user.ID)
	require.NoError(t, err)

	own.Client, ofAnother.Client = auth.ClientInfo{}, auth.ClientInfo{}
	about := listEvents(t, trail, auth.EventFilter{UserID: a.user.ID}, 10)
	require.Len(t, about, 3)
	require.Equal(t, deletion.Event.Kind, about[0].Kind)
	require.Equal(t, client, about[0].Client, "the host caused it")
	require.Equal(t, []auth.Event{byAnother, own}, about[1:])
	require.Equal(t, []auth.Event{ofAnother},
		listEvents(t, trail, auth.EventFilter{UserID: other.user.ID}, 10))
}
