package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

const (
	keysPerUser, sessionsPerUser = 2, 3

	sampledUsers = 300 // number of users who sign in
	scaleRounds  = 8
)

// BenchmarkScaling compares a store that has few users with one that has many. It runs the two
// alternately. docs/scaling.md explains how to run it and lists results.
func BenchmarkScaling(b *testing.B) {
	few := testenv.Rounds(b, testenv.Counts{Small: 100, Moderate: 100, Full: 1_000})
	many := testenv.Rounds(b, testenv.Counts{Small: 1_000, Moderate: 1_000, Full: 1_000_000})
	b.Run("sqlite", func(b *testing.B) {
		benchmarkScaling(b, scaledSQLite(b, few), scaledSQLite(b, many))
	})
	b.Run("postgres", func(b *testing.B) {
		postgres.need(b)
		benchmarkScaling(b, scaledPostgres(b, few), scaledPostgres(b, many))
	})
}

// scaled is a store with a given number of users.
type scaled struct {
	users  int
	store  *sqlstore.Store
	svc    *auth.Service
	ids    []string // IDs of the users who sign in
	pairs  []auth.KeyPair
	tokens []string
	sizes  []string // lines for the log: the rows and the disk space of each table
}

func benchmarkScaling(b *testing.B, few, many *scaled) {
	ctx := context.Background()
	works := []struct {
		name string
		do   func(s *scaled, i int) error
	}{
		{"sign-in with an access key", func(s *scaled, i int) error { _, err := s.svc.Login(ctx, s.pairs[i], auth.LoginOptions{}); return err }},
		{"an authenticated request", func(s *scaled, i int) error { _, err := s.svc.Tokens().Verify(ctx, s.tokens[i]); return err }},
		{"a new user", func(s *scaled, _ int) error {
			_, err := s.svc.Register(ctx, byHost.By, auth.UserParams{Username: rand.Text()})
			return err
		}},
		{"a page of 50 users, anywhere", func(s *scaled, i int) error {
			_, err := s.store.ListUsers(ctx, auth.UserQuery{After: s.ids[i], Limit: 50})
			return err
		}},
	}
	b.Logf("| | %d users | %d users | ratio |", few.users, many.users)
	for at, work := range works {
		var took [2][]time.Duration
		for range scaleRounds {
			for which, s := range []*scaled{few, many} {
				for range 50 {
					i := mathrand.IntN(len(s.pairs))
					began := time.Now()
					require.NoError(b, work.do(s, i))
					took[which] = append(took[which], time.Since(began))
				}
			}
		}
		a, z := median(took[0]), median(took[1])
		b.Logf("| %s | %v | %v | %.2f |", work.name, a, z, float64(z)/float64(a))
		if at == 0 {
			b.ReportMetric(float64(z)/float64(a), "sign-in-ratio")
		}
	}
	for _, line := range many.sizes {
		b.Log(line)
	}
	for b.Loop() {
		_, err := many.svc.Login(ctx, many.pairs[mathrand.IntN(len(many.pairs))], auth.LoginOptions{})
		require.NoError(b, err)
	}
}

func median(d []time.Duration) time.Duration { return quantile(d, 0.5).Round(time.Microsecond) }

// quantile returns the duration that the given share of the durations does not exceed.
func quantile(d []time.Duration, share float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[int(share*float64(len(d)))]
}

// scaledRows calls the function add with each row of a store that has the given number of users,
// table by table. It returns the IDs of some of the users.
func scaledRows(users int, add func(table string, columns []string, row []any)) (some []string) {
	ids := make([]string, users)
	micros := now.UnixMicro()
	for i := range ids {
		ids[i] = rand.Text()
		name := "User-" + ids[i]
		add("users", []string{
			"id", "username", "username_folded", "email", "email_folded",
			"is_super_user", "is_active", "created_at", "last_login", "admitted_at",
			"is_service", "created_by", "audiences",
		}, []any{
			ids[i], name, auth.FoldASCII(name), name + "@example.com", auth.FoldASCII(name + "@example.com"),
			int16(0), int16(1), micros, micros, int64(0), int16(0), "", "",
		})
	}
	keys := make([]string, 0, users*keysPerUser)
	for i := range users * keysPerUser {
		keys = append(keys, "ak_live_"+rand.Text())
		add("access_keys", []string{
			"id", "user_id", "hash", "label", "created_at", "expires_at", "previous_hash", "previous_until", "last_used_at", "must_rotate", "expiry_notice_at",
		}, []any{
			keys[i], ids[i%users], "$sha256$v=1$" + rand.Text() + rand.Text()[:17], "", micros, int64(0), "", int64(0), micros, int16(0), int64(0),
		})
	}
	for i := range users * sessionsPerUser {
		ends := micros + 12*time.Hour.Microseconds() + int64(i)
		add("sessions", []string{
			"id", "user_id", "method", "access_key_id", "created_at", "expires_at", "user_agent", "address", "generation", "audience",
		}, []any{
			rand.Text(), ids[i%users], string(auth.MethodAccessKey), keys[i%users], micros, ends, "curl/8.14.1", "192.0.2.1", int64(0), "",
		})
	}
	mathrand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:min(len(ids), sampledUsers)]
}

// begin creates a service on the store, and a key and a token for each user who signs in.
func (s *scaled) begin(b *testing.B, store *sqlstore.Store) *scaled {
	b.Helper()
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(b, err)
	s.store = store
	s.svc, err = auth.New(store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
		Now:    func() time.Time { return now },
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(b, err)
	for _, id := range s.ids {
		issued, err := s.svc.Credentials().Issue(context.Background(), byHost.By, id, auth.KeyOptions{})
		require.NoError(b, err)
		token, err := s.svc.SignIn(context.Background(), id, auth.LoginOptions{})
		require.NoError(b, err)
		s.pairs, s.tokens = append(s.pairs, issued), append(s.tokens, token.Bearer.Reveal())
	}
	return s
}

func scaledSQLite(b *testing.B, users int) *scaled {
	b.Helper()
	s, file := &scaled{users: users}, newFile(b)
	loading := openDB(b, file, "?_pragma=synchronous(NORMAL)&_pragma=cache_size(-1000000)")
	mustOpen(b, loading)
	tx, err := loading.Begin()
	require.NoError(b, err)
	inserts := map[string]*sql.Stmt{}
	s.ids = scaledRows(users, func(table string, columns []string, row []any) {
		if inserts[table] == nil {
			places := "(?" + strings.Repeat(", ?", len(columns)-1) + ")"
			inserts[table], err = tx.Prepare(`INSERT INTO auth_` + table + ` (` + strings.Join(columns, ", ") + `) VALUES ` + places)
			require.NoError(b, err)
		}
		_, err := inserts[table].Exec(row...)
		require.NoError(b, err)
	})
	require.NoError(b, tx.Commit())
	_, err = loading.Exec(`ANALYZE`)
	require.NoError(b, err)
	_, err = loading.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	require.NoError(b, err)
	require.NoError(b, loading.Close())

	info, err := os.Stat(file)
	require.NoError(b, err)
	s.sizes = []string{fmt.Sprintf("the file: %.0f MiB", float64(info.Size())/(1<<20))}
	return s.begin(b, mustOpen(b, openDB(b, file, recommended)))
}

func scaledPostgres(b *testing.B, users int) *scaled {
	b.Helper()
	s, cfg, db := &scaled{users: users}, postgres.config(), postgres.open(b, nil, 2)
	store, err := sqlstore.Open(context.Background(), db, cfg)
	require.NoError(b, err)
	columnsOf, waiting := map[string][]string{}, map[string][][]any{}
	flush := func(table string) {
		copyInto(b, db, cfg.Prefix+table, columnsOf[table], waiting[table])
		waiting[table] = nil
	}
	s.ids = scaledRows(users, func(table string, columns []string, row []any) {
		columnsOf[table] = columns
		waiting[table] = append(waiting[table], row)
		if len(waiting[table]) == 100_000 {
			flush(table)
		}
	})
	for table := range waiting {
		flush(table)
	}
	for table := range columnsOf {
		_, err := db.Exec(`VACUUM ANALYZE ` + cfg.Prefix + table)
		require.NoError(b, err)
	}
	for _, table := range []string{"users", "access_keys", "sessions"} {
		s.sizes = append(s.sizes, column(b, db, fmt.Sprintf(`SELECT format('%[2]s: %%s rows, %%s, of which indexes %%s', COUNT(*),
			pg_size_pretty(pg_total_relation_size('%[1]s')), pg_size_pretty(pg_indexes_size('%[1]s'))) FROM %[1]s`, cfg.Prefix+table, table))...)
	}
	return s.begin(b, store)
}

func copyInto(b *testing.B, db *sql.DB, table string, columns []string, rows [][]any) {
	b.Helper()
	conn, err := db.Conn(context.Background())
	require.NoError(b, err)
	defer conn.Close()
	require.NoError(b, conn.Raw(func(c any) error {
		_, err := c.(*stdlib.Conn).Conn().CopyFrom(context.Background(), pgx.Identifier{table},
			columns, pgx.CopyFromRows(rows))
		return err
	}))
}
