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
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/sallyport-go/auth/storekit"
)

// enders is the number of goroutines that revoke sessions at the same time.
const enders = 8

// twoStores returns two stores on the same tables, like two instances of a service. It also returns
// a stage with the pool of the second store. The field store of this stage is nil.
func twoStores[S auth.AccountStore](
	t *testing.T, on *server, open func(context.Context, *sql.DB, sqlstore.Config) (S, error),
) ([]S, *stage) {
	t.Helper()
	cfg, file := config, newFile(t)
	if on != nil {
		cfg = on.config()
	}
	var stores []S
	last := &stage{prefix: "auth_", spy: &spy{}}
	if on != nil {
		last.prefix = cfg.Prefix
	}
	for range 2 {
		if on != nil {
			last.db = on.open(t, last.spy, enders)
		} else {
			last.db = openSpied(t, "file:"+file+impatient, last.spy)
		}
		store, err := open(context.Background(), last.db, cfg)
		require.NoError(t, err)
		stores = append(stores, store)
	}
	return stores, last
}

// onAll runs the test with SQLite and with each available server. For SQLite, the parameter on is
// nil.
func onAll(t *testing.T, test func(t *testing.T, on *server)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, nil)
	})
	onServers(t, test)
}

// nameMany adds storekit.MaxNamedRevocations entries that name sessions of "ada". With one more such
// entry, the store folds the entries.
func (s *stage) nameMany(t *testing.T) {
	t.Helper()
	var rows []string
	for i := 1; i <= storekit.MaxNamedRevocations; i++ {
		rows = append(rows, fmt.Sprintf(`(%d, 'r%d', 'ada', 'e%d', %d, %d)`, i, i, i, i-1,
			now.Add(time.Hour).UnixMicro()))
	}
	_, err := s.db.Exec(`INSERT INTO ` + s.prefix + `revocations (position, id, user_id, session_id, generation, expires_at)
		VALUES ` + strings.Join(rows, ", "))
	require.NoError(t, err)
	_, err = s.db.Exec(fmt.Sprintf(`UPDATE %srevocation_head SET position = %d`, s.prefix, storekit.MaxNamedRevocations))
	require.NoError(t, err)
	s.spy.watch(nil)
}

// addMany adds a user for each ender. Each user gets a session for each round.
func addMany(t *testing.T, store *sqlstore.Store, rounds int) {
	t.Helper()
	ctx := context.Background()
	for i := range enders {
		user := fmt.Sprintf("u-%d", i)
		require.NoError(t, store.Register(ctx, byHost, newUser(user), newKey("k-"+user, user)))
		for round := range rounds {
			_, _, err := store.CreateSession(ctx,
				newSession(fmt.Sprintf("s-%d-%d", i, round), user, "k-"+user), 0)
			require.NoError(t, err)
		}
	}
}

// A transaction must choose the position of an entry only when the order of the commits is certain.
// If it chose the position earlier, a reader could have already passed this position when the entry
// is added.
func TestFeedReaderMissesNoEntry(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, _ := twoStores(t, on, sqlstore.Open)
		n, ctx := 4*rounds(t), context.Background()
		addMany(t, stores[0], n)
		var over atomic.Int64
		var seen []auth.Revocation
		together(t, enders+1, func(i int) error {
			if i == enders {
				return follow(ctx, stores[0], &seen, func() bool { return over.Load() == enders })
			}
			defer over.Add(1)
			for round := range n {
				if err := stores[i%2].RevokeSession(ctx, byHost,
					fmt.Sprintf("s-%d-%d", i, round)); err != nil {
					return err
				}
			}
			return nil
		})
		require.Len(t, seen, enders*n)
		sessions, ids := map[string]bool{}, map[string]bool{}
		for i, e := range seen {
			require.Equal(t, int64(i+1), e.Position)
			sessions[e.SessionID], ids[e.ID] = true, true
		}
		require.Len(t, sessions, enders*n)
		require.Len(t, ids, enders*n)
	})
}

// follow reads the feed from the position after the last entry that it has seen. follow returns
// when the function over returns true and there are no more entries.
func follow(
	ctx context.Context, store *sqlstore.Store, seen *[]auth.Revocation, over func() bool,
) error {
	from := int64(1)
	for {
		last := over()
		page, err := store.ListRevocations(ctx, from, 7)
		if err != nil || last && len(page) == 0 {
			return err
		}
		for _, e := range page {
			*seen = append(*seen, e)
			from = e.Position + 1
		}
	}
}

func TestRolledBackRevocationLeavesNoEntryAndNoGap(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is on fire")
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s, ctx := newStage(t), context.Background()
		end := map[string]func() error{
			"s-ada": func() error { return s.store.RevokeSession(ctx, byHost, "s-ada") },
			"s-old": func() error { _, err := s.store.RevokeUserSessions(ctx, byHost, "ada"); return err },
		}
		for i, id := range []string{"s-ada", "s-old"} {
			s.spy.watch(func(_ context.Context, statement string) error {
				if statement == "COMMIT" {
					return broken
				}
				return nil
			})
			require.ErrorIs(t, end[id](), broken)
			inserts := slices.DeleteFunc(s.spy.statements(), func(statement string) bool {
				return !strings.Contains(statement, "INSERT INTO "+s.prefix+"revocations")
			})
			require.Len(t, inserts, 1)
			s.spy.watch(nil)
			_, err := s.store.FindSession(ctx, id)
			require.NoError(t, err)
			feed, err := s.store.ListRevocations(ctx, 0, 10)
			require.NoError(t, err)
			require.Len(t, feed, i)

			require.NoError(t, end[id]())
			feed, err = s.store.ListRevocations(ctx, 0, 10)
			require.NoError(t, err)
			require.Len(t, feed, i+1)
			require.Equal(t, int64(i+1), feed[i].Position)
		}
	})
}

// Every revocation locks the head of the feed. Calls that read, prune or sign in must not wait for
// this lock.
func TestOnlyRevocationsWaitForTheHeadOfTheFeed(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		s.nameMany(t)
		s.makeTwoOld(t)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, s.store.Transact(ctx, func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, `UPDATE `+s.prefix+`revocation_head SET position = position + 1`)
			require.NoError(t, err)
			n, err := s.store.PruneRevocations(ctx, now.Add(time.Hour), 10)
			require.NoError(t, err)
			require.Equal(t, 2, n)
			_, err = s.store.ListRevocations(ctx, 1, 10)
			require.NoError(t, err)
			_, _, err = s.store.CreateSession(ctx, newSession("s-new", "ada", "k-ada"), 0)
			require.NoError(t, err)

			soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, s.store.RevokeSession(soon, byHost, "s-ada"), context.DeadlineExceeded)
			return nil
		}))
		require.NoError(t, s.store.RevokeSession(ctx, byHost, "s-ada"))
	})
}

// makeTwoOld changes the entries of nameMany so that two of them, of different users, can be pruned:
// they have expired, and storekit.KeptRevocations entries follow them.
func (s *stage) makeTwoOld(t *testing.T) {
	t.Helper()
	table, newest := s.prefix+"revocations", storekit.MaxNamedRevocations
	for _, change := range []string{
		`UPDATE ` + table + ` SET expires_at = 1 WHERE position <= 2`,
		`UPDATE ` + table + ` SET user_id = 'eve' WHERE position = 2`,
		fmt.Sprintf(`INSERT INTO %s (position, id, user_id, session_id, generation, expires_at)
			VALUES (%d, 'new', 'bob', 'b1', 1, 1), (%d, 'newest', 'bob', 'b2', 1, 1)`, table, newest+1, newest+2),
		fmt.Sprintf(`UPDATE %srevocation_head SET position = %d`, s.prefix, newest+2),
	} {
		_, err := s.db.Exec(change)
		require.NoError(t, err)
	}
}

// A transaction that folds entries has locked the head of the feed, and other revocations of the
// same user may be waiting for the head. So the transaction must not wait for them.
func TestFoldingDoesNotDeadlockWithWaitingRevocations(t *testing.T) {
	t.Parallel()
	t.Run("users", func(t *testing.T) {
		t.Parallel()
		onAll(t, func(t *testing.T, on *server) {
			stores, s := twoStores(t, on, sqlstore.Open)
			require.NoError(t, stores[0].Register(context.Background(), byHost, newUser("ada"),
				newKey("k-ada", "ada")))
			requireFoldingWaitsForNobody(t, on, stores, s)
		})
	})
	t.Run("accounts", func(t *testing.T) {
		t.Parallel()
		onAll(t, func(t *testing.T, on *server) {
			stores, s := twoStores(t, on, sqlstore.OpenAccounts)
			require.NoError(t, stores[0].AddKey(context.Background(), byHost, newKey("k-ada", "ada")))
			requireFoldingWaitsForNobody(t, on, stores, s)
		})
	})
}

// requireFoldingWaitsForNobody revokes several sessions of "ada" at the same time, on both stores.
// The user "ada" has the key "k-ada".
func requireFoldingWaitsForNobody[S auth.AccountStore](t *testing.T, on *server, stores []S, s *stage) {
	t.Helper()
	ctx := context.Background()
	for i := range enders {
		_, _, err := stores[0].CreateSession(ctx, newSession(fmt.Sprintf("s-%d", i), "ada", "k-ada"), 0)
		require.NoError(t, err)
	}
	// If a table has few rows, MariaDB scans the whole table, and would wait for unrelated rows.
	if on != nil {
		s.fillWith(t, on.dialect, fillSessions, "sessions")
	}
	s.nameMany(t)
	together(t, enders, func(i int) error {
		err := stores[i%2].RevokeSession(ctx, byHost, fmt.Sprintf("s-%d", i))
		if errors.Is(err, auth.ErrNotFound) {
			// Another call has folded the entries and removed this session.
			return nil
		}
		return err
	})
	// On SQLite there is only one writer at a time, so nothing can deadlock.
	if on != nil {
		require.Equal(t, enders, s.spy.count("BEGIN")+s.spy.count("START"),
			"the database had to resolve a deadlock")
	}
	requireFolded(t, stores[0])
}

// requireFolded checks the feed and the sessions of "ada" after the entries of nameMany were
// folded.
func requireFolded(t *testing.T, store auth.SessionStore) {
	t.Helper()
	feed, err := store.ListRevocations(context.Background(), 1, 2*storekit.MaxNamedRevocations)
	require.NoError(t, err)
	named, folds := 0, 0
	for i, e := range feed {
		require.Equal(t, int64(i+1), e.Position)
		if e.SessionID == "" {
			folds++
			require.Equal(t, now.Add(time.Hour), e.ExpiresAt)
		} else if !e.ExpiresAt.IsZero() {
			named++
		}
	}
	require.Equal(t, 1, folds)
	require.LessOrEqual(t, named, storekit.MaxNamedRevocations/2+enders)
	for i := range enders {
		_, err := store.FindSession(context.Background(), fmt.Sprintf("s-%d", i))
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
}

// On MariaDB, a statement can see the entry of a later transaction but not yet that of an earlier
// one. The test removes an entry for a moment, which looks the same.
func TestNoEntryIsListedAfterAHiddenOne(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, s := twoStores(t, on, sqlstore.Open)
		ctx, store := context.Background(), stores[0]
		require.NoError(t, store.Register(ctx, byHost, newUser("bob"), newKey("k-bob", "bob")))
		for i := range 4 {
			_, _, err := store.CreateSession(ctx, newSession(fmt.Sprint(i), "bob", "k-bob"), 0)
			require.NoError(t, err)
			require.NoError(t, store.RevokeSession(ctx, byHost, fmt.Sprint(i)))
		}
		positions := func(from int64) (seen []int64) {
			entries, err := store.ListRevocations(ctx, from, 10)
			require.NoError(t, err)
			for _, e := range entries {
				seen = append(seen, e.Position)
			}
			return seen
		}
		require.Equal(t, []int64{1, 2, 3, 4}, positions(0))
		table := s.prefix + "revocations"
		_, err := s.db.Exec(`UPDATE ` + table + ` SET position = 1000003 WHERE position = 3`)
		require.NoError(t, err)
		for _, from := range []int64{0, 2, 3} {
			_, err := store.ListRevocations(ctx, from, 10)
			require.ErrorContains(t, err, "an entry is missing", "it does not appear")
		}
		_, err = s.db.Exec(`UPDATE ` + table + ` SET position = 3 WHERE position = 1000003`)
		require.NoError(t, err)
		require.Equal(t, []int64{3, 4}, positions(3))

		// A gap that pruning has left is no error.
		_, err = s.db.Exec(`UPDATE ` + s.prefix + `revocation_head SET position = 1003`)
		require.NoError(t, err)
		_, err = s.db.Exec(`DELETE FROM ` + table + ` WHERE position IN (1, 3)`)
		require.NoError(t, err)
		require.Equal(t, []int64{2, 4}, positions(0))
	})
}
