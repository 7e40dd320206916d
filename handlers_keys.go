package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/wire"
)

// listKeysHandler handles GET /auth/keys: it lists the caller's access keys, without secrets.
func (s *Service) listKeysHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet, access: anyUser, scope: ScopeKeys, serve: s.serveKeys})
}

type keyResponse struct {
	AccessKey  string   `json:"access_key"`
	Label      string   `json:"label"`
	CreatedAt  string   `json:"created_at"`
	ExpiresAt  *string  `json:"expires_at"`
	LastUsedAt *string  `json:"last_used_at"`
	Status     string   `json:"status"`
	Scopes     []string `json:"scopes"` // null if the key has no limit
	MustRotate bool     `json:"must_rotate"`
}

func (s *Service) serveKeys(_ http.ResponseWriter, r *http.Request) (any, error) {
	caller, _ := IdentityFromContext(r.Context())
	return s.listKeys(r.Context(), caller.UserID)
}

func (s *Service) listKeys(ctx context.Context, userID string) ([]keyResponse, error) {
	keys, err := s.credentials.List(ctx, userID)
	if err != nil {
		return nil, err
	}
	response := make([]keyResponse, len(keys)) // encodes as [], not null, if empty
	for i, key := range keys {
		response[i] = s.newKeyResponse(key)
	}
	return response, nil
}

func (s *Service) newKeyResponse(key AccessKey) keyResponse {
	response := keyResponse{
		AccessKey:  key.ID,
		Label:      key.Label,
		CreatedAt:  wire.Time(key.CreatedAt),
		ExpiresAt:  wire.OptionalTime(key.ExpiresAt),
		LastUsedAt: wire.OptionalTime(key.LastUsedAt),
		Status:     "Active",
		Scopes:     key.Scopes.List(),
		MustRotate: key.MustRotate,
	}
	if s.credentials.expired(key) {
		response.Status = "Expired"
	}
	return response
}

// createKeyHandler handles POST /auth/keys: it creates an access key for the caller and returns the
// only copy of its secret.
func (s *Service) createKeyHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: anyUser, scope: ScopeKeys, recent: true,
		serve: s.serveCreateKey})
}

// secretResponse is a key with the only copy of its secret.
type secretResponse struct {
	AccessKey    string   `json:"access_key"`
	AccessSecret string   `json:"access_secret"`
	Label        string   `json:"label"`
	CreatedAt    string   `json:"created_at"`
	ExpiresAt    *string  `json:"expires_at"`
	Scopes       []string `json:"scopes"` // null if the key has no limit
	Message      string   `json:"message"`
}

func (s *Service) serveCreateKey(w http.ResponseWriter, r *http.Request) (any, error) {
	body := wire.ReadStrictBody(w, r, "label", "expires_at", "scopes")
	caller, _ := IdentityFromContext(r.Context())
	options := KeyOptions{
		Label:     body.OptionalText("label"),
		ExpiresAt: body.Time("expires_at"),
		Scopes:    caller.Scopes(),
	}
	if scopes, given := body.Texts("scopes"); given {
		options.Scopes = NewScopes(scopes...)
		if len(scopes) == 0 { // a key for nothing is a mistake
			body.Fail(invalidf("scopes", "must not be empty: without it, the key has those of the session"))
		}
	}
	if body.Err() != nil {
		return nil, readError(body.Err())
	}
	by := caller.Authority()
	by.MaxAge = s.reauthAfter
	pair, key, err := s.credentials.issue(r.Context(), by, caller.UserID, options)
	if err != nil {
		return nil, err
	}
	return newSecretAnswer(pair, key,
		"Access key made. Store the access secret now: it is not shown again."), nil
}

// rotateKeyHandler handles POST /auth/keys/{access_key}/rotate: it replaces the secret of a key and
// returns the only copy of the new secret. The key must be the caller's, unless the caller is a
// super user. A key that must be rotated can be rotated only by a session that the key opened.
func (s *Service) rotateKeyHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodPost, access: anyUser, scope: ScopeKeys, recent: true,
		rotate: true, serve: s.serveRotateKey})
}

func (s *Service) serveRotateKey(w http.ResponseWriter, r *http.Request) (any, error) {
	const maxSeconds = int64(maxOverlap / time.Second)
	body := wire.ReadStrictBody(w, r, "overlap_seconds")
	overlap := body.Number("overlap_seconds")
	switch {
	case body.Err() != nil:
		return nil, readError(body.Err())
	case overlap < 0 || overlap > maxSeconds: // a larger number might overflow a Duration
		return nil, invalidf("overlap_seconds", "must be from 0 to %d", maxSeconds)
	}
	key, by, err := s.findOwnKey(r)
	if err != nil {
		return nil, err
	}
	by.MaxAge = s.reauthAfter
	if caller, _ := IdentityFromContext(r.Context()); caller.mustRotate() {
		by.Scope = ScopeRotate
	}
	pair, key, err := s.credentials.rotate(r.Context(), by, key.ID, time.Duration(overlap)*time.Second)
	if err != nil {
		return nil, err
	}
	return newSecretAnswer(pair, key, "Access secret made. Store it now: it is not shown again."), nil
}

func newSecretAnswer(pair KeyPair, key AccessKey, message string) answer {
	return answer{http.StatusCreated, secretResponse{
		AccessKey:    pair.AccessKey,
		AccessSecret: pair.AccessSecret.Reveal(),
		Label:        key.Label,
		CreatedAt:    wire.Time(key.CreatedAt),
		ExpiresAt:    wire.OptionalTime(key.ExpiresAt),
		Scopes:       key.Scopes.List(),
		Message:      message,
	}}
}

// revokeKeyHandler handles DELETE /auth/keys/{access_key}: it revokes a key and the sessions that
// the key opened. The key must be the caller's, unless the caller is a super user.
func (s *Service) revokeKeyHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodDelete, access: anyUser, scope: ScopeKeys,
		serve: s.serveRevokeKey})
}

func (s *Service) serveRevokeKey(_ http.ResponseWriter, r *http.Request) (any, error) {
	key, by, err := s.findOwnKey(r)
	if err != nil {
		return nil, err
	}
	return noContent, s.credentials.revoke(r.Context(), by, key.ID, key.UserID, eventkind.KeyRevoked)
}

// findOwnKey returns the key that the path names, and the authority with which the caller may
// change the key. It returns ErrNotFound unless the key is the caller's or the caller is a super
// user.
func (s *Service) findOwnKey(r *http.Request) (AccessKey, Authority, error) {
	key, _, err := s.store.FindKey(r.Context(), r.PathValue("access_key"))
	if err != nil {
		return AccessKey{}, Authority{}, s.explainNotFound(r.Context(), err)
	}
	by, err := s.authorityOver(r.Context(), key.UserID)
	return key, by, err
}
