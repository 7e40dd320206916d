package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var leasePromises = []promise[auth.AccountStore]{
	{"a token is leased to one caller and stays unchanged", leasedToOne},
	{"a lease ends at its time", leaseEnds},
	{"a clock that is ahead does not keep a token for long", leasedAhead},
	{"a lease without duration excludes no caller", leaseOfNoTime},
	{"every write of the token ends its lease", leaseEndsWithWrite},
	{"a lease covers one token", leasesApart},
	{"of several concurrent leases, one is granted", racingLeases},
}

var leasePromisesOfUsers = []promise[auth.Store]{
	{"a lease stays if the token is not written", leaseStays},
}

const leaseTime = time.Minute

// lease calls LeaseGitHubToken at the given time, for a lease of the duration leaseTime.
func lease(t *testing.T, store auth.AccountStore, token auth.GitHubToken, at time.Time) (bool, error) {
	t.Helper()
	return store.LeaseGitHubToken(t.Context(), token.UserID, token.Account.Host, token.Version, at,
		at.Add(leaseTime))
}

func requireLease(
	t *testing.T, store auth.AccountStore, want bool, token auth.GitHubToken, at time.Time,
) {
	t.Helper()
	leased, err := lease(t, store, token, at)
	require.NoError(t, err)
	require.Equal(t, want, leased)
}

func leasedToOne(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	requireLease(t, store, true, a.token, now)
	requireLease(t, store, false, a.token, now)
	requireLease(t, store, false, a.token, now.Add(-leaseTime)) // this clock is behind
	a.requireUnchanged(t, store)
}

// leasedAhead takes a lease with a clock that is ahead. This lease ends later than any lease by a
// correct clock. Therefore, another caller may take the lease at once.
func leasedAhead(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	requireLease(t, store, true, a.token, now.Add(24*time.Hour))
	requireLease(t, store, true, a.token, now)
	requireLease(t, store, false, a.token, now)
	a.token = replace(t, store, a.token)
	requireLease(t, store, true, a.token, now.Add(leaseTime)) // ends two leaseTimes after now
	requireLease(t, store, false, a.token, now)
	requireLease(t, store, true, a.token, now.Add(-time.Microsecond))
	a.requireUnchanged(t, store)
}

func leaseEnds(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for _, at := range []time.Time{now, now.Add(999), now.In(time.FixedZone("east", 3600))} {
		requireLease(t, store, true, a.token, at)
		requireLease(t, store, false, a.token, now.Add(leaseTime-time.Nanosecond))
		requireLease(t, store, true, a.token, now.Add(leaseTime)) // the new lease also lasts leaseTime
		requireLease(t, store, false, a.token, now.Add(2*leaseTime-time.Microsecond))
		a.token = replace(t, store, a.token)
	}
	requireLease(t, store, true, a.token, now)
	requireLease(t, store, true, a.token, latest.Add(-leaseTime))
	a.requireUnchanged(t, store)
}

// leaseOfNoTime takes leases that end at once. Such a lease can leave all values of the token
// unchanged, and a database may then report that no row has changed. The store must still grant the
// lease.
func leaseOfNoTime(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for range 3 {
		for _, until := range []time.Time{now, now.Add(-time.Hour)} {
			leased, err := store.LeaseGitHubToken(t.Context(), a.user.ID, githubHost,
				a.token.Version, now, until)
			require.NoError(t, err)
			require.True(t, leased)
		}
	}
	for range 2 {
		requireLease(t, store, true, a.token, now)
		a.token = replace(t, store, a.token)
	}
}

// replace replaces the token by a new one and returns the new token.
func replace(t *testing.T, store auth.AccountStore, old auth.GitHubToken) auth.GitHubToken {
	t.Helper()
	fresh := old
	fresh.Version, fresh.Sealed = unique("Version"), []byte(unique("sealed"))
	require.NoError(t, store.ReplaceGitHubToken(t.Context(), fresh, old.Version))
	return fresh
}

func leaseEndsWithWrite(t *testing.T, store auth.AccountStore) {
	for name, write := range map[string]func(t *testing.T, a linked) auth.GitHubToken{
		"replace": func(t *testing.T, a linked) auth.GitHubToken { return replace(t, store, a.token) },
		"connect": func(t *testing.T, a linked) auth.GitHubToken {
			again := newConnect(a.session, a.link.Account)
			again.TokenVersion = a.token.Version
			return *connect(t, store, again).Token
		},
		"sign in": func(t *testing.T, a linked) auth.GitHubToken {
			signIn := a.nextSignIn()
			_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
			require.NoError(t, err)
			return *signIn.Token
		},
		"delete and connect": func(t *testing.T, a linked) auth.GitHubToken {
			require.NoError(t, deleteToken(t, store, a.token))
			return *connect(t, store, newConnect(a.session, a.link.Account)).Token
		},
		"delete the version and connect": func(t *testing.T, a linked) auth.GitHubToken {
			require.NoError(t, tokenVerbs["delete"](t, store, a.token))
			return *connect(t, store, newConnect(a.session, a.link.Account)).Token
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newLinked(t, store)
			requireLease(t, store, true, a.token, now)
			fresh := write(t, a)
			requireLease(t, store, true, fresh, now)
			requireLease(t, store, false, fresh, now)
			requireNoToken(t, store, a.token)
		})
	}
}

func leaseStays(t *testing.T, store auth.Store) {
	a := newLinked(t, store)
	requireLease(t, store, true, a.token, now)

	signIn := a.nextSignIn()
	signIn.TokenVersion = unique("version")
	requireRefused(t, store, signIn, []error{auth.ErrChanged})
	signIn.Token = nil
	_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.NoError(t, err)
	wrong := a.token
	wrong.Version = unique("version")
	requireNoToken(t, store, wrong)
	update(t, store, a.user.ID, disable)
	update(t, store, a.user.ID, enable)
	findConnection(t, store, a.user.ID, githubHost)
	requireLease(t, store, false, a.token, now)
}

func leasesApart(t *testing.T, store auth.AccountStore) {
	a, other := newLinked(t, store), newLinked(t, store)
	elsewhere := a.connectElsewhere(t, store)
	for _, token := range []auth.GitHubToken{a.token, *elsewhere.Token, other.token} {
		requireLease(t, store, true, token, now)
	}
	replace(t, store, a.token)
	requireLease(t, store, false, *elsewhere.Token, now)
	requireLease(t, store, false, other.token, now)
}

func racingLeases(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for round := range rounds(t) {
		at := now.Add(time.Duration(round) * leaseTime) // the previous lease has ended
		leased := make([]bool, contenders)
		errs := race(contenders, func(i int) (err error) {
			leased[i], err = lease(t, store, a.token, at)
			return err
		})
		require.NoError(t, errors.Join(errs...))
		winners := 0
		for _, won := range leased {
			if won {
				winners++
			}
		}
		require.Equal(t, 1, winners)
	}
	a.requireUnchanged(t, store)
}
