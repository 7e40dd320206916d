package authclient_test

import (
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/stretchr/testify/require"
)

func TestAnAdministratorSearchesUsersAndTheirRecords(t *testing.T) {
	t.Parallel()
	f, ctx := newFixture(t), t.Context()
	began := time.Now()
	ann, err := f.client.RegisterUser(ctx, authclient.UserParams{Username: "Ann", Email: "zoe@example.com"})
	require.NoError(t, err)
	zoe, err := f.client.RegisterUser(ctx, authclient.UserParams{Username: "zoe", IsSuperUser: true})
	require.NoError(t, err)
	_, err = f.client.UpdateUser(ctx, ann.User.ID, authclient.UserChange{IsActive: new(bool)})
	require.NoError(t, err)
	robot, err := f.svc.Register(ctx, auth.ByHost("test"), auth.UserParams{Username: "zoe-ci",
		IsService: true, Audiences: []string{"b", "a"}})
	require.NoError(t, err)
	ids := func(filter authclient.UserFilter) (found []string) {
		for user, err := range f.client.Users(ctx, filter) {
			require.NoError(t, err)
			found = append(found, user.ID)
		}
		return found
	}
	require.Equal(t, []string{zoe.User.ID, robot.User.ID, ann.User.ID},
		ids(authclient.UserFilter{Search: "ZOE"}))
	require.Equal(t, []string{robot.User.ID},
		ids(authclient.UserFilter{Search: "zoe", Kind: auth.UserKindService}))
	require.Equal(t, []string{ann.User.ID}, ids(authclient.UserFilter{State: auth.UserStateInactive}))
	service, err := f.client.User(ctx, robot.User.ID)
	require.NoError(t, err)
	require.Equal(t, "a b", service.Audiences)
	require.True(t, service.IsService)
	require.Contains(t, ids(authclient.UserFilter{Kind: auth.UserKindSuperUser}), zoe.User.ID)
	require.Empty(t, ids(authclient.UserFilter{Search: "%"}))
	for _, err := range f.client.Users(ctx, authclient.UserFilter{Search: "a\x00"}) {
		require.ErrorContains(t, err, "422")
	}

	own, err := f.client.Keys(ctx)
	require.NoError(t, err)
	me, err := f.client.CurrentUser(ctx)
	require.NoError(t, err)
	keys, err := f.client.UserKeys(ctx, me.ID)
	require.NoError(t, err)
	require.Equal(t, own, keys)
	sessions, err := f.client.UserSessions(ctx, me.ID)
	require.NoError(t, err)
	require.True(t, sessions[0].Current)
	sessions, err = f.client.UserSessions(ctx, zoe.User.ID)
	require.NoError(t, err)
	require.Empty(t, sessions)
	for _, id := range []string{"none", "", ".."} {
		_, err := f.client.UserKeys(ctx, id)
		require.ErrorIs(t, err, auth.ErrNotFound)
		_, err = f.client.UserSessions(ctx, id)
		require.ErrorIs(t, err, auth.ErrNotFound)
	}

	count := func(filter authclient.EventFilter) (n int) {
		for _, err := range f.client.Events(ctx, filter) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	created := authclient.EventFilter{Kind: eventkind.UserCreated, UserID: zoe.User.ID}
	require.Equal(t, 1, count(created))
	created.From, created.To = began.Truncate(time.Microsecond), began.Add(time.Hour)
	require.Equal(t, 1, count(created))
	created.From, created.To = began.Add(time.Hour), time.Time{}
	require.Zero(t, count(created))
	created.From, created.To = time.Time{}, began.Add(-time.Hour)
	require.Zero(t, count(created))
}
