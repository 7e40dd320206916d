package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// endpoint is what a handler does: it returns the body of a 200 or an error.
type endpoint func(ctx context.Context, w http.ResponseWriter, r *http.Request) (body any, err error)

// bounded gives a handler the time that one request may take.
func (s *Service) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
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
		writeJSON(w, http.StatusOK, body)
	}))
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

// only lets one method through, so that a handler keeps to its method wherever a
// host mounts it. HEAD is GET without the body.
func (s *Service) only(method string, next http.Handler) http.Handler {
	refuse := s.methodNotAllowed([]string{method})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == method || r.Method == http.MethodHead && method == http.MethodGet {
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

// RegisterHandler handles POST /api/v1/user/register: a super user makes a user,
// and gets the one copy of the access secret. With [Config.Users] it answers 404.
func (s *Service) RegisterHandler() http.Handler {
	if s.tokens.users != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, ErrNotFound) })
	}
	register := func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
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
		made, err := s.Register(ctx, NewUser{Username: username, Email: email, IsSuperUser: isSuperUser})
		if err != nil {
			return nil, err
		}
		return newRegisterResponse(made), nil
	}
	return s.bounded(s.Authenticate(s.RequireSuperUser(s.handle(http.MethodPost, register))))
}

func newRegisterResponse(made Registration) registerResponse {
	response := registerResponse{
		UserID:       made.User.ID,
		Username:     made.User.Username,
		Email:        made.User.Email,
		Role:         "User",
		Status:       "Active",
		AccessKey:    made.Pair.AccessKey,
		AccessSecret: made.Pair.AccessSecret.Reveal(),
		CreatedOn:    wireTime(made.User.CreatedAt),
		Message:      "User registered. Store the access secret now: it is not shown again.",
	}
	if made.User.IsSuperUser {
		response.Role = "Super User"
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

// UserHandler handles GET /auth/user: who the caller is.
func (s *Service) UserHandler() http.Handler {
	return s.bounded(s.Authenticate(s.handle(http.MethodGet, func(ctx context.Context, _ http.ResponseWriter, _ *http.Request) (any, error) {
		user, err := s.User(ctx)
		if err != nil {
			return nil, err
		}
		return newUserResponse(user), nil
	})))
}

func newUserResponse(user User) userResponse {
	response := userResponse{
		UserID:      user.ID,
		Username:    user.Username,
		IsSuperUser: user.IsSuperUser,
		IsActive:    user.IsActive,
		CreatedAt:   wireTime(user.CreatedAt),
	}
	if user.Email != "" {
		response.Email = &user.Email
	}
	if !user.LastLogin.IsZero() {
		text := wireTime(user.LastLogin)
		response.LastLogin = &text
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
	return s.bounded(s.Authenticate(s.handle(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		identity, _ := IdentityFromContext(ctx)
		// A session that another call has just ended is what was asked for.
		if err := s.tokens.Revoke(ctx, identity.SessionID); err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if s.browser != nil {
			http.SetCookie(w, s.browser.clear())
		}
		if s.github != nil {
			s.github.cookies.clearAll(w, r)
		}
		return logoutResponse{Success: true, Message: "Signed out. This token is no longer valid."}, nil
	})))
}

// wireTime is RFC 3339 in UTC, in whole seconds.
func wireTime(t time.Time) string {
	return t.UTC().Format(time.RFC3339)
}
