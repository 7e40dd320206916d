package auth

import (
	"errors"
	"fmt"
	"time"
)

// The errors to branch on, with errors.Is. An error of this package that is
// none of these, nor an *[InvalidError], *[ExistsError] or *[ThrottledError] for errors.As, means
// that a store could not answer or that a context ended.
var (
	// ErrInvalidCredentials means that an access key and secret do not sign
	// anybody in. It is the same error for an unknown key, a wrong secret, an
	// expired or revoked key and a disabled user.
	ErrInvalidCredentials = errors.New("auth: invalid access key or secret")

	// ErrTokenMissing means that a request carries no bearer token.
	ErrTokenMissing = errors.New("auth: no bearer token in the request")

	// ErrTokenRejected means that a token was sent and is not good. It is the
	// same error for a malformed, forged, expired and revoked token.
	ErrTokenRejected = errors.New("auth: token rejected")

	// ErrSessionTooOld means that a call needs a session that was opened more
	// recently: see [Config.ReauthAfter].
	ErrSessionTooOld = errors.New("auth: the session is too old for this")

	// ErrSuperUserRequired means that the caller is known, and is not an active
	// super user.
	ErrSuperUserRequired = errors.New("auth: super user required")

	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("auth: not found")

	// ErrExists means that a name or id is taken. The error may be an [ExistsError],
	// which says what.
	ErrExists = errors.New("auth: already exists")

	// ErrInvalid means that a value cannot be accepted. The error is an
	// [InvalidError], which says which value and why.
	ErrInvalid = errors.New("auth: invalid value")

	// ErrUserDisabled means that a user is not active.
	ErrUserDisabled = errors.New("auth: user is disabled")

	// ErrLastSuperUser means that a change was refused because it would leave no
	// active super user.
	ErrLastSuperUser = errors.New("auth: the last active super user must stay")

	// ErrLastWayIn means that a change was refused because the user could not
	// sign in any more after it.
	ErrLastWayIn = errors.New("auth: the only way to sign in must stay")

	// ErrChanged means that a record is not as it was when the caller read it.
	// Reading it again and trying once more is the answer.
	ErrChanged = errors.New("auth: changed meanwhile")

	// ErrTooManyKeys means that a user has MaxKeys access keys, one of which must be
	// revoked before there can be another.
	ErrTooManyKeys = errors.New("auth: too many access keys")

	// ErrRotating means that an access key has been given a new secret so recently
	// that the one before still works.
	ErrRotating = errors.New("auth: the access key is being rotated")

	// ErrBootstrapped means that the first super user has been made already.
	ErrBootstrapped = errors.New("auth: already bootstrapped")
)

// InvalidError says which value was refused and what it must be. It is never
// made of the value itself, so it can be shown to whoever sent it.
// errors.Is(err, ErrInvalid) is true for it.
type InvalidError struct {
	Field  string // the field's name on the wire, such as "username"
	Reason string // completes the sentence: "must be 1 to 128 bytes long"
}

// Error returns "auth: " with the field and the reason.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("auth: %s %s", e.Field, e.Reason)
}

// Unwrap returns ErrInvalid.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// ExistsError says what is taken. errors.Is(err, ErrExists) is true for it.
type ExistsError struct {
	Field string // "user_id", "username", "email" or "access_key"

	// SameUserID is for [UserStore.RegisterUsers]: the ID of the user who has the username
	// and all the access keys that were asked for, and so is the same, registered before.
	// It is empty if nobody is.
	SameUserID string
}

// Error returns a message with the field.
func (e *ExistsError) Error() string {
	return fmt.Sprintf("auth: %s is taken", e.Field)
}

// Unwrap returns ErrExists.
func (e *ExistsError) Unwrap() error { return ErrExists }

// ThrottledError means that there is too much to do, or were too many failures,
// and that the same request may be sent again later.
type ThrottledError struct {
	RetryAfter time.Duration // how long to wait; more than zero
}

// Error returns a message with the time to wait.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("auth: throttled: try again in %s", e.RetryAfter)
}
