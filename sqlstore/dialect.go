package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"

	"github.com/pressly/goose/v3/database"
)

// Dialect names what a database speaks.
type Dialect string

// SQLite is SQLite 3.37 (2021) or later.
const SQLite Dialect = "sqlite"

// dialect is what differs from one kind of database to another.
type dialect struct {
	// goose is the migration library's name for the dialect.
	goose database.Dialect

	// migrations has the migrations in folder.
	migrations fs.FS
	folder     string

	// hasTable counts the tables of a given name.
	hasTable string

	// begin starts a transaction that can write without waiting any further.
	begin string

	// check returns an error if the database is not set up as a store needs it.
	check func(context.Context, *sql.DB) error

	// isConflict recognises a violated primary key or unique constraint by what
	// a driver's error has to say in its methods, conflictText in its text.
	isConflict   func(error) bool
	conflictText string

	// isBusy recognises that another process holds a lock.
	isBusy func(error) bool
}

//go:embed migrations
var migrations embed.FS

var dialects = map[Dialect]dialect{
	SQLite: {
		goose:        database.DialectSQLite3,
		migrations:   migrations,
		folder:       "migrations/sqlite",
		hasTable:     `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?`,
		begin:        `BEGIN IMMEDIATE`,
		check:        checkSQLite,
		isConflict:   isSQLiteConflict,
		conflictText: "UNIQUE constraint failed",
		isBusy:       isSQLiteBusy,
	},
}
