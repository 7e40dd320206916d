package auth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// GitHubStart is the beginning of a flow: where to send the browser, and the
// cookie without which it cannot come back. The cookie must reach the same
// browser; it is nil for a state that none binds.
type GitHubStart struct {
	AuthURL string
	Cookie  *http.Cookie
}

// GitHubOutcome is what a flow has come to. Either SignedIn or Connected is set.
type GitHubOutcome struct {
	SignedIn  *Token      // the session of a user who has signed in
	IsNewUser bool        // who was made by this sign-in, or the host's, whose account it has linked
	Connected *GitHubLink // the account that is connected now
	ReturnTo  string      // the path that the flow was begun with; may be empty
}

// The ways in which a flow fails. Any other error means that GitHub or the store
// could not answer.
var (
	// ErrGitHubState means that the state or the code is missing, wrong, expired
	// or used: the flow must be begun again.
	ErrGitHubState = errors.New("auth: no such GitHub sign-in in this browser")

	// ErrGitHubDenied means that the person said no at GitHub.
	ErrGitHubDenied = errors.New("auth: access was denied at GitHub")

	// ErrGitHubNotAllowed means that this GitHub account may not come in, or that
	// its user is disabled.
	ErrGitHubNotAllowed = errors.New("auth: GitHub account is not allowed")

	// ErrGitHubConflict means that the GitHub account belongs to another user, or
	// the user to another GitHub account.
	ErrGitHubConflict = errors.New("auth: GitHub account and user belong to others")
)

// BeginSignIn begins a sign-in with GitHub in the browser that sends the request.
// ReturnTo is a path of the host's, or empty. Nothing is stored.
func (g *GitHubConnector) BeginSignIn(r *http.Request, returnTo string) (GitHubStart, error) {
	return g.begin(r, githubFlow{ReturnTo: returnTo}, g.cfg.SignInScopes)
}

// BeginConnect begins to connect a GitHub account to the caller, whose session
// must still be live when it is done, in the browser that sends the request. The
// person chooses the account at GitHub.
func (g *GitHubConnector) BeginConnect(r *http.Request, caller Identity, returnTo string) (GitHubStart, error) {
	flow := githubFlow{ReturnTo: returnTo, UserID: caller.UserID, SessionID: caller.SessionID}
	return g.begin(r, flow, g.cfg.ConnectScopes, oauth2.SetAuthURLParam("prompt", "select_account"))
}

func (g *GitHubConnector) begin(r *http.Request, flow githubFlow, scopes []string, options ...oauth2.AuthCodeOption) (GitHubStart, error) {
	if err := checkReturnTo(flow.ReturnTo); err != nil {
		return GitHubStart{}, err
	}
	flow.Verifier = oauth2.GenerateVerifier()
	flow.ExpiresAt = g.cfg.Now().Add(stateLifetime).Unix()
	state := g.cookies.newState(r)
	cookie, err := g.cookies.bind(state, flow)
	if err != nil {
		return GitHubStart{}, err
	}
	return GitHubStart{AuthURL: g.authURL(state, flow, scopes, options...), Cookie: cookie}, nil
}

// BeginUnboundSignIn is BeginSignIn for a browser that is not the client's own:
// see [GitHubConfig.InsecureUnboundState], without which it returns an error.
func (g *GitHubConnector) BeginUnboundSignIn() (GitHubStart, error) {
	if g.unbound == nil {
		return GitHubStart{}, errors.New("auth: GitHub's InsecureUnboundState is not set")
	}
	flow := githubFlow{Verifier: oauth2.GenerateVerifier(), ExpiresAt: g.cfg.Now().Add(stateLifetime).Unix()}
	state, err := unboundState(g.unbound, flow)
	if err != nil {
		return GitHubStart{}, err
	}
	return GitHubStart{AuthURL: g.authURL(state, flow, g.cfg.SignInScopes)}, nil
}

func (g *GitHubConnector) authURL(state string, flow githubFlow, scopes []string, options ...oauth2.AuthCodeOption) string {
	return g.api.app.config(scopes...).AuthCodeURL(state, append(options, oauth2.S256ChallengeOption(flow.Verifier))...)
}

// Complete finishes the flow with which GitHub sends the browser back to the
// callback. It uses the state up, whatever comes of it, unless the state is not
// this browser's.
//
// SignedInAs is the id of the user whose browser session the request belongs to,
// empty if none: an account is never connected to anybody else.
//
// It returns one of the errors above, or another if GitHub or the store could not
// answer within GitHubConfig.Timeout. A failure leaves no user, link, session or
// token behind, and the token that GitHub gave is revoked there. Only the link of a
// user of the host's own may stay who is disabled at that very moment.
func (g *GitHubConnector) Complete(r *http.Request, signedInAs string) (GitHubOutcome, error) {
	began := time.Now()
	flow, outcome, err := g.completeFlow(r, signedInAs)
	g.noteOutcome(r.Context(), began, flow, outcome, err)
	return outcome, err
}

// noteOutcome emits what has come of a flow, whose last part began then.
func (g *GitHubConnector) noteOutcome(ctx context.Context, began time.Time, flow githubFlow, outcome GitHubOutcome, err error) {
	switch {
	case outcome.Connected != nil && err == nil:
		g.events.emit(ctx, Event{
			Kind: EventGitHubConnected, UserID: flow.UserID, ActorID: flow.UserID, SessionID: flow.SessionID, GitHub: outcome.Connected.Account,
		})
	case flow.UserID != "" && err != nil:
		g.events.emit(ctx, Event{Kind: EventGitHubRejected, UserID: flow.UserID, ActorID: flow.UserID, SessionID: flow.SessionID, Reason: reasonOf(err)})
	case err != nil:
		g.events.signIn(ctx, began, Event{Method: MethodGitHub}, Token{}, err)
	default:
		if outcome.IsNewUser {
			g.events.emit(ctx, Event{Kind: EventUserCreated, UserID: outcome.SignedIn.User.ID, Reason: "signed in with GitHub"})
		}
		g.events.signIn(ctx, began, Event{Method: MethodGitHub}, *outcome.SignedIn, nil)
	}
}

// completeFlow is Complete, and returns whose flow it was, where that is known.
func (g *GitHubConnector) completeFlow(r *http.Request, signedInAs string) (githubFlow, GitHubOutcome, error) {
	query, err := callbackQuery(r.URL.RawQuery)
	if err != nil {
		return githubFlow{}, GitHubOutcome{}, err
	}
	flow, ok := g.flow(r, query.Get("state"))
	if !ok || flow.UserID != "" && signedInAs != "" && flow.UserID != signedInAs ||
		query.Has("iss") && query.Get("iss") != g.cfg.BaseURL+"/login/oauth" { // RFC 9207
		return flow, GitHubOutcome{}, ErrGitHubState
	}
	// What is left of the time is for revoking a token that is not kept.
	ctx, cancel := context.WithTimeout(r.Context(), g.cfg.Timeout-g.cfg.Timeout/4)
	defer cancel()
	used := g.cfg.Now().Add(stateLifetime + stateKept)
	if err := g.store.ConsumeState(ctx, stateID(query.Get("state")), used); errors.Is(err, ErrExists) {
		return flow, GitHubOutcome{}, ErrGitHubState
	} else if err != nil {
		return flow, GitHubOutcome{}, fmt.Errorf("auth: using a state: %w", err)
	}
	switch {
	case query.Has("error"):
		return flow, GitHubOutcome{ReturnTo: flow.ReturnTo}, ErrGitHubDenied
	case !isTokenText(query.Get("code")):
		return flow, GitHubOutcome{ReturnTo: flow.ReturnTo}, ErrGitHubState
	}
	outcome, err := g.complete(ctx, flow, query.Get("code"))
	outcome.ReturnTo = flow.ReturnTo
	return flow, outcome, err
}

// flow returns the flow of the state, if the request may go on with it.
func (g *GitHubConnector) flow(r *http.Request, state string) (githubFlow, bool) {
	if g.unbound != nil && strings.Contains(state, ".") {
		return openUnbound(g.unbound, state, g.cfg.Now())
	}
	return g.cookies.flow(r, state, g.cfg.Now())
}

// ClearState returns the cookie that removes the one of the flow with this state
// from the browser: for the answer to the callback once it has been used.
func (g *GitHubConnector) ClearState(state string) *http.Cookie {
	return g.cookies.clear(state)
}

// callbackQuery reads a query in which nothing that counts is said twice.
func callbackQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, ErrGitHubState
	}
	for _, name := range []string{"code", "state", "iss", "error"} {
		if len(query[name]) > 1 {
			return nil, ErrGitHubState
		}
	}
	return query, nil
}

func (g *GitHubConnector) complete(ctx context.Context, flow githubFlow, code string) (outcome GitHubOutcome, err error) {
	grant, err := g.api.exchange(ctx, code, flow.Verifier)
	if errors.Is(err, errGitHubCode) {
		return GitHubOutcome{}, ErrGitHubState
	} else if err != nil {
		return GitHubOutcome{}, err
	}
	kept := false
	defer func() {
		if !kept {
			g.forget(ctx, grant.AccessToken)
		}
	}()
	profile, err := g.api.profile(ctx, g.cfg.Host, grant.AccessToken)
	if err != nil {
		return GitHubOutcome{}, err
	}
	if err := g.admit(ctx, profile, grant.AccessToken); err != nil {
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

// forget revokes a token at GitHub that is not kept. The request may be over by
// then; and if GitHub does not answer, nothing is to be done.
func (g *GitHubConnector) forget(ctx context.Context, token string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Timeout/4)
	defer cancel()
	if err := g.api.revoke(ctx, token); err != nil {
		g.cfg.Logger.WarnContext(ctx, "auth: a GitHub token could not be revoked at GitHub", "error", err)
	}
}

// admit returns ErrGitHubNotAllowed unless the account may come in.
func (g *GitHubConnector) admit(ctx context.Context, profile GitHubProfile, token string) error {
	allowed, err := g.listed(ctx, profile.Account.ID, token)
	if err == nil && allowed && g.cfg.Admit != nil {
		allowed, err = g.askHost(ctx, profile)
	}
	if err == nil && !allowed {
		return ErrGitHubNotAllowed
	}
	return err
}

// listed reports whether the account is on one of the lists, or there are none.
func (g *GitHubConnector) listed(ctx context.Context, id int64, token string) (bool, error) {
	users, organizations, teams := g.cfg.AllowedUsers, g.cfg.AllowedOrganizations, g.cfg.AllowedTeams
	if len(users)+len(organizations)+len(teams) == 0 || slices.Contains(users, id) {
		return true, nil
	}
	for _, list := range []struct {
		allowed []int64
		ask     func(context.Context, string) ([]int64, error)
	}{{organizations, g.api.organizations}, {teams, g.api.teams}} {
		if len(list.allowed) == 0 {
			continue
		}
		ids, err := list.ask(ctx, token)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(ids, func(id int64) bool { return slices.Contains(list.allowed, id) }) {
			return true, nil
		}
	}
	return false, nil
}

// askHost calls the host's function, a panic in which is an error.
func (g *GitHubConnector) askHost(ctx context.Context, profile GitHubProfile) (allowed bool, err error) {
	defer contain("GitHubConfig.Admit", func(failure error) { allowed, err = false, failure })
	return g.cfg.Admit(ctx, profile)
}

// seal makes the record of a token for the user.
func (g *GitHubConnector) seal(grant githubGrant, userID string, account GitHubAccount) (GitHubToken, error) {
	text, err := json.Marshal(grant)
	if err != nil {
		return GitHubToken{}, fmt.Errorf("auth: encoding a GitHub token: %w", err)
	}
	return GitHubToken{
		Account:   account,
		UserID:    userID,
		Version:   rand.Text(),
		Scopes:    grant.scopes,
		Sealed:    g.sealer.seal(text, userID, account.Host),
		UpdatedAt: g.cfg.Now(),
	}, nil
}

// unseal returns what seal sealed, and whether it ought to be sealed anew.
func (g *GitHubConnector) unseal(token GitHubToken) (grant githubGrant, stale bool, err error) {
	text, stale, err := g.sealer.open(token.Sealed, token.UserID, token.Account.Host)
	if err == nil {
		err = json.Unmarshal(text, &grant)
	}
	if err != nil {
		return githubGrant{}, false, errSealed
	}
	grant.scopes = token.Scopes
	return grant, stale, nil
}
