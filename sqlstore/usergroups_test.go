package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// Without this, a busy user would stay locked for one transaction after another, and no call of the
// user could ever share a transaction again.
func TestCallsOfALockedUserShareTransactions(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		t.Run("revocations", func(t *testing.T) {
			s := on.stage(t)
			var calls []func() error
			var ids []string
			for i := range 9 {
				session := s.open(t, newSession(fmt.Sprint("n-", i), "ada", "k-ada"))
				calls, ids = append(calls, signOut(s.store, claimsOf(session))), append(ids, session.ID)
			}
			require.NoError(t, errors.Join(s.runLocked(t, nil, calls)...))
			require.LessOrEqual(t, s.spy.count("COMMIT"), 4)
			require.Equal(t, 1, s.spy.ending("SKIP LOCKED"), "later calls do not try the batch of all users")
			s.requireGone(t, ids...)
			require.ElementsMatch(t, ids, s.named(t))
		})
		t.Run("revocations of one session", func(t *testing.T) {
			s := on.stage(t)
			claims := claimsOf(s.session(t, "s-ada"))
			longer := claims
			longer.ExpiresAt = claims.ExpiresAt.Add(time.Hour)
			calls := slices.Repeat([]func() error{signOut(s.store, claims)}, 9)
			calls = append(calls, signOut(s.store, longer))
			require.NoError(t, errors.Join(s.runLocked(t, nil, calls)...))
			require.Equal(t, 3, s.spy.count("COMMIT"))
			require.Equal(t, []string{"s-ada"}, s.named(t))
			feed, err := s.store.ListRevocations(background, 1, 9)
			require.NoError(t, err)
			require.Equal(t, longer.ExpiresAt, feed[len(feed)-1].ExpiresAt)
		})
		t.Run("sign-ins", func(t *testing.T) {
			s := on.stage(t)
			var calls []func() error
			for i := range 9 {
				key := "k-ada"
				if i == 4 {
					key = "k-eve" // of another user
				}
				calls = append(calls, signIn(s.store, newSession(fmt.Sprint("n-", i), "ada", key), 3))
			}
			errs := s.runLocked(t, nil, calls)
			require.LessOrEqual(t, s.spy.count("COMMIT"), 4)
			for i, err := range errs {
				require.Equal(t, i == 4, errors.Is(err, auth.ErrNotFound), err)
				require.Equal(t, i != 4, err == nil, err)
			}
			live, err := s.store.ListSessions(background, "ada", now)
			require.NoError(t, err)
			require.Len(t, live, 3)
			require.Len(t, s.named(t), 7) // two sessions of the stage, and eight new ones
		})
		t.Run("sign-ins that exceed the limit", func(t *testing.T) {
			s := on.stage(t)
			var calls []func() error
			for i := range 40 {
				calls = append(calls, signIn(s.store, newSession(fmt.Sprint("n-", i), "ada", "k-ada"), 5))
			}
			require.NoError(t, errors.Join(s.runLocked(t, nil, calls)...))
			// The first call has a transaction of its own. The next one makes the sessions 4 and 5, and 8
			// others one after the other. The other 29 calls share transactions if they come back at once.
			require.LessOrEqual(t, s.spy.count("COMMIT"), 31)
			live, err := s.store.ListSessions(background, "ada", now)
			require.NoError(t, err)
			require.Len(t, live, 5)
			require.Len(t, s.named(t), 37)
		})
		t.Run("sign-ins of a disabled user", func(t *testing.T) {
			s := on.stage(t)
			_, err := s.store.UpdateUser(background, byHost, "ada", auth.UserChange{IsActive: new(false)})
			require.NoError(t, err)
			call := signIn(s.store, newSession("n", "ada", "k-ada"), 5)
			for _, err := range s.runLocked(t, nil, slices.Repeat([]func() error{call}, 9)) {
				require.ErrorIs(t, err, auth.ErrUserDisabled)
			}
			require.LessOrEqual(t, s.spy.count("ROLLBACK"), 3, "the calls share transactions")
		})
	})
}

// runLocked runs the calls while another transaction has locked the user "ada". It lets the
// transaction end when the calls wait. The first call then has a transaction of its own, and the
// others share the next ones, in the given order. The spy calls the hook, which may be nil, with the
// statements of the calls.
func (s *stage) runLocked(t *testing.T, before hook, calls []func() error) []error {
	t.Helper()
	h, first := s.beginLocked(t, before, calls[0])
	begun := []call{first}
	for i, do := range calls[1:] {
		begun = append(begun, begin(do))
		waitFor(t, s.store, i+1)
	}
	require.NoError(t, h.Rollback())
	return waitAll(t, begun)
}

// beginLocked begins the call, which waits for the user "ada". The user is locked until the returned
// transaction ends. The spy calls the hook, which may be nil.
func (s *stage) beginLocked(t *testing.T, before hook, do func() error) (*sql.Tx, call) {
	t.Helper()
	h := s.begin(t, 0)
	_, err := h.Exec(`SELECT id FROM ` + s.prefix + `users WHERE id = 'ada' FOR UPDATE`)
	require.NoError(t, err)
	s.spy.watch(before)
	first := begin(do)
	require.Eventually(t, func() bool { return s.spy.ending(" FOR UPDATE") > 0 },
		time.Minute, 100*time.Microsecond)
	return h, first
}

// ending returns the number of statements in the log that end with the words.
func (s *spy) ending(words string) (n int) {
	for _, statement := range s.statements() {
		if strings.HasSuffix(statement, words) {
			n++
		}
	}
	return n
}

func TestAUserIsBusyUntilTheLastCallEnds(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		ada, old := claimsOf(s.session(t, "s-ada")), claimsOf(s.session(t, "s-old"))
		h, first := s.beginLocked(t, nil, signOut(s.store, ada))
		ctx, cancel := context.WithCancel(background)
		canceled := begin(func() error { return s.store.RevokeToken(ctx, old) })
		waitFor(t, s.store, 1)
		cancel()
		require.ErrorIs(t, canceled.wait(t), context.Canceled)
		require.Equal(t, 1, s.store.BusyUsers())
		last := begin(signOut(s.store, old))
		waitFor(t, s.store, 1)
		require.NoError(t, h.Rollback())
		require.NoError(t, errors.Join(first.wait(t), last.wait(t)))
		require.Zero(t, s.store.BusyUsers())
		require.Equal(t, []string{"s-ada", "s-old"}, s.named(t))
	})
}

// A transaction that waits while it has locked the head delays the revocations of all users.
func TestABatchOfSignInsLocksItsKeysBeforeTheHead(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		free := false
		errs := s.runLocked(t, once(s.prefix+"revocation_head SET", func() error {
			free = s.isFree(t, "access_keys WHERE id = 'k-old'")
			return nil
		}), []func() error{
			signIn(s.store, newSession("n-0", "ada", "k-ada"), 0),
			signIn(s.store, newSession("n-1", "ada", "k-ada"), 1),
			signIn(s.store, newSession("n-2", "ada", "k-old"), 1),
		})
		require.NoError(t, errors.Join(errs...))
		require.False(t, free)
		s.requireGone(t, "n-0", "n-1")
	})
}

// isFree reports whether no transaction has locked the record.
func (s *stage) isFree(t *testing.T, record string) bool {
	t.Helper()
	var id string
	err := s.db.QueryRow(`SELECT id FROM ` + s.prefix + record + ` FOR UPDATE SKIP LOCKED`).Scan(&id)
	if err != nil {
		require.ErrorIs(t, err, sql.ErrNoRows)
	}
	return err == nil
}

// A fold skips locked sessions, because the transaction that has locked them deletes them.
func TestAClaimToTheSessionOfAnotherUserDoesNotLockIt(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		foreign := claimsOf(s.session(t, "s-ada"))
		foreign.UserID = "eve"
		var locked atomic.Bool
		look := func(_ context.Context, statement string) error {
			head := strings.Contains(statement, s.prefix+"revocation_head SET")
			if head && !s.isFree(t, "sessions WHERE id = 's-ada'") {
				locked.Store(true)
			}
			return nil
		}
		errs := runBatch(t, s.spy, s.store, s.busySignOut(t), look,
			signOut(s.store, foreign), signOut(s.store, claimsOf(s.session(t, "s-eve"))))
		require.NoError(t, errors.Join(errs...))
		require.False(t, locked.Load())
		s.session(t, "s-ada")
		require.ElementsMatch(t, []string{"s-busy", "s-ada", "s-eve"}, s.named(t))
	})
}

func TestABatchOfRevocationsOfOneUserLeavesWhatSingleRevocationsLeave(t *testing.T) {
	t.Parallel()
	const most = storekit.MaxNamedRevocations
	claims := func(id string, generation int64, expires time.Duration) auth.SessionClaims {
		return auth.SessionClaims{UserID: "ada", SessionID: id, Generation: generation,
			ExpiresAt: now.Add(expires)}
	}
	one, capped := claims("n-1", most, time.Hour), claims("n-2", 9*most, time.Hour)
	older, newer := claims("e899", 898, 2*time.Hour), claims("e900", 899, 2*time.Hour)
	onServers(t, func(t *testing.T, on *server) {
		for name, batch := range map[string][]auth.SessionClaims{
			"an entry is replaced after a fold": {one, newer},
			"entries are replaced":              {older, newer},
			"a fold finds a later session":      {one, claims("n-long", 0, 5*time.Hour)},
			"a fold makes an entry unnecessary": {one, claims("n-2", 3, time.Hour)},
			"a fold leaves an entry necessary":  {one, claims("n-2", 3, 9*time.Hour)},
			"capped entries do not count":       {capped, one},
			"a fold ends a large batch early":   manyClaims(claims, 64),
		} {
			run := func(together bool) (feed []auth.Revocation, ids []string) {
				s := on.stage(t)
				session := newSession("n-long", "ada", "k-ada")
				session.ExpiresAt = now.Add(5 * time.Hour)
				s.open(t, session)
				s.nameMany(t)
				calls := []func() error{signOut(s.store, claims("e1", 0, time.Hour))} // changes nothing
				for _, c := range batch {
					calls = append(calls, signOut(s.store, c))
				}
				if together {
					require.NoError(t, errors.Join(s.runLocked(t, nil, calls)...))
					require.Equal(t, 2, s.spy.count("COMMIT"), name)
				} else {
					for _, do := range calls {
						require.NoError(t, do())
					}
				}
				feed, err := s.store.ListRevocations(background, 1, 3*most)
				require.NoError(t, err)
				for i := range feed {
					feed[i].ID = "" // random
				}
				live, err := s.store.ListSessions(background, "ada", now)
				require.NoError(t, err)
				for _, session := range live {
					ids = append(ids, session.ID)
				}
				return feed, ids
			}
			want, live := run(false)
			got, stillLive := run(true)
			require.Equal(t, want, got, name)
			require.Equal(t, live, stillLive, name)
		}
	})
}

// manyClaims returns claims to different sessions.
func manyClaims(
	claims func(id string, generation int64, expires time.Duration) auth.SessionClaims, n int,
) (many []auth.SessionClaims) {
	for i := range n {
		many = append(many, claims(fmt.Sprint("n-", i), int64(400+2*i), time.Duration(1+i%3)*time.Hour))
	}
	return many
}
