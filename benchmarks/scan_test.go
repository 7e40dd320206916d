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

// scanCache is the size of the cache in this benchmark.
const scanCache = 1 << 14

// hits returns the share of tokens that were found in the cache while pass ran. A token that is
// found causes no allocation, and any other token a fixed number. So the allocations tell the share
// without a hook in the library.
func hits(asked int, perMiss float64, pass func()) (share float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pass()
	runtime.ReadMemStats(&after)
	return 1 - float64(after.Mallocs-before.Mallocs)/perMiss/float64(asked)
}

// allocationsPerMiss returns the number of allocations for a token that is new to the cache.
func allocationsPerMiss(b *testing.B, k Keys, tokens []string) float64 {
	issuer := issuerOver(b, newManyStore(0), k, 16*len(tokens))
	verifyAll(b, issuer, tokens[:1])
	tokens = tokens[1:]
	return 1 - hits(len(tokens), 1, func() { verifyAll(b, issuer, tokens) })
}

// BenchmarkScan measures the cache when there are more tokens than places. In the first two cases,
// the requests repeat tokens for a tenth of the places. The second case also scans ten times as
// many tokens as places, each once. In the other cases, a fixed number of tokens is requested at
// random.
//
// The time of an operation is the time of a whole round. The results that matter are hit-% and
// ns/hot, the time for a repeated token.
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

// verifyAtRandom verifies as many tokens as there are, chosen at random, so that some repeat.
func verifyAtRandom(b *testing.B, issuer *auth.TokenIssuer, tokens []string) {
	for range tokens {
		if _, err := issuer.Verify(context.Background(), tokens[rand.IntN(len(tokens))]); err != nil {
			b.Fatal(err)
		}
	}
}
