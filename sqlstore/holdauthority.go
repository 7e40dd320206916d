package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// HoldAuthority checks the authority in a transaction of the host, in the database of the store,
// and keeps it valid until the transaction ends. A host that writes its own rows on behalf of a
// caller's session calls HoldAuthority so that it writes nothing after the session was revoked. If
// the session is already revoked, HoldAuthority returns an error. A later revocation of the session
// waits until the transaction ends.
//
// Call HoldAuthority before every other statement of the transaction. If HoldAuthority returns an
// error, roll back. HoldAuthority is correct under every isolation level; READ COMMITTED suffices.
// If the transaction has read before, or has a stricter level, the database may return an error
// that asks the caller to repeat the transaction, such as SQLSTATE 40001 in PostgreSQL or
// SQLITE_BUSY_SNAPSHOT in SQLite.
//
// HoldAuthority returns [auth.ErrInvalid] if [auth.Authority.Validate] refuses the authority or if
// now is nil. It returns the errors of [auth.Authority.Check]: [auth.ErrTokenRejected],
// [auth.ErrSuperUserRequired] or [auth.ErrSessionTooOld]. Any other error means that the store
// could not decide, so the caller must not proceed. HoldAuthority waits for locks no longer than
// Config.Timeout, and no longer than ctx.
//
// HoldAuthority locks the records of the user and of the session until the transaction ends.
// Sign-ins, changes and revocations of this user wait until the transaction ends. It also shares
// the lock that every lasting change takes, so [auth.SessionStore.RevokeEverybody] waits too. For
// the authority of [auth.ByHost], HoldAuthority takes only this shared lock. On SQLite, the
// transaction becomes the only writer of the database. So keep the transaction short. Call no
// writing method of the store before the transaction ends, because the call might wait for the
// transaction that the caller still holds open.
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

// becomeWriter changes no value, but makes SQLite lock the database for writing.
const becomeWriter = `UPDATE auth_everybody SET generation = generation WHERE id = 1`

// holdAuthority locks every row on which its decision depends. A plain SELECT is not enough: in a
// transaction that is not READ COMMITTED, it may show rows as they were when the transaction began.
// The feed need not be locked, because the locked rows already show every revocation. A transaction
// that revokes sessions of one user locks the user and removes the sessions. A transaction that
// revokes all sessions updates the row of everybody.
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
	return w.By.Check(storedTime(w.Now()), session, a.users[w.By.UserID],
		max(revokedBelow, a.everybody))
}
