package redislimit_test

import (
	"crypto/rand"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/limit"
	"github.com/sallyport-go/auth/memstore"
)

// redisEpoch is the time from which the values in Redis count.
var redisEpoch = time.Unix(1483228800, 0)

// The clock of the server was set back by a day. A client with the right secret must sign in
// nevertheless, and the limits must hold again at once.
func TestTheRightSecretIsAcceptedAfterTheServerClockWasSetBack(t *testing.T) {
	t.Parallel()
	client, prefix := newClient(t), rand.Text()
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
		Logger: slog.New(slog.DiscardHandler),
		Throttling: auth.Throttling{
			Limiter:  newLimiter(t, client, prefix),
			Failures: []limit.Rate{{Count: 10, Per: time.Minute}, {Count: 10, Per: time.Hour}},
			Flood:    []limit.Rate{{Count: 40, Per: time.Minute}},
		},
	})
	require.NoError(t, err)
	made, err := svc.Register(t.Context(), auth.ByHost("setup"), auth.UserParams{Username: "ada"})
	require.NoError(t, err)
	const address = "203.0.113.7"
	from := auth.WithClientInfo(t.Context(), auth.ClientInfo{Address: netip.MustParseAddr(address)})
	require.False(t, fail(t, svc, address))
	_, err = svc.Login(from, made.Pair, auth.LoginOptions{})
	require.NoError(t, err)

	// The value of a key in Redis is the time at which the bucket is empty.
	keys, err := client.Keys(t.Context(), "rate:"+prefix+":*").Result()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(keys), 3, "the limits for floods and failures")
	empty := time.Since(redisEpoch) + 24*time.Hour
	for _, key := range keys {
		require.NoError(t, client.Set(t.Context(), key, empty.Seconds(), 48*time.Hour).Err())
	}
	for range 3 {
		_, err = svc.Login(from, made.Pair, auth.LoginOptions{})
		require.NoError(t, err)
	}

	failures := 0
	for ; failures < 20 && !fail(t, svc, address); failures++ {
	}
	require.Equal(t, 10, failures, "the limit for failures holds")
	_, err = svc.Login(from, made.Pair, auth.LoginOptions{})
	require.NoError(t, err, "failures refuse no right secret")
	for range 100 { // until the limit for floods is reached
		if _, err = svc.Login(from, made.Pair, auth.LoginOptions{}); err != nil {
			break
		}
	}
	var throttled *auth.ThrottledError
	require.ErrorAs(t, err, &throttled, "the limit for floods holds")
	require.LessOrEqual(t, throttled.RetryAfter, time.Minute)
}
