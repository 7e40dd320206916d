package sqlstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// people returns users with a key each, whose IDs begin with the prefix and who are the
// same otherwise.
func people(n int, prefix string) []auth.UserWithKeys {
	list := make([]auth.UserWithKeys, n)
	for i := range list {
		user := newUser(fmt.Sprintf("%03d", i))
		user.ID = prefix + user.ID
		list[i] = auth.UserWithKeys{User: user, Keys: []auth.AccessKey{newKey(fmt.Sprintf("k-%03d", i), user.ID)}}
	}
	return list
}

// rivals returns two stores over the same tables, of which the spy sees the first alone.
func rivals(t *testing.T, on *server) (spied, other *sqlstore.Store, s *spy) {
	s = &spy{}
	db, cfg := on.open(t, s, 2), on.config()
	spied, err := sqlstore.Open(context.Background(), db, cfg)
	require.NoError(t, err)
	other, err = sqlstore.Open(context.Background(), on.open(t, nil, 2), cfg)
	require.NoError(t, err)
	return spied, other, s
}

func TestNobodyKeepsAListFromBeingRegisteredByTakingItsNamesOneByOne(t *testing.T) {
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
				// After everybody was asked about, and before anybody is added.
				one := taking[next].User
				next++
				return other.Register(ctx, one, newKey("k-"+one.ID, one.ID))
			}
			return nil
		})
		refusals, err := spied.RegisterAll(t.Context(), list)
		require.NoError(t, err)
		require.LessOrEqual(t, firstAdded, from+3, "they are tried again without those whose names are being taken")
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

func TestWhoIsRegisteredBetweenTwoQuestionsIsTheSame(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		spied, other, s := rivals(t, on)
		list, same := people(10, "listed-"), people(10, "same-")
		require.NoError(t, other.Register(t.Context(), same[0].User, same[0].Keys[0])) // or nothing is asked
		once := false
		s.watch(func(ctx context.Context, statement string) error {
			if once || !strings.HasPrefix(statement, "SELECT id, user_id") {
				return nil
			}
			once = true
			_, err := other.RegisterAll(ctx, same[1:])
			return err
		})
		refusals, err := spied.RegisterAll(t.Context(), list)
		require.NoError(t, err)
		require.True(t, once)
		for i, refusal := range refusals {
			require.Equal(t, &auth.ExistsError{Field: "username", SameUserID: same[i].User.ID}, refusal)
		}
	})
}

func TestAListIsAskedAboutNoFurtherOnceItIsGivenUp(t *testing.T) {
	t.Parallel()
	store, _, s := spiedStore(t)
	list := people(2000, "listed-")
	_, err := store.RegisterAll(t.Context(), list[:1])
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	s.watch(func(_ context.Context, statement string) error {
		if strings.HasPrefix(statement, "SELECT id, id") {
			asked++
			cancel()
		}
		return nil
	})
	_, err = store.RegisterAll(ctx, list)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, asked)
}

func TestADatabaseThatFindsFreeNamesTakenEndsTheRegistration(t *testing.T) {
	t.Parallel()
	store, db, _ := spiedStore(t)
	_, err := db.Exec(`CREATE TRIGGER refuse BEFORE INSERT ON auth_access_keys WHEN NEW.id = 'k-003'
		BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed'); END`)
	require.NoError(t, err)
	list := people(10, "listed-")
	_, err = store.RegisterAll(t.Context(), list)
	require.ErrorContains(t, err, "free, and taken when it is added")
	require.NotErrorIs(t, err, auth.ErrExists)
	_, err = store.FindUser(t.Context(), list[0].User.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)
}
