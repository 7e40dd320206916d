package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/sallyport-go/auth/storekit"
)

// ofEachOther lists changes that one super user can make to another. If two super users change each
// other at the same time, the first change ends the authority of the other user. So the later
// change fails. The field lost is the error of the later change.
var ofEachOther = []struct {
	name string
	make func(ctx context.Context, s *sqlstore.Store, w auth.Write, userID string) error
	lost error
}{
	{"disable", func(ctx context.Context, s *sqlstore.Store, w auth.Write, userID string) error {
		_, err := s.UpdateUser(ctx, w, userID, auth.UserChange{IsActive: new(bool)})
		return err
	}, auth.ErrTokenRejected},
	{"demote", func(ctx context.Context, s *sqlstore.Store, w auth.Write, userID string) error {
		_, err := s.UpdateUser(ctx, w, userID, auth.UserChange{IsSuperUser: new(bool)})
		return err
	}, auth.ErrSuperUserRequired},
	{"revoke sessions", func(ctx context.Context, s *sqlstore.Store, w auth.Write, userID string) error {
		_, err := s.RevokeUserSessions(ctx, w, userID)
		return err
	}, auth.ErrTokenRejected},
	{"reset", func(ctx context.Context, s *sqlstore.Store, w auth.Write, userID string) error {
		_, _, err := s.ResetUser(ctx, w, userID, auth.UserChange{}, newKey("k-of-"+userID, userID))
		return err
	}, auth.ErrTokenRejected},
	{"delete", func(ctx context.Context, s *sqlstore.Store, w auth.Write, userID string) error {
		_, err := s.DeleteUser(ctx, w, userID)
		return err
	}, auth.ErrTokenRejected},
}

// Two super users change each other at the same time, on two instances. Each change locks the
// records of both users. If the locks had no fixed order, the two changes would deadlock.
func TestTwoSuperUsersChangingEachOtherNeverDeadlock(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, s := twoStores(t, on, sqlstore.Open)
		ctx := context.Background()
		addSuperUser(t, stores[0], "stays")
		for round := range testenv.Rounds(t, testenv.Counts{Small: 20, Moderate: 20, Full: 10_000}) {
			users := []string{fmt.Sprintf("a-%d", round), fmt.Sprintf("b-%d", round)}
			for _, user := range users {
				addSuperUser(t, stores[0], user)
			}
			changes := []int{round % len(ofEachOther), round / len(ofEachOther) % len(ofEachOther)}
			s.spy.watch(nil)
			errs := make([]error, 2)
			together(t, 2, func(i int) error {
				w := bySession("s-"+users[i], users[i])
				errs[i] = ofEachOther[changes[i]].make(ctx, stores[i], w, users[1-i])
				return nil
			})
			winner := slices.Index(errs, nil)
			require.NotEqual(t, -1, winner, "%v", errs)
			require.ErrorIs(t, errs[1-winner], ofEachOther[changes[winner]].lost, "%v", changes)
			if on != nil {
				require.Equal(t, 2, s.spy.count("BEGIN")+s.spy.count("START"),
					"the database had to resolve a deadlock")
			}
			for _, user := range users { // so that super users do not accumulate
				_, err := stores[0].DeleteUser(ctx, byHost, user)
				require.True(t, err == nil || errors.Is(err, auth.ErrNotFound), "%v", err)
			}
		}
	})
}

// addSuperUser adds a super user with a key and a session.
func addSuperUser(t *testing.T, store *sqlstore.Store, id string) {
	t.Helper()
	user := newUser(id)
	user.IsSuperUser = true
	require.NoError(t, store.Register(context.Background(), byHost, user, newKey("k-"+id, id)))
	_, _, err := store.CreateSession(context.Background(), newSession("s-"+id, id, "k-"+id), 0)
	require.NoError(t, err)
}

// Every change takes a lock that it shares with other changes. RevokeEverybody takes the same lock
// exclusively. Without the lock, a session could make a change after RevokeEverybody has revoked
// the session. If the lock were not granted in the order of the requests, RevokeEverybody might
// wait forever.
func TestRevokeEverybodyWaitsForRunningChangesButNotForever(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, _ := twoStores(t, on, sqlstore.Open)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for i := range enders {
			addSuperUser(t, stores[0], fmt.Sprintf("u-%d", i))
		}
		var revoked atomic.Bool
		var made atomic.Int64
		busy := make(chan struct{}) // closed when the other goroutines have begun to make changes
		late := make([]int, enders)
		together(t, enders+1, func(i int) error {
			if i == enders {
				select {
				case <-busy:
				case <-ctx.Done():
				}
				err := stores[0].RevokeEverybody(ctx, byHost, 0)
				revoked.Store(true)
				return err
			}
			user := fmt.Sprintf("u-%d", i)
			for n := 0; ctx.Err() == nil; n++ {
				after := revoked.Load()
				key := fmt.Sprintf("k-%d-%d", i, n)
				err := stores[i%2].AddKey(ctx, bySession("s-"+user, user), newKey(key, user))
				if err == nil {
					if made.Add(1) == 4*enders {
						close(busy)
					}
					err = stores[i%2].RevokeKey(ctx, byHost, key)
					if after {
						late[i]++
					}
				}
				switch {
				case errors.Is(err, auth.ErrTokenRejected):
					return nil
				case err != nil:
					return err
				}
			}
			return ctx.Err()
		})
		require.Equal(t, make([]int, enders), late, "no key may be added after the revocation")
	})
}

// Several changes of one user of the host run at the same time, while auth_host_users has no row
// for this user yet.
func TestConcurrentFirstChangesOfHostUserSucceed(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, s := twoStores(t, on, sqlstore.OpenAccounts)
		for round := range rounds(t) {
			user := fmt.Sprintf("u-%d", round)
			together(t, enders, func(i int) error {
				return stores[i%2].AddKey(context.Background(), byHost,
					newKey(fmt.Sprintf("k-%d-%d", round, i), user))
			})
			require.Equal(t, []string{user}, column(t, s.db, `SELECT id FROM `+s.prefix+`host_users WHERE id = '`+user+`'`))
		}
	})
}

// A sign-in with a key needs no statement for an authority. A change takes a shared lock on the row
// of auth_everybody. If the authority is a session, the change needs one more statement, which
// reads the session.
func TestCheckingAnAuthorityTakesFewStatements(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		ctx := context.Background()
		count := func(call func() error) int {
			s.spy.watch(nil)
			require.NoError(t, call())
			return len(s.spy.statements())
		}
		shared := 0
		if s.prefix != "auth_" { // SQLite has only one writer and needs no such lock
			shared = 1
		}
		if strings.HasSuffix(t.Name(), "/postgres") { // PostgreSQL also takes an advisory lock
			shared++
		}
		start := count(func() error {
			return s.store.Transact(ctx, func(context.Context, *sql.Conn) error { return nil })
		})
		withoutEvent := bySession("s-eve", "eve")
		withoutEvent.Event = auth.Event{}
		// Lock the user, lock the key, insert the session, set LastLogin.
		require.LessOrEqual(t, count(func() error {
			_, _, err := s.store.CreateSession(ctx, newSession("s-new", "ada", "k-ada"), 0)
			return err
		}), start+4)
		const own = 3 // lock the user, count the keys, insert the key
		require.Equal(t, start+own+shared, count(func() error {
			return s.store.AddKey(ctx, byHost, newKey("k-1", "ada"))
		}))
		require.Equal(t, start+own+shared+1, count(func() error {
			return s.store.AddKey(ctx, withoutEvent, newKey("k-2", "ada"))
		}))
		require.Equal(t, start+own+shared+2, count(func() error {
			return s.store.AddKey(ctx, bySession("s-eve", "eve"), newKey("k-3", "ada"))
		}))
	})
}

// RevokeEverybody can skip positions of the revocation feed. Readers must not wait for entries at
// these positions.
func TestFeedContinuesAfterSkippedPositions(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, _ := twoStores(t, on, sqlstore.Open)
		ctx, store := context.Background(), stores[0]
		addSuperUser(t, store, "ada")
		require.NoError(t, store.RevokeSession(ctx, byHost, "s-ada"))
		require.NoError(t, store.RevokeEverybody(ctx, byHost, 41))
		require.ErrorIs(t, store.RevokeEverybody(ctx, byHost, 41), auth.ErrChanged, "nothing is left to do")
		require.NoError(t, store.RevokeEverybody(ctx, byHost, 0))
		feed, err := store.ListRevocations(ctx, 1, 10)
		require.NoError(t, err)
		var positions []int64
		for _, entry := range feed {
			positions = append(positions, entry.Position)
		}
		skipped := byHost.Now().UnixMicro()
		newest := skipped + 2 + storekit.SkippedPositions
		require.Equal(t, []int64{1, skipped + 1, newest}, positions)
		require.Zero(t, feed[1].ExpiresAt, "the newer entry replaces it")
		require.Equal(t, newest, feed[2].Generation)
		head, err := store.RevocationHead(ctx)
		require.NoError(t, err)
		require.Equal(t, newest, head)
	})
}
