package oauth

import (
	"errors"
	"net/http"
	"time"

	"github.com/sallyport-go/auth"
)

// The grants of the token endpoint.
const (
	grantClient    = "client_credentials"
	grantExchange  = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantAssertion = "urn:ietf:params:oauth:grant-type:jwt-bearer"

	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

// TokenHandler handles POST /auth/token.
func (s *Server) TokenHandler() http.Handler { return s.handler(s.serveToken) }

// tokenAnswer is a successful answer of the token endpoint. Scope is absent if the token has no limit.
type tokenAnswer struct {
	AccessToken     string  `json:"access_token"`
	IssuedTokenType string  `json:"issued_token_type,omitempty"`
	TokenType       string  `json:"token_type"`
	ExpiresIn       int64   `json:"expires_in"`
	Scope           *string `json:"scope,omitempty"`
}

func (s *Server) serveToken(r *http.Request, form form) (any, error) {
	switch form.get("grant_type") {
	case grantClient:
		return s.signIn(r, form)
	case grantExchange:
		return s.exchange(r, form)
	case grantDevice:
		if s.devices != nil {
			return s.redeemDevice(r, form)
		}
	case grantAssertion:
		if s.workloads != nil {
			return s.signInWorkload(r, form)
		}
	case "":
		return nil, invalid("grant_type is required")
	}
	return nil, &failure{status: http.StatusBadRequest, code: "unsupported_grant_type",
		description: "The grant type is not supported"}
}

// signIn exchanges an access key for a token (RFC 6749, section 4.4).
func (s *Server) signIn(r *http.Request, form form) (any, error) {
	scopes := scopesOf(form)
	audience, err := s.audienceOf(form)
	if err != nil {
		return nil, err
	}
	pair, basic, err := pairOf(r, form)
	if err != nil {
		return nil, err
	}
	var token auth.Token
	err = s.failed.unlessFailed(pair, basic, func() (err error) {
		token, err = s.svc.Login(r.Context(), pair, auth.LoginOptions{Scopes: scopes, Audience: audience})
		return err
	})
	if err != nil {
		return nil, err
	}
	return newTokenAnswer(token), nil
}

// newTokenAnswer returns the answer with the token of a new session (RFC 6749, section 5.1).
func newTokenAnswer(token auth.Token) tokenAnswer {
	answer := tokenAnswer{AccessToken: token.Bearer.Reveal(), TokenType: "Bearer",
		ExpiresIn: int64(token.ExpiresIn() / time.Second)}
	if token.Session.Scopes != nil {
		answer.Scope = new(token.Session.Scopes.String())
	}
	return answer
}

// exchange returns a delegated token for a service user (RFC 8693).
func (s *Server) exchange(r *http.Request, form form) (any, error) {
	requested := form.get("requested_token_type")
	switch {
	case form.get("subject_token") == "":
		return nil, invalid("subject_token is required")
	case form.get("subject_token_type") != typeAccessToken:
		return nil, invalid("subject_token_type must be " + typeAccessToken)
	case requested != "" && requested != typeAccessToken:
		return nil, invalid("requested_token_type must be " + typeAccessToken)
	case form.get("actor_token") != "" || form.get("actor_token_type") != "":
		return nil, invalid("The actor is the client, so there must be no actor_token")
	}
	scopes := scopesOf(form)
	audience, err := s.audienceOf(form)
	if err != nil {
		return nil, err
	}
	if audience == "" {
		return nil, invalidTarget("resource is required, and must not be the issuer")
	}
	key, client, err := s.verify(r, form)
	if err != nil {
		return nil, err
	}
	caller, err := s.svc.Tokens().Verify(r.Context(), form.get("subject_token"))
	if err != nil {
		return nil, subjectFailure(err)
	}
	if scopes == nil {
		return nil, &failure{status: http.StatusBadRequest, code: "invalid_scope",
			description: "scope is required: a delegated token is always limited"}
	}
	if key.MustRotate || !scopes.Within(key.Scopes) { // the service user's own key limits the token, too
		return nil, invalidScope()
	}
	made, err := s.svc.Tokens().Delegate(r.Context(), caller,
		auth.Delegation{For: client.ID, Audience: audience, Scopes: scopes})
	if err != nil {
		return nil, subjectFailure(err)
	}
	identity := made.Identity
	return tokenAnswer{
		AccessToken:     made.Bearer.Reveal(),
		IssuedTokenType: typeAccessToken,
		TokenType:       "Bearer",
		ExpiresIn:       int64(identity.ExpiresAt.Sub(identity.IssuedAt) / time.Second),
		Scope:           new(identity.Scope),
	}, nil
}

// subjectFailure returns the answer to an error of a subject token or of its delegation (RFC 8693, section
// 2.2.2).
func subjectFailure(err error) error {
	var field *auth.InvalidError
	switch {
	case errors.Is(err, auth.ErrTokenRejected), errors.Is(err, auth.ErrDelegated):
		return invalid("subject_token is not valid")
	case errors.As(err, &field) && field.Field == "for", errors.Is(err, auth.ErrNotFound),
		errors.Is(err, auth.ErrUserDisabled): // the client was disabled since it authenticated
		return &failure{status: http.StatusBadRequest, code: "unauthorized_client",
			description: "The client is not an active service user"}
	}
	return err
}
