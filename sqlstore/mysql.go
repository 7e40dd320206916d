package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
)

const mysqlSettings = `SELECT @@SESSION.sql_mode, @@SESSION.autocommit, @@SESSION.unique_checks,
@@SESSION.sql_safe_updates, @@GLOBAL.read_only, DATABASE()`

// checkMySQLConn checks the settings of a connection. The server, its init_connect or the data
// source name can change each of them.
func checkMySQLConn(ctx context.Context, conn *sql.Conn) error {
	var (
		mode                                      string
		autocommit, unique, safeUpdates, readOnly bool
		database                                  sql.Null[string]
	)
	err := conn.QueryRowContext(ctx, mysqlSettings).
		Scan(&mode, &autocommit, &unique, &safeUpdates, &readOnly, &database)
	switch {
	case err != nil:
		return err
	case database.V == "":
		return unsafeSettingError("the connection to MySQL has no database: add the name of the database " +
			"to the data source name, as in app@tcp(db.example.com)/app")
	case !strings.Contains(mode, "STRICT_ALL_TABLES") && !strings.Contains(mode, "STRICT_TRANS_TABLES"):
		return unsafeSettingError(fmt.Sprintf("MySQL's sql_mode is %q, with which it truncates values "+
			"instead of refusing them: add STRICT_TRANS_TABLES, on the server or in the data source name",
			mode))
	case !autocommit:
		return unsafeSettingError("MySQL's autocommit is off, so a connection keeps reading the same rows, " +
			"even of sessions that were revoked since: turn it on, on the server or in the data source name")
	case !unique:
		return unsafeSettingError("MySQL's unique_checks is off, so two users could get the same name: " +
			"turn it on, on the server or in the data source name")
	case safeUpdates:
		return unsafeSettingError("MySQL's sql_safe_updates is on, which refuses statements of the store: " +
			"turn it off, on the server or in the data source name")
	case readOnly:
		return unsafeSettingError("the MySQL server is read-only: name the primary in the data source " +
			"name, not a replica")
	}
	return nil
}

// Error numbers from https://mariadb.com/kb/en/mariadb-error-code-reference/. MySQL uses the same
// numbers.
const (
	mysqlDuplicateEntry    = "1062"
	mysqlTableAccessDenied = "1142"
	mysqlDeadlock          = "1213"
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
