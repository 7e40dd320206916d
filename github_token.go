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

	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/seal"
	"golang.org/x/oauth2"
)

const (
	refreshAhead = 5 * time.Minute        // before the end of a token
	minLeaseTime = 30 * time.Second       // that an instance has at least to refresh it
	leaseMargin  = 5 * time.Second        // to write the new token after GitHub has answered
	leasePoll    = 100 * time.Millisecond // between looks at the record of who waits
)

// Status returns the account that is connected to the user, as the store has it, or
// ErrNotFound if there is no token.
func (g *GitHubConnector) Status(ctx context.Context, userID string) (GitHubLink, error) {
	link, _, err := g.connection(ctx, userID)
	return link, err
}

// Verify is Status after asking GitHub whether it still accepts the token. A token that GitHub
// has revoked is removed, and the user is no longer connected. The connector remembers GitHub's
// answer for a minute, and asks about each user once at a time.
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
		if !errors.Is(err, ErrChanged) { // or GitHub's no was about a token that is not stored any more
			return err
		}
	}
	return errors.New("auth: verifying a GitHub token: overtaken too often")
}

// connection returns the link and the token, or ErrNotFound if there is no token.
func (g *GitHubConnector) connection(ctx context.Context, userID string) (GitHubLink, GitHubToken, error) {
	link, token, err := g.store.FindGitHubConnection(ctx, userID, g.cfg.Host)
	if err == nil && token == nil {
		err = ErrNotFound
	}
	if err != nil {
		return GitHubLink{}, GitHubToken{}, fmt.Errorf("auth: looking for a GitHub token: %w", err)
	}
	return link, *token, nil
}

// Disconnect removes the user's token from the store, and then revokes it at GitHub if GitHub
// answers. The user can still sign in with GitHub. It returns ErrNotFound if there is no token, or
// if the user is another than the authority's and SuperUser is not set, and the errors of
// [Authority.Check].
func (g *GitHubConnector) Disconnect(ctx context.Context, by Authority, userID string) error {
	if err := g.tokens.admit(ctx, by); err != nil {
		return err
	}
	c := g.tokens.newChange(ctx, by, Event{Kind: EventGitHubDisconnected, UserID: userID})
	token, err := g.store.DeleteGitHubToken(ctx, c.write, userID, g.cfg.Host, "")
	if err != nil {
		return fmt.Errorf("auth: disconnecting GitHub: %w", err)
	}
	c.event.GitHub = token.Account
	c.recordEvent(ctx)
	g.revokeRecord(ctx, token)
	return nil
}

// Unlink is Disconnect, and the GitHub account no longer signs in as the user, nor as anybody else,
// until the user connects it again or [GitHubConnector.Forget] is called. It revokes the sessions
// that GitHub sign-ins have opened for the user. It returns ErrLastWayIn if the user could not sign
// in at all then, and ErrNotFound if no account is linked.
func (g *GitHubConnector) Unlink(ctx context.Context, by Authority, userID string) error {
	if err := g.tokens.admit(ctx, by); err != nil {
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
		g.revokeRecord(ctx, *token)
	}
	return nil
}

// requireWayInWithoutGitHub returns ErrLastWayIn for a user whose keys sign in only while GitHub
// admits the account: see GitHubConfig.MembershipMaxAge.
func (g *GitHubConnector) requireWayInWithoutGitHub(ctx context.Context, userID string) error {
	if g.cfg.MembershipMaxAge == 0 || g.users == nil {
		return nil
	}
	user, err := g.users.FindUser(ctx, userID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil // UnlinkGitHub says so
	case err == nil && !user.AdmittedAt.IsZero():
		err = ErrLastWayIn
	}
	return err
}

// Forget lets an account that was unlinked sign in as a new user again. What the account was once
// granted by SuperUsers stays spent. The authority must be the host's or have SuperUser. It returns
// ErrNotFound if the account is remembered for nobody, ErrExists if it is linked to a user, and the
// errors of [Authority.Check].
func (g *GitHubConnector) Forget(ctx context.Context, by Authority, account GitHubAccount) error {
	if by.Host == "" && !by.SuperUser {
		return ErrSuperUserRequired
	}
	if err := cmp.Or(g.tokens.admit(ctx, by), account.validate()); err != nil {
		return err
	}
	c := g.tokens.newChange(ctx, by, Event{Kind: EventGitHubForgotten, GitHub: account})
	if err := g.store.ForgetGitHubAccount(ctx, c.write, account); err != nil {
		return fmt.Errorf("auth: forgetting a GitHub account: %w", err)
	}
	c.recordEvent(ctx)
	return nil
}

// revokeRecord revokes a token at GitHub that the store no longer has.
func (g *GitHubConnector) revokeRecord(ctx context.Context, token GitHubToken) {
	grant, _, err := g.unseal(token)
	if err != nil {
		g.cfg.Logger.WarnContext(ctx,
			"auth: a removed GitHub token could not be read, and so not be revoked", "error", err)
		return
	}
	g.revokeAtGitHub(ctx, grant.AccessToken)
}

// freshGrant returns a token that is good for a while, and the version of its
// record. It returns ErrNotFound if there is none, or none any more.
func (g *GitHubConnector) freshGrant(ctx context.Context, userID string) (githubapi.Grant, string, error) {
	leave := func() {}
	defer func() { leave() }()
	for ahead, entered := refreshAhead, false; ; {
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
		if !entered { // others on this instance need not ask the store, too, but look at the record again
			if leave, err = g.refreshes.Enter(ctx, userID); err != nil {
				return githubapi.Grant{}, "", err
			}
			entered = true
			continue
		}
		leased, err := g.store.LeaseGitHubToken(ctx, userID, g.cfg.Host, token.Version, now,
			now.Add(g.leaseTime()))
		switch {
		case errors.Is(err, ErrNotFound):
			continue // somebody has just refreshed it, or removed it
		case err != nil:
			return githubapi.Grant{}, "", fmt.Errorf("auth: leasing a GitHub token: %w", err)
		case !leased:
			if err := wait(ctx, leasePoll); err != nil {
				return githubapi.Grant{}, "", fmt.Errorf("auth: waiting for a GitHub token: %w", err)
			}
		default:
			if err := g.refresh(ctx, token, grant); err != nil {
				return githubapi.Grant{}, "", err
			}
			ahead = 0 // a new token is good for as long as it says, be it short
		}
	}
}

// leaseTime returns how long a lease lasts: longer than a refresh may take, or two instances would
// redeem one refresh token.
func (g *GitHubConnector) leaseTime() time.Duration {
	return max(minLeaseTime, g.cfg.Timeout+leaseMargin)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reseal writes the token anew under the first of the keys and returns the
// version of the record. If it cannot, the old one is as good.
func (g *GitHubConnector) reseal(
	ctx context.Context, old GitHubToken, grant githubapi.Grant,
) (version string) {
	token, err := g.seal(grant, old.UserID, old.Account)
	if err == nil {
		err = g.store.ReplaceGitHubToken(ctx, token, old.Version)
	}
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			g.cfg.Logger.WarnContext(ctx, "auth: a GitHub token was not sealed anew", "error", err)
		}
		return old.Version
	}
	return token.Version
}

// refresh redeems the refresh token, under the lease. It goes on when the caller
// has gone: once GitHub has answered, the old token is dead, and the new one must
// be kept or the user is disconnected.
func (g *GitHubConnector) refresh(ctx context.Context, old GitHubToken, grant githubapi.Grant) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Timeout)
	defer cancel()
	fresh, err := g.api.Refresh(ctx, grant.RefreshToken)
	if errors.Is(err, githubapi.ErrBadToken) {
		// Only if the record has not changed since it was read, which dropDeadToken checks.
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
		g.revokeAtGitHub(ctx, fresh.AccessToken) // it lost to a disconnect, or cannot be kept
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("auth: keeping a refreshed GitHub token: %w", err)
	}
	if err == nil {
		g.events.emit(ctx, Event{Kind: EventGitHubRefreshed, UserID: old.UserID, GitHub: old.Account})
	}
	return nil
}

// dropDeadToken removes a token that GitHub no longer accepts, if its record still has this
// version. It returns ErrNotFound if it did, and nil if the record has changed, so that the
// caller should read it again.
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

// TokenSource returns the source of the user's GitHub token, refreshed when needed. Its Token method
// returns ErrNotFound if there is no token. A program that has the token has the user's power over
// GitHub: prefer [GitHubConnector.Client], which does not give it away.
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

// Client returns an HTTP client that makes the host's own calls to GitHub's REST API as the user,
// with the token as it is at each call. It returns ErrNotFound if there is no token now. If the
// token is removed later, a call returns ErrNotFound.
//
// The token is sent to the API's origin and nowhere else, on every hop of a redirect. The client
// has no timeout: the context of each request bounds it.
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
	r.Header.Del("Authorization") // of an earlier hop
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

// revokeAtGitHub revokes a token at GitHub that is not kept. It goes on when the request is
// over. If GitHub does not answer, it only logs that.
func (g *GitHubConnector) revokeAtGitHub(ctx context.Context, token string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Timeout/4)
	defer cancel()
	if err := g.api.Revoke(ctx, token); err != nil {
		g.cfg.Logger.WarnContext(ctx, "auth: a GitHub token could not be revoked at GitHub", "error", err)
	}
}

// seal makes the record of a token for the user.
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

// unseal returns what seal sealed, and whether it ought to be sealed anew.
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
