package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// HoldAuthority checks the authority in a transaction of the host, and keeps the authority valid
// until the transaction ends. The host is the program that uses this package. The transaction must
// be in the database of the store.
//
// A host calls HoldAuthority before it writes its own rows on behalf of a session. If the session
// is already revoked, HoldAuthority returns an error. A later revocation of the session waits until
// the transaction ends. So the transaction writes nothing after the session was revoked.
//
// Call HoldAuthority before every other statement of the transaction. If HoldAuthority returns an
// error, roll back. The isolation level READ COMMITTED suffices, and HoldAuthority is also correct
// under every stricter level. If the level is stricter, or if the transaction has already read
// rows, the database can return an error that asks the caller to repeat the transaction. PostgreSQL
// returns SQLSTATE 40001, and SQLite returns SQLITE_BUSY_SNAPSHOT.
//
// HoldAuthority returns [auth.ErrInvalid] if [auth.Authority.Validate] returns an error, or if the
// parameter now is nil. If the authority is not valid, HoldAuthority returns one of the errors of an
// [auth.Authority]: [auth.ErrTokenRejected], [auth.ErrSuperUserRequired], [auth.ErrSessionTooOld], or
// [auth.ErrInsufficientScope] if a limited session lacks the Scope of the authority. A host that knows
// scopes sets this Scope, because without it a limited session may do everything, unless it can only rotate
// its access key. Any other error leaves open whether the authority is valid.
//
// HoldAuthority waits for locks for at most Config.Timeout. If ctx ends earlier, the wait ends too.
//
// Keep the transaction short, because other calls of the store wait until it ends. HoldAuthority
// locks the records of the user and of the session. Sign-ins of the user, changes of the user, and
// revocations of the user's sessions wait for these locks. HoldAuthority also takes a shared lock,
// for which [auth.SessionStore.RevokeEverybody] waits. For an authority of [auth.ByHost],
// HoldAuthority takes only this shared lock. On SQLite every write waits, because the transaction
// becomes the only writer.
//
// Until the transaction ends, do not call a method of the store that writes. The method might wait
// for the end of the transaction, and the caller would wait for the method.
func (s *core) HoldAuthority(
	ctx context.Context, tx *sql.Tx, by auth.Authority, now func() time.Time,
) error {
	w := auth.Write{By: by, Now: now}
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(s.statementContext(ctx), s.timeout)
	defer cancel()
	return wrap("hold authority", s.holdAuthority(ctx, bounded, s.txOfHost(ctx, tx), w))
}

func (s *core) txOfHost(ctx context.Context, on *sql.Tx) tx {
	return tx{querier: querier{s, on}, exec: on, callerErr: ctx.Err}
}

// becomeWriter changes no value, but it makes SQLite lock the database for writing.
const becomeWriter = `UPDATE auth_everybody SET generation = generation WHERE id = 1`

// holdAuthority locks every row on which its decision depends. Reading a row without a lock is not
// enough. If the isolation level is stricter than READ COMMITTED, a SELECT without a lock can
// return rows as they were when the transaction began.
//
// The revocation feed need not be locked, because the locked rows already show every revocation. A
// transaction that revokes sessions of one user locks the user and removes the sessions. A
// transaction that revokes all sessions updates the row of auth_everybody.
func (s *core) holdAuthority(ctx, bounded context.Context, t tx, w auth.Write) error {
	if s.dialect.oneWriter {
		err := s.retry(ctx, s.timeout, func() error { return t.change(bounded, becomeWriter) })
		if err != nil {
			return err
		}
	}
	a, err := hold(bounded, t, w, locks{})
	if err != nil {
		return err
	}
	if w.By.Host != "" {
		return nil
	}
	session, revokedBelow, err := findActing(bounded, t.querier, shareActing, w.By)
	if err != nil {
		return fmt.Errorf("lock the session for sharing: %w", err)
	}
	a.now, a.session = storedTime(w.Now()), session
	facts := a.facts()
	facts.RevokedBelow = max(revokedBelow, a.everybody)
	return facts.Check()
}
