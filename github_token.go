package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/seal"
	"golang.org/x/oauth2"
)

const (
	refreshAhead = 5 * time.Minute        // how long before its expiry a token is refreshed
	minLeaseTime = 30 * time.Second       // the shortest lease
	leaseMargin  = 5 * time.Second        // time to store the new token after GitHub has answered
	leasePoll    = 100 * time.Millisecond // interval at which a waiting call reads the record again
)

// Status reads from the store which GitHub account is connected to the user. It returns ErrNotFound
// if the store has no GitHub token of the user.
func (g *GitHubConnector) Status(ctx context.Context, userID string) (GitHubLink, error) {
	link, _, err := g.connection(ctx, userID)
	return link, err
}

// Verify does what Status does, and also asks GitHub whether the token is still valid. If the token
// is not valid, Verify removes it and returns ErrNotFound. The connector remembers GitHub's answer
// for a minute, and never asks twice at the same time about one user.
func (g *GitHubConnector) Verify(ctx context.Context, userID string) (GitHubLink, error) {
	link, _, err := g.connection(ctx, userID)
	if err == nil {
		err = g.verifyToken(ctx, userID)
	}
	if err != nil {
		return GitHubLink{}, err
	}
	return link, nil
}

func (g *GitHubConnector) verifyToken(ctx context.Context, userID string) error {
	for range maxAttempts {
		grant, version, err := g.freshGrant(ctx, userID)
		if err != nil {
			return err
		}
		err = g.tokenAnswers.Ask(ctx, userID, version, func() error {
			valid, err := g.api.IsValid(ctx, grant.AccessToken)
			if err != nil || valid {
				return err
			}
			return cmp.Or(g.dropDeadToken(ctx, userID, version), ErrChanged)
		}, func(err error) bool { return err == nil || errors.Is(err, ErrNotFound) })
		// ErrChanged means that GitHub rejected a token that has been replaced in the store
		// meanwhile.
		if !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return errors.New("auth: verifying a GitHub token: concurrent writes came first too often")
}

// connection returns the user's link and token, or ErrNotFound if there is no token.
func (g *GitHubConnector) connection(ctx context.Context, userID string) (GitHubLink, GitHubToken, error) {
	if g == nil {
		return GitHubLink{}, GitHubToken{}, ErrGitHubNotConfigured
	}
	link, token, err := g.store.FindGitHubConnection(ctx, userID, g.cfg.Host)
	if err == nil && token == nil {
		err = ErrNotFound
	}
	if err != nil {
		return GitHubLink{}, GitHubToken{}, fmt.Errorf("auth: looking for a GitHub token: %w", err)
	}
	return link, *token, nil
}

// Disconnect removes the user's GitHub token from the store, and then revokes it at GitHub if
// GitHub answers. The user can still sign in with GitHub. Disconnect returns ErrNotFound if there
// is no token. Without SuperUser, a session also gets ErrNotFound for the token of another user.
// Disconnect also returns the errors of [Authority.Check].
func (g *GitHubConnector) Disconnect(ctx context.Context, by Authority, userID string) error {
	if err := g.checkAuthority(ctx, by); err != nil {
		return err
	}
	c := g.tokens.newChange(ctx, by, Event{Kind: EventGitHubDisconnected, UserID: userID})
	token, err := g.store.DeleteGitHubToken(ctx, c.write, userID, g.cfg.Host, "")
	if err != nil {
		return fmt.Errorf("auth: disconnecting GitHub: %w", err)
	}
	c.event.GitHub = token.Account
	c.recordEvent(ctx)
	g.revokeRemovedToken(ctx, token)
	return nil
}

// Unlink does what Disconnect does, and also removes the link. A sign-in with the account is then
// refused until the user connects the account again or [GitHubConnector.Forget] is called. Unlink
// revokes the sessions that GitHub sign-ins opened for the user. It returns ErrNotFound if no
// account is linked, and ErrLastWayIn if the user could not sign in without the link.
func (g *GitHubConnector) Unlink(ctx context.Context, by Authority, userID string) error {
	if err := g.checkAuthority(ctx, by); err != nil {
		return err
	}
	if err := g.requireWayInWithoutGitHub(ctx, userID); err != nil {
		return fmt.Errorf("auth: unlinking GitHub: %w", err)
	}
	c := g.tokens.newChange(ctx, by, Event{Kind: EventGitHubUnlinked, UserID: userID})
	link, token, err := g.store.UnlinkGitHub(ctx, c.write, userID, g.cfg.Host)
	if err != nil {
		return fmt.Errorf("auth: unlinking GitHub: %w", err)
	}
	g.tokens.learnRevocations(ctx)
	c.event.GitHub = link.Account
	c.recordEvent(ctx)
	if token != nil {
		g.revokeRemovedToken(ctx, *token)
	}
	return nil
}

// requireWayInWithoutGitHub returns ErrLastWayIn if GitHubConfig.MembershipMaxAge is set and a
// GitHub sign-in created the user. The user's keys then work only while the account is allowed.
func (g *GitHubConnector) requireWayInWithoutGitHub(ctx context.Context, userID string) error {
	if g.cfg.MembershipMaxAge == 0 || g.users == nil {
		return nil
	}
	user, err := g.users.FindUser(ctx, userID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil // UnlinkGitHub returns ErrNotFound
	case err == nil && !user.AdmittedAt.IsZero():
		err = ErrLastWayIn
	}
	return err
}

// Forget makes the store forget to which user an unlinked account was linked. The account can then
// sign in again, as a new user. GitHubConfig.SuperUsers works only one time for an account, even
// after Forget. The authority must be an authority of the host or have SuperUser. Forget returns
// ErrNotFound if the store remembers no user for the account, and ErrExists if the account is still
// linked. It also returns the errors of [Authority.Check].
func (g *GitHubConnector) Forget(ctx context.Context, by Authority, account GitHubAccount) error {
	if by.Host == "" && !by.SuperUser {
		return ErrSuperUserRequired
	}
	if err := cmp.Or(g.checkAuthority(ctx, by), account.validate()); err != nil {
		return err
	}
	c := g.tokens.newChange(ctx, by, Event{Kind: EventGitHubForgotten, GitHub: account})
	if err := g.store.ForgetGitHubAccount(ctx, c.write, account); err != nil {
		return fmt.Errorf("auth: forgetting a GitHub account: %w", err)
	}
	c.recordEvent(ctx)
	return nil
}

// revokeRemovedToken revokes at GitHub a token that has been removed from the store.
func (g *GitHubConnector) revokeRemovedToken(ctx context.Context, token GitHubToken) {
	grant, _, err := g.unseal(token)
	if err != nil {
		g.cfg.Logger.WarnContext(ctx,
			"auth: a removed GitHub token could not be decrypted, so it was not revoked at GitHub",
			"user_id", token.UserID, "error", err)
		return
	}
	g.revokeAtGitHub(ctx, token.UserID, grant.AccessToken)
}

// freshGrant returns the user's token and the version of its record. If the token expires soon,
// freshGrant refreshes it first. It returns ErrNotFound if there is no token, or if GitHub rejects
// the refresh token.
//
// A refresh token can be redeemed only one time. So a refresh waits until no other call on any
// instance refreshes the token. The lease in the store makes other instances wait. After each wait,
// freshGrant reads the record again, because another call may have refreshed the token.
func (g *GitHubConnector) freshGrant(ctx context.Context, userID string) (githubapi.Grant, string, error) {
	leave := func() {}
	defer func() { leave() }()
	for ahead, hasTurn := refreshAhead, false; ; {
		_, token, err := g.connection(ctx, userID)
		if err != nil {
			return githubapi.Grant{}, "", err
		}
		grant, stale, err := g.unseal(token)
		if err != nil {
			return githubapi.Grant{}, "", fmt.Errorf("auth: the GitHub token of user %s: %w", userID, err)
		}
		now := g.cfg.Now()
		if grant.ExpiresAt.IsZero() || now.Before(grant.ExpiresAt.Add(-ahead)) || grant.RefreshToken == "" {
			version := token.Version
			if stale {
				version = g.reseal(ctx, token, grant)
			}
			return grant, version, nil
		}
		if !hasTurn {
			if leave, err = g.refreshes.Enter(ctx, userID); err != nil {
				return githubapi.Grant{}, "", err
			}
			hasTurn = true
			continue
		}
		leased, err := g.store.LeaseGitHubToken(ctx, userID, g.cfg.Host, token.Version, now,
			now.Add(g.leaseTime()))
		switch {
		case errors.Is(err, ErrNotFound):
			continue // another instance has refreshed or removed the token
		case err != nil:
			return githubapi.Grant{}, "", fmt.Errorf("auth: leasing a GitHub token: %w", err)
		case !leased:
			if err := clock.Sleep(ctx, leasePoll); err != nil {
				return githubapi.Grant{}, "", fmt.Errorf("auth: waiting for a GitHub token: %w", err)
			}
		default:
			if err := g.refresh(ctx, token, grant); err != nil {
				return githubapi.Grant{}, "", err
			}
			ahead = 0 // a new token may live for less than refreshAhead; do not refresh it again
		}
	}
}

// leaseTime returns how long a lease lasts. A lease must be longer than a refresh can take. If the
// lease ended during the refresh, two instances could redeem the same refresh token.
func (g *GitHubConnector) leaseTime() time.Duration {
	return max(minLeaseTime, g.cfg.Timeout+leaseMargin)
}

// reseal seals the token again with the first key, stores it, and returns the version of the
// record. If reseal fails, the old record stays and remains valid.
func (g *GitHubConnector) reseal(
	ctx context.Context, old GitHubToken, grant githubapi.Grant,
) (version string) {
	token, err := g.seal(grant, old.UserID, old.Account)
	if err == nil {
		err = g.store.ReplaceGitHubToken(ctx, token, old.Version)
	}
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			g.cfg.Logger.WarnContext(ctx,
				"auth: a GitHub token was not sealed with the first key", "user_id", old.UserID, "error", err)
		}
		return old.Version
	}
	return token.Version
}

// refresh redeems the refresh token and stores the new token. This instance must hold the lease.
// refresh ignores the cancellation of ctx. After GitHub has answered, the old token no longer
// works, so the new token must be stored.
func (g *GitHubConnector) refresh(ctx context.Context, old GitHubToken, grant githubapi.Grant) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Timeout)
	defer cancel()
	fresh, err := g.api.Refresh(ctx, grant.RefreshToken)
	if errors.Is(err, githubapi.ErrBadToken) {
		return g.dropDeadToken(ctx, old.UserID, old.Version)
	} else if err != nil {
		return err
	}
	if fresh.Scopes == "" {
		fresh.Scopes = old.Scopes
	}
	token, err := g.seal(fresh, old.UserID, old.Account)
	if err == nil {
		err = g.store.ReplaceGitHubToken(ctx, token, old.Version)
	}
	if err != nil {
		g.revokeAtGitHub(ctx, old.UserID, fresh.AccessToken) // disconnected meanwhile, or the store failed
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("auth: keeping a refreshed GitHub token: %w", err)
	}
	if err == nil {
		g.events.emit(ctx, Event{Kind: EventGitHubRefreshed, UserID: old.UserID, GitHub: old.Account})
	}
	return nil
}

// dropDeadToken removes a token that GitHub no longer accepts, and returns ErrNotFound. If the
// record no longer has the given version, dropDeadToken returns nil, and the caller must read the
// record again.
func (g *GitHubConnector) dropDeadToken(ctx context.Context, userID, version string) error {
	c := g.tokens.newChange(ctx, ByHost("auth.Verify"), Event{Kind: EventGitHubLost, UserID: userID})
	token, err := g.store.DeleteGitHubToken(ctx, c.write, userID, g.cfg.Host, version)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("auth: removing a dead GitHub token: %w", err)
	}
	c.event.GitHub = token.Account
	c.recordEvent(ctx)
	return fmt.Errorf("auth: GitHub has revoked the token: %w", ErrNotFound)
}

// TokenSource returns a source of the user's GitHub token. The source refreshes the token when
// needed, and its Token method returns ErrNotFound if there is no token. A program that has the
// token can do at GitHub whatever the scopes of the token allow. Prefer [GitHubConnector.Client],
// which does not reveal the token.
func (g *GitHubConnector) TokenSource(ctx context.Context, userID string) oauth2.TokenSource {
	return githubTokenSource{ctx, g, userID}
}

type githubTokenSource struct {
	ctx    context.Context
	g      *GitHubConnector
	userID string
}

func (s githubTokenSource) Token() (*oauth2.Token, error) {
	grant, _, err := s.g.freshGrant(s.ctx, s.userID)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: grant.AccessToken, TokenType: "Bearer", Expiry: grant.ExpiresAt}, nil
}

// Client returns an HTTP client that calls GitHub's REST API as the user. Each request uses the
// user's current token. Client returns ErrNotFound if the user has no token. If the token is
// removed later, requests fail with ErrNotFound.
//
// The client sends the token only to the API's origin, even if a redirect leads to another origin.
// The client has no timeout: the context of each request must limit it.
func (g *GitHubConnector) Client(ctx context.Context, userID string) (*http.Client, error) {
	if _, _, err := g.connection(ctx, userID); err != nil {
		return nil, err
	}
	origin, err := url.Parse(g.cfg.APIURL)
	if err != nil {
		return nil, fmt.Errorf("auth: GitHub's APIURL: %w", err)
	}
	base := g.cfg.HTTPClient.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	return &http.Client{Transport: userTransport{g: g, base: base, origin: origin, userID: userID}}, nil
}

// userTransport adds a user's token to requests for one origin.
type userTransport struct {
	g      *GitHubConnector
	base   http.RoundTripper
	origin *url.URL
	userID string
}

func (t userTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization") // set for an earlier hop of a redirect
	if r.URL.Scheme == t.origin.Scheme && r.URL.Host == t.origin.Host &&
		(r.Host == "" || r.Host == r.URL.Host) {
		grant, _, err := t.g.freshGrant(r.Context(), t.userID)
		if err != nil {
			if r.Body != nil {
				r.Body.Close() // as a RoundTripper must
			}
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+grant.AccessToken)
	}
	return t.base.RoundTrip(r)
}

// revokeAtGitHub revokes at GitHub a user's token that is not in the store. It ignores the
// cancellation of ctx. If the call to GitHub fails, it only logs the failure.
func (g *GitHubConnector) revokeAtGitHub(ctx context.Context, userID, token string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Timeout/4)
	defer cancel()
	if err := g.api.Revoke(ctx, token); err != nil {
		g.cfg.Logger.WarnContext(ctx, "auth: a GitHub token was not revoked", "user_id", userID, "error", err)
	}
}

// seal encrypts the grant and returns the record of the user's token.
func (g *GitHubConnector) seal(
	grant githubapi.Grant, userID string, account GitHubAccount,
) (GitHubToken, error) {
	text, err := json.Marshal(grant)
	if err != nil {
		return GitHubToken{}, fmt.Errorf("auth: encoding a GitHub token: %w", err)
	}
	return GitHubToken{
		Account:   account,
		UserID:    userID,
		Version:   rand.Text(),
		Scopes:    grant.Scopes,
		Sealed:    g.sealer.Seal(text, userID, account.Host),
		UpdatedAt: g.cfg.Now(),
	}, nil
}

// unseal decrypts the grant in a record. The stale result reports whether the record was sealed
// with a key other than the first.
func (g *GitHubConnector) unseal(token GitHubToken) (grant githubapi.Grant, stale bool, err error) {
	text, stale, err := g.sealer.Open(token.Sealed, token.UserID, token.Account.Host)
	if err == nil {
		err = json.Unmarshal(text, &grant)
	}
	if err != nil {
		return githubapi.Grant{}, false, seal.ErrSealed
	}
	grant.Scopes = token.Scopes
	return grant, stale, nil
}
