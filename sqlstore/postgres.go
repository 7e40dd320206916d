package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"strings"
)

const postgresSettings = `SELECT current_setting('server_encoding'),
current_setting('transaction_read_only')`

// checkPostgresConn checks the settings of a connection.
func checkPostgresConn(ctx context.Context, conn *sql.Conn) error {
	var encoding, readOnly string
	err := conn.QueryRowContext(ctx, postgresSettings).Scan(&encoding, &readOnly)
	switch {
	case err != nil:
		return err
	case !strings.EqualFold(encoding, "UTF8"):
		return unsafeSettingError(fmt.Sprintf("the encoding of the PostgreSQL database is %s: create it "+
			"with ENCODING 'UTF8'", encoding))
	case readOnly == "on":
		return unsafeSettingError("the connection to PostgreSQL is read-only: name the primary in the data " +
			"source name, not a replica")
	}
	return nil
}

// postgresLockID returns the number of the advisory lock for the table.
func postgresLockID(table string) any {
	h := fnv.New64a()
	h.Write([]byte(table))
	return int64(h.Sum64() >> 1)
}

// PostgreSQL transactions take turns at the head with an advisory lock, which they take before the row.
// Without it, each transaction that waits for the row runs again when the row changes, and with many
// instances, the server has no time for anything else. Every statement that locks the row does this,
// because of the order of locks.
const (
	headInTurn    = ` AND pg_advisory_xact_lock(?) IS NOT NULL`
	advanceInTurn = `UPDATE auth_revocation_head SET position = position + ? WHERE id = 1` + headInTurn + ` RETURNING position`
)

func headTurn(s *core) any { return postgresLockID(s.prefix + "revocation_head") }

// SQLSTATE values from https://www.postgresql.org/docs/15/errcodes-appendix.html.
const (
	stateUniqueViolation       = "23505"
	stateSerializationFailure  = "40001"
	stateDeadlockDetected      = "40P01"
	stateInsufficientPrivilege = "42501"
	stateNoPreparedStatement   = "26000"
	statePreparedTwice         = "42P05"
)

func isPostgresConflict(err error) bool {
	return sqlState(err) == stateUniqueViolation ||
		strings.Contains(err.Error(), "duplicate key value violates unique constraint")
}

// isPostgresRolledBack reports whether the error means that PostgreSQL rolled the transaction back
// because of a conflict. If a COMMIT returns such an error, the COMMIT did not take effect.
func isPostgresRolledBack(err error) bool {
	state := sqlState(err)
	return state == stateSerializationFailure || state == stateDeadlockDetected
}

// isPostgresNotCommitted reports whether the error of a COMMIT means that nothing was committed. This
// is so for the errors that PostgreSQL reports before it writes the commit record: a violated
// constraint (class 23), a conflict with another transaction, and a lack of resources such as disk
// space (class 53). After any other error, for example of a server that shuts down while it waits
// for its synchronous standby, the transaction may have been committed.
func isPostgresNotCommitted(err error) bool {
	state := sqlState(err)
	return strings.HasPrefix(state, "23") || strings.HasPrefix(state, "53") || isPostgresRolledBack(err)
}

// poolerLosesStatements reports whether the error shows that consecutive statements of the program
// run on different connections to PostgreSQL, although the driver prepares statements.
func poolerLosesStatements(err error) bool {
	state := sqlState(err)
	return state == stateNoPreparedStatement || state == statePreparedTwice
}
