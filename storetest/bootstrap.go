package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var bootstrapPromises = []promise[auth.Store]{
	{"a bootstrap stores the super user and the key", bootstrapStoresBoth},
	{"a second bootstrap creates no user", bootstrapOnce},
	{"a bootstrap repeated with the same pair is refused", bootstrapRepeated},
	{"a bootstrap succeeds although registered super users exist", bootstrapAfterRegister},
	{"a bootstrap stays spent if its user is no longer a super user", bootstrapForEver},
	{"a failed bootstrap does not spend it", failedBootstrap},
	{"a bootstrap of a user who is not an active super user is refused and not spent", bootstrapOfNoSuperUser},
	{"a canceled bootstrap either takes effect or can be repeated", canceledBootstrap},
}

// Each round of the bootstrapRaces needs a new store.
var bootstrapRaces = group[auth.Store]{"races for the first super user", []promise[auth.Store]{
	{"two concurrent bootstraps create one super user", racingBootstraps},
	{"two concurrent bootstraps with the same pair create one super user", racingBootstrapsOfOnePair},
}}

func bootstrap(t *testing.T, store auth.Store) account {
	t.Helper()
	user := newSuperUser()
	key := newKey(user)
	require.NoError(t, store.Bootstrap(t.Context(), byHost(now), user, key))
	session, user, err := store.CreateSession(t.Context(), newSession(key), 0)
	require.NoError(t, err)
	return account{user, usedAt(key, session.CreatedAt), session}
}

// requireNoBootstrap fails the test unless the store refuses to bootstrap.
func requireNoBootstrap(t *testing.T, store auth.Store) {
	t.Helper()
	user := newSuperUser()
	key := newKey(user)
	require.ErrorIs(t, store.Bootstrap(t.Context(), byHost(now), user, key), auth.ErrBootstrapped)
	requireNoUser(t, store, user.ID)
	requireNoKey(t, store, key.ID)
}

func bootstrapStoresBoth(t *testing.T, store auth.Store) {
	user := newSuperUser()
	key := newKey(user)
	require.NoError(t, store.Bootstrap(t.Context(), byHost(now), user, key))
	requireUser(t, store, user)
	requireKeyOf(t, store, key, user)
}

func bootstrapOnce(t *testing.T, store auth.Store) {
	a := bootstrap(t, store)
	for range 3 {
		requireNoBootstrap(t, store)
	}
	a.requireUnchanged(t, store)
}

func bootstrapRepeated(t *testing.T, store auth.Store) {
	a := bootstrap(t, store)
	require.ErrorIs(t, store.Bootstrap(t.Context(), byHost(now), a.user, a.key), auth.ErrBootstrapped)
	a.requireUnchanged(t, store)
}

func bootstrapAfterRegister(t *testing.T, store auth.Store) {
	a := newAccountOf(t, store, newSuperUser())
	bootstrap(t, store)
	a.requireUnchanged(t, store)
}

func bootstrapForEver(t *testing.T, store auth.Store) {
	a := bootstrap(t, store)
	register(t, store, newSuperUser()) // so that the user of a is not the last super user
	update(t, store, a.user.ID, auth.UserChange{IsActive: new(false), IsSuperUser: new(false)})
	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), a.key.ID))
	requireNoBootstrap(t, store)
}

func failedBootstrap(t *testing.T, store auth.Store) {
	taken := newAccount(t, store)
	tests := map[string]struct {
		want error
		edit func(user *auth.User, key *auth.AccessKey)
	}{
		"user id taken": {auth.ErrExists, func(user *auth.User, key *auth.AccessKey) {
			user.ID, key.UserID = taken.user.ID, taken.user.ID
		}},
		"username taken":         {auth.ErrExists, func(user *auth.User, _ *auth.AccessKey) { user.Username = taken.user.Username }},
		"e-mail taken":           {auth.ErrExists, func(user *auth.User, _ *auth.AccessKey) { user.Email = taken.user.Email }},
		"key id taken":           {auth.ErrExists, func(_ *auth.User, key *auth.AccessKey) { key.ID = taken.key.ID }},
		"invalid user":           {auth.ErrInvalid, func(user *auth.User, _ *auth.AccessKey) { user.Username = "\x00" }},
		"invalid key":            {auth.ErrInvalid, func(_ *auth.User, key *auth.AccessKey) { key.Hash = "" }},
		"another's key":          {auth.ErrInvalid, func(_ *auth.User, key *auth.AccessKey) { key.UserID = taken.user.ID }},
		"key of an unknown user": {auth.ErrInvalid, func(_ *auth.User, key *auth.AccessKey) { key.UserID = unique("nobody") }},
		"invalid username":       {auth.ErrInvalid, func(user *auth.User, _ *auth.AccessKey) { user.Username = "" }},
	}
	free := newSuperUser()
	freeKey := newKey(free)
	for name, test := range tests {
		user, key := free, freeKey
		test.edit(&user, &key)
		require.ErrorIs(t, store.Bootstrap(t.Context(), byHost(now), user, key), test.want, name)
		requireNoUser(t, store, free.ID)
		requireNoKey(t, store, freeKey.ID)
		taken.requireUnchanged(t, store)
	}
	require.NoError(t, store.Bootstrap(t.Context(), byHost(now), free, freeKey),
		"a failed bootstrap must not be spent")
}

func bootstrapOfNoSuperUser(t *testing.T, store auth.Store) {
	for _, user := range usersOfEveryKind() {
		if user.IsActive && user.IsSuperUser && !user.IsService {
			continue
		}
		key := newKey(user)
		requireInvalid(t, store.Bootstrap(t.Context(), byHost(now), user, key))
		requireNoUser(t, store, user.ID)
		requireNoKey(t, store, key.ID)
	}
	bootstrap(t, store)
}

func canceledBootstrap(t *testing.T, store auth.Store) {
	var drafts []account
	try := func(ctx context.Context) error {
		draft := newDraft()
		drafts = append(drafts, draft)
		return store.Bootstrap(ctx, byHost(now), draft.user, draft.key)
	}
	for range rounds(t) {
		err := try(canceledSoon(t))
		if err == nil || errors.Is(err, auth.ErrBootstrapped) {
			break // ErrBootstrapped: an earlier call took effect although it returned an error
		}
	}
	if err := try(t.Context()); err != nil {
		require.ErrorIs(t, err, auth.ErrBootstrapped)
	}

	stored := 0
	for _, draft := range drafts {
		done := hasUser(t, store, draft.user.ID)
		require.Equal(t, done, hasKey(t, store, draft.key.ID))
		if done {
			stored++
		}
	}
	require.Equal(t, 1, stored)
}

func racingBootstraps(t *testing.T, store auth.Store) {
	users := make([]auth.User, contenders)
	keys := make([]auth.AccessKey, contenders)
	for i := range contenders {
		users[i] = newSuperUser()
		keys[i] = newKey(users[i])
	}
	errs := race(contenders, func(i int) error {
		return store.Bootstrap(t.Context(), byHost(now), users[i], keys[i])
	})
	winner := requireOneWinner(t, errs, auth.ErrBootstrapped)
	for i := range contenders {
		if i == winner {
			requireUser(t, store, users[i])
			requireKey(t, store, keys[i])
			continue
		}
		requireNoUser(t, store, users[i].ID)
		requireNoKey(t, store, keys[i].ID)
	}
}

func racingBootstrapsOfOnePair(t *testing.T, store auth.Store) {
	user := newSuperUser()
	key := newKey(user)
	errs := race(contenders, func(int) error {
		return store.Bootstrap(t.Context(), byHost(now), user, key)
	})
	requireOneWinner(t, errs, auth.ErrBootstrapped)
	requireUser(t, store, user)
	requireKey(t, store, key)
}
