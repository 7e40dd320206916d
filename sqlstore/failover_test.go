//go:build linux

package sqlstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// instance is an instance of the service. It has a pool of its own.
type instance struct {
	name    string
	svc     *auth.Service
	handler http.Handler // the documented calls, and GET /host, a route of the host
	log     lockedBuffer
	ended   chan error // gets the result of Run
}

// newInstance starts an instance on the database that the data source name reaches.
func newInstance(t *testing.T, name, dsn string, key auth.SigningKey) *instance {
	t.Helper()
	connector, err := postgresConnector(dsn, "")
	require.NoError(t, err)
	store, err := sqlstore.Open(context.Background(), openConnector(t, connector, 8),
		sqlstore.Config{Dialect: sqlstore.Postgres})
	require.NoError(t, err)
	in := &instance{name: name, ended: make(chan error, 1)}
	in.svc, err = auth.New(store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
		Tokens:     auth.TokenConfig{RevocationInterval: revocationInterval},
		Throttling: auth.Throttling{Off: true},
		Timeout:    callTimeout,
		Logger:     slog.New(slog.NewTextHandler(&in.log, nil)),
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	in.svc.Mount(mux)
	mux.Handle("GET /host", in.svc.Authenticate(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })))
	in.handler = mux
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		<-in.ended
	})
	go func() {
		err := in.svc.Run(ctx)
		in.ended <- err
		close(in.ended)
	}()
	return in
}

// lockedBuffer is a buffer that several goroutines can use.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// In each round, the primary is killed and its synchronous standby becomes the primary, while clients
// use three instances. The instances go on without a restart, and nothing that they acknowledged is lost:
//
//   - A user, an access key and a session exist if the call that made them succeeded. A session is gone
//     if the call that revoked it succeeded.
//   - The token of a live session is never rejected.
//   - The token of a revoked session is rejected at once by the instance that revoked it, and by the
//     others when their copies of the revocation feed are younger than the revocation. Without an
//     outage, this takes at most [rejectedWithin].
//   - A call fails only because of an outage, and only with 503. When the new primary accepts writes,
//     at most one further call to each instance fails. An instance that only verifies tokens answers
//     every request, because the outage is shorter than MaxStaleness.
//
// The data source name names both servers and lets the driver look for the one that accepts writes. So
// the driver decides which server is the primary, as it does for a host without a proxy, and can be as
// wrong as there: while the standby is promoted, and when the former primary returns as a standby. A
// proxy that the test switches would always be right.
func TestPostgresFailsOverUnderLoadAndNothingAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	pair := newPostgresPair(t)
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	run := &traffic{writers: 2}
	for _, name := range []string{"the first instance", "the second instance", "the reader"} {
		run.instances = append(run.instances, newInstance(t, name, pair.dsn(), key))
	}
	run.start(t, 4)

	rounds := testenv.Rounds(t, testenv.Counts{Small: 1, Moderate: 2, Full: 20})
	for round := range rounds {
		run.waitForWrites(t)
		pair.requireSynchronous(t)
		killed, writable := pair.failOver(t, func() { run.waitForFailures(t) })
		run.waitForWrites(t)
		pair.attachStandby(t)
		run.waitForWrites(t)
		db := pair.primary.pool(t)
		t.Logf("round %d: %s", round+1, run.check(t, db, killed, writable))
		require.NoError(t, db.Close())
	}
	run.stop(t)
	t.Logf("%d rounds: %s", rounds, &run.total)
}
