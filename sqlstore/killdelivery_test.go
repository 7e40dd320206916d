package sqlstore_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
)

// deliverJob is the job of a process that delivers the events of a store until it is killed. The
// value of fileVariable has two parts: how far the clock of the process is ahead, and the
// [whereabouts] of the store. The process writes a line for each call of OnEvent.
const deliverJob = "deliver"

func deliverUntilKilled(what string) error {
	ahead, where, _ := strings.Cut(what, " ")
	offset, err := time.ParseDuration(ahead)
	if err != nil {
		return err
	}
	store, err := whereabouts(where).open(&spy{})
	if err != nil {
		return err
	}
	return auth.NewEventLog(auth.EventLogConfig{
		Trail: store, Now: func() time.Time { return time.Now().Add(offset) },
		OnEvent: func(e auth.Event) { fmt.Println(deliveryOf(e)) },
	}).Run(context.Background())
}

// delivery is one call of OnEvent. number counts the events of the user, and at is the time of the
// call.
type delivery struct {
	userID string
	number int
	at     int64
}

func (d delivery) String() string { return fmt.Sprintf("%s %d %d", d.userID, d.number, d.at) }

func deliveryOf(e auth.Event) delivery {
	number, _ := strconv.Atoi(e.Reason)
	return delivery{e.UserID, number, time.Now().UnixNano()}
}

// deliveries collects the deliveries of all processes.
type deliveries struct {
	mu  sync.Mutex
	all []delivery
}

func (d *deliveries) add(one delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, one)
}

// read adds up to limit deliveries from the output of a process. It returns false at the end of the
// output.
func (d *deliveries) read(lines *bufio.Reader, limit int) bool {
	for range limit {
		line, err := lines.ReadString('\n')
		if err != nil {
			return false
		}
		var one delivery
		if _, err := fmt.Sscan(line, &one.userID, &one.number, &one.at); err != nil {
			panic(line)
		}
		d.add(one)
	}
	return true
}

// Two processes deliver the events of one store while events are added. One of the two is killed
// repeatedly in the middle of its work. Each event must be delivered, and the events of a user in
// order. If a process is killed, only the events that it was delivering may be delivered again.
func TestProcessKilledDuringDeliveryLosesNoEventAndNoOrder(t *testing.T) {
	t.Parallel()
	const users, each = 10, 12
	onEachPlace(t, func(t *testing.T, s verbStage) {
		ctx := context.Background()
		_, err := s.db.Exec(`DELETE FROM ` + s.prefix + `events`)
		require.NoError(t, err)
		id := func(user int) string { return fmt.Sprintf("u%d", user) }
		for user := range users {
			require.NoError(t, s.store.Register(ctx, byHost, newUser(id(user)),
				newKey("k-"+id(user), id(user))))
		}

		var seen deliveries
		var offset, slow atomic.Int64
		// An EventLog looks for events of others every five seconds. Delivering all events of a round takes
		// longer, so the other process gets events too.
		slow.Store(int64(100 * time.Millisecond))
		running, stop := context.WithCancel(ctx)
		defer stop()
		stopped := make(chan error)
		go func() {
			stopped <- auth.NewEventLog(auth.EventLogConfig{
				Trail: s.store, Logger: slog.New(slog.DiscardHandler),
				Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) },
				OnEvent: func(e auth.Event) {
					seen.add(deliveryOf(e))
					<-time.After(time.Duration(slow.Load()))
				},
			}).Run(running)
		}()

		kills := testenv.Rounds(t, testenv.Counts{Small: 2, Moderate: 2, Full: 100})
		for kill := range kills {
			p := launch(t, deliverJob, fmt.Sprintf("%s %s", time.Duration(offset.Load()), s.place))
			added := make(chan error)
			go func() {
				var errs error
				for n := range each {
					for user := range users {
						w := byHost
						w.Now, w.Deliver = time.Now, true
						w.Event = auth.Event{Kind: "test", Reason: strconv.Itoa(kill*each + n)}
						if _, err := s.store.RevokeUserSessions(ctx, w, id(user)); err != nil {
							errs = err
						}
					}
				}
				added <- errs
			}()
			require.True(t, seen.read(p.output, 1+rand.IntN(30)))
			require.NoError(t, p.Process.Kill())
			for seen.read(p.output, 1) { // read the rest of its output
			}
			require.Error(t, p.Wait())
			require.NoError(t, <-added)
			offset.Add(int64(2 * time.Minute)) // the claims of the killed process have then ended
		}
		slow.Store(0)
		waiting := func() string { return column(t, s.db, `SELECT COUNT(*) FROM `+s.prefix+`events WHERE pending = 1`)[0] }
		require.Eventually(t, func() bool { return waiting() == "0" }, 2*time.Minute,
			10*time.Millisecond)
		stop()
		require.ErrorIs(t, <-stopped, context.Canceled)

		slices.SortFunc(seen.all, func(a, b delivery) int { return cmp.Compare(a.at, b.at) })
		next := map[string]int{} // the number of the first event not yet delivered, by user
		again := 0
		for _, d := range seen.all {
			require.LessOrEqual(t, d.number, next[d.userID], "user %s: an event was skipped", d.userID)
			if d.number < next[d.userID] {
				again++
				continue
			}
			next[d.userID]++
		}
		for user := range users {
			require.Equal(t, kills*each, next[id(user)])
		}
		require.LessOrEqual(t, again, 2*kills) // moving the clock ends the survivor's claim too
		t.Logf("%d events, %d kills, %d events delivered again", kills*each*users, kills, again)
	})
}
