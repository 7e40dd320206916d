package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
)

// ClaimEvent takes a while if it must scan many events that cannot be delivered yet. During the
// scan, two events of another user are added. The scan has already passed the place of the first
// event, but has not reached the place of the second event. ClaimEvent must still return the two
// events in order.
func TestEventsAddedDuringAClaimAreHandedOutInOrder(t *testing.T) {
	t.Parallel()
	const held = 3000
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		ctx := context.Background()
		_, err := s.db.Exec(`DELETE FROM ` + s.prefix + `events`)
		require.NoError(t, err)
		for i := range held / 500 { // the first one is claimed below
			insert := `INSERT INTO ` + s.prefix + `events (id, at, kind, user_id, actor_id, by_host, session_id, access_key, method, github_host, github_id,
				reason, address, user_agent, request_id, pending, claimed_until, attempts) VALUES `
			for n := range 500 {
				if n > 0 {
					insert += `, `
				}
				insert += fmt.Sprintf(`('held%04d', %d, 'test', 'ada', '', '', '', '', '', '', 0, '', '', '', '', 1, 0, 0)`,
					i*500+n, now.UnixMicro()+int64(i*500+n)*1000)
			}
			_, err := s.db.Exec(insert)
			require.NoError(t, err)
		}
		until := now.Add(time.Minute)
		_, _, err = s.store.ClaimEvent(ctx, now, until)
		require.NoError(t, err)
		s.analyze(t, on.dialect, "events")

		withEvent := func(at time.Time, reason string) auth.Write {
			w := byHost
			w.Now, w.Event, w.Deliver = func() time.Time { return at }, auth.Event{Kind: "test",
				Reason: reason}, true
			return w
		}
		rounds := testenv.Rounds(t, testenv.Counts{Small: 10, Moderate: 10, Full: 500})
		for round := range rounds {
			added := make(chan error, 1)
			go func() {
				_, err := s.store.RevokeUserSessions(ctx, withEvent(now.Add(-time.Hour), "first"),
					"eve")
				if err == nil {
					_, err = s.store.RevokeUserSessions(ctx,
						withEvent(now.Add(time.Hour), "second"), "eve")
				}
				added <- err
			}()
			var reasons []string
			for len(reasons) < 2 {
				e, _, err := s.store.ClaimEvent(ctx, now, until)
				if errors.Is(err, auth.ErrNotFound) {
					continue
				}
				require.NoError(t, err)
				reasons = append(reasons, e.Reason)
				require.NoError(t, s.store.FinishEvent(ctx, e.ID))
			}
			require.NoError(t, <-added)
			require.Equal(t, []string{"first", "second"}, reasons, "round %d", round)
			_, err := s.db.Exec(`DELETE FROM ` + s.prefix + `events WHERE user_id = 'eve'`)
			require.NoError(t, err)
		}
	})
}
