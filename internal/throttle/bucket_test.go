package throttle_test

import (
	"log/slog"
	"regexp"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

// While a new version replaces an old one, instances of both versions share their counts. So the
// name of a bucket must stay the same.
func TestBucketNamesStayTheSame(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	for _, test := range []struct {
		client throttle.Client
		kind   string
		want   string
	}{
		{at("203.0.113.7"), "flood", "7ce6c2be2be33965c2e17e9f6a40137b"},
		{at("203.0.113.7"), "sign-in failures", "335427ee4ca6f8bdd1b0bf8947fe7685"},
		{at("203.0.113.7"), "GitHub failures", "a79d7d1b43597ef39ec15c8cd7d8bec1"},
		{at("203.0.113.7"), "GitHub sign-ins", "5a736a92d81c4f047ee4345b61cbd843"},
		{at("2001:db8:1:2:3::4"), "flood", "ee3b2c78bba84e75fc8ba2c3a9f24a8b"},
		{throttle.Client{}, "sign-in failures", "d7a300f96736c8aae153a4a8c0c706e5"},
	} {
		require.NoError(t, counts[test.kind](f, t.Context(), test.client))
		require.Equal(t, test.want, f.limiter.last().bucket, test)
	}
	require.NoError(t, f.CountSlowAttempt(t.Context(), at("203.0.113.7"), "alice@old"))
	require.Equal(t, "c800586f59e29772e4cee2a5756550a0", f.limiter.last().bucket)
	f.ForgetSlowAttempts(t.Context(), at("203.0.113.7"), "alice@old")
	require.Equal(t, []string{"c800586f59e29772e4cee2a5756550a0"}, f.limiter.resets)
	require.NoError(t, f.CountSlowAttempt(t.Context(), throttle.Client{}, "alice@old"))
	require.Equal(t, "0cab23fcaf4c20c277374b5fdf35ea8b", f.limiter.last().bucket)
}

// The name does not reveal the client, and limiters can rely on the form of names.
func TestBucketNamesAre32HexadecimalDigits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, throttle.Limits{})
	require.NoError(t, f.CountSlowAttempt(t.Context(), at("203.0.113.7"), "alice\x00*\r\nFLUSHALL"))
	require.Regexp(t, regexp.MustCompile(`\A[0-9a-f]{32}\z`), f.limiter.last().bucket)
}

// The attack: a client uses up the bucket of another client, key or service.
func TestBucketsDifferInEachPartOfTheirNames(t *testing.T) {
	t.Parallel()
	names := map[string]string{}
	add := func(what string, limits throttle.Limits, namespace, address, key string) {
		shared := &limiter{memory: limit.NewMemory(0, time.Now)}
		limits.Limiter = shared
		th := newThrottle(t, limits, namespace, time.Now, slog.Default())
		if key == "" {
			require.NoError(t, th.CountFailure(t.Context(), at(address)))
		} else {
			require.NoError(t, th.CountSlowAttempt(t.Context(), at(address), key))
		}
		name := shared.last().bucket
		require.NotContains(t, names, name, what)
		names[name] = what
	}
	same := throttle.Limits{Failures: rates(5, time.Minute), SlowAttempts: rates(5, time.Minute)}
	add("failures", same, namespace, "203.0.113.7", "")
	add("key", same, namespace, "203.0.113.7", "alice")
	add("another key", same, namespace, "203.0.113.7", "bob")
	add("key that begins alike", same, namespace, "203.0.113.7", "alice2")
	add("another address", same, namespace, "203.0.113.8", "alice")
	add("another service", same, "https://other.example.com", "203.0.113.7", "alice")
	more := throttle.Limits{SlowAttempts: rates(6, time.Minute)}
	add("another count", more, namespace, "203.0.113.7", "alice")
	longer := throttle.Limits{SlowAttempts: rates(5, time.Hour)}
	add("another period", longer, namespace, "203.0.113.7", "alice")
	add("namespace that ends like an address", same, namespace+"203.0.113.7", "203.0.113.7", "alice")
}

// Services with different rates use different buckets, because all calls for a bucket must have the
// same rates.
func TestServicesThatShareALimiterBothHaveTheirLimits(t *testing.T) {
	t.Parallel()
	shared := limit.NewMemory(0, func() time.Time { return time.Unix(1e9, 0) })
	service := func(namespace string, count int) func() error {
		limits := throttle.Limits{Limiter: shared, Failures: rates(count, time.Hour)}
		th := newThrottle(t, limits, namespace, time.Now, slog.Default())
		return func() error { return th.CountFailure(t.Context(), at("203.0.113.7")) }
	}
	requireAllowed(t, 5, service("a", 5))
	requireAllowed(t, 5, service("b", 5))
	requireAllowed(t, 3, service("a", 3))
	require.Error(t, service("a", 5)(), "another instance of the first")
}
