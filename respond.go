package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// requestError is an answer to a request that could not be read.
type requestError struct {
	status int
	detail string
}

func (e *requestError) Error() string { return "auth: " + e.detail }

// ErrorStatus returns the HTTP status of an error and the sentence that says to
// the client what to do about it. The sentence has nothing in it of the error's
// own message, nor of what was sent.
func ErrorStatus(err error) (status int, detail string) {
	var (
		request   *requestError
		invalid   *InvalidError
		throttled *ThrottledError
	)
	switch {
	case errors.As(err, &request):
		return request.status, request.detail
	case errors.As(err, &invalid):
		return http.StatusUnprocessableEntity, "Field " + invalid.Field + " " + invalid.Reason
	case errors.As(err, &throttled):
		return http.StatusTooManyRequests, "Too many attempts: try again later"
	}
	for _, known := range errorStatuses {
		if errors.Is(err, known.err) {
			return known.status, known.detail
		}
	}
	return http.StatusServiceUnavailable, "Service temporarily unavailable: try again later"
}

var errorStatuses = []struct {
	err    error
	status int
	detail string
}{
	{ErrTokenMissing, http.StatusUnauthorized, "Authentication required: send a bearer token"},
	{ErrTokenRejected, http.StatusUnauthorized, "Invalid or expired token: sign in again"},
	{ErrInvalidCredentials, http.StatusUnauthorized, "Invalid access key or secret"},
	{ErrSuperUserRequired, http.StatusForbidden, "Super user access required"},
	{ErrSessionTooOld, http.StatusForbidden, "This needs a newer session: sign in again first"},
	{ErrUserDisabled, http.StatusForbidden, "This user is disabled"},
	{ErrCrossOrigin, http.StatusForbidden, "Request refused: it must come from a page of this site"},
	{ErrGitHubState, http.StatusBadRequest, "This GitHub sign-in is unknown, expired or used: begin again"},
	{ErrGitHubDenied, http.StatusForbidden, "Access was denied at GitHub"},
	{ErrGitHubNotAllowed, http.StatusForbidden, "This GitHub account is not allowed to sign in"},
	{ErrGitHubConflict, http.StatusConflict, "This GitHub account cannot be connected to this user"},
	{ErrLastWayIn, http.StatusConflict, "This is the only way to sign in: make an access key first"},
	{ErrTooManyKeys, http.StatusConflict, "There are as many access keys as there may be: revoke one first"},
	{ErrRotating, http.StatusConflict, "The earlier secret of this key still works: rotate again when it does not"},
	{ErrChanged, http.StatusConflict, "Changed meanwhile: try again"},
	{ErrNotFound, http.StatusNotFound, "Not found"},
	{ErrExists, http.StatusConflict, "Username or e-mail already taken: choose another"},
	{ErrLastSuperUser, http.StatusConflict, "The last active super user must stay: make another first"},
	{ErrBootstrapped, http.StatusConflict, "The first super user has been made already"},
	{ErrInvalid, http.StatusUnprocessableEntity, "A value cannot be accepted"},
}

// WriteError answers a request with an error: [ErrorStatus] as a status and as
// {"detail": "…"}, with WWW-Authenticate on a 401 (RFC 6750, section 3), and
// Retry-After on a 429 and where GitHub has said when it will answer again.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	status, detail := ErrorStatus(err)
	var throttled *ThrottledError
	var limited *githubStatusError
	switch {
	case errors.Is(err, ErrTokenRejected):
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	case status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case errors.As(err, &throttled):
		w.Header().Set("Retry-After", inSeconds(throttled.RetryAfter))
	case errors.As(err, &limited) && limited.retryAfter > 0:
		w.Header().Set("Retry-After", inSeconds(limited.retryAfter))
	}
	writeJSON(w, status, struct {
		Detail string `json:"detail"`
	}{detail})
}

// inSeconds rounds up: whoever comes back must not be too early.
func inSeconds(wait time.Duration) string {
	seconds := (wait + time.Second - 1) / time.Second
	return strconv.FormatInt(max(1, int64(seconds)), 10)
}

// writeJSON answers with a body that no cache keeps and no browser takes for
// anything else.
func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // not with the types of this package
		status, text = http.StatusInternalServerError, []byte(`{"detail":"Internal error"}`)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	w.Write(text) // a client that has gone needs no answer
}

// fail answers with an error by way of the host's function, and logs what is the
// operator's to mend.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	s.logFailure(r, err)
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // the host's way to end a response
		} else if p != nil {
			s.log.ErrorContext(r.Context(), "auth: Config.WriteError panicked", "panic", p)
			WriteError(w, r, err)
		}
	}()
	s.writeError(w, r, err)
}

func (s *Service) logFailure(r *http.Request, err error) {
	var answered *requestError
	status, _ := ErrorStatus(err)
	if status == http.StatusServiceUnavailable && !errors.Is(err, context.Canceled) && !errors.As(err, &answered) {
		s.log.ErrorContext(r.Context(), "auth: request failed", "method", r.Method, "pattern", r.Pattern, "error", err)
	}
}
