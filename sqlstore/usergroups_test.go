package sqlstore_test

import (
	"errors"
	"fmt"
	"testing"

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
			for _, err := range s.runLocked(t, calls) {
				require.NoError(t, err)
			}
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
			for i, err := range s.runLocked(t, calls) {
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
// transaction end when the calls wait.
func (s *stage) runLocked(t *testing.T, calls []func() error) []error {
	t.Helper()
	h := s.begin(t, 0)
	_, err := h.Exec(`SELECT id FROM ` + s.prefix + `users WHERE id = 'ada' FOR UPDATE`)
	require.NoError(t, err)
	var begun []call
	for _, do := range calls {
		begun = append(begun, begin(do))
	}
	waitFor(t, s.store, len(calls)-1)
	before := s.spy.count("COMMIT")
	require.NoError(t, h.Rollback())
	errs := waitAll(t, begun)
	require.LessOrEqual(t, s.spy.count("COMMIT")-before, 4)
	return errs
}
