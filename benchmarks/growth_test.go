package benchmarks

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// manyStore is a store for benchmarks with a million sessions. It keeps no created session, because
// verifying a token does not read it, and it generates the revoked sessions.
type manyStore struct {
	auth.Store
	revoked int64
	until   time.Time
}

func newManyStore(revoked int) *manyStore {
	return &manyStore{memstore.New(), int64(revoked), time.Now().Add(12 * time.Hour)}
}

// CreateSession accepts every session.
func (s *manyStore) CreateSession(
	_ context.Context, session auth.Session, _ int,
) (auth.Session, auth.User, error) {
	session.Generation = s.revoked
	return session, auth.User{ID: session.UserID, Username: session.UserID, IsActive: true}, nil
}

// RevokeSession revokes a session that the store does not have.
func (s *manyStore) RevokeSession(context.Context, auth.Write, string) error {
	s.revoked++
	return nil
}

// RevocationHead returns the position of the last generated session.
func (s *manyStore) RevocationHead(context.Context) (int64, error) { return s.revoked, nil }

// ListRevocations generates a session of another user for each entry. The entries share no memory,
// as entries from a database share none.
func (s *manyStore) ListRevocations(
	_ context.Context, from int64, limit int,
) ([]auth.Revocation, error) {
	var page []auth.Revocation
	for p := max(from, 1); p <= s.revoked && len(page) < limit; p++ {
		page = append(page, auth.Revocation{
			Position: p, ID: fmt.Sprintf("E%025d", p), UserID: fmt.Sprintf("U%025d", p),
			SessionID:  fmt.Sprintf("S%025d", p),
			Generation: p - 1, ExpiresAt: s.until,
		})
	}
	return page, nil
}

// issuerOver returns the token issuer of a service that caches this number of tokens.
func issuerOver(b *testing.B, store auth.Store, k Keys, cached int) *auth.TokenIssuer {
	b.Helper()
	svc, err := auth.New(store, auth.Config{
		Issuer: Issuer, SigningKeys: []auth.SigningKey{signingKey(b, k, "HS256")},
		Tokens: auth.TokenConfig{Audiences: []string{Audience}, CacheSize: cached},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(b, err)
	return svc.Tokens()
}

// manyTokens returns tokens of n users.
func manyTokens(b *testing.B, k Keys, n int) []string {
	b.Helper()
	issuer, tokens := issuerOver(b, newManyStore(0), k, -1), make([]string, n)
	for i := range tokens {
		token, err := issuer.Issue(context.Background(),
			auth.IssueParams{UserID: rand.Text(), Method: auth.MethodHost})
		require.NoError(b, err)
		tokens[i] = token.Bearer.Reveal()
	}
	return tokens
}

// verifyAll verifies each token once.
func verifyAll(b *testing.B, issuer *auth.TokenIssuer, tokens []string) {
	for _, token := range tokens {
		if _, err := issuer.Verify(context.Background(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// learnAll makes the issuer read the whole feed, and returns the duration. A request waits for at
// most a second, and the next request continues there.
func learnAll(b *testing.B, issuer *auth.TokenIssuer, token string) time.Duration {
	b.Helper()
	began := time.Now()
	for {
		_, err := issuer.Verify(context.Background(), token)
		if err == nil {
			return time.Since(began)
		}
		require.NotErrorIs(b, err, auth.ErrTokenRejected)
		require.Less(b, time.Since(began), time.Minute)
	}
}

// heap returns the size of the heap in use.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // frees what the first collection only finalized
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

var (
	liveCounts    = []int{1, 100, 10_000, 1_000_000}
	revokedCounts = []int{0, 1_000, 1_000_000}
)

// scattered is a step size that visits all of the above counts in an order that no processor
// predicts.
const scattered = 7919

// BenchmarkGrowth measures a token that was seen before, for different numbers of such tokens and
// of revoked sessions. It verifies the tokens in turn, so that with more tokens, fewer of them fit
// into the processor's caches. The same holds for the text of the token, which a server would just
// have received. The cost of fetching that text is measured separately, as "text".
func BenchmarkGrowth(b *testing.B) {
	k := newKeys(b)
	all := manyTokens(b, k, liveCounts[len(liveCounts)-1])
	for _, live := range liveCounts {
		b.Run(fmt.Sprintf("live=%d/text", live), func(b *testing.B) {
			var received [4096]byte
			i := 0
			for b.Loop() {
				copy(received[:], all[i])
				i = (i + scattered) % live
			}
		})
	}
	for _, revoked := range revokedCounts {
		for _, live := range liveCounts {
			tokens := all[:live]
			empty := heap()
			issuer := issuerOver(b, newManyStore(revoked), k, 4*live) // so that no bucket is full
			idle := heap()
			took := learnAll(b, issuer, tokens[0])
			learned := heap()
			verifyAll(b, issuer, tokens)
			perToken := (heap() - learned + idle - empty) / float64(live)
			perRevoked := (learned - idle) / float64(max(revoked, 1))
			b.Run(fmt.Sprintf("live=%d/revoked=%d", live, revoked), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, err := issuer.Verify(context.Background(), tokens[i]); err != nil {
						b.Fatal(err)
					}
					i = (i + scattered) % live
				}
				if live >= 10_000 { // with fewer, the result would show the empty tables
					b.ReportMetric(perToken, "B/token")
				}
				if revoked >= 1000 {
					b.ReportMetric(perRevoked, "B/revoked")
					b.ReportMetric(float64(took.Milliseconds()), "ms/feed")
				}
			})
		}
	}
}

// BenchmarkNews measures the cost of a revoked session for the tokens of others: each token is then
// looked up once among all revoked sessions. An operation is one revocation and one request with
// each live token. ns/token is the time of one such request.
func BenchmarkNews(b *testing.B) {
	const live = 10_000
	k := newKeys(b)
	tokens := manyTokens(b, k, live)
	for _, revoked := range revokedCounts {
		issuer := issuerOver(b, newManyStore(revoked), k, 4*live)
		learnAll(b, issuer, tokens[0])
		verifyAll(b, issuer, tokens)
		b.Run(fmt.Sprintf("live=%d/revoked=%d", live, revoked), func(b *testing.B) {
			var took time.Duration
			rounds := 0
			for b.Loop() {
				require.NoError(b, issuer.Revoke(context.Background(), auth.ByHost("setup"), "any"))
				began := time.Now()
				verifyAll(b, issuer, tokens)
				took += time.Since(began)
				rounds++
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(rounds*live), "ns/token")
		})
	}
}
