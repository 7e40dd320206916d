package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/oauthstate"
	"golang.org/x/oauth2"
)

// GitHubOutcome is the result of a flow. Either SignedIn or Connected is set unless there is an
// error.
type GitHubOutcome struct {
	SignedIn  *Token      // the session of a user who has signed in
	IsNewUser bool        // this sign-in made the user, or linked the account to the host's user
	Connected *GitHubLink // the account that is connected now
	ReturnTo  string      // the path that the flow was begun with; may be empty

	// ClearCookie removes the flow's cookie. Set it in the answer, also if there is an error.
	// It is nil if the state is not this browser's, whose own flow goes on.
	ClearCookie *http.Cookie
}

// BeginSignIn begins a sign-in with GitHub in the browser that sends the request. Send the
// browser to the URL, and set the cookie in the answer: without it, the browser cannot come
// back. returnTo is a path of the host's, or empty. Nothing is stored.
//
// It returns ErrCrossOrigin if the browser says that a page of another origin sends the request in
// a frame or by fetch ([GitHubConfig.AllowedOrigins] may), or that the request is a prefetch, and
// for a HEAD. A navigation of a whole window is for the caller to judge: Service lets it begin a
// sign-in only if the person asked for it.
func (g *GitHubConnector) BeginSignIn(
	r *http.Request, returnTo string,
) (authURL string, cookie *http.Cookie, err error) {
	return g.begin(r, oauthstate.Flow{ReturnTo: returnTo}, g.cfg.SignInScopes)
}

// BeginConnect is BeginSignIn for connecting a GitHub account to the user of a session, such as
// [Identity.Authority] returns it. The authority is checked when the flow completes. Its MaxAge, if
// set, is then longer by the 10 minutes that a flow may take. The person chooses the account at
// GitHub. It returns an *InvalidError for an authority of the host.
//
// If the request has no bearer token, the caller is a browser session, and the flow completes only
// in that session: [GitHubConnector.Complete] must then be told of it.
func (g *GitHubConnector) BeginConnect(
	r *http.Request, by Authority, returnTo string,
) (authURL string, cookie *http.Cookie, err error) {
	if err := by.Validate(); err != nil {
		return "", nil, err
	}
	if by.Host != "" {
		return "", nil, invalidf("authority", "must be that of a session")
	}
	_, err = BearerToken(r)
	flow := oauthstate.Flow{ReturnTo: returnTo, UserID: by.UserID, SessionID: by.SessionID,
		Bearer: err == nil}
	if by.MaxAge > 0 {
		flow.MaxAge = int64((by.MaxAge + oauthstate.Lifetime) / time.Second)
	}
	return g.begin(r, flow, g.cfg.ConnectScopes, oauth2.SetAuthURLParam("prompt", "select_account"))
}

func (g *GitHubConnector) begin(
	r *http.Request, flow oauthstate.Flow, scopes []string, options ...oauth2.AuthCodeOption,
) (authURL string, cookie *http.Cookie, err error) {
	if browser.LooksAhead(r) || g.sourceOf(r) == browser.Foreign {
		return "", nil, ErrCrossOrigin
	}
	if err := checkReturnTo(flow.ReturnTo); err != nil {
		return "", nil, err
	}
	flow.Verifier = oauth2.GenerateVerifier()
	flow.ExpiresAt = g.cfg.Now().Add(oauthstate.Lifetime).Unix()
	state := g.cookies.NewState(r)
	cookie, err = g.cookies.Bind(state, flow)
	if err != nil { // oauthstate.ErrTooLong
		return "", nil, invalidf("return_to", "is too long")
	}
	return g.api.AuthCodeURL(state, flow.Verifier, scopes, options...), cookie, nil
}

// sourceOf returns where a request to begin a flow comes from.
func (g *GitHubConnector) sourceOf(r *http.Request) browser.Source {
	return browser.SourceOf(r, g.origin, g.cfg.AllowedOrigins)
}

// BeginUnboundSignIn is BeginSignIn for a browser that is not the client's own, without a
// cookie. It returns an error unless [GitHubConfig.InsecureUnboundState] is set.
func (g *GitHubConnector) BeginUnboundSignIn() (authURL string, err error) {
	if g.unbound == nil {
		return "", errors.New("auth: GitHubConfig.InsecureUnboundState is not set")
	}
	flow := oauthstate.Flow{Verifier: oauth2.GenerateVerifier(),
		ExpiresAt: g.cfg.Now().Add(oauthstate.Lifetime).Unix()}
	return g.api.AuthCodeURL(oauthstate.NewUnboundState(g.unbound, flow), flow.Verifier,
		g.cfg.SignInScopes), nil
}

// Complete finishes the flow with which GitHub sends the browser back to the callback. It
// consumes the state, whatever the result, unless the state is not this browser's, or the request
// is a HEAD or a prefetch, which get ErrGitHubState.
//
// browser is the caller whose browser session the request belongs to, or the zero Identity if it
// has none. A browser session completes only the connect flows that it began itself: a sibling
// domain can plant the cookie of its own flow where nothing protects a cookie's name. Without a
// browser session only the flows complete that a bearer token began.
//
// It returns one of the ErrGitHub… errors, or another if GitHub or the store could not answer
// within GitHubConfig.Timeout. A failure leaves no user, link, session or token behind, and the
// token that GitHub gave is revoked there. One link can stay: that of a user of a [UserSource]
// who is disabled at that very moment.
func (g *GitHubConnector) Complete(r *http.Request, browser Identity) (GitHubOutcome, error) {
	return g.completeIf(r, browser, func() error { return nil }, func(err error) error { return err })
}

// completeIf is Complete. It calls enter once the state is known to be this browser's, before the
// state is consumed and GitHub is asked. If enter returns an error, so does completeIf, and the
// browser can come back with the same state. If the state is not this browser's, completeIf
// returns what forged makes of that error.
func (g *GitHubConnector) completeIf(
	r *http.Request, browser Identity, enter func() error, forged func(error) error,
) (GitHubOutcome, error) {
	began, entered := time.Now(), false
	flow, outcome, err := g.completeFlow(r, browser, func() error {
		entered = true
		return enter()
	})
	if !entered && errors.Is(err, ErrGitHubState) {
		err = forged(err)
	}
	if !errors.Is(err, ErrGitHubState) {
		outcome.ClearCookie = g.cookies.Clear(r.URL.Query().Get("state"))
	}
	g.emitOutcome(r.Context(), began, flow, outcome, err)
	return outcome, err
}

// emitOutcome records the result of a flow, whose last part began at the given time.
func (g *GitHubConnector) emitOutcome(
	ctx context.Context, began time.Time, flow oauthstate.Flow, outcome GitHubOutcome, err error,
) {
	switch {
	case outcome.Connected != nil && err == nil: // the change has its own event
	case flow.UserID != "" && err != nil:
		g.events.emit(ctx, Event{
			Kind: EventGitHubRejected, UserID: flow.UserID, ActorID: flow.UserID, SessionID: flow.SessionID, Reason: rejectionReason(err),
		})
	case err != nil:
		g.events.recordSignIn(ctx, began, Event{Method: MethodGitHub}, err)
	default:
		user, session := outcome.SignedIn.User, outcome.SignedIn.Session
		g.events.recordSignIn(ctx, began,
			Event{Method: MethodGitHub, UserID: user.ID, SessionID: session.ID}, nil)
	}
}

// completeFlow is Complete, and returns whose flow it was, where that is known.
func (g *GitHubConnector) completeFlow(
	r *http.Request, caller Identity, enter func() error,
) (oauthstate.Flow, GitHubOutcome, error) {
	if browser.LooksAhead(r) {
		return oauthstate.Flow{}, GitHubOutcome{}, ErrGitHubState
	}
	query, err := callbackQuery(r.URL.RawQuery)
	if err != nil {
		return oauthstate.Flow{}, GitHubOutcome{}, err
	}
	flow, ok := g.flow(r, query.Get("state"))
	if !ok || !mayCompleteIn(caller, flow) ||
		query.Has("iss") && query.Get("iss") != g.cfg.BaseURL+"/login/oauth" { // RFC 9207
		return flow, GitHubOutcome{}, ErrGitHubState
	}
	if err := enter(); err != nil {
		return flow, GitHubOutcome{}, err
	}
	// What is left of the time is for revoking a token that is not kept.
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
		return flow, GitHubOutcome{ReturnTo: flow.ReturnTo}, ErrGitHubDenied
	case !githubapi.IsTokenText(query.Get("code")):
		return flow, GitHubOutcome{ReturnTo: flow.ReturnTo}, ErrGitHubState
	}
	outcome, err := g.complete(ctx, flow, query.Get("code"))
	outcome.ReturnTo = flow.ReturnTo
	return flow, outcome, err
}

// mayCompleteIn reports whether the flow may complete in the browser session, which is zero if there
// is none.
func mayCompleteIn(browser Identity, flow oauthstate.Flow) bool {
	switch {
	case flow.UserID == "":
		return true // a sign-in is nobody's yet
	case browser == Identity{}:
		return flow.Bearer
	}
	return flow.UserID == browser.UserID && flow.SessionID == browser.SessionID
}

// flow returns the flow of the state, if the request may go on with it.
func (g *GitHubConnector) flow(r *http.Request, state string) (oauthstate.Flow, bool) {
	if g.unbound != nil && oauthstate.IsUnbound(state) {
		return oauthstate.OpenUnboundState(g.unbound, state, g.cfg.Now())
	}
	return g.cookies.Flow(r, state, g.cfg.Now())
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

func (g *GitHubConnector) complete(
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
			g.revokeAtGitHub(ctx, grant.AccessToken)
		}
	}()
	profile, err := g.profile(ctx, grant.AccessToken)
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

// profile asks GitHub which account the token belongs to.
func (g *GitHubConnector) profile(ctx context.Context, token string) (GitHubProfile, error) {
	p, err := g.api.Profile(ctx, token)
	if err != nil {
		return GitHubProfile{}, err
	}
	return GitHubProfile{
		Account:   GitHubAccount{Host: g.cfg.Host, ID: p.ID},
		Login:     p.Login,
		Name:      p.Name,
		AvatarURL: p.AvatarURL,
	}, nil
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
	}{{organizations, g.api.Organizations}, {teams, g.api.Teams}} {
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
	defer callback.Recover("GitHubConfig.Admit", func(failure error) { allowed, err = false, failure })
	return g.cfg.Admit(ctx, profile)
}

// StillAdmitted asks GitHub whether a user whom a GitHub sign-in made is still allowed, if GitHub was
// last asked longer than GitHubConfig.MembershipMaxAge ago. It returns nil for every other user,
// and ErrGitHubNotAllowed for a user who is no longer allowed, or about whom GitHub cannot be asked
// until the user signs in with GitHub again. Any other error means that GitHub or the store could
// not answer within GitHubConfig.Timeout. The connector remembers for a minute that a user is no
// longer allowed, and asks about each user once at a time.
//
// [Service.Login] calls it. A host that signs users in by other means calls it with the user as
// the store has it.
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
	if g.cfg.asksForMembership() && !githubapi.Covers(grant.Scopes, membershipScope) {
		return ErrNotFound // of before there were lists
	}
	return g.memberAnswers.Ask(ctx, userID, version, func() error {
		return g.askStillAdmitted(ctx, userID, grant, version)
	}, func(err error) bool { return err == nil || errors.Is(err, ErrGitHubNotAllowed) })
}

func (g *GitHubConnector) askStillAdmitted(
	ctx context.Context, userID string, grant githubapi.Grant, version string,
) error {
	profile, err := g.profile(ctx, grant.AccessToken)
	if err == nil {
		err = g.admit(ctx, profile, grant.AccessToken)
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
		return fmt.Errorf("auth: keeping that a user is still admitted: %w", err)
	}
	return nil
}
