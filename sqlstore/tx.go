package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/clock"
)

// querier runs queries, either on the pool or in a transaction. querier translates the queries of
// this package for the database.
type querier struct {
	store *core
	on    interface {
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}
}

func (q querier) row(ctx context.Context, query string, args ...any) *sql.Row {
	return q.on.QueryRowContext(ctx, q.store.statement(query), args...)
}

// queryBool returns the answer to a yes-or-no query.
func (q querier) queryBool(ctx context.Context, query string, args ...any) (yes bool, err error) {
	err = q.row(ctx, query, args...).Scan(&yes)
	return yes, err
}

// collect returns all records that the query finds. The given function returns pointers to the
// fields of a record, for [sql.Rows.Scan].
func collect[T any](
	ctx context.Context, q querier, into func(*T) []any, query string, args ...any,
) ([]T, error) {
	rows, err := q.on.QueryContext(ctx, q.store.statement(query), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var records []T
	for rows.Next() {
		var record T
		if err := rows.Scan(into(&record)...); err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, rows.Err()
}

// tx is an open transaction.
type tx struct {
	querier
	conn *sql.Conn // nil in a transaction of the host: see [core.HoldAuthority]

	// exec runs the statements that change rows, either on conn or in the transaction of the host.
	exec interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}

	// callerErr is the Err method of the caller's context. The statements may run under another
	// context: see [core.transact].
	callerErr func() error
}

func (s *core) tx(ctx context.Context, conn *sql.Conn) tx {
	return tx{querier{s, conn}, conn, conn, ctx.Err}
}

// insert runs an INSERT, or an UPDATE of a unique value, and returns [auth.ErrExists] if the row violates a
// unique constraint. The caller must then roll back, because PostgreSQL accepts no more statements in the
// transaction.
func (t tx) insert(ctx context.Context, query string, args ...any) error {
	_, err := t.count(ctx, query, args...)
	return t.store.existsOr(err)
}

// change runs a statement and ignores the number of changed rows. This number does not show whether
// a row exists, because MySQL does not count a row whose values stay the same.
func (t tx) change(ctx context.Context, query string, args ...any) error {
	_, err := t.count(ctx, query, args...)
	return err
}

// remove runs a DELETE, and returns [auth.ErrNotFound] if no row was deleted.
func (t tx) remove(ctx context.Context, query string, args ...any) error {
	n, err := t.count(ctx, query, args...)
	if err == nil && n == 0 {
		return auth.ErrNotFound
	}
	return err
}

// count runs a statement and returns the number of rows that it changed.
func (t tx) count(ctx context.Context, query string, args ...any) (int, error) {
	result, err := t.exec.ExecContext(ctx, t.store.statement(query), args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// existsOr returns [auth.ErrExists] if err means that a unique constraint was violated. existsOr
// returns every other error unchanged.
func (s *core) existsOr(err error) (result error) {
	if err == nil {
		return nil
	}
	defer func() {
		// A panic in the host's function must not crash the host.
		if p := recover(); p != nil {
			result = fmt.Errorf("Config.IsConflict panicked: %v: %w", p, err)
		}
	}()
	if s.dialect.isConflict(err) || s.isConflict != nil && s.isConflict(err) {
		return auth.ErrExists
	}
	return err
}

// read calls the function find with a querier on a connection, without a transaction. If find runs
// several statements, they may see different states of the database. If the connection is lost, or
// while another process locks an SQLite database, read calls find again.
func read[T any](
	ctx context.Context, s *core, verb string, find func(context.Context, querier) (T, error),
) (T, error) {
	var record T
	err := s.retry(ctx, s.timeout, func() error {
		return s.onConn(ctx, func(ctx context.Context, q querier) (err error) {
			record, err = find(ctx, q)
			return err
		})
	})
	if err != nil {
		return *new(T), wrap(verb, err)
	}
	return record, nil
}

// maxAttempts is the maximum number of attempts if the database rolls a transaction back because of
// a conflict with other transactions. In each conflict, at least one of the other transactions
// succeeds.
const maxAttempts = 10

// write calls the given function in a transaction, and commits if the function returns nil. If the
// database rolls the transaction back because of other transactions, write makes up to maxAttempts
// attempts in all. If the connection is lost before the COMMIT, write makes up to maxLost attempts.
// If write returns an error of the COMMIT, the transaction may or may not have taken effect.
func (s *core) write(ctx context.Context, verb string, do func(context.Context, tx) error) error {
	for attempt := 1; ; attempt++ {
		err := s.transact(ctx, do)
		if err == nil || isAnswer(err) || ctx.Err() != nil || !s.mayRepeat(err, attempt) {
			return wrap(verb, err)
		}
		_ = clock.Sleep(ctx, rand.N(slowestRetry)) // if ctx ends, the next attempt fails
	}
}

// mayRepeat reports whether a transaction that failed with err can run again. The parameter attempt
// is the number of attempts so far.
func (s *core) mayRepeat(err error, attempt int) bool {
	if _, lost := errors.AsType[lostError](err); lost {
		return attempt < maxLost
	}
	return attempt < maxAttempts && s.dialect.isRolledBack(err)
}

// writeFor is [core.write] for a function that also returns a record.
func writeFor[T any](
	ctx context.Context, s *core, verb string, do func(context.Context, tx) (T, error),
) (T, error) {
	var record T
	err := s.write(ctx, verb, func(ctx context.Context, t tx) (err error) {
		record, err = do(ctx, t)
		return err
	})
	if err != nil {
		return *new(T), err
	}
	return record, nil
}

// transact is one attempt of [core.write].
//
// SQLite allows one writer at a time. So on SQLite, transact first waits for the slot of s.writer.
// During this wait, transact neither polls nor uses a connection. The wait ends if ctx ends.
//
// On SQLite, the statements run in a context that does not end with ctx, but has its own deadline.
// If a statement ran in ctx, the driver would interrupt SQLite when ctx ends. SQLite might then
// roll the transaction back on its own, and the next statement would run and commit outside the
// transaction. The statements are few and short, so they soon end without an interruption.
//
// On the other databases, a statement may wait for rows that another transaction has locked. If ctx
// ends, this wait ends too: the driver closes the connection, and the server rolls back.
func (s *core) transact(ctx context.Context, do func(context.Context, tx) error) error {
	if err := s.lockWriter(ctx); err != nil {
		return err
	}
	defer s.unlockWriter()
	conn, err := s.begin(ctx)
	if err != nil {
		return err
	}
	err = s.orAbandon(conn, func() error {
		err := s.transactOn(ctx, conn, do)
		if err != nil {
			s.rollBack(ctx, conn)
		}
		return err
	})
	conn.Close()
	return err
}

// transactOn runs the open transaction of the connection, and commits it or returns an error.
func (s *core) transactOn(ctx context.Context, conn *sql.Conn, do func(context.Context, tx) error) error {
	bounded, cancel := context.WithTimeout(s.statementContext(ctx), s.timeout)
	defer cancel()
	if err := do(bounded, s.tx(ctx, conn)); err != nil {
		if s.isLost(bounded, conn, err) {
			return lostError{err}
		}
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.commit(ctx, conn)
}

// statementContext returns the context for the statements of a transaction.
func (s *core) statementContext(ctx context.Context) context.Context {
	if s.dialect.oneWriter {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// commit commits the transaction. The COMMIT has its own deadline, or none on SQLite. Even if the statements
// have used almost all of their time, commit must have time to learn whether the COMMIT took effect.
//
// If the outcome is unknown, commit returns an [unknownError]. This includes a panic of the driver.
func (s *core) commit(ctx context.Context, conn *sql.Conn) (err error) {
	ctx, cancel := s.bound(context.WithoutCancel(ctx))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = unknownError{fmt.Errorf("panic: %v", p)}
			if !s.dialect.oneWriter {
				discardConn(conn) // for the reason that abandon states
			}
		}
	}()
	_, err = conn.ExecContext(ctx, `COMMIT`)
	switch {
	case err == nil:
		return nil
	case s.dialect.isNotCommitted(err):
		return fmt.Errorf("commit: %w", err)
	}
	s.conns.forget() // the connection may be lost
	return unknownError{err}
}

func (s *core) lockWriter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		// Without this check, select would choose at random if ctx is done and the slot is free.
		return err
	}
	if s.writer == nil {
		return nil
	}
	select {
	case s.writer <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *core) unlockWriter() {
	if s.writer != nil {
		<-s.writer
	}
}

// maxBegins is the maximum number of connections on which begin tries to begin a transaction. One
// attempt is not enough, because the pool may have connections that a server restart or a proxy has
// closed. If an attempt fails, the store checks all connections again before it uses them.
const maxBegins = 3

// begin returns a connection with an open transaction. While begin waits before another attempt, it
// holds no connection. Reads can then use the connections of the pool.
func (s *core) begin(ctx context.Context) (conn *sql.Conn, err error) {
	err = s.retry(ctx, s.timeout, func() error {
		for range maxBegins {
			if conn, err = s.connect(ctx); err != nil {
				return err
			}
			if err = s.orAbandon(conn, func() error { return s.beginOn(ctx, conn) }); err == nil {
				return nil
			}
			conn.Close()
			if ctx.Err() != nil || s.dialect.oneWriter { // an SQLite connection is never lost
				return err
			}
			s.conns.forget()
		}
		return err
	})
	return conn, err
}

// beginOn begins a transaction on the connection. If a statement fails, beginOn rolls back, because
// the server may nevertheless have begun the transaction. For example, the driver returns an error
// if ctx ends before the server answers.
func (s *core) beginOn(ctx context.Context, conn *sql.Conn) error {
	bounded, cancel := s.bound(ctx)
	defer cancel()
	for _, statement := range s.dialect.begin {
		if _, err := conn.ExecContext(bounded, statement); err != nil {
			s.rollBack(ctx, conn)
			return err
		}
	}
	return nil
}

// rollBack rolls back the transaction on the connection. If the transaction may still be open
// afterwards, rollBack takes the connection out of the pool.
func (s *core) rollBack(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultTimeout)
	defer cancel()
	succeeds := func(statement string) bool {
		_, err := conn.ExecContext(ctx, statement)
		return err == nil
	}
	if succeeds(`ROLLBACK`) {
		return
	}
	// SQLite rolls a transaction back on its own after some errors, and the ROLLBACK then fails. If
	// a BEGIN succeeds, no transaction is open, and the connection can be kept. This is important
	// for an in-memory database: discarding its connection would delete the database.
	if succeeds(`BEGIN`) && succeeds(`ROLLBACK`) {
		return
	}
	discardConn(conn)
}

const (
	firstRetry   = time.Millisecond
	slowestRetry = 10 * time.Millisecond
)

// retry calls the given function. If the function fails because another process holds a lock, retry
// calls the function again. retry stops after the given duration, or when ctx ends. If ctx ends
// first, the returned error wraps the error of ctx.
func (s *core) retry(ctx context.Context, patience time.Duration, try func() error) (err error) {
	deadline := time.Now().Add(patience)
	for delay := firstRetry; ctx.Err() == nil; delay = min(2*delay, slowestRetry) {
		err = try()
		if err == nil || isAnswer(err) {
			return err
		}
		if ctx.Err() == nil && (!s.dialect.isBusy(err) || time.Now().After(deadline)) {
			return err
		}
		// The delay is random, so that waiting transactions do not collide again.
		_ = clock.Sleep(ctx, delay/2+rand.N(delay)) // if ctx ends, so does the loop
	}
	if err == nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}

// wrap adds the name of the operation to the error. Errors that are part of the contract of a store
// stay unchanged: see the variable answers.
func wrap(verb string, err error) error {
	if err == nil || isAnswer(err) {
		return err
	}
	if poolerLosesStatements(err) {
		err = fmt.Errorf("%w; a pooler between the program and PostgreSQL lost a prepared statement: add "+
			"default_query_exec_mode=exec to the data source name of pgx", err)
	}
	return fmt.Errorf("sqlstore: %s: %w", verb, err)
}

var answers = []error{
	auth.ErrNotFound, auth.ErrExists, auth.ErrInvalid,
	auth.ErrUserDisabled, auth.ErrLastSuperUser, auth.ErrLastWayIn, auth.ErrChanged, auth.ErrBootstrapped,
	auth.ErrTooManyKeys, auth.ErrRotating,
	auth.ErrTokenRejected, auth.ErrSuperUserRequired, auth.ErrSessionTooOld, auth.ErrGitHubNotAllowed,
	auth.ErrInsufficientScope, auth.ErrServiceUser, auth.ErrDelegated,
}

// isAnswer reports whether err is an answer of the store. If not, the database has failed.
func isAnswer(err error) bool {
	return slices.ContainsFunc(answers, func(answer error) bool { return errors.Is(err, answer) }) ||
		errors.Is(err, errUnchanged) || errors.Is(err, errAlone)
}
