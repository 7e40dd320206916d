package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// HoldAuthority checks the authority in a transaction of the host's own, in the database of the
// store, and keeps it true until the transaction ends. So a host that writes its own rows on behalf of
// a caller's session writes nothing more once the session has been revoked: a revocation
// that comes later waits for the end of the transaction, and if one came earlier, HoldAuthority
// returns an error.
//
// Call it before every other statement of the transaction, and roll back if it returns an error.
// It is right under every isolation level; READ COMMITTED suffices. A transaction that has read
// before, or that has another level, may get an error of the database that asks for the
// transaction to be repeated, such as PostgreSQL's SQLSTATE 40001 or SQLite's SQLITE_BUSY_SNAPSHOT.
//
// It returns [auth.ErrInvalid] for an authority that [auth.Authority.Validate] refuses or a nil
// clock, and what [auth.Authority.Check] returns: [auth.ErrTokenRejected],
// [auth.ErrSuperUserRequired] or [auth.ErrSessionTooOld]. Any other error means that the store could
// not answer, and is never a yes. HoldAuthority waits for locks as long as Config.Timeout allows,
// and no longer than ctx.
//
// Until the transaction ends, it locks the user's record and the session's: sign-ins, changes and
// revocations of this user wait. It shares the lock that every lasting change takes, so that
// [auth.SessionStore.RevokeEverybody] waits for the transaction too. For the authority of
// [auth.ByHost] it takes this lock alone. On SQLite, it makes the transaction the one writer of
// the database. So keep the transaction short, and call no method of the store that writes
// before the transaction has ended: the call might wait for its own transaction.
func (s *core) HoldAuthority(ctx context.Context, tx *sql.Tx, by auth.Authority, now func() time.Time) error {
	w := auth.Write{By: by, Now: now}
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(s.ofStatements(ctx), s.timeout)
	defer cancel()
	return wrap("hold authority", s.holdAuthority(ctx, bounded, s.txOfHost(ctx, tx), w))
}

func (s *core) txOfHost(ctx context.Context, on *sql.Tx) tx {
	return tx{querier: querier{s, on}, exec: on, callerErr: ctx.Err}
}

// becomeWriter changes nothing, but locks an SQLite database for writing.
const becomeWriter = `UPDATE auth_everybody SET generation = generation WHERE id = 1`

// holdAuthority reads every row that it decides by with a lock: a plain SELECT of a transaction
// that is not READ COMMITTED may show what was there before the transaction. The exception is the
// feed, in which there is nothing to find that the locked rows do not show: whoever revokes
// sessions of one user holds the user and removes the sessions, and who revokes those of all users
// changes the row of everybody.
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
		return fmt.Errorf("share the session: %w", err)
	}
	return w.By.Check(kept(w.Now()), session, a.users[w.By.UserID], max(revokedBelow, a.everybody))
}
