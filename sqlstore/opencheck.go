package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// checkDatabase returns an error that says what to change if the database is unsafe for a store.
func (s *core) checkDatabase(ctx context.Context) error {
	err := s.retry(ctx, s.timeout, func() error {
		conn, err := s.connect(ctx)
		if err != nil {
			return err
		}
		err = s.orAbandon(conn, func() error {
			if s.dialect.prepare == nil {
				return nil
			}
			return s.dialect.prepare(ctx, conn, s.db.Stats().MaxOpenConnections)
		})
		conn.Close()
		return err
	})
	if err == nil || isUnsafe(err) || ctx.Err() != nil {
		return err
	}
	if actual := dialectOf(ctx, s.db); actual != "" && dialects[actual].goose != s.dialect.goose {
		return fmt.Errorf("the database speaks another dialect: set Config.Dialect to %q: %w", actual, err)
	}
	return err
}

// dialectOf returns the dialect of the database, or "" if the database does not answer.
func dialectOf(ctx context.Context, db *sql.DB) Dialect {
	var version string
	if db.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version) == nil {
		return SQLite
	}
	if db.QueryRowContext(ctx, `SELECT version()`).Scan(&version) != nil {
		return ""
	}
	// CockroachDB speaks the dialect of PostgreSQL.
	if strings.Contains(version, "PostgreSQL") || strings.Contains(version, "CockroachDB") {
		return Postgres
	}
	return MySQL
}

// tableRights lists the rights that the store needs for each table, besides SELECT. The column is any
// column of the table, for a statement that updates it. To lock rows, PostgreSQL needs the right to
// UPDATE.
var tableRights = []struct{ name, column, rights string }{
	{"auth_users", "username", "INSERT UPDATE DELETE"},
	{"auth_access_keys", "label", "INSERT UPDATE DELETE"},
	{"auth_sessions", "generation", "INSERT UPDATE DELETE"},
	{"auth_revocations", "generation", "INSERT UPDATE DELETE"},
	{"auth_revocation_head", "position", "UPDATE"},
	{"auth_everybody", "generation", "UPDATE"},
	{"auth_host_users", "id", "INSERT UPDATE"},
	{"auth_bootstrap", "user_id", "INSERT"},
	{"auth_github_links", "login", "INSERT UPDATE DELETE"},
	{"auth_github_tokens", "version", "INSERT UPDATE DELETE"},
	{"auth_github_accounts", "user_id", "INSERT UPDATE DELETE"},
	{"auth_spent_grants", "digest", "INSERT UPDATE"},
	{"auth_github_states", "expires_at", "INSERT UPDATE DELETE"},
	{"auth_clients", "seen_at", "INSERT UPDATE DELETE"},
	{"auth_device_codes", "polled_at", "INSERT UPDATE DELETE"},
	{"auth_events", "reason", "INSERT UPDATE DELETE"},
	{"auth_retired_usernames", "user_id", "INSERT UPDATE DELETE"},
}

// checkRights returns an error if the user of the database lacks a right. Without this check, a
// missing right to DELETE would cause no error before the first logout. The statements of the check
// change no row. SQLite has no users.
func (s *core) checkRights(ctx context.Context) error {
	if s.dialect.oneWriter {
		return nil
	}
	return s.write(ctx, "check the rights", func(ctx context.Context, t tx) error {
		for _, table := range tableRights {
			for _, right := range strings.Fields(table.rights) {
				err := t.change(ctx, emptyStatement(table.name, table.column, right))
				if err != nil && s.dialect.isDenied(err) {
					return fmt.Errorf("the database user has no right to %s in %s: grant SELECT, INSERT, "+
						"UPDATE and DELETE on all tables of the store: %w", right, s.statement(table.name), err)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// emptyStatement returns a statement that needs the right, but changes no row.
func emptyStatement(table, column, right string) string {
	switch right {
	case "INSERT":
		return `INSERT INTO ` + table + ` SELECT * FROM ` + table + ` WHERE 1 = 0`
	case "UPDATE":
		return `UPDATE ` + table + ` SET ` + column + ` = ` + column + ` WHERE 1 = 0`
	default:
		return `DELETE FROM ` + table + ` WHERE 1 = 0`
	}
}

// writableState is the ID of the row that [core.CheckWritable] writes. The IDs of GitHub flows never
// have this form.
const writableState = "check writable"

const updateState = `UPDATE auth_github_states SET expires_at = 1 - expires_at WHERE id = ?`

// CheckWritable returns an error if the database cannot commit a change, for example because its
// disk is full or the server has become read-only. It changes one small row, so call it at most
// every few seconds. [core.Ping] only reads.
//
// If ctx ends, CheckWritable returns an error that matches the error of ctx. The change may or may not
// have been committed. Both are harmless, because no other method reads the row. CheckWritable is safe
// for concurrent use.
func (s *core) CheckWritable(ctx context.Context) error {
	return s.write(ctx, "check whether the database can be written", func(ctx context.Context, t tx) error {
		// Another instance can make the same change at the same time. So a DELETE and an INSERT would
		// not do: each of two transactions would insert the row.
		n, err := t.count(ctx, updateState, writableState)
		if err != nil || n > 0 {
			return err
		}
		return t.change(ctx, insertState+s.dialect.unlessExists("id"), writableState, 0)
	})
}
