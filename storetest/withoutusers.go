package storetest

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// RunWithoutUsers is [Run] for stores that keep no users: those for hosts that
// have a table of their own, see [auth.Config.Users]. It tests what of the
// contract makes sense there, and what holds there alone.
//
// It calls open some forty times, from parallel tests.
func RunWithoutUsers(t *testing.T, open func(t *testing.T) auth.Store) {
	runAll(t, open, togetherWithoutUsers(t), aloneWithoutUsers(t))
	t.Run("GitHub", func(t *testing.T) {
		t.Parallel()
		runAll(t, open, githubTogetherWithoutUsers(t), []group{{"pruning states", statePrunePromises}})
	})
}

func togetherWithoutUsers(t *testing.T) []group {
	return []group{
		{"users", withoutUsersPromises},
		{"access keys", except(t, keyPromises,
			"a disabled user may be given a key",
			"a key of nobody is not added",
			"a key is found with its owner as the owner is now",
		)},
		{"sessions", except(t, sessionPromises,
			"a new session is stored as it was returned",
			"creating a session sets when the user last signed in",
			"nobody opens no session",
			"a disabled user opens no session",
		)},
		{"the life of access keys", except(t, keyLifePromises,
			"of several keys at once for the last place one is added",
		)},
		{"sessions listed and limited", except(t, sessionCapPromises,
			"sessions at once keep to the limit",
		)},
		{"ending all sessions of a user", except(t, endAllPromises,
			"an unknown user has no sessions to end",
			"a disabled user has no sessions to end",
		)},
		{"the feed of revocations", feedPromises},
		{"values", except(t, valuePromises,
			"a user with a value that cannot be kept is not",
			"a key with a value that cannot be kept is nobody's first",
		)},
		{"times", except(t, timePromises,
			"times come back in UTC, cut to the microsecond", // a promise below has them
			"a zero time comes back zero",
			"a user with a time that cannot be kept is not",
			"a key with a time that cannot be kept is nobody's first",
		)},
		{"names and ids", except(t, namePromises,
			"names and ids that are taken register neither user nor key",
			"ASCII letters are folded among any others",
			"names are kept as they were given",
			"any number of users have no e-mail",
			"a username may be an e-mail of another user",
			"names that merely look alike are two",
			"user ids that merely look alike are two", // a promise below has them
		)},
		{"cancellation", append(
			except(t, cancelPromises, "a call whose context ends meanwhile does everything or nothing"),
			promise{"a call whose context ends meanwhile does everything or nothing", cancelledDuring(interruptedWithoutUsers)},
		)},
		{"races", except(t, racePromises,
			"of several registrations at once with one name or id one succeeds",
			"of several resets at once with one key id one succeeds",
			"of several resets at once of one user one key is left",
			"changes of a user at once are all made",
			"nobody sees a reset half done",
		)},
	}
}

func aloneWithoutUsers(t *testing.T) []group {
	return []group{
		{"pruning", except(t, prunePromises, "what ended before is not pruned again")},
		{"the whole feed of revocations", wholeFeedPromises},
	}
}

// except returns the promises but those with these names, which must be there.
func except(t *testing.T, promises []promise, names ...string) []promise {
	t.Helper()
	left := slices.Clone(promises)
	for _, name := range names {
		i := slices.IndexFunc(left, func(p promise) bool { return p.name == name })
		require.NotEqual(t, -1, i, "no promise has the name %q", name)
		left = slices.Delete(left, i, i+1)
	}
	return left
}

var withoutUsersPromises = []promise{
	{"a store that is open answers a ping", pinged},
	{"a store without users says so", saysItKeepsNone},
	{"the methods about users are errors, and none of the contract's answers", userMethodsFail},
	{"anybody is a user, of whom the store says the ID alone", anybodyIsUser},
	{"ids of users that merely look alike are two", lookalikeOwners},
	{"times come back in UTC, cut to the microsecond", timesKeptWithoutUsers},
	{"who has no sessions left has none to end", endAllOfAnybody},
}

// interruptedWithoutUsers are as interrupted is.
var interruptedWithoutUsers = map[string]signs{
	"RevokeKey": interrupted["RevokeKey"],
	"CreateSession": func(t *testing.T, store auth.Store, _, draft account) []bool {
		return []bool{hasSession(t, store, draft.session.ID)}
	},
	"RevokeUserSessions": func(t *testing.T, store auth.Store, own, _ account) []bool {
		return []bool{!hasSession(t, store, own.session.ID)}
	},
}

func saysItKeepsNone(t *testing.T, store auth.Store) {
	require.False(t, store.KeepsUsers())
}

func userMethodsFail(t *testing.T, store auth.Store) {
	a, draft := newAccount(t, store), newDraft()
	for _, name := range []string{
		"Register", "RegisterUsers", "Bootstrap", "FindUser", "ListUsers", "UpdateUser", "ResetUser", "DeleteUser",
	} {
		err := methods[name](t.Context(), store, a, draft)
		require.Error(t, err, name)
		requireNoAnswer(t, err)
		require.NotErrorIs(t, err, context.Canceled)
	}
	requireNoKey(t, store, draft.key.ID)
	a.requireUnchanged(t, store)
}

func anybodyIsUser(t *testing.T, store auth.Store) {
	id := unique("user")
	want := auth.User{ID: id}
	key := newKey(want)
	require.NoError(t, store.AddKey(t.Context(), key))
	for range 2 {
		credential, err := store.FindKey(t.Context(), key.ID)
		require.NoError(t, err)
		require.Equal(t, auth.Credential{Key: key, User: want}, credential)

		session := newSession(key)
		created, user, err := store.CreateSession(t.Context(), session, 0)
		require.NoError(t, err)
		requireSameSession(t, session, created)
		require.Equal(t, want, user)
		requireSession(t, store, session)
		key = usedAt(key, session.CreatedAt)
	}

	other := auth.User{ID: unique("user")} // of whom the store has nothing
	session := newHostSession(other)
	_, user, err := store.CreateSession(t.Context(), session, 0)
	require.NoError(t, err)
	require.Equal(t, other, user)
	requireSession(t, store, session)
}

func lookalikeOwners(t *testing.T, store auth.Store) {
	apart(t, slices.Concat(foldedTwins, lookalikes), func(t *testing.T, one, other string) {
		first, second := newUser(), newUser()
		first.ID, second.ID = one, other
		a, b := newAccountOf(t, store, first), newAccountOf(t, store, second)
		require.Equal(t, 1, endAll(t, store, b.user, now))
		requireNoSession(t, store, b.session.ID)
		a.requireUnchanged(t, store)

		session := newSession(a.key)
		session.UserID = other
		_, _, err := store.CreateSession(t.Context(), session, 0)
		require.ErrorIs(t, err, auth.ErrNotFound)
	})
}

func timesKeptWithoutUsers(t *testing.T, store auth.Store) {
	for name, test := range keptTimes {
		t.Run(name, func(t *testing.T) {
			user := newUser()
			key := newKey(user)
			key.CreatedAt, key.ExpiresAt = test.in, test.in
			require.NoError(t, store.AddKey(t.Context(), key))
			key.CreatedAt, key.ExpiresAt = test.want, test.want
			requireKey(t, store, key)

			session := newHostSession(user)
			session.CreatedAt, session.ExpiresAt = test.in, test.in
			created := openSession(t, store, session)
			session.CreatedAt, session.ExpiresAt = test.want, test.want
			requireSameSession(t, session, created)
			requireSession(t, store, session)

			first := firstSignIn(user)
			first.Link.CreatedAt, first.Link.SeenAt, first.Token.UpdatedAt = test.in, test.in, test.in
			a := signUp(t, store, first)
			a.link.CreatedAt, a.link.SeenAt, a.token.UpdatedAt = test.want, test.want, test.want
			requireConnection(t, store, a.connection())
		})
	}
}

func endAllOfAnybody(t *testing.T, store auth.Store) {
	a := newAccount(t, store)
	require.Zero(t, endAll(t, store, newUser(), now))
	for _, want := range []int{1, 0, 0} {
		require.Equal(t, want, endAll(t, store, a.user, now))
	}
	requireKey(t, store, a.key)
}
