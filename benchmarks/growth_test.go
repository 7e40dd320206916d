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

// manyStore is a store that pretends to have a million sessions. It does not store the sessions
// that are created, because the verification of a token does not read them. It generates the
// entries of the revocation feed when they are read.
type manyStore struct {
	auth.Store
	revoked int64
	until   time.Time
}

func newManyStore(revoked int) *manyStore {
	return &manyStore{memstore.New(), int64(revoked), time.Now().Add(12 * time.Hour)}
}

// CreateSession accepts every session and does not store it.
func (s *manyStore) CreateSession(
	_ context.Context, session auth.Session, _ int,
) (auth.Session, auth.User, error) {
	session.Generation = s.revoked
	return session, auth.User{ID: session.UserID, Username: session.UserID, IsActive: true}, nil
}

// RevokeSession adds a revoked session to the end of the feed. It ignores the given ID.
func (s *manyStore) RevokeSession(context.Context, auth.Write, string) error {
	s.revoked++
	return nil
}

// RevocationHead returns the position of the last entry.
func (s *manyStore) RevocationHead(context.Context) (int64, error) { return s.revoked, nil }

// ListRevocations generates entries. Each entry revokes a session of a different user. The entries
// share no memory, as if they came from a database.
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

// issuerOver returns a token issuer that uses the store and caches this number of tokens.
func issuerOver(b *testing.B, store auth.Store, k Keys, cached int) *auth.TokenIssuer {
	b.Helper()
	svc, err := auth.New(store, auth.Config{
		Issuer: Issuer, SigningKeys: []auth.SigningKey{signingKey(b, k, "HS256")},
		Tokens: auth.TokenConfig{CacheSize: cached},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(b, err)
	return svc.Tokens()
}

// manyTokens returns n tokens, each for a different user.
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

// verifyAll verifies each token one time.
func verifyAll(b *testing.B, issuer *auth.TokenIssuer, tokens []string) {
	for _, token := range tokens {
		if _, err := issuer.Verify(context.Background(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// learnAll makes the issuer read the whole revocation feed, and returns how long that takes. A
// request reads for at most a second, so learnAll repeats the request until everything is read.
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

// heap returns the number of bytes in use on the heap.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // frees objects that had a finalizer
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

var (
	liveCounts    = []int{1, 100, 10_000, 1_000_000}
	revokedCounts = []int{0, 1_000, 1_000_000}
)

// scattered is a step size. Steps of this size, modulo any of the counts above, visit every token,
// in an order that a processor does not predict.
const scattered = 7919

// BenchmarkGrowth measures the verification of a token that was verified before, for different
// numbers of such tokens and of revoked sessions. It verifies the tokens in turn. So with more
// tokens, a smaller part of them fits into the processor's caches. Reading the text of a token then
// gets slower too. In a server, the text would be in the cache, because it has just arrived. So the
// benchmark "text" measures the reading of the text separately.
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
			issuer := issuerOver(b, newManyStore(revoked), k, 4*live) // large enough for all tokens
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
				if live >= 10_000 { // otherwise empty parts of the cache dominate
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

// BenchmarkNews measures how one more revoked session slows down requests with the tokens of other
// sessions. After a revocation, the first request with each token looks up its session among all
// revoked sessions. An operation is one revocation and one request with each live token. ns/token
// is the time of one such request.
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
