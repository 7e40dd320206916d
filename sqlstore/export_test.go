package sqlstore

import (
	"context"
	"database/sql"
	"io/fs"
)

// OpenWithMigrations is [Open] with the given migrations instead of the embedded ones.
func OpenWithMigrations(ctx context.Context, db *sql.DB, cfg Config, migrations fs.FS) (*Store, error) {
	s := &Store{}
	if err := s.openWith(ctx, db, cfg, usersAndAccounts, migrations); err != nil {
		return nil, err
	}
	return s, nil
}

// Transact calls the function do in a transaction, like the methods of the store that write.
func (s *core) Transact(ctx context.Context, do func(context.Context, *sql.Conn) error) error {
	return s.write(ctx, "test", func(ctx context.Context, t tx) error { return do(ctx, t.conn) })
}

// Statement translates a query of this package for the database.
func (s *core) Statement(query string) string { return s.statement(query) }

// CheckedConns returns the number of connections that the store remembers as checked.
func (s *core) CheckedConns() int {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	return len(s.conns.conns)
}

// Waiting returns the number of calls that wait for a batch.
func (s *core) Waiting() int {
	return s.keyReads.count() + s.signIns.count() + s.signOuts.count() +
		s.signInsOf.count() + s.signOutsOf.count()
}

// BusyUsers returns the number of users whose calls share transactions with each other only.
func (s *core) BusyUsers() int {
	s.signInsOf.mu.Lock()
	defer s.signInsOf.mu.Unlock()
	s.signOutsOf.mu.Lock()
	defer s.signOutsOf.mu.Unlock()
	return len(s.signInsOf.groups) + len(s.signOutsOf.groups)
}

func (g *userGroups[In, Out]) count() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.groups {
		n += one.count()
	}
	return n
}

func (g *group[In, Out]) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// ConnChecks are the statements that check a connection before the store first uses it.
var ConnChecks = []string{sqliteSettings, postgresSettings, mysqlSettings}
