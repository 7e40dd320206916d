package oauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/challenge"
	"github.com/sallyport-go/auth/internal/wire"
)

// The error codes of RFC 6749, section 5.2, that several calls use.
const (
	invalidRequest = "invalid_request"
	unavailable    = "temporarily_unavailable"
)

// failure is an error answer (RFC 6749, section 5.2).
type failure struct {
	status            int
	code, description string
	basic             bool // the answer has a challenge for Basic
	retryAfter        time.Duration
	scope             string // the answer has a challenge for this scope (RFC 6750, section 3.1)
	cause             error  // what a hook learns and the client does not, or nil
}

// Error returns the code and the description.
func (f *failure) Error() string { return f.code + ": " + f.description }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

func invalid(description string) error {
	return &failure{status: http.StatusBadRequest, code: invalidRequest, description: description}
}

func invalidTarget(description string) error {
	return &failure{status: http.StatusBadRequest, code: "invalid_target", description: description}
}

func invalidScope() error {
	return &failure{status: http.StatusBadRequest, code: "invalid_scope",
		description: "The client may not get these scopes"}
}

func invalidClient(basic bool) error {
	return &failure{status: http.StatusUnauthorized, code: "invalid_client",
		description: "Invalid access key or secret", basic: basic}
}

// failureOf returns the answer to an error of the service.
func failureOf(err error) *failure {
	var known *failure
	var field *auth.InvalidError
	var throttled *auth.ThrottledError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &throttled):
		return &failure{status: http.StatusTooManyRequests, code: unavailable,
			description: "Too many attempts", retryAfter: throttled.RetryAfter}
	case errors.Is(err, auth.ErrInsufficientScope), errors.As(err, &field) && field.Field == "scopes":
		_ = errors.As(invalidScope(), &known)
		return known
	case errors.As(err, &field) && field.Field == "audience":
		_ = errors.As(invalidTarget("There is no such resource for this client"), &known)
		return known
	}
	return &failure{status: http.StatusServiceUnavailable, code: unavailable,
		description: "The service cannot answer now"}
}

// writeError writes an error answer. A challenge for a bearer token names the URL of the metadata (RFC 9728,
// section 5.1).
func writeError(w http.ResponseWriter, f *failure, metadata string) {
	header := w.Header()
	bearer := challenge.Bearer{Error: f.code, Scope: f.scope, Metadata: metadata}
	switch {
	case f.basic:
		header.Set("WWW-Authenticate", `Basic realm="access key", charset="UTF-8"`)
	case f.code == "insufficient_scope", f.code == "invalid_token":
		header.Set("WWW-Authenticate", bearer.String())
	}
	if f.retryAfter > 0 {
		header.Set("Retry-After", strconv.FormatInt(int64((f.retryAfter+time.Second-1)/time.Second), 10))
	}
	writeAnswer(w, f.status, map[string]string{"error": f.code, "error_description": f.description})
}

// writeAnswer writes an answer that no cache stores (RFC 6749, section 5.1).
func writeAnswer(w http.ResponseWriter, status int, answer any) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	header.Set("X-Content-Type-Options", "nosniff")
	wire.DenyFrames(header)
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	text, err := json.Marshal(answer)
	if err != nil { // impossible with the types of this package
		status, text = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	header.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(text, '\n')) // an error means that the client has gone
}
