package authclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/authclient"
)

func TestARevokedTokenIsReplacedAndTheRequestRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.client = f.newClient(t, authclient.Config{Now: jumping()})
	for range 3 {
		status, body := ask(t, f.client.HTTP(), f.server.URL+"/reports", "the body")
		require.Equal(t, 200, status)
		require.Equal(t, "the body", body)
		f.revokeAll(t)
	}
	require.EqualValues(t, 3, f.signIns.Load())
}

// jumping returns a clock that is 10 seconds later at each call. So no token of the client is young.
func jumping() func() time.Time {
	began, calls := time.Now(), new(atomic.Int64)
	return func() time.Time { return began.Add(time.Duration(calls.Add(1)) * 10 * time.Second) }
}

func TestARequestWhoseBodyIsGoneIsNotRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.client = f.newClient(t, authclient.Config{Now: jumping()})
	_, err := f.client.CurrentUser(t.Context())
	require.NoError(t, err)
	f.revokeAll(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.server.URL+"/reports",
		io.MultiReader(strings.NewReader("once")))
	require.NoError(t, err)
	response, err := f.client.HTTP().Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
}

// All sessions are revoked while many calls are under way. No call is lost, and few sign-ins are made.
func TestAStormOfRejectionsCostsOneSignIn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.client = f.newClient(t, authclient.Config{Now: jumping()})
	for range 5 {
		_, err := f.client.CurrentUser(t.Context())
		require.NoError(t, err)
		f.revokeAll(t)
		before := f.signIns.Load()
		require.Empty(t, together(func() error {
			_, err := f.client.CurrentUser(t.Context())
			return err
		}))
		require.EqualValues(t, 1, f.signIns.Load()-before)
	}
}

// The service rejects every token, for example because its key is wrong.
func TestATokenThatIsRejectedAtOnceCausesFewSignIns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns, requests atomic.Int32
		client := newClient(t, func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/login") {
				return issue(fmt.Sprint("token-", signIns.Add(1)), time.Hour)
			}
			requests.Add(1)
			return rejection()
		})
		for range 200 {
			_, err := client.CurrentUser(t.Context())
			var answer *authclient.Error
			require.ErrorAs(t, err, &answer)
			require.Equal(t, 401, answer.StatusCode)
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, signIns.Load(), int32(5), "in 20 seconds")
		require.LessOrEqual(t, requests.Load(), int32(205))
	})
}

func TestTheTokenIsSentToTheServiceOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var seen atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen.Store(fmt.Sprint(r.Header, r.URL))
	}))
	defer other.Close()
	f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/reports" {
			return false
		}
		http.Redirect(w, r, other.URL+"/elsewhere", http.StatusTemporaryRedirect)
		return true
	})
	status, _ := ask(t, f.client.HTTP(), f.server.URL+"/reports", "")
	require.Equal(t, 200, status)
	require.NotContains(t, seen.Load(), "Bearer")
	// The same host with another port, name or scheme is another origin.
	for _, url := range []string{
		other.URL, strings.Replace(f.server.URL, "127.0.0.1", "localhost", 1),
		strings.Replace(f.server.URL, "127.0.0.1", "127.0.0.1.example.invalid", 1),
		strings.Replace(f.server.URL, "http://", "https://", 1),
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		client := f.newClient(t, authclient.Config{Transport: transport(func(r *http.Request) *http.Response {
			require.Empty(t, r.Header.Get("Authorization"), url)
			return reply(200, nil)
		})})
		response, err := client.HTTP().Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	require.EqualValues(t, 1, f.signIns.Load())
}

func TestTheSecretFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	reached := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, other.URL, status)
			return true
		})
		_, err := f.newClient(t, authclient.Config{}).CurrentUser(t.Context())
		var answer *authclient.Error
		require.ErrorAs(t, err, &answer)
		require.Equal(t, status, answer.StatusCode)
	}
	require.False(t, reached)
}

func TestARequestWithItsOwnTokenKeepsIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.server.URL+"/reports", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer another")
	response, err := f.client.HTTP().Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	require.Zero(t, f.signIns.Load())
	r.Header.Del("Authorization")
	response, err = f.client.HTTP().Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Empty(t, r.Header, "a RoundTripper must not change the request")
}

// closing is a body that knows whether it was closed.
type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return nil }

func TestTheBodyIsClosedWhateverHappens(t *testing.T) {
	t.Parallel()
	failing := errors.New("no key")
	client, err := authclient.NewWithConfig("https://api.example.com",
		authclient.SourceFunc(nil2(failing)), authclient.Config{})
	require.NoError(t, err)
	body := &closing{Reader: strings.NewReader("x")}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/x", body)
	require.NoError(t, err)
	_, err = client.RoundTripper().RoundTrip(r)
	require.ErrorIs(t, err, failing)
	require.True(t, body.closed.Load())
}

func TestASlowServiceDelaysNobodyBeyondItsContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	release := make(chan struct{})
	defer close(release)
	f.meddle(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	require.Len(t, together(func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := f.client.CurrentUser(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	}), callers)
}

func TestTheRepeatedRequestHasTheWholeBody(t *testing.T) {
	t.Parallel()
	var bodies []string
	signIns := 0
	client, err := authclient.NewWithConfig("https://api.example.com", authclient.FromPair("ak", "hidden"),
		authclient.Config{Now: jumping(), Transport: transport(func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/login") {
				signIns++
				return issue(fmt.Sprint("token-", signIns), time.Hour)
			}
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			bodies = append(bodies, string(body)+" "+r.Header.Get("Authorization"))
			if signIns == 1 {
				return rejection()
			}
			return reply(200, nil)
		})})
	require.NoError(t, err)
	status, _ := ask(t, client.HTTP(), "https://api.example.com/reports", "the body")
	require.Equal(t, 200, status)
	require.Equal(t, []string{"the body Bearer token-1", "the body Bearer token-2"}, bodies)
}

// The attack: a route of the host answers 401 for a reason of its own, such as a wrong password in a
// form. The form must not count twice, and no session must be opened.
func TestA401ForAnotherReasonIsNotRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.client = f.newClient(t, authclient.Config{Now: jumping()})
	for _, challenge := range []string{"", `Basic realm="x"`, "Bearer", `Bearer error="insufficient_scope"`} {
		requests := 0
		f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/reports" {
				return false
			}
			requests++
			if challenge != "" {
				w.Header().Set("WWW-Authenticate", challenge)
			}
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		status, _ := ask(t, f.client.HTTP(), f.server.URL+"/reports", "wrong password")
		require.Equal(t, 401, status)
		require.Equal(t, 1, requests, challenge)
		require.EqualValues(t, 1, f.signIns.Load())
	}
	f.meddle(func(w http.ResponseWriter, r *http.Request) bool { // a challenge without the status
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		return false
	})
	status, _ := ask(t, f.client.HTTP(), f.server.URL+"/reports", "")
	require.Equal(t, 200, status)
	require.EqualValues(t, 1, f.signIns.Load())
	f.meddle(func(w http.ResponseWriter, r *http.Request) bool {
		if f.signIns.Load() > 1 || r.URL.Path != "/reports" {
			return false
		}
		w.Header().Add("WWW-Authenticate", "Basic")
		w.Header().Add("WWW-Authenticate", `Bearer realm="x", error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	status, _ = ask(t, f.client.HTTP(), f.server.URL+"/reports", "")
	require.Equal(t, 200, status)
}

// A body that stays open keeps a connection or a file.
func TestEveryBodyThatIsNotUsedIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first *closing
		var signIns int
		var down, reject bool
		client := newClient(t, func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/login") {
				if signIns++; down {
					return reply(503, nil)
				}
				return issue(fmt.Sprint("token-", signIns), time.Hour)
			}
			if reject && r.Header.Get("Authorization") == fmt.Sprint("Bearer token-", signIns) {
				response := rejection()
				first = &closing{Reader: response.Body}
				response.Body = first
				return response
			}
			return reply(200, nil)
		})
		send := func() (status int, again *closing) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/x",
				strings.NewReader("x"))
			require.NoError(t, err)
			r.GetBody = func() (io.ReadCloser, error) {
				again = &closing{Reader: strings.NewReader("x")}
				return again, nil
			}
			response, err := client.RoundTripper().RoundTrip(r)
			require.NoError(t, err)
			return response.StatusCode, again
		}
		token(t, t.Context(), client)
		reject = true
		status, again := send()
		require.Equal(t, 401, status)
		require.True(t, again.closed.Load(), "a young token")
		require.False(t, first.closed.Load(), "the answer is the caller's")
		time.Sleep(time.Minute)
		down = true
		status, again = send()
		require.Equal(t, 401, status)
		require.True(t, again.closed.Load(), "no sign-in")
	})
}

// The attack: Logout at the same moment as a request with a new token, which must not be lost.
func TestARequestUnderWayDuringLogoutIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signIns atomic.Int32
		var refused *closing
		client := newClient(t, func(r *http.Request) *http.Response {
			switch {
			case strings.HasSuffix(r.URL.Path, "/login"):
				return issue(fmt.Sprint("token-", signIns.Add(1)), time.Hour)
			case strings.HasSuffix(r.URL.Path, "/logout"):
				return reply(200, nil)
			case r.Header.Get("Authorization") == "Bearer token-1":
				time.Sleep(2 * time.Second)
				response := rejection()
				refused = &closing{Reader: response.Body}
				response.Body = refused
				return response
			}
			return reply(200, nil)
		})
		done := make(chan error, 1)
		go func() {
			_, err := client.CurrentUser(t.Context())
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, client.Logout(t.Context()))
		require.Equal(t, "token-2", token(t, t.Context(), client))
		require.NoError(t, <-done)
		require.True(t, refused.closed.Load())
		require.EqualValues(t, 2, signIns.Load())
	})
}

func TestTheDefaultPortIsTheSamePort(t *testing.T) {
	t.Parallel()
	for base, urls := range map[string]map[string]bool{
		"https://API.example.com":     {"https://api.example.com:443/": true, "https://api.example.com:80/": false},
		"https://api.example.com:443": {"https://Api.Example.Com/": true, "https://api.example.com:8443/": false},
		"https://api.example.com:":    {"https://api.example.com/": true, "http://api.example.com:443/": false},
		"http://localhost":            {"http://localhost:80/": true, "http://localhost:443/": false},
		"https://api.example.com:80":  {"https://api.example.com/": false, "https://api.example.com.:80/": false},
	} {
		var header string
		client, err := authclient.NewWithConfig(base, authclient.FromPair("ak", "hidden"), authclient.Config{
			Transport: transport(func(r *http.Request) *http.Response {
				if r.Method == http.MethodPost {
					return issue("token", time.Hour)
				}
				header = r.Header.Get("Authorization")
				return reply(200, nil)
			})})
		require.NoError(t, err)
		for url, own := range urls {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			require.NoError(t, err)
			response, err := client.HTTP().Do(r)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, own, header != "", "%s at %s", url, base)
		}
	}
}

func TestARequestWithoutURLOrHeaderIsAnErrorOfTheTransport(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	u, err := url.Parse(f.server.URL)
	require.NoError(t, err)
	for _, r := range []*http.Request{{}, {URL: u}, {Header: http.Header{}}} {
		_, err := f.client.RoundTripper().RoundTrip(r)
		require.ErrorContains(t, err, "nil Request.")
	}
}
