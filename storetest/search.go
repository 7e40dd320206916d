package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

var searchPromises = []promise[auth.Store]{
	{"a search finds the names that begin with the text, without regard to ASCII case", foundByName},
	{"no character of a search has a special meaning", foundLiterally},
	{"a search lists usernames before e-mails, each user once, on pages of any size", foundInOrder},
	{"users are listed and found by their kind and state", foundByKindAndState},
	{"a search finds the names of today", foundByCurrentNames},
	{"a search with the last characters of Unicode ends", foundAtTheEnd},
	{"a query that is not valid is refused", invalidQueries},
	{"a user who exists throughout is found exactly once while others come and go", foundWhileChanging},
}

// found returns all users that the query selects, read in pages of the given size.
func found(ctx context.Context, store auth.UserStore, query auth.UserQuery, size int) ([]auth.User, error) {
	var users []auth.User
	for query.Limit = size; ; {
		page, err := store.ListUsers(ctx, query)
		users = append(users, page...)
		if err != nil || len(page) < size {
			return users, err
		}
		next := query.Position(page[size-1])
		if next <= query.After {
			return users, fmt.Errorf("the page after %q ends with %q", query.After, next)
		}
		query.After = next
	}
}

// requireFound requires that the query selects these users, whatever the size of a page is.
func requireFound(t *testing.T, store auth.Store, query auth.UserQuery, want ...auth.User) {
	t.Helper()
	for _, size := range []int{1, 2, 3, len(want) + 1, 1000} {
		users, err := found(t.Context(), store, query, size)
		require.NoError(t, err)
		require.Equal(t, idsOf(want), idsOf(users), "search %q, pages of %d", query.Search, size)
		require.True(t, slices.Equal(want, users))
	}
	for _, limit := range []int{0, -1} {
		query.Limit = limit
		page, err := store.ListUsers(t.Context(), query)
		require.NoError(t, err)
		require.Empty(t, page)
	}
}

// registerNamed registers a user with these names.
func registerNamed(t *testing.T, store auth.Store, username, email string) auth.User {
	t.Helper()
	user := newUser()
	user.Username, user.Email = username, email
	register(t, store, user)
	return user
}

func foundByName(t *testing.T, store auth.Store) {
	text := unique("Search")
	one := registerNamed(t, store, text+"One", "")
	email := registerNamed(t, store, unique("name"), strings.ToUpper(text)+"@example.com")
	accent := registerNamed(t, store, text+"É", "")
	for _, user := range []auth.User{newUser(), newUser()} {
		user.Username = "x" + text + user.Username // in the middle of a name
		user.Email = user.ID + text + "@example.com"
		register(t, store, user)
	}
	for _, search := range []string{text, strings.ToUpper(text), strings.ToLower(text)} {
		requireFound(t, store, auth.UserQuery{Search: search}, one, accent, email)
		requireFound(t, store, auth.UserQuery{Search: search + "ONE"}, one)
		requireFound(t, store, auth.UserQuery{Search: search + "@EXAMPLE.com"}, email)
		requireFound(t, store, auth.UserQuery{Search: search + "É"}, accent)
		for _, other := range []string{"One ", "e\u0301", "é", "One@", "@example.com ", "z"} {
			requireFound(t, store, auth.UserQuery{Search: search + other})
		}
	}
	requireFound(t, store, auth.UserQuery{Search: fill(text, "x", 254)})
}

func foundLiterally(t *testing.T, store auth.Store) {
	text := unique("literal")
	registerNamed(t, store, text+"abc", text+"abc@example.com")
	for _, special := range []string{
		"%", "_", "\\", "\\%", "*", "?", "[", "[a-c]", "'", "\"", ".*", "^", "!", "' OR 'a",
	} {
		requireFound(t, store, auth.UserQuery{Search: text + special})
		user := registerNamed(t, store, text+special+"x", "")
		requireFound(t, store, auth.UserQuery{Search: text + special}, user)
		deleteUser(t, store, user.ID)
	}
	requireFound(t, store, auth.UserQuery{Search: "%" + text})
	requireFound(t, store, auth.UserQuery{Search: "_" + text[1:]})
}

// foundInOrder gives some users two names that match, and some users an e-mail that is the username of
// another user. The users are registered in another order.
func foundInOrder(t *testing.T, store auth.Store) {
	text := unique("order")
	var want []auth.User
	add := func(username, email string) {
		user := newUser()
		user.Username, user.Email = username, email
		want = append(want, user)
	}
	for i, end := range []string{
		"!", "-", "0", "10", "9", "[", "_", "A", "a!", "aa", "B", "z", "~", "ß", "é", "漢", "\ue000", "\U0001f986",
	} {
		// The e-mail is none, or before the usernames, or after most of them.
		add(text+end, []string{"", fmt.Sprint(text, " ", i), fmt.Sprint(text, "x", i)}[i%3])
	}
	for i, end := range []string{"", "0", "@A.example.com", "@b.example.com", "a", "z", "\U0010ffff"} {
		add(unique(fmt.Sprint("Name", 9-i)), text+end)
	}
	for _, i := range shuffled(len(want)) {
		register(t, store, want[i])
	}
	for _, search := range []string{text, strings.ToUpper(text)} {
		requireFound(t, store, auth.UserQuery{Search: search}, want...)
	}
	// A page can begin after a name that no user has any more.
	query := auth.UserQuery{Search: text, Limit: len(want)}
	for i, user := range want[:len(want)-1] {
		query.After = query.Position(user)
		deleteUser(t, store, user.ID)
		page, err := store.ListUsers(t.Context(), query)
		require.NoError(t, err)
		require.Equal(t, idsOf(want[i+1:]), idsOf(page))
	}
}

func foundByKindAndState(t *testing.T, store auth.Store) {
	text := unique("kind")
	var all []auth.User
	for i, user := range append(usersOfEveryKind(), usersOfEveryKind()...) {
		// The IDs, the usernames and the e-mails have the same order.
		user.ID, user.Username = fmt.Sprintf("%s%02d", text, i), fmt.Sprintf("%sA%02d", text, i)
		if user.Email = ""; i%3 == 0 {
			user.Username, user.Email = unique("other"), fmt.Sprintf("%sB%02d@example.com", text, i)
		}
		register(t, store, user)
		all = append(all, user)
	}
	everySelection(func(kind auth.UserKind, state auth.UserState, matches func(auth.User) bool) {
		var want, byUsername, byEmail []auth.User
		for _, user := range all {
			switch {
			case !matches(user):
				continue
			case user.Email == "":
				byUsername = append(byUsername, user)
			default:
				byEmail = append(byEmail, user)
			}
			want = append(want, user)
		}
		query := auth.UserQuery{Search: text, Kind: kind, State: state}
		requireFound(t, store, query, append(byUsername, byEmail...)...)
		for _, size := range []int{1, 2, len(want)} {
			query := auth.UserQuery{After: text, Kind: kind, State: state, Limit: size}
			var listed []auth.User
			for len(listed) < len(want) {
				page, err := store.ListUsers(t.Context(), query)
				require.NoError(t, err)
				require.NotEmpty(t, page)
				listed = append(listed, page...)
				query.After = page[len(page)-1].ID
			}
			require.Equal(t, idsOf(want), idsOf(listed[:len(want)]), "kind %q, state %q", kind, state)
		}
	})
	for state, change := range map[auth.UserState]auth.UserChange{
		auth.UserStateActive: enable, auth.UserStateInactive: disable,
	} {
		update(t, store, all[0].ID, change)
		page, err := store.ListUsers(t.Context(), auth.UserQuery{After: text, Limit: 1, State: state})
		require.NoError(t, err)
		require.Equal(t, all[0].ID, page[0].ID)
	}
}

// everySelection calls do for each combination of a kind and a state.
func everySelection(do func(auth.UserKind, auth.UserState, func(auth.User) bool)) {
	for kind, ofKind := range map[auth.UserKind]func(auth.User) bool{
		"":                     func(auth.User) bool { return true },
		auth.UserKindPerson:    func(u auth.User) bool { return !u.IsService },
		auth.UserKindService:   func(u auth.User) bool { return u.IsService },
		auth.UserKindSuperUser: func(u auth.User) bool { return u.IsSuperUser },
	} {
		for state, inState := range map[auth.UserState]func(auth.User) bool{
			"":                     func(auth.User) bool { return true },
			auth.UserStateActive:   func(u auth.User) bool { return u.IsActive },
			auth.UserStateInactive: func(u auth.User) bool { return !u.IsActive },
		} {
			do(kind, state, func(u auth.User) bool { return ofKind(u) && inState(u) })
		}
	}
}

// foundByCurrentNames changes the names of users in every way.
func foundByCurrentNames(t *testing.T, store auth.Store) {
	text, other := unique("before"), unique("after")
	user := registerNamed(t, store, text, text+"@example.com")
	rename := func(change auth.UserChange) {
		t.Helper()
		update(t, store, user.ID, change)
		user = storekit.ChangeUser(user, change)
	}
	name := func(s string) *string { return &s }
	rename(auth.UserChange{Username: name(other)})
	requireFound(t, store, auth.UserQuery{Search: other}, user)
	requireFound(t, store, auth.UserQuery{Search: text}, user)
	rename(auth.UserChange{Email: name(other + "@example.com")})
	requireFound(t, store, auth.UserQuery{Search: other}, user)
	requireFound(t, store, auth.UserQuery{Search: text}) // the username is retired
	rename(auth.UserChange{Email: name("")})
	requireFound(t, store, auth.UserQuery{Search: other + "@"})
	rename(auth.UserChange{Username: name(strings.ToUpper(text)), Email: name(text + "@example.com")})
	requireFound(t, store, auth.UserQuery{Search: text}, user)
	rename(auth.UserChange{Username: name(text), Email: name(strings.ToUpper(text) + "@example.com")})
	requireFound(t, store, auth.UserQuery{Search: text}, user)
	requireFound(t, store, auth.UserQuery{Search: text + "@"}, user)
	deleteUser(t, store, user.ID)
	for _, search := range []string{text, other} {
		requireFound(t, store, auth.UserQuery{Search: search})
	}

	// A GitHub sign-in can add a user, and can give an e-mail to a user who has none.
	person := newUser()
	person.Username, person.Email = text+"-person", ""
	linked := signUp(t, store, firstSignIn(person))
	requireFound(t, store, auth.UserQuery{Search: text}, linked.user)
	signIn := linked.nextSignIn()
	signIn.Email = other + "@example.com"
	_, person, err := store.SignInGitHub(t.Context(), byHost(refusedAt), signIn)
	require.NoError(t, err)
	require.Equal(t, signIn.Email, person.Email)
	requireFound(t, store, auth.UserQuery{Search: other}, person)
}

// foundAtTheEnd searches texts after which the next text is not simply one character greater.
func foundAtTheEnd(t *testing.T, store auth.Store) {
	for _, end := range []string{
		"\U0010ffff", "\U0010ffff\U0010ffff", "\ud7ff", "\uffff", "\u007e", "ÿ", "\u07ff",
	} {
		base := unique("end")
		text := base + end
		user := registerNamed(t, store, text+"x", "")
		registerNamed(t, store, base+"\U0010fffe", base+"\U0010fffe") // does not begin with the text
		requireFound(t, store, auth.UserQuery{Search: text}, user)
	}
	requireFound(t, store, auth.UserQuery{Search: "\U0010ffff"})
	user := registerNamed(t, store, "\U0010ffff"+unique("x"), "\U0010ffff"+unique("x"))
	requireFound(t, store, auth.UserQuery{Search: "\U0010ffff"}, user)
	deleteUser(t, store, user.ID)
}

func invalidQueries(t *testing.T, store auth.Store) {
	text := unique("invalid")
	user := registerNamed(t, store, text, "")
	for field, queries := range map[string][]auth.UserQuery{
		"state": {{State: "Active"}, {State: "disabled"}, {State: " "}, {Search: text, State: "x"}},
		"kind":  {{Search: text, Kind: "all"}, {Kind: "superuser"}},
		"search": {
			{Search: text + "\x00"}, {Search: text + "\n"}, {Search: "\xff"}, {Search: "\ud7ff\xed\xa0\x80"},
			{Search: text + "\u202e"}, {Search: fill(text, "x", 255)},
		},
		"after": {
			{Search: text, After: user.ID}, {Search: text, After: text}, {Search: text, After: "1:"},
			{Search: text, After: "1:other"}, {Search: text, After: "3:" + text}, {Search: text, After: "2" + text},
			{Search: text, After: "1:" + text + "\x00"}, {Search: text, After: "2:" + text + "\xff"},
			{Search: text, After: "1:" + fill(text, "x", 10_000)},
		},
	} {
		for _, query := range queries {
			query.Limit = 1
			_, err := store.ListUsers(t.Context(), query)
			require.Equal(t, field, requireInvalid(t, err).Field, "%+v", query)
		}
	}
}

// foundWhileChanging searches users page by page, while other calls register and delete other users whom the
// search finds, too.
func foundWhileChanging(t *testing.T, store auth.Store) {
	text := unique("busy")
	var stay []string
	for i := range 12 {
		user := newUser()
		user.Username = fmt.Sprintf("%s%02d", text, i)
		if i >= 6 {
			user.Username, user.Email = unique("x"), user.Username+"@example.com"
		}
		register(t, store, user)
		stay = append(stay, user.ID)
	}
	var over atomic.Bool
	errs := race(contenders/2, func(i int) error {
		for n := 0; i > 0 && !over.Load(); n++ {
			user := newUser()
			user.Username = fmt.Sprintf("%s%02d-%s", text, n%12, unique(""))
			user.Email = user.Username + "@example.com"
			if err := store.Register(t.Context(), byHost(now), user, newKey(user)); err != nil {
				return err
			}
			if _, err := store.DeleteUser(t.Context(), byHost(now), user.ID); err != nil {
				return err
			}
		}
		if i > 0 {
			return nil
		}
		defer over.Store(true)
		for range rounds(t) {
			users, err := found(t.Context(), store, auth.UserQuery{Search: text}, 3)
			if err != nil {
				return err
			}
			ids := slices.DeleteFunc(idsOf(users), func(id string) bool { return !slices.Contains(stay, id) })
			if !slices.Equal(stay, ids) {
				return fmt.Errorf("found %v, not %v", ids, stay)
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(errs...))
}
