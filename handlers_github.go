package auth

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/oauthstate"
	"github.com/sallyport-go/auth/internal/throttle"
	"github.com/sallyport-go/auth/internal/wire"
)

// GitHub returns the service's GitHubConnector, or nil if GitHub is not configured. Each method of a
// nil *GitHubConnector returns ErrGitHubNotConfigured.
func (s *Service) GitHub() *GitHubConnector { return s.github }

// gitHubSignInHandler handles GET /api/v1/auth/github/login-user: it begins a sign-in with GitHub. The
// response contains the URL at GitHub to which the calling page must send the browser. The handler also sets
// a cookie that binds the sign-in to the browser, unless GitHubConfig.InsecureUnboundState is set.
func (s *Service) gitHubSignInHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyone, github: true,
		serve: s.serveGitHubSignIn})
}

type authURLResponse struct {
	AuthURL string `json:"auth_url"`
}

func (s *Service) serveGitHubSignIn(w http.ResponseWriter, r *http.Request) (any, error) {
	if answer, err := s.requireOwnPage(r); answer != nil || err != nil {
		return answer, err
	}
	if s.github.unbound != nil {
		authURL, err := s.github.BeginUnboundSignIn()
		return authURLResponse{authURL}, err
	}
	authURL, cookie, err := s.github.BeginSignIn(r, "")
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, cookie)
	return authURLResponse{authURL}, nil
}

// requireOwnPage checks whether a request may begin a GitHub flow. If so, both results are nil. For a
// prefetch, and for a request whose source is not browser.Allowed, the error is ErrCrossOrigin. A HEAD
// request must not begin a flow: the first result is the response to send, 204, and the error is nil.
func (s *Service) requireOwnPage(r *http.Request) (any, error) {
	switch {
	case r.Method == http.MethodHead:
		return noContent, nil
	case browser.LooksAhead(r), s.github.sourceOf(r) != browser.Allowed:
		return nil, ErrCrossOrigin
	}
	return nil, nil
}

// gitHubConnectHandler handles GET /api/v1/auth/github/login: it begins to connect a GitHub account to the
// caller. The response contains the URL at GitHub to which the calling page must send the browser. The
// handler also sets a cookie that binds the flow to the browser. For a service user, it answers 403.
func (s *Service) gitHubConnectHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyUser, scope: everything, recent: true,
		github: true, serve: s.serveGitHubConnect})
}

// errConnectByCookie refuses a request to connect a GitHub account if the request has a bearer token and
// browsers reach the service over plain http, except on loopback. The cookie of the flow is then insecure:
// a page of a sibling domain can set it. An attacker could begin a flow with the attacker's own token, and
// set the cookie of that flow in another person's browser. That person's GitHub account would then be
// connected to the attacker's user.
var errConnectByCookie = &wire.RequestError{Status: http.StatusForbidden,
	Detail: "Connecting GitHub needs a browser session here: sign in with GitHub first"}

func (s *Service) serveGitHubConnect(w http.ResponseWriter, r *http.Request) (any, error) {
	if answer, err := s.requireOwnPage(r); answer != nil || err != nil {
		return answer, err
	}
	if _, err := BearerToken(r); err == nil && s.browser != nil && s.github.insecureCookies {
		return nil, errConnectByCookie
	}
	if user, err := s.User(r.Context()); err == nil && user.IsService { // the callback decides about others
		return nil, ErrServiceUser
	}
	caller, _ := IdentityFromContext(r.Context())
	by := caller.Authority()
	by.MaxAge = s.reauthAfter
	authURL, cookie, err := s.github.BeginConnect(r, by, "")
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, cookie)
	return authURLResponse{authURL}, nil
}

// gitHubStartHandler handles GET /api/v1/auth/github/start?return_to=/path: it begins a sign-in with GitHub
// and redirects the browser to GitHub. A page that cannot use fetch can link to this path. If it is uncertain
// whether a click caused the request, the handler answers with a page on which the person must click.
func (s *Service) gitHubStartHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyone, github: true,
		serve: s.serveGitHubStart})
}

func (s *Service) serveGitHubStart(w http.ResponseWriter, r *http.Request) (any, error) {
	returnTo := r.URL.Query().Get("return_to")
	if source := s.github.sourceOf(r); !browser.LooksAhead(r) && source != browser.Foreign {
		// The cookie of the flow must be a cookie of the callback's origin.
		if location, ok := s.github.misplaced.Move(r); ok {
			browser.Redirect(w, location, http.StatusTemporaryRedirect)
			return written{}, nil
		}
		if source == browser.Unproven {
			return writeStartPage(w, returnTo)
		}
	}
	if answer, err := s.requireOwnPage(r); answer != nil || err != nil {
		return answer, err
	}
	authURL, cookie, err := s.github.BeginSignIn(r, returnTo)
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, cookie)
	browser.Redirect(w, authURL, http.StatusFound)
	return written{}, nil
}

// writeStartPage answers a navigation if it is uncertain whether a click caused the navigation. It writes a
// page with a link to the same call. If the person clicks the link, the new request comes from the
// service's own page and may begin the flow.
//
// Safari never sends Sec-Fetch-User. In Safari, the service therefore cannot distinguish a click on a page of
// another origin from a script of that page. If the service refused a navigation in this uncertain case,
// pages of other origins could not link to this call in Safari. If the navigation began the flow, any page
// could sign in its Safari visitors again and again.
func writeStartPage(w http.ResponseWriter, returnTo string) (any, error) {
	if err := checkReturnTo(returnTo); err != nil {
		return nil, err
	}
	browser.WriteStartPage(w, url.Values{"return_to": {returnTo}})
	return written{}, nil
}

// gitHubCallbackHandler handles GET /api/v1/auth/github/callback, to which GitHub sends the browser back: it
// completes a sign-in, or connects a GitHub account.
func (s *Service) gitHubCallbackHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyone, github: true,
		serve: s.serveGitHubCallback})
}

func (s *Service) serveGitHubCallback(w http.ResponseWriter, r *http.Request) (any, error) {
	browser.ProtectPage(w.Header()) // the URL contains GitHub's code
	if browser.LooksAhead(r) {
		w.WriteHeader(http.StatusNoContent) // a prefetch must not consume the state, which works only once
		return written{unproven: true}, nil
	}
	outcome, caller, err := s.completeGitHub(r)
	var throttled *ThrottledError
	if outcome.ClearCookie != nil && !errors.As(err, &throttled) {
		http.SetCookie(w, outcome.ClearCookie)
	}
	switch {
	case errors.Is(err, errCompletedBefore):
		browser.Redirect(w, s.browser.Location(outcome.ReturnTo, "", ""), http.StatusSeeOther)
		return written{unproven: true}, nil
	case err != nil && s.browser != nil:
		return s.redirectFailure(w, r, err)
	case err != nil:
		return nil, err
	case outcome.SignedIn != nil:
		return s.answerSignIn(w, r, outcome)
	default:
		return s.answerConnect(w, r, caller, outcome)
	}
}

// redirectFailure sends the browser to the host's page with the code of the error.
func (s *Service) redirectFailure(w http.ResponseWriter, r *http.Request, err error) (any, error) {
	s.logFailure(serving, r, err)
	browser.Redirect(w, s.browser.Location("", "error", errorCode(err)), http.StatusSeeOther)
	return written{unproven: true}, nil
}

// errCompletedBefore is the error of completeGitHub if the browser comes back with the state of a flow
// that has completed in the browser's current session, for example because the person has gone back to
// GitHub's page. ReturnTo of the outcome is the page at which the flow ended.
var errCompletedBefore = errors.New("auth: the GitHub flow has completed in this session")

// completeGitHub completes a flow as [GitHubConnector.Complete] does, within the limits of Config.Throttling.
// It also returns the caller to whom the session cookie of the request belongs.
func (s *Service) completeGitHub(r *http.Request) (GitHubOutcome, Identity, error) {
	ctx := r.Context()
	client := clientOf(ctx).throttleClient()
	began := time.Now()
	if err := asThrottled(s.throttle.CountAttempt(ctx, client)); err != nil {
		s.events.recordSignIn(ctx, began, Event{Method: MethodGitHub}, err)
		return GitHubOutcome{}, Identity{}, err
	}
	caller, err := s.browserCaller(r)
	if err != nil {
		s.events.recordSignIn(ctx, began, Event{Method: MethodGitHub}, err)
		return GitHubOutcome{}, Identity{}, err
	}
	if done, ok := s.github.completedIn(r, caller); ok {
		return GitHubOutcome{ReturnTo: done.Page}, caller, errCompletedBefore
	}
	var attempt *throttle.GitHubAttempt
	outcome, err := s.github.completeIf(r, caller, func() (err error) {
		attempt, err = s.throttle.BeginGitHub(ctx, client)
		return asThrottled(err)
	}, func(forged error) error {
		return cmp.Or(asThrottled(s.throttle.CountForgedCallback(ctx, client)), forged)
	})
	attempt.End(isGitHubRefusal(err))
	return outcome, caller, err
}

// completedIn returns the record in the browser's cookie about the flow of the request's state, if the flow
// has completed in the session of the caller. Without a live session, the caller is the zero Identity. After
// the user has disconnected, no connect flow counts as completed, because its page says the opposite.
func (g *GitHubConnector) completedIn(r *http.Request, caller Identity) (oauthstate.Completed, bool) {
	query, ok := oauthstate.ParseCallback(r.URL.RawQuery)
	if !ok || caller.SessionID == "" {
		return oauthstate.Completed{}, false
	}
	done, ok := g.cookies.Completed(r, query.Get("state"))
	ok = ok && done.SessionID == caller.SessionID
	if ok && done.Connect {
		_, err := g.Status(r.Context(), caller.UserID)
		ok = err == nil // if the store fails, completing the flow fails, too
	}
	return done, ok
}

// browserCaller returns the caller to whom the session cookie of the request belongs. It returns the zero
// Identity if there is no live session.
func (s *Service) browserCaller(r *http.Request) (Identity, error) {
	if s.browser == nil {
		return Identity{}, nil
	}
	caller, err := s.identifyBrowser(r.Context(), r)
	switch {
	case err == nil:
		return *caller, nil
	case errors.Is(err, ErrTokenMissing), errors.Is(err, ErrTokenRejected):
		return Identity{}, nil
	}
	return Identity{}, err
}

// errorCode returns the code for err. After a failed flow, the URL of the browser has it as error parameter.
func errorCode(err error) string {
	switch {
	case errors.Is(err, ErrGitHubState):
		return "expired"
	case errors.Is(err, ErrGitHubDenied):
		return "denied"
	case errors.Is(err, ErrGitHubNotAllowed), errors.Is(err, ErrServiceUser):
		return "not_allowed"
	case errors.Is(err, ErrGitHubConflict):
		return "conflict"
	default:
		return "unavailable"
	}
}

type githubSignInResponse struct {
	loginResponse
	Username  string `json:"username"`
	IsNewUser bool   `json:"is_new_user"`
}

func (s *Service) answerSignIn(w http.ResponseWriter, r *http.Request, outcome GitHubOutcome) (any, error) {
	issued := *outcome.SignedIn
	if s.browser == nil {
		return githubSignInResponse{newLoginResponse(issued), issued.User.Username, outcome.IsNewUser}, nil
	}
	cookie, err := s.sessionCookie(r.Context(), issued, issued.ExpiresIn())
	if err != nil {
		return s.redirectFailure(w, r, s.tokens.discardSession(r.Context(), issued.Session, err))
	}
	s.revokeReplaced(r, issued)
	http.SetCookie(w, cookie)
	s.rememberFlow(w, r, oauthstate.Completed{SessionID: issued.Session.ID, Page: outcome.ReturnTo},
		issued.ExpiresIn())
	browser.Redirect(w, s.browser.Location(outcome.ReturnTo, "", ""), http.StatusSeeOther)
	return written{}, nil
}

// rememberFlow sets a cookie that records the completed flow of the request until the session ends.
func (s *Service) rememberFlow(
	w http.ResponseWriter, r *http.Request, done oauthstate.Completed, rest time.Duration,
) {
	state := r.URL.Query().Get("state")
	if cookie := s.github.cookies.Complete(state, s.github.path, done, rest); cookie != nil {
		http.SetCookie(w, cookie)
	}
}

func (s *Service) answerConnect(
	w http.ResponseWriter, r *http.Request, caller Identity, outcome GitHubOutcome,
) (any, error) {
	page := s.github.cfg.ConnectedPage
	if caller != (Identity{}) {
		s.rememberFlow(w, r, oauthstate.Completed{SessionID: caller.SessionID,
			Page: cmp.Or(page, outcome.ReturnTo), Connect: true}, caller.ExpiresAt.Sub(s.now()))
	}
	switch {
	case page != "":
		browser.Redirect(w, s.github.origin+page, http.StatusSeeOther)
	case s.browser != nil:
		browser.Redirect(w, s.browser.Location(outcome.ReturnTo, "", ""), http.StatusSeeOther)
	default:
		browser.WriteConnectedPage(w, outcome.Connected.Login)
	}
	return written{}, nil
}

// gitHubStatusHandler handles GET /api/v1/auth/github/token: it returns the GitHub account whose token the
// store keeps for the caller, or 404. With ?verify=true it also asks GitHub whether the token is still valid.
func (s *Service) gitHubStatusHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyUser, scope: ScopeGitHub, github: true,
		serve: s.serveGitHubStatus})
}

type githubStatusResponse struct {
	HasToken       bool     `json:"has_token"`
	GitHubUsername string   `json:"github_username"`
	Scopes         []string `json:"scopes"`
	Valid          *bool    `json:"valid,omitempty"`
}

// errNotConnected is the documented answer if the caller has no GitHub token.
var errNotConnected = &wire.RequestError{Status: http.StatusNotFound,
	Detail: "No GitHub credentials found for user"}

func (s *Service) serveGitHubStatus(_ http.ResponseWriter, r *http.Request) (any, error) {
	caller, _ := IdentityFromContext(r.Context())
	response, verify := githubStatusResponse{HasToken: true}, false
	if r.URL.Query().Get("verify") == "true" && r.Method != http.MethodHead {
		// A page of another origin must not cause calls to GitHub. It can send a request with the session
		// cookie, but not with a bearer token.
		_, err := BearerToken(r)
		if browser.LooksAhead(r) ||
			err != nil && browser.SourceOf(r, s.github.origin, nil) != browser.Allowed {
			return nil, ErrCrossOrigin
		}
		verify, response.Valid = true, new(true)
	}
	link, token, err := s.github.connection(r.Context(), caller.UserID)
	if err == nil && verify {
		err = s.github.verifyToken(r.Context(), caller.UserID)
	}
	if errors.Is(err, ErrNotFound) {
		err = errNotConnected
	}
	response.GitHubUsername, response.Scopes = link.Login, strings.Fields(token.record.Scopes)
	return response, err
}

// gitHubDisconnectHandler handles POST /api/v1/auth/github/logout: it removes and revokes the GitHub token.
func (s *Service) gitHubDisconnectHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: anyUser, scope: ScopeGitHub, github: true,
		serve: s.serveGitHubDisconnect})
}

func (s *Service) serveGitHubDisconnect(_ http.ResponseWriter, r *http.Request) (any, error) {
	caller, _ := IdentityFromContext(r.Context())
	switch err := s.github.Disconnect(r.Context(), caller.Authority(), caller.UserID); {
	case errors.Is(err, ErrNotFound):
		return logoutResponse{Success: false, Message: "No GitHub credentials found to remove"}, nil
	case err != nil:
		return nil, err
	}
	return logoutResponse{Success: true, Message: "GitHub credentials removed successfully"}, nil
}

// gitHubUnlinkHandler handles DELETE /api/v1/auth/github/link: it unlinks the caller's GitHub
// account, so that the caller can no longer sign in with that account.
func (s *Service) gitHubUnlinkHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodDelete, access: anyUser, scope: ScopeGitHub, github: true,
		serve: s.serveGitHubUnlink})
}

func (s *Service) serveGitHubUnlink(_ http.ResponseWriter, r *http.Request) (any, error) {
	caller, _ := IdentityFromContext(r.Context())
	if err := s.github.Unlink(r.Context(), caller.Authority(), caller.UserID); err != nil &&
		!errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return noContent, nil
}
