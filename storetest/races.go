package storetest

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var racePromises = []promise[auth.AccountStore]{
	{"of several keys added at once with one ID, one is added", racingKeys},
	{"of several sessions created at once with one ID, one is created", racingSessions},
	{"of several concurrent calls that revoke a session, one succeeds", racingEnds},
	{"of several concurrent calls that revoke a key, one succeeds", racingRevocations},
	{"of several concurrent calls that replace a hash, one succeeds", racingHashes},
	{"a session created during a revocation does not survive it", sessionsRacingTheirEnd},
}

var racePromisesOfUsers = []promise[auth.Store]{
	{"of several concurrent registrations with one name or ID, one succeeds", racingRegistrations},
	{"of several concurrent resets with one key ID, one succeeds", racingResetsWithOneKey},
	{"after several concurrent resets of a user, one key is left", racingResetsOfOneUser},
	{"concurrent changes of a user all take effect", racingChanges},
	{"no reader sees half a reset", resetSeenWhole},
}

// contenders is the number of goroutines in a race.
const contenders = 8

// race calls f with each number from 0 to n-1, all at the same time, and returns the errors.
func race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	running.Wait()
	return errs
}

// requireOneWinner fails the test unless exactly one error is nil and each other error is one of
// the errors in the parameter others. It returns the index of the nil error.
func requireOneWinner(t *testing.T, errs []error, others ...error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		if err != nil {
			requireOneOf(t, err, others...)
			continue
		}
		require.Equal(t, -1, winner, "more than one succeeded")
		winner = i
	}
	require.NotEqual(t, -1, winner, "none succeeded")
	return winner
}

// requireOneLoser fails the test unless exactly one error is the wanted error and all others are
// nil. It returns the index of the wanted error.
func requireOneLoser(t *testing.T, errs []error, want error) int {
	t.Helper()
	loser := -1
	for i, err := range errs {
		if err == nil {
			continue
		}
		require.ErrorIs(t, err, want)
		require.Equal(t, -1, loser, "more than one failed")
		loser = i
	}
	require.NotEqual(t, -1, loser, "none failed")
	return loser
}

// requireOneOf fails the test unless err is one of the targets. A test passes several targets if
// more than one error is correct.
func requireOneOf(t *testing.T, err error, targets ...error) {
	t.Helper()
	require.Truef(t, isOneOf(err, targets...), "got %v, want one of %v", err, targets)
}

// isOneOf reports whether err is one of the targets.
func isOneOf(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func racingRegistrations(t *testing.T, store auth.Store) {
	for name, edit := range map[string]func(user *auth.User, key *auth.AccessKey, shared string){
		"user id":  func(user *auth.User, key *auth.AccessKey, shared string) { user.ID, key.UserID = shared, shared },
		"username": func(user *auth.User, _ *auth.AccessKey, shared string) { user.Username = shared },
		"e-mail":   func(user *auth.User, _ *auth.AccessKey, shared string) { user.Email = shared },
		"key id":   func(_ *auth.User, key *auth.AccessKey, shared string) { key.ID = shared },
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				raceRegistrations(t, store, edit)
			}
		})
	}
}

func raceRegistrations(
	t *testing.T, store auth.Store, edit func(user *auth.User, key *auth.AccessKey, shared string),
) {
	t.Helper()
	shared := unique("shared")
	users := make([]auth.User, contenders)
	keys := make([]auth.AccessKey, contenders)
	for i := range contenders {
		users[i] = newUser()
		keys[i] = newKey(users[i])
		edit(&users[i], &keys[i], shared)
		if i%2 == 1 { // the same names in upper case
			users[i].Username = strings.ToUpper(users[i].Username)
			users[i].Email = strings.ToUpper(users[i].Email)
		}
	}
	errs := race(contenders, func(i int) error {
		return store.Register(t.Context(), byHost(now), users[i], keys[i])
	})
	winner := requireOneWinner(t, errs, auth.ErrExists)

	requireUser(t, store, users[winner])
	requireKey(t, store, keys[winner])
	for i := range contenders {
		if users[i].ID != users[winner].ID {
			requireNoUser(t, store, users[i].ID)
		}
		if keys[i].ID != keys[winner].ID {
			requireNoKey(t, store, keys[i].ID)
		}
	}
}

func racingKeys(t *testing.T, store auth.AccountStore) {
	own, _ := register(t, store, newUser())
	other, _ := register(t, store, newUser())
	for range rounds(t) {
		keys := make([]auth.AccessKey, contenders)
		shared := unique("key")
		for i := range keys {
			keys[i] = newKey([]auth.User{own, other}[i%2])
			keys[i].ID = shared
		}
		errs := race(contenders, func(i int) error {
			return store.AddKey(t.Context(), byHost(now), keys[i])
		})
		requireKey(t, store, keys[requireOneWinner(t, errs, auth.ErrExists)])
	}
}

func racingResetsWithOneKey(t *testing.T, store auth.Store) {
	accounts := make([]account, contenders)
	for range rounds(t) {
		keys := make([]auth.AccessKey, contenders)
		shared := unique("key")
		for i := range accounts {
			accounts[i] = newAccount(t, store)
			keys[i] = newKey(accounts[i].user)
			keys[i].ID = shared
		}
		errs := race(contenders, func(i int) error {
			_, _, err := store.ResetUser(t.Context(), byHost(now), accounts[i].user.ID, disable,
				keys[i])
			return err
		})
		winner := requireOneWinner(t, errs, auth.ErrExists)
		requireKey(t, store, keys[winner])
		for i := range accounts {
			if i != winner {
				accounts[i].requireUnchanged(t, store)
			}
		}
	}
}

func racingResetsOfOneUser(t *testing.T, store auth.Store) {
	user, _ := register(t, store, newUser())
	for range rounds(t) {
		keys := make([]auth.AccessKey, contenders)
		for i := range keys {
			keys[i] = newKey(user)
		}
		errs := race(contenders, func(i int) error {
			_, _, err := store.ResetUser(t.Context(), byHost(now), user.ID, auth.UserChange{}, keys[i])
			return err
		})
		require.NoError(t, errors.Join(errs...))
		left := 0
		for _, key := range keys {
			if hasKey(t, store, key.ID) {
				left++
			}
		}
		require.Equal(t, 1, left)
	}
}

func racingSessions(t *testing.T, store auth.AccountStore) {
	user, key := register(t, store, newUser())
	for range rounds(t) {
		sessions := make([]auth.Session, contenders)
		shared := unique("session")
		for i := range sessions {
			sessions[i] = newSession(key)
			sessions[i].ID = shared
			sessions[i].CreatedAt = now.Add(time.Duration(i) * time.Second)
		}
		errs := race(contenders, func(i int) error {
			_, _, err := store.CreateSession(t.Context(), sessions[i], 0)
			return err
		})
		created := sessions[requireOneWinner(t, errs, auth.ErrExists)]
		requireSession(t, store, created)
		user.LastLogin = created.CreatedAt
		requireUser(t, store, user)
	}
}

func racingEnds(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for range rounds(t) {
		id := openSession(t, store, newSession(a.key)).ID
		errs := race(contenders, func(int) error {
			return store.RevokeSession(t.Context(), byHost(now), id)
		})
		requireOneWinner(t, errs, auth.ErrNotFound)
		requireNoSession(t, store, id)
	}
	a.requireUnchanged(t, store)
}

func racingRevocations(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for range rounds(t) {
		key := addKey(t, store, a.user, time.Time{})
		session := openSession(t, store, newSession(key))
		errs := race(contenders, func(int) error {
			return store.RevokeKey(t.Context(), byHost(now), key.ID)
		})
		requireOneWinner(t, errs, auth.ErrNotFound)
		requireNoKey(t, store, key.ID)
		requireNoSession(t, store, session.ID)
	}
	a.requireUnchanged(t, store)
}

func racingHashes(t *testing.T, store auth.AccountStore) {
	_, key := register(t, store, newUser())
	for range rounds(t) {
		hashes := make([]string, contenders)
		for i := range hashes {
			hashes[i] = unique("hash")
		}
		errs := race(contenders, func(i int) error {
			return store.SwapHash(t.Context(), key.ID, key.Hash, hashes[i])
		})
		key.Hash = hashes[requireOneWinner(t, errs, auth.ErrNotFound)]
		requireKey(t, store, key)
	}
}
