package memstore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
)

// githubToken is the record of a token and its lease. Each write of a token creates a new
// githubToken without a lease. So a lease on the old token never applies to the new token.
type githubToken struct {
	record      auth.GitHubToken
	leasedUntil time.Time
}

// ListGitHubTokens implements [auth.GitHubStore]. It holds the lock while it looks for tokens. If few
// users have tokens, this can be a scan of all users.
func (s *accounts) ListGitHubTokens(
	ctx context.Context, host, after string, limit int,
) ([]auth.GitHubToken, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var page []auth.GitHubToken
	for u := range s.usersByID.after(after) {
		if len(page) >= limit {
			break
		}
		if link := u.links[host]; link != nil && link.token != nil {
			page = append(page, link.token.copy())
		}
	}
	return page, nil
}

// LeaseGitHubToken implements [auth.GitHubStore].
func (s *accounts) LeaseGitHubToken(
	ctx context.Context, userID, host, version string, now, until time.Time,
) (bool, error) {
	if err := check(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	link, err := s.linkWithToken(userID, host, version)
	if err != nil {
		return false, err
	}
	if excludes(link.token.leasedUntil, now, until) {
		return false, nil
	}
	link.token.leasedUntil = storedTime(until)
	return true, nil
}

// ReplaceGitHubToken implements [auth.GitHubStore].
func (s *accounts) ReplaceGitHubToken(
	ctx context.Context, token auth.GitHubToken, oldVersion string,
) error {
	if err := check(ctx, token); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	link, err := s.linkWithToken(token.UserID, token.Account.Host, oldVersion)
	if err != nil {
		return err
	}
	if link.record.Account != token.Account {
		return fmt.Errorf("memstore: GitHub token of this account: %w", auth.ErrNotFound)
	}
	link.token = newToken(token)
	return nil
}

// DeleteGitHubToken implements [auth.GitHubStore].
func (s *accounts) DeleteGitHubToken(
	ctx context.Context, w auth.Write, userID, host, version string,
) (auth.GitHubToken, error) {
	if err := check(ctx, w); err != nil {
		return auth.GitHubToken{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, userID)
	if err != nil {
		return auth.GitHubToken{}, err
	}
	_, link, err := s.link(userID, host)
	if err != nil {
		return auth.GitHubToken{}, err
	}
	if link.token == nil || version != "" && link.token.record.Version != version {
		return auth.GitHubToken{}, fmt.Errorf("memstore: GitHub token: %w", auth.ErrNotFound)
	}
	removed := link.token.copy()
	link.token = nil
	s.addEvent(w, now, subject{userID, link.record.Account})
	return removed, nil
}

// linkWithToken returns the user's link to an account of the GitHub host. It returns ErrNotFound if
// there is no such link, or if the link has no token with this version. The caller holds the lock.
func (s *accounts) linkWithToken(userID, host, version string) (*githubLink, error) {
	_, link, err := s.link(userID, host)
	if err != nil {
		return nil, err
	}
	if link.token == nil || link.token.record.Version != version {
		return nil, fmt.Errorf("memstore: GitHub token of this version: %w", auth.ErrNotFound)
	}
	return link, nil
}

// newToken returns a githubToken with a copy of the record. Without the copy, the caller of the
// store could modify the stored token.
func newToken(record auth.GitHubToken) *githubToken {
	record.Sealed = bytes.Clone(record.Sealed)
	record.UpdatedAt = storedTime(record.UpdatedAt)
	return &githubToken{record: record}
}

// copy copies the record, so that the caller of the store can modify the result.
func (t *githubToken) copy() auth.GitHubToken {
	record := t.record
	record.Sealed = bytes.Clone(record.Sealed)
	return record
}
