package wiretest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The client gets the same answer as for a wrong secret. Only the event, which the operator reads, says
// that the configuration lacks a pepper.
func TestASignInThatNeedsAMissingPepperIsRejectedForThatReason(t *testing.T) {
	t.Parallel()
	p1, p2 := authtest.SymmetricKey(t, "p1"), authtest.SymmetricKey(t, "p2")
	for name, test := range map[string]struct {
		before, after []auth.SymmetricKey
		reason        string
	}{
		"another pepper": {[]auth.SymmetricKey{p1}, []auth.SymmetricKey{p2},
			`unknown pepper: CredentialConfig.Peppers has no pepper with the ID "p1"`},
		"no pepper": {nil, []auth.SymmetricKey{p2},
			"unknown pepper: the hash has no pepper, and CredentialConfig.Peppers does not contain NoPepper()"},
	} {
		var got authtest.EventRecord
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Credentials.Peppers = test.before })
		other := newFixture(t, func(other *fixture, cfg *auth.Config) {
			cfg.Credentials.Peppers, cfg.OnEvent = test.after, got.Add
		})
		key, _, err := f.store.FindKey(t.Context(), f.userPair.AccessKey)
		require.NoError(t, err)
		key.UserID = other.user.ID
		require.NoError(t, other.store.AddKey(t.Context(), authtest.HostWrite, key))
		wrong := other.userPair
		wrong.AccessSecret = authtest.WrongSecret(wrong.AccessKey)
		want, answer := other.login(wrong), other.login(f.userPair)
		require.Equal(t, 401, answer.status, name)
		require.Equal(t, want.body, answer.body, name)
		require.Equal(t, want.header, answer.header, name)

		var reasons []string
		for _, e := range got.Deliver(t, other.svc) {
			if e.Kind == eventkind.SignInRejected {
				reasons = append(reasons, e.Reason)
				require.Equal(t, other.user.ID, e.UserID)
			}
		}
		require.Equal(t, []string{"wrong secret", test.reason}, reasons, name)
	}
}

func (c *credentials) requireCounts(t *testing.T, want auth.PepperCounts) {
	t.Helper()
	got, err := c.CountByPepper(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestKeysAreCountedByThePepperThatTheyNeed(t *testing.T) {
	t.Parallel()
	countsOf := func(byPepper map[string]int, imported int) auth.PepperCounts {
		const unreadable = 2 // the first keys of the users
		return auth.PepperCounts{ByPepper: byPepper, Imported: imported, Unreadable: unreadable}
	}
	p1 := authtest.SymmetricKey(t, "p1")
	c := newCredentials(t, auth.CredentialConfig{AllowImported: true})
	unused, used, rotated := c.issue(t), c.issue(t), c.issue(t)
	_, err := c.Issue(t.Context(), authtest.ByHost, "u1",
		auth.KeyOptions{ExpiresAt: c.clock.Now().Add(time.Minute)})
	require.NoError(t, err)
	chosen := auth.KeyPair{AccessKey: "chosen", AccessSecret: auth.NewSecret("correct horse")}
	for _, key := range []auth.ImportedKey{
		{UserID: "u1", AccessKey: chosen.AccessKey, Secret: chosen.AccessSecret},
		{UserID: "u2", AccessKey: "bcrypt", Hash: "$2a$10$3CMIevKJNUzdkcQbOwPmcuxKG8yNvJseVj1yl5Yvixw6ptRhH9shC"},
	} {
		require.NoError(t, c.Import(t.Context(), authtest.ByHost, key))
	}
	c.requireCounts(t, countsOf(map[string]int{"": 5}, 1))

	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{p1, auth.NoPepper()}})
	c.requireGood(t, used)
	rotated, err = c.Rotate(t.Context(), authtest.ByHost, rotated.AccessKey, time.Hour)
	require.NoError(t, err)
	c.requireCounts(t, countsOf(map[string]int{"": 4, "p1": 2}, 1))
	c.clock.Advance(time.Hour) // the overlap has ended, and the key that expires has expired
	c.requireCounts(t, countsOf(map[string]int{"": 2, "p1": 2}, 1))

	c.requireGood(t, unused)
	require.NoError(t, c.Revoke(t.Context(), authtest.ByHost, chosen.AccessKey))
	require.NoError(t, c.Revoke(t.Context(), authtest.ByHost, "bcrypt"))
	c.requireCounts(t, countsOf(map[string]int{"p1": 3}, 0))
	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{p1}})
	for _, pair := range []auth.KeyPair{unused, used, rotated} {
		c.requireGood(t, pair) // so NoPepper could be removed
	}
	c.configure(t, auth.CredentialConfig{}) // counting needs no pepper
	c.requireCounts(t, countsOf(map[string]int{"p1": 3}, 0))
}

func TestEveryKeyIsCountedPageByPage(t *testing.T) {
	t.Parallel()
	failing := -1 // the number of the page that the store cannot read
	pages := 0
	f := newFixture(t, withFaults(func(method string) error {
		if method != "ListAllKeys" {
			return nil
		}
		if pages++; pages == failing {
			return authtest.ErrStoreAway
		}
		return nil
	}))
	const users, keysOfUser = 20, auth.MaxKeys
	for u := range users {
		user := auth.User{ID: fmt.Sprint("u", u), Username: fmt.Sprint("u", u), CreatedAt: f.clock.Now()}
		keys := make([]auth.AccessKey, keysOfUser)
		for k := range keys {
			keys[k] = auth.AccessKey{ID: fmt.Sprintf("k%d-%d", u, k), UserID: user.ID,
				Hash:      "$hmac-sha256$v=1$k=p1$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
				CreatedAt: f.clock.Now()}
		}
		_, err := f.store.RegisterUsers(t.Context(), authtest.HostWrite,
			[]auth.UserWithKeys{{User: user, Keys: keys}})
		require.NoError(t, err)
	}
	counts, err := f.svc.Credentials().CountByPepper(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 2, "p1": users * keysOfUser}, counts.ByPepper)
	require.Equal(t, 3, pages)

	pages, failing = 0, 2
	counts, err = f.svc.Credentials().CountByPepper(t.Context())
	require.ErrorIs(t, err, authtest.ErrStoreAway)
	require.Zero(t, counts, "a part of the keys would look like all of them")
}

func TestPruneRemovesThePreviousHashAfterTheOverlap(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	next, err := f.svc.Credentials().Rotate(t.Context(), authtest.ByHost, f.userPair.AccessKey, time.Hour)
	require.NoError(t, err)
	for _, step := range []struct {
		after   time.Duration
		removed int
	}{{0, 0}, {time.Hour, 0}, {time.Hour - time.Microsecond, 0}, {time.Microsecond, 1}, {0, 0}} {
		f.clock.Advance(step.after)
		removed, err := f.svc.Prune(t.Context())
		require.NoError(t, err)
		require.Equal(t, step.removed, removed)
	}
	key, _, err := f.store.FindKey(t.Context(), next.AccessKey)
	require.NoError(t, err)
	require.Empty(t, key.PreviousHash)
	require.Zero(t, key.PreviousUntil)
	f.requireLogin(next, 200)
	f.requireLogin(f.userPair, 401)
}

func TestPruneReportsThatPreviousHashesWereNotRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withFaults(func(method string) error {
		if method == "PrunePreviousHashes" {
			return errors.New("down")
		}
		return nil
	}))
	_, err := f.svc.Prune(t.Context())
	require.EqualError(t, err, "auth: pruning previous hashes: down")
}
