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

// scanCache is how many tokens the cache is made for here.
const scanCache = 1 << 14

// hits counts the tokens that were found, of those that pass asks for. A token that
// is found costs no allocation and one that is not always the same number of them,
// so that the allocations say it without a hook in the library.
func hits(asked int, perMiss float64, pass func()) (share float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pass()
	runtime.ReadMemStats(&after)
	return 1 - float64(after.Mallocs-before.Mallocs)/perMiss/float64(asked)
}

// allocationsPerMiss is what a token costs that is new to the cache.
func allocationsPerMiss(b *testing.B, k Keys, tokens []string) float64 {
	issuer := issuerOver(b, newManyStore(0), k, 16*len(tokens))
	verifyAll(b, issuer, tokens[:1])
	tokens = tokens[1:]
	return 1 - hits(len(tokens), 1, func() { verifyAll(b, issuer, tokens) })
}

// BenchmarkScan is how the cache fares when there are more tokens than it has places
// for. The first two have a tenth of its size that is asked for again and again, the
// second of them with ten times its size in between, each seen once; the others have
// one number of tokens, asked for at random.
//
// The time of an operation is that of a whole round. What counts is hit-% and, of
// the tokens that are asked for again, ns/hot.
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

// verifyAtRandom has the issuer meet as many tokens as there are, some of them more
// often than others.
func verifyAtRandom(b *testing.B, issuer *auth.TokenIssuer, tokens []string) {
	for range tokens {
		if _, err := issuer.Verify(context.Background(), tokens[rand.IntN(len(tokens))]); err != nil {
			b.Fatal(err)
		}
	}
}
