package wiretest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// trailAttack is a store with an audit trail that a test attacks without a Service.
type trailAttack struct {
	t      *testing.T
	store  auth.Store
	events auth.EventStore
}

func newTrailAttack(t *testing.T, store auth.Store) *trailAttack {
	return &trailAttack{t, store, store.(auth.EventStore)}
}

var trailTime = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// write returns a write by the host at this time, with an event that must be delivered.
func (a *trailAttack) write(at time.Time) auth.Write {
	return auth.Write{
		By: authtest.ByHost, Now: func() time.Time { return at }, MaxTokenLifetime: time.Hour,
		Event: auth.Event{Kind: eventkind.KeyIssued, Host: "test", Reason: rand.Text()}, Deliver: true,
	}
}

// user registers a user. The registration is not an event.
func (a *trailAttack) user() auth.User {
	a.t.Helper()
	user := auth.User{ID: rand.Text(), Username: rand.Text(), IsActive: true, CreatedAt: trailTime}
	write := a.write(trailTime)
	write.Event = auth.Event{}
	require.NoError(a.t, a.store.Register(a.t.Context(), write, user, a.key(user)))
	return user
}

func (a *trailAttack) key(user auth.User) auth.AccessKey {
	return auth.AccessKey{ID: rand.Text(), UserID: user.ID, Hash: "hash", CreatedAt: trailTime}
}

// add changes the user with the write w, which also stores the event of w.
func (a *trailAttack) add(w auth.Write, user auth.User) error {
	_, err := a.store.RevokeUserSessions(a.t.Context(), w, user.ID)
	return err
}

// list returns all events that match the filter, newest first. It reads them in pages of this size.
func (a *trailAttack) list(filter auth.EventFilter, size int) (all []auth.Event, err error) {
	for {
		page, err := a.events.ListEvents(a.t.Context(), filter, size)
		all = append(all, page...)
		if err != nil || len(page) < size {
			return all, err
		}
		filter.Before = page[len(page)-1].ID
	}
}

// inParallel calls the function do concurrently with each i from 0 to n-1.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// A store calls Write.Now while it holds a lock on the user, so the order of the calls is that of
// the commits. The clock in this test returns random times within two hours.
func TestEventsOfOneUserAreListedInTheOrderOfTheirChanges(t *testing.T) {
	t.Parallel()
	const writers, each = 32, 10
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		a := newTrailAttack(t, open(t))
		for range testenv.Rounds(t, testenv.Counts{Small: 1, Moderate: 2, Full: 20}) {
			user := a.user()
			var mu sync.Mutex
			var committed []string
			require.NoError(t, inParallel(writers, func(int) error {
				for range each {
					w := a.write(trailTime)
					w.Now = func() time.Time {
						mu.Lock()
						defer mu.Unlock()
						// If a transaction is retried, it calls Now again. Only the last call
						// counts.
						committed = slices.DeleteFunc(committed, func(reason string) bool {
							return reason == w.Event.Reason
						})
						committed = append(committed, w.Event.Reason)
						return trailTime.Add(mathrand.N(2*time.Hour) - time.Hour)
					}
					if err := a.add(w, user); err != nil {
						return err
					}
				}
				return nil
			}))
			listed, err := a.list(auth.EventFilter{UserID: user.ID}, 100)
			require.NoError(t, err)
			require.Len(t, listed, writers*each)
			slices.Reverse(listed)
			for i, e := range listed {
				require.Equal(t, committed[i], e.Reason, i)
				require.True(t, i == 0 || e.At.After(listed[i-1].At))
			}
		}
	})
}

// While the test reads all pages, newer events are added, the oldest are pruned, and others are
// delivered. Each event that exists during the whole test must be listed exactly once, and in
// order.
func TestPagingMissesNoEventWhileEventsAreAddedAndPruned(t *testing.T) {
	t.Parallel()
	const kept, old, users = 60, 60, 6
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		a := newTrailAttack(t, open(t))
		people := make([]auth.User, users)
		for i := range people {
			people[i] = a.user()
		}
		for i := range old + kept {
			require.NoError(t, a.add(a.write(trailTime.Add(time.Duration(i)*time.Minute)), people[i%users]))
		}
		all, err := a.list(auth.EventFilter{}, 100)
		require.NoError(t, err)
		require.Len(t, all, old+kept)
		stays := all[:kept]

		var readers, others sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		work := func(do func(i int) error) {
			others.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					if err := do(i); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		work(func(i int) error { return a.add(a.write(trailTime.Add(24*time.Hour)), people[i%users]) })
		work(func(int) error { _, err := a.events.PruneEvents(t.Context(), stays[kept-1].At, 1); return err })
		work(func(int) error {
			e, _, err := a.events.ClaimEvent(t.Context(), trailTime, trailTime.Add(time.Minute))
			if err == nil {
				err = a.events.FinishEvent(t.Context(), e.ID)
			}
			if errors.Is(err, auth.ErrNotFound) {
				return nil
			}
			return err
		})
		for size := range 3 {
			readers.Go(func() {
				for range 5 {
					for _, filter := range []auth.EventFilter{
						{}, {UserID: people[size].ID}, {Kind: eventkind.KeyIssued},
					} {
						listed, err := a.list(filter, 5+7*size)
						for errors.Is(err, auth.ErrNotFound) { // the last event of a page was pruned
							require.NotEmpty(t, listed)
							err = nil
						}
						if err != nil {
							t.Error(err)
							return
						}
						want := stays
						if filter.UserID != "" {
							want = slices.DeleteFunc(slices.Clone(stays), func(e auth.Event) bool {
								return e.UserID != filter.UserID
							})
						}
						from := slices.Index(listed, want[0])
						end := from + len(want)
						if from < 0 || len(listed) < end || !slices.Equal(want, listed[from:end]) {
							t.Errorf("%v: an event is missing or out of order", filter)
							return
						}
					}
				}
			})
		}
		readers.Wait()
		stop()
		others.Wait()
	})
}

// Eight instances claim events while 32 writers add more. Each event is claimed by only one
// instance. The next event of a user is claimed only after the previous one is finished.
func TestEachEventIsDeliveredOnceAndInOrderForEachUser(t *testing.T) {
	t.Parallel()
	const users, writers, each, deliverers = 5, 32, 10, 8
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		a := newTrailAttack(t, open(t))
		people := make([]auth.User, users)
		for i := range people {
			people[i] = a.user()
		}
		var mu sync.Mutex
		claimed := map[string]int{}
		last := map[string]auth.Event{} // the last event of each user
		busy := map[string]bool{}       // users with a claimed event
		wrong := func(e auth.Event, what string) error {
			return fmt.Errorf("%s: %v, after %v", what, e, last[e.UserID])
		}
		take := func(e auth.Event) error {
			mu.Lock()
			defer mu.Unlock()
			switch claimed[e.ID]++; {
			case claimed[e.ID] > 1:
				return wrong(e, "claimed twice")
			case busy[e.UserID]:
				return wrong(e, "claimed while another is claimed")
			case !e.At.After(last[e.UserID].At):
				return wrong(e, "claimed after a later one")
			}
			last[e.UserID], busy[e.UserID] = e, true
			return nil
		}
		written := make(chan struct{})
		var delivering sync.WaitGroup
		errs := make([]error, deliverers)
		for i := range deliverers {
			delivering.Go(func() {
				for errs[i] == nil {
					over := false
					select {
					case <-written:
						over = true
					default:
					}
					e, _, err := a.events.ClaimEvent(t.Context(), trailTime, trailTime.Add(time.Minute))
					switch {
					case errors.Is(err, auth.ErrNotFound):
						mu.Lock()
						all := len(claimed) == writers*each
						mu.Unlock()
						if over && all {
							return
						}
					case err == nil:
						if err = take(e); err == nil {
							mu.Lock()
							// This must be before FinishEvent, because after FinishEvent another
							// instance can claim the next event.
							busy[e.UserID] = false
							mu.Unlock()
							err = a.events.FinishEvent(t.Context(), e.ID)
						}
						errs[i] = err
					default:
						errs[i] = err
					}
				}
			})
		}
		require.NoError(t, inParallel(writers, func(i int) error {
			for n := range each {
				at := trailTime.Add(mathrand.N(time.Second))
				if err := a.add(a.write(at), people[(i+n)%users]); err != nil {
					return err
				}
			}
			return nil
		}))
		close(written)
		delivering.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Len(t, claimed, writers*each)
	})
}

// An instance whose clock is an hour ahead claims an event. Then it crashes or its clock is set
// back. This event and later events of the user must be delivered without a delay, and their times
// must increase.
func TestAClockThatJumpsBackDelaysNoEventOfTheTrail(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		a := newTrailAttack(t, open(t))
		user := a.user()
		ahead := trailTime.Add(time.Hour)
		require.NoError(t, a.add(a.write(ahead), user))
		first, _, err := a.events.ClaimEvent(t.Context(), ahead, ahead.Add(time.Minute))
		require.NoError(t, err)
		require.NoError(t, a.add(a.write(trailTime), user)) // the clock was set back
		for attempt := 2; ; attempt++ {
			e, n, err := a.events.ClaimEvent(t.Context(), trailTime, trailTime.Add(time.Minute))
			require.NoError(t, err)
			require.NoError(t, a.events.FinishEvent(t.Context(), e.ID))
			if e.ID != first.ID {
				require.True(t, e.At.After(first.At))
				break
			}
			require.Equal(t, attempt, n)
		}
	})
}

// Attack: a client sends invalid headers with a change, so that the change fails or is not in the
// audit trail.
func TestMalformedClientHeadersKeepNoChangeOutOfTheTrail(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"too long":                     strings.Repeat("x", 5000),
		"invalid UTF-8":                "curl\xff\xfe",
		"a character cut by the limit": strings.Repeat("x", 255) + "漢",
		"control characters":           "curl\tx",
		"a bidirectional override":     "curl \u202e8",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStolen(t, memstore.New())
			for _, c := range lastingCalls {
				if c.name == "register by the published path" {
					continue // the username is taken
				}
				before := len(s.trail())
				r := s.send(c.method, c.target(s), c.body, "Authorization", "Bearer "+s.bearer,
					"User-Agent", text, "X-Request-Id", text)
				require.Less(t, r.status, 300, c.name+r.body)
				require.Len(t, s.trail(), before+1, c.name)
			}
		})
	}
}

// An event that crashes the process at each delivery is skipped after five attempts. If OnEvent
// accepts an event at the fifth attempt, the event is not logged as failed.
func TestAnEventThatCrashesTheProcessIsSkippedAfterFiveAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newTrailAttack(t, memstore.New())
		fatal, late := a.write(time.Now()), a.write(time.Now())
		require.NoError(t, a.add(fatal, a.user()))
		claim := func() (auth.Event, error) {
			e, _, err := a.events.ClaimEvent(t.Context(), time.Now(), time.Now().Add(time.Minute))
			return e, err
		}
		for range 5 { // five processes claim the event and crash
			_, err := claim()
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		require.NoError(t, a.add(late, a.user()))
		var logged bytes.Buffer
		attempts := map[string]int{} // number of attempts, keyed by reason
		log := auth.NewEventLog(auth.EventLogConfig{
			Trail: a.events, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
			OnEvent: func(e auth.Event) {
				if attempts[e.Reason]++; attempts[e.Reason] < 5 {
					panic("not now")
				}
			},
		})
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
		defer stop()
		require.ErrorIs(t, log.Run(ctx), context.DeadlineExceeded)
		require.Equal(t, map[string]int{late.Event.Reason: 5}, attempts)
		_, err := claim()
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.Equal(t, 1, strings.Count(logged.String(), "failed too often"), logged.String())
		require.Contains(t, logged.String(), fatal.Event.Reason)
		listed, err := a.list(auth.EventFilter{}, 10)
		require.NoError(t, err)
		require.Len(t, listed, 2, "both events stay in the trail")
	})
}
