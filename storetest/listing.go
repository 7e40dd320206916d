package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var listPromises = []promise[auth.Store]{
	{"users are listed in the byte order of their IDs", listedInOrder},
	{"users are listed with their current records", listedAsTheyAre},
	{"a page is no longer than the limit", listedToLimit},
	{"a list continues after an ID that no user has", listedAfterNobody},
	{"listing after an ID that cannot be stored returns a page or ErrNotFound", listedAfterImpossible},
	{"a user who exists throughout is listed exactly once while others come and go", listedWhileChanging},
}

var listAllPromises = []promise[auth.Store]{
	{"a list of all users is complete, and ends", listedToTheEnd},
}

// inOrder contains suffixes for user IDs, in the order of their bytes. This order differs from the
// alphabetical order of every language, and from the order of the UTF-16 code units.
var inOrder = []string{
	" ", "!", "-", "0", "10", "9", "A", "A ", "A!", "AA", "B", "Z", "_", "a", "aa", "b", "z", "~",
	"Å", "ß", "é", "漢", "\ue000", "\uff5e", "\U0001f986", "\U0010ffff",
}

// registerAll registers one user for each suffix in the parameter ends. The ID of a user is the
// prefix followed by the suffix. registerAll returns the users in the order of their suffixes.
func registerAll(t *testing.T, store auth.Store, prefix string, ends []string) []auth.User {
	t.Helper()
	users := make([]auth.User, len(ends))
	for i, n := range shuffled(len(ends)) {
		user := newUser()
		user.ID = prefix + ends[n]
		users[n], _ = register(t, store, user)
		if i%2 == 0 { // in some stores, an update moves the record
			users[n] = changed(user, disable)
			update(t, store, user.ID, disable)
		}
	}
	return users
}

// shuffled returns 0 to n-1 in an order that is neither ascending nor descending.
func shuffled(n int) []int {
	order := make([]int, 0, n)
	for i := range n {
		order = slices.Insert(order, len(order)/2, i)
	}
	return order
}

func list(t *testing.T, store auth.Store, after string, limit int) []auth.User {
	t.Helper()
	page, err := store.ListUsers(t.Context(), auth.UserQuery{After: after, Limit: limit})
	require.NoError(t, err)
	return page
}

func idsOf(users []auth.User) []string {
	ids := make([]string, len(users))
	for i, user := range users {
		ids[i] = user.ID
	}
	return ids
}

func listedInOrder(t *testing.T, store auth.Store) {
	prefix := unique("list")
	users := registerAll(t, store, prefix, inOrder)
	require.Equal(t, idsOf(users), idsOf(list(t, store, prefix, len(users))))
	for i, user := range users[1:] { // each page begins after the previous user
		require.Equal(t, user.ID, list(t, store, users[i].ID, 1)[0].ID)
	}
}

func listedAsTheyAre(t *testing.T, store auth.Store) {
	prefix := unique("list")
	want := usersOfEveryKind()
	for i := range want {
		want[i].ID = fmt.Sprint(prefix, i)
		want[i].LastLogin, want[i].AdmittedAt = now, now
		register(t, store, want[i])
	}
	none := newUser()
	none.ID, none.Email = prefix+"none", ""
	register(t, store, none)
	want = append(want, none)
	require.Equal(t, want, list(t, store, prefix, len(want)))
}

func listedToLimit(t *testing.T, store auth.Store) {
	prefix := unique("list")
	users := registerAll(t, store, prefix, inOrder)
	for _, limit := range []int{0, -1, math.MinInt} {
		require.Empty(t, list(t, store, prefix, limit))
		require.Empty(t, list(t, store, "", limit))
	}
	for _, limit := range []int{1, 2, 3, len(users)} {
		require.Equal(t, users[:limit], list(t, store, prefix, limit))
		require.Equal(t, users[1:][:min(limit, len(users)-1)],
			list(t, store, users[0].ID, limit)[:min(limit, len(users)-1)])
	}
}

func listedAfterNobody(t *testing.T, store auth.Store) {
	prefix := unique("list")
	users := registerAll(t, store, prefix, []string{"B", "b", "é"})
	for after, want := range map[string]string{
		"A": "B", "": "B", "B": "b", "B ": "b", "BB": "b", "a": "b", "b\u00a0": "é", "z": "é", "e\u0301": "é",
	} {
		require.Equal(t, prefix+want, list(t, store, prefix+after, 1)[0].ID, "after %q", after)
	}
	deleteUser(t, store, users[1].ID)
	require.Equal(t, users[2], list(t, store, users[1].ID, 1)[0], "after a deleted user")
	require.Equal(t, []auth.User{users[0], users[2]}, list(t, store, prefix, 2))
}

// listedAfterImpossible lists the users after an ID that no user can have. A store may return either
// a page of users or ErrNotFound.
func listedAfterImpossible(t *testing.T, store auth.Store) {
	for _, after := range []string{"\x00", "a\x00", "\xff", "\xed\xa0\x80", "a\n",
		fill("", "x", 10_000)} {
		_, err := store.ListUsers(t.Context(), auth.UserQuery{After: after, Limit: 1})
		require.Truef(t, err == nil || errors.Is(err, auth.ErrNotFound), "%.80q: %v", after, err)
	}
}

// listedWhileChanging lists users page by page, while other calls register and delete other users.
// The IDs of those other users sort before, between and after the IDs of the users who stay.
func listedWhileChanging(t *testing.T, store auth.Store) {
	prefix := unique("list")
	var ends []string
	for i := range 20 {
		ends = append(ends, fmt.Sprintf("%02d", i))
	}
	stay := idsOf(registerAll(t, store, prefix, ends))
	var over atomic.Bool
	errs := race(contenders/2, func(i int) error {
		if i > 0 {
			return comeAndGo(t.Context(), store, prefix, &over)
		}
		defer over.Store(true)
		for range rounds(t) {
			if err := walk(t.Context(), store, prefix, stay); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(errs...))
}

// comeAndGo registers users whose IDs begin with the prefix, and deletes each of them again. It
// stops when the parameter over becomes true.
func comeAndGo(ctx context.Context, store auth.Store, prefix string, over *atomic.Bool) error {
	for i := 0; !over.Load(); i++ {
		user := newUser()
		user.ID = fmt.Sprintf("%s%02d-%s", prefix, i%21, unique(""))
		if err := store.Register(ctx, byHost(now), user, newKey(user)); err != nil {
			return err
		}
		if _, err := store.DeleteUser(ctx, byHost(now), user.ID); err != nil {
			return err
		}
	}
	return nil
}

// walk lists the users whose IDs begin with the prefix, page by page. It returns an error unless
// the users are in order and each ID in the parameter stay is listed exactly once.
func walk(ctx context.Context, store auth.Store, prefix string, stay []string) error {
	const limit = 3
	var met []string
	for after := prefix; ; {
		page, err := store.ListUsers(ctx, auth.UserQuery{After: after, Limit: limit})
		if err != nil {
			return err
		}
		for _, user := range page {
			if user.ID <= after {
				return fmt.Errorf("%s comes after %s", user.ID, after)
			}
			after = user.ID
			if slices.Contains(stay, user.ID) {
				met = append(met, user.ID)
			}
		}
		if len(page) < limit || !strings.HasPrefix(after, prefix) {
			break
		}
	}
	if !slices.Equal(stay, met) {
		return fmt.Errorf("found %d of %d users: %v", len(met), len(stay), met)
	}
	return nil
}

func listedToTheEnd(t *testing.T, store auth.Store) {
	for _, after := range []string{"", "a", "\U0010ffff"} {
		for _, limit := range []int{-1, 0, 1, math.MaxInt} {
			require.Empty(t, list(t, store, after, limit))
		}
	}
	users := registerAll(t, store, "", inOrder[1:]) // no ID begins with a space
	for _, limit := range []int{len(users), len(users) + 1, math.MaxInt32, math.MaxInt} {
		require.Equal(t, users, list(t, store, "", limit))
		require.Equal(t, users[1:], list(t, store, users[0].ID, limit))
		require.Empty(t, list(t, store, users[len(users)-1].ID, limit))
	}
	for _, user := range users {
		deleteUser(t, store, user.ID)
	}
	require.Empty(t, list(t, store, "", math.MaxInt))
}
