package wiretest

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/limit"
	"github.com/stretchr/testify/require"
)

// BenchmarkSignInUnderAttack measures sign-ins while an attacker sends thousands of wrong secrets a
// second. Periods with and without the attack alternate. The benchmark reports the median time
// during the attack, and its ratio to the median without the attack. Run it with -benchtime 10s, so
// that the attacker sends more than 10,000 secrets.
func BenchmarkSignInUnderAttack(b *testing.B) {
	for name, attack := range map[string]func(f *fixture, i int) (auth.KeyPair, string){
		"one key from 1,000 addresses": func(f *fixture, i int) (auth.KeyPair, string) {
			pair := f.userPair
			pair.AccessSecret = authtest.WrongSecret(pair.AccessKey)
			return pair, fmt.Sprintf("198.51.%d.%d", i%1000/250, i%1000%250)
		},
		"10,000 keys from one address": func(f *fixture, _ int) (auth.KeyPair, string) { return f.wrong(), "198.51.100.1" },
	} {
		b.Run(name, func(b *testing.B) {
			f := newFixture(b, func(_ *fixture, cfg *auth.Config) {
				cfg.Logger = slog.New(slog.DiscardHandler)
				cfg.Throttling.Flood = []limit.Rate{{Count: math.MaxInt32, Per: time.Minute}}
			})
			other, err := f.svc.Register(b.Context(), authtest.ByHost, auth.UserParams{Username: "other"})
			require.NoError(b, err)
			var running sync.WaitGroup
			var attacked atomic.Bool
			stop := make(chan struct{})
			sent, throttled := 0, 0
			running.Go(func() {
				for tick := time.NewTicker(time.Millisecond); ; {
					select {
					case <-stop:
						return
					case <-tick.C:
					}
					for range 10 { // up to 10,000 attempts a second
						if !attacked.Load() {
							break
						}
						pair, address := attack(f, sent)
						if _, err := f.svc.Login(from(b, address), pair, auth.LoginOptions{}); err == nil {
							b.Error("a wrong secret was accepted")
						} else if status, _ := auth.ErrorStatus(err); status == http.StatusTooManyRequests {
							throttled++
						}
						sent++
					}
				}
			})
			var took [2][]time.Duration // [0] without the attack, [1] with it
			ctx, own := from(b, "203.0.113.7"), from(b, "203.0.113.8")
			for n := 0; b.Loop(); n++ {
				which := n / 1000 % 2 // a period takes a few hundredths of a second
				attacked.Store(which == 1)
				began := time.Now()
				_, err := f.svc.Login(ctx, other.Pair, auth.LoginOptions{})
				took[which] = append(took[which], time.Since(began))
				require.NoError(b, err)
				if n%100 == 0 { // the owner of the attacked key signs in too
					_, err := f.svc.Login(own, f.userPair, auth.LoginOptions{})
					require.NoError(b, err)
				}
			}
			close(stop)
			running.Wait()
			if len(took[1]) > 0 {
				quiet, busy := medianOf(took[0]), medianOf(took[1])
				b.ReportMetric(busy, "median-ns")
				b.ReportMetric(busy/quiet, "ratio")
			}
			b.ReportMetric(float64(sent), "attempts")
			b.ReportMetric(float64(throttled), "throttled")
		})
	}
}

func medianOf(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2].Nanoseconds())
}

// BenchmarkUnknownKeyAgainstWrongSecret measures rejected sign-ins with an unknown key and with a
// wrong secret, in random order. It reports Welch's t for the two times. If the absolute value is
// below 4.5, an attacker cannot tell the two cases apart. Run it with -benchtime 100000x.
func BenchmarkUnknownKeyAgainstWrongSecret(b *testing.B) {
	f := newFixture(b, func(_ *fixture, cfg *auth.Config) {
		cfg.Logger, cfg.Throttling.Off = slog.New(slog.DiscardHandler), true
	})
	// Both kinds must have the same number of keys, because the processor gets faster with a text
	// that it has seen before.
	const kinds, keys = 2, 90
	var texts [kinds][keys]string
	for i := range keys {
		texts[0][i] = f.wrong().AccessKey
		pair, err := f.svc.Credentials().Issue(b.Context(), authtest.ByHost, f.user.ID, auth.KeyOptions{})
		require.NoError(b, err)
		texts[1][i] = pair.AccessKey
	}
	var n, mean, squares [kinds]float64
	runtime.GC()
	for b.Loop() {
		for _, kind := range rand.Perm(kinds) {
			key := strings.Clone(texts[kind][rand.N(keys)])
			pair := auth.KeyPair{AccessKey: key, AccessSecret: authtest.WrongSecret(key)}
			began := time.Now()
			_, err := f.svc.Login(b.Context(), pair, auth.LoginOptions{})
			took := float64(time.Since(began).Nanoseconds())
			require.ErrorIs(b, err, auth.ErrInvalidCredentials)
			if took > 100_000 { // the scheduler has interrupted the sign-in
				continue
			}
			n[kind]++
			difference := took - mean[kind]
			mean[kind] += difference / n[kind]
			squares[kind] += difference * (took - mean[kind])
		}
	}
	variance := func(kind int) float64 { return squares[kind] / (n[kind] - 1) / n[kind] }
	b.ReportMetric((mean[0]-mean[1])/math.Sqrt(variance(0)+variance(1)), "welch-t")
	b.ReportMetric(mean[0], "unknown-ns")
	b.ReportMetric(mean[1], "wrong-ns")
}

// BenchmarkSignInBesideSlowHashes measures a sign-in with a generated secret while 64 clients with
// different addresses try imported keys. It reports the median time. Slow hashes use at most one
// processor, so the other clients wait or get status 429.
func BenchmarkSignInBesideSlowHashes(b *testing.B) {
	for _, clients := range []int{0, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			f := newFixture(b, func(_ *fixture, cfg *auth.Config) {
				cfg.Logger = slog.New(slog.DiscardHandler)
				cfg.Credentials.AllowImported, cfg.Credentials.MaxSlowHashes = true, 1
				cfg.Proxies = auth.NoProxies()
				cfg.Throttling.Flood = []limit.Rate{{Count: math.MaxInt32, Per: time.Minute}}
			})
			stop := make(chan struct{})
			var running sync.WaitGroup
			var hashed, refused atomic.Int64
			for i := range clients {
				running.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						pair := auth.KeyPair{
							AccessKey:    fmt.Sprintf("old-%d-%d", i, n),
							AccessSecret: auth.NewSecret("a guess of somebody's"),
						}
						client := from(b, fmt.Sprintf("198.%d.%d.%d", i, n/250%250, n%250))
						_, err := f.svc.Login(client, pair, auth.LoginOptions{})
						if status, _ := auth.ErrorStatus(err); status == http.StatusTooManyRequests {
							refused.Add(1)
							time.Sleep(10 * time.Millisecond)
						} else {
							hashed.Add(1)
						}
					}
				})
			}
			var took []time.Duration
			ctx := from(b, "203.0.113.7")
			for b.Loop() {
				began := time.Now()
				_, err := f.svc.Login(ctx, f.userPair, auth.LoginOptions{})
				took = append(took, time.Since(began))
				require.NoError(b, err)
			}
			close(stop)
			running.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "median-ns")
			b.ReportMetric(float64(hashed.Load()), "hashed")
			b.ReportMetric(float64(refused.Load()), "refused")
		})
	}
}
