package histories_test

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// namesakesStore sometimes lets a user take a username that another user has or has given up.
type namesakesStore struct {
	altered
	ofLive bool // whether another user must still have the username

	mu    sync.Mutex
	names map[string]string // the usernames that were taken so, by user ID
}

func sharesNames() auth.Store { return namesakes(true) }

func reusesNames() auth.Store { return namesakes(false) }

func namesakes(ofLive bool) auth.Store {
	return &namesakesStore{altered: altered{memstore.New()}, ofLive: ofLive, names: map[string]string{}}
}

// isLive reports whether a user has the username.
func (s *namesakesStore) isLive(ctx context.Context, name string) bool {
	users, _ := s.ListUsers(ctx, auth.UserQuery{Limit: 1 << 20})
	for _, user := range users {
		if strings.EqualFold(s.named(user).Username, name) {
			return true
		}
	}
	return false
}

func (s *namesakesStore) named(user auth.User) auth.User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok := s.names[user.ID]; ok {
		user.Username = name
	}
	return user
}

func (s *namesakesStore) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (auth.User, error) {
	user, err := s.Store.UpdateUser(ctx, w, id, change)
	if errors.Is(err, auth.ErrExists) && s.isLive(ctx, *change.Username) == s.ofLive {
		s.mu.Lock()
		s.names[id] = *change.Username
		s.mu.Unlock()
		change.Username = nil
		user, err = s.Store.UpdateUser(ctx, w, id, change)
	} else if err == nil && change.Username != nil {
		s.mu.Lock()
		delete(s.names, id)
		s.mu.Unlock()
	}
	return s.named(user), err
}

func (s *namesakesStore) FindUser(ctx context.Context, id string) (auth.User, error) {
	user, err := s.Store.FindUser(ctx, id)
	return s.named(user), err
}

func (s *namesakesStore) ResetUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange, key auth.AccessKey,
) (auth.User, []auth.GitHubToken, error) {
	user, tokens, err := s.Store.ResetUser(ctx, w, id, change, key)
	return s.named(user), tokens, err
}

func (s *namesakesStore) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	created, user, err := s.Store.CreateSession(ctx, session, limit)
	return created, s.named(user), err
}
