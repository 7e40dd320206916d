package auth

import (
	"context"
	"errors"
	"net/http"
	"time"
)

type keyResponse struct {
	AccessKey  string  `json:"access_key"`
	Label      string  `json:"label"`
	CreatedAt  string  `json:"created_at"`
	ExpiresAt  *string `json:"expires_at"`
	LastUsedAt *string `json:"last_used_at"`
	Status     string  `json:"status"`
}

func (s *Service) newKeyResponse(key AccessKey) keyResponse {
	response := keyResponse{
		AccessKey:  key.ID,
		Label:      key.Label,
		CreatedAt:  wireTime(key.CreatedAt),
		ExpiresAt:  optionalTime(key.ExpiresAt),
		LastUsedAt: optionalTime(key.LastUsedAt),
		Status:     "Active",
	}
	if s.credentials.expired(key) {
		response.Status = "Expired"
	}
	return response
}

// newPairResponse is a key with the one copy of its secret.
type newPairResponse struct {
	AccessKey    string  `json:"access_key"`
	AccessSecret string  `json:"access_secret"`
	Label        string  `json:"label"`
	CreatedAt    string  `json:"created_at"`
	ExpiresAt    *string `json:"expires_at"`
	Message      string  `json:"message"`
}

// ListKeysHandler handles GET /auth/keys: the caller's access keys, without secrets.
func (s *Service) ListKeysHandler() http.Handler {
	return s.account(http.MethodGet, func(ctx context.Context, _ http.ResponseWriter, _ *http.Request) (any, error) {
		caller, _ := IdentityFromContext(ctx)
		keys, err := s.credentials.List(ctx, caller.UserID)
		if err != nil {
			return nil, err
		}
		response := make([]keyResponse, len(keys)) // [], not null
		for i, key := range keys {
			response[i] = s.newKeyResponse(key)
		}
		return response, nil
	})
}

// CreateKeyHandler handles POST /auth/keys: a new access key of the caller's, with the
// one copy of its secret.
func (s *Service) CreateKeyHandler() http.Handler {
	return s.recentAccount(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		body, err := readOwnBody(w, r, []string{"label", "expires_at"})
		if err != nil {
			return nil, err
		}
		label, err1 := body.optionalText(0)
		expires, err2 := body.time(1)
		if err := firstError(err1, err2); err != nil {
			return nil, err
		}
		caller, _ := IdentityFromContext(ctx)
		pair, key, err := s.credentials.issue(ctx, caller.UserID, KeyOptions{Label: label, ExpiresAt: expires})
		switch {
		case errors.Is(err, ErrNotFound): // deleted on another instance a moment ago
			return nil, errRevoked
		case err != nil:
			return nil, err
		}
		return newPair(pair, key, "Access key made. Store the access secret now: it is not shown again."), nil
	})
}

// RotateKeyHandler handles POST /auth/keys/{access_key}/rotate: a new secret for a key
// of the caller's, or of anybody's for a super user.
func (s *Service) RotateKeyHandler() http.Handler {
	return s.recentAccount(http.MethodPost, func(ctx context.Context, w http.ResponseWriter, r *http.Request) (any, error) {
		body, err := readOwnBody(w, r, []string{"overlap_seconds"})
		if err != nil {
			return nil, err
		}
		overlap, err := body.number(0)
		if err != nil {
			return nil, err
		}
		if overlap < 0 || overlap > int64(MaxOverlap/time.Second) { // or it might be too much for a Duration
			return nil, invalidf("overlap_seconds", "must be from 0 to %d", int64(MaxOverlap/time.Second))
		}
		key, err := s.ownKey(ctx, r)
		if err != nil {
			return nil, err
		}
		pair, key, err := s.credentials.rotate(ctx, key.ID, time.Duration(overlap)*time.Second)
		if err != nil {
			return nil, err
		}
		return newPair(pair, key, "Access secret made. Store it now: it is not shown again."), nil
	})
}

// newPair is the answer with a pair that has just been made.
func newPair(pair KeyPair, key AccessKey, message string) answer {
	return answer{http.StatusCreated, newPairResponse{
		AccessKey:    pair.AccessKey,
		AccessSecret: pair.AccessSecret.Reveal(),
		Label:        key.Label,
		CreatedAt:    wireTime(key.CreatedAt),
		ExpiresAt:    optionalTime(key.ExpiresAt),
		Message:      message,
	}}
}

// RevokeKeyHandler handles DELETE /auth/keys/{access_key}: a key of the caller's, or
// of anybody's for a super user, ends, and with it the sessions that it opened.
func (s *Service) RevokeKeyHandler() http.Handler {
	return s.account(http.MethodDelete, func(ctx context.Context, _ http.ResponseWriter, r *http.Request) (any, error) {
		key, err := s.ownKey(ctx, r)
		if err != nil {
			return nil, err
		}
		return done, s.credentials.revoke(ctx, key.ID, key.UserID, EventKeyRevoked)
	})
}

// ownKey returns the key of the path, or ErrNotFound if it is not the caller's.
func (s *Service) ownKey(ctx context.Context, r *http.Request) (AccessKey, error) {
	found, err := s.store.FindKey(ctx, r.PathValue("access_key"))
	if err != nil {
		return AccessKey{}, err
	}
	return found.Key, s.requireOwner(ctx, found.Key.UserID)
}
