package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// racingLists registers the same people with several lists at the same time, as if an import had
// been started twice. Each list contains some of the people in random order. The lists are split
// into calls of different lengths.
func racingLists(t *testing.T, store auth.Store) {
	for range rounds(t) {
		people := make([]auth.UserWithKeys, 50)
		for i := range people {
			people[i] = newListed(2)
		}
		lists, refusals := make([][]auth.UserWithKeys, contenders), make([][]error, contenders)
		for i := range lists {
			lists[i] = someOf(people)
		}
		errs := race(contenders, func(i int) error {
			for some := range slices.Chunk(lists[i], 5+5*i) {
				found, err := store.RegisterUsers(t.Context(), byHost(now), some)
				if err != nil || len(found) != len(some) {
					return fmt.Errorf("%d errors for %d users: %w", len(found), len(some), err)
				}
				refusals[i] = append(refusals[i], found...)
			}
			return nil
		})
		winners := map[string]auth.UserWithKeys{}
		for i, err := range errs {
			require.NoError(t, err)
			for j, listed := range lists[i] {
				if refusals[i][j] == nil {
					require.NotContains(t, winners, listed.User.Username)
					winners[listed.User.Username] = listed
				}
			}
		}
		for _, winner := range winners {
			requireListed(t, store, winner)
		}
		for i, list := range lists {
			for j, listed := range list {
				if refusals[i][j] == nil {
					continue
				}
				var exists *auth.ExistsError
				require.ErrorAs(t, refusals[i][j], &exists)
				winner := winners[listed.User.Username].User.ID
				require.Equal(t, auth.ExistsError{Field: "username", SameUserID: winner}, *exists)
				requireNoUser(t, store, listed.User.ID)
			}
		}
	}
}

// someOf returns some of the people in random order. Each of them gets a new user ID.
func someOf(people []auth.UserWithKeys) []auth.UserWithKeys {
	some := make([]auth.UserWithKeys, len(people)/3+rand.IntN(len(people)/2))
	for i, at := range rand.Perm(len(people))[:len(some)] {
		some[i] = auth.UserWithKeys{User: people[at].User, Keys: slices.Clone(people[at].Keys)}
		some[i].User.ID = unique("u")
		for j := range some[i].Keys {
			some[i].Keys[j].UserID = some[i].User.ID
		}
	}
	return some
}

func listRacingRegistrations(t *testing.T, store auth.Store) {
	for range rounds(t) {
		list, singles := make([]auth.UserWithKeys, contenders), make([]auth.UserWithKeys, contenders)
		for i := range list {
			list[i] = newListed(2)
			singles[i] = wanting(wants[i%len(wants)].field, list[i])
		}
		var refusals []error
		errs := race(contenders+1, func(i int) (err error) {
			if i == contenders {
				refusals, err = store.RegisterUsers(t.Context(), byHost(now), list)
				return err
			}
			return store.Register(t.Context(), byHost(now), singles[i].User, singles[i].Keys[1])
		})
		require.NoError(t, errs[contenders])
		for i, field := range fieldsOf(t, refusals) {
			single := auth.UserWithKeys{User: singles[i].User, Keys: singles[i].Keys[1:2]}
			if field == "" {
				require.ErrorIs(t, errs[i], auth.ErrExists)
				requireListed(t, store, list[i])
				continue
			}
			require.Equal(t, wants[i%len(wants)].field, field)
			require.NoError(t, errs[i])
			requireListed(t, store, single)
			requireNoKey(t, store, list[i].Keys[0].ID)
		}
	}
}

func listRacingDeletion(t *testing.T, store auth.Store) {
	for range rounds(t) {
		gone, again := newListed(1), newListed(1)
		registerList(t, store, gone)
		again.User.Username = gone.User.Username
		list := []auth.UserWithKeys{newListed(1), again, newListed(1)}
		errs := race(2, func(i int) error {
			if i == 0 {
				_, err := store.DeleteUser(t.Context(), byHost(now), gone.User.ID)
				return err
			}
			refusals, err := store.RegisterUsers(t.Context(), byHost(now), list)
			if err == nil && (refusals[0] != nil || refusals[1] == nil || refusals[2] != nil) {
				err = fmt.Errorf("registered: %v", refusals)
			}
			return err
		})
		require.NoError(t, errs[0])
		require.NoError(t, errs[1])
		requireNotListed(t, store, again)
	}
}
