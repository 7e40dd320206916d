package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"reflect"
	"sync"
)

// checkedConns remembers which connections of the pool have passed the check of the dialect. Many
// settings of a database belong to a connection, and a pool opens connections at any time. So the
// store checks each connection before it uses the connection for the first time.
//
// checkedConns keeps a reference to the driver's connection, even after the pool has closed that
// connection. Without the reference, a new connection could have the address of a closed connection, and
// would not be checked. A closed connection of pgx takes 72 kB, so add limits the number of references.
type checkedConns struct {
	mu    sync.Mutex
	conns map[any]struct{}
}

// has reports whether the connection has passed the check.
func (c *checkedConns) has(conn any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, checked := c.conns[conn]
	return checked
}

// add remembers that the connection has passed the check. The parameter open is the number of open
// connections of the pool. If this number shows that most of the remembered connections are closed, add
// forgets all of them, and the store checks the open connections again.
func (c *checkedConns) add(conn any, open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil || len(c.conns) >= 2*open+minChecked {
		c.conns = map[any]struct{}{}
	}
	c.conns[conn] = struct{}{}
}

// minChecked is the number of connections that [checkedConns] remembers even of a small pool.
const minChecked = 8

// forget forgets all connections.
func (c *checkedConns) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = nil
}

// unsafeSettingError is the error for a setting of the database that is unsafe for a store. The
// text says what to change.
type unsafeSettingError string

func (e unsafeSettingError) Error() string { return string(e) }

func isUnsafe(err error) bool {
	_, unsafe := errors.AsType[unsafeSettingError](err)
	return unsafe
}

// connect returns a connection of the pool that has passed the check of the dialect.
//
// A restart of the server breaks all connections of the pool, and a fail-over can leave them on a
// server that has become read-only. If a connection is lost or unsafe, connect takes the connection
// out of the pool and tries the next one. When no idle connection is left, the pool opens a new one.
// While connect waits, other calls return connections to the pool, so the number of attempts is a
// little larger than the number of idle connections.
func (s *core) connect(ctx context.Context) (*sql.Conn, error) {
	for left := s.db.Stats().Idle + maxLost; ; left-- {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		discarded := false
		err = s.orAbandon(conn, func() error {
			err := s.checkConn(ctx, conn)
			discarded = err != nil && (s.discardUnsafe(conn, err) || s.isLost(ctx, conn, err))
			return err
		})
		if err == nil {
			return conn, nil
		}
		conn.Close()
		if !discarded || left <= 1 {
			return nil, err
		}
	}
}

// discardUnsafe takes the connection out of the pool if err is an [unsafeSettingError]. Otherwise, or
// if the database is SQLite, discardUnsafe returns false. An SQLite database in memory exists only
// as long as its connection.
func (s *core) discardUnsafe(conn *sql.Conn, err error) bool {
	if s.dialect.oneWriter || !isUnsafe(err) {
		return false
	}
	discardConn(conn)
	return true
}

// checkConn returns an error if the connection is not safe for a store. If the connection has
// passed the check before, checkConn does nothing.
func (s *core) checkConn(ctx context.Context, conn *sql.Conn) error {
	var id any
	err := conn.Raw(func(driverConn any) error {
		if reflect.TypeOf(driverConn).Kind() == reflect.Pointer {
			id = driverConn
		}
		return nil
	})
	if err != nil || id != nil && s.conns.has(id) {
		return err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.dialect.checkConn(ctx, conn); err != nil {
		return err
	}
	if id != nil {
		s.conns.add(id, s.db.Stats().OpenConnections)
	}
	return nil
}

// isLost reports whether err occurred because the connection is lost. If so, isLost takes the
// connection out of the pool and forgets the checks of all other connections, because a restart of
// the server breaks all connections. A connection to SQLite is never lost.
//
// To find out, isLost pings the server, because each driver has its own errors for a lost
// connection.
func (s *core) isLost(ctx context.Context, conn *sql.Conn, err error) bool {
	if s.dialect.oneWriter || ctx.Err() != nil || isAnswer(err) || s.dialect.isRolledBack(err) ||
		isUnsafe(err) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if conn.PingContext(ctx) == nil {
		return false
	}
	discardConn(conn)
	s.conns.forget()
	return true
}

// discardConn takes the connection out of the pool.
func discardConn(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// orAbandon calls the function do, which uses the connection. If do panics or calls [runtime.Goexit],
// orAbandon takes the connection out of the pool, and the caller must not close it.
func (s *core) orAbandon(conn *sql.Conn, do func() error) error {
	returned := false
	defer func() {
		if !returned {
			go s.abandon(conn)
		}
	}()
	err := do()
	returned = true
	return err
}

// abandon ends the transaction of a connection after the driver has panicked, and takes the connection
// out of the pool. The next statement on such a connection might get the answer to an earlier one. So
// abandon closes the driver's connection, and the server rolls back. A connection to SQLite, which runs
// in the process, goes back to the pool.
//
// After a panic in a query or a ping, package sql never releases its lock of the [sql.Conn]. Close of
// the Conn then blocks forever, and the pool counts the connection as open until the program ends. A
// caller of package sql can do nothing about this. So abandon runs in a goroutine of its own, which
// never ends in this case, and no call of the store waits for it.
func (s *core) abandon(conn *sql.Conn) {
	defer func() { _ = recover() }() // the driver may panic again, and nobody above recovers
	defer discardConn(conn)          // does nothing after Close
	if s.dialect.oneWriter {
		s.rollBack(context.Background(), conn)
		conn.Close()
		return
	}
	_ = conn.Raw(func(driverConn any) error {
		if c, ok := driverConn.(driver.Conn); ok {
			_ = c.Close()
		}
		return nil
	})
}

// bound returns a context with a deadline for statements, because a server that has vanished never
// answers. SQLite needs no deadline here: it runs in the process, and [core.retry] ends the wait for
// a lock.
func (s *core) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.dialect.oneWriter {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// lostError is the error of a transaction whose connection was lost before the COMMIT. The
// transaction has changed nothing.
type lostError struct{ error }

func (e lostError) Unwrap() error { return e.error }

// maxLost is the maximum number of attempts at a call whose connection is lost.
const maxLost = 3

// onConn calls the function find with a querier on one connection, without a transaction. If the
// connection is lost, onConn calls find again with another connection. Each call of find has a
// deadline of its own.
func (s *core) onConn(ctx context.Context, find func(context.Context, querier) error) error {
	for attempt := 1; ; attempt++ {
		conn, err := s.connect(ctx)
		if err != nil {
			return err
		}
		again := false
		err = s.orAbandon(conn, func() error {
			bounded, cancel := s.bound(ctx)
			defer cancel()
			err := find(bounded, querier{s, conn})
			again = err != nil && s.isLost(bounded, conn, err) && attempt < maxLost
			return err
		})
		conn.Close()
		if !again {
			return err
		}
	}
}
