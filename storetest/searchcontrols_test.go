package storetest_test

import (
	"cmp"
	"context"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// searching is a store that searches in its own way.
type searching struct {
	*memstore.Store
	matches  func(name, search string) bool
	position func(query auth.UserQuery, user auth.User) string
}

func (s *searching) ListUsers(ctx context.Context, query auth.UserQuery) ([]auth.User, error) {
	if query.Search == "" {
		return s.Store.ListUsers(ctx, query)
	}
	if err := query.Validate(); err != nil {
		return nil, err
	}
	all, err := s.Store.ListUsers(ctx,
		auth.UserQuery{Kind: query.Kind, State: query.State, Limit: math.MaxInt})
	found := slices.DeleteFunc(all, func(u auth.User) bool {
		matches := s.matches(u.Username, query.Search) || u.Email != "" && s.matches(u.Email, query.Search)
		return !matches || s.position(query, u) <= query.After
	})
	slices.SortFunc(found, func(a, b auth.User) int {
		return cmp.Compare(s.position(query, a), s.position(query, b))
	})
	return found[:min(max(query.Limit, 0), len(found))], err
}

func beginsWith(name, search string) bool {
	return strings.HasPrefix(auth.FoldASCII(name), auth.FoldASCII(search))
}

// searchByCase returns a store that searches with regard to case.
func searchByCase() auth.Store {
	return &searching{memstore.New(), strings.HasPrefix, auth.UserQuery.Position}
}

// searchByPattern returns a store in whose searches some characters have a special meaning.
func searchByPattern() auth.Store {
	return &searching{memstore.New(), func(name, search string) bool {
		is, _ := path.Match(auth.FoldASCII(search)+"*", auth.FoldASCII(name))
		return is
	}, auth.UserQuery.Position}
}

// searchInside returns a store that also finds a text in the middle of a name.
func searchInside() auth.Store {
	return &searching{memstore.New(), func(name, search string) bool {
		return strings.Contains(auth.FoldASCII(name), auth.FoldASCII(search))
	}, auth.UserQuery.Position}
}

// searchWithoutOrder returns a store that sorts usernames and e-mails together, so that a page that begins
// after a username passes over users.
func searchWithoutOrder() auth.Store {
	return &searching{memstore.New(), beginsWith, func(query auth.UserQuery, user auth.User) string {
		_, name, _ := strings.Cut(query.Position(user), ":")
		return "1:" + name
	}}
}

// wholeSeconds is a store that lists events between whole seconds.
type wholeSeconds struct{ *memstore.Store }

func (s wholeSeconds) ListEvents(ctx context.Context, f auth.EventFilter, limit int) ([]auth.Event, error) {
	f.From, f.To = f.From.Truncate(time.Second), f.To.Truncate(time.Second)
	return s.Store.ListEvents(ctx, f, limit)
}
