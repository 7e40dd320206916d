package sqlstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/sallyport-go/auth/storekit"
)

// A batch must not wait for the record of one user, because then all users would wait.
func TestALockedRecordDelaysOnlyTheCallsOfItsUser(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		for _, record := range []string{"users WHERE id = 'ada'", "access_keys WHERE id = 'k-ada'"} {
			s := on.stage(t)
			s.register(t, "bob")
			others := func(round string) []func() error {
				return []func() error{
					signIn(s.store, newSession("s-e"+round, "eve", "k-eve"), 0),
					signIn(s.store, newSession("s-b"+round, "bob", "k-bob"), 3),
				}
			}
			h := s.begin(t, 0)
			_, err := h.Exec(`SELECT id FROM ` + s.prefix + record + ` FOR UPDATE`)
			require.NoError(t, err)
			calls, release := beginBatch(t, s.spy, s.store, s.busySignIn(), nil,
				slices.Insert(others("1"), 0, signIn(s.store, newSession("s-a", "ada", "k-ada"), 0))...)
			release()
			require.NoError(t, errors.Join(waitAll(t, calls[1:])...))
			for _, do := range others("2") {
				require.NoError(t, begin(do).wait(t))
			}
			require.Empty(t, calls[0].err, "the record of the user is locked")
			require.NoError(t, h.Rollback())
			require.NoError(t, calls[0].wait(t))
			s.session(t, "s-a")
		}
	})
}

func TestATakenSessionIDFailsOnlyItsCall(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		errs := runBatch(t, s.spy, s.store, s.busySignIn(), nil,
			signIn(s.store, newSession("s-1", "ada", "k-ada"), 0),
			signIn(s.store, newSession("s-old", "eve", "k-eve"), 0), // the ID of a session of "ada"
			signIn(s.store, newSession("s-twice", "eve", "k-eve"), 0),
			signIn(s.store, newSession("s-twice", "ada", "k-ada"), 0))
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], auth.ErrExists)
		require.NotEqual(t, errors.Is(errs[2], auth.ErrExists), errors.Is(errs[3], auth.ErrExists))
		require.True(t, errs[2] == nil || errs[3] == nil)
		s.session(t, "s-1")
		require.Equal(t, "ada", s.session(t, "s-old").UserID)
	})
}

func TestABatchOfSignInsThatFailsBeforeTheCommitRunsItsCallsAlone(t *testing.T) {
	t.Parallel()
	broken := func() error { return errors.New("the disk is on fire") }
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, c := range []struct {
			words string
			fail  func() error
		}{
			{"FROM %susers", broken}, {"FROM %saccess_keys", broken}, {"INTO %ssessions", broken},
			{"INTO %ssessions", func() error { panic("oops") }},
		} {
			s := newStage(t)
			errs := runBatch(t, s.spy, s.store, s.busySignIn(), once(fmt.Sprintf(c.words, s.prefix), c.fail),
				signIn(s.store, newSession("s-1", "ada", "k-ada"), 0),
				signIn(s.store, newSession("s-2", "eve", "k-eve"), 0))
			require.NoError(t, errors.Join(errs...), c.words)
			require.Equal(t, 2, s.spy.count("COMMIT"), c.words)
			s.session(t, "s-1")
			s.session(t, "s-2")
		}
	})
}

func TestARefusalInABatchConcernsOnlyItsCall(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		s.register(t, "bob", "dan")
		old := newKey("k-expired", "eve")
		old.ExpiresAt = now
		require.NoError(t, s.store.AddKey(background, byHost, old))
		_, err := s.store.UpdateUser(background, byHost, "bob", auth.UserChange{IsActive: new(bool)})
		require.NoError(t, err)
		s.addKey(t, "k-narrow", "eve", auth.NewScopes("a"))
		cases := []struct {
			user, key string
			want      error
		}{
			{"bob", "k-bob", auth.ErrUserDisabled},
			{"eve", "k-none", auth.ErrNotFound},
			{"eve", "k-ada", auth.ErrNotFound},
			{"eve", "k-expired", auth.ErrNotFound},
			{"eve", "k-narrow", auth.ErrInsufficientScope},
			{"zoe", "k-ada", auth.ErrNotFound},
			{"ADA", "k-ada", auth.ErrNotFound},
			{"ada ", "k-ada", auth.ErrNotFound},
			{"ada", "K-ADA", auth.ErrNotFound},
			{"ada", "k-ada", nil},
			{"eve", "k-eve", nil},
			{"dan", "k-dan", nil},
		}
		var calls []func() error
		for i, c := range cases {
			session := newSession(fmt.Sprint("n-", i), c.user, c.key)
			session.Scopes = auth.NewScopes("a", "b")
			calls = append(calls, signIn(s.store, session, 5))
		}
		for i, err := range runBatch(t, s.spy, s.store, s.busySignIn(), nil, calls...) {
			require.ErrorIs(t, err, cases[i].want, "%v", cases[i])
			_, err := s.store.FindSession(background, fmt.Sprint("n-", i))
			require.Equal(t, cases[i].want == nil, err == nil, "%v", cases[i])
		}
	})
}

func (s *stage) addKey(t testing.TB, id, user string, scopes *auth.ScopeSet) {
	t.Helper()
	key := newKey(id, user)
	key.Scopes = scopes
	require.NoError(t, s.store.AddKey(background, byHost, key))
}

// oddScopes are sets of every kind, and sets with texts that could be mistaken for a part of a PostgreSQL
// array.
var oddScopes = []*auth.ScopeSet{nil, auth.NewScopes("a", "b"), auth.NewScopes(), nil, auth.NewScopes("NULL"),
	auth.NewScopes("null"), auth.NewScopes("{}"), auth.NewScopes("{a,b}", ",", "{", "}"), auth.NewScopes("'"),
	auth.NewScopes("$1", "?", "--", "/*"), auth.NewScopes("a"), auth.NewScopes(), nil}

// The sign-ins of a batch share their statements. A session must not get the scopes of another one. The
// calls are of several users, and then all of one user, whose calls run in batches of their own.
func TestEachSessionOfABatchHasTheScopesOfItsOwnKey(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for _, users := range [][]string{{"ada", "eve"}, {"eve"}} {
			s := newStage(t)
			got := make([]auth.Session, len(oddScopes))
			var calls []func() error
			for i, scopes := range oddScopes {
				user, key := users[i%len(users)], fmt.Sprint("k-", i)
				s.addKey(t, key, user, scopes)
				calls = append(calls, func() (err error) {
					session := newSession(fmt.Sprint("n-", i), user, key)
					got[i], _, err = s.store.CreateSession(background, session, 0)
					return err
				})
			}
			refused := newSession("n-refused", "eve", "k-1")
			refused.Scopes = auth.NewScopes("a", "c")
			calls = append(calls, signIn(s.store, refused, 0))
			errs := runBatch(t, s.spy, s.store, s.busySignIn(), nil, calls...)
			require.ErrorIs(t, errs[len(oddScopes)], auth.ErrInsufficientScope)
			require.NoError(t, errors.Join(errs[:len(oddScopes)]...))
			require.Equal(t, 1, s.spy.count("COMMIT"))
			for i, scopes := range oddScopes {
				require.Equal(t, scopes, got[i].Scopes)
				require.Equal(t, got[i], s.session(t, got[i].ID))
			}
			_, err := s.store.FindSession(background, refused.ID)
			require.ErrorIs(t, err, auth.ErrNotFound)
		}
	})
}

func TestABatchOfRefusalsDoesNotCommit(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		errs := runBatch(t, s.spy, s.store, s.busySignIn(), nil,
			signIn(s.store, newSession("n-1", "eve", "k-ada"), 0),
			signIn(s.store, newSession("n-2", "ada", "k-eve"), 0))
		for _, err := range errs {
			require.ErrorIs(t, err, auth.ErrNotFound)
		}
		require.Zero(t, s.spy.count("COMMIT"))
	})
}

func TestTheLimitOfSessionsHoldsInABatch(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		for limit := 1; limit <= 7; limit++ { // "ada" has two sessions
			s := newStage(t)
			var calls []func() error
			for i := range 4 {
				session := newSession(fmt.Sprint("n-", i), "ada", "k-ada")
				session.CreatedAt = now.Add(time.Duration(i+1) * time.Second)
				calls = append(calls, signIn(s.store, session, limit))
			}
			require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, s.busySignIn(), nil, calls...)...))
			live, err := s.store.ListSessions(background, "ada", now)
			require.NoError(t, err)
			require.Len(t, live, min(limit, 6))
			named := s.named(t)
			require.Len(t, named, max(6-limit, 0))
			s.requireGone(t, named...)
		}
	})
}

func TestABatchOfSignInsStoresWhatSingleSignInsStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		head, err := s.store.RevocationHead(background)
		require.NoError(t, err)
		require.NoError(t, s.store.RevokeSession(background, byHost, "s-ada"))
		sessions := []auth.Session{newSession("n-0", "ada", "k-old"), newSession("n-1", "ada", "k-old"),
			newSession("n-2", "eve", "k-eve")}
		for i := range sessions {
			sessions[i].CreatedAt = now.Add(time.Duration(i+1)*storekit.KeyUsePrecision + 123*time.Nanosecond)
			sessions[i].ExpiresAt = sessions[i].CreatedAt.Add(24 * time.Hour)
		}
		got, users := make([]auth.Session, 3), make([]auth.User, 3)
		var calls []func() error
		for i, session := range sessions {
			calls = append(calls, func() (err error) {
				got[i], users[i], err = s.store.CreateSession(background, session, 10)
				return err
			})
		}
		require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, s.busySignIn(), nil, calls...)...))
		require.Equal(t, 1, s.spy.count("COMMIT"))
		for i, session := range sessions {
			require.Equal(t, head+1, got[i].Generation)
			require.Equal(t, session.CreatedAt.Truncate(time.Microsecond), got[i].CreatedAt)
			require.Equal(t, got[i], s.session(t, session.ID))
			require.Equal(t, got[i].CreatedAt, users[i].LastLogin)
		}
		require.Equal(t, now.Add(2*time.Hour), got[1].ExpiresAt, "the end of the key")
		require.Equal(t, sessions[2].ExpiresAt.Truncate(time.Microsecond), got[2].ExpiresAt)
		for id, last := range map[string]time.Time{
			"k-old": got[1].CreatedAt, "k-eve": got[2].CreatedAt, "k-ada": now,
		} {
			key, user, err := s.store.FindKey(background, id)
			require.NoError(t, err)
			require.Equal(t, last, key.LastUsedAt, id)
			if id != "k-ada" {
				require.Equal(t, last, user.LastLogin)
			}
		}
	})
}

// The clocks of the callers differ. Each call counts the sessions and the uses at its own time.
func TestTheSignInsOfABatchHaveTheirOwnTimes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		s.register(t, "bob")
		used := now.Add(storekit.KeyUsePrecision)
		at := func(id, user string, at time.Time, limit int) func() error {
			session := newSession(id, user, "k-"+user)
			session.CreatedAt, session.ExpiresAt = at, at.Add(time.Hour)
			return signIn(s.store, session, limit)
		}
		require.NoError(t, errors.Join(runBatch(t, s.spy, s.store, s.busySignIn(), nil,
			at("n-0", "eve", used, 0), at("n-1", "eve", used.Add(time.Microsecond), 0),
			at("n-2", "bob", now.Add(30*time.Hour), 9), // no session of "ada" is live at this time
			at("n-3", "ada", now, 2),
		)...))
		key, _, err := s.store.FindKey(background, "k-eve")
		require.NoError(t, err)
		require.Equal(t, used, key.LastUsedAt, "the second use is too close to the first one")
		live, err := s.store.ListSessions(background, "ada", now)
		require.NoError(t, err)
		require.Len(t, live, 2)
	})
}

// The texts could be mistaken for a part of a PostgreSQL array.
var oddTexts = []string{
	`a"b`, `a\b`, `a\"b\\`, `a,b`, `{a,b}`, `{`, `}`, `NULL`, `null`, `'`, `''`, `a' OR '1'='1`,
	` a`, `a `, `  `, "\u00a0a", `é`, `日本語`, `🐘`, `\N`, `\x41`, `$1`, `?`, `%s`, `--`, `/*`, `"`, `""`, `\`, `{}`, `,`,
}

func TestOddTextsSurviveABatch(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, on *server) {
		stores, last := twoStores(t, on, sqlstore.OpenAccounts)
		store := stores[1]
		s := last.spy
		var calls []func() error
		var want []auth.Session
		add := func(session auth.Session) error {
			if err := session.Validate(); err != nil {
				return err
			}
			return store.AddKey(background, byHost, newKey(session.AccessKeyID, session.UserID))
		}
		busy := newSession("s-busy", "busy", "k-busy")
		require.NoError(t, add(busy))
		refused := 0
		for i, text := range oddTexts {
			session := newSession(text, text, text)
			session.UserAgent, session.Address = text, text
			if err := add(session); err != nil {
				require.ErrorIs(t, err, auth.ErrInvalid, "%q", text)
				refused++
				session = newSession(fmt.Sprint("s-", i), fmt.Sprint("u-", i), fmt.Sprint("k-", i))
				session.UserAgent = text
				if session.Validate() != nil {
					continue
				}
				require.NoError(t, add(session))
			}
			want = append(want, session)
			calls = append(calls, signIn(store, session, 9))
		}
		require.Less(t, refused, len(oddTexts)/4)
		require.NoError(t, errors.Join(runBatch(t, s, store, signIn(store, busy, 0), nil, calls...)...))
		require.Equal(t, 1, s.count("COMMIT"))
		calls = nil
		for _, session := range want {
			got, err := store.FindSession(background, session.ID)
			require.NoError(t, err, "%q", session.ID)
			require.Equal(t, session, got)
			calls = append(calls, signOut(store, claimsOf(got)))
		}
		require.NoError(t, errors.Join(runBatch(t, s, store, signOut(store, claimsOf(busy)), nil,
			calls...)...))
		require.Equal(t, 1, s.count("COMMIT"))
		feed, err := store.ListRevocations(background, 2, 100)
		require.NoError(t, err)
		require.Len(t, feed, len(want))
		for _, session := range want {
			require.True(t, slices.ContainsFunc(feed, func(e auth.Revocation) bool {
				return e.SessionID == session.ID && e.UserID == session.UserID &&
					e.ExpiresAt.Equal(session.ExpiresAt)
			}), "%q", session.ID)
		}
	})
}
