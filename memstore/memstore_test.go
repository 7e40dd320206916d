package memstore_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storekit"
	"github.com/sallyport-go/auth/storetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) auth.Store { return memstore.New() })
}

func TestContractOfAccounts(t *testing.T) {
	t.Parallel()
	storetest.RunAccounts(t, func(*testing.T) auth.AccountStore { return memstore.NewAccounts() })
}

var now = time.Date(2031, time.February, 3, 4, 5, 6, 0, time.UTC)

// byHost is a write by the host. It happens at the time in the variable now, and has no event.
var byHost = auth.Write{By: auth.ByHost("test"), Now: func() time.Time { return now },
	MaxTokenLifetime: time.Hour}

func newKey(userID, id string) auth.AccessKey {
	return auth.AccessKey{ID: id, UserID: userID, Hash: "hash", CreatedAt: now,
		ExpiresAt: now.Add(time.Hour)}
}

// Adding thousands of users splits the blocks in which the store keeps them. Deleting most of these
// users makes some blocks empty.
func TestThousandsOfUsersAreListedInOrder(t *testing.T) {
	t.Parallel()
	store := memstore.New()
	var ids []string
	for i := range 5000 {
		ids = append(ids, fmt.Sprintf("user-%04d", i))
	}
	for _, i := range rand.Perm(len(ids)) {
		user := auth.User{ID: ids[i], Username: ids[i], IsActive: true, CreatedAt: now}
		require.NoError(t, store.Register(t.Context(), byHost, user, newKey(ids[i], ids[i])))
	}
	requireListed(t, store, ids)
	for _, i := range rand.Perm(len(ids))[:2500] {
		_, err := store.DeleteUser(t.Context(), byHost, ids[i])
		require.NoError(t, err)
		ids[i] = ""
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" })
	requireListed(t, store, ids)
	for _, id := range ids[:2000] { // removes whole blocks from the front
		_, err := store.DeleteUser(t.Context(), byHost, id)
		require.NoError(t, err)
	}
	requireListed(t, store, ids[2000:])
}

func requireListed(t *testing.T, store auth.Store, want []string) {
	t.Helper()
	for _, limit := range []int{7, 1000, math.MaxInt} {
		var got []string
		for after := ""; ; after = got[len(got)-1] {
			page, err := store.ListUsers(t.Context(), auth.UserQuery{After: after, Limit: limit})
			require.NoError(t, err)
			for _, user := range page {
				got = append(got, user.ID)
			}
			if len(page) < limit {
				break
			}
		}
		require.Equal(t, want, got)
	}
}

// Accounts must forget a user when the last record of the user is removed.
func TestAccountsForgetsUserWithoutRecords(t *testing.T) {
	t.Parallel()
	account := auth.GitHubAccount{Host: "github.com", ID: 1}
	link := auth.GitHubLink{Account: account, UserID: "u", Login: "octocat", CreatedAt: now,
		SeenAt: now}
	session := auth.Session{ID: "s", UserID: "u", Method: auth.MethodHost, CreatedAt: now,
		ExpiresAt: now}
	for name, end := range map[string]func(store *memstore.Accounts) error{
		"ended": func(store *memstore.Accounts) error { return store.RevokeSession(t.Context(), byHost, "s") },
		"all revoked": func(store *memstore.Accounts) error {
			_, err := store.RevokeUserSessions(t.Context(), byHost, "u")
			return err
		},
		"pruned": func(store *memstore.Accounts) error {
			_, err := store.PruneSessions(t.Context(), now, 1)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := memstore.NewAccounts()
			require.ErrorIs(t, store.RevokeKey(t.Context(), byHost, "k"), auth.ErrNotFound)
			_, err := store.RevokeUserSessions(t.Context(), byHost, "u")
			require.NoError(t, err)
			require.Zero(t, store.Owners())

			_, _, err = store.SignInGitHub(t.Context(), byHost,
				auth.GitHubSignInWrite{Link: link, Session: session})
			require.NoError(t, err)
			require.NoError(t, store.AddKey(t.Context(), byHost, newKey("u", "k")))
			_, _, err = store.UnlinkGitHub(t.Context(), byHost, "u", "github.com")
			require.NoError(t, err)
			require.NoError(t, store.RevokeKey(t.Context(), byHost, "k"))
			require.Equal(t, 1, store.Owners())
			require.NoError(t, end(store))
			require.Zero(t, store.Owners())
		})
	}
}

// A pruned entry must not count toward storekit.MaxNamedRevocations. The test needs thousands of
// sessions, and only a store in memory opens that many quickly.
func TestPrunedEntriesDoNotCountForFolding(t *testing.T) {
	t.Parallel()
	ctx, store, now := t.Context(), memstore.New(), time.Now()
	brief := auth.Write{By: byHost.By, Now: time.Now} // entries expire with their sessions
	end := func(user string, n int) {
		t.Helper()
		for i := range n {
			session := auth.Session{
				ID: fmt.Sprintf("%s-%d-%d", user, n, i), UserID: user, Method: auth.MethodHost,
				CreatedAt: now, ExpiresAt: now.Add(time.Hour),
			}
			_, _, err := store.CreateSession(ctx, session, 0)
			require.NoError(t, err)
			require.NoError(t, store.RevokeSession(ctx, brief, session.ID))
		}
	}
	for _, user := range []string{"ada", "eve"} {
		require.NoError(t, store.Register(ctx, byHost,
			auth.User{ID: user, Username: user, IsActive: true, CreatedAt: now},
			auth.AccessKey{ID: "key of " + user, UserID: user, Hash: "hash", CreatedAt: now}))
	}
	end("ada", storekit.MaxNamedRevocations)
	end("eve", storekit.KeptRevocations)
	pruned, err := store.PruneRevocations(ctx, now.Add(time.Hour), storekit.MaxNamedRevocations)
	require.NoError(t, err)
	require.Equal(t, storekit.MaxNamedRevocations, pruned)
	end("ada", 1)
	feed, err := store.ListRevocations(ctx, 0, 1_000_000)
	require.NoError(t, err)
	require.Len(t, feed, storekit.KeptRevocations+1)
	require.NotEmpty(t, feed[storekit.KeptRevocations].SessionID, "the newest entry must name its session")
}
