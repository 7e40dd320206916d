package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// coded is an error with a code, like the errors of modernc.org/sqlite.
type coded int

func (c coded) Error() string { return fmt.Sprintf("code %d", int(c)) }
func (c coded) Code() int     { return int(c) }

var errOfHost = errors.New("an error that only the host knows")

func TestViolatedUniqueConstraintIsRecognized(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		exists bool
	}{
		{coded(2067), true},
		{coded(1555), true},
		{fmt.Errorf("wrapped: %w", coded(2067)), true},
		{errors.New("UNIQUE constraint failed: auth_users.id"), true}, // mattn/go-sqlite3
		{errors.New("sqlite3: constraint failed: UNIQUE constraint failed: auth_users.id"), true},
		{fmt.Errorf("wrapped: %w", errOfHost), true},
		{coded(19), false},   // SQLITE_CONSTRAINT of unknown kind
		{coded(1299), false}, // NOT NULL
		{coded(787), false},  // FOREIGN KEY
		{coded(13), false},   // SQLITE_FULL
		{errors.New("NOT NULL constraint failed: auth_users.id"), false},
		{errors.New("CHECK constraint failed: is_active"), false},
		{errors.New("unique"), false},
	} {
		err := registerFailing(t, c.err, func(err error) bool { return errors.Is(err, errOfHost) })
		if c.exists {
			require.ErrorIs(t, err, auth.ErrExists, c.err)
			continue
		}
		requireNoAnswer(t, err)
		require.ErrorIs(t, err, c.err)
	}
}

func TestIsConflictMayBeMissing(t *testing.T) {
	t.Parallel()
	err := registerFailing(t, errOfHost, nil)
	requireNoAnswer(t, err)
	require.ErrorIs(t, err, errOfHost)
}

func TestIsConflictIsCalledOnlyForUnrecognizedErrors(t *testing.T) {
	t.Parallel()
	err := registerFailing(t, coded(2067), func(error) bool { panic("asked") })
	require.ErrorIs(t, err, auth.ErrExists)
}

func TestPanicOfIsConflictBecomesAnError(t *testing.T) {
	t.Parallel()
	err := registerFailing(t, errOfHost, func(error) bool { panic("oops") })
	requireNoAnswer(t, err)
	require.ErrorContains(t, err, "IsConflict panicked: oops")
	require.ErrorIs(t, err, errOfHost)
}

// registerFailing calls Register with a driver that returns the error failure. registerFailing
// returns the error of Register, and checks that Register changed nothing.
func registerFailing(t *testing.T, failure error, isConflict func(error) bool) error {
	s := &spy{}
	db := openMemory(t, s)
	store, err := sqlstore.Open(context.Background(), db,
		sqlstore.Config{Dialect: sqlstore.SQLite, IsConflict: isConflict})
	require.NoError(t, err)
	before := dump(t, db)
	s.watch(func(_ context.Context, statement string) error {
		if strings.HasPrefix(statement, "INSERT INTO auth_access_keys") {
			return failure
		}
		return nil
	})
	err = store.Register(context.Background(), byHost, newUser("ada"), newKey("k-ada", "ada"))
	s.watch(nil)
	require.Equal(t, before, dump(t, db))
	requireNoTransaction(t, db)
	return err
}

func TestBusyDatabaseIsRetried(t *testing.T) {
	t.Parallel()
	for _, busy := range []error{
		coded(5), coded(261), // SQLITE_BUSY, SQLITE_BUSY_RECOVERY
		fmt.Errorf("wrapped: %w", coded(5)),
		errors.New("database is locked"), // mattn/go-sqlite3
	} {
		store, _, s := spiedStore(t)
		for _, call := range []func() error{
			func() error { return store.Ping(context.Background()) },
			func() error { return store.RevokeSession(context.Background(), byHost, "s-ada") },
		} {
			s.watch(at(1, func(context.Context) error { return busy }))
			require.NoError(t, call(), busy)
		}
	}
}

func TestOtherDatabaseErrorsAreNotRetried(t *testing.T) {
	t.Parallel()
	store, _, s := spiedStore(t)
	// Code 6 is SQLITE_LOCKED: this program itself holds the lock.
	s.watch(at(1, func(context.Context) error { return coded(6) }))
	requireNoAnswer(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
	require.Equal(t, 1, s.count("BEGIN IMMEDIATE"))
}
