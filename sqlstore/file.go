package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// fileSettings are the settings of each connection of [OpenFile].
var fileSettings = []string{
	`PRAGMA busy_timeout = 5000`, // the first, because the next one can wait for a lock
	`PRAGMA journal_mode = WAL`,
	`PRAGMA synchronous = FULL`,
}

// OpenFile returns the SQLite database in a file, with the settings that a [Store] needs on each connection:
// journal_mode WAL, synchronous FULL, and a busy_timeout of 5 seconds. If the file does not exist, OpenFile
// creates it, and only its owner can read it. The path may contain any characters, and ":memory:" is the name
// of a file.
//
// The driver is the name of a driver that is registered with package database/sql, such as "sqlite" for
// modernc.org/sqlite. It must accept a URI as the data source name. If other settings are needed, call
// [sql.Open] with a data source name of the driver.
//
// The caller passes the database to [Open] or [OpenAccounts], and closes it after the last call to the store.
func OpenFile(driverName, path string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path) // SQLite gives the relative name ":memory:" another meaning
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open the database file: %w", err)
	}
	file, err := os.OpenFile(absolute, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open the database file: %w", err)
	}
	info, err := file.Stat()
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("sqlstore: open the database file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("sqlstore: open the database file: %s is not a regular file", path)
	}
	dsn := (&url.URL{Scheme: "file", Opaque: url.PathEscape(absolute)}).String()
	named, err := sql.Open(driverName, dsn)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open the database file: %w", err)
	}
	defer named.Close() // it has opened no connection
	return sql.OpenDB(fileConnector{named.Driver(), dsn}), nil
}

// fileConnector opens connections with the settings.
type fileConnector struct {
	driver driver.Driver
	dsn    string
}

func (c fileConnector) Driver() driver.Driver { return c.driver }

// Connect opens a connection. If a setting cannot be made, it closes the connection.
func (c fileConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		err := errors.New("sqlstore: OpenFile: the driver does not implement driver.ExecerContext")
		return nil, errors.Join(err, conn.Close())
	}
	for _, setting := range fileSettings {
		if _, err := execer.ExecContext(ctx, setting, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("sqlstore: %s: %w", setting, err), conn.Close())
		}
	}
	return conn, nil
}
