package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

func rounds(t testing.TB) int {
	return testenv.Rounds(t, testenv.Counts{Small: 5, Moderate: 30, Full: 300})
}

// lock takes the write lock of an SQLite database, as another process would. The returned function
// releases the lock.
func lock(t testing.TB, db *sql.DB) (unlock func()) {
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	_, err = conn.ExecContext(ctx, `BEGIN IMMEDIATE`)
	require.NoError(t, err)
	return func() {
		_, err := conn.ExecContext(ctx, `ROLLBACK`)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
}

// together calls the function do with the numbers from 0 to n-1, in n goroutines that start at the
// same time. It requires that all calls succeed.
func together(t testing.TB, n int, do func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = do(i)
		})
	}
	close(start)
	all.Wait()
	require.NoError(t, errors.Join(errs...))
}

// readThenWrite registers a user and calls methods that read before they write. These calls would
// sometimes fail if a transaction took its lock only at its first write.
func readThenWrite(ctx context.Context, store auth.Store, id string) error {
	if err := store.Register(ctx, byHost, newUser(id), newKey("k-"+id, id)); err != nil {
		return err
	}
	if _, _, err := store.CreateSession(ctx, newSession("s-"+id, id, "k-"+id), 0); err != nil {
		return err
	}
	if _, _, err := store.FindKey(ctx, "k-"+id); err != nil {
		return err
	}
	super := true
	if _, err := store.UpdateUser(ctx, byHost, id, auth.UserChange{IsSuperUser: &super}); err != nil {
		return err
	}
	return store.RevokeSession(ctx, byHost, "s-"+id)
}

func TestTwoStoresOnOneFileTakeTurns(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	stores := []*sqlstore.Store{
		mustOpen(t, openDB(t, file, impatient)),
		mustOpen(t, openDB(t, file, impatient)),
	}
	n := rounds(t)
	together(t, 8, func(i int) error {
		for round := range n {
			id := fmt.Sprintf("u-%d-%d", i, round)
			if err := readThenWrite(context.Background(), stores[i%2], id); err != nil {
				return err
			}
		}
		return nil
	})
	require.Equal(t, []string{fmt.Sprint(8 * n)},
		column(t, openDB(t, file, ""), `SELECT COUNT(*) FROM auth_users WHERE is_super_user AND last_login > 0`))
}

func TestWritersOfOneStoreNeverMeetInTheDatabase(t *testing.T) {
	t.Parallel()
	s := &spy{}
	db := openSpied(t, "file:"+newFile(t)+impatient, s)
	store := mustOpen(t, db)
	s.watch(nil)
	n := rounds(t)
	together(t, 16, func(i int) error {
		for round := range n {
			if err := readThenWrite(context.Background(), store,
				fmt.Sprintf("u-%d-%d", i, round)); err != nil {
				return err
			}
		}
		return nil
	})
	require.Equal(t, s.count("COMMIT"), s.count("BEGIN"), "a BEGIN was refused: it met another one")
}

func TestOneConnectionIsEnoughForAll(t *testing.T) {
	t.Parallel()
	memory := openMemory(t, nil)
	file := openDB(t, newFile(t), recommended)
	file.SetMaxOpenConns(1)
	n := rounds(t)
	for _, db := range []*sql.DB{memory, file} {
		store := mustOpen(t, db)
		together(t, 8, func(i int) error {
			for round := range n {
				if err := readThenWrite(context.Background(), store,
					fmt.Sprintf("u-%d-%d", i, round)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func TestReadsProceedWhileAnotherProcessWrites(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	store := mustOpen(t, openDB(t, file, impatient))
	seed(t, store)
	unlock := lock(t, openDB(t, file, impatient))
	defer unlock()
	for _, v := range verbs() {
		if !v.writes {
			require.NoError(t, v.call(context.Background(), store), v.name)
		}
	}
}

func TestWaitingForAnotherProcessEndsWithTheContext(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{impatient, recommended} {
		file := newFile(t)
		db := openDB(t, file, settings)
		store := mustOpen(t, db)
		seed(t, store)
		unlock := lock(t, openDB(t, file, settings))

		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err := store.RevokeSession(ctx, byHost, "s-ada")
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		requireNoAnswer(t, err)
		requireNoTransaction(t, db)
		unlock()
		require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
	}
}

func TestWaitingForAnotherProcessEndsWithTheTimeout(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	seed(t, mustOpen(t, openDB(t, file, impatient)))
	db := openDB(t, file, impatient)
	store, err := sqlstore.Open(context.Background(), db,
		sqlstore.Config{Dialect: sqlstore.SQLite, Timeout: 10 * time.Millisecond})
	require.NoError(t, err)
	unlock := lock(t, openDB(t, file, impatient))
	defer unlock()
	err = store.RevokeSession(context.Background(), byHost, "s-ada")
	requireNoAnswer(t, err)
	require.ErrorContains(t, err, "locked")
	requireNoTransaction(t, db)
}

func TestWaitingForTheWriterEndsWithTheContext(t *testing.T) {
	t.Parallel()
	store, _, _ := spiedStore(t)
	require.NoError(t, store.Transact(context.Background(), func(context.Context, *sql.Conn) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		err := store.RevokeSession(ctx, byHost, "s-ada")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		return nil
	}))
	require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
}

func TestCanceledCallsLeaveNoTransactionOpen(t *testing.T) {
	t.Parallel()
	for name, db := range map[string]*sql.DB{
		"memory": openMemory(t, nil),
		"file":   openDB(t, newFile(t), recommended),
	} {
		store := mustOpen(t, db)
		n := rounds(t)
		together(t, 8, func(i int) error {
			for round := range n {
				ctx, cancel := context.WithCancel(context.Background())
				go cancel() // at any moment
				id := fmt.Sprintf("u-%d-%d", i, round)
				err := readThenWrite(ctx, store, id)
				cancel()
				if err != nil && !errors.Is(err, context.Canceled) {
					return err
				}
			}
			return nil
		})
		requireNoTransaction(t, db)
		require.Equal(t,
			column(t, db, `SELECT id FROM auth_users ORDER BY id`),
			column(t, db, `SELECT user_id FROM auth_access_keys ORDER BY user_id`), name)
		require.NoError(t, readThenWrite(context.Background(), store, "last"), name)
	}
}
