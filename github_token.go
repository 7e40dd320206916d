package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/clock"
	"github.com/sallyport-go/auth/internal/githubapi"
	"golang.org/x/oauth2"
)

const (
	refreshAhead = 5 * time.Minute        // how long before its expiry a token is refreshed
	minLeaseTime = 30 * time.Second       // the shortest lease
	leaseMargin  = 5 * time.Second        // time to store the new token after GitHub has answered
	leasePoll    = 100 * time.Millisecond // interval at which a waiting call reads the record again
	resealAge    = time.Hour              // how old a record is before its use seals it again
)

// Status reads from the store which GitHub account is connected to the user. It returns ErrNotFound
// if the store has no GitHub token of the user, or if no sealing key decrypts the token. In the
// second case, the token stays in the store, because another instance may have the key. Status logs
// the ID of the key and emits [eventkind.GitHubLost], at most once an hour for a token.
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
		// ErrChanged means that GitHub rejected a token that has been replaced in the store meanwhile.
		if !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return errors.New("auth: verifying a GitHub token: concurrent writes came first too often")
}

// connection returns the user's link and token, or ErrNotFound if there is no token that a sealing
// key decrypts.
func (g *GitHubConnector) connection(ctx context.Context, userID string) (GitHubLink, openedToken, error) {
	if g == nil {
		return GitHubLink{}, openedToken{}, ErrGitHubNotConfigured
	}
	link, token, err := g.store.FindGitHubConnection(ctx, userID, g.cfg.Host)
	if err == nil && token == nil {
		err = ErrNotFound
	}
	var opened openedToken
	if err == nil {
		if opened, err = g.unseal(*token); err != nil {
			g.reportUnopened(ctx, *token, err)
			err = fmt.Errorf("%w: %w", ErrNotFound, err)
		}
	}
	if err != nil {
		return GitHubLink{}, openedToken{}, fmt.Errorf("auth: looking for a GitHub token: %w", err)
	}
	return link, opened, nil
}

// reportUnopened logs that the token cannot be decrypted, and emits an event. It limits the number of
// tokens that it reports, and reports each token at most once an hour. Without these limits, a missing
// key would let the clients of all users cause any number of lines and events.
func (g *GitHubConnector) reportUnopened(ctx context.Context, token GitHubToken, err error) {
	switch first, full := g.unopened.Fail(token.Version); {
	case first:
		g.cfg.Logger.ErrorContext(ctx, "auth: a GitHub token cannot be decrypted, so its user is not "+
			"connected", "user_id", token.UserID, "github_id", token.Account.ID, "error", err)
		g.events.emit(ctx, Event{Kind: eventkind.GitHubLost, UserID: token.UserID, GitHub: token.Account,
			Reason: err.Error()})
	case full:
		g.cfg.Logger.ErrorContext(ctx, "auth: further GitHub tokens cannot be decrypted and are not "+
			"reported in this hour: GitHubConnector.Reseal counts them", "error", err)
	}
}

// revokeRemovedToken revokes at GitHub a token that has been removed from the store.
func (g *GitHubConnector) revokeRemovedToken(ctx context.Context, token GitHubToken) {
	opened, err := g.unseal(token)
	if err != nil {
		g.cfg.Logger.ErrorContext(ctx, "auth: a removed GitHub token cannot be decrypted, so it was not "+
			"revoked at GitHub: its user must revoke the app's access there",
			"user_id", token.UserID, "github_id", token.Account.ID, "error", err)
		g.events.emit(ctx, Event{Kind: eventkind.GitHubLost, UserID: token.UserID, GitHub: token.Account,
			Reason: "removed, but not revoked at GitHub: " + err.Error()})
		return
	}
	g.revokeAtGitHub(ctx, token.UserID, opened.grant)
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
		_, opened, err := g.connection(ctx, userID)
		if err != nil {
			return githubapi.Grant{}, "", err
		}
		now, token, grant := g.cfg.Now(), opened.record, opened.grant
		if grant.ExpiresAt.IsZero() || now.Before(grant.ExpiresAt.Add(-ahead)) || grant.RefreshToken == "" {
			version := token.Version
			if opened.stale && clock.Age(now, token.UpdatedAt) >= resealAge {
				version = g.resealOnUse(ctx, opened)
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
		leased, err := g.lease(ctx, token)
		switch {
		case errors.Is(err, ErrNotFound):
			continue // another instance has refreshed or removed the token
		case err != nil:
			return githubapi.Grant{}, "", err
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

// lease takes the lease on the token, or returns false while another caller has the lease. A lease
// must be longer than a refresh can take. If the lease ended during the refresh, two instances could
// redeem the same refresh token.
func (g *GitHubConnector) lease(ctx context.Context, token GitHubToken) (bool, error) {
	now := g.cfg.Now()
	leased, err := g.store.LeaseGitHubToken(ctx, token.UserID, token.Account.Host, token.Version, now,
		now.Add(max(minLeaseTime, g.cfg.Timeout+leaseMargin)))
	if err != nil {
		return false, fmt.Errorf("auth: leasing a GitHub token: %w", err)
	}
	return leased, nil
}

// reseal seals the token again with the first key, stores it, and returns the version of the
// record. It first takes the lease, because another instance may be refreshing the token. If reseal
// replaced the record meanwhile, the refreshed token could not be stored, and would be lost. The
// result done is false if another caller has the lease. If the record has changed or no longer
// exists, the error is ErrNotFound. If reseal fails, the old record stays and remains valid.
func (g *GitHubConnector) reseal(ctx context.Context, old openedToken) (version string, done bool, _ error) {
	token, err := g.seal(old.grant, old.record.UserID, old.record.Account)
	if err != nil {
		return "", false, err
	}
	if leased, err := g.lease(ctx, old.record); err != nil || !leased {
		return "", false, err
	}
	if err := g.store.ReplaceGitHubToken(ctx, token, old.record.Version); err != nil {
		return "", false, fmt.Errorf("auth: sealing a GitHub token again: %w", err)
	}
	return token.Version, true, nil
}

// resealOnUse calls reseal and returns the version of the record. It only logs a failure. Because of
// resealAge, instances with different first keys do not seal a token in turns at each use.
func (g *GitHubConnector) resealOnUse(ctx context.Context, old openedToken) (version string) {
	version, done, err := g.reseal(ctx, old)
	if err != nil && !errors.Is(err, ErrNotFound) {
		g.cfg.Logger.WarnContext(ctx, "auth: a GitHub token was not sealed again with the first key",
			"user_id", old.record.UserID, "error", err)
	}
	if !done {
		return old.record.Version
	}
	return version
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
		g.revokeAtGitHub(ctx, old.UserID, fresh) // the user disconnected, or the store failed
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("auth: keeping a refreshed GitHub token: %w", err)
	}
	if err == nil {
		g.events.emit(ctx, Event{Kind: eventkind.GitHubRefreshed, UserID: old.UserID, GitHub: old.Account})
	}
	return nil
}

// dropDeadToken removes a token that GitHub no longer accepts, and returns ErrNotFound. If the
// record no longer has the given version, dropDeadToken returns nil, and the caller must read the
// record again.
func (g *GitHubConnector) dropDeadToken(ctx context.Context, userID, version string) error {
	c := g.tokens.newChange(ctx, ByHost("auth.Verify"), Event{Kind: eventkind.GitHubLost, UserID: userID})
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
	base := cmp.Or(g.cfg.HTTPClient.Transport, http.DefaultTransport)
	token := func(ctx context.Context) (string, error) {
		grant, _, err := g.freshGrant(ctx, userID)
		return grant.AccessToken, err
	}
	return &http.Client{Transport: githubapi.UserTransport{Token: token, Base: base, Origin: origin}}, nil
}

// revokeAtGitHub revokes at GitHub a user's grant that is not in the store. It ignores the
// cancellation of ctx. If a call to GitHub fails, it only logs the failure.
func (g *GitHubConnector) revokeAtGitHub(ctx context.Context, userID string, grant githubapi.Grant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Timeout/4)
	defer cancel()
	if err := g.api.Revoke(ctx, grant); err != nil {
		g.cfg.Logger.WarnContext(ctx, "auth: a GitHub token was not revoked", "user_id", userID, "error", err)
	}
}

// seal encrypts the grant and returns the record of the user's token.
func (g *GitHubConnector) seal(
	grant githubapi.Grant, userID string, account GitHubAccount,
) (GitHubToken, error) {
	sealed, err := githubapi.Seal(g.sealer, grant, userID, account.Host)
	if err != nil {
		return GitHubToken{}, err
	}
	return GitHubToken{Account: account, UserID: userID, Version: rand.Text(), Scopes: grant.Scopes,
		Sealed: sealed, UpdatedAt: g.cfg.Now()}, nil
}

// openedToken is the record of a token and the grant that it contains.
type openedToken struct {
	record GitHubToken
	grant  githubapi.Grant
	stale  bool // the record should be sealed again with the first key
}

// unseal decrypts the grant in a record. The only error is a [*githubapi.SealedError].
func (g *GitHubConnector) unseal(token GitHubToken) (openedToken, error) {
	grant, stale, err := githubapi.Open(g.sealer, token.Sealed, token.UserID, token.Account.Host)
	grant.Scopes = token.Scopes
	return openedToken{token, grant, stale}, err
}

// ResealReport is the result of [GitHubConnector.Reseal].
type ResealReport struct {
	Current  int // tokens that were encrypted with the first key already
	Resealed int // tokens that Reseal has encrypted with the first key

	// Unopened counts the tokens that no key decrypts, by the ID of the key that encrypted the token.
	// Reseal leaves these tokens unchanged.
	Unopened map[string]int
}

const resealPage = 500 // tokens that one query of Reseal reads

// Reseal encrypts all stored tokens for the GitHub host with the first sealing key. Before you call
// Reseal, give every instance the same first key. If Reseal returns no error, the stored tokens need
// no other key that this instance has. ResealReport.Unopened counts tokens that need another key.
//
// Reseal can run on several instances at the same time, and while users sign in, connect and
// disconnect. If another instance is refreshing a token, Reseal waits for it. If Reseal returns an error,
// such as that of ctx, the report covers the tokens before the error. Call Reseal again for the rest.
func (g *GitHubConnector) Reseal(ctx context.Context) (ResealReport, error) {
	report := ResealReport{Unopened: map[string]int{}}
	if g == nil {
		return report, ErrGitHubNotConfigured
	}
	for after := ""; ; {
		page, err := g.store.ListGitHubTokens(ctx, g.cfg.Host, after, resealPage)
		if err != nil {
			return report, fmt.Errorf("auth: listing GitHub tokens: %w", err)
		}
		for _, token := range page {
			if err := g.resealStored(ctx, token, &report); err != nil {
				return report, err
			}
		}
		if len(page) < resealPage {
			return report, nil
		}
		after = page[len(page)-1].UserID
	}
}

// resealStored seals one token again. If the token changes meanwhile, resealStored reads it again.
func (g *GitHubConnector) resealStored(ctx context.Context, token GitHubToken, report *ResealReport) error {
	for changes := 0; changes < maxAttempts; {
		opened, err := g.unseal(token)
		if sealed, ok := errors.AsType[*githubapi.SealedError](err); ok {
			report.Unopened[sealed.KeyID]++
			return nil
		}
		if !opened.stale {
			report.Current++
			return nil
		}
		_, done, err := g.reseal(ctx, opened)
		switch {
		case done:
			report.Resealed++
			return nil
		case errors.Is(err, ErrNotFound):
			changes++
		case err != nil || clock.Sleep(ctx, leasePoll) != nil: // another instance refreshes the token
			return cmp.Or(err, ctx.Err())
		}
		_, again, err := g.store.FindGitHubConnection(ctx, token.UserID, token.Account.Host)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && again == nil:
			return nil // the user has disconnected
		case err != nil:
			return fmt.Errorf("auth: looking for a GitHub token: %w", err)
		}
		token = *again
	}
	return errors.New("auth: sealing a GitHub token again: other writes changed the token too often")
}
