package authclient

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport-go/auth"
)

// CurrentUser returns the user who has signed in (GET /auth/user).
func (c *Client) CurrentUser(ctx context.Context) (auth.User, error) {
	var answer userAnswer
	_, err := c.call(ctx, http.MethodGet, "/auth/user", nil, &answer)
	return answer.user(), err
}

// Logout revokes the present token (POST /auth/logout). The next call signs in again. If the Client has no
// token, Logout does nothing. If Logout fails, the Client keeps the token, so that Logout can be called
// again, unless the service has rejected the token. Logout waits for a sign-in of another call. A token that
// was replaced in a renewal stays valid until it expires.
func (c *Client) Logout(ctx context.Context) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	t := c.current.Load()
	if t == nil || !t.isValid(c.now()) {
		return nil
	}
	c.current.Store(nil) // first: a call with this token could be answered with 401
	err := c.revoke(ctx, t)
	if err != nil && !isStatus(err, http.StatusUnauthorized) {
		c.current.Store(t)
	}
	return err
}

// revoke revokes the token at the service.
func (c *Client) revoke(ctx context.Context, t *heldToken) error {
	ctx, cancel := context.WithTimeout(ctx, signInTimeout)
	defer cancel()
	request, err := c.newRequest(ctx, http.MethodPost, "/auth/logout", nil)
	if err != nil {
		return err
	}
	if _, err := c.send(c.transport, withToken(request, t), nil); err != nil {
		return fmt.Errorf("authclient: POST /auth/logout: %w", err)
	}
	return nil
}

// Session is one session of the user.
type Session struct {
	ID        string            `json:"id"`
	Method    auth.SignInMethod `json:"method"`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt time.Time         `json:"expires_at"`
	UserAgent string            `json:"user_agent"`
	Address   string            `json:"ip"`
	Current   bool              `json:"current"` // true for the session of the Client's token
}

// Sessions returns the sessions of the user who has signed in (GET /auth/sessions).
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	var sessions []Session
	_, err := c.call(ctx, http.MethodGet, "/auth/sessions", nil, &sessions)
	return sessions, err
}

// RevokeSession revokes a session (DELETE /auth/sessions/{id}). A super user can revoke the sessions of other
// users, too.
func (c *Client) RevokeSession(ctx context.Context, id string) error {
	return c.callByID(ctx, http.MethodDelete, "/auth/sessions/", id, "", nil, nil)
}

// Key is an access key of the user, without its secret.
type Key struct {
	AccessKey  string    `json:"access_key"`
	Label      string    `json:"label"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at"`   // zero means never
	LastUsedAt time.Time `json:"last_used_at"` // zero means never
	Status     string    `json:"status"`       // "Active" or "Expired"

	// Scopes are the scopes of the key. nil means that the key has no limit. An empty slice means that it may
	// do nothing.
	Scopes []string `json:"scopes"`
}

// NewKey is a key with the only copy of its secret.
type NewKey struct {
	Key
	AccessSecret auth.Secret
}

// newKeyAnswer is the answer of the calls that return a secret.
type newKeyAnswer struct {
	Key
	AccessSecret string `json:"access_secret"`
}

func (a newKeyAnswer) key() NewKey { return NewKey{a.Key, auth.NewSecret(a.AccessSecret)} }

// Keys returns the user's access keys (GET /auth/keys).
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var keys []Key
	_, err := c.call(ctx, http.MethodGet, "/auth/keys", nil, &keys)
	return keys, err
}

// KeyParams describes an access key to be made. The zero value is a key with the power of the Client's
// session that never expires.
type KeyParams struct {
	Label     string
	ExpiresAt time.Time // zero means never

	// Scopes limits the key. nil means the scopes of the Client's session. The service refuses an empty set.
	// The set is not a slice, so that a filter without a result cannot make a key without a limit.
	Scopes *auth.ScopeSet
}

// CreateKey makes an access key for the user (POST /auth/keys).
func (c *Client) CreateKey(ctx context.Context, params KeyParams) (NewKey, error) {
	body := map[string]any{"label": params.Label}
	if !params.ExpiresAt.IsZero() {
		body["expires_at"] = params.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if params.Scopes != nil {
		body["scopes"] = params.Scopes.List()
	}
	var answer newKeyAnswer
	_, err := c.call(ctx, http.MethodPost, "/auth/keys", body, &answer)
	return answer.key(), err
}

// RotateKey replaces the secret of a key (POST /auth/keys/{access_key}/rotate). The old secret keeps working
// for the overlap, in whole seconds, at most 7 days.
func (c *Client) RotateKey(ctx context.Context, accessKey string, overlap time.Duration) (NewKey, error) {
	var answer newKeyAnswer
	body := map[string]any{"overlap_seconds": int64(overlap / time.Second)}
	err := c.callByID(ctx, http.MethodPost, "/auth/keys/", accessKey, "/rotate", body, &answer)
	return answer.key(), err
}

// RevokeKey revokes a key and the sessions that it opened (DELETE /auth/keys/{access_key}).
func (c *Client) RevokeKey(ctx context.Context, accessKey string) error {
	return c.callByID(ctx, http.MethodDelete, "/auth/keys/", accessKey, "", nil, nil)
}

// GitHub returns the login of the GitHub account that is connected for the user (GET
// /api/v1/auth/github/token), or "" if none is connected.
func (c *Client) GitHub(ctx context.Context) (login string, err error) {
	var answer struct {
		Login string `json:"github_username"`
	}
	_, err = c.call(ctx, http.MethodGet, "/api/v1/auth/github/token", nil, &answer)
	if isStatus(err, http.StatusNotFound) {
		return "", nil
	}
	return answer.Login, err
}

// DisconnectGitHub removes the token of the connected GitHub account (POST /api/v1/auth/github/logout). It
// reports whether there was one.
func (c *Client) DisconnectGitHub(ctx context.Context) (bool, error) {
	var answer struct {
		Success bool `json:"success"`
	}
	_, err := c.call(ctx, http.MethodPost, "/api/v1/auth/github/logout", nil, &answer)
	return answer.Success, err
}
