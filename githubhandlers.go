package auth

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"strings"
	"time"
)

// errNotConfigured is the answer of every GitHub call of a host without GitHub.
var errNotConfigured = &requestError{http.StatusServiceUnavailable, "GitHub sign-in is not configured"}

// githubOnly answers for a host without GitHub, and makes the handler for one
// with it.
func (s *Service) githubOnly(method string, handler func() http.Handler) http.Handler {
	if s.github != nil {
		return s.bounded(handler())
	}
	return s.only(method, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, errNotConfigured)
	}))
}

type authURLResponse struct {
	AuthURL string `json:"auth_url"`
}

// GitHubSignInHandler handles GET /api/v1/auth/github/login-user: the URL at
// which a browser signs in with GitHub, and the cookie that binds it.
func (s *Service) GitHubSignInHandler() http.Handler {
	return s.githubOnly(http.MethodGet, func() http.Handler {
		return s.handle(http.MethodGet, func(_ context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
			if s.github.unbound != nil {
				start, err := s.github.BeginUnboundSignIn()
				return authURLResponse{start.AuthURL}, err
			}
			start, err := s.github.BeginSignIn(r, "")
			return s.begun(w, start, err)
		})
	})
}

// GitHubConnectHandler handles GET /api/v1/auth/github/login: the URL at which a
// browser connects GitHub to the caller, and the cookie that binds it.
func (s *Service) GitHubConnectHandler() http.Handler {
	return s.githubOnly(http.MethodGet, func() http.Handler {
		return s.Authenticate(s.requireRecent(s.handle(http.MethodGet, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
			caller, _ := IdentityFromContext(ctx)
			start, err := s.github.BeginConnect(r, caller, "")
			return s.begun(w, start, err)
		})))
	})
}

func (s *Service) begun(w http.ResponseWriter, start GitHubStart, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, start.Cookie)
	return authURLResponse{start.AuthURL}, nil
}

// GitHubStartHandler handles GET /api/v1/auth/github/start?return_to=/path: a link
// that signs the browser in with GitHub, for pages that cannot fetch.
func (s *Service) GitHubStartHandler() http.Handler {
	return s.githubOnly(http.MethodGet, func() http.Handler {
		return s.only(http.MethodGet, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start, err := s.github.BeginSignIn(r, r.URL.Query().Get("return_to"))
			if err != nil {
				s.fail(w, r, err)
				return
			}
			http.SetCookie(w, start.Cookie)
			redirect(w, start.AuthURL, http.StatusFound)
		}))
	})
}

// redirect sends the browser to a URL that is complete. Unlike http.Redirect it
// leaves the URL as it is.
func redirect(w http.ResponseWriter, location string, status int) {
	header := w.Header()
	header.Set("Location", location)
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
}

// GitHubCallbackHandler handles GET /api/v1/auth/github/callback, to which GitHub
// sends the browser back from either flow.
func (s *Service) GitHubCallbackHandler() http.Handler {
	return s.githubOnly(http.MethodGet, func() http.Handler {
		return s.only(http.MethodGet, http.HandlerFunc(s.githubCallback))
	})
}

func (s *Service) githubCallback(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer") // the URL has the code in it
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if r.Method == http.MethodHead || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		w.WriteHeader(http.StatusNoContent) // whoever looks ahead must not use the state up
		return
	}
	outcome, err := s.completeGitHub(r)
	var throttled *ThrottledError
	if !errors.Is(err, ErrGitHubState) && !errors.As(err, &throttled) { // then this flow is over
		http.SetCookie(w, s.github.ClearState(r.URL.Query().Get("state")))
	}
	switch {
	case err != nil && s.browser != nil:
		s.logFailure(r, err)
		redirect(w, s.browser.location("", "error", errorCode(err)), http.StatusSeeOther)
	case err != nil:
		s.fail(w, r, err)
	case outcome.SignedIn != nil:
		s.answerSignIn(w, r, outcome)
	default:
		s.answerConnect(w, outcome)
	}
}

// completeGitHub is [GitHubConnector.Complete], within the limits of Config.Throttling.
func (s *Service) completeGitHub(r *http.Request) (GitHubOutcome, error) {
	ctx := r.Context()
	address := clientOf(ctx).Address
	began := time.Now()
	if err := s.throttle.enter(ctx, address); err != nil {
		s.events.signIn(ctx, began, Event{Method: MethodGitHub}, Token{}, err)
		return GitHubOutcome{}, err
	}
	outcome, err := s.github.Complete(r, s.browserUser(r))
	if errors.Is(err, ErrGitHubState) || errors.Is(err, ErrGitHubNotAllowed) || errors.Is(err, ErrGitHubConflict) {
		failure := err
		if err = s.throttle.failed(ctx, address, countGitHub, failure); err != failure {
			s.events.signIn(ctx, began, Event{Method: MethodGitHub}, Token{}, err)
		}
	}
	return outcome, err
}

// browserUser returns the user whose browser session comes with the request, if
// there is one.
func (s *Service) browserUser(r *http.Request) string {
	if s.browser == nil {
		return ""
	}
	claims, err := s.browser.claims(r, s.now())
	if err != nil {
		return ""
	}
	return claims.identity.UserID
}

// errorCode is what the host's page is told of a failure.
func errorCode(err error) string {
	switch {
	case errors.Is(err, ErrGitHubState):
		return "expired"
	case errors.Is(err, ErrGitHubDenied):
		return "denied"
	case errors.Is(err, ErrGitHubNotAllowed):
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

func (s *Service) answerSignIn(w http.ResponseWriter, r *http.Request, outcome GitHubOutcome) {
	token := *outcome.SignedIn
	if s.browser == nil {
		writeJSON(w, http.StatusOK, githubSignInResponse{newLoginResponse(token), token.User.Username, outcome.IsNewUser})
		return
	}
	cookie, err := s.browser.begin(token)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	http.SetCookie(w, cookie)
	redirect(w, s.browser.location(outcome.ReturnTo, "", ""), http.StatusSeeOther)
}

func (s *Service) answerConnect(w http.ResponseWriter, outcome GitHubOutcome) {
	switch page := s.github.cfg.ConnectedPage; {
	case page != "":
		redirect(w, s.github.origin()+page, http.StatusSeeOther)
	case s.browser != nil:
		redirect(w, s.browser.location(outcome.ReturnTo, "", ""), http.StatusSeeOther)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		connectedPage.Execute(w, outcome.Connected.Login) // a client that has gone needs no page
	}
}

var connectedPage = template.Must(template.New("connected").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>GitHub connected</title>
<main>
<h1>GitHub connected</h1>
<p>The GitHub account <strong>{{.}}</strong> is now connected. You can close this page.</p>
</main>
</html>
`))

type githubTokenResponse struct {
	HasToken       bool   `json:"has_token"`
	GitHubUsername string `json:"github_username"`
	Valid          *bool  `json:"valid,omitempty"`
}

// errNotConnected is the published answer where there is no token.
var errNotConnected = &requestError{http.StatusNotFound, "No GitHub credentials found for user"}

// GitHubStatusHandler handles GET /api/v1/auth/github/token: whether GitHub is
// connected to the caller. With ?verify=true it asks GitHub.
func (s *Service) GitHubStatusHandler() http.Handler {
	return s.githubOnly(http.MethodGet, func() http.Handler {
		return s.Authenticate(s.handle(http.MethodGet, func(ctx context.Context, _ http.ResponseWriter, r *http.Request) (any, error) {
			caller, _ := IdentityFromContext(ctx)
			ask, response := s.github.Status, githubTokenResponse{HasToken: true}
			if r.URL.Query().Get("verify") == "true" {
				ask, response.Valid = s.github.Verify, new(true)
			}
			status, err := ask(ctx, caller.UserID)
			if err == nil && !status.Connected {
				err = errNotConnected
			}
			response.GitHubUsername = status.Login
			return response, err
		}))
	})
}

// GitHubDisconnectHandler handles POST /api/v1/auth/github/logout: the caller's
// GitHub token is removed, and revoked at GitHub.
func (s *Service) GitHubDisconnectHandler() http.Handler {
	return s.githubOnly(http.MethodPost, func() http.Handler {
		return s.Authenticate(s.handle(http.MethodPost, func(ctx context.Context, _ http.ResponseWriter, _ *http.Request) (any, error) {
			caller, _ := IdentityFromContext(ctx)
			switch err := s.github.Disconnect(ctx, caller.UserID); {
			case errors.Is(err, ErrNotFound):
				return logoutResponse{Success: false, Message: "No GitHub credentials found to remove"}, nil
			case err != nil:
				return nil, err
			}
			return logoutResponse{Success: true, Message: "GitHub credentials removed successfully"}, nil
		}))
	})
}

// GitHubUnlinkHandler handles DELETE /api/v1/auth/github/link: the caller's GitHub
// account does not sign in any more.
func (s *Service) GitHubUnlinkHandler() http.Handler {
	return s.githubOnly(http.MethodDelete, func() http.Handler {
		return s.Authenticate(s.only(http.MethodDelete, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, _ := IdentityFromContext(r.Context())
			if err := s.github.Unlink(r.Context(), caller.UserID); err != nil && !errors.Is(err, ErrNotFound) {
				s.fail(w, r, err)
				return
			}
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNoContent)
		})))
	})
}
