package storetest

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var listKeysPromises = []promise[auth.AccountStore]{
	{"keys of all users are listed in the byte order of their IDs", allKeysInOrder},
	{"keys of all users are listed with their current records", allKeysAsTheyAre},
}

var listKeysPromisesAlone = []promise[auth.AccountStore]{
	{"a list of the keys of all users is complete, and ends", allKeysToTheEnd},
}

var listTokensPromises = []promise[auth.AccountStore]{
	{"GitHub tokens are listed in the byte order of their user IDs", tokensInOrder},
	{"only tokens of the GitHub host are listed", tokensOfHost},
	{"a removed token is not listed", removedTokensNotListed},
}

// pages lists records page by page, as a method such as ListAllKeys does.
type pages[T any] struct {
	list func(after string, limit int) ([]T, error)
	id   func(T) string // sorts the records
}

func allKeys(t *testing.T, store auth.AccountStore) pages[auth.AccessKey] {
	return pages[auth.AccessKey]{
		list: func(after string, limit int) ([]auth.AccessKey, error) {
			return store.ListAllKeys(t.Context(), after, limit)
		},
		id: func(key auth.AccessKey) string { return key.ID },
	}
}

func allTokens(t *testing.T, store auth.AccountStore, host string) pages[auth.GitHubToken] {
	return pages[auth.GitHubToken]{
		list: func(after string, limit int) ([]auth.GitHubToken, error) {
			return store.ListGitHubTokens(t.Context(), host, after, limit)
		},
		id: func(token auth.GitHubToken) string { return token.UserID },
	}
}

// requireAfter fails the test unless the wanted records are the next ones after the given ID, with
// pages of any length.
func (p pages[T]) requireAfter(t *testing.T, after string, want []T) {
	t.Helper()
	for _, limit := range []int{1, 2, 3, len(want)} {
		var got []T
		for last := after; len(got) < len(want); last = p.id(got[len(got)-1]) {
			page, err := p.list(last, limit)
			require.NoError(t, err)
			require.NotEmpty(t, page, "after %q", last)
			require.LessOrEqual(t, len(page), limit)
			got = append(got, page...)
		}
		require.Equal(t, want, got[:len(want)])
	}
	for _, limit := range []int{0, -1, math.MinInt} {
		page, err := p.list(after, limit)
		require.NoError(t, err)
		require.Empty(t, page)
	}
	for _, impossible := range []string{"\x00", "a\x00", "\xff", "a\n", fill("", "x", 10_000)} {
		_, err := p.list(impossible, 1)
		require.Truef(t, err == nil || errors.Is(err, auth.ErrNotFound), "%.80q: %v", impossible, err)
	}
}

func allKeysInOrder(t *testing.T, store auth.AccountStore) {
	prefix := unique("list")
	owners := [2]account{newAccount(t, store), newAccount(t, store)}
	want := make([]auth.AccessKey, len(inOrder))
	for i, n := range shuffled(len(inOrder)) {
		want[n] = newKey(owners[i%2].user)
		want[n].ID = prefix + inOrder[n]
		require.NoError(t, store.AddKey(t.Context(), byHost(now), want[n]))
	}
	allKeys(t, store).requireAfter(t, prefix, want)
	allKeys(t, store).requireAfter(t, prefix+"9", want[6:]) // no key has this ID

	require.NoError(t, store.RevokeKey(t.Context(), byHost(now), want[3].ID))
	allKeys(t, store).requireAfter(t, want[3].ID, want[4:])
	allKeys(t, store).requireAfter(t, want[2].ID, want[4:])
}

func allKeysAsTheyAre(t *testing.T, store auth.AccountStore) {
	prefix, owner := unique("list"), newAccount(t, store)
	want := make([]auth.AccessKey, 4)
	for i := range want {
		want[i] = newKey(owner.user)
		want[i].ID = prefix + string(rune('a'+i))
	}
	want[0].ExpiresAt = now.Add(-time.Hour)
	want[1].PreviousHash, want[1].PreviousUntil = "an-old-hash", now.Add(-time.Hour)
	for _, key := range want {
		require.NoError(t, store.AddKey(t.Context(), byHost(now), key))
	}
	want[2] = rotate(t, store, want[2], rotation(unique("hash")), now)
	renewed := unique("hash")
	require.NoError(t, store.SwapHash(t.Context(), want[3].ID, want[3].Hash, renewed))
	want[3].Hash = renewed
	allKeys(t, store).requireAfter(t, prefix, want)
}

func allKeysToTheEnd(t *testing.T, store auth.AccountStore) {
	page, err := store.ListAllKeys(t.Context(), "", math.MaxInt)
	require.NoError(t, err)
	require.Empty(t, page)
	a, other := newAccount(t, store), newAccount(t, store)
	want := []auth.AccessKey{a.key, other.key}
	if a.key.ID > other.key.ID {
		want = []auth.AccessKey{other.key, a.key}
	}
	for _, limit := range []int{2, 3, math.MaxInt32, math.MaxInt} {
		page, err = store.ListAllKeys(t.Context(), "", limit)
		require.NoError(t, err)
		require.Equal(t, want, page)
		page, err = store.ListAllKeys(t.Context(), want[1].ID, limit)
		require.NoError(t, err)
		require.Empty(t, page)
	}
}

// newTokens returns tokens of new users, for a GitHub host of their own, in the order of the user
// IDs.
func newTokens(t *testing.T, store auth.AccountStore, count int) (host string, tokens []auth.GitHubToken) {
	t.Helper()
	host = unique("host")
	prefix := unique("list")
	tokens = make([]auth.GitHubToken, count)
	for i, n := range shuffled(count) {
		user := newUser()
		user.ID = prefix + inOrder[n]
		_, key := register(t, store, user)
		account := newGitHubAccount()
		account.Host = host
		have := newConnect(openSession(t, store, newSession(key)), account)
		require.NoError(t, have.call(t.Context(), store))
		tokens[n] = have.Token
		if i%2 == 0 { // in some stores, a write moves the record
			fresh := newToken(have.Link)
			require.NoError(t, store.ReplaceGitHubToken(t.Context(), fresh, tokens[n].Version))
			tokens[n] = fresh
		}
	}
	return host, tokens
}

func tokensInOrder(t *testing.T, store auth.AccountStore) {
	host, want := newTokens(t, store, len(inOrder))
	all := allTokens(t, store, host)
	all.requireAfter(t, "", want)
	all.requireAfter(t, want[3].UserID, want[4:])
	page, err := all.list("", math.MaxInt)
	require.NoError(t, err)
	require.Equal(t, want, page)
	page, err = all.list(want[len(want)-1].UserID, math.MaxInt)
	require.NoError(t, err)
	require.Empty(t, page)
}

func tokensOfHost(t *testing.T, store auth.AccountStore) {
	host, want := newTokens(t, store, 2)
	_, _ = newTokens(t, store, 2)
	for _, other := range []string{unique("host"), "", host + "x", host + "\x00", fill("", "x", 10_000)} {
		page, err := store.ListGitHubTokens(t.Context(), other, "", 10)
		require.Truef(t, err == nil || errors.Is(err, auth.ErrNotFound), "%.80q: %v", other, err)
		require.Empty(t, page)
	}
	page, err := store.ListGitHubTokens(t.Context(), host, "", 10)
	require.NoError(t, err)
	require.Equal(t, want, page)
	clear(page[0].Sealed) // the caller owns the slice
	allTokens(t, store, host).requireAfter(t, "", want)
}

func removedTokensNotListed(t *testing.T, store auth.AccountStore) {
	host, tokens := newTokens(t, store, 4)
	require.NoError(t, deleteToken(t, store, tokens[0]))
	_, _, err := store.UnlinkGitHub(t.Context(), byHost(now), tokens[1].UserID, host)
	require.NoError(t, err)
	if users := usersOf(store); users != nil {
		_, err = users.DeleteUser(t.Context(), byHost(now), tokens[2].UserID)
		require.NoError(t, err)
		tokens = tokens[1:]
	}
	allTokens(t, store, host).requireAfter(t, "", tokens[2:])
}
