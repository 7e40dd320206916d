package otelauth

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// Register implements [auth.UserStore].
func (s *store) Register(
	ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey,
) (err error) {
	ctx, end := s.begin(ctx, "Register")
	defer func() { end(err) }()
	return s.users.Register(ctx, w, user, key)
}

// RegisterUsers implements [auth.UserStore].
func (s *store) RegisterUsers(
	ctx context.Context, w auth.Write, users []auth.UserWithKeys,
) (r1 []error, err error) {
	ctx, end := s.begin(ctx, "RegisterUsers")
	defer func() { end(err) }()
	return s.users.RegisterUsers(ctx, w, users)
}

// Bootstrap implements [auth.UserStore].
func (s *store) Bootstrap(
	ctx context.Context, w auth.Write, user auth.User, key auth.AccessKey,
) (err error) {
	ctx, end := s.begin(ctx, "Bootstrap")
	defer func() { end(err) }()
	return s.users.Bootstrap(ctx, w, user, key)
}

// FindUser implements [auth.UserStore].
func (s *store) FindUser(ctx context.Context, id string) (r1 auth.User, err error) {
	ctx, end := s.begin(ctx, "FindUser")
	defer func() { end(err) }()
	return s.users.FindUser(ctx, id)
}

// ListUsers implements [auth.UserStore].
func (s *store) ListUsers(ctx context.Context, query auth.UserQuery) (r1 []auth.User, err error) {
	ctx, end := s.begin(ctx, "ListUsers")
	defer func() { end(err) }()
	return s.users.ListUsers(ctx, query)
}

// ListRetiredUsernames implements [auth.UserStore].
func (s *store) ListRetiredUsernames(ctx context.Context, userID string) (r1 []string, err error) {
	ctx, end := s.begin(ctx, "ListRetiredUsernames")
	defer func() { end(err) }()
	return s.users.ListRetiredUsernames(ctx, userID)
}

// PruneRetiredUsernames implements [auth.UserStore].
func (s *store) PruneRetiredUsernames(
	ctx context.Context, retired time.Time, limit int,
) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneRetiredUsernames")
	defer func() { end(err) }()
	return s.users.PruneRetiredUsernames(ctx, retired, limit)
}

// UpdateUser implements [auth.UserStore].
func (s *store) UpdateUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange,
) (r1 auth.User, err error) {
	ctx, end := s.begin(ctx, "UpdateUser")
	defer func() { end(err) }()
	return s.users.UpdateUser(ctx, w, id, change)
}

// ResetUser implements [auth.UserStore].
func (s *store) ResetUser(
	ctx context.Context, w auth.Write, id string, change auth.UserChange, key auth.AccessKey,
) (r1 auth.User, r2 []auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "ResetUser")
	defer func() { end(err) }()
	return s.users.ResetUser(ctx, w, id, change, key)
}

// DeleteUser implements [auth.UserStore].
func (s *store) DeleteUser(
	ctx context.Context, w auth.Write, id string,
) (r1 []auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "DeleteUser")
	defer func() { end(err) }()
	return s.users.DeleteUser(ctx, w, id)
}
