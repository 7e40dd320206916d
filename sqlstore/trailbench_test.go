package sqlstore_test

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
)

// BenchmarkTrail compares changes that add an event to the audit trail with changes that do not. It
// runs the two alternately, in 64 goroutines with one user each. docs/performance.md explains how
// to run it and lists results.
func BenchmarkTrail(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		db := openDB(b, newFile(b), recommended)
		benchmarkTrail(b, mustOpen(b, db), func(query string) {
			_, err := db.Exec(query)
			require.NoError(b, err)
		}, "auth_")
	})
	for _, on := range servers {
		b.Run(string(on.dialect), func(b *testing.B) {
			db, cfg := on.open(b, nil, 20), on.config()
			store, err := sqlstore.Open(context.Background(), db, cfg)
			require.NoError(b, err)
			benchmarkTrail(b, store, func(query string) {
				_, err := db.Exec(query)
				require.NoError(b, err)
			}, cfg.Prefix)
		})
	}
}

func benchmarkTrail(b *testing.B, store *sqlstore.Store, exec func(string), prefix string) {
	const goroutines = 64
	ctx := context.Background()
	users := make([]auth.User, goroutines)
	for i := range users {
		users[i] = newUser(rand.Text())
		require.NoError(b, store.Register(ctx, byHost, users[i], newKey(rand.Text(), users[i].ID)))
	}
	on, off := byHost, byHost
	on.Event = auth.Event{
		Kind: eventkind.KeyIssued, ActorID: users[0].ID, SessionID: rand.Text(),
		Reason: "an ordinary reason",
		Client: auth.ClientInfo{UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", RequestID: rand.Text()},
	}
	on.Deliver = true
	verbs := []struct {
		name string
		call func(w auth.Write, user auth.User) error
	}{
		{"AddKey", func(w auth.Write, user auth.User) error { return store.AddKey(ctx, w, newKey(rand.Text(), user.ID)) }},
		{"RevokeUserSessions", func(w auth.Write, user auth.User) error {
			_, err := store.RevokeUserSessions(ctx, w, user.ID)
			return err
		}},
	}
	rounds := testenv.Rounds(b, testenv.Counts{Small: 2, Moderate: 2, Full: 30})
	perRound := testenv.Rounds(b, testenv.Counts{Small: 64, Moderate: 64, Full: 320})
	for _, v := range verbs {
		b.Run(v.name, func(b *testing.B) {
			round := func(w auth.Write) time.Duration {
				exec(`DELETE FROM ` + prefix + `access_keys`)
				w.Now = time.Now
				var left atomic.Int64
				left.Store(int64(perRound))
				var all sync.WaitGroup
				began := time.Now()
				for _, user := range users {
					all.Go(func() {
						w := w
						w.Event.ActorID = ""
						if w.Event.Kind != "" {
							w.Event.ActorID = user.ID // as if the user made the change
						}
						for left.Add(-1) >= 0 {
							if err := v.call(w, user); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
				return time.Since(began)
			}
			var took [2][]time.Duration
			for i := range rounds {
				for j := range 2 { // each of the two is first in every other round
					which := (i + j) % 2
					took[which] = append(took[which], round([]auth.Write{off, on}[which]))
				}
			}
			perSecond := func(d time.Duration) float64 { return float64(perRound) / d.Seconds() }
			var ratios []time.Duration // in billionths
			for i := range rounds {
				ratios = append(ratios, time.Duration(1e9*float64(took[0][i])/float64(took[1][i])))
			}
			without, with := perSecond(median(took[0])), perSecond(median(took[1]))
			ratio := float64(median(ratios)) / 1e9
			quarter := func(n int) float64 { return float64(quantile(ratios, float64(n)/4)) / 1e9 }
			b.ReportMetric(without, "without/s")
			b.ReportMetric(with, "with/s")
			b.ReportMetric(100*ratio, "%")
			b.Logf("| %s | %.0f | %.0f | %.0f %% (%.0f to %.0f) |", v.name, without, with,
				100*ratio, 100*quarter(1), 100*quarter(3))
			for b.Loop() {
			}
		})
	}
}
