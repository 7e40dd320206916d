package sqlstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

func TestRevocationsThatArriveDuringABatchShareTheNext(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, c := range []struct{ calls, commits int }{{1, 1}, {9, 1}, {64, 1}, {65, 2}} {
			s := newStage(t)
			var calls []func() error
			var want []string
			for i := range c.calls {
				session := s.open(t, newSession(fmt.Sprint("n-", i), "ada", "k-ada"))
				calls, want = append(calls, signOut(s.store, claimsOf(session))), append(want, session.ID)
			}
			require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, s.busySignOut(t), nil, calls...)...))
			require.Equal(t, c.commits, s.spy.count("COMMIT"), "%d calls", c.calls)
			s.requireGone(t, want...)
			require.ElementsMatch(t, append(want, "s-busy"), s.named(t))
		}
	})
}

func TestALockedRecordDelaysOnlyTheRevocationsOfItsUser(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		for _, record := range []string{"users WHERE id = 'ada'", "sessions WHERE id = 's-ada'"} {
			s := on.stage(t)
			h := s.begin(t, 0)
			busy := s.busySignOut(t)
			_, err := h.Exec(`SELECT id FROM ` + s.prefix + record + ` FOR UPDATE`)
			require.NoError(t, err)
			calls, release := beginBatch(t, s.spy, s.store, busy, nil,
				signOut(s.store, claimsOf(s.session(t, "s-ada"))),
				signOut(s.store, claimsOf(s.session(t, "s-eve"))))
			release()
			require.NoError(t, calls[1].wait(t))
			require.Empty(t, calls[0].err, "the record of the user is locked")
			require.NoError(t, h.Rollback())
			require.NoError(t, calls[0].wait(t))
			s.requireGone(t, "s-ada", "s-eve")
			require.Equal(t, []string{"s-busy", "s-eve", "s-ada"}, s.named(t))
		}
	})
}

func TestABatchOfRevocationsThatFailsBeforeTheCommitRunsItsCallsAlone(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, words := range []string{"FROM %susers", "FROM %ssessions", "INTO %srevocations"} {
			s := newStage(t)
			if s.sqlite() && words == "FROM %susers" {
				continue // SQLite locks no user
			}
			broken := func() error { return errors.New("the disk is on fire") }
			fail := once(fmt.Sprintf(words, s.prefix), broken)
			errs := runBatch(t, s.spy, s.store, s.busySignOut(t), fail,
				signOut(s.store, claimsOf(s.session(t, "s-ada"))),
				signOut(s.store, claimsOf(s.session(t, "s-eve"))))
			require.NoError(t, errors.Join(errs...), words)
			require.Equal(t, 2, s.spy.count("COMMIT"), words)
			require.ElementsMatch(t, []string{"s-busy", "s-ada", "s-eve"}, s.named(t))
			s.requireGone(t, "s-ada", "s-eve")
		}
	})
}

func TestASessionThatABatchRevokesTwiceHasOneEntry(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		ada, old := claimsOf(s.session(t, "s-ada")), claimsOf(s.session(t, "s-old"))
		longer, foreign := ada, ada
		longer.ExpiresAt = ada.ExpiresAt.Add(time.Hour)
		foreign.UserID = "eve"
		none := auth.SessionClaims{UserID: "zoe", SessionID: "s-zoe", ExpiresAt: now.Add(time.Hour)}
		var calls []func() error
		for _, c := range []auth.SessionClaims{ada, old, ada, longer, ada, foreign, none, none} {
			calls = append(calls, signOut(s.store, c))
		}
		require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, s.busySignOut(t), nil, calls...)...))
		s.requireGone(t, "s-ada", "s-old")
		feed, err := s.store.ListRevocations(background, 1, 100)
		require.NoError(t, err)
		inForce := map[string]auth.Revocation{}
		for i, e := range feed {
			require.Equal(t, int64(i+1), e.Position)
			require.Less(t, e.Generation, e.Position)
			if !e.ExpiresAt.IsZero() {
				require.NotContains(t, inForce, e.UserID+" "+e.SessionID)
				inForce[e.UserID+" "+e.SessionID] = e
			}
		}
		require.Len(t, inForce, 5) // s-busy, s-ada, s-old, eve's claim to s-ada, s-zoe
		require.Equal(t, longer.ExpiresAt, inForce["ada s-ada"].ExpiresAt)
		head, err := s.store.RevocationHead(background)
		require.NoError(t, err)
		require.Equal(t, int64(len(feed)), head)
	})
}

func TestABatchThatExceedsTheNamedEntriesFoldsThem(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, free := range []int{0, 1, 2, 5} {
			s := newStage(t)
			busy := s.busySignOut(t)
			var calls []func() error
			s.nameMany(t)
			s.exec(t, fmt.Sprintf(`UPDATE $revocations SET expires_at = 0 WHERE position <= %d`, free))
			var ids []string
			for i := range 4 {
				session := s.open(t, newSession(fmt.Sprint("n-", i), "ada", "k-ada"))
				calls, ids = append(calls, signOut(s.store, claimsOf(session))), append(ids, session.ID)
			}
			require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, busy, nil, calls...)...))
			s.requireGone(t, ids...)
			feed, err := s.store.ListRevocations(background, 1, 3*storekit.MaxNamedRevocations)
			require.NoError(t, err)
			named, folds := 0, 0
			for i, e := range feed {
				require.Equal(t, int64(i+1), e.Position)
				switch {
				case e.UserID != "ada" || e.ExpiresAt.IsZero():
				case e.SessionID == "":
					folds++
				default:
					named++
				}
			}
			require.LessOrEqual(t, named, storekit.MaxNamedRevocations)
			require.Equal(t, free < 4, folds == 1, "%d folds", folds)
		}
	})
}

// RevokeEverybody commits after the batch has locked its sessions, and before it locks the head of
// the feed. The entries of the batch are then unnecessary.
func TestRevokeEverybodyDuringABatchMakesItsEntriesUnnecessary(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		calls, release := beginBatch(t, s.spy, s.store, s.busySignOut(t),
			once(s.prefix+"revocation_head SET", func() error {
				return s.store.RevokeEverybody(background, byHost, 0)
			}),
			signOut(s.store, claimsOf(s.session(t, "s-ada"))),
			signOut(s.store, claimsOf(s.session(t, "s-old"))))
		release()
		require.NoError(t, errors.Join(waitAll(t, calls)...))
		require.Equal(t, []string{"s-busy"}, s.named(t))
		feed, err := s.store.ListRevocations(background, 1, 100)
		require.NoError(t, err)
		require.Len(t, feed, 2)
		for _, table := range []string{
			"sessions WHERE id IN ('s-ada', 's-old')", "revocations WHERE user_id = 'ada'",
		} {
			var n int
			require.NoError(t, s.db.QueryRow(`SELECT COUNT(*) FROM `+s.prefix+table).Scan(&n))
			require.Zero(t, n, table)
		}
	})
}

// The batch of a lone call cannot add its entry. The call must then run alone, like a call of a larger
// batch.
func TestALoneRevocationSucceedsIfItsBatchCannotRevoke(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		foreign := claimsOf(s.session(t, "s-eve"))
		foreign.UserID = "ada"
		require.NoError(t, s.store.RevokeToken(background, foreign))
		require.Equal(t, []string{"s-eve"}, s.named(t))
		s.session(t, "s-eve")

		claims := claimsOf(s.session(t, "s-ada"))
		s.spy.watch(once(s.prefix+"revocation_head SET", func() error {
			return s.store.RevokeEverybody(background, byHost, 0)
		}))
		require.NoError(t, s.store.RevokeToken(background, claims))
		require.Equal(t, []string{"s-eve"}, s.named(t))
	})
}

// The records of sessions that RevokeEverybody or a fold has revoked can remain.
func TestABatchAddsNoEntryForASessionThatIsRevoked(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		insert := func(position int, user, session string, generation int) func(*testing.T, *stage) {
			return func(t *testing.T, s *stage) {
				s.exec(t, fmt.Sprintf(`INSERT INTO $revocations
					(position, id, user_id, session_id, generation, expires_at)
					VALUES (%d, 'r%[1]d', '%s', '%s', %d, %d)`,
					position, user, session, generation, now.Add(9*time.Hour).UnixMicro()))
				s.exec(t, fmt.Sprintf(`UPDATE $revocation_head SET position = %d`, position))
			}
		}
		for name, c := range map[string]struct {
			revoke func(*testing.T, *stage)
			others []string
		}{
			"everybody": {func(t *testing.T, s *stage) {
				require.NoError(t, s.store.RevokeEverybody(background, byHost, 0))
			}, nil},
			"one of two sessions": {insert(1, "ada", "s-ada", 0), []string{"s-old", "s-eve"}},
			"both sessions":       {insert(1, "ada", "", 1), []string{"s-eve"}},
			"a lone session":      {insert(1, "eve", "s-eve", 0), []string{"s-ada", "s-old"}},
			"a lone user":         {insert(1, "eve", "", 1), []string{"s-ada", "s-old"}},
			"another generation": {func(t *testing.T, s *stage) {
				insert(1, "ada", "", 1)(t, s)
				s.exec(t, `UPDATE $sessions SET generation = 1 WHERE id = 's-ada'`)
			}, []string{"s-eve"}},
		} {
			s := newStage(t)
			var calls []func() error
			for _, id := range []string{"s-ada", "s-old", "s-eve"} {
				calls = append(calls, signOut(s.store, claimsOf(s.session(t, id))))
			}
			c.revoke(t, s)
			first := s.named(t)
			require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, s.busySignOut(t), nil, calls...)...))
			require.ElementsMatch(t, slices.Concat(first, c.others, []string{"s-busy"}), s.named(t), name)
		}
	})
}

// A user who does not exist cannot be locked. Without the lock of the head, two transactions could each
// add an entry for one session.
func TestRevocationsOfAMissingUserLockTheHeadBeforeTheyReadTheEntries(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		read, free := false, false
		s.spy.watch(once("'')", func() error {
			read, free = true, s.isFree(t, "revocation_head WHERE id = 1")
			return nil
		}))
		none := auth.SessionClaims{UserID: "zoe", SessionID: "s-zoe", ExpiresAt: now.Add(time.Hour)}
		require.NoError(t, s.store.RevokeToken(background, none))
		require.True(t, read)
		require.False(t, free)
	})
}

func TestABatchOfRevocationsStoresWhatSingleRevocationsStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		foreign, shorter := claimsOf(s.session(t, "s-ada")), claimsOf(s.session(t, "s-old"))
		foreign.UserID = "eve"
		shorter.ExpiresAt = now
		require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, s.busySignOut(t), nil,
			signOut(s.store, shorter), signOut(s.store, foreign))...))
		s.session(t, "s-ada") // a claim of "eve" does not delete it
		require.ElementsMatch(t, []string{"s-busy", "s-old", "s-ada"}, s.named(t))
		feed, err := s.store.ListRevocations(background, 1, 9)
		require.NoError(t, err)
		for _, e := range feed {
			if e.SessionID == "s-old" {
				require.Equal(t, now.Add(time.Hour), e.ExpiresAt, "the end of the session")
			}
		}

		s = newStage(t)
		s.nameMany(t)
		require.NoError(t, signOut(s.store, claimsOf(s.session(t, "s-ada")))())
		head, err := s.store.RevocationHead(background)
		require.NoError(t, err)
		require.Equal(t, int64(storekit.MaxNamedRevocations+2), head, "the entry and its fold")
	})
}

// An entry for a user does not revoke the sessions that were added after it, with its Generation.
func TestARevocationThatRunsAloneAddsItsEntry(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		s.exec(t, fmt.Sprintf(`INSERT INTO $revocations (position, id, user_id, session_id, generation, expires_at)
			VALUES (1, 'r1', 'ada', '', 1, %d)`, now.Add(9*time.Hour).UnixMicro()))
		s.exec(t, `UPDATE $revocation_head SET position = 1`)
		claims := claimsOf(s.session(t, "s-ada"))
		claims.Generation, claims.ExpiresAt = 1, now // not those of the session
		require.NoError(t, s.store.RevokeToken(background, claims))
		feed, err := s.store.ListRevocations(background, 2, 9)
		require.NoError(t, err)
		require.Len(t, feed, 1)
		require.Equal(t, now.Add(time.Hour), feed[0].ExpiresAt, "the end of the session")
	})
}
