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

// manyStore is a store of which a benchmark can have a million sessions in seconds:
// it keeps none of those that begin, which are not read when a token is verified, and
// makes up those that have ended.
type manyStore struct {
	auth.Store
	revoked int64
	until   time.Time
}

func newManyStore(revoked int) *manyStore {
	return &manyStore{memstore.New(), int64(revoked), time.Now().Add(12 * time.Hour)}
}

// CreateSession gives a session to whoever asks.
func (s *manyStore) CreateSession(_ context.Context, session auth.Session, _ int) (auth.Session, auth.User, error) {
	session.Generation = s.revoked
	return session, auth.User{ID: session.UserID, Username: session.UserID, IsActive: true}, nil
}

// RevokeSession ends a session that the store does not have.
func (s *manyStore) RevokeSession(context.Context, auth.Write, string) error {
	s.revoked++
	return nil
}

// RevocationHead is as far as the sessions that are made up.
func (s *manyStore) RevocationHead(context.Context) (int64, error) { return s.revoked, nil }

// ListRevocations makes up a session of another user for each entry. Nothing of it
// is shared between entries, as nothing is of what a database returns.
func (s *manyStore) ListRevocations(_ context.Context, from int64, limit int) ([]auth.Revocation, error) {
	var page []auth.Revocation
	for p := max(from, 1); p <= s.revoked && len(page) < limit; p++ {
		page = append(page, auth.Revocation{
			Position: p, ID: fmt.Sprintf("E%025d", p), UserID: fmt.Sprintf("U%025d", p), SessionID: fmt.Sprintf("S%025d", p),
			Generation: p - 1, ExpiresAt: s.until,
		})
	}
	return page, nil
}

// issuerOver returns the tokens of a service that remembers so many of them.
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

// manyTokens returns tokens of as many users.
func manyTokens(b *testing.B, k Keys, n int) []string {
	b.Helper()
	issuer, tokens := issuerOver(b, newManyStore(0), k, -1), make([]string, n)
	for i := range tokens {
		token, err := issuer.Issue(context.Background(), auth.IssueParams{UserID: rand.Text(), Method: auth.MethodHost})
		require.NoError(b, err)
		tokens[i] = token.Bearer.Reveal()
	}
	return tokens
}

// verifyAll has the issuer meet the tokens.
func verifyAll(b *testing.B, issuer *auth.TokenIssuer, tokens []string) {
	for _, token := range tokens {
		if _, err := issuer.Verify(context.Background(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// learnAll has the issuer read the whole feed, and returns how long that took. A
// request waits for a second at most, and the next goes on from there.
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

// heap returns how much memory is in use.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one only made ready to go
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

var (
	liveCounts    = []int{1, 100, 10_000, 1_000_000}
	revokedCounts = []int{0, 1_000, 1_000_000}
)

// scattered is a step that leads through all of the counts above in an order that
// no processor foresees.
const scattered = 7919

// BenchmarkGrowth is a token that was seen before, by how many of them there are and
// how many sessions were revoked. Each is asked for in turn, so that the more there
// are, the less of them is in the processor's caches. So it is with the text that is
// asked for, which a server would have just received: what it costs to fetch that is
// measured by itself, as "text".
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
				if live >= 10_000 { // or it is that of the empty tables
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

// BenchmarkNews is what a session that ends costs the tokens of others: each is looked
// up once among all that have ended. An operation is one end and a request with each
// of the live tokens; ns/token is the time for one of these.
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
