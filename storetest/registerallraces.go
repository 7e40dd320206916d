package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

func racingLists(t *testing.T, store auth.Store) {
	for range rounds(t) {
		list := make([]auth.UserWithKeys, 50)
		for i := range list {
			list[i] = newListed(2)
		}
		lists := make([][]auth.UserWithKeys, contenders)
		fields := make([][]string, contenders)
		for i := range lists {
			lists[i] = slices.Clone(list)
			if i%2 == 1 {
				slices.Reverse(lists[i])
			}
		}
		errs := race(contenders, func(i int) error {
			refusals, err := store.RegisterAll(t.Context(), lists[i])
			if err == nil && len(refusals) != len(list) {
				err = fmt.Errorf("%d errors for %d users", len(refusals), len(list))
			}
			fields[i] = make([]string, len(list))
			for j, refusal := range refusals {
				if refusal != nil {
					fields[i][j] = refusal.Error()
				}
			}
			return err
		})
		for i, err := range errs {
			require.NoError(t, err)
			if i%2 == 1 {
				slices.Reverse(fields[i])
			}
		}
		for j, listed := range list {
			requireListed(t, store, listed)
			winners := 0
			for i := range contenders {
				if fields[i][j] == "" {
					winners++
				}
			}
			require.Equal(t, 1, winners)
		}
	}
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
				refusals, err = store.RegisterAll(t.Context(), list)
				return err
			}
			return store.Register(t.Context(), singles[i].User, singles[i].Keys[1])
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
				_, err := store.DeleteUser(t.Context(), gone.User.ID)
				return err
			}
			refusals, err := store.RegisterAll(t.Context(), list)
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
