package sqlstore_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// importJob is the job of a process that imports a file until it is killed. The value of
// fileVariable has two parts: the path of the file, and the database. The database is "sqlite" and
// a path, or the argument for [openAt].
const importJob = "import"

func importUntilKilled(what string) error {
	lines, where, _ := strings.Cut(what, " ")
	store, err := openAt(where)
	if file, ok := strings.CutPrefix(where, "sqlite "); ok {
		var db *sql.DB
		if db, err = sql.Open("sqlite", "file:"+file+impatient); err == nil {
			store, err = open(db)
		}
	}
	if err != nil {
		return err
	}
	file, err := os.Open(lines)
	if err != nil {
		return err
	}
	fmt.Println("opened")
	_, err = importInto(store, file, auth.ImportOptions{
		BatchSize:  50,
		OnProgress: func(p auth.ImportProgress) { fmt.Println("done", p.Added+p.Present) },
	})
	if err != nil {
		return err
	}
	fmt.Println("complete")
	select {} // until the process is killed
}

func importInto(
	store *sqlstore.Store, lines io.Reader, options auth.ImportOptions,
) (auth.ImportProgress, error) {
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	if err != nil {
		return auth.ImportProgress{}, err
	}
	svc, err := auth.New(store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
		Proxies:     auth.NoProxies(),
		Credentials: auth.CredentialConfig{AllowImported: true}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return auth.ImportProgress{}, err
	}
	return svc.ImportUsers(context.Background(), byHost.By, lines, options)
}

// importedHash has the form of a hash of argon2id.
var importedHash = "$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("c2Fs",
	5) + "dA$" + strings.Repeat("aGFz", 10) + "aGE"

// importedRow is an imported user with one key.
type importedRow struct{ name, key string }

// newImportedRow returns a user with a random name and a random key. So neither the names nor the
// keys are sorted in the file.
func newImportedRow() importedRow {
	var text [16]byte
	rand.Read(text[:])
	return importedRow{"user." + hex.EncodeToString(text[:6]), "legacy-" + hex.EncodeToString(text[:])}
}

// writeLines writes a file to import, with the given number of users.
func writeLines(t testing.TB, users int) (file string, rows []importedRow) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "users.jsonl")
	f, err := os.Create(file)
	require.NoError(t, err)
	defer f.Close()
	w := bufio.NewWriter(f)
	rows = make([]importedRow, users)
	for i := range rows {
		rows[i] = newImportedRow()
		fmt.Fprintf(w,
			`{"username":%q,"email":"%s@example.com","keys":[{"access_key":%q,"hash":%q}]}`+"\n",
			rows[i].name, rows[i].name, rows[i].key, importedHash)
	}
	require.NoError(t, w.Flush())
	return file, rows
}

func TestKilledImportResumesWithoutLossOrDuplicates(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		file := newFile(t)
		db := openDB(t, file, impatient)
		killImports(t, mustOpen(t, db), db, "auth_", "sqlite "+file)
	})
	onServers(t, func(t *testing.T, on *server) {
		db, cfg := on.open(t, nil, 2), on.config()
		store, err := sqlstore.Open(context.Background(), db, cfg)
		require.NoError(t, err)
		killImports(t, store, db, cfg.Prefix,
			strings.Join([]string{string(on.dialect), on.schema, cfg.Prefix}, " "))
	})
}

func killImports(t *testing.T, store *sqlstore.Store, db *sql.DB, prefix, where string) {
	const users = 2000
	file, rows := writeLines(t, users)
	count := func() int {
		n, err := strconv.Atoi(column(t, db, `SELECT COUNT(*) FROM `+prefix+`users`)[0])
		require.NoError(t, err)
		return n
	}
	kills := testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 10, Full: 100})
	for range kills {
		acknowledged := killImport(t, file+" "+where)
		there := count()
		require.GreaterOrEqual(t, there, acknowledged)
		require.Zero(t, there%50, "a batch must be added completely or not at all")
		if there == users { // the import is complete: start again from the beginning
			for _, table := range []string{"users", "access_keys"} {
				_, err := db.Exec(`DELETE FROM ` + prefix + table)
				require.NoError(t, err)
			}
		}
	}
	before := count()
	lines, err := os.Open(file)
	require.NoError(t, err)
	defer lines.Close()
	progress, err := importInto(store, lines, auth.ImportOptions{})
	require.NoError(t, err)
	t.Logf("%d kills; %d users were there, %d were missing", kills, progress.Present, progress.Added)
	require.Equal(t, auth.ImportProgress{
		Lines: users, Bytes: progress.Bytes, Present: before, Added: users - before,
	}, progress)
	require.Equal(t, users, count())
	for _, row := range rows {
		_, user, err := store.FindKey(t.Context(), row.key)
		require.NoError(t, err)
		require.Equal(t, row.name, user.Username)
	}
}

// killImport starts an import in another process and kills the process after some batches.
// killImport returns the number of users that the import had reported as added or as already
// present.
func killImport(t *testing.T, what string) (acknowledged int) {
	t.Helper()
	p := launch(t, importJob, what)
	read := func() string {
		line, err := p.output.ReadString('\n')
		require.NoError(t, err)
		if n, ok := strings.CutPrefix(line, "done "); ok {
			acknowledged, err = strconv.Atoi(strings.TrimSpace(n))
			require.NoError(t, err)
		}
		return line
	}
	require.Equal(t, "opened\n", read())
	for range mathrand.IntN(20) {
		read()
	}
	p.kill(t) // during the next batch
	return acknowledged
}

// BenchmarkImport compares an import with a plain insertion of the same rows into the same tables,
// in batches. It runs the two alternately. docs/import.md explains how to run it and lists results.
func BenchmarkImport(b *testing.B) {
	users := testenv.Rounds(b, testenv.Counts{Small: 1_000, Moderate: 1_000, Full: 1_000_000})
	file, rows := writeLines(b, users)
	ways := []struct {
		name string
		run  func(b *testing.B, store *sqlstore.Store, db *sql.DB, rowsPerStatement int)
	}{
		{"bare inserts", func(b *testing.B, store *sqlstore.Store, db *sql.DB, each int) { insertBare(b, store, db, each, rows) }},
		{"an import", func(b *testing.B, store *sqlstore.Store, _ *sql.DB, _ int) {
			require.Equal(b, users, importFile(b, store, file).Added)
		}},
		{"the same again", func(b *testing.B, store *sqlstore.Store, _ *sql.DB, _ int) {
			importFile(b, store, file)
			b.ResetTimer()
			require.Equal(b, users, importFile(b, store, file).Present)
		}},
	}
	for _, way := range ways {
		report := func(b *testing.B, run func()) {
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(users)/(b.Elapsed().Seconds()/float64(b.N)), "users/s")
		}
		b.Run("sqlite/"+way.name, func(b *testing.B) {
			report(b, func() {
				b.StopTimer()
				db := openDB(b, newFile(b), recommended+"&_pragma=cache_size(-262144)")
				store := mustOpen(b, db)
				b.StartTimer()
				way.run(b, store, db, 1)
			})
		})
		for _, on := range servers {
			b.Run(string(on.dialect)+"/"+way.name, func(b *testing.B) {
				report(b, func() {
					b.StopTimer()
					db, cfg := on.open(b, nil, 2), on.config()
					store, err := sqlstore.Open(context.Background(), db, cfg)
					require.NoError(b, err)
					b.StartTimer()
					way.run(b, store, db, 500)
					b.StopTimer()
					_, err = db.Exec(`DROP TABLE ` + cfg.Prefix + `users, ` + cfg.Prefix + `access_keys`)
					require.NoError(b, err)
					b.StartTimer()
				})
			})
		}
	}
}

func importFile(b *testing.B, store *sqlstore.Store, file string) auth.ImportProgress {
	b.Helper()
	lines, err := os.Open(file)
	require.NoError(b, err)
	defer lines.Close()
	progress, err := importInto(store, lines, auth.ImportOptions{})
	require.NoError(b, err)
	return progress
}

// insertBare inserts rows that are already in memory, in their order. Its transactions are as large
// as those of an import. The parameter each is the number of rows that one statement inserts.
func insertBare(b *testing.B, store *sqlstore.Store, db *sql.DB, each int, rows []importedRow) {
	b.Helper()
	const batch = 20_000
	micros := now.UnixMicro()
	tables := []struct{ insert, row string }{
		{`INSERT INTO auth_users (id, username, username_folded, email, email_folded, is_super_user, is_active, created_at, last_login, admitted_at, is_service, created_by, audiences) VALUES `, `(?, ?, ?, ?, ?, 0, 1, ?, 0, 0, 0, '', '')`},
		{`INSERT INTO auth_access_keys (id, user_id, hash, label, created_at, expires_at, previous_hash, previous_until, last_used_at, must_rotate, expiry_notice_at) VALUES `, `(?, ?, ?, '', ?, 0, '', 0, 0, 0, 0)`},
	}
	for some := range slices.Chunk(rows, batch) {
		tx, err := db.Begin()
		require.NoError(b, err)
		ids := make([]string, len(some))
		for which, table := range tables {
			statement, err := tx.Prepare(store.Statement(table.insert + table.row +
				strings.Repeat(`, `+table.row, each-1)))
			require.NoError(b, err)
			for at := 0; at < len(some); at += each {
				var values []any
				for i := at; i < at+each; i++ {
					row := some[i]
					if which == 0 {
						ids[i] = rand.Text()
						values = append(values, ids[i], row.name, row.name, row.name+"@example.com",
							row.name+"@example.com", micros)
					} else {
						values = append(values, row.key, ids[i], importedHash, micros)
					}
				}
				_, err := statement.Exec(values...)
				require.NoError(b, err)
			}
			require.NoError(b, statement.Close())
		}
		require.NoError(b, tx.Commit())
	}
}
