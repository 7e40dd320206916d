package redislimit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/limit"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/redislimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient returns a client of the server in AUTH_TEST_REDIS_ADDR.
func newClient(t testing.TB) *redis.Client {
	t.Helper()
	addr := os.Getenv("AUTH_TEST_REDIS_ADDR")
	if addr == "" {
		testenv.Skip(t, "set AUTH_TEST_REDIS_ADDR to the host:port of a Redis server")
	}
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// newLimiter returns a limiter whose keys begin with the prefix.
func newLimiter(t testing.TB, client *redis.Client, prefix string) *redislimit.Limiter {
	t.Helper()
	limiter, err := redislimit.New(client, redislimit.Options{Prefix: prefix, Timeout: 5 * time.Second})
	require.NoError(t, err)
	return limiter
}

func take(t testing.TB, l limit.Limiter, bucket string, rates ...limit.Rate) time.Duration {
	t.Helper()
	wait, err := l.Take(t.Context(), bucket, rates)
	require.NoError(t, err)
	return wait
}

func TestInstancesCountTogether(t *testing.T) {
	t.Parallel()
	client, prefix := newClient(t), rand.Text()
	one, other := newLimiter(t, client, prefix), newLimiter(t, client, prefix)
	rate := limit.Rate{Count: 4, Per: time.Hour}
	for range 2 {
		require.Zero(t, take(t, one, "a", rate))
		require.Zero(t, take(t, other, "a", rate))
	}
	for _, l := range []limit.Limiter{one, other} {
		wait := take(t, l, "a", rate)
		require.Greater(t, wait, 14*time.Minute)
		require.LessOrEqual(t, wait, 15*time.Minute)
	}
	require.Zero(t, take(t, one, "b", rate), "b is a different bucket")
	require.NoError(t, one.Reset(t.Context(), "a"))
	require.Zero(t, take(t, other, "a", rate))
}

func TestEventRefusedByOneRateIsCountedInNone(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, newClient(t), rand.Text())
	short, long := limit.Rate{Count: 10, Per: time.Hour}, limit.Rate{Count: 2, Per: 24 * time.Hour}
	require.Zero(t, take(t, l, "a", short, long))
	require.Zero(t, take(t, l, "a", short, long))
	for range 20 {
		require.Greater(t, take(t, l, "a", short, long), 11*time.Hour)
	}
	for range 8 { // the remaining events of the short rate
		require.Zero(t, take(t, l, "a", short))
	}
	require.NotZero(t, take(t, l, "a", short))
}

func TestBucketDrainsOverTime(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, newClient(t), rand.Text())
	rate := limit.Rate{Count: 1, Per: 50 * time.Millisecond}
	require.Zero(t, take(t, l, "a", rate))
	require.Eventually(t, func() bool {
		wait, err := l.Take(context.Background(), "a", []limit.Rate{rate})
		return err == nil && wait == 0
	}, 5*time.Second, 10*time.Millisecond)
}

func TestConcurrentEventsAreCountedExactly(t *testing.T) {
	t.Parallel()
	client, prefix := newClient(t), rand.Text()
	var allowed atomic.Int64
	var running sync.WaitGroup
	for range 64 {
		running.Go(func() {
			l := newLimiter(t, client, prefix)
			for range 10 {
				if wait, err := l.Take(t.Context(), "a",
					[]limit.Rate{{Count: 100, Per: time.Hour}}); err == nil && wait == 0 {
					allowed.Add(1)
				}
			}
		})
	}
	running.Wait()
	require.EqualValues(t, 100, allowed.Load())
}

func TestInvalidOptionsAndRatesAreRefused(t *testing.T) {
	t.Parallel()
	_, err := redislimit.New(nil, redislimit.Options{})
	require.Error(t, err)
	for _, deaf := range []redis.UniversalClient{
		redis.NewClient(&redis.Options{}), redis.NewClusterClient(&redis.ClusterOptions{}), redis.NewRing(&redis.RingOptions{}),
	} {
		_, err = redislimit.New(deaf, redislimit.Options{})
		require.ErrorContains(t, err, "ContextTimeoutEnabled")
		require.NoError(t, deaf.Close())
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
	defer client.Close()
	_, err = redislimit.New(client, redislimit.Options{Timeout: -1})
	require.Error(t, err)
	l, err := redislimit.New(client, redislimit.Options{})
	require.NoError(t, err)
	_, err = l.Take(t.Context(), "a", make([]limit.Rate, 5))
	require.Error(t, err)
}

func TestInstancesCountLocallyWithoutWaitingWhileServerIsUnavailable(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	// No server listens on this port.
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1,
		ContextTimeoutEnabled: true})
	defer client.Close()
	l, err := redislimit.New(client, redislimit.Options{Logger: slog.New(slog.NewTextHandler(&log,
		nil))})
	require.NoError(t, err)
	rate := limit.Rate{Count: 3, Per: time.Hour}
	began := time.Now()
	for range 3 {
		require.Zero(t, take(t, l, "a", rate))
	}
	for range 1000 {
		require.NotZero(t, take(t, l, "a", rate))
	}
	require.Less(t, time.Since(began), 2*time.Second)
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("the server is unavailable")))
	require.Error(t, l.Reset(t.Context(), "a"), "the bucket on the server cannot be reset")
	require.Zero(t, take(t, l, "a", rate))
}

func TestCanceledRequestDoesNotMarkTheServerUnavailable(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	l, err := redislimit.New(newClient(t),
		redislimit.Options{Prefix: rand.Text(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.Take(ctx, "a", []limit.Rate{{Count: 1, Per: time.Hour}})
	require.NoError(t, err)
	require.Empty(t, log.String())
}

// server is a Redis server that a test may kill.
type server struct {
	addr    string
	process *exec.Cmd
}

func (s *server) start(t testing.TB) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	s.process = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "no", "--dir", t.TempDir())
	require.NoError(t, s.process.Start())
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer client.Close()
	require.Eventually(t, func() bool { return client.Ping(context.Background()).Err() == nil },
		10*time.Second, 10*time.Millisecond)
}

func (s *server) kill(t testing.TB) {
	t.Helper()
	require.NoError(t, s.process.Process.Signal(syscall.SIGKILL))
	s.process.Wait()
}

func startServer(t testing.TB) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		testenv.Skip(t, "needs redis-server, to kill it")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &server{addr: listener.Addr().String()}
	require.NoError(t, listener.Close())
	s.start(t)
	t.Cleanup(func() { s.process.Process.Kill(); s.process.Wait() })
	return s
}

// A server that hangs accepts connections and commands, but never answers. A client cannot detect
// this immediately.
func TestNoRequestWaitsForAHangingServer(t *testing.T) {
	t.Parallel()
	hanging := startServer(t)
	client := redis.NewClient(&redis.Options{Addr: hanging.addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	local := &countingLimiter{Limiter: limit.NewMemory(0, nil)}
	l, err := redislimit.New(client, redislimit.Options{Logger: slog.New(slog.DiscardHandler),
		Local: local})
	require.NoError(t, err)
	rates := []limit.Rate{{Count: 1000, Per: time.Minute}, {Count: 1000, Per: time.Hour},
		{Count: 1000, Per: 24 * time.Hour}}
	require.Eventually(t, func() bool { // on a slow machine, the server may first seem unavailable
		before := local.taken.Load()
		take(t, l, "a", rates...)
		return local.taken.Load() == before
	}, 20*time.Second, 100*time.Millisecond)

	require.NoError(t, hanging.process.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = hanging.process.Process.Signal(syscall.SIGCONT) })
	began, before := time.Now(), local.taken.Load()
	var running sync.WaitGroup
	for range 100 {
		running.Go(func() { _, _ = l.Take(t.Context(), "a", rates) })
	}
	running.Wait()
	require.Less(t, time.Since(began), 3*time.Second, "the client's own timeout is five")
	require.EqualValues(t, 100, local.taken.Load()-before)

	require.NoError(t, hanging.process.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool {
		before := local.taken.Load()
		take(t, l, "a", rates...)
		return local.taken.Load() == before
	}, 20*time.Second, 200*time.Millisecond, "the instances must share limits again")
}

// countingLimiter counts its calls.
type countingLimiter struct {
	limit.Limiter
	taken atomic.Int64
}

func (c *countingLimiter) Take(
	ctx context.Context, bucket string, rates []limit.Rate,
) (time.Duration, error) {
	c.taken.Add(1)
	return c.Limiter.Take(ctx, bucket, rates)
}

// newInstance returns a service that shares a store and the limits with other instances.
func newInstance(t testing.TB, store auth.Store, key auth.SigningKey, addr string) *auth.Service {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	limiter, err := redislimit.New(client,
		redislimit.Options{Logger: slog.New(slog.DiscardHandler), Timeout: time.Second})
	require.NoError(t, err)
	svc, err := auth.New(store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
		Logger: slog.New(slog.DiscardHandler),
		Throttling: auth.Throttling{
			Limiter:  limiter,
			Failures: []limit.Rate{{Count: 10, Per: time.Hour}},
			Flood:    []limit.Rate{{Count: 10_000_000, Per: time.Minute}},
		},
	})
	require.NoError(t, err)
	return svc
}

// fail signs in with an unknown pair of key and secret. It reports whether the sign-in was
// throttled.
func fail(t testing.TB, svc *auth.Service, address string) bool {
	t.Helper()
	ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{Address: netip.MustParseAddr(address)})
	_, err := svc.Login(ctx, svc.Credentials().GeneratePair(), auth.LoginOptions{})
	var throttled *auth.ThrottledError
	if errors.As(err, &throttled) {
		return true
	}
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	return false
}

func TestSignInContinuesWhenTheSharedServerIsKilled(t *testing.T) {
	t.Parallel()
	redisServer := startServer(t)
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	store := memstore.New()
	instances := []*auth.Service{newInstance(t, store, key, redisServer.addr),
		newInstance(t, store, key, redisServer.addr)}
	made, err := instances[0].Register(t.Context(), auth.ByHost("setup"),
		auth.UserParams{Username: "ada"})
	require.NoError(t, err)

	// shared reports whether the two instances count together. Each call uses a new client address.
	addresses := 0
	shared := func() bool {
		addresses++
		address := fmt.Sprintf("198.51.%d.%d", addresses/250, addresses%250)
		failures := 0
		for ; failures < 20 && !fail(t, instances[failures%2], address); failures++ {
		}
		return failures == 10
	}
	require.True(t, shared())

	ctx, stop := context.WithCancel(t.Context())
	var refused, signedIn atomic.Int64
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			from := auth.WithClientInfo(ctx,
				auth.ClientInfo{Address: netip.MustParseAddr("203.0.113.7")})
			for ctx.Err() == nil {
				_, err := instances[i%2].Login(from, made.Pair, auth.LoginOptions{})
				if err != nil && ctx.Err() == nil {
					refused.Add(1)
				}
				signedIn.Add(1)
			}
		})
	}
	for range testenv.Rounds(t, testenv.Counts{Small: 1, Moderate: 2, Full: 10}) {
		redisServer.kill(t)
		before := signedIn.Load()
		require.Eventually(t, func() bool { return signedIn.Load() > before+50 }, 20*time.Second,
			10*time.Millisecond, "sign-in must continue")
		require.False(t, shared(), "each instance must count for itself")
		redisServer.start(t)
		require.Eventually(t, shared, 20*time.Second, 200*time.Millisecond,
			"the instances must share limits again")
	}
	stop()
	running.Wait()
	require.Zero(t, refused.Load())
}

// The clock of the server can go back, for example if a replica with another clock is promoted, or
// if the machine is restored. Clients must not wait until the clock has reached its former time
// again.
func TestServerClockSetBackDoesNotRefuseForLong(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	prefix := rand.Text()
	l := newLimiter(t, client, prefix)
	for name, back := range map[string]time.Duration{"ten minutes": 10 * time.Minute,
		"a day": 24 * time.Hour} {
		// The value of a key in Redis is the time at which the bucket is empty.
		for i := range 2 {
			empty := time.Since(redisEpoch) + back
			key := fmt.Sprintf("rate:%s:%s:%d", prefix, name, i)
			require.NoError(t, client.Set(t.Context(), key, empty.Seconds(), time.Hour).Err())
		}
		rates := []limit.Rate{{Count: 2, Per: time.Minute}, {Count: 3, Per: time.Minute + time.Second}}
		for range 2 {
			require.Zero(t, take(t, l, name, rates...), name)
		}
		wait := take(t, l, name, rates...)
		require.Positive(t, wait, name)
		require.LessOrEqual(t, wait, time.Minute, name)
	}
}

// After a failure, one request checks whether the server answers again. The client cancels this
// request each time.
func TestCanceledRequestsDoNotKeepTheServerUnused(t *testing.T) {
	t.Parallel()
	killed := startServer(t)
	client := redis.NewClient(&redis.Options{Addr: killed.addr, ContextTimeoutEnabled: true,
		MaxRetries: -1})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	local := &countingLimiter{Limiter: limit.NewMemory(0, nil)}
	l, err := redislimit.New(client, redislimit.Options{Logger: slog.New(slog.DiscardHandler),
		Local: local})
	require.NoError(t, err)
	rates := []limit.Rate{{Count: 1000, Per: time.Minute}}
	killed.kill(t)
	take(t, l, "a", rates...) // now the server is known to be unavailable
	killed.start(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	require.Eventually(t, func() bool {
		before := local.taken.Load()
		_, _ = l.Take(canceled, "a", rates)
		return local.taken.Load() == before
	}, 20*time.Second, 100*time.Millisecond, "a canceled request must find that the server answers again")
}
