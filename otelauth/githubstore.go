package otelauth

import (
	"context"
	"time"

	"github.com/sallyport-go/auth"
)

// FindGitHubLink implements [auth.GitHubStore].
func (s *accountStore) FindGitHubLink(
	ctx context.Context, account auth.GitHubAccount,
) (r1 auth.GitHubLink, err error) {
	ctx, end := s.begin(ctx, "FindGitHubLink")
	defer func() { end(err) }()
	return s.AccountStore.FindGitHubLink(ctx, account)
}

// FindGitHubConnection implements [auth.GitHubStore].
func (s *accountStore) FindGitHubConnection(
	ctx context.Context, userID string, host string,
) (r1 auth.GitHubLink, r2 *auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "FindGitHubConnection")
	defer func() { end(err) }()
	return s.AccountStore.FindGitHubConnection(ctx, userID, host)
}

// PruneGitHubAccounts implements [auth.GitHubStore].
func (s *accountStore) PruneGitHubAccounts(
	ctx context.Context, forgotten time.Time, limit int,
) (r1 int, err error) {
	ctx, end := s.begin(ctx, "PruneGitHubAccounts")
	defer func() { end(err) }()
	return s.AccountStore.PruneGitHubAccounts(ctx, forgotten, limit)
}

// ListGitHubAccounts implements [auth.GitHubStore].
func (s *accountStore) ListGitHubAccounts(
	ctx context.Context, userID string,
) (r1 []auth.GitHubAccount, err error) {
	ctx, end := s.begin(ctx, "ListGitHubAccounts")
	defer func() { end(err) }()
	return s.AccountStore.ListGitHubAccounts(ctx, userID)
}

// SignInGitHub implements [auth.GitHubStore].
func (s *accountStore) SignInGitHub(
	ctx context.Context, w auth.Write, signIn auth.GitHubSignInWrite,
) (r1 auth.Session, r2 auth.User, err error) {
	ctx, end := s.begin(ctx, "SignInGitHub")
	defer func() { end(err) }()
	return s.AccountStore.SignInGitHub(ctx, w, signIn)
}

// ConnectGitHub implements [auth.GitHubStore].
func (s *accountStore) ConnectGitHub(
	ctx context.Context, w auth.Write, connect auth.GitHubConnectWrite,
) (err error) {
	ctx, end := s.begin(ctx, "ConnectGitHub")
	defer func() { end(err) }()
	return s.AccountStore.ConnectGitHub(ctx, w, connect)
}

// UpdateGitHubLink implements [auth.GitHubStore].
func (s *accountStore) UpdateGitHubLink(ctx context.Context, link auth.GitHubLink) (err error) {
	ctx, end := s.begin(ctx, "UpdateGitHubLink")
	defer func() { end(err) }()
	return s.AccountStore.UpdateGitHubLink(ctx, link)
}

// ListGitHubTokens implements [auth.GitHubStore].
func (s *accountStore) ListGitHubTokens(
	ctx context.Context, host string, after string, limit int,
) (r1 []auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "ListGitHubTokens")
	defer func() { end(err) }()
	return s.AccountStore.ListGitHubTokens(ctx, host, after, limit)
}

// LeaseGitHubToken implements [auth.GitHubStore].
func (s *accountStore) LeaseGitHubToken(
	ctx context.Context, userID string, host string, version string, now time.Time, until time.Time,
) (r1 bool, err error) {
	ctx, end := s.begin(ctx, "LeaseGitHubToken")
	defer func() { end(err) }()
	return s.AccountStore.LeaseGitHubToken(ctx, userID, host, version, now, until)
}

// ReplaceGitHubToken implements [auth.GitHubStore].
func (s *accountStore) ReplaceGitHubToken(
	ctx context.Context, token auth.GitHubToken, oldVersion string,
) (err error) {
	ctx, end := s.begin(ctx, "ReplaceGitHubToken")
	defer func() { end(err) }()
	return s.AccountStore.ReplaceGitHubToken(ctx, token, oldVersion)
}

// DeleteGitHubToken implements [auth.GitHubStore].
func (s *accountStore) DeleteGitHubToken(
	ctx context.Context, w auth.Write, userID string, host string, version string,
) (r1 auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "DeleteGitHubToken")
	defer func() { end(err) }()
	return s.AccountStore.DeleteGitHubToken(ctx, w, userID, host, version)
}

// UnlinkGitHub implements [auth.GitHubStore].
func (s *accountStore) UnlinkGitHub(
	ctx context.Context, w auth.Write, userID string, host string,
) (r1 auth.GitHubLink, r2 *auth.GitHubToken, err error) {
	ctx, end := s.begin(ctx, "UnlinkGitHub")
	defer func() { end(err) }()
	return s.AccountStore.UnlinkGitHub(ctx, w, userID, host)
}

// ForgetGitHubAccount implements [auth.GitHubStore].
func (s *accountStore) ForgetGitHubAccount(
	ctx context.Context, w auth.Write, account auth.GitHubAccount,
) (err error) {
	ctx, end := s.begin(ctx, "ForgetGitHubAccount")
	defer func() { end(err) }()
	return s.AccountStore.ForgetGitHubAccount(ctx, w, account)
}

// Ping implements [auth.AccountStore].
