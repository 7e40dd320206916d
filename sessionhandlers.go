package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

type sessionResponse struct {
	ID        string       `json:"id"`
	Method    SignInMethod `json:"method"`
	CreatedAt string       `json:"created_at"`
	ExpiresAt string       `json:"expires_at"`
	UserAgent string       `json:"user_agent"`
	IP        string       `json:"ip"`
	Current   bool         `json:"current"`
}

// ListSessionsHandler handles GET /auth/sessions: the caller's sessions, the newest
// first, and which of them makes the call.
func (s *Service) ListSessionsHandler() http.Handler {
	return s.account(http.MethodGet, func(ctx context.Context, _ http.ResponseWriter, _ *http.Request) (any, error) {
		caller, _ := IdentityFromContext(ctx)
		sessions, err := s.store.ListSessions(ctx, caller.UserID, s.now())
		if err != nil {
			return nil, fmt.Errorf("auth: listing sessions: %w", err)
		}
		response := make([]sessionResponse, len(sessions)) // [], not null
		for i, session := range sessions {
			response[i] = sessionResponse{
				ID:        session.ID,
				Method:    session.Method,
				CreatedAt: wireTime(session.CreatedAt),
				ExpiresAt: wireTime(session.ExpiresAt),
				UserAgent: session.UserAgent,
				IP:        session.Address,
				Current:   session.ID == caller.SessionID,
			}
		}
		return response, nil
	})
}

// RevokeSessionHandler handles DELETE /auth/sessions/{id}: a session of the caller's, or
// of anybody's for a super user, ends.
func (s *Service) RevokeSessionHandler() http.Handler {
	return s.account(http.MethodDelete, func(ctx context.Context, _ http.ResponseWriter, r *http.Request) (any, error) {
		session, err := s.store.FindSession(ctx, r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		if err := s.requireOwner(ctx, session.UserID); err != nil {
			return nil, err
		}
		// One that another call has just ended is what was asked for.
		if err := s.tokens.revoke(ctx, session.ID, session.UserID); err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		return done, nil
	})
}
