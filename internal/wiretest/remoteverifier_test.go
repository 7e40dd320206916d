package wiretest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// audience is the audience of the tokens that a RemoteVerifier accepts.
const audience = "https://reports.example.com"

// remote is a RemoteVerifier, together with the issuer whose public keys it fetches.
type remote struct {
	*tokens
	verifier *auth.RemoteVerifier
	server   *httptest.Server
	cfg      auth.RemoteVerifierConfig

	fetches atomic.Int64
	answer  atomic.Pointer[http.HandlerFunc] // serves the key set, if set
}

func newRemote(t *testing.T, alg string) *remote {
	t.Helper()
	r := &remote{tokens: newTokens(t, authtest.NewSigners(t)[alg],
		auth.TokenConfig{Audiences: []string{audience}, Scopes: []string{}})}
	r.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.fetches.Add(1)
		if answer := r.answer.Load(); answer != nil {
			(*answer)(w, req)
			return
		}
		w.Write(r.issuer.JWKS())
	}))
	t.Cleanup(r.server.Close)
	r.cfg = auth.RemoteVerifierConfig{
		JWKSURL: r.server.URL + "/.well-known/jwks.json", Issuer: issuer, Audience: audience,
		HTTPClient: r.server.Client(), Now: r.clock.Now, Logger: slog.New(slog.DiscardHandler),
	}
	r.verifier = r.verifierWith(t, func(*auth.RemoteVerifierConfig) {})
	return r
}

func (r *remote) verifierWith(t *testing.T, edit func(*auth.RemoteVerifierConfig)) *auth.RemoteVerifier {
	t.Helper()
	cfg := r.cfg
	edit(&cfg)
	v, err := auth.NewRemoteVerifier(cfg)
	require.NoError(t, err)
	return v
}

// issue returns a new token for the audience of the verifier.
func (r *remote) issue(t *testing.T) string {
	t.Helper()
	token, err := r.issuer.Issue(t.Context(),
		auth.IssueParams{UserID: "u1", Method: auth.MethodHost, Audience: audience})
	require.NoError(t, err)
	return token.Bearer.Reveal()
}

func (r *remote) answers(handler http.HandlerFunc) { r.answer.Store(&handler) }

// verify calls Verify again while the first fetch of the keys is in progress. On a busy machine,
// this fetch can take longer than a call of Verify waits.
func (r *remote) verify(t *testing.T, token string) (auth.Identity, error) {
	t.Helper()
	for {
		identity, err := r.verifier.Verify(t.Context(), token)
		if err == nil || !strings.Contains(err.Error(), "have not been fetched yet") {
			return identity, err
		}
		runtime.Gosched()
	}
}

// requireForgotten fails the test unless the token is rejected after a fetch in the background has
// ended.
func (r *remote) requireForgotten(t *testing.T, token string, why string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := r.verifier.Verify(t.Context(), token)
		return errors.Is(err, auth.ErrTokenRejected)
	}, 10*time.Second, time.Millisecond, why)
}

func (r *remote) requireGood(t *testing.T, token string) {
	t.Helper()
	identity, err := r.verify(t, token)
	require.NoError(t, err)
	require.Equal(t, "u1", identity.UserID)
}

func (r *remote) requireRejected(t *testing.T, token string) {
	t.Helper()
	_, err := r.verify(t, token)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
}

// requireUnknown fails the test unless Verify returns an error that leaves open whether the token
// is valid.
func (r *remote) requireUnknown(t *testing.T, token string) {
	t.Helper()
	_, err := r.verify(t, token)
	require.Error(t, err)
	require.NotErrorIs(t, err, auth.ErrTokenRejected)
	status, _ := auth.ErrorStatus(err)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NotContains(t, err.Error(), token)
}

func TestARemoteVerifierNeedsOnlyThePublicKeys(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA"} {
		r := newRemote(t, alg)
		require.Zero(t, r.fetches.Load(), "keys are fetched only when needed")
		for range 3 {
			r.requireGood(t, r.token.Bearer.Reveal())
		}
		require.EqualValues(t, 1, r.fetches.Load())

		handler := r.verifier.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			identity, ok := auth.IdentityFromContext(req.Context())
			require.True(t, ok)
			io.WriteString(w, identity.Username)
		}))
		answer := send(handler, http.MethodGet, "/", "", "Authorization", "Bearer "+r.token.Bearer.Reveal())
		require.Equal(t, http.StatusOK, answer.status)
		require.Equal(t, "alice", answer.body)
		require.Equal(t, http.StatusUnauthorized, send(handler, http.MethodGet, "/", "").status)
		require.Equal(t, http.StatusUnauthorized,
			send(handler, http.MethodGet, "/", "", "Authorization", "Bearer x").status)
	}
}

func TestARemoteVerifierRejectsInvalidTokens(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	hs := authtest.NewSigners(t)["HS256"]
	for name, token := range map[string]string{
		"another audience":         r.Forge(t, r.header(nil), r.claims(t, map[string]any{"aud": "https://other.example.com"})),
		"another issuer":           r.Forge(t, r.header(nil), r.claims(t, map[string]any{"iss": "https://other.example.com"})),
		"expired":                  r.Forge(t, r.header(nil), r.claims(t, map[string]any{"exp": r.clock.Now().Unix()})),
		"an unknown key":           newTokens(t, authtest.NewSigners(t)["ES256"], auth.TokenConfig{}).token.Bearer.Reveal(),
		"HS256 under a public key": hs.Forge(t, `{"alg":"HS256","kid":"`+r.Key.ID()+`","typ":"JWT"}`, r.claims(t, nil)),
		"rubbish":                  "rubbish",
		"an empty token":           "",
	} {
		t.Run(name, func(t *testing.T) { r.requireRejected(t, token) })
	}
	mutant := []byte(r.token.Bearer.Reveal())
	mutant[len(mutant)-20] ^= 1
	// Now the cache contains the original token.
	r.requireGood(t, r.token.Bearer.Reveal())
	r.requireRejected(t, string(mutant))
}

func TestARemoteVerifierRejectsTokensOlderThanMaxAge(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "ES256")
	token := r.token.Bearer.Reveal()
	r.clock.Advance(15 * time.Minute)
	r.requireGood(t, token)
	r.clock.Advance(time.Second)
	r.requireRejected(t, token)
	r.verifier = r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) { cfg.MaxAge = time.Hour })
	r.requireGood(t, token)
}

func TestNewKeysAreFetchedAtALimitedRate(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "ES256")
	r.requireGood(t, r.token.Bearer.Reveal())
	next := authtest.NewSigners(t)["EdDSA"].Key
	require.NoError(t, r.issuer.SetKeys([]auth.SigningKey{next, r.Key}))
	token := r.issue(t)
	r.requireRejected(t, token) // the keys are not fetched again yet
	require.EqualValues(t, 1, r.fetches.Load())
	r.clock.Advance(10 * time.Second)
	r.requireGood(t, token)
	require.EqualValues(t, 2, r.fetches.Load())

	for i := range 100 { // tokens with key IDs that do not exist
		forged := strings.Replace(r.header(nil), r.Key.ID(), fmt.Sprint("made-up-", i), 1)
		r.requireRejected(t, r.Forge(t, forged, r.claims(t, nil)))
	}
	require.EqualValues(t, 2, r.fetches.Load())
}

func TestTheLastFetchedKeysAreKeptForADay(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	r.verifier = r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) { cfg.MaxAge = 30 * 24 * time.Hour })
	token := r.Forge(t, r.header(nil), r.claims(t, map[string]any{
		"exp": r.clock.Now().Add(48 * time.Hour).Unix(),
	}))
	r.requireGood(t, token)
	r.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	r.clock.Advance(24*time.Hour - time.Second)
	r.requireGood(t, token)
	r.clock.Advance(time.Second)
	r.requireUnknown(t, token)
	r.answer.Store(nil)
	r.clock.Advance(10 * time.Second)
	r.requireGood(t, token)
}

func TestAFailedFirstFetchIsA503(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect was followed")
	}))
	t.Cleanup(elsewhere.Close)
	for name, answer := range map[string]http.HandlerFunc{
		"an error":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"a redirect":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"HTML":          func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"an empty body": func(http.ResponseWriter, *http.Request) {},
		"an empty set":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) },
		"symmetric keys alone": func(w http.ResponseWriter, _ *http.Request) {
			key := authtest.Segment(string(authtest.Random(32)))
			io.WriteString(w, `{"keys":[{"kty":"oct","kid":"hs","k":"`+key+`"}]}`)
		},
		"a megabyte": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"keys":[],"x":"`+strings.Repeat("x", 1<<20)+`"}`)
		},
		"a gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.CopyN(z, zeros{}, 64<<20)
			z.Close()
		},
		"a closed connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemote(t, "EdDSA")
			r.answers(answer)
			r.requireUnknown(t, r.token.Bearer.Reveal())
			r.requireUnknown(t, r.token.Bearer.Reveal())
			require.EqualValues(t, 1, r.fetches.Load(), "failed fetches are not retried at every request")
			r.answer.Store(nil)
			r.clock.Advance(10 * time.Second)
			r.requireGood(t, r.token.Bearer.Reveal())
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// If a request is canceled, Verify returns at once. The fetch of the keys must continue for other
// requests.
func TestACanceledRequestDoesNotCancelTheFetchForOthers(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	fetching, proceed := make(chan struct{}), make(chan struct{})
	r.answers(func(w http.ResponseWriter, _ *http.Request) {
		close(fetching)
		<-proceed
		w.Write(r.issuer.JWKS())
	})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _, _ = r.verifier.Verify(ctx, r.token.Bearer.Reveal()) })
	<-fetching
	cancel()
	canceled, cancelSecond := context.WithCancel(t.Context())
	cancelSecond()
	_, err := r.verifier.Verify(canceled, r.token.Bearer.Reveal())
	require.ErrorIs(t, err, context.Canceled)
	for range 64 {
		all.Go(func() {
			if _, err := r.verify(t, r.token.Bearer.Reveal()); err != nil {
				t.Error(err)
			}
		})
	}
	close(proceed)
	all.Wait()
	require.EqualValues(t, 1, r.fetches.Load())
}

func TestAPanicOfTheHostsHTTPClientIsAFailedFetch(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	transport := &panicking{RoundTripper: r.server.Client().Transport, times: 1}
	r.verifier = r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) {
		cfg.HTTPClient = &http.Client{Transport: transport}
	})
	r.requireUnknown(t, r.token.Bearer.Reveal())
	r.requireUnknown(t, r.token.Bearer.Reveal())
	r.clock.Advance(10 * time.Second)
	r.requireGood(t, r.token.Bearer.Reveal())
}

type panicking struct {
	http.RoundTripper
	times int
}

func (p *panicking) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.times--; p.times >= 0 {
		panic("oops")
	}
	return p.RoundTripper.RoundTrip(r)
}

func TestInvalidRemoteVerifierConfigsAreRejected(t *testing.T) {
	t.Parallel()
	good := auth.RemoteVerifierConfig{
		JWKSURL: "https://api.example.com/jwks", Issuer: issuer, Audience: "https://b.example.com",
	}
	_, err := auth.NewRemoteVerifier(good)
	require.NoError(t, err)
	for name, edit := range map[string]func(*auth.RemoteVerifierConfig){
		"no keys":                func(c *auth.RemoteVerifierConfig) { c.JWKSURL = "" },
		"a URL and a key set":    func(c *auth.RemoteVerifierConfig) { c.JWKS = []byte(`{"keys":[]}`) },
		"an empty key set":       func(c *auth.RemoteVerifierConfig) { c.JWKSURL, c.JWKS = "", []byte{} },
		"a key set without keys": func(c *auth.RemoteVerifierConfig) { c.JWKSURL, c.JWKS = "", []byte(`{"keys":[]}`) },
		"plain http":             func(c *auth.RemoteVerifierConfig) { c.JWKSURL = "http://api.example.com/jwks" },
		"a user name in the URL": func(c *auth.RemoteVerifierConfig) { c.JWKSURL = "https://u:p@api.example.com/jwks" },
		"a fragment in the URL":  func(c *auth.RemoteVerifierConfig) { c.JWKSURL = "https://api.example.com/jwks#x" },
		"another scheme":         func(c *auth.RemoteVerifierConfig) { c.JWKSURL = "file:///jwks.json" },
		"an insecure file": func(c *auth.RemoteVerifierConfig) {
			c.JWKSURL, c.InsecureJWKSURL = "file://localhost/jwks.json", true
		},
		"no host":               func(c *auth.RemoteVerifierConfig) { c.JWKSURL = "https:///jwks" },
		"no issuer":             func(c *auth.RemoteVerifierConfig) { c.Issuer = "" },
		"no audience":           func(c *auth.RemoteVerifierConfig) { c.Audience = "" },
		"a negative age":        func(c *auth.RemoteVerifierConfig) { c.MaxAge = -time.Second },
		"an age over 30 days":   func(c *auth.RemoteVerifierConfig) { c.MaxAge = 31 * 24 * time.Hour },
		"a negative cache size": func(c *auth.RemoteVerifierConfig) { c.CacheSize = -2 },
	} {
		cfg := good
		edit(&cfg)
		_, err := auth.NewRemoteVerifier(cfg)
		require.ErrorContains(t, err, "auth: ", name)
		require.False(t, errors.Is(err, auth.ErrTokenRejected))
	}
}
