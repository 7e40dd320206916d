package benchmarks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
)

// scanCache is the number of tokens that the cache can hold in this benchmark.
const scanCache = 1 << 14

// hits returns the share of tokens that were found in the cache while the function pass ran. It
// computes the share from the number of allocations: a token that is found causes none, and any
// other token causes perMiss allocations.
func hits(asked int, perMiss float64, pass func()) (share float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pass()
	runtime.ReadMemStats(&after)
	return 1 - float64(after.Mallocs-before.Mallocs)/perMiss/float64(asked)
}

// allocationsPerMiss returns the number of allocations for a token that is not in the cache.
func allocationsPerMiss(b *testing.B, k Keys, tokens []string) float64 {
	issuer := issuerOver(b, newManyStore(0), k, 16*len(tokens))
	verifyAll(b, issuer, tokens[:1])
	tokens = tokens[1:]
	return 1 - hits(len(tokens), 1, func() { verifyAll(b, issuer, tokens) })
}

// BenchmarkScan measures the cache if there are more tokens than it can hold. In the first two
// cases, requests repeat a set of tokens that fills a tenth of the cache (the hot tokens). In the
// second case, there are also other tokens, ten times as many as the cache can hold. Each round has
// one request with each of them. In the remaining cases, the tokens of the requests are picked at
// random.
//
// The relevant results are hit-% and ns/hot. ns/hot is the time of a request with a hot token, and
// ns/op is the time of a whole round.
func BenchmarkScan(b *testing.B) {
	k := newKeys(b)
	all := manyTokens(b, k, scanCache/10+10*scanCache)
	hot, cold := all[:scanCache/10], all[scanCache/10:]
	perMiss := allocationsPerMiss(b, k, cold[:1000])
	for name, between := range map[string][]string{"hot alone": nil, "hot and a scan": cold} {
		b.Run(name, func(b *testing.B) {
			issuer := issuerOver(b, newManyStore(0), k, scanCache)
			verifyAll(b, issuer, hot)
			verifyAll(b, issuer, hot)
			var share float64
			var took time.Duration
			rounds := 0
			for b.Loop() {
				verifyAll(b, issuer, between)
				share += hits(len(hot), perMiss, func() {
					began := time.Now()
					verifyAll(b, issuer, hot)
					took += time.Since(began)
				})
				rounds++
			}
			b.ReportMetric(100*share/float64(rounds), "hit-%")
			b.ReportMetric(float64(took.Nanoseconds())/float64(rounds*len(hot)), "ns/hot")
		})
	}
	for _, eighths := range []int{4, 8, 16, 80} {
		live := cold[:eighths*scanCache/8]
		b.Run(fmt.Sprintf("live=%.4gx", float64(eighths)/8), func(b *testing.B) {
			issuer := issuerOver(b, newManyStore(0), k, scanCache)
			ask := func() { verifyAtRandom(b, issuer, live) }
			ask()
			ask()
			var share float64
			rounds := 0
			for b.Loop() {
				share += hits(len(live), perMiss, ask)
				rounds++
			}
			b.ReportMetric(100*share/float64(rounds), "hit-%")
		})
	}
}

// verifyAtRandom makes as many verifications as there are tokens. It picks each token at random, so
// some tokens repeat.
func verifyAtRandom(b *testing.B, issuer *auth.TokenIssuer, tokens []string) {
	for range tokens {
		if _, err := issuer.Verify(context.Background(), tokens[rand.IntN(len(tokens))]); err != nil {
			b.Fatal(err)
		}
	}
}
