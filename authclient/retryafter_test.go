package authclient_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/authclient"
)

func TestRetryAfterCanBeADate(t *testing.T) {
	for offset, want := range map[time.Duration]time.Duration{7 * time.Second: 7 * time.Second,
		-time.Hour: 0, 20 * 365 * 24 * time.Hour: 20 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			client := newClient(t, func(*http.Request) *http.Response {
				return reply(503, nil, "Retry-After", time.Now().Add(offset).UTC().Format(http.TimeFormat))
			})
			_, err := client.TokenSource(t.Context()).Token()
			var answer *authclient.Error
			require.ErrorAs(t, err, &answer)
			require.Equal(t, want, answer.RetryAfter)
		})
	}
}

// The attack: a time to wait that overflows in a sum. A call must fail, and not try again in a loop.
func TestATimeToWaitThatIsTooLongEndsACall(t *testing.T) {
	for _, header := range []string{"Fri, 31 Dec 9999 23:59:59 GMT", "9223372036854775807", "9223372036",
		"99999999999999999999", "Mon, 01 Jan 2300 00:00:00 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			var signIns atomic.Int32
			client := newClient(t, func(*http.Request) *http.Response {
				signIns.Add(1)
				time.Sleep(time.Millisecond)
				return reply(503, nil, "Retry-After", header)
			})
			_, err := client.TokenSource(t.Context()).Token()
			var answer *authclient.Error
			require.ErrorAs(t, err, &answer)
			require.Equal(t, (1<<31-1)*time.Second, answer.RetryAfter, header)
			require.EqualValues(t, 1, signIns.Load())
		})
	}
}
