package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// eventBy returns a write of the host at the given time. The write has an event that must be
// delivered. actorID is the actor of the event.
func eventBy(actorID string, at time.Time) auth.Write {
	w := byHost
	w.Now = func() time.Time { return at }
	w.Event = auth.Event{
		Kind: "test", ActorID: actorID,
		Client: auth.ClientInfo{Address: netip.MustParseAddr("2001:db8::1"), UserAgent: "curl/8",
			RequestID: "r-1"},
	}
	w.Deliver = true
	return w
}

// Two instances with different clocks make changes and deliver the events. If the instances
// remembered only the time of the last delivered event, they would miss events that are committed
// later but have an earlier time. A number that is assigned before the commit would have the same
// problem.
func TestEventsAreDeliveredOnceAndInOrderPerUser(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, _ := twoStores(t, on, sqlstore.Open)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		const users, changers, deliverers = 3, 4, 3
		n := 2 * rounds(t)
		for user := range users {
			id := fmt.Sprintf("u-%d", user)
			require.NoError(t, stores[0].Register(ctx, byHost, newUser(id), newKey("k-"+id, id)))
		}
		var finished atomic.Int64
		delivered := make([][]auth.Event, deliverers)
		together(t, changers+deliverers, func(i int) error {
			if i >= changers {
				for finished.Load() < int64(changers*n) {
					switch event, err := deliver(ctx, stores[i%2]); {
					case err == nil:
						delivered[i-changers] = append(delivered[i-changers], event)
						finished.Add(1)
					case !errors.Is(err, auth.ErrNotFound):
						return err
					}
				}
				return nil
			}
			for round := range n {
				id := fmt.Sprintf("u-%d", round%users)
				w := eventBy("", now.Add(-time.Duration(i%2)*time.Second)) // one clock is behind
				if _, err := stores[i%2].RotateKey(ctx, w, "k-"+id,
					auth.KeyRotation{Hash: "hash"}); err != nil {
					return err
				}
			}
			return nil
		})
		var all []auth.Event
		for _, some := range delivered {
			require.True(t, slices.IsSortedFunc(some, func(a, b auth.Event) int {
				if a.UserID != b.UserID {
					return 0
				}
				return a.At.Compare(b.At)
			}))
			all = append(all, some...)
		}
		require.Len(t, all, changers*n)
		ids, times := map[string]bool{}, map[string]bool{}
		for _, e := range all {
			ids[e.ID], times[e.UserID+e.At.String()] = true, true
		}
		require.Len(t, ids, changers*n)
		require.Len(t, times, changers*n, "two events of a user have the same time")
		listed, err := stores[0].ListEvents(ctx, auth.EventFilter{}, changers*n+1)
		require.NoError(t, err)
		require.Len(t, listed, changers*n)
	})
}

// deliver claims an event and finishes it twice. It returns [auth.ErrNotFound] if no event is
// waiting. It also returns this error if concurrent calls have locked all events that could be
// claimed.
func deliver(ctx context.Context, store *sqlstore.Store) (auth.Event, error) {
	event, _, err := store.ClaimEvent(ctx, now, now.Add(time.Minute))
	if err == nil {
		err = store.FinishEvent(ctx, event.ID)
	}
	if err == nil {
		err = store.FinishEvent(ctx, event.ID) // the update changes no row
	}
	return event, err
}

// A user makes a change and is deleted at the same time. Whichever transaction commits first, the
// audit trail must not keep the client address of the deleted user.
func TestNoEventKeepsTheClientAddressOfADeletedUser(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, _ := twoStores(t, on, sqlstore.Open)
		ctx := context.Background()
		require.NoError(t, stores[0].Register(ctx, byHost, newUser("eve"), newKey("k-eve", "eve")))
		for round := range rounds(t) {
			id := fmt.Sprintf("ada-%d", round)
			require.NoError(t, stores[0].Register(ctx, eventBy(id, now), newUser(id),
				newKey("k-"+id, id)))
			together(t, 2, func(i int) error {
				if i == 0 {
					_, err := stores[0].DeleteUser(ctx, eventBy(id, now), id)
					return err
				}
				_, err := stores[1].RotateKey(ctx, eventBy(id, now), "k-eve",
					auth.KeyRotation{Hash: "hash"})
				return err
			})
			require.NoError(t, stores[0].RevokeEverybody(ctx, eventBy(id, now), 0),
				"after the deletion")
		}
		events, err := stores[0].ListEvents(ctx, auth.EventFilter{}, 1000)
		require.NoError(t, err)
		require.Len(t, events, 4*rounds(t))
		for _, event := range events {
			require.Zero(t, event.Client, "%+v", event)
			require.NotEmpty(t, event.ActorID)
		}
	})
}
