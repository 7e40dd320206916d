//go:build linux

package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// totals are the figures of a run.
type totals struct {
	signIns, revocations, answers, failures, late int
	outage, stale                                 time.Duration // the longest
}

func (n *totals) String() string {
	return fmt.Sprintf("%d sign-ins and %d revocations acknowledged, %d further answers; "+
		"%d calls failed, %d of them after the outage; longest outage %v; "+
		"the other instances accepted a revoked token for at most %v without an outage",
		n.signIns, n.revocations, n.answers, n.failures, n.late, n.outage.Round(time.Millisecond),
		n.stale.Round(time.Millisecond))
}

// check requires that all promises were kept in a round in which the primary was killed and the new
// primary then accepted writes. No call runs meanwhile. check returns the figures of the round.
func (x *traffic) check(t *testing.T, db *sql.DB, killed, writable time.Time) string {
	t.Helper()
	x.calls.Lock()
	defer x.calls.Unlock()
	late := map[*instance]int{}
	var last time.Time
	var longest time.Duration
	for _, f := range x.failures {
		require.Less(t, slices.Index(x.instances, f.by), x.writers, "%s answers 503", f.by.name)
		took := f.ended.Sub(f.began)
		require.False(t, f.ended.Before(killed), "%s answers 503 before the outage after %v",
			f.by.name, took)
		require.False(t, f.ended.After(writable.Add(callTimeout)), "%s answers 503 long after the outage",
			f.by.name)
		if f.began.After(writable) {
			late[f.by]++
		}
		last, longest = latest(last, f.ended), max(longest, took)
	}
	for in, number := range late {
		require.LessOrEqual(t, number, 1, "%s answers 503 after the outage", in.name)
		x.total.late += number
	}
	for _, a := range x.accepted {
		since := a.revoked
		if a.began.After(killed) {
			since = latest(since, writable) // during the outage, no instance can read the feed
		}
		delay := a.began.Sub(since)
		require.Less(t, delay, rejectedWithin, "%s accepts a revoked token", a.by.name)
		x.total.stale = max(x.total.stale, delay)
	}
	x.checkRecords(t, db)
	figures := fmt.Sprintf("outage %v; %d calls failed after at most %v each, the last %v before "+
		"the end of the outage; %d times a token was accepted that another instance had revoked before",
		writable.Sub(killed).Round(time.Millisecond), len(x.failures), longest.Round(time.Millisecond),
		writable.Sub(last).Round(time.Millisecond), len(x.accepted))
	x.total.failures += len(x.failures)
	x.total.outage = max(x.total.outage, writable.Sub(killed))
	x.failures, x.accepted = nil, nil
	return figures
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// checkRecords requires that everything acknowledged exists in the database, and that all instances
// agree with the database on each session.
func (x *traffic) checkRecords(t *testing.T, db *sql.DB) {
	t.Helper()
	began := time.Now()
	for _, in := range x.instances {
		require.Eventually(t, func() bool {
			now := time.Now()
			age, _ := in.svc.FeedAge()
			return now.Add(-age).After(began)
		}, time.Minute, time.Millisecond, "%s does not read the feed", in.name)
		require.NotContains(t, in.log.String(), "lost commits")
	}
	users, keys := idsIn(t, db, "auth_users"), idsIn(t, db, "auth_access_keys")
	sessions := idsIn(t, db, "auth_sessions")
	for _, c := range x.clients {
		for _, id := range c.users {
			require.True(t, users[id], "a user is lost")
		}
		for _, id := range c.keys {
			require.True(t, keys[id], "an access key is lost")
		}
		for _, s := range c.sessions {
			switch s.state {
			case live:
				require.True(t, sessions[s.id], "a session is lost")
			case revoked:
				require.False(t, sessions[s.id], "a revocation is lost")
			}
			want := http.StatusUnauthorized
			if sessions[s.id] {
				want = http.StatusNoContent
			}
			for _, in := range x.instances {
				require.Equal(t, want, in.request(context.Background(), http.MethodGet, "/host", s.token),
					"%s and a session in state %d", in.name, s.state)
			}
		}
	}
}

// idsIn returns the IDs of all records in the table.
func idsIn(t *testing.T, db *sql.DB, table string) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, id := range column(t, db, `SELECT id FROM `+table) {
		ids[id] = true
	}
	return ids
}
