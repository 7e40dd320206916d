package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// BenchmarkThroughput counts sign-ins and revocations per second at 1, 8 and 64 clients. It
// compares them with transactions that each insert one row into a table with the columns and
// indexes of auth_sessions, on the same pool. docs/scaling.md explains how to run it and lists
// results.
func BenchmarkThroughput(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		db := openDB(b, newFile(b), recommended)
		db.SetMaxIdleConns(maxClients)
		t := &throughput{db: db, store: mustOpen(b, db), prefix: "auth_", begin: `BEGIN IMMEDIATE`,
			writer: make(chan struct{}, 1)}
		t.logSettings(b, `PRAGMA journal_mode`, `PRAGMA synchronous`)
		var create []string
		for _, statement := range column(b, db, `
SELECT sql FROM sqlite_master WHERE tbl_name = 'auth_sessions' AND sql IS NOT NULL`) {
			create = append(create, strings.ReplaceAll(statement, "auth_sessions", "auth_bare"))
		}
		t.run(b, create...)
	})
	b.Run("postgres", func(b *testing.B) {
		t := serverThroughput(b, postgres, `BEGIN`)
		t.logSettings(b, `SHOW fsync`, `SHOW synchronous_commit`, `SHOW full_page_writes`)
		t.run(b, `CREATE TABLE `+t.prefix+`bare (LIKE `+t.prefix+`sessions INCLUDING ALL)`)
	})
	b.Run("mysql", func(b *testing.B) {
		t := serverThroughput(b, mariadb, `START TRANSACTION`)
		t.logSettings(b, `SELECT @@innodb_flush_log_at_trx_commit`, `SELECT @@innodb_doublewrite`)
		t.run(b, `CREATE TABLE `+t.prefix+`bare LIKE `+t.prefix+`sessions`)
	})
}

const maxClients = 64

// throughput is a store, and a service on the store.
type throughput struct {
	db     *sql.DB
	store  *sqlstore.Store
	prefix string
	begin  string
	writer chan struct{} // the bare inserts share it if the database has one writer; else it is nil

	svc    *auth.Service
	pairs  []auth.KeyPair // each belongs to a separate user
	hot    auth.KeyPair
	tokens chan string // of live sessions
}

func serverThroughput(b *testing.B, on *server, begin string) *throughput {
	db, cfg := on.open(b, nil, maxClients), on.config()
	store, err := sqlstore.Open(context.Background(), db, cfg)
	require.NoError(b, err)
	return &throughput{db: db, store: store, prefix: cfg.Prefix, begin: begin}
}

// logSettings logs the settings that decide whether a commit survives a power cut.
func (t *throughput) logSettings(b *testing.B, queries ...string) {
	for _, query := range queries {
		b.Log(query, "=", column(b, t.db, query))
	}
}

func (t *throughput) run(b *testing.B, create ...string) {
	for _, statement := range create {
		_, err := t.db.Exec(statement)
		require.NoError(b, err)
	}
	t.prepare(b)
	rounds := testenv.Rounds(b, testenv.Counts{Small: 1, Moderate: 1, Full: 5})
	ctx := context.Background()
	works := []struct {
		name string
		hot  bool // all calls are about one user
		do   func(i int) error
	}{
		{"bare insert", false, func(int) error { return t.bareInsert() }},
		{"sign-in", false, func(i int) error { return t.signIn(ctx, t.pairs[i%len(t.pairs)]) }},
		{"revocation", false, func(int) error { return t.revoke() }},
		{"sign-in of one user", true, func(int) error { return t.signIn(ctx, t.hot) }},
		{"revocation of one user", true, func(int) error { return t.revoke() }},
		{"sign-in from a new client", false, func(i int) error {
			client := auth.WithClientInfo(ctx, auth.ClientInfo{UserAgent: rand.Text()})
			return t.signIn(client, t.pairs[i%len(t.pairs)])
		}},
		{"revocation, again", false, func(int) error { return t.revoke() }},
	}
	for _, clients := range []int{1, 8, maxClients} {
		calls := testenv.Rounds(b, testenv.Counts{Small: 2, Moderate: 2, Full: 30}) * (clients + 7)
		hotCalls := min(calls, 800)                 // fewer than the sessions that one user can have
		took := make([][]time.Duration, len(works)) // the time of a round divided by its calls
		slowest := make([][]time.Duration, len(works))
		for range rounds {
			for i, work := range works {
				n := calls
				if work.hot {
					n = hotCalls
				}
				each, p99 := t.measure(b, clients, n, work.do)
				took[i], slowest[i] = append(took[i], each), append(slowest[i], p99)
			}
		}
		bare := median(took[0])
		for i, work := range works {
			each := median(took[i])
			p99 := median(slowest[i]).Round(10 * time.Microsecond)
			b.Logf("| %d clients | %s | %.0f/s | %.2f | p99 %v |", clients, work.name,
				float64(time.Second)/float64(each), float64(bare)/float64(each), p99)
		}
	}
	for b.Loop() {
		require.NoError(b, t.signIn(ctx, t.hot))
	}
}

func (t *throughput) prepare(b *testing.B) {
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(b, err)
	t.svc, err = auth.New(t.store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(b, err)
	ctx := context.Background()
	t.tokens = make(chan string, 100_000)
	for i := range testenv.Rounds(b, testenv.Counts{Small: 64, Moderate: 64, Full: 2000}) + 1 {
		user, err := t.svc.Register(ctx, byHost.By, auth.UserParams{Username: fmt.Sprint("user-", i)})
		require.NoError(b, err)
		t.pairs = append(t.pairs, user.Pair)
	}
	t.hot, t.pairs = t.pairs[0], t.pairs[1:]
}

// measure returns the mean time of a call, and the time that 99 of 100 calls did not exceed.
func (t *throughput) measure(
	b *testing.B, clients, calls int, do func(i int) error,
) (each, p99 time.Duration) {
	took := make([]time.Duration, calls)
	began := time.Now()
	inClients(b, clients, calls, func(i int) error {
		at := time.Now()
		err := do(i)
		took[i] = time.Since(at)
		return err
	})
	each = time.Since(began) / time.Duration(calls)
	return each, quantile(took, 0.99)
}

// inClients calls the function do with each number below n, and makes as many calls at the same time as
// there are clients.
func inClients(b *testing.B, clients, n int, do func(i int) error) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func (t *throughput) signIn(ctx context.Context, pair auth.KeyPair) error {
	token, err := t.svc.Login(ctx, pair, auth.LoginOptions{})
	if err == nil {
		t.tokens <- token.Bearer.Reveal()
	}
	return err
}

func (t *throughput) revoke() error {
	select {
	case token := <-t.tokens:
		return t.svc.Tokens().RevokeToken(context.Background(), token)
	default: // a sign-in has failed
		return errors.New("no token is left to revoke")
	}
}

// bareInsert inserts one row in a transaction.
func (t *throughput) bareInsert() error {
	if t.writer != nil {
		t.writer <- struct{}{}
		defer func() { <-t.writer }()
	}
	ctx := context.Background()
	conn, err := t.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, t.begin); err != nil {
		return err
	}
	places := `?, ?, ?, ?, ?, ?, ?, ?, ?, ?`
	if t.begin == `BEGIN` {
		places = `$1, $2, $3, $4, $5, $6, $7, $8, $9, $10`
	}
	at := time.Now().UnixMicro()
	_, err = conn.ExecContext(ctx, `INSERT INTO `+t.prefix+`bare
	(id, user_id, method, access_key_id, created_at, expires_at, user_agent, address, generation, audience)
VALUES (`+places+`)`,
		rand.Text(), rand.Text(), "access_key", "ak_live_"+rand.Text(),
		at, at+12*time.Hour.Microseconds(), "", "", 0, "")
	if err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, `COMMIT`)
	return err
}
