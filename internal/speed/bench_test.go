//go:build unix

package main

import (
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// The benchmarks that the program compares. If what they do changes, their names must change too, because
// the program would otherwise compare different work.

// host is a service with a database in a file, and one user.
type host struct {
	*auth.Service
	user auth.Registration
}

func newHost(b *testing.B, cacheSize int) host {
	db, err := sqlstore.OpenFile("sqlite", filepath.Join(testenv.TempDir(b), "speed.db"))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	store, err := sqlstore.Open(b.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(b, err)
	key, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(b, err)
	cfg := auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{key},
		Tokens: auth.TokenConfig{CacheSize: cacheSize}, Logger: slog.New(slog.DiscardHandler),
	}
	cfg.Throttling.Off = true
	svc, err := auth.New(store, cfg)
	require.NoError(b, err)
	user, err := svc.Register(b.Context(), auth.ByHost("benchmark"), auth.UserParams{Username: "ada"})
	require.NoError(b, err)
	return host{svc, user}
}

// tokens signs the user in n times.
func (h host) tokens(b *testing.B, n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		issued, err := h.SignIn(b.Context(), h.user.User.ID, auth.LoginOptions{})
		require.NoError(b, err)
		tokens[i] = issued.Bearer.Reveal()
	}
	return tokens
}

// measure runs do, and reports the processor time of the process besides the elapsed time.
func measure(b *testing.B, do func()) {
	used := func() time.Duration {
		var usage syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	runtime.GC() // so that the garbage of the preparation does not count
	before := used()
	b.ResetTimer()
	do()
	b.StopTimer()
	b.ReportMetric(float64(used()-before)/float64(b.N), processorTime)
}

// request returns a request with a new token.
func (h host) request(b *testing.B) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+h.tokens(b, 1)[0])
	return r
}

func BenchmarkIdentify(b *testing.B) {
	h := newHost(b, 0)
	r := h.request(b)
	measure(b, func() {
		for range b.N {
			if _, err := h.Identify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	h := newHost(b, 0)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	handler, r, w := h.Authenticate(nothing), h.request(b), httptest.NewRecorder()
	measure(b, func() {
		for range b.N {
			handler.ServeHTTP(w, r)
		}
	})
	require.Equal(b, http.StatusOK, w.Code)
}

// BenchmarkFirstSight verifies a token that is not in the cache.
func BenchmarkFirstSight(b *testing.B) {
	h := newHost(b, -1)
	token := h.tokens(b, 1)[0]
	measure(b, func() {
		for range b.N {
			if _, err := h.Tokens().Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSignIn answers POST /auth/users/login.
func BenchmarkSignIn(b *testing.B) {
	h := newHost(b, 0)
	text := `{"access_key": "` + h.user.Pair.AccessKey + `", "access_secret": "` +
		h.user.Pair.AccessSecret.Reveal() + `"}`
	body, w, handler := strings.NewReader(""), httptest.NewRecorder(), h.Handler()
	r := httptest.NewRequest(http.MethodPost, "/auth/users/login", io.NopCloser(body))
	r.Header.Set("Content-Type", "application/json")
	measure(b, func() {
		for range b.N {
			body.Reset(text)
			w.Body.Reset()
			handler.ServeHTTP(w, r)
		}
	})
	require.Equal(b, http.StatusOK, w.Code, "%s", w.Body)
}

// BenchmarkRevoke revokes sessions that are not in the cache.
func BenchmarkRevoke(b *testing.B) {
	h := newHost(b, 0)
	tokens := h.tokens(b, b.N)
	measure(b, func() {
		for _, token := range tokens {
			if err := h.Tokens().RevokeToken(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
