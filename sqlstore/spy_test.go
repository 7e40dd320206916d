package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth/sqlstore"
)

// spy is a driver between the store and the real driver. The spy records every statement, and can
// return an error instead of running the statement. It ignores the statements that check a new
// connection, because a pool opens connections at any time.
type spy struct {
	driver.Connector

	mu          sync.Mutex
	log         []string
	args        [][]driver.NamedValue // arguments of the statements in the log
	closed      int
	closedStmts int
	before      func(ctx context.Context, statement string) error
	endless     []string // statements without a deadline, with those that check a new connection
}

// Connect returns a connection that passes through the spy.
func (s *spy) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := s.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &spiedConn{driverConn: conn.(driverConn), spy: s, prepared: map[*spiedStmt]bool{}}, nil
}

// watch empties the log and sets the field named before. From then on, the spy calls this function
// with each statement. If the function returns an error, the spy does not run the statement and
// returns the error. The function may be nil.
func (s *spy) watch(before func(ctx context.Context, statement string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.args, s.closedStmts, s.before = nil, nil, 0, before
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

// count returns the number of statements in the log that begin with the words.
func (s *spy) count(words string) (n int) {
	for _, statement := range s.statements() {
		if strings.HasPrefix(statement, words) {
			n++
		}
	}
	return n
}

// changes returns the statements in the log that change tables or rows. It leaves out the statements
// that only find out whether the store has the right to make a change.
func (s *spy) changes() []string {
	return slices.DeleteFunc(s.statements(), func(statement string) bool {
		return !changing.MatchString(statement) || strings.HasSuffix(statement, "WHERE 1 = 0")
	})
}

var changing = regexp.MustCompile(`^(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE)`)

func (s *spy) closedConns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// driverConn is the interface of the connections of all drivers that the tests use.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
}

type spiedConn struct {
	driverConn
	spy      *spy
	lost     bool
	prepared map[*spiedStmt]bool // open prepared statements
}

// lose closes the connection, as if the network had failed: the server notices this and rolls back.
// lose also closes the prepared statements, because SQLite keeps its lock while a prepared
// statement is open.
func (c *spiedConn) lose() {
	c.lost = true
	for prepared := range c.prepared {
		_ = prepared.Stmt.Close()
	}
	_ = c.driverConn.Close()
}

func (c *spiedConn) IsValid() bool {
	inner, ok := c.driverConn.(driver.Validator)
	return !c.lost && (!ok || inner.IsValid())
}

// ExecContext runs the statement. A driver can decline to run a statement with arguments, and is then
// asked to prepare the statement instead. The spy does so itself, so that the log has one entry.
func (c *spiedConn) ExecContext(
	ctx context.Context, statement string, args []driver.NamedValue,
) (driver.Result, error) {
	return meddle(ctx, c, statement, args, func() (driver.Result, error) {
		result, err := c.driverConn.ExecContext(ctx, statement, args)
		if !errors.Is(err, driver.ErrSkip) {
			return result, err
		}
		prepared, err := c.driverConn.PrepareContext(ctx, statement)
		if err != nil {
			return nil, err
		}
		defer prepared.Close()
		return prepared.(driver.StmtExecContext).ExecContext(ctx, args)
	})
}

func (c *spiedConn) QueryContext(
	ctx context.Context, statement string, args []driver.NamedValue,
) (driver.Rows, error) {
	return meddle(ctx, c, statement, args, func() (driver.Rows, error) {
		rows, err := c.driverConn.QueryContext(ctx, statement, args)
		if !errors.Is(err, driver.ErrSkip) {
			return rows, err
		}
		prepared, err := c.driverConn.PrepareContext(ctx, statement)
		if err != nil {
			return nil, err
		}
		rows, err = prepared.(driver.StmtQueryContext).QueryContext(ctx, args)
		if err != nil {
			return nil, errors.Join(err, prepared.Close())
		}
		return preparedRows{rows, prepared}, nil
	})
}

// preparedRows are the rows of a statement that is closed together with them.
type preparedRows struct {
	driver.Rows
	statement driver.Stmt
}

func (r preparedRows) Close() error { return errors.Join(r.Rows.Close(), r.statement.Close()) }

// PrepareContext adds "PREPARE" and the statement to the log. Each run of the prepared statement
// adds the statement itself.
func (c *spiedConn) PrepareContext(ctx context.Context, statement string) (driver.Stmt, error) {
	return meddle(ctx, c, "PREPARE "+statement, nil, func() (driver.Stmt, error) {
		prepared, err := c.driverConn.PrepareContext(ctx, statement)
		if err != nil {
			return nil, err
		}
		spied := &spiedStmt{prepared, c, statement}
		c.prepared[spied] = true
		return spied, nil
	})
}

type spiedStmt struct {
	driver.Stmt
	conn      *spiedConn
	statement string
}

func (s *spiedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return meddle(ctx, s.conn, s.statement, args, func() (driver.Result, error) {
		return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	})
}

// Close closes the statement and counts it.
func (s *spiedStmt) Close() error {
	s.conn.spy.mu.Lock()
	s.conn.spy.closedStmts++
	s.conn.spy.mu.Unlock()
	delete(s.conn.prepared, s)
	if s.conn.lost {
		return nil
	}
	return s.Stmt.Close()
}

func (c *spiedConn) Close() error {
	c.spy.mu.Lock()
	c.spy.closed++
	c.spy.mu.Unlock()
	if c.lost {
		return nil
	}
	return c.driverConn.Close()
}

func meddle[T any](
	ctx context.Context, c *spiedConn, statement string, args []driver.NamedValue, run func() (T,
		error),
) (result T, err error) {
	s := c.spy
	if _, bounded := ctx.Deadline(); !bounded {
		s.mu.Lock()
		s.endless = append(s.endless, statement)
		s.mu.Unlock()
	}
	if slices.Contains(sqlstore.ConnChecks, statement) && !c.lost {
		return run()
	}
	statement = strings.Join(strings.Fields(statement), " ")
	s.mu.Lock()
	s.log, s.args = append(s.log, statement), append(s.args, slices.Clone(args))
	before := s.before
	s.mu.Unlock()
	if c.lost {
		return result, driver.ErrBadConn
	}
	if before == nil {
		return run()
	}
	switch err := before(ctx, statement).(type) {
	case nil:
		return run()
	case afterwards:
		_, _ = run()
		return result, err()
	case connectionLost:
		if err.afterwards {
			undelivered, _ := run()
			if rows, ok := any(undelivered).(driver.Rows); ok {
				_ = rows.Close()
			}
		}
		c.lose()
		return result, err
	default:
		return result, err
	}
}

// connectionLost is an error for [spy.watch]. If a function of watch returns this error, the spy
// closes the connection. If afterwards is true, the spy runs the statement before it closes the
// connection.
type connectionLost struct{ afterwards bool }

func (connectionLost) Error() string { return "connection reset by peer" }

// afterwards is an error for [spy.watch]. If a function of watch returns this error, the spy runs
// the statement, calls afterwards, and returns the error of this call. The statement must not
// return rows.
type afterwards func() error

func (afterwards) Error() string { return "afterwards" }

// spiedStore returns an in-memory store with the records of seed, the pool of the store, and the
// spy on the pool.
func spiedStore(t testing.TB) (*sqlstore.Store, *sql.DB, *spy) {
	s := &spy{}
	db := openMemory(t, s)
	store := mustOpen(t, db)
	seed(t, store)
	(&stage{db: db, prefix: "auth_"}).nameEvent(t)
	s.watch(nil)
	return store, db, s
}

// at returns a function for [spy.watch]. The returned function calls do at the n-th statement, and
// lets all other statements run.
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
