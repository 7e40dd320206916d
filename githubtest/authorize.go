package githubtest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// challengeLength is the length of a SHA-256 hash in base64url.
const challengeLength = 43

// authorization is a request to authorize the app.
type authorization struct {
	redirect    *url.URL
	redirectURI string // copied from the query; a token request can omit it but must not change it
	scopes      []string
	state       string
	hasState    bool
	challenge   string
	login       string // login that the app suggests
}

// authorize serves the page that asks for a user's consent. If a user agrees automatically (see
// [Server.SignInAs]), authorize shows no page and redirects the browser at once.
//
// The form of the page posts to the URL of the page. So the request for the page and the request of
// the form have the same query. authorize checks the query of both requests in the same way, and
// the server keeps no state between the requests.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("client_id") != s.clientID {
		s.errorPage(w, http.StatusNotFound, "There is no OAuth app with this client_id.")
		return
	}
	request, refusal := s.parseAuthorization(query)
	switch {
	case request.redirect == nil:
		s.errorPage(w, http.StatusBadRequest,
			"The redirect_uri is not associated with this application.")
	case refusal != nil:
		s.redirectBack(w, r, request, refusal.values())
	case r.Method == http.MethodPost:
		s.decide(w, r, request)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		s.ask(w, r, request)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		s.errorPage(w, http.StatusMethodNotAllowed, "This page is shown or answered, nothing else.")
	}
}

// ask shows the page, unless a user agrees automatically.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, request authorization) {
	s.mu.Lock()
	agrees := s.autoApprove
	s.mu.Unlock()
	if agrees == 0 {
		s.authorizePage(w, r, request)
		return
	}
	s.approve(w, r, request, agrees)
}

// decide handles the form that the page posts.
func (s *Server) decide(w http.ResponseWriter, r *http.Request, request authorization) {
	// A page of another site must not be able to agree for its visitor.
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		s.errorPage(w, http.StatusForbidden, "This form was sent by another site.")
		return
	}
	if r.PostFormValue("decision") != "authorize" {
		s.redirectBack(w, r, request, errAccessDenied.values())
		return
	}
	userID, err := strconv.ParseInt(r.PostFormValue("user"), 10, 64)
	if err != nil {
		s.errorPage(w, http.StatusBadRequest, "Choose a user.")
		return
	}
	s.approve(w, r, request, userID)
}

func (s *Server) approve(w http.ResponseWriter, r *http.Request, request authorization, userID int64) {
	s.mu.Lock()
	_, ok := s.userByID(userID)
	var value string
	if ok {
		value = s.newCode(code{
			userID:      userID,
			scopes:      request.scopes,
			redirectURI: request.redirectURI,
			challenge:   request.challenge,
		})
	}
	s.mu.Unlock()
	if !ok {
		s.errorPage(w, http.StatusBadRequest, "This user no longer exists.")
		return
	}
	s.redirectBack(w, r, request, url.Values{"code": {value}})
}

// redirectBack redirects the browser to the app's callback URL. The answer is either a code or an
// error. redirectBack adds the answer, the state of the request, and the issuer (RFC 9207) to the
// query. As at GitHub, even an error comes with the issuer.
func (s *Server) redirectBack(
	w http.ResponseWriter, r *http.Request, request authorization, answer url.Values,
) {
	target := *request.redirect
	query := target.Query()
	for name, values := range answer {
		query[name] = values
	}
	if request.hasState {
		query.Set("state", request.state)
	}
	query.Set("iss", baseURL(r)+"/login/oauth")
	target.RawQuery = query.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", target.String())
	w.WriteHeader(http.StatusFound)
}

// parseAuthorization parses an authorization request. The caller reports the error, if any, to the
// app. If the redirect field of the result is nil, there is no URL at which to report the error.
func (s *Server) parseAuthorization(query url.Values) (authorization, *oauthError) {
	request := authorization{
		redirectURI: query.Get("redirect_uri"),
		scopes:      parseScopes(query.Get("scope")),
		state:       query.Get("state"),
		hasState:    query.Has("state"),
		challenge:   query.Get("code_challenge"),
		login:       query.Get("login"),
	}
	if s.isGitHubApp() {
		request.scopes = []string{}
	}
	var ok bool
	request.redirect, ok = s.matchRedirect(request.redirectURI)
	if !ok {
		return request, errAuthorizeRedirect
	}
	if request.redirectURI == "" {
		request.redirectURI = request.redirect.String()
	}
	if query.Has("code_challenge") || query.Has("code_challenge_method") {
		if query.Get("code_challenge_method") != "S256" || len(request.challenge) != challengeLength {
			return request, errInvalidRequest
		}
	}
	return request, nil
}

// matchRedirect returns the URL to which to redirect the browser. ok reports whether the app is
// allowed to use the requested URL. If the request names no URL, redirect is the first registered
// URL. If ok is false, redirect is the first registered URL too, because the error is reported
// there. If the app has no registered URL, redirect is nil in both cases.
func (s *Server) matchRedirect(requested string) (redirect *url.URL, ok bool) {
	var first *url.URL
	if len(s.redirects) > 0 {
		first = s.redirects[0]
	}
	if requested == "" {
		return first, first != nil
	}
	redirect, err := parseRedirect(requested)
	if err != nil {
		return first, false
	}
	if first == nil && isLoopback(redirect.Hostname()) {
		return redirect, true
	}
	for _, registered := range s.redirects {
		if matches(redirect, registered) {
			return redirect, true
		}
	}
	return first, false
}

// parseRedirect parses a callback URL.
func parseRedirect(raw string) (*url.URL, error) {
	redirect, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	switch {
	case redirect.Scheme != "http" && redirect.Scheme != "https", redirect.Hostname() == "":
		return nil, fmt.Errorf("%q is not an absolute http or https URL", raw)
	case redirect.User != nil, redirect.Fragment != "", strings.ContainsAny(raw, "\\\r\n"):
		return nil, fmt.Errorf("%q has parts that a callback URL cannot have", raw)
	}
	return redirect, nil
}

// matches reports whether the requested URL has the same scheme and host as the registered URL, and
// the same path or a path below it. The ports of loopback URLs may differ.
func matches(requested, registered *url.URL) bool {
	if requested.Scheme != registered.Scheme ||
		!strings.EqualFold(requested.Hostname(), registered.Hostname()) {
		return false
	}
	if requested.Port() != registered.Port() && !isLoopback(requested.Hostname()) {
		return false
	}
	below, above := path.Clean("/"+requested.Path), path.Clean("/"+registered.Path)
	return below == above || strings.HasPrefix(below, strings.TrimSuffix(above, "/")+"/")
}
