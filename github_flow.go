package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/oauthstate"
	"golang.org/x/oauth2"
)

// GitHubOutcome is the result of [GitHubConnector.Complete]. If there is no error, either SignedIn
// or Connected is set.
type GitHubOutcome struct {
	SignedIn  *Token      // the session of a user who has signed in
	IsNewUser bool        // the sign-in created the user, or linked the account to the host's user
	Connected *GitHubLink // the account that was connected
	ReturnTo  string      // the returnTo argument of BeginSignIn or BeginConnect; may be empty

	// ClearCookie removes the cookie that BeginSignIn or BeginConnect returned. If ClearCookie is
	// not nil, set it in the response, even if there is an error. If the error is ErrGitHubState,
	// ClearCookie is nil: a forged request must not end another sign-in of this browser.
	ClearCookie *http.Cookie
}

// BeginSignIn begins a sign-in with GitHub in the browser that sends the request. Redirect the
// browser to authURL, and set the cookie in the response. Without the cookie, the browser cannot
// complete the sign-in. The returnTo argument is a path of the host, or empty; it becomes the
// ReturnTo of the [GitHubOutcome]. BeginSignIn stores nothing.
//
// BeginSignIn returns ErrCrossOrigin for a HEAD request and for a prefetch. It also returns
// ErrCrossOrigin if a page of another origin sent the request by fetch or from a frame, according
// to the request headers. The origins in [GitHubConfig.AllowedOrigins] are exempt.
//
// BeginSignIn accepts a navigation of a whole window, although a page of another origin may have
// caused it. The caller must therefore check that the person asked for the sign-in, as the handlers
// of a [Service] do.
func (g *GitHubConnector) BeginSignIn(
	r *http.Request, returnTo string,
) (authURL string, cookie *http.Cookie, err error) {
	return g.begin(r, oauthstate.Flow{ReturnTo: returnTo})
}

// BeginConnect is like BeginSignIn, but connects a GitHub account to the user of a session. The by
// argument is the authority of the session, from [Identity.Authority]. For an authority from
// [ByHost], BeginConnect returns an *[InvalidError]. The person chooses the account at GitHub.
//
// BeginConnect does not check the session, but [GitHubConnector.Complete] does. If the authority
// has a MaxAge, Complete allows 10 minutes more, because the person can take that long at GitHub.
//
// If the request has no bearer token, BeginConnect assumes that the request comes from a browser
// session. The account can then be connected only in the same browser session, and the caller of
// Complete must pass the identity of that session.
func (g *GitHubConnector) BeginConnect(
	r *http.Request, by Authority, returnTo string,
) (authURL string, cookie *http.Cookie, err error) {
	if err := cmp.Or(by.Validate(), by.requireSession()); err != nil {
		return "", nil, err
	}
	_, err = BearerToken(r)
	flow := oauthstate.Flow{ReturnTo: returnTo, UserID: by.UserID, SessionID: by.SessionID,
		Bearer: err == nil}
	if by.MaxAge > 0 {
		flow.MaxAge = int64((by.MaxAge + oauthstate.Lifetime) / time.Second)
	}
	return g.begin(r, flow, oauth2.SetAuthURLParam("prompt", "select_account"))
}

func (g *GitHubConnector) begin(
	r *http.Request, flow oauthstate.Flow, options ...oauth2.AuthCodeOption,
) (authURL string, cookie *http.Cookie, err error) {
	if g == nil {
		return "", nil, ErrGitHubNotConfigured
	}
	scopes := g.cfg.SignInScopes
	if flow.UserID != "" {
		scopes = g.cfg.ConnectScopes
	}
	if browser.LooksAhead(r) || g.sourceOf(r) == browser.Foreign {
		return "", nil, ErrCrossOrigin
	}
	if err := checkReturnTo(flow.ReturnTo); err != nil {
		return "", nil, err
	}
	g.misplaced.Begin(r)
	flow.Verifier = oauth2.GenerateVerifier()
	flow.ExpiresAt = g.cfg.Now().Add(oauthstate.Lifetime).Unix()
	state := g.cookies.NewState(r)
	cookie, err = g.cookies.Bind(state, flow)
	if err != nil { // oauthstate.ErrTooLong
		return "", nil, invalidf("return_to", "is too long")
	}
	return g.api.AuthCodeURL(state, flow.Verifier, scopes, options...), cookie, nil
}

// sourceOf classifies a request to begin a flow by the origin of the page that sends it.
func (g *GitHubConnector) sourceOf(r *http.Request) browser.Source {
	return browser.SourceOf(r, g.origin, g.cfg.AllowedOrigins)
}

// BeginUnboundSignIn is like BeginSignIn, but needs no request and returns no cookie. It is for a
// program that begins a sign-in which a browser completes. It returns an error unless
// [GitHubConfig.InsecureUnboundState] is set.
func (g *GitHubConnector) BeginUnboundSignIn() (authURL string, err error) {
	if g == nil {
		return "", ErrGitHubNotConfigured
	}
	if g.unbound == nil {
		return "", errors.New("auth: GitHubConfig.InsecureUnboundState is not set")
	}
	flow := oauthstate.Flow{Verifier: oauth2.GenerateVerifier(),
		ExpiresAt: g.cfg.Now().Add(oauthstate.Lifetime).Unix()}
	return g.api.AuthCodeURL(oauthstate.NewUnboundState(g.unbound, flow), flow.Verifier,
		g.cfg.SignInScopes), nil
}

// Complete completes the sign-in or connects the account. The request r is the one with which
// GitHub sends the browser back to the CallbackURL. Complete consumes the OAuth state in the
// request, even if a later step fails. There are exceptions: a HEAD request, a prefetch, a query
// that is not valid, and a state that was given to another browser. In these cases, Complete
// returns ErrGitHubState and does not consume the state.
//
// The browser argument is the identity of the browser session that sends the request, or the zero
// Identity if there is none. This argument matters only for connecting an account. If there is a
// browser session, BeginConnect must have been called for the same session. If there is none, the
// request to BeginConnect must have had a bearer token. These two rules matter if the name of the
// cookie from BeginConnect lacks the prefix __Host-. Another host of the same domain can then plant
// the cookie of another person's flow in the browser.
//
// Complete returns one of the ErrGitHub… errors, or another error if GitHub or the store did not
// answer within GitHubConfig.Timeout. If Complete fails, it leaves no new user, link, session or
// token in the store, and revokes the token that GitHub issued. There is one exception. If a
// [UserSource] refuses the user or fails after the sign-in has been stored, the link stays. If the
// sign-in replaced an older GitHub token, the new token stays, too, and is not revoked.
func (g *GitHubConnector) Complete(r *http.Request, browser Identity) (GitHubOutcome, error) {
	if g == nil {
		return GitHubOutcome{}, ErrGitHubNotConfigured
	}
	return g.completeIf(r, browser, func() error { return nil }, func(err error) error { return err })
}

// completeIf is Complete with two callbacks. If the state belongs to this browser, completeIf calls
// the callback beforeConsume, and then consumes the state and calls GitHub. If beforeConsume
// returns an error, completeIf stops and returns that error, and the browser can retry with the
// same state. If the state does not belong to this browser, completeIf passes ErrGitHubState to the
// callback forged, and returns the result of that callback.
func (g *GitHubConnector) completeIf(
	r *http.Request, browser Identity, beforeConsume func() error, forged func(error) error,
) (GitHubOutcome, error) {
	began, verified := time.Now(), false
	flow, outcome, err := g.completeFlow(r, browser, func() error {
		verified = true
		return beforeConsume()
	})
	if !verified && errors.Is(err, ErrGitHubState) {
		err = forged(err)
	}
	if !errors.Is(err, ErrGitHubState) {
		outcome.ClearCookie = g.cookies.Clear(r.URL.Query().Get("state"))
	}
	g.emitOutcome(r.Context(), began, flow, outcome, err)
	return outcome, err
}

// emitOutcome records the event about the result of a flow. The began argument is the start of the
// call of completeIf.
func (g *GitHubConnector) emitOutcome(
	ctx context.Context, began time.Time, flow oauthstate.Flow, outcome GitHubOutcome, err error,
) {
	switch {
	case outcome.Connected != nil && err == nil: // the change has its own event
	case flow.UserID != "" && err != nil:
		g.events.emit(ctx, Event{
			Kind: eventkind.GitHubRejected, UserID: flow.UserID, ActorID: flow.UserID,
			SessionID: flow.SessionID, Reason: rejectionReason(err),
		})
	case err != nil:
		g.events.recordSignIn(ctx, began, Event{Method: MethodGitHub}, err)
	default:
		user, session := outcome.SignedIn.User, outcome.SignedIn.Session
		g.events.recordSignIn(ctx, began,
			Event{Method: MethodGitHub, UserID: user.ID, SessionID: session.ID}, nil)
	}
}

// completeFlow does what completeIf does, but records no events and does not call the callback
// forged. It also returns the flow of the state, even if a later step fails.
func (g *GitHubConnector) completeFlow(
	r *http.Request, caller Identity, beforeConsume func() error,
) (oauthstate.Flow, GitHubOutcome, error) {
	if browser.LooksAhead(r) {
		return oauthstate.Flow{}, GitHubOutcome{}, ErrGitHubState
	}
	query, ok := oauthstate.ParseCallback(r.URL.RawQuery)
	if !ok {
		return oauthstate.Flow{}, GitHubOutcome{}, ErrGitHubState
	}
	flow, ok := g.openFlow(r, query.Get("state"))
	if !ok || !flow.MayCompleteIn(caller.UserID, caller.SessionID) ||
		query.Has("iss") && query.Get("iss") != g.cfg.BaseURL+"/login/oauth" { // RFC 9207
		return flow, GitHubOutcome{}, ErrGitHubState
	}
	if err := beforeConsume(); err != nil {
		return flow, GitHubOutcome{}, err
	}
	// The last quarter of Timeout is used to revoke a token: GitHub's new token if the store does not
	// keep it, or the token that the new one has replaced.
	ctx, cancel := context.WithTimeout(r.Context(), g.cfg.Timeout-g.cfg.Timeout/4)
	defer cancel()
	used := g.cfg.Now().Add(oauthstate.UsedLifetime)
	if err := g.store.ConsumeState(ctx, oauthstate.ID(query.Get("state")), used); errors.Is(err, ErrExists) {
		return flow, GitHubOutcome{}, ErrGitHubState
	} else if err != nil {
		return flow, GitHubOutcome{}, fmt.Errorf("auth: using a state: %w", err)
	}
	switch {
	case query.Has("error"):
		return flow, GitHubOutcome{ReturnTo: flow.ReturnTo}, callbackError(query.Get("error"))
	case !githubapi.IsTokenText(query.Get("code")):
		return flow, GitHubOutcome{ReturnTo: flow.ReturnTo}, ErrGitHubState
	}
	outcome, err := g.finishWithCode(ctx, flow, query.Get("code"))
	outcome.ReturnTo = flow.ReturnTo
	return flow, outcome, err
}

// openFlow returns the flow of the state. It returns false unless the browser that sends the
// request is allowed to complete the flow.
func (g *GitHubConnector) openFlow(r *http.Request, state string) (oauthstate.Flow, bool) {
	if g.unbound != nil && oauthstate.IsUnbound(state) {
		return oauthstate.OpenUnboundState(g.unbound, state, g.cfg.Now())
	}
	if state != "" && !g.cookies.Sent(r, state) {
		g.misplaced.Lose(r.Context())
	}
	return g.cookies.Flow(r, state, g.cfg.Now())
}

// finishWithCode exchanges the code for a GitHub token, and signs the user in or connects the
// account. If the token is not kept in the store, finishWithCode revokes it at GitHub.
func (g *GitHubConnector) finishWithCode(
	ctx context.Context, flow oauthstate.Flow, code string,
) (outcome GitHubOutcome, err error) {
	grant, err := g.api.Exchange(ctx, code, flow.Verifier)
	if errors.Is(err, githubapi.ErrBadCode) {
		return GitHubOutcome{}, ErrGitHubState
	} else if err != nil {
		return GitHubOutcome{}, err
	}
	kept := false
	defer func() {
		if !kept {
			g.revokeAtGitHub(ctx, flow.UserID, grant)
		}
	}()
	profile, err := g.profile(ctx, grant.AccessToken)
	if err != nil {
		return GitHubOutcome{}, err
	}
	if err := g.requireAllowed(ctx, profile, grant.AccessToken); err != nil {
		return GitHubOutcome{}, err
	}
	if flow.UserID != "" {
		outcome.Connected, err = g.connect(ctx, flow, profile, grant)
		kept = err == nil
		return outcome, err
	}
	signedIn, err := g.signIn(ctx, profile, grant)
	kept = signedIn.keptToken
	outcome.SignedIn, outcome.IsNewUser = signedIn.token, signedIn.isNew
	return outcome, err
}

// profile asks GitHub for the account to which the token belongs.
func (g *GitHubConnector) profile(ctx context.Context, token string) (GitHubProfile, error) {
	p, err := g.api.Profile(ctx, token)
	if err != nil {
		return GitHubProfile{}, g.refusalAsNotAllowed(ctx, err)
	}
	return GitHubProfile{
		Account:   GitHubAccount{Host: g.cfg.Host, ID: p.ID},
		Login:     p.Login,
		Name:      p.Name,
		AvatarURL: p.AvatarURL,
	}, nil
}

// requireAllowed returns ErrGitHubNotAllowed unless the lists and Admit allow the account.
func (g *GitHubConnector) requireAllowed(ctx context.Context, profile GitHubProfile, token string) error {
	allowed, err := g.isListed(ctx, profile.Account.ID, token)
	if err == nil && allowed && g.cfg.Admit != nil {
		allowed, err = g.callAdmit(ctx, profile)
	}
	if err == nil && !allowed {
		return ErrGitHubNotAllowed
	}
	return err
}

// isListed reports whether the account is listed or belongs to a listed organization or team. If
// all lists are empty, it returns true.
func (g *GitHubConnector) isListed(ctx context.Context, id int64, token string) (bool, error) {
	users, organizations, teams := g.cfg.AllowedUsers, g.cfg.AllowedOrganizations, g.cfg.AllowedTeams
	if len(users)+len(organizations)+len(teams) == 0 || slices.Contains(users, id) {
		return true, nil
	}
	var refusal error
	for _, list := range []struct {
		allowed []int64
		ask     func(context.Context, string) ([]int64, error)
	}{{organizations, g.api.Organizations}, {teams, g.api.Teams}} {
		if len(list.allowed) == 0 {
			continue
		}
		ids, err := list.ask(ctx, token)
		switch {
		case slices.ContainsFunc(ids, func(id int64) bool { return slices.Contains(list.allowed, id) }):
			return true, nil
		case githubapi.IsRefusal(err):
			refusal = err // the other list may still allow the account
		case err != nil:
			return false, err
		}
	}
	return false, g.refusalAsNotAllowed(ctx, refusal)
}

// callAdmit calls GitHubConfig.Admit and converts a panic in it into an error.
func (g *GitHubConnector) callAdmit(ctx context.Context, profile GitHubProfile) (allowed bool, err error) {
	defer callback.Recover("GitHubConfig.Admit", func(failure error) { allowed, err = false, failure })
	return g.cfg.Admit(ctx, profile)
}

// StillAdmitted is for users that a GitHub sign-in created. It returns an error if the
// configuration no longer allows the user's GitHub account. For every other user, it returns nil.
// StillAdmitted asks GitHub only if the last check was longer than GitHubConfig.MembershipMaxAge
// ago. [Service.Login] calls StillAdmitted. A host that signs users in by other means can call it
// with the User that the store returned.
//
// It returns ErrGitHubNotAllowed if the account is no longer allowed, or if the store has no GitHub
// token with which the connector can ask. In the second case, the user must sign in with GitHub
// again. Any other error means that GitHub or the store did not answer within GitHubConfig.Timeout.
// The connector remembers a refusal for a minute, and never asks GitHub twice at the same time
// about one user.
func (g *GitHubConnector) StillAdmitted(ctx context.Context, user User) error {
	if g == nil {
		return ErrGitHubNotConfigured
	}
	longest := g.cfg.MembershipMaxAge
	if longest == 0 || user.AdmittedAt.IsZero() || g.cfg.Now().Before(user.AdmittedAt.Add(longest)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	err := g.recheckMembership(ctx, user.ID)
	if errors.Is(err, ErrNotFound) { // there is no token, or GitHub no longer accepts it
		return ErrGitHubNotAllowed
	}
	return err
}

// recheckMembership asks GitHub whether the user's account is still allowed. If the connector
// remembers GitHub's answer, recheckMembership uses that answer. If there is no token with which to
// ask GitHub, recheckMembership returns ErrNotFound.
func (g *GitHubConnector) recheckMembership(ctx context.Context, userID string) error {
	grant, version, err := g.freshGrant(ctx, userID)
	if err != nil {
		return err
	}
	if g.cfg.checksMembership() && !grant.Covers(membershipScope) {
		return ErrNotFound // the token was issued before the lists were configured
	}
	return g.memberAnswers.Ask(ctx, userID, version, func() error {
		return g.askStillAdmitted(ctx, userID, grant, version)
	}, func(err error) bool {
		return err == nil || errors.Is(err, ErrGitHubNotAllowed) && !githubapi.IsRefusal(err)
	})
}

// askStillAdmitted asks GitHub about the user's account. If the account is still allowed, it stores
// the time of the check.
func (g *GitHubConnector) askStillAdmitted(
	ctx context.Context, userID string, grant githubapi.Grant, version string,
) error {
	profile, err := g.profile(ctx, grant.AccessToken)
	if err == nil {
		err = g.requireAllowed(ctx, profile, grant.AccessToken)
	}
	switch {
	case errors.Is(err, githubapi.ErrBadToken):
		if err := g.dropDeadToken(ctx, userID, version); err != nil {
			return err
		}
		return errors.New("auth: the GitHub token changed while GitHub was asked")
	case err != nil:
		return err
	}
	link := g.link(profile, g.cfg.Now())
	link.UserID = userID
	if err := g.store.UpdateGitHubLink(ctx, link); err != nil {
		return fmt.Errorf("auth: recording that a user is still admitted: %w", err)
	}
	return nil
}
