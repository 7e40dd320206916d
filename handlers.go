package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// endpoint is what a handler does: it returns the body of a 200, an answer with
// another status, or an error.
type endpoint func(ctx context.Context, w http.ResponseWriter, r *http.Request) (body any, err error)

// bounded gives a handler the time that one request may take, and whose it is.
func (s *Service) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(WithClientInfo(r.Context(), s.clientInfo(r)), s.timeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// handle makes a handler for one method of an endpoint.
func (s *Service) handle(method string, e endpoint) http.Handler {
	return s.only(method, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := e(r.Context(), w, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		write(w, body)
	}))
}

// answer is a response with another status than 200. One without a body is 204.
type answer struct {
	status int
	body   any
}

var done = answer{status: http.StatusNoContent}

func write(w http.ResponseWriter, body any) {
	switch a, ok := body.(answer); {
	case !ok:
		writeJSON(w, http.StatusOK, body)
	case a.body == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(a.status)
	default:
		writeJSON(w, a.status, a.body)
	}
}

// account makes a handler for one method of an endpoint that is the caller's own.
func (s *Service) account(method string, e endpoint) http.Handler {
	return s.bounded(s.Authenticate(s.handle(method, e)))
}

// recentAccount is account for what Config.ReauthAfter is about.
func (s *Service) recentAccount(method string, e endpoint) http.Handler {
	return s.bounded(s.Authenticate(s.requireRecent(s.handle(method, e))))
}

// administration makes a handler for one method of an endpoint for super users. With
// [Config.Users] it answers 404.
func (s *Service) administration(method string, e endpoint) http.Handler {
	return s.hosted(s.bounded(s.Authenticate(s.RequireSuperUser(s.handle(method, e)))))
}

// recentAdministration is administration for what Config.ReauthAfter is about.
func (s *Service) recentAdministration(method string, e endpoint) http.Handler {
	return s.hosted(s.bounded(s.Authenticate(s.RequireSuperUser(s.requireRecent(s.handle(method, e))))))
}

// hosted is the handler of a service that keeps its users itself.
func (s *Service) hosted(handler http.Handler) http.Handler {
	if s.tokens.users == nil {
		return handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, ErrNotFound) })
}

// requireRecent lets requests through whose session is as recent as the host wants.
func (s *Service) requireRecent(next http.Handler) http.Handler {
	if s.recent == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := IdentityFromContext(r.Context())
		if !s.now().Before(caller.IssuedAt.Add(s.recent)) {
			s.fail(w, r, ErrSessionTooOld)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requireOwner returns ErrNotFound unless what the user with this ID has is the
// caller's, or the caller is a super user.
func (s *Service) requireOwner(ctx context.Context, userID string) error {
	if caller, _ := IdentityFromContext(ctx); caller.UserID == userID {
		return nil
	}
	user, err := s.User(ctx)
	if err == nil && !user.IsSuperUser {
		err = ErrNotFound
	}
	return err
}

// methodNotAllowed answers 405 with the methods that there are.
func (s *Service) methodNotAllowed(allowed []string) http.Handler {
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(slices.Clone(allowed), http.MethodHead)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		s.fail(w, r, &requestError{http.StatusMethodNotAllowed, "Method not allowed: use " + allow})
	})
}

// allows reports whether the method is one of the allowed. HEAD is GET without the
// body.
func allows(allowed []string, method string) bool {
	return slices.Contains(allowed, method) || method == http.MethodHead && slices.Contains(allowed, http.MethodGet)
}

// only lets one method through, so that a handler keeps to its method wherever a
// host mounts it.
func (s *Service) only(method string, next http.Handler) http.Handler {
	refuse := s.methodNotAllowed([]string{method})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if allows([]string{method}, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		refuse.ServeHTTP(w, r)
	})
}

type loginResponse struct {
	Token       string `json:"token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	IsSuperUser bool   `json:"is_super_user"`
}

// LoginHandler handles POST /auth/users/login: an access key and its secret for
// a token.
func (s *Service) LoginHandler() http.Handler {
	return s.bounded(s.handle(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		body, err := readBody(w, r, []string{"access_key", "access_secret"})
		if err != nil {
			return nil, err
		}
		key, err1 := body.text(0)
		secret, err2 := body.text(1)
		if err := firstError(err1, err2); err != nil {
			return nil, err
		}
		token, err := s.Login(ctx, KeyPair{AccessKey: key, AccessSecret: NewSecret(secret)})
		if err != nil {
			return nil, err
		}
		return newLoginResponse(token), nil
	}))
}

func newLoginResponse(token Token) loginResponse {
	return loginResponse{
		Token:       token.Bearer.Reveal(),
		TokenType:   "bearer",
		ExpiresIn:   int64(token.ExpiresIn() / time.Second),
		IsSuperUser: token.User.IsSuperUser,
	}
}

type registerResponse struct {
	UserID       string `json:"user_id"`
	Username     string `json:"username"`
	Email        string `json:"email"`
	Role         string `json:"role"`
	Status       string `json:"status"`
	AccessKey    string `json:"access_key"`
	AccessSecret string `json:"access_secret"`
	CreatedOn    string `json:"created_on"`
	Message      string `json:"message"`
}

// RegisterUserHandler handles POST /api/v1/user/register: a super user makes a user,
// and gets the one copy of the access secret. With [Config.Users] it answers 404.
func (s *Service) RegisterUserHandler() http.Handler {
	return s.recentAdministration(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		body, err := readBody(w, r, []string{"username", "email", "is_super_user"})
		if err != nil {
			return nil, err
		}
		username, err1 := body.text(0)
		email, err2 := body.text(1)
		isSuperUser, err3 := body.flag(2)
		if err := firstError(err1, err2, err3); err != nil {
			return nil, err
		}
		made, err := s.Register(ctx, UserParams{Username: username, Email: email, IsSuperUser: isSuperUser})
		if err != nil {
			return nil, err
		}
		return newRegisterResponse(made, "User registered. Store the access secret now: it is not shown again."), nil
	})
}

func newRegisterResponse(made Registration, message string) registerResponse {
	response := registerResponse{
		UserID:       made.User.ID,
		Username:     made.User.Username,
		Email:        made.User.Email,
		Role:         "User",
		Status:       "Active",
		AccessKey:    made.Pair.AccessKey,
		AccessSecret: made.Pair.AccessSecret.Reveal(),
		CreatedOn:    wireTime(made.User.CreatedAt),
		Message:      message,
	}
	if made.User.IsSuperUser {
		response.Role = "Super User"
	}
	if !made.User.IsActive {
		response.Status = "Inactive"
	}
	return response
}

type userResponse struct {
	UserID      string  `json:"user_id"`
	Username    string  `json:"username"`
	Email       *string `json:"email"`
	IsSuperUser bool    `json:"is_super_user"`
	IsActive    bool    `json:"is_active"`
	CreatedAt   string  `json:"created_at"`
	LastLogin   *string `json:"last_login"`
}

// CurrentUserHandler handles GET /auth/user: who the caller is.
func (s *Service) CurrentUserHandler() http.Handler {
	return s.account(http.MethodGet, func(ctx context.Context, _ http.ResponseWriter, _ *http.Request) (any, error) {
		user, err := s.User(ctx)
		if err != nil {
			return nil, err
		}
		return newUserResponse(user), nil
	})
}

func newUserResponse(user User) userResponse {
	response := userResponse{
		UserID:      user.ID,
		Username:    user.Username,
		IsSuperUser: user.IsSuperUser,
		IsActive:    user.IsActive,
		CreatedAt:   wireTime(user.CreatedAt),
		LastLogin:   optionalTime(user.LastLogin),
	}
	if user.Email != "" {
		response.Email = &user.Email
	}
	return response
}

type logoutResponse struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
}

// LogoutHandler handles POST /auth/logout: the token that makes the call is good
// no longer, nor is the browser session or a flow that the browser has begun.
func (s *Service) LogoutHandler() http.Handler {
	return s.account(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		identity, _ := IdentityFromContext(ctx)
		// A session that another call has just ended is what was asked for.
		if err := s.tokens.revoke(ctx, identity.SessionID, identity.UserID); err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if s.browser != nil {
			http.SetCookie(w, s.browser.clear())
		}
		if s.github != nil {
			s.github.cookies.clearAll(w, r)
		}
		return logoutResponse{Success: true, Message: "Signed out. This token is no longer valid."}, nil
	})
}

// optionalTime is null where there is no time.
func optionalTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(wireTime(t))
}

// wireTime is RFC 3339 in UTC, in whole seconds.
func wireTime(t time.Time) string {
	return t.UTC().Format(time.RFC3339)
}
