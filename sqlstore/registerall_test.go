package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/sqlstore"
)

// people returns n users with one key each. The prefix is the beginning of their IDs. Usernames and
// keys are the same for each prefix.
func people(n int, prefix string) []auth.UserWithKeys {
	list := make([]auth.UserWithKeys, n)
	for i := range list {
		user := newUser(fmt.Sprintf("%03d", i))
		user.ID = prefix + user.ID
		list[i] = auth.UserWithKeys{User: user,
			Keys: []auth.AccessKey{newKey(fmt.Sprintf("k-%03d", i), user.ID)}}
	}
	return list
}

// rivals returns two stores on the same tables. The spy sees only the statements of the store
// spied.
func rivals(t *testing.T, on *server) (spied, other *sqlstore.Store, s *spy) {
	s = &spy{}
	db, cfg := on.open(t, s, 2), on.config()
	spied, err := sqlstore.Open(context.Background(), db, cfg)
	require.NoError(t, err)
	other, err = sqlstore.Open(context.Background(), on.open(t, nil, 2), cfg)
	require.NoError(t, err)
	return spied, other, s
}

func TestTakingNamesOneByOneCannotBlockRegisterUsers(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		const from, to = 50, 90
		spied, other, s := rivals(t, on)
		list, taking := people(100, "listed-"), people(to, "taking-")
		next, firstAdded := from, 0
		s.watch(func(ctx context.Context, statement string) error {
			switch {
			case strings.HasPrefix(statement, "RELEASE") && firstAdded == 0:
				firstAdded = next
			case strings.HasPrefix(statement, "SAVEPOINT") && next < to:
				// This runs after the store has queried the taken values, and before it inserts the
				// users.
				one := taking[next].User
				next++
				return other.Register(ctx, byHost, one, newKey("k-"+one.ID, one.ID))
			}
			return nil
		})
		refusals, err := spied.RegisterUsers(t.Context(), byHost, list)
		require.NoError(t, err)
		require.Equal(t, s.count("SAVEPOINT"), s.count("RELEASE"), "savepoints must not be nested")
		require.LessOrEqual(t, firstAdded, from+3,
			"the other users must not wait for those whose names are being taken")
		for i, refusal := range refusals {
			owner := list[i].User
			if from <= i && i < next {
				require.Equal(t, &auth.ExistsError{Field: "username"}, refusal)
				owner = taking[i].User
			} else {
				require.NoError(t, refusal)
			}
			found, err := other.FindUser(t.Context(), owner.ID)
			require.NoError(t, err)
			require.Equal(t, owner, found)
		}
	})
}

// question is the beginning of the query that looks up taken values.
const question = "SELECT 'user_id'"

func TestUserAddedDuringRegisterUsersIsRecognizedAsSame(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		for before := 1; before <= 2; before++ { // at the first or second such query
			spied, other, s := rivals(t, on)
			list, same := people(150, "listed-"), people(150, "same-")
			// Each of these two users has some of the values of a user in the list same, but not
			// all.
			strangers := people(2, "stranger-")
			strangers[0].User.Username, strangers[0].Keys[0].ID = list[120].User.Username, "k-other"
			strangers[1].User.Username, strangers[1].User.Email = "somebody", ""
			strangers[1].Keys[0].ID = list[130].Keys[0].ID
			list = append(list, strangers...)
			// The store queries taken values only after an insertion has failed, so one value must
			// be taken.
			require.NoError(t, other.Register(t.Context(), byHost, same[0].User, same[0].Keys[0]))
			asked := 0
			s.watch(func(ctx context.Context, statement string) error {
				if !strings.HasPrefix(statement, question) {
					return nil
				}
				if asked++; asked != before {
					return nil
				}
				_, err := other.RegisterUsers(ctx, byHost, same[1:])
				return err
			})
			refusals, err := spied.RegisterUsers(t.Context(), byHost, list)
			require.NoError(t, err)
			require.GreaterOrEqual(t, asked, before)
			for i, refusal := range refusals[:150] {
				require.Equal(t, &auth.ExistsError{Field: "username", SameUserID: same[i].User.ID},
					refusal)
			}
			require.Equal(t, &auth.ExistsError{Field: "username"}, refusals[150])
			require.Equal(t, &auth.ExistsError{Field: "access_key"}, refusals[151])
		}
	})
}

func TestCanceledRegisterUsersStopsAsking(t *testing.T) {
	t.Parallel()
	store, _, s := spiedStore(t)
	list := people(2000, "listed-")
	_, err := store.RegisterUsers(t.Context(), byHost, list[:1])
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	s.watch(func(_ context.Context, statement string) error {
		if strings.HasPrefix(statement, question) {
			asked++
			cancel()
		}
		return nil
	})
	_, err = store.RegisterUsers(ctx, byHost, list)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, asked)
}

func TestCanceledRegisterUsersStopsInserting(t *testing.T) {
	t.Parallel()
	store, _, s := spiedStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.watch(func(_ context.Context, statement string) error {
		if strings.HasPrefix(statement, "INSERT") {
			cancel()
		}
		return nil
	})
	_, err := store.RegisterUsers(ctx, byHost, people(500, "listed-"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, s.count("INSERT"))
	require.Equal(t, s.count("PREPARE"), s.closedStmts)
}

func TestRegisterUsersClosesPreparedStatements(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		_, err := s.store.RegisterUsers(t.Context(), byHost, people(30, "listed-"))
		require.NoError(t, err)
		s.spy.watch(nil)
		_, err = s.store.RegisterUsers(t.Context(), byHost, people(700, "again-"))
		require.NoError(t, err)
		require.Greater(t, s.spy.count("PREPARE"), 2)
		require.Equal(t, s.spy.count("PREPARE"), s.spy.closedStmts)
	})
}

func TestRegisterUsersGivesUpIfFreeValuesAreAlwaysTaken(t *testing.T) {
	t.Parallel()
	store, db, _ := spiedStore(t)
	_, err := db.Exec(`CREATE TRIGGER refuse BEFORE INSERT ON auth_access_keys WHEN NEW.id = 'k-003'
		BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed'); END`)
	require.NoError(t, err)
	list := people(10, "listed-")
	_, err = store.RegisterUsers(t.Context(), byHost, list)
	require.ErrorContains(t, err, "free before each insertion and taken during it")
	require.NotErrorIs(t, err, auth.ErrExists)
	_, err = store.FindUser(t.Context(), list[0].User.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)
}

// The users of a list may share values with each other and with existing users. RegisterUsers must
// return the same as the in-memory store, which adds one user after the other.
func TestRegisterUsersAnswersLikeSequentialRegistration(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		store := newStage(t).store
		for round := range rounds(t) {
			model := memstore.New()
			prefix := fmt.Sprintf("r%d-", round)
			of := func(what string) string { return prefix + what + strconv.Itoa(mathrand.IntN(12)) }
			for range 4 {
				list := make([]auth.UserWithKeys, 1+mathrand.IntN(15))
				for i := range list {
					user := newUser(of("id"))
					user.Username, user.Email = anyCase(of("name")), anyCase(of("mail")+"@example.com")
					if mathrand.IntN(2) == 0 {
						user.Email = ""
					}
					list[i].User = user
					for range 1 + mathrand.IntN(3) {
						list[i].Keys = append(list[i].Keys, newKey(of("key"), user.ID))
					}
				}
				want, err := model.RegisterUsers(t.Context(), byHost, list)
				require.NoError(t, err)
				got, err := store.RegisterUsers(t.Context(), byHost, list)
				require.NoError(t, err)
				for i := range list {
					require.Equal(t, existsOf(want[i]), existsOf(got[i]), "%d of %+v", i, list)
				}
				// Delete a user. The username can then never be used again, but the other values
				// can.
				gone := of("id")
				_, err = model.DeleteUser(t.Context(), byHost, gone)
				_, err2 := store.DeleteUser(t.Context(), byHost, gone)
				require.Equal(t, err == nil, err2 == nil)
			}
			for i := range 12 {
				key := fmt.Sprintf("%skey%d", prefix, i)
				want, owner, err := model.FindKey(t.Context(), key)
				got, gotOwner, err2 := store.FindKey(t.Context(), key)
				require.Equal(t, err == nil, err2 == nil)
				require.Equal(t, want, got)
				require.Equal(t, owner, gotOwner)
			}
		}
	})
}

func anyCase(text string) string {
	if mathrand.IntN(2) == 0 {
		return strings.ToUpper(text)
	}
	return text
}

// existsOf returns the [auth.ExistsError] in err, or the zero value if there is none.
func existsOf(err error) (exists auth.ExistsError) {
	if found, ok := errors.AsType[*auth.ExistsError](err); ok {
		exists = *found
	}
	return exists
}
