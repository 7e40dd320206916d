package wiretest

import (
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// discard is a ResponseWriter that discards the response at little cost.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// BenchmarkAuthenticate measures the middleware around a handler that does nothing. The sessions
// are in a store in memory.
func BenchmarkAuthenticate(b *testing.B) {
	for _, alg := range []string{"HS256", "ES256", "EdDSA"} {
		f := newFixture(b, func(f *fixture, _ *auth.Config) { f.signer = authtest.NewSigners(b)[alg] })
		handler := f.svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+f.signIn(f.user))
		b.Run(alg+"/serial", func(b *testing.B) {
			b.ReportAllocs()
			w := &discard{header: http.Header{}}
			for b.Loop() {
				handler.ServeHTTP(w, r)
			}
		})
		b.Run(alg+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				w := &discard{header: http.Header{}}
				for pb.Next() {
					handler.ServeHTTP(w, r)
				}
			})
		})
	}
}

// BenchmarkVerifyCredentials measures the verification of an access key: one read of a store in
// memory and one fast hash.
func BenchmarkVerifyCredentials(b *testing.B) {
	c := newCredentials(b, auth.CredentialConfig{
		Peppers: []auth.SymmetricKey{authtest.SymmetricKey(b, "p1")},
	})
	pair, stranger := c.issue(b), c.GeneratePair()
	for name, pair := range map[string]auth.KeyPair{
		"good":         pair,
		"unknown-key":  stranger,
		"wrong-secret": {AccessKey: pair.AccessKey, AccessSecret: stranger.AccessSecret},
		"bad-checksum": {AccessKey: pair.AccessKey, AccessSecret: auth.NewSecret(flipCase(pair.AccessSecret.Reveal(), 40))},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Verify(b.Context(), pair)
			}
		})
	}
}

// BenchmarkLogin measures POST /auth/users/login without the network, from reading the body to
// writing the response. To get the cost without the signature, subtract the time of
// BenchmarkSign/HS256/bare-signature from the time with memstore.
func BenchmarkLogin(b *testing.B) {
	for name, store := range map[string]auth.Store{"memstore": memstore.New(), "sqlite-file": sqliteFile(b)} {
		f := newFixture(b, func(f *fixture, cfg *auth.Config) { f.store, cfg.Throttling.Off = store, true })
		handler := f.svc.Route("POST /auth/users/login").Handler
		body := strings.NewReader("")
		r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(body))
		r.Header.Set("Content-Type", "application/json")
		w := &discard{header: http.Header{}}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			text := loginBody(f.userPair)
			for b.Loop() {
				body.Reset(text)
				handler.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}

func sqliteFile(b *testing.B) auth.Store {
	db, err := sql.Open("sqlite", sqliteDSN(filepath.Join(testenv.TempDir(b), "bench.db")))
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	store, err := sqlstore.Open(b.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
	require.NoError(b, err)
	return store
}
