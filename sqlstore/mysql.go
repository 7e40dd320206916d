package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// checkMySQL checks the settings of one connection and assumes that all connections of the pool
// have the same settings.
func checkMySQL(ctx context.Context, db *sql.DB) error {
	var mode string
	var autocommit, readOnly bool
	settings := db.QueryRowContext(ctx, `SELECT @@SESSION.sql_mode, @@SESSION.autocommit, @@GLOBAL.read_only`)
	if err := settings.Scan(&mode, &autocommit, &readOnly); err != nil {
		return err
	}
	switch {
	case !strings.Contains(mode, "STRICT_ALL_TABLES") && !strings.Contains(mode, "STRICT_TRANS_TABLES"):
		return fmt.Errorf("MySQL's sql_mode is %q, with which it truncates values instead of refusing them: "+
			"add STRICT_TRANS_TABLES, on the server or in the data source name", mode)
	case !autocommit:
		return errors.New("MySQL's autocommit is off, so a connection keeps reading the same rows, even " +
			"of sessions that were revoked since: turn it on, on the server or in the data source name")
	case readOnly:
		return errors.New("the MySQL server is read-only: name the primary in the data source name, not " +
			"a replica")
	}
	return nil
}

// Error numbers from https://mariadb.com/kb/en/mariadb-error-code-reference/. MySQL uses the same
// numbers.
const (
	mysqlDuplicateEntry = "1062"
	mysqlDeadlock       = "1213"
)

func isMySQLConflict(err error) bool { return mysqlNumber(err) == mysqlDuplicateEntry }

func isMySQLRolledBack(err error) bool { return mysqlNumber(err) == mysqlDeadlock }

// mysqlError matches the error number in the text of an error of the MySQL driver. Only the first
// match is the number of the error. A later match can be user input, as in "Error 1062 (23000):
// Duplicate entry 'Error 1213' …".
var mysqlError = regexp.MustCompile(`\bError (\d{4})\b`)

// mysqlNumber returns the number of the error, or "" if the error has no number. mysqlNumber parses
// the text, because the driver exposes the number only as a struct field. To read that field, this
// package would have to import the driver.
func mysqlNumber(err error) string {
	match := mysqlError.FindStringSubmatch(err.Error())
	if match == nil {
		return ""
	}
	return match[1]
}
