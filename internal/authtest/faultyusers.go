package authtest

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

func (s *faultyStore) Register(
	ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey,
) error {
	if err := s.check(ctx, "Register"); err != nil {
		return err
	}
	return s.users.Register(ctx, w, user, key)
}

func (s *faultyStore) RegisterUsers(
	ctx context.Context, w auth.Write, users []auth.UserWithKeys,
) ([]error, error) {
	if err := s.check(ctx, "RegisterUsers"); err != nil {
		return nil, err
	}
	return s.users.RegisterUsers(ctx, w, users)
}

func (s *faultyStore) Bootstrap(
	ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey,
) error {
	if err := s.check(ctx, "Bootstrap"); err != nil {
		return err
	}
	return s.users.Bootstrap(ctx, w, user, key)
}

func (s *faultyStore) FindUser(ctx context.Context, id string) (auth.User, error) {
	if err := s.check(ctx, "FindUser"); err != nil {
		return auth.User{}, err
	}
	return s.users.FindUser(ctx, id)
}

func (s *faultyStore) ListUsers(ctx context.Context, query auth.UserQuery) ([]auth.User, error) {
	if err := s.check(ctx, "ListUsers"); err != nil {
		return nil, err
	}
	return s.users.ListUsers(ctx, query)
}

func (s *faultyStore) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (auth.User, error) {
	if err := s.check(ctx, "UpdateUser"); err != nil {
		return auth.User{}, err
	}
	return s.users.UpdateUser(ctx, w, id, change)
}

func (s *faultyStore) DeleteUser(
	ctx context.Context, w auth.Write, id string,
) ([]auth.GitHubToken, error) {
	if err := s.check(ctx, "DeleteUser"); err != nil {
		return nil, err
	}
	return s.users.DeleteUser(ctx, w, id)
}

func (s *faultyStore) ResetUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange, key auth.AccessKey,
) (auth.User, []auth.GitHubToken, error) {
	if err := s.check(ctx, "ResetUser"); err != nil {
		return auth.User{}, nil, err
	}
	return s.users.ResetUser(ctx, w, id, change, key)
}

func (s *faultyStore) ListRetiredUsernames(ctx context.Context, userID string) ([]string, error) {
	if err := s.check(ctx, "ListRetiredUsernames"); err != nil {
		return nil, err
	}
	return s.users.ListRetiredUsernames(ctx, userID)
}

func (s *faultyStore) PruneRetiredUsernames(
	ctx context.Context, retired time.Time, limit int,
) (int, error) {
	if err := s.check(ctx, "PruneRetiredUsernames"); err != nil {
		return 0, err
	}
	return s.users.PruneRetiredUsernames(ctx, retired, limit)
}
