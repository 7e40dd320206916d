package oauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/sallyport-go/auth"
)

// RevocationHandler handles POST /auth/revoke: a client revokes a token of its own user (RFC 7009).
func (s *Server) RevocationHandler() http.Handler { return s.handler(s.serveRevocation) }

func (s *Server) serveRevocation(r *http.Request, form form) (any, error) {
	token := form.get("token")
	if token == "" {
		return nil, invalid("token is required")
	}
	_, client, err := s.verify(r, form)
	if err != nil {
		return nil, err
	}
	identity, err := s.identify(r, claimedAudience(token), token)
	switch {
	case errors.Is(err, auth.ErrTokenRejected):
		return nil, nil // RFC 7009, section 2.2: the token is invalid already
	case err != nil:
		return nil, err
	case identity.Actor != "":
		return nil, &failure{status: http.StatusBadRequest, code: "unsupported_token_type",
			description: "A delegated token ends with the session of its user, and cannot be revoked alone"}
	case identity.UserID != client.ID:
		return nil, &failure{status: http.StatusBadRequest, code: "unauthorized_client",
			description: "The token was issued to another client"}
	}
	err = s.svc.Tokens().RevokeToken(r.Context(), token)
	if errors.Is(err, auth.ErrTokenRejected) {
		return nil, nil
	}
	return nil, err
}

// IntrospectionHandler handles POST /auth/introspect: a service asks whether a token is valid there (RFC
// 7662).
func (s *Server) IntrospectionHandler() http.Handler { return s.handler(s.serveIntrospection) }

// inactive is the whole answer for a token that is not valid at the caller (RFC 7662, section 2.2). It
// does not say why.
type inactive struct {
	Active bool `json:"active"` // false
}

// active is the answer for a token that is valid at the caller.
type active struct {
	Active    bool    `json:"active"` // true
	Scope     *string `json:"scope,omitempty"`
	ClientID  string  `json:"client_id,omitempty"`
	Username  string  `json:"username"`
	TokenType string  `json:"token_type"`
	Expires   int64   `json:"exp"`
	IssuedAt  int64   `json:"iat"`
	Subject   string  `json:"sub"`
	Audience  string  `json:"aud"`
	Issuer    string  `json:"iss"`
	Actor     *actor  `json:"act,omitempty"`
}

type actor struct {
	Subject string `json:"sub"`
}

func (s *Server) serveIntrospection(r *http.Request, form form) (any, error) {
	token := form.get("token")
	if token == "" {
		return nil, invalid("token is required")
	}
	caller, err := s.introspector(r, form)
	if err != nil {
		return nil, err
	}
	audience := claimedAudience(token)
	if !caller.HasAudience(audience) {
		return inactive{}, nil
	}
	identity, err := s.identify(r, audience, token)
	switch {
	case errors.Is(err, auth.ErrTokenRejected):
		return inactive{}, nil
	case err != nil:
		return nil, err
	}
	answer := active{
		Active: true, TokenType: "Bearer", Issuer: s.svc.Tokens().Issuer(), Audience: identity.Audience,
		Subject: identity.UserID, Username: identity.Username, ClientID: identity.AccessKeyID,
		IssuedAt: identity.IssuedAt.Unix(), Expires: identity.ExpiresAt.Unix(),
	}
	if identity.Limited {
		answer.Scope = new(identity.Scope)
	}
	if identity.Actor != "" {
		answer.Actor = &actor{identity.Actor}
	}
	return answer, nil
}

// introspector returns the service user that asks about a token. It must have the scope auth:introspect, and
// authenticates with its access key or with a bearer token.
func (s *Server) introspector(r *http.Request, form form) (auth.User, error) {
	var user auth.User
	var scopes *auth.ScopeSet
	if _, err := auth.BearerToken(r); err == nil || errors.Is(err, auth.ErrTokenRejected) {
		if form.get("client_secret") != "" { // RFC 6749, section 2.3
			return user, invalid("The caller must authenticate with a token or with a secret, not with both")
		}
		ctx, err := s.svc.IdentifyContext(r)
		if err == nil {
			user, err = s.svc.User(ctx)
		}
		switch {
		case errors.Is(err, auth.ErrTokenRejected):
			return user, &failure{status: http.StatusUnauthorized, code: "invalid_token",
				description: "The bearer token is not valid"}
		case err != nil:
			return user, err
		}
		identity, _ := auth.IdentityFromContext(ctx)
		scopes = identity.Scopes()
	} else {
		key, owner, err := s.verify(r, form)
		if err != nil {
			return user, err
		}
		user, scopes = owner, key.Scopes
	}
	if !scopes.Allows(auth.ScopeIntrospect) {
		return user, &failure{status: http.StatusForbidden, code: "insufficient_scope",
			description: "The scope " + auth.ScopeIntrospect + " is required", scope: auth.ScopeIntrospect}
	}
	return user, nil
}

// identify verifies a token for an audience. An audience that does not exist makes the token invalid.
func (s *Server) identify(r *http.Request, audience, token string) (auth.Identity, error) {
	identity, err := s.svc.Tokens().VerifyFor(r.Context(), audience, token)
	var field *auth.InvalidError
	if errors.As(err, &field) {
		return identity, auth.ErrTokenRejected
	}
	return identity, err
}

// claimedAudience returns the audience in the claims of a token, or "". The token is not verified, so the
// caller must verify it for this audience.
func claimedAudience(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	segment, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return ""
	}
	var claims struct {
		Audience string `json:"aud"`
	}
	if json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.Audience
}
