package auth

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/sallyport-go/auth/internal/challenge"
	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/scope"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/sallyport-go/auth/internal/wire"
)

// Callers test for these errors with errors.Is. The types *[InvalidError], *[ExistsError], *[ThrottledError]
// and *[InsufficientScopeError] are for errors.As. Any other error of this package means that the
// configuration is not valid, that the store or GitHub could not answer, or that a context ended.
var (
	// ErrInvalidCredentials means that an access key and its secret were rejected. The key is
	// unknown, expired or revoked, the secret is wrong, the user is disabled, or the user must sign
	// in with GitHub first. The client gets the same answer in all of these cases.
	ErrInvalidCredentials = errors.New("auth: invalid access key or secret")

	// ErrAssertionRejected means that [Service.SignInWorkload] rejected the assertion of a workload. The
	// assertion is malformed, forged or expired, it meets no condition of the host, it was used already, or
	// its user is no active service user. The client gets the same answer in all of these cases.
	ErrAssertionRejected = errors.New("auth: assertion rejected")

	// ErrUnknownPepper means that the hash of an access secret needs a pepper that is not in
	// [CredentialConfig.Peppers]. The text of the error has the ID of the pepper.
	ErrUnknownPepper = errors.New("auth: unknown pepper")

	// ErrTokenMissing means that a request carries no bearer token.
	ErrTokenMissing = errors.New("auth: no bearer token in the request")

	// ErrTokenRejected means that a request carries a token that is malformed, forged or expired, or whose
	// session is revoked. The client gets the same answer in all of these cases.
	ErrTokenRejected = token.ErrRejected

	// ErrSessionTooOld means that the session is older than the call allows. The user must sign in
	// again. [Config.ReauthAfter] sets the maximum age.
	ErrSessionTooOld = errors.New("auth: the session is too old for this")

	// ErrSuperUserRequired means that the caller is authenticated but is no active super user.
	ErrSuperUserRequired = errors.New("auth: super user required")

	// ErrInsufficientScope means that a limited session or token lacks a scope that it needs: see
	// [ScopeSet]. The error is an *[InsufficientScopeError], which names the scope.
	ErrInsufficientScope = errors.New("auth: insufficient scope")

	// ErrDelegated means that a token that is delegated, or for another service, was used at the issuer.
	ErrDelegated = errors.New("auth: the token is for another service")

	// ErrCrossOrigin means that a page of another origin may have sent the request. This package
	// checks the origin of requests that change something with a session cookie, begin a sign-in
	// with GitHub, or connect a GitHub account.
	ErrCrossOrigin = errors.New("auth: request from another origin")

	// ErrNotFound means that the record does not exist.
	ErrNotFound = errors.New("auth: not found")

	// ErrExists means that a name or ID is taken. The error can be an *[ExistsError], which names
	// the field.
	ErrExists = errors.New("auth: already exists")

	// ErrInvalid means that a value cannot be accepted. The error is an *[InvalidError], which
	// names the field and the reason.
	ErrInvalid = errors.New("auth: invalid value")

	// ErrChanged means that a record has changed since the caller read it. Read it again and retry.
	ErrChanged = errors.New("auth: changed meanwhile")

	// ErrUserDisabled means that a user is not active.
	ErrUserDisabled = errors.New("auth: user is disabled")

	// ErrServiceUser means that the user is a service user, which cannot sign in with GitHub, open a
	// browser session, connect a GitHub account, or be the first super user.
	ErrServiceUser = errors.New("auth: service users cannot do this")

	// ErrLastSuperUser means that a change was refused because no active super user would remain.
	ErrLastSuperUser = errors.New("auth: the last active super user must stay")

	// ErrLastWayIn means that a change was refused because it would remove the user's only way to sign in.
	ErrLastWayIn = errors.New("auth: the only way to sign in must stay")

	// ErrTooManyKeys means that a user has [MaxKeys] access keys already. Revoke one before adding another.
	ErrTooManyKeys = errors.New("auth: too many access keys")

	// ErrRotating means that an access key cannot be rotated yet, because its previous secret still works.
	ErrRotating = errors.New("auth: the access key is being rotated")

	// ErrBootstrapped means that [Service.Bootstrap] was refused because the first super user
	// has been made already.
	ErrBootstrapped = errors.New("auth: already bootstrapped")

	// ErrGitHubState means that the OAuth state or code in a request to GitHub's callback is missing, wrong,
	// expired or already used. The user must begin the sign-in or the connecting of the account again.
	ErrGitHubState = errors.New("auth: no such GitHub sign-in in this browser")

	// ErrGitHubNotConfigured is the error of the HTTP calls for GitHub, and of each method of
	// [Service.GitHub], if Config.GitHub is nil.
	ErrGitHubNotConfigured = errors.New("auth: GitHub is not configured: set Config.GitHub")

	// ErrGitHubDenied means that the user denied access at GitHub.
	ErrGitHubDenied = errors.New("auth: access was denied at GitHub")

	// ErrGitHubNotAllowed means that the configuration does not allow the GitHub account, or that
	// the account's user is disabled.
	ErrGitHubNotAllowed = errors.New("auth: GitHub account is not allowed")

	// ErrGitHubConflict means that the GitHub account is connected to another user, or that the
	// user is connected to another GitHub account.
	ErrGitHubConflict = errors.New("auth: GitHub account and user belong to others")
)

// These errors say why a token, or the session of an [Authority], was rejected. In each case, the
// token or the session was valid earlier.
var (
	errRevoked        = token.ErrRevoked
	errCommitsLost    = fmt.Errorf("%w: %w", ErrTokenRejected, revocation.ErrCommitsLost)
	errSessionExpired = token.ErrSessionExpired
	errOtherAudience  = token.ErrSessionAudience
	errCallerDisabled = token.ErrUserDisabled
)

// feedError converts an error of the revocation feed into an error of [TokenIssuer.Verify].
func feedError(err error) error {
	switch {
	case errors.Is(err, revocation.ErrRevoked):
		return errRevoked
	case errors.Is(err, revocation.ErrCommitsLost):
		return errCommitsLost
	}
	return err
}

// failureCauses names the causes whose outages are counted and logged separately. The cause "signer"
// is the signer of a key of [NewSignerKey]. The last cause is separate from "github" because anyone can
// cause it, with the URL of the callback.
var failureCauses = [...]string{
	causeStore: "store", causeSigner: "signer", causeGitHub: "github", causeCallback: "github callback",
}

// The indexes of failureCauses. The causes from causeGitHub on are failures of GitHub.
const causeStore, causeSigner, causeGitHub, causeCallback = 0, 1, 2, 3

// failureCause returns the index of the cause in failureCauses.
func failureCause(err error) int {
	switch {
	case errors.Is(err, githubapi.ErrAuthorize):
		return causeCallback
	case githubapi.IsFailure(err):
		return causeGitHub
	case errors.Is(err, signing.ErrSigner):
		return causeSigner
	}
	return causeStore
}

// logFeed writes a log line about the revocation feed of an instance. An outage has one line when
// reading begins to fail, one when the instance no longer accepts any token, and one at the end. While
// an outage lasts, further lines follow at most every 30 seconds.
func logFeed(log *slog.Logger, r revocation.Report) {
	switch r.Status {
	case revocation.ReadFailing:
		log.Error("auth: the revocation feed cannot be read: soon no token will be accepted",
			"accepted_for", r.Left.Round(time.Second), "failures", r.Failures, "since", r.Since,
			"error", r.Err)
	case revocation.ReadAgain:
		log.Info("auth: the revocation feed can be read again", "failures", r.Failures, "lasted", r.Lasted)
	case revocation.Unusable:
		log.Error("auth: no token is accepted now, because the revocation feed cannot be read",
			"refused", r.Failures, "since", r.Since, "error", r.Err)
	case revocation.UsableAgain:
		log.Info("auth: tokens are accepted again", "refused", r.Failures, "lasted", r.Lasted)
	}
}

// InvalidError names the field whose value was refused and the rule that the value broke. It
// matches [ErrInvalid] with errors.Is. It never contains the value itself, so it can be shown to
// the client.
type InvalidError struct {
	Field  string // the field's name on the wire, such as "username"
	Reason string // the rule, such as "must be at most 128 bytes long"
}

// Error returns "auth: " with the field and the reason.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("auth: %s %s", e.Field, e.Reason)
}

// Unwrap returns ErrInvalid.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

func invalidf(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// readError converts a *wire.FieldError into an *[InvalidError]. A FieldError means that a field of
// a JSON object is not valid. readError returns any other error as it is.
func readError(err error) error {
	if field, ok := err.(*wire.FieldError); ok {
		return (*InvalidError)(field)
	}
	return err
}

// ExistsError names the field whose value is taken. It matches [ErrExists] with errors.Is.
type ExistsError struct {
	Field string // "user_id", "username", "email" or "access_key"

	// SameUserID is set only by [UserStore.RegisterUsers]. If an existing user already has the
	// username and all the access keys of the user to register, SameUserID is the ID of the
	// existing user. If not, SameUserID is empty.
	SameUserID string
}

// Error returns a message that names the field.
func (e *ExistsError) Error() string {
	return fmt.Sprintf("auth: %s is taken", e.Field)
}

// Unwrap returns ErrExists.
func (e *ExistsError) Unwrap() error { return ErrExists }

// ThrottledError means that a request was refused because the service is too busy or because there
// were too many attempts. The client can send the same request again after RetryAfter.
type ThrottledError struct {
	RetryAfter time.Duration // how long to wait; always positive
}

// Error returns a message that says how long to wait.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("auth: throttled: try again in %s", e.RetryAfter)
}

// InsufficientScopeError means that a limited session or token lacks a scope that it needs. It matches
// [ErrInsufficientScope] with errors.Is. [ErrorStatus] maps it to 403.
type InsufficientScopeError struct {
	// Scope is the missing scope. If more scopes are missing, Scope is one of them. It is empty if no scope
	// suffices, because only a session without a limit may make the change.
	Scope string
}

// Error returns a message with the scope.
func (e *InsufficientScopeError) Error() string {
	return "auth: " + cmp.Or(e.Scope, "a session without a limit") + " is needed"
}

// Unwrap returns an error that matches ErrInsufficientScope.
func (e *InsufficientScopeError) Unwrap() error {
	if e.Scope == scope.Rotate {
		return errMustRotate
	}
	return ErrInsufficientScope
}

// errMustRotate means that a call needs a rotation of the access key first.
var errMustRotate = fmt.Errorf("%w: the access key must be rotated", ErrInsufficientScope)

// errOtherOwner means that a session or a key belongs to another user. It wraps ErrNotFound, so the
// client is told that the session or the key does not exist.
var errOtherOwner = fmt.Errorf("%w: it belongs to another user", ErrNotFound)

// callbackError returns the error for the code with which GitHub sends the browser back. Only the
// code access_denied means that the person denied access.
func callbackError(code string) error {
	if code == "access_denied" {
		return ErrGitHubDenied
	}
	return githubapi.AuthorizeError(code)
}

// isGitHubRefusal reports whether err means that a GitHub sign-in was refused. It returns false if
// err means that GitHub or the store failed. It returns true for each error that GitHub can put
// into the URL of the callback, because anyone can send such a URL.
func isGitHubRefusal(err error) bool {
	return errors.Is(err, ErrGitHubState) || errors.Is(err, ErrGitHubDenied) ||
		errors.Is(err, ErrGitHubNotAllowed) || errors.Is(err, ErrGitHubConflict) ||
		errors.Is(err, githubapi.ErrAuthorize)
}

// ErrorStatus returns the HTTP status of an error, and a sentence that tells the client what to do
// about it. For an error that is not known, such as a failure of the store, the status is 503. The
// sentence contains neither the error's own message nor anything from the request.
func ErrorStatus(err error) (status int, detail string) {
	var (
		request   *wire.RequestError
		invalid   *InvalidError
		throttled *ThrottledError
	)
	switch {
	case errors.As(err, &request):
		return request.Status, request.Detail
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

// hasStatus reports whether the error is one of the sentinels in errorStatuses.
func hasStatus(err error) bool {
	for _, known := range errorStatuses {
		if known.err == err {
			return true
		}
	}
	return false
}

// errorStatuses holds the status and the detail of each sentinel. ErrorStatus uses the first entry
// that matches.
var errorStatuses = []struct {
	err    error
	status int
	detail string
}{
	{ErrTokenMissing, http.StatusUnauthorized, "Authentication required: send a bearer token"},
	{ErrTokenRejected, http.StatusUnauthorized, "Invalid or expired token: sign in again"},
	{ErrInvalidCredentials, http.StatusUnauthorized, "Invalid access key or secret"},
	{ErrAssertionRejected, http.StatusUnauthorized, "Invalid, expired or used assertion: get another"},
	{ErrSuperUserRequired, http.StatusForbidden, "Super user access required"},
	{errMustRotate, http.StatusForbidden, "The access key must be rotated first, by a session that it opens"},
	{ErrInsufficientScope, http.StatusForbidden, "The scopes of this token do not allow this"},
	{ErrDelegated, http.StatusForbidden, "This token is for another service and does not allow this"},
	{ErrSessionTooOld, http.StatusForbidden, "This needs a newer session: sign in again first"},
	{ErrUserDisabled, http.StatusForbidden, "This user is disabled"},
	{ErrServiceUser, http.StatusForbidden, "A service user cannot do this: it signs in with access keys only"},
	{ErrCrossOrigin, http.StatusForbidden, "Request refused: it must come from a page of this site"},
	{ErrGitHubState, http.StatusBadRequest, "This GitHub sign-in is unknown, expired or used: begin again"},
	{ErrGitHubNotConfigured, http.StatusServiceUnavailable, "GitHub sign-in is not configured"},
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

// WriteError answers a request with the status and the detail that [ErrorStatus] returns for err.
// The body is the JSON object {"detail": "…"}. A 401 has the header WWW-Authenticate (RFC 6750,
// section 3), and so has a 403 for an [InsufficientScopeError]. If err comes from a Service or a
// RemoteVerifier with a ResourceMetadataURL, the header names this URL. A 429 has the header Retry-After. A
// 503 has Retry-After if GitHub has said when to try again.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	status, detail := ErrorStatus(err)
	var (
		throttled *ThrottledError
		limited   *githubapi.StatusError
		scope     *InsufficientScopeError
	)
	hint := challenge.HintOf(err)
	bearer := challenge.Bearer{Scope: hint.Scope, Metadata: hint.Metadata}
	switch {
	case errors.Is(err, ErrTokenRejected):
		bearer.Error = "invalid_token"
		w.Header().Set("WWW-Authenticate", bearer.String())
	case status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", bearer.String())
	case errors.As(err, &scope):
		bearer.Error, bearer.Scope = "insufficient_scope", scope.Scope
		w.Header().Set("WWW-Authenticate", bearer.String())
	case errors.As(err, &throttled):
		w.Header().Set("Retry-After", inSeconds(throttled.RetryAfter))
	case errors.As(err, &limited) && limited.RetryAfter > 0:
		w.Header().Set("Retry-After", inSeconds(limited.RetryAfter))
	}
	wire.WriteJSON(w, status, struct {
		Detail string `json:"detail"`
	}{detail})
}

// inSeconds returns the wait in whole seconds, at least 1. It rounds up: if it rounded down,
// clients would retry too early.
func inSeconds(wait time.Duration) string {
	seconds := (wait + time.Second - 1) / time.Second
	return strconv.FormatInt(max(1, int64(seconds)), 10)
}

// issuerError means that the issuer could not be asked. It wraps the errors of the host's HTTPClient, but
// hides those of this module: a client that has a token of its own can return ErrTokenRejected, which says
// nothing about the token that is verified.
type issuerError struct{ err error }

func (e *issuerError) Error() string { return e.err.Error() }

func (e *issuerError) Is(target error) bool { return !hasStatus(target) && errors.Is(e.err, target) }

func (e *issuerError) As(target any) bool {
	switch target.(type) {
	case **wire.RequestError, **InvalidError, **ThrottledError, **InsufficientScopeError:
		return false
	}
	return errors.As(e.err, target)
}
