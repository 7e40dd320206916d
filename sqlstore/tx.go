package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

// querier is where rows can be read: the pool, or the connection of a
// transaction. Its queries are those of this package, which it writes as the
// database has them.
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

// ask returns the answer to a query of yes or no.
func (q querier) ask(ctx context.Context, query string, args ...any) (yes bool, err error) {
	err = q.row(ctx, query, args...).Scan(&yes)
	return yes, err
}

// collect returns the records that the query finds. Into returns where a row goes.
func collect[T any](ctx context.Context, q querier, into func(*T) []any, query string, args ...any) ([]T, error) {
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

// tx is a connection with a transaction open on it.
type tx struct {
	querier
	conn *sql.Conn // nil in a transaction of the host's: see [core.HoldAuthority]

	// exec is the connection, or the transaction of the host's.
	exec interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}

	// callerErr is the Err of the caller's context, which the statements may not have:
	// see [core.transact].
	callerErr func() error
}

func (s *core) tx(ctx context.Context, conn *sql.Conn) tx {
	return tx{querier{s, conn}, conn, conn, ctx.Err}
}

// insert returns [auth.ErrExists] if the row collides with another. The
// transaction is over then: PostgreSQL takes no more statements in it.
func (t tx) insert(ctx context.Context, query string, args ...any) error {
	_, err := t.count(ctx, query, args...)
	return t.store.existsOr(err)
}

// change makes changes to rows that are known to be there, and locked. How many
// there were is nothing to go by: MySQL does not count a row that is as it was.
func (t tx) change(ctx context.Context, query string, args ...any) error {
	_, err := t.count(ctx, query, args...)
	return err
}

// remove returns [auth.ErrNotFound] if the query finds no row to delete.
func (t tx) remove(ctx context.Context, query string, args ...any) error {
	n, err := t.count(ctx, query, args...)
	if err == nil && n == 0 {
		return auth.ErrNotFound
	}
	return err
}

// count returns how many rows the query changed or deleted.
func (t tx) count(ctx context.Context, query string, args ...any) (int, error) {
	result, err := t.exec.ExecContext(ctx, t.store.statement(query), args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// existsOr returns [auth.ErrExists] if err is a violated unique constraint, and
// err as it is if it is not.
func (s *core) existsOr(err error) (result error) {
	if err == nil {
		return nil
	}
	defer func() {
		// The host's function must not take the host down with it.
		if p := recover(); p != nil {
			result = fmt.Errorf("Config.IsConflict panicked: %v: %w", p, err)
		}
	}()
	if s.dialect.isConflict(err) || s.isConflict != nil && s.isConflict(err) {
		return auth.ErrExists
	}
	return err
}

// read runs find, which is one statement, on the pool.
func read[T any](ctx context.Context, s *core, verb string, find func(querier) (T, error)) (T, error) {
	var record T
	err := s.retry(ctx, s.timeout, func() (err error) {
		record, err = find(querier{s, s.db})
		return err
	})
	if err != nil {
		return *new(T), wrap(verb, err)
	}
	return record, nil
}

// maxAttempts bounds how often a transaction is tried that the database undid for
// the sake of others. Each time one of them has got through.
const maxAttempts = 10

// write runs do in a transaction, and commits if do returns nil. If it fails to
// commit, the transaction may have taken effect or not. Do may be called again,
// after a transaction of which the database says that it did not.
func (s *core) write(ctx context.Context, verb string, do func(context.Context, tx) error) error {
	for attempt := 1; ; attempt++ {
		err := s.transact(ctx, do)
		if err == nil || isAnswer(err) || attempt == maxAttempts || ctx.Err() != nil || !s.dialect.isRolledBack(err) {
			return wrap(verb, err)
		}
		pause(ctx, rand.N(slowestRetry))
	}
}

// writeFor is write for what returns a record.
func writeFor[T any](ctx context.Context, s *core, verb string, do func(context.Context, tx) (T, error)) (T, error) {
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

// transact is one attempt of write.
//
// On SQLite it has one writer at a time, as SQLite does: here a writer waits
// without polling, without holding a connection, and until its context ends. The
// caller's context stays out of the transaction there. A driver whose context ends
// interrupts SQLite, which may then roll back by itself, so that the next
// statement would run, and commit, on its own. The statements, few and short,
// have a deadline of their own instead.
//
// Elsewhere a statement may wait for rows that others have locked, and the
// caller's context ends that: the driver gives the connection up, and the server
// rolls back.
func (s *core) transact(ctx context.Context, do func(context.Context, tx) error) error {
	if err := s.lockWriter(ctx); err != nil {
		return err
	}
	defer s.unlockWriter()
	conn, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()

	committed := false
	defer func() {
		if !committed { // Also when do panics.
			s.rollBack(ctx, conn)
		}
	}()
	bounded, cancel := context.WithTimeout(s.ofStatements(ctx), s.timeout)
	defer cancel()
	if err := do(bounded, s.tx(ctx, conn)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.commit(ctx, conn); err != nil {
		return err
	}
	committed = true
	return nil
}

// ofStatements returns the context that a transaction's statements are to have.
func (s *core) ofStatements(ctx context.Context) context.Context {
	if s.dialect.oneWriter {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// commit has a deadline of its own: the time that the statements took must not
// leave it unknown how they ended.
func (s *core) commit(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	if _, err := conn.ExecContext(ctx, `COMMIT`); err != nil {
		return fmt.Errorf("commit, of which it is unknown whether it took effect: %w", err)
	}
	return nil
}

func (s *core) lockWriter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // With the writer free, select would choose at random.
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

// maxBegins bounds how often a transaction is begun: the pool may have
// connections that a restart of the server, or a proxy, has ended meanwhile.
const maxBegins = 3

// begin returns a connection with a transaction open on it. While it waits for
// another process it holds no connection, so that reads go on.
func (s *core) begin(ctx context.Context) (conn *sql.Conn, err error) {
	err = s.retry(ctx, s.timeout, func() error {
		for range maxBegins {
			if conn, err = s.db.Conn(ctx); err != nil {
				return err
			}
			if err = s.beginOn(ctx, conn); err == nil {
				return nil
			}
			conn.Close()
			if ctx.Err() != nil || s.dialect.oneWriter { // in which a connection is a file
				return err
			}
		}
		return err
	})
	return conn, err
}

// beginOn opens a transaction on the connection, or leaves none open: a driver
// whose context ends may report that of a BEGIN that took effect.
func (s *core) beginOn(ctx context.Context, conn *sql.Conn) error {
	for _, statement := range s.dialect.begin {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			s.rollBack(ctx, conn)
			return err
		}
	}
	return nil
}

// rollBack leaves no transaction open on the connection, or takes it out of the
// pool.
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
	// There may have been nothing to roll back: SQLite does it itself after some
	// errors. A BEGIN that succeeds proves it. The connection is worth the
	// question, because a database in memory goes with it.
	if succeeds(`BEGIN`) && succeeds(`ROLLBACK`) {
		return
	}
	discard(conn)
}

// discard takes the connection out of the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

const (
	firstRetry   = time.Millisecond
	slowestRetry = 10 * time.Millisecond
)

// retry calls try again while another process holds a lock that it needs, for
// as long as patience and the context last. Unless try has answered, a context
// that has ended is the error.
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
		pause(ctx, delay/2+rand.N(delay)) // at random, or those who wait would meet again
	}
	if err == nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}

// pause returns after the delay, or when the context ends.
func pause(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// wrap says which verb failed, unless the error is an answer of the contract.
func wrap(verb string, err error) error {
	if err == nil || isAnswer(err) {
		return err
	}
	return fmt.Errorf("sqlstore: %s: %w", verb, err)
}

var answers = []error{
	auth.ErrNotFound, auth.ErrExists, auth.ErrInvalid,
	auth.ErrUserDisabled, auth.ErrLastSuperUser, auth.ErrLastWayIn, auth.ErrChanged, auth.ErrBootstrapped,
	auth.ErrTooManyKeys, auth.ErrRotating,
	auth.ErrTokenRejected, auth.ErrSuperUserRequired, auth.ErrSessionTooOld, auth.ErrGitHubNotAllowed,
}

func isAnswer(err error) bool {
	return slices.ContainsFunc(answers, func(answer error) bool { return errors.Is(err, answer) })
}
