package oauth_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/limit"
)

// countingLimiter counts its calls, and allows everything.
type countingLimiter struct{ takes atomic.Int64 }

func (l *countingLimiter) Take(context.Context, string, []limit.Rate) (time.Duration, error) {
	l.takes.Add(1)
	return 0, nil
}

func (l *countingLimiter) Reset(context.Context, string) error { return nil }

// counted are requests that count against the address of the client although they carry no token.
func counted(d *devices) map[string]*http.Request {
	made := map[string]*http.Request{}
	form := func(name, path string, pairs ...string) {
		values := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			values.Set(pairs[i], pairs[i+1])
		}
		made[name] = d.made(path, values.Encode(), "application/x-www-form-urlencoded")
	}
	form("sign-in", "/auth/token", "grant_type", "client_credentials", "client_id", "x", "client_secret", "y")
	form("exchange", "/auth/token", "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange",
		"subject_token", "z", "subject_token_type", "urn:ietf:params:oauth:token-type:access_token",
		"resource", reports, "client_id", "x2", "client_secret", "y")
	form("poll", "/auth/token", "grant_type", grantDevice, "client_id", "cli", "device_code", "x")
	form("device", "/auth/device", "client_id", "cli")
	form("revocation", "/auth/revoke", "token", "x", "client_id", "x3", "client_secret", "y")
	form("introspection", "/auth/introspect", "token", "x", "client_id", "x4", "client_secret", "y")
	pair := `{"access_key": "x", "access_secret": "y"}`
	made["login"] = d.made("/auth/users/login", pair, "application/json")
	made["browser login"] = d.made("/auth/browser/login", pair, "application/json")
	return made
}

func (f *fixture) made(path, body, contentType string) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+path, strings.NewReader(body))
	require.NoError(f.t, err)
	r.Header.Set("Content-Type", contentType)
	return r
}

func (f *fixture) statusOf(r *http.Request) int {
	f.t.Helper()
	response, err := http.DefaultClient.Do(r)
	require.NoError(f.t, err)
	response.Body.Close()
	return response.StatusCode
}

// The attack: a page makes the browsers of its visitors send forms, until the visitors' addresses have no
// attempts left. Fetch in the mode "cors" sends a form without a preflight request, too.
func TestAPageOfAnotherOriginUsesUpNoLimits(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]string{
		"a form":           {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
		"a beacon":         {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"},
		"a fetch":          {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"},
		"a sibling":        {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"},
		"an old browser":   {},
		"a sandboxed page": {"Origin", "null"},
	} {
		limiter := &countingLimiter{}
		d := newDevices(t, func(cfg *auth.Config) {
			cfg.Throttling.Limiter = limiter
			cfg.Tokens.Audiences = []string{reports}
		})
		for call, r := range counted(d) {
			r.Header.Set("Origin", "https://evil.example")
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			want := 403
			if call == "login" { // without a preflight request, a page can send only these types
				r.Header.Set("Content-Type", "text/plain")
				want = 415
			}
			require.Equal(t, want, d.statusOf(r), "%s: %s", name, call)
			require.Zero(t, limiter.takes.Load(), "%s: %s", name, call)
		}
		for call, r := range counted(d) { // the same requests of a program
			before := limiter.takes.Load()
			if call == "browser login" { // only a page of the service may make this call
				r.Header.Set("Sec-Fetch-Site", "same-origin")
			}
			d.statusOf(r)
			require.Greater(t, limiter.takes.Load(), before, call)
		}
	}
}

// A browser asks the service in a preflight request before it sends the header Authorization of a page, so
// the host decides which other origins may make the calls.
func TestAPageOfAnotherOriginSignsInWithTheAuthorizationHeader(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	form := url.Values{"grant_type": {"client_credentials"}}
	r := f.made("/auth/token", form.Encode(), "application/x-www-form-urlencoded")
	r.SetBasicAuth(f.ada.Pair.AccessKey, f.ada.Pair.AccessSecret.Reveal())
	r.Header.Set("Origin", "https://app.example.com")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	require.Equal(t, 200, f.do(r).status)

	inForm := f.post("/auth/token", client(f.ada.Pair, "grant_type", "client_credentials"),
		"Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors")
	require.Equal(t, 403, inForm.status)
	require.Equal(t, "invalid_request", inForm.code())
	require.Contains(t, inForm.text, "Authorization")
}
