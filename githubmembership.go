package auth

import (
	"context"
	"errors"
	"fmt"
)

// StillAdmitted asks GitHub whether a user whom GitHub sign-in made may still come
// in, if that has not been asked for GitHubConfig.MembershipMaxAge. It returns
// nil for everybody else, and ErrGitHubNotAllowed for who may not, or cannot be
// asked about without signing in with GitHub again; any other error means that
// GitHub or the store could not answer within GitHubConfig.Timeout.
//
// [Service.Login] calls it. A host that signs users in by other means does so
// itself, with the user as the store has it.
func (g *GitHubConnector) StillAdmitted(ctx context.Context, user User) error {
	longest := g.cfg.MembershipMaxAge
	if longest == 0 || user.AdmittedAt.IsZero() || g.cfg.Now().Before(user.AdmittedAt.Add(longest)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	err := g.recheck(ctx, user.ID)
	if errors.Is(err, ErrNotFound) { // no token, or none any more
		return ErrGitHubNotAllowed
	}
	return err
}

func (g *GitHubConnector) recheck(ctx context.Context, userID string) error {
	grant, version, err := g.freshGrant(ctx, userID)
	if err != nil {
		return err
	}
	if g.cfg.asksForMembership() && !covers(grant.scopes, membershipScope) {
		return ErrNotFound // of before there were lists
	}
	profile, err := g.api.profile(ctx, g.cfg.Host, grant.AccessToken)
	if err == nil {
		err = g.admit(ctx, profile, grant.AccessToken)
	}
	switch {
	case errors.Is(err, errGitHubToken):
		if err := g.drop(ctx, userID, version); err != nil {
			return err
		}
		return errors.New("auth: the GitHub token changed while GitHub was asked")
	case err != nil:
		return err
	}
	link := g.link(profile, g.cfg.Now())
	link.UserID = userID
	if err := g.store.UpdateGitHubLink(ctx, link); err != nil {
		return fmt.Errorf("auth: keeping that a user is still admitted: %w", err)
	}
	return nil
}

// recheckMembership is [GitHubConnector.StillAdmitted] for who has shown a good
// access key. A no looks like that of a key which is not good.
func (s *Service) recheckMembership(ctx context.Context, user User) error {
	if s.github == nil {
		return nil
	}
	err := s.github.StillAdmitted(ctx, user)
	if errors.Is(err, ErrGitHubNotAllowed) {
		s.log.InfoContext(ctx, "auth: an access key was refused: its user must sign in with GitHub first", "user_id", user.ID)
		return ErrInvalidCredentials
	}
	return err
}
