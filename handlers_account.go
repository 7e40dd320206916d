package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport-go/auth/internal/wire"
)

// loginHandler handles POST /auth/users/login: it exchanges an access key and its secret for a
// token.
func (s *Service) loginHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: anyone, serve: s.serveLogin})
}

type loginResponse struct {
	Token       string `json:"token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	IsSuperUser bool   `json:"is_super_user"`
}

func (s *Service) serveLogin(w http.ResponseWriter, r *http.Request) (any, error) {
	pair, err := readPair(wire.ReadBody(w, r, "access_key", "access_secret"))
	if err != nil {
		return nil, err
	}
	token, err := s.Login(r.Context(), pair, LoginOptions{})
	if err != nil {
		return nil, err
	}
	return newLoginResponse(token), nil
}

// readPair returns the access key and the secret of the body of a sign-in.
func readPair(body *wire.Fields) (KeyPair, error) {
	pair := KeyPair{
		AccessKey:    body.Text("access_key"),
		AccessSecret: NewSecret(body.Text("access_secret")),
	}
	return pair, readError(body.Err())
}

func newLoginResponse(token Token) loginResponse {
	return loginResponse{
		Token:       token.Bearer.Reveal(),
		TokenType:   "bearer",
		ExpiresIn:   int64(token.ExpiresIn() / time.Second),
		IsSuperUser: token.User.IsSuperUser,
	}
}

// browserLoginHandler handles POST /auth/browser/login: it exchanges an access key and its secret for a
// session cookie, and answers 204. The body is that of POST /auth/users/login.
//
// The request must come from a page of the service's own origin, and its headers must show that, or the
// handler answers 403. Otherwise, a page of another origin could sign a person in as somebody else (login
// CSRF). A service user gets 403, because browser sessions are for people. Every other refusal is that of
// POST /auth/users/login, and both calls count for the limits of [Throttling].
//
// If the request has a session cookie, the handler revokes the session of that cookie, because the person
// could no longer sign out of it.
func (s *Service) browserLoginHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: anyone, serve: s.serveBrowserLogin})
}

func (s *Service) serveBrowserLogin(w http.ResponseWriter, r *http.Request) (any, error) {
	if !s.browser.IsOwn(r) {
		return nil, ErrCrossOrigin
	}
	pair, err := readPair(wire.ReadStrictBody(w, r, "access_key", "access_secret"))
	if err != nil {
		return nil, err
	}
	issued, cookie, err := s.loginBrowser(r.Context(), pair)
	if err != nil {
		return nil, err
	}
	s.revokeReplaced(r, issued)
	http.SetCookie(w, cookie)
	return noContent, nil
}

// loginBrowser does the same as [Service.Login], but returns a session cookie instead of a token.
func (s *Service) loginBrowser(ctx context.Context, pair KeyPair) (Token, *http.Cookie, error) {
	began, pair := time.Now(), s.credentials.trim(pair)
	issued, err := s.login(ctx, pair, LoginOptions{}, personsOnly)
	var cookie *http.Cookie
	if err == nil {
		if cookie, err = s.sessionCookie(ctx, issued, issued.ExpiresIn()); err != nil {
			err = s.tokens.discardSession(ctx, issued.Session, err)
		}
	}
	s.recordLogin(ctx, began, pair, issued, err)
	return issued, cookie, err
}

// revokeReplaced revokes the session of the request's session cookie, which the cookie of the new session
// replaces. Otherwise, the person could no longer sign out of the earlier session. If the store fails, the
// sign-in succeeds anyway.
func (s *Service) revokeReplaced(r *http.Request, issued Token) {
	ctx, cancel := context.WithTimeout(WithIdentity(r.Context(), Identity{UserID: issued.User.ID}),
		replaceTimeout)
	defer cancel()
	if err := s.revokeCookieSession(ctx, r, issued.Session.ID); err != nil {
		s.log.WarnContext(r.Context(), "auth: the session of a replaced cookie was not revoked",
			"error", err)
	}
}

// logoutHandler handles POST /auth/logout: it revokes the caller's session. If the request comes
// from a page of the host, the handler also revokes the session of the browser's session cookie and
// removes that cookie, and the cookies of completed GitHub flows. In all cases, the handler removes
// the cookies of GitHub flows that are not complete.
func (s *Service) logoutHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: anyUser, rotate: true, signsOut: true,
		serve: s.serveLogout})
}

type logoutResponse struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
}

func (s *Service) serveLogout(w http.ResponseWriter, r *http.Request) (any, error) {
	caller, _ := IdentityFromContext(r.Context())
	ofBrowser := s.browser != nil && s.browser.IsOwn(r)
	if ofBrowser { // first, so that the caller can retry with a valid token after an error
		if err := s.revokeCookieSession(r.Context(), r, caller.SessionID); err != nil {
			return nil, err
		}
	}
	if err := s.revokeCaller(r); err != nil {
		return nil, err
	}
	if ofBrowser {
		http.SetCookie(w, s.browser.Removal())
	}
	if s.github != nil {
		if ofBrowser {
			s.github.cookies.ForgetCompleted(w, s.github.path)
		}
		s.github.cookies.ClearAll(w, r)
	}
	return logoutResponse{Success: true, Message: "Signed out. This token is no longer valid."}, nil
}

// revokeCaller revokes the session of the request's bearer token. If there is no bearer token, it
// revokes the session of the session cookie.
func (s *Service) revokeCaller(r *http.Request) error {
	token, err := BearerToken(r)
	if err == nil {
		return s.tokens.RevokeToken(r.Context(), token)
	}
	if s.browser == nil {
		return err
	}
	v, err := s.verifyCookie(r, s.now())
	if err != nil {
		return err
	}
	return s.tokens.revokeClaims(r.Context(), &v.Claims, s.lastCookieExpiry(&v.Claims))
}

// revokeCookieSession revokes the session of the request's session cookie, unless that session has
// the ID exceptID. A browser that has lost the cookie can neither use the session nor sign out of
// it. So call revokeCookieSession before a browser loses the cookie.
func (s *Service) revokeCookieSession(ctx context.Context, r *http.Request, exceptID string) error {
	v, err := s.verifyCookie(r, s.now())
	if err != nil || v.Identity.SessionID == exceptID {
		return nil // no session to revoke
	}
	return s.tokens.revokeClaims(ctx, &v.Claims, s.lastCookieExpiry(&v.Claims))
}

// currentUserHandler handles GET /auth/user: it returns the caller's user record.
func (s *Service) currentUserHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyUser, serve: s.serveCurrentUser})
}

type userResponse struct {
	UserID      string  `json:"user_id"`
	Username    string  `json:"username"`
	Email       *string `json:"email"`
	IsSuperUser bool    `json:"is_super_user"`
	IsActive    bool    `json:"is_active"`
	CreatedAt   *string `json:"created_at"`
	LastLogin   *string `json:"last_login"`

	// These fields are absent for a person. CreatedBy is also absent if the host added the service user.
	IsService bool     `json:"is_service,omitzero"`
	CreatedBy string   `json:"created_by,omitzero"`
	Audiences []string `json:"audiences,omitzero"`
}

func (s *Service) serveCurrentUser(_ http.ResponseWriter, r *http.Request) (any, error) {
	user, err := s.User(r.Context())
	if err != nil {
		return nil, err
	}
	return newUserResponse(user), nil
}

func newUserResponse(user User) userResponse {
	return userResponse{
		UserID:      user.ID,
		Username:    user.Username,
		Email:       optionalText(user.Email),
		IsSuperUser: user.IsSuperUser,
		IsActive:    user.IsActive,
		CreatedAt:   wire.OptionalTime(user.CreatedAt), // a host's own users may have no time
		LastLogin:   wire.OptionalTime(user.LastLogin),
		IsService:   user.IsService,
		CreatedBy:   user.CreatedBy,
		Audiences:   user.audiences(),
	}
}

// optionalText returns a pointer to the text. For an empty text, it returns nil, which is null in
// JSON.
func optionalText(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// maxListedSessions limits the size of listSessionsHandler's response. Without the limit, the
// response could take 1.7 MB. A user may have 1000 sessions, and JSON may escape each of the 256
// bytes of a user agent as six bytes.
const maxListedSessions = 100

// listSessionsHandler handles GET /auth/sessions: it lists the caller's sessions, the newest first,
// and marks the current session, which is the session of this request. It lists at most 100
// sessions. If the current session is not among the newest 100, the handler lists it instead of the
// oldest of these 100.
func (s *Service) listSessionsHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyUser, scope: ScopeSessions,
		serve: s.serveSessions})
}

type sessionResponse struct {
	ID        string       `json:"id"`
	Method    SignInMethod `json:"method"`
	CreatedAt string       `json:"created_at"`
	ExpiresAt string       `json:"expires_at"`
	UserAgent string       `json:"user_agent"`
	IP        string       `json:"ip"`
	Current   bool         `json:"current"`
	Audience  string       `json:"audience,omitzero"`
}

func (s *Service) serveSessions(_ http.ResponseWriter, r *http.Request) (any, error) {
	caller, _ := IdentityFromContext(r.Context())
	return s.listSessions(r.Context(), caller.UserID)
}

func (s *Service) listSessions(ctx context.Context, userID string) ([]sessionResponse, error) {
	caller, _ := IdentityFromContext(ctx)
	sessions, err := s.store.ListSessions(ctx, userID, s.now())
	if err != nil {
		return nil, fmt.Errorf("auth: listing sessions: %w", err)
	}
	sessions = newestSessions(sessions, caller.SessionID)
	response := make([]sessionResponse, len(sessions)) // encodes as [], not null, if empty
	for i, session := range sessions {
		response[i] = sessionResponse{
			ID:        session.ID,
			Method:    session.Method,
			CreatedAt: wire.Time(session.CreatedAt),
			ExpiresAt: wire.Time(session.ExpiresAt),
			UserAgent: session.UserAgent,
			IP:        session.Address,
			Current:   session.ID == caller.SessionID,
			Audience:  session.Audience,
		}
	}
	return response, nil
}

// newestSessions returns the first maxListedSessions sessions. If the session with the ID currentID
// comes later in the list, that session replaces the last of the returned sessions.
func newestSessions(sessions []Session, currentID string) []Session {
	if len(sessions) <= maxListedSessions {
		return sessions
	}
	newest := slices.Clone(sessions[:maxListedSessions])
	current := slices.IndexFunc(sessions, func(s Session) bool { return s.ID == currentID })
	if current >= maxListedSessions {
		newest[maxListedSessions-1] = sessions[current]
	}
	return newest
}

// revokeOtherSessionsHandler handles DELETE /auth/sessions?except=current: it revokes all sessions of the
// caller, except the session of the request. Without this query, the handler answers 422.
func (s *Service) revokeOtherSessionsHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodDelete, access: anyUser, scope: ScopeSessions,
		serve: s.serveRevokeOthers})
}

type revokeOthersResponse struct {
	RevokedCount int `json:"revoked_count"`
}

func (s *Service) serveRevokeOthers(_ http.ResponseWriter, r *http.Request) (any, error) {
	query := r.URL.Query()
	if len(query["except"]) != 1 || query.Get("except") != "current" {
		return nil, invalidf("except", "must be current")
	}
	caller, _ := IdentityFromContext(r.Context())
	revoked, err := s.tokens.RevokeOthers(r.Context(), caller.Authority())
	return revokeOthersResponse{revoked}, err
}

// revokeSessionHandler handles DELETE /auth/sessions/{id}: it revokes a session of the caller, or
// of any user if the caller is a super user.
func (s *Service) revokeSessionHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodDelete, access: anyUser, scope: ScopeSessions,
		serve: s.serveRevokeSession})
}

func (s *Service) serveRevokeSession(_ http.ResponseWriter, r *http.Request) (any, error) {
	session, err := s.store.FindSession(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, s.explainNotFound(r.Context(), err)
	}
	by, err := s.authorityOver(r.Context(), session.UserID)
	if err != nil {
		return nil, err
	}
	err = s.tokens.revoke(r.Context(), by, session.ID, session.UserID)
	// Another call may just have revoked the session, and perhaps the caller's own session too.
	if err = s.explainNotFound(r.Context(), err); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return noContent, nil
}

// explainNotFound returns the error to report for a look-up that failed with err. If err is
// ErrNotFound, the cause may be that the caller's own session was revoked. explainNotFound
// therefore looks up that session. If the session is not live, or the store fails, explainNotFound
// returns the error of this second look-up. In every other case, it returns err.
func (s *Service) explainNotFound(ctx context.Context, err error) error {
	caller, _ := IdentityFromContext(ctx)
	if errors.Is(err, ErrNotFound) {
		if _, rejected := s.tokens.findCallerSession(ctx, &caller); rejected != nil {
			return rejected
		}
	}
	return err
}

// authorityOver returns the authority with which the caller may change records of the user with
// this ID. It returns errOtherOwner unless the caller is that user or a super user. If the super user's
// token is limited, it must have ScopeUsers. This is checked last: a caller who is no super user must not
// learn from the error that the record exists.
func (s *Service) authorityOver(ctx context.Context, userID string) (Authority, error) {
	caller, _ := IdentityFromContext(ctx)
	by := caller.Authority()
	by.SuperUser = caller.UserID != userID
	err := s.requireOwner(ctx, userID)
	if err == nil && by.SuperUser {
		err = caller.CheckScope(ScopeUsers)
	}
	return by, err
}

// requireOwner returns errOtherOwner unless the caller is the user with this ID or a super user.
func (s *Service) requireOwner(ctx context.Context, userID string) error {
	if caller, _ := IdentityFromContext(ctx); caller.UserID == userID {
		return nil
	}
	user, err := s.User(ctx)
	if err == nil && !user.IsSuperUser {
		err = &rejection{errOtherOwner, userID, ""}
	}
	return err
}
