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

// LoginHandler handles POST /auth/users/login: it exchanges an access key and its secret for a
// token.
func (s *Service) LoginHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: anyone, serve: s.serveLogin})
}

type loginResponse struct {
	Token       string `json:"token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	IsSuperUser bool   `json:"is_super_user"`
}

func (s *Service) serveLogin(w http.ResponseWriter, r *http.Request) (any, error) {
	body := wire.ReadBody(w, r, "access_key", "access_secret")
	pair := KeyPair{
		AccessKey:    body.Text("access_key"),
		AccessSecret: NewSecret(body.Text("access_secret")),
	}
	if body.Err() != nil {
		return nil, readError(body.Err())
	}
	token, err := s.Login(r.Context(), pair, LoginOptions{})
	if err != nil {
		return nil, err
	}
	return newLoginResponse(token), nil
}

func newLoginResponse(token Token) loginResponse {
	return loginResponse{
		Token:       token.Bearer.Reveal(),
		TokenType:   "bearer",
		ExpiresIn:   int64(token.ExpiresIn() / time.Second),
		IsSuperUser: token.User.IsSuperUser,
	}
}

// LogoutHandler handles POST /auth/logout: it revokes the caller's session. If the request comes
// from a page of the host, the handler also revokes the session of the browser's session cookie and
// removes that cookie, and the cookies of completed GitHub flows. In all cases, the handler removes
// the cookies of GitHub flows that are not complete.
func (s *Service) LogoutHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: anyUser, rotate: true, serve: s.serveLogout})
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
		s.github.cookies.ForgetCompleted(w, s.github.path) // browser sessions need GitHub
	}
	if s.github != nil {
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
	return s.tokens.revokeClaims(r.Context(), &v.Claims)
}

// revokeCookieSession revokes the session of the request's session cookie, unless that session has
// the ID exceptID. A browser that has lost the cookie can neither use the session nor sign out of
// it. So call revokeCookieSession before a browser loses the cookie.
func (s *Service) revokeCookieSession(ctx context.Context, r *http.Request, exceptID string) error {
	v, err := s.verifyCookie(r, s.now())
	if err != nil || v.Identity.SessionID == exceptID {
		return nil // no session to revoke
	}
	return s.tokens.revokeClaims(ctx, &v.Claims)
}

// CurrentUserHandler handles GET /auth/user: it returns the caller's user record.
func (s *Service) CurrentUserHandler() http.Handler {
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

// maxListedSessions limits the size of ListSessionsHandler's response. Without the limit, the
// response could take 1.7 MB. A user may have 1000 sessions, and JSON may escape each of the 256
// bytes of a user agent as six bytes.
const maxListedSessions = 100

// ListSessionsHandler handles GET /auth/sessions: it lists the caller's sessions, the newest first,
// and marks the current session, which is the session of this request. It lists at most 100
// sessions. If the current session is not among the newest 100, the handler lists it instead of the
// oldest of these 100.
func (s *Service) ListSessionsHandler() http.Handler {
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
	sessions, err := s.store.ListSessions(r.Context(), caller.UserID, s.now())
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

// RevokeSessionHandler handles DELETE /auth/sessions/{id}: it revokes a session of the caller, or
// of any user if the caller is a super user.
func (s *Service) RevokeSessionHandler() http.Handler {
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
