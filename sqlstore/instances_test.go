//go:build unix

package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
	connsPerInstance = 2

	pacedRate          = 1000 // revocations per second
	clientsPerInstance = 6
	sampledEvery       = 20 // the benchmark watches one of so many logouts
	watchPause         = time.Millisecond
)

// BenchmarkInstances runs many instances of a service on one PostgreSQL database. It measures what
// they cost while nothing happens, and how soon an instance rejects a token that another instance has
// revoked. docs/scaling.md explains how to run it and lists results.
func BenchmarkInstances(b *testing.B) {
	postgres.need(b)
	b.Run("idle", func(b *testing.B) { newFleet(b, nil).idle(b) })
	noPing := stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false })
	b.Run("idle without pings", func(b *testing.B) { newFleet(b, nil, noPing).idle(b) })
	b.Run("idle with OnEvent", func(b *testing.B) { newFleet(b, func(auth.Event) {}).idle(b) })
	b.Run("revocations", func(b *testing.B) { newFleet(b, nil).revocations(b) })
}

// fleet is a number of instances that share a database, and run in this process.
type fleet struct {
	db       *sql.DB // of no instance
	name     string  // application_name of the instances' connections
	store    *sqlstore.Store
	services []*auth.Service
	tokens   []string // of live sessions
}

// newFleet starts the instances. Their reads of the feed are spread evenly over a second, as if the
// instances had started at random times. The options are those of the connections.
func newFleet(b *testing.B, onEvent func(auth.Event), options ...stdlib.OptionOpenDB) *fleet {
	n := testenv.Rounds(b, testenv.Counts{Small: 10, Moderate: 10, Full: 100})
	f := &fleet{db: postgres.open(b, nil, 2), name: "instances" + strings.ToLower(rand.Text()[:8])}
	f.needConnections(b, n*connsPerInstance)
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(b, err)
	dsn, err := pgx.ParseConfig(os.Getenv(postgres.variable))
	require.NoError(b, err)
	dsn.RuntimeParams["search_path"], dsn.RuntimeParams["application_name"] = postgres.schema, f.name
	cfg := postgres.config()
	for range n {
		db := openConnector(b, stdlib.GetConnector(*dsn, options...), connsPerInstance)
		f.store, err = sqlstore.Open(context.Background(), db, cfg)
		require.NoError(b, err)
		cfg.SkipMigrations = true
		svc, err := auth.New(f.store, auth.Config{
			Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
			OnEvent: onEvent, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(b, err)
		f.services = append(f.services, svc)
	}
	f.openSessions(b, 1) // so that the feed has an entry
	require.NoError(b, f.services[0].Tokens().RevokeToken(context.Background(), f.tokens[0]))

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	b.Cleanup(func() { cancel(); running.Wait() })
	for _, svc := range f.services {
		running.Go(func() { _ = svc.Run(ctx) })
		time.Sleep(time.Second / time.Duration(n))
	}
	return f
}

// needConnections skips the benchmark if the server does not allow the number of connections.
func (f *fleet) needConnections(b *testing.B, n int) {
	var free int
	require.NoError(b, f.db.QueryRow(`SELECT current_setting('max_connections')::int
	- current_setting('superuser_reserved_connections')::int
	- (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend')`).Scan(&free))
	if free < n {
		testenv.Skip(b, fmt.Sprintf("the instances need %d connections and PostgreSQL has %d left: "+
			"raise max_connections by %d", n, free, n-free))
	}
}

// openSessions opens sessions of different users.
func (f *fleet) openSessions(b *testing.B, n int) {
	ctx, svc := context.Background(), f.services[0]
	f.tokens = make([]string, n)
	users := make([]string, min(n, 5000))
	for at := 0; at < len(users); at += 100 {
		some := people(min(100, len(users)-at), rand.Text())
		for i := range some {
			some[i].User.Username, some[i].User.Email = some[i].User.ID, ""
			some[i].Keys[0].ID = "k-" + some[i].User.ID
			users[at+i] = some[i].User.ID
		}
		refusals, err := f.store.RegisterUsers(ctx, byHost, some)
		require.NoError(b, errors.Join(append(refusals, err)...))
	}
	inClients(b, 8*maxClients, n, func(i int) error {
		token, err := svc.SignIn(ctx, users[i%len(users)], auth.LoginOptions{})
		if err == nil {
			f.tokens[i] = token.Bearer.Reveal()
		}
		return err
	})
}

// idle measures the instances while there are no requests.
func (f *fleet) idle(b *testing.B) {
	// The instances prune when they start, and are idle after 30 seconds without requests.
	wait := testenv.Rounds(b, testenv.Counts{Small: 2, Moderate: 2, Full: 32})
	time.Sleep(time.Duration(wait) * time.Second)
	load := f.beginLoad(b)
	seconds := testenv.Rounds(b, testenv.Counts{Small: 1, Moderate: 1, Full: 30})
	time.Sleep(time.Duration(seconds) * time.Second)
	load.end(b)
	head, err := f.store.RevocationHead(context.Background())
	require.NoError(b, err)
	for b.Loop() { // one read of the feed
		_, err := f.store.ListRevocations(context.Background(), head, 2000)
		require.NoError(b, err)
	}
}

// revocations measures the instances while users log out at a fixed rate. The last tenth of the
// instances gets no logouts. An instance that gets a logout reads the feed at once, so the two groups
// learn of other logouts at different times.
func (f *fleet) revocations(b *testing.B) {
	seconds := testenv.Rounds(b, testenv.Counts{Small: 1, Moderate: 1, Full: 30})
	n := seconds * pacedRate
	f.openSessions(b, n)
	time.Sleep(2 * time.Second) // the instances read the feed, so that no token is newer than their copy

	var made atomic.Int64
	var watching sync.WaitGroup
	var mu sync.Mutex // guards the slices
	var acknowledged, onPolling, onOthers []time.Duration
	serving := len(f.services) * 9 / 10
	load, began := f.beginLoad(b), time.Now()
	inClients(b, serving*clientsPerInstance, n, func(i int) error {
		due := began.Add(time.Duration(i) * time.Second / pacedRate)
		time.Sleep(time.Until(due))
		if time.Since(began) > time.Duration(seconds)*time.Second {
			return nil // the instances do not keep up with the rate
		}
		at := mathrand.IntN(serving)
		if err := f.services[at].Tokens().RevokeToken(context.Background(), f.tokens[i]); err != nil {
			return err
		}
		ack := time.Now()
		made.Add(1)
		if i%sampledEvery != 0 {
			return nil
		}
		watched, took := serving+mathrand.IntN(len(f.services)-serving), &onPolling
		if i/sampledEvery%2 == 1 {
			watched, took = (at+1+mathrand.IntN(serving-1))%serving, &onOthers
		}
		watching.Go(func() {
			err := f.awaitRejection(watched, f.tokens[i])
			mu.Lock()
			defer mu.Unlock()
			*took = append(*took, time.Since(ack).Round(time.Millisecond))
			acknowledged = append(acknowledged, ack.Sub(due).Round(time.Millisecond))
			if err != nil {
				b.Error(err)
			}
		})
		return nil
	})
	rate := float64(made.Load()) / time.Since(began).Seconds()
	load.end(b)
	watching.Wait()
	b.ReportMetric(rate, "revocations/s")
	b.Logf("| revocations per second | %.0f |", rate)
	for _, row := range []struct {
		what string
		took []time.Duration
	}{
		{"until the logout is acknowledged", acknowledged},
		{"then until an instance without logouts rejects the token", onPolling},
		{"then until an instance with logouts rejects the token", onOthers},
	} {
		b.Logf("| %s | p50 %v | p99 %v | max %v | of %d |", row.what, quantile(row.took, 0.5),
			quantile(row.took, 0.99), slices.Max(row.took), len(row.took))
	}
	for b.Loop() {
		_, err := f.services[0].Tokens().Verify(context.Background(), f.tokens[0])
		require.ErrorIs(b, err, auth.ErrTokenRejected)
	}
}

// awaitRejection returns when the instance rejects the token.
func (f *fleet) awaitRejection(instance int, token string) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(watchPause) {
		_, err := f.services[instance].Tokens().Verify(context.Background(), token)
		if errors.Is(err, auth.ErrTokenRejected) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("instance %d accepts a revoked token", instance)
}

// load is the CPU time at the beginning of a measurement.
type load struct {
	fleet           *fleet
	began           time.Time
	process, server time.Duration
}

func (f *fleet) beginLoad(b *testing.B) *load {
	return &load{f, time.Now(), processTime(b), f.serverTime(b)}
}

// end reports the CPU time since the beginning, as a share of one core.
func (l *load) end(b *testing.B) {
	passed := time.Since(l.began)
	share := func(took time.Duration) float64 { return 100 * took.Seconds() / passed.Seconds() }
	process := share(processTime(b) - l.process)
	b.ReportMetric(process, "%core-process")
	b.Logf("| CPU of the process with %d instances | %.1f %% of a core |", len(l.fleet.services), process)
	if l.server == 0 {
		b.Log("PostgreSQL runs on another machine, so its CPU time is not measured")
		return
	}
	server := share(l.fleet.serverTime(b) - l.server)
	b.ReportMetric(server, "%core-postgres")
	b.Logf("| CPU of PostgreSQL | %.1f %% of a core |", server)
}

// processTime returns the CPU time of this process.
func processTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// serverTime returns the CPU time of the server processes that serve the instances. It returns 0 if
// the server does not run on this machine. It reads schedstat, because stat has a resolution of 10
// milliseconds, which an idle server process takes in a minute.
func (f *fleet) serverTime(b *testing.B) (total time.Duration) {
	for _, pid := range column(b, f.db,
		`SELECT pid::text FROM pg_stat_activity WHERE application_name = $1`, f.name) {
		name, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err != nil || !strings.HasPrefix(string(name), "postgres: ") {
			return 0
		}
		text, err := os.ReadFile("/proc/" + pid + "/schedstat")
		if err != nil {
			return 0
		}
		nanos, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(nanos, 10, 64)
		require.NoError(b, err)
		total += time.Duration(n)
	}
	return total
}
