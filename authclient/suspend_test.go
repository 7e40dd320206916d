package authclient_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The attack: the machine is suspended for a night. Its monotonic clock stands still meanwhile, so by this
// clock the token is still valid.
func TestATokenExpiresWhileTheMachineIsSuspended(t *testing.T) {
	t.Parallel()
	const asleep = 10 * 3600
	for name, use := range map[string]func(*authclient.Client) error{
		"a request whose body cannot be repeated": func(client *authclient.Client) error {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
				"https://api.example.com/upload", io.MultiReader(strings.NewReader("body")))
			require.NoError(t, err)
			response, err := client.HTTP().Do(r)
			if err == nil && response.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d", response.StatusCode)
			}
			return err
		},
		"a token for another library": func(client *authclient.Client) error {
			if token(t, t.Context(), client) == "token-1" {
				return fmt.Errorf("the token has expired")
			}
			return nil
		},
		"a call": func(client *authclient.Client) error {
			_, err := client.CurrentUser(t.Context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suspended, signIns atomic.Int64
			now := func() time.Time { return authtest.Suspended(time.Now(), suspended.Load()) }
			client, err := authclient.NewWithConfig("https://api.example.com",
				authclient.FromPair("ak", "hidden"),
				authclient.Config{Now: now, Transport: transport(func(r *http.Request) *http.Response {
					switch {
					case strings.HasSuffix(r.URL.Path, "/login"):
						return issue(fmt.Sprint("token-", signIns.Add(1)), time.Hour)
					case suspended.Load() > 0 && r.Header.Get("Authorization") == "Bearer token-1":
						return rejection()
					}
					return reply(200, map[string]any{"user_id": "u"})
				})})
			require.NoError(t, err)
			require.Equal(t, "token-1", token(t, t.Context(), client))
			suspended.Store(asleep)
			require.NoError(t, use(client))
			require.EqualValues(t, 2, signIns.Load())
		})
	}
}

// The attack: a service that is down asks for a pause, and the machine is suspended for longer.
func TestAPauseEndsWhileTheMachineIsSuspended(t *testing.T) {
	t.Parallel()
	var suspended atomic.Int64
	client, err := authclient.NewWithConfig("https://api.example.com", authclient.FromPair("ak", "hidden"),
		authclient.Config{
			Now: func() time.Time { return authtest.Suspended(time.Now(), suspended.Load()) },
			Transport: transport(func(r *http.Request) *http.Response {
				if suspended.Load() == 0 {
					return reply(503, nil, "Retry-After", "600")
				}
				return issue("token", time.Hour)
			})})
	require.NoError(t, err)
	for range 2 {
		_, err = client.TokenSource(t.Context()).Token()
		require.Error(t, err)
	}
	suspended.Store(601)
	require.Equal(t, "token", token(t, t.Context(), client))
}
