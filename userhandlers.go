package auth

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// How many users one page has.
const (
	usersPerPage  = 50
	mostUsersPage = 200
)

// ListUsersHandler handles GET /auth/users?limit=50&after=<user_id>: a page of the users
// in the order of their ids, with a Link to the next while there is one.
func (s *Service) ListUsersHandler() http.Handler {
	return s.administration(http.MethodGet, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		query := r.URL.Query()
		limit := usersPerPage
		if query.Has("limit") {
			var err error
			if limit, err = strconv.Atoi(query.Get("limit")); err != nil || limit < 1 || limit > mostUsersPage {
				return nil, invalidf("limit", "must be from 1 to %d", mostUsersPage)
			}
		}
		users, err := s.store.ListUsers(ctx, query.Get("after"), limit+1)
		if err != nil {
			return nil, fmt.Errorf("auth: listing users: %w", err)
		}
		if len(users) > limit {
			users = users[:limit]
			w.Header().Set("Link", "<"+nextPage(r, limit, users[limit-1].ID)+`>; rel="next"`)
		}
		response := make([]userResponse, len(users)) // [], not null
		for i, user := range users {
			response[i] = newUserResponse(user)
		}
		return response, nil
	})
}

// nextPage returns the path and query of the page behind the user with this ID. The
// path is the one that the client has sent, which a host's router may have cut.
func nextPage(r *http.Request, limit int, after string) string {
	path := r.URL.EscapedPath()
	if sent, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = sent.EscapedPath()
	}
	return path + "?" + url.Values{"limit": {strconv.Itoa(limit)}, "after": {after}}.Encode()
}

// GetUserHandler handles GET /auth/users/{id}.
func (s *Service) GetUserHandler() http.Handler {
	return s.administration(http.MethodGet, func(ctx context.Context, _ http.ResponseWriter, r *http.Request) (any, error) {
		user, err := s.store.FindUser(ctx, r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return newUserResponse(user), nil
	})
}

// UpdateUserHandler handles PATCH /auth/users/{id}: a user is disabled or enabled,
// promoted or demoted.
func (s *Service) UpdateUserHandler() http.Handler {
	return s.administration(http.MethodPatch, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		body, err := readOwnBody(w, r, []string{"is_super_user", "is_active"})
		if err != nil {
			return nil, err
		}
		isSuperUser, err1 := body.optionalFlag(0)
		isActive, err2 := body.optionalFlag(1)
		if err := firstError(err1, err2); err != nil {
			return nil, err
		}
		if isSuperUser == nil && isActive == nil {
			return nil, invalidf("is_super_user", "or is_active must be given")
		}
		user, err := s.UpdateUser(ctx, r.PathValue("id"), UserChange{IsSuperUser: isSuperUser, IsActive: isActive})
		if err != nil {
			return nil, err
		}
		return newUserResponse(user), nil
	})
}

type regenerateResponse struct {
	Message      string `json:"message"`
	AccessKey    string `json:"access_key"`
	AccessSecret string `json:"access_secret"`
}

// RegenerateCredentialsHandler handles POST /auth/users/{id}/regenerate-credentials: a new pair
// in place of every way in that the user has.
func (s *Service) RegenerateCredentialsHandler() http.Handler {
	return s.recentAdministration(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		if _, err := readOwnBody(w, r, nil); err != nil {
			return nil, err
		}
		pair, err := s.RegenerateCredentials(ctx, r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return regenerateResponse{
			Message:      "Credentials regenerated. Store the access secret now: it is not shown again.",
			AccessKey:    pair.AccessKey,
			AccessSecret: pair.AccessSecret.Reveal(),
		}, nil
	})
}

// ReinstateUserHandler handles POST /auth/users/{id}/reinstate: the user is active, with
// a new pair in place of every way in there was.
func (s *Service) ReinstateUserHandler() http.Handler {
	return s.recentAdministration(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		if _, err := readOwnBody(w, r, nil); err != nil {
			return nil, err
		}
		made, err := s.ReinstateUser(ctx, r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return newRegisterResponse(made, "User reinstated. Store the access secret now: it is not shown again."), nil
	})
}

type revokeUserResponse struct {
	Status       string `json:"status"`
	Message      string `json:"message"`
	RevokedCount int    `json:"revoked_count"`
}

// RevokeUserSessionsHandler handles POST /auth/tokens/revoke-user/{id}: all sessions of the
// user end.
func (s *Service) RevokeUserSessionsHandler() http.Handler {
	return s.administration(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		if _, err := readOwnBody(w, r, nil); err != nil {
			return nil, err
		}
		live, err := s.RevokeUser(ctx, r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return revokeUserResponse{"success", "All sessions of the user have ended.", live}, nil
	})
}

type deleteUserResponse struct {
	Status        string `json:"status"`
	Message       string `json:"message"`
	DeletedUserID string `json:"deleted_user_id"`
}

// DeleteUserHandler handles DELETE /auth/users/{id}.
func (s *Service) DeleteUserHandler() http.Handler {
	return s.administration(http.MethodDelete, func(ctx context.Context, _ http.ResponseWriter, r *http.Request) (any, error) {
		id := r.PathValue("id")
		if err := s.DeleteUser(ctx, id); err != nil {
			return nil, err
		}
		return deleteUserResponse{"success", "User deleted.", id}, nil
	})
}
