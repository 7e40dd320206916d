package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// opener is one of the functions Open and OpenAccounts.
type opener struct {
	name string
	open func(db *sql.DB, cfg sqlstore.Config) (auth.AccountStore, error)
}

var (
	openUsers = opener{"Open", func(db *sql.DB, cfg sqlstore.Config) (auth.AccountStore, error) {
		return sqlstore.Open(context.Background(), db, cfg)
	}}
	openAccounts = opener{"OpenAccounts", func(db *sql.DB, cfg sqlstore.Config) (auth.AccountStore, error) {
		return sqlstore.OpenAccounts(context.Background(), db, cfg)
	}}
	bothOrders = [][2]opener{{openUsers, openAccounts}, {openAccounts, openUsers}}
)

// requireRefused fails the test unless err names the function that opened the tables first. The
// parameter by is this function.
func requireRefused(t *testing.T, err error, by opener) {
	t.Helper()
	requireNoAnswer(t, err)
	require.ErrorContains(t, err,
		"were first opened with "+by.name+": call "+by.name+", or set Config.Prefix")
}

// keeps returns the contents that are recorded in the tables.
func (p place) keeps(t *testing.T, db *sql.DB) []string {
	t.Helper()
	return column(t, db, `SELECT keeps FROM `+p.prefix()+`contents`)
}

// unclaimed creates tables without recorded contents and returns a pool for them. It sets
// SkipMigrations in the configuration of p.
func (p *place) unclaimed(t *testing.T) *sql.DB {
	t.Helper()
	db := p.open(t, nil)
	_, err := openUsers.open(db, p.cfg)
	require.NoError(t, err)
	_, err = db.Exec(`DELETE FROM ` + p.prefix() + `contents`)
	require.NoError(t, err)
	p.cfg.SkipMigrations = true
	return db
}

// fillOne adds one row to the table, with the statement from the list fill.
func (p place) fillOne(t *testing.T, db *sql.DB, table string) {
	t.Helper()
	for _, statement := range fill {
		if strings.HasPrefix(statement, "INSERT INTO auth_"+table+" ") {
			statement = strings.ReplaceAll(strings.ReplaceAll(statement, "auth_", p.prefix()), "TABLE", `(SELECT 1 AS n) AS g`)
			_, err := db.Exec(statement)
			require.NoError(t, err)
			return
		}
	}
	require.Fail(t, "fill has no statement for "+table)
}

func TestFirstOpenDecidesContentsOfTables(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, skip := range []bool{false, true} {
			for _, order := range bothOrders {
				p := newPlace(t)
				if skip {
					p.unclaimed(t)
				}
				first, other := order[0], order[1]
				for range 2 {
					_, err := first.open(p.open(t, nil), p.cfg)
					require.NoError(t, err)
					s := &spy{}
					db := p.open(t, s)
					_, err = other.open(db, p.cfg)
					requireRefused(t, err, first)
					require.Empty(t, s.changes())
				}

				elsewhere := p
				elsewhere.cfg.Prefix, elsewhere.cfg.SkipMigrations = p.prefix()+"2_", false
				_, err := other.open(p.open(t, nil), elsewhere.cfg)
				require.NoError(t, err)
			}
		}
	})
}

// Two processes open tables without recorded contents, one with Open and the other with
// OpenAccounts. The process order[0] records its contents before the process order[1] begins its
// transaction. On a server, order[0] can also record its contents during that transaction, because
// a server does not lock the whole database.
func TestSecondProcessWithOtherContentsIsRefused(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, order := range bothOrders {
			for _, moment := range []string{"BEGIN", "START", "INSERT"} {
				p, s := newPlace(t), &spy{}
				if moment == "INSERT" && p.cfg.Dialect == sqlstore.SQLite {
					continue
				}
				db, second := p.unclaimed(t), p.open(t, s)
				asked, overtaken := false, false
				s.watch(func(_ context.Context, statement string) error {
					asked = asked || strings.HasPrefix(statement, "SELECT c.keeps")
					if !asked || overtaken || !strings.HasPrefix(statement, moment) {
						return nil
					}
					overtaken = true
					first, err := order[0].open(db, p.cfg)
					if users, ok := first.(auth.UserStore); err == nil && ok {
						err = users.Register(context.Background(), byHost, newUser("ada"),
							newKey("k-ada", "ada"))
					}
					return err
				})
				_, err := order[1].open(second, p.cfg)
				// Not every dialect runs a statement that begins with moment.
				if !overtaken {
					require.NoError(t, err)
					continue
				}
				if order[1].name == openAccounts.name && moment != "INSERT" {
					require.ErrorContains(t, err, "has users: call Open, or set Config.Prefix")
				} else {
					requireRefused(t, err, order[0])
				}
				requireNoTransaction(t, second)
			}
		}
	})
}

func TestConcurrentOpenWithDifferentContentsRefusesOne(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for round := range testenv.Rounds(t, testenv.Counts{Small: 4, Moderate: 10, Full: 100}) {
			p := newPlace(t)
			if round%2 == 1 {
				p.unclaimed(t)
			}
			openers := []opener{openUsers, openAccounts, openUsers, openAccounts}
			pools, errs := make([]*sql.DB, len(openers)), make([]error, len(openers))
			for i := range pools {
				pools[i] = p.open(t, nil)
			}
			together(t, len(openers), func(i int) error {
				_, errs[i] = openers[i].open(pools[i], p.cfg)
				return nil
			})
			winner, loser := 0, 1
			if errs[0] != nil {
				winner, loser = 1, 0
			}
			for i := range openers {
				if i%2 == winner {
					require.NoError(t, errs[i])
				} else {
					requireRefused(t, errs[i], openers[winner])
				}
			}
			_, err := openers[loser].open(pools[loser], p.cfg)
			requireRefused(t, err, openers[winner])
			for _, pool := range pools {
				require.NoError(t, pool.Close())
			}
		}
	})
}

func TestEmptyTablesWithoutRecordBelongToFirstOpener(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, order := range bothOrders {
			p := newPlace(t)
			db := p.unclaimed(t)
			_, err := order[0].open(db, p.cfg)
			require.NoError(t, err)
			_, err = order[1].open(db, p.cfg)
			requireRefused(t, err, order[0])
		}
	})
}

// Another program has filled the tables of a host with its own users table, without recorded contents. The
// host then calls Open instead of OpenAccounts.
func TestOpenRefusesTablesWithoutRecordThatHaveOnlyAccounts(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, table := range []string{"access_keys", "sessions", "github_links"} {
			p := newPlace(t)
			db := p.unclaimed(t)
			p.fillOne(t, db, table)
			for range 2 {
				_, err := openUsers.open(db, p.cfg)
				requireNoAnswer(t, err)
				require.ErrorContains(t, err, "call OpenAccounts, or set Config.Prefix", table)
				require.Empty(t, p.keeps(t, db))
			}
			_, err := openAccounts.open(db, p.cfg)
			require.NoError(t, err)
			require.Equal(t, []string{"accounts"}, p.keeps(t, db))
			_, err = openUsers.open(db, p.cfg)
			requireRefused(t, err, openAccounts)
		}
	})
}

func TestOpenAccountsRefusesTablesWithoutRecordThatHaveUsers(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p := newPlace(t)
		db := p.unclaimed(t)
		p.fillOne(t, db, "users")
		for range 2 {
			_, err := openAccounts.open(db, p.cfg)
			requireNoAnswer(t, err)
			require.ErrorContains(t, err, p.prefix()+"users has users: call Open, or set Config.Prefix")
			require.Empty(t, p.keeps(t, db))
		}
		_, err := openUsers.open(db, p.cfg)
		require.NoError(t, err)
		require.Equal(t, []string{"users"}, p.keeps(t, db))
		_, err = openAccounts.open(db, p.cfg)
		requireRefused(t, err, openUsers)
	})
}

func TestOpenFailsIfContentsCannotBeRecorded(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is on fire")
	inEach(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, verb := range []string{"SELECT c.keeps", "INSERT", "COMMIT"} {
			p, s := newPlace(t), &spy{}
			p.unclaimed(t)
			db := p.open(t, s)
			s.watch(func(_ context.Context, statement string) error {
				if strings.HasPrefix(statement, verb) && !strings.HasSuffix(statement, "WHERE 1 = 0") {
					return broken
				}
				return nil
			})
			_, err := openAccounts.open(db, p.cfg)
			requireNoAnswer(t, err)
			require.ErrorIs(t, err, broken)
			require.Empty(t, p.keeps(t, db))

			if verb == "INSERT" {
				p.cfg.IsConflict = func(error) bool { return true }
				_, err := openAccounts.open(db, p.cfg)
				requireNoAnswer(t, err)
				require.ErrorContains(t, err, "check Config.IsConflict")
			}
			s.watch(nil)
			requireNoTransaction(t, db)
			_, err = openAccounts.open(db, p.cfg)
			require.NoError(t, err)
			require.Equal(t, []string{"accounts"}, p.keeps(t, db))
		}
	})
}
