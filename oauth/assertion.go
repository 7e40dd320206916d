package oauth

import (
	"context"
	"errors"
	"net/http"

	"github.com/sallyport-go/auth"
)

// AssertionVerifier verifies the assertions of workloads (RFC 7523, section 3). Package oauth/workload has
// one. It must be safe for concurrent use.
type AssertionVerifier interface {
	// VerifyAssertion verifies an assertion, which can be any text, and returns the session that the
	// assertion may open. The Scopes are the most that the session can have. The Audience is not used.
	//
	// VerifyAssertion returns an error that wraps [auth.ErrAssertionRejected] if it rejects the assertion.
	// Any other error means that it could not verify the assertion, for example because the keys of the
	// issuer could not be read. The client then gets 503. VerifyAssertion writes such failures to the log
	// itself. With an error, the Issuer and the Subject of the result can be set for the event of the
	// rejection. They must be verified.
	VerifyAssertion(ctx context.Context, assertion string) (auth.WorkloadSignIn, error)
}

// signInWorkload exchanges the assertion of a workload for a token (RFC 7523, section 2.1).
func (s *Server) signInWorkload(r *http.Request, form form) (any, error) {
	switch {
	case form.get("assertion") == "":
		return nil, invalid("assertion is required")
	case len(r.Header["Authorization"]) > 0, form.get("client_secret") != "",
		form.get("client_assertion") != "":
		// RFC 7523, section 3.1: credentials of a client would have to be validated.
		return nil, invalid("The assertion says who the client is, so there must be no client credentials")
	}
	scopes := scopesOf(form)
	audience, err := s.audienceOf(form)
	if err != nil {
		return nil, err
	}
	token, err := s.svc.SignInWorkload(r.Context(), func(ctx context.Context) (auth.WorkloadSignIn, error) {
		signIn, err := s.workloads.VerifyAssertion(ctx, form.get("assertion"))
		if err != nil {
			return signIn, assertionError(err)
		}
		signIn.Audience = audience
		if scopes == nil {
			return signIn, nil
		}
		if !scopes.Within(signIn.Scopes) {
			return signIn, &auth.InsufficientScopeError{} // the answer is invalid_scope
		}
		signIn.Scopes = scopes
		return signIn, nil
	})
	if errors.Is(err, auth.ErrAssertionRejected) { // RFC 7523, section 3.1
		return nil, &failure{status: http.StatusBadRequest, code: "invalid_grant",
			description: "The assertion is not valid here, has expired or was used already"}
	}
	if err != nil {
		return nil, err
	}
	return newTokenAnswer(token), nil
}

// assertionError returns an error of an AssertionVerifier, or the answer to an outage.
func assertionError(err error) error {
	if errors.Is(err, auth.ErrAssertionRejected) {
		return err
	}
	return &failure{status: http.StatusServiceUnavailable, code: unavailable, cause: err,
		description: "The assertion cannot be verified now"}
}
