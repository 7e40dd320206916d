package wiretest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// pagingStore is a store whose pages have the IDs that the function ids returns.
type pagingStore struct {
	auth.Store
	ids   func(after string, limit int) []string
	calls int
}

func (s *pagingStore) page(after string, limit int) ([]string, error) {
	if s.calls++; s.calls > 10 {
		return nil, errors.New("the loop does not end")
	}
	return s.ids(after, limit), nil
}

func (s *pagingStore) ListAllKeys(_ context.Context, after string, limit int) ([]auth.AccessKey, error) {
	ids, err := s.page(after, limit)
	var page []auth.AccessKey
	for _, id := range ids {
		page = append(page, auth.AccessKey{ID: id})
	}
	return page, err
}

func (s *pagingStore) ListGitHubTokens(
	_ context.Context, _, after string, limit int,
) ([]auth.GitHubToken, error) {
	ids, err := s.page(after, limit)
	var page []auth.GitHubToken
	for _, id := range ids {
		page = append(page, auth.GitHubToken{UserID: id, Sealed: []byte("x")})
	}
	return page, err
}

func TestAStoreWhosePagesDoNotGoOnIsAnErrorThatNamesTheMethod(t *testing.T) {
	t.Parallel()
	count := func(from, n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprintf("%06d", from+i))
		}
		return ids
	}
	for name, test := range map[string]struct {
		ids  func(after string, limit int) []string
		good bool
	}{
		"ignores after": {ids: func(_ string, limit int) []string { return count(0, limit) }},
		"includes after": {ids: func(after string, limit int) []string {
			if after == "" {
				return count(0, limit)
			}
			return count(limit-1, limit)
		}},
		"is not sorted": {ids: func(string, int) []string { return []string{"b", "a"} }},
		"two pages": {good: true, ids: func(after string, limit int) []string {
			if after == "" {
				return count(0, limit)
			}
			return count(limit, 1)
		}},
	} {
		store := &pagingStore{ids: test.ids}
		g := newGitHub(t, githubOptions{configure: func(g *githubFixture, _ *auth.Config) {
			store.Store = g.fixture.store
			g.fixture.store = store
		}})
		_, err := g.svc.Credentials().CountByPepper(t.Context())
		_, errReseal := g.svc.GitHub().Reseal(t.Context())
		if test.good {
			require.NoError(t, errors.Join(err, errReseal), name)
			continue
		}
		require.ErrorContains(t, err, "the store's ListAllKeys returned a page whose IDs", name)
		require.ErrorContains(t, errReseal, "the store's ListGitHubTokens returned a page whose IDs", name)
	}
}
