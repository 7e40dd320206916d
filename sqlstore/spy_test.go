package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth/sqlstore"
)

// spy is a driver that notes every statement on its way to SQLite's, and can
// meddle with it.
type spy struct {
	driver.Connector

	mu     sync.Mutex
	log    []string
	closed int
	before func(ctx context.Context, statement string) error
}

// Connect returns a connection that the spy sees through.
func (s *spy) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := s.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &spiedConn{conn.(sqliteConn), s}, nil
}

// watch empties the log and from now on calls before, if it is not nil, with
// each statement; what it returns the statement returns, without being run.
func (s *spy) watch(before func(ctx context.Context, statement string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.before = nil, before
}

// statements returns the log.
func (s *spy) statements() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

// verbs returns the first word of each statement in the log.
func (s *spy) verbs() []string {
	var words []string
	for _, statement := range s.statements() {
		words = append(words, strings.Fields(statement)[0])
	}
	return words
}

// count returns how many statements in the log begin with the words.
func (s *spy) count(words string) (n int) {
	for _, statement := range s.statements() {
		if strings.HasPrefix(statement, words) {
			n++
		}
	}
	return n
}

func (s *spy) closedConns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// sqliteConn is what modernc.org/sqlite's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type spiedConn struct {
	sqliteConn
	spy *spy
}

func (c *spiedConn) ExecContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Result, error) {
	return meddle(ctx, c.spy, statement, func() (driver.Result, error) {
		return c.sqliteConn.ExecContext(ctx, statement, args)
	})
}

func (c *spiedConn) QueryContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Rows, error) {
	return meddle(ctx, c.spy, statement, func() (driver.Rows, error) {
		return c.sqliteConn.QueryContext(ctx, statement, args)
	})
}

func (c *spiedConn) Close() error {
	c.spy.mu.Lock()
	c.spy.closed++
	c.spy.mu.Unlock()
	return c.sqliteConn.Close()
}

func meddle[T any](ctx context.Context, s *spy, statement string, run func() (T, error)) (result T, err error) {
	statement = strings.Join(strings.Fields(statement), " ")
	s.mu.Lock()
	s.log = append(s.log, statement)
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return run()
	}
	err = before(ctx, statement)
	if late, ok := err.(afterwards); ok {
		_, _ = run()
		return result, late()
	}
	if err != nil {
		return result, err
	}
	return run()
}

// afterwards says what to return of a statement that is run all the same. It must
// not be one that returns rows.
type afterwards func() error

func (afterwards) Error() string { return "afterwards" }

// spiedStore returns a seeded store in memory, its pool, and the spy on it.
func spiedStore(t testing.TB) (*sqlstore.Store, *sql.DB, *spy) {
	s := &spy{}
	db := openMemory(t, s)
	store := mustOpen(t, db)
	seed(t, store)
	s.watch(nil)
	return store, db, s
}

// at returns a meddler that calls do in the place of the n-th statement from
// now on, and lets all others pass.
func at(n int, do func(context.Context) error) func(context.Context, string) error {
	count := 0
	return func(ctx context.Context, _ string) error {
		count++
		if count != n {
			return nil
		}
		return do(ctx)
	}
}
