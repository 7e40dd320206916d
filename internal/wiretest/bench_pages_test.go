package wiretest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/feedpage"
	"github.com/stretchr/testify/require"
)

// counting is a ResponseWriter that counts the bytes of an answer.
type counting struct {
	header http.Header
	bytes  int
}

func (c *counting) Header() http.Header { return c.header }
func (c *counting) WriteHeader(int)     { c.bytes += len(c.header.Get(feedpage.Header)) }
func (c *counting) Write(b []byte) (int, error) {
	c.bytes += len(b)
	return len(b), nil
}

// BenchmarkPages measures one call of a verifier to the issuer, without the network and over HTTP on
// loopback. The call over HTTP includes the time of the client. The store is in memory, and the clock
// moves, so that the issuer reads the store twice a second, as it does in production.
func BenchmarkPages(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		f := newFixture(b, hostScopes, func(f *fixture, cfg *auth.Config) {
			f.signer, cfg.Now = authtest.NewSigners(b)[alg], time.Now
		})
		bearer := "Bearer " + f.signInService(auth.ScopeRevocations)
		f.page(f.signIn(f.admin), 0)
		for range 1000 {
			f.signOut(f.user)
		}
		handler := f.svc.Handler(auth.GroupVerifiers)
		server := httptest.NewServer(handler)
		defer server.Close()
		page, _ := f.page(f.signIn(f.admin), 0)
		for _, news := range []int64{0, 1, 10, 100} {
			nonce := strings.Repeat("a", 32)
			target := fmt.Sprintf("/auth/revocations?nonce=%s&from=%d", nonce, page.Head-news)
			b.Run(fmt.Sprintf("%s/%d_new", alg, news), func(b *testing.B) {
				b.ReportAllocs()
				r := httptest.NewRequest(http.MethodGet, target, nil)
				r.Header.Set("Authorization", bearer)
				total := 0
				for b.Loop() {
					w := &counting{header: http.Header{}}
					handler.ServeHTTP(w, r)
					total += w.bytes
				}
				b.ReportMetric(float64(total)/float64(b.N), "page-B/op")
			})
			b.Run(fmt.Sprintf("%s/%d_new_http", alg, news), func(b *testing.B) {
				for b.Loop() {
					r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+target, nil)
					require.NoError(b, err)
					r.Header.Set("Authorization", bearer)
					response, err := server.Client().Do(r)
					require.NoError(b, err)
					_, err = io.Copy(io.Discard, response.Body)
					require.NoError(b, err)
					response.Body.Close()
				}
			})
		}
	}
}
