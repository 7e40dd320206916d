package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
)

// checkPostgres checks the settings of one connection and assumes that all connections of the pool
// have the same settings.
func checkPostgres(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	setting := func(name string) (value string) {
		if err == nil {
			err = conn.QueryRowContext(ctx, `SHOW `+name).Scan(&value)
		}
		return value
	}
	encoding, readOnly := setting(`server_encoding`), setting(`transaction_read_only`)
	switch {
	case err != nil:
		return err
	case !strings.EqualFold(encoding, "UTF8"):
		return fmt.Errorf("the encoding of the PostgreSQL database is %s: create it with ENCODING 'UTF8'",
			encoding)
	case readOnly == "on":
		return errors.New("the connection to PostgreSQL is read-only: " +
			"name the primary in the data source name, not a replica")
	}
	return nil
}

// postgresLockID returns the number of the advisory lock for the table.
func postgresLockID(table string) any {
	h := fnv.New64a()
	h.Write([]byte(table))
	return int64(h.Sum64() >> 1)
}

// SQLSTATE values from https://www.postgresql.org/docs/15/errcodes-appendix.html.
const (
	stateUniqueViolation      = "23505"
	stateSerializationFailure = "40001"
	stateDeadlockDetected     = "40P01"
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
