package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
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
			s.requireGone(t, ids...)
			require.ElementsMatch(t, ids, s.named(t))
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
	})
}

// runLocked runs the calls while another transaction has locked the user "ada". It lets the
// transaction end when the calls wait. The first call then has a transaction of its own, and the
// others share the next ones, in the given order. The spy calls the hook, which may be nil, with the
// statements of the calls.
func (s *stage) runLocked(t *testing.T, before hook, calls []func() error) []error {
	t.Helper()
	h := s.begin(t, 0)
	_, err := h.Exec(`SELECT id FROM ` + s.prefix + `users WHERE id = 'ada' FOR UPDATE`)
	require.NoError(t, err)
	s.spy.watch(before)
	begun := []call{begin(calls[0])}
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(s.spy.statements(), func(statement string) bool {
			return strings.HasSuffix(statement, " FOR UPDATE")
		})
	}, time.Minute, 100*time.Microsecond)
	for i, do := range calls[1:] {
		begun = append(begun, begin(do))
		waitFor(t, s.store, i+1)
	}
	require.NoError(t, h.Rollback())
	return waitAll(t, begun)
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
