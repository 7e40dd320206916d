package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/text"
)

// Login exchanges an access key and its secret for a token, as POST /auth/users/login does. It is
// for hosts that use a protocol other than HTTP, and for tokens for another service.
//
// Put the client address into ctx with [WithClientInfo]. The failures of all clients without an
// address are counted together, and Throttling.Flood does not limit these clients.
//
// Login returns ErrInvalidCredentials if it rejects the pair, and a *[ThrottledError] if the client
// has made too many attempts. It returns an *[InsufficientScopeError] or an *[InvalidError] for the options
// in the same cases as [TokenIssuer.Issue]. Any other error means that the store or GitHub could not answer.
func (s *Service) Login(ctx context.Context, pair KeyPair, options LoginOptions) (Token, error) {
	began, pair := time.Now(), s.credentials.trim(pair)
	token, err := s.login(ctx, pair, options, anyKind)
	s.recordLogin(ctx, began, pair, token, err)
	return token, err
}

// recordLogin records a sign-in with an access key for the events and the hooks.
func (s *Service) recordLogin(ctx context.Context, began time.Time, pair KeyPair, token Token, err error) {
	e := s.credentials.signInEvent(pair, err)
	e.UserID, e.SessionID = token.User.ID, token.Session.ID
	s.events.recordSignIn(ctx, began, e, err)
}

// These constants are the last argument of login.
const (
	anyKind     = false
	personsOnly = true
)

// login is Login without its event. If the last argument is personsOnly, login returns ErrServiceUser for a
// service user of the store, before it opens a session. If the host keeps the users, login does not know
// who is a service user.
func (s *Service) login(
	ctx context.Context, pair KeyPair, options LoginOptions, persons bool,
) (Token, error) {
	key, user, err := s.verifyWithinLimits(ctx, pair)
	if err != nil {
		return Token{}, err
	}
	if persons && user.IsService {
		return Token{}, &rejection{ErrServiceUser, user.ID, ""}
	}
	if err := s.recheckMembership(ctx, user); err != nil {
		return Token{}, err
	}
	params := IssueParams{UserID: user.ID, Method: MethodAccessKey, AccessKeyID: key.ID,
		Scopes: options.Scopes, Audience: options.Audience}
	if key.MustRotate {
		if options.Audience != "" || options.Scopes != nil && !options.Scopes.Equal(rotateOnly) {
			return Token{}, &InsufficientScopeError{Scope: ScopeRotate}
		}
		// The key may be rotated before the session is opened. Then the store refuses the session, because
		// the secret of this sign-in is the one that had to be replaced.
		params.Scopes = rotateOnly
	}
	token, err := s.tokens.issue(ctx, params)
	// The user may have been disabled, or the key revoked or rotated, after the pair was verified. If the
	// host keeps the users, issue is the first call that looks the user up.
	switch {
	case errors.Is(err, ErrUserDisabled):
		return Token{}, rejectionOf(user.ID, "", errOwnerDisabled)
	case errors.Is(err, ErrNotFound):
		return Token{}, rejectionOf(user.ID, "", errKeyUnknown)
	case key.MustRotate && errors.Is(err, ErrInsufficientScope): // the key was rotated meanwhile
		return Token{}, rejectionOf(user.ID, "", errSecretWrong)
	}
	return token, err
}

// verifyWithinLimits verifies the pair within the limits of Config.Throttling. It does not record
// the use of the key, because CreateSession records the use later.
func (s *Service) verifyWithinLimits(ctx context.Context, pair KeyPair) (AccessKey, User, error) {
	client := clientOf(ctx).throttleClient()
	if err := s.throttle.CountAttempt(ctx, client); err != nil {
		return AccessKey{}, User{}, asThrottled(err)
	}
	form := s.credentials.formOf(pair)
	slow := form == importedPair
	if slow {
		if err := s.throttle.CheckSlowAttempt(client, pair.AccessKey); err != nil {
			return AccessKey{}, User{}, asThrottled(err)
		}
	}
	key, user, err := s.credentials.checkPair(ctx, pair, form, func() error {
		return asThrottled(s.throttle.CountSlowAttempt(ctx, client, pair.AccessKey))
	})
	switch {
	case errors.Is(err, ErrInvalidCredentials):
		return AccessKey{}, User{}, cmp.Or(asThrottled(s.throttle.CountFailure(ctx, client)), err)
	case err == nil && slow:
		s.throttle.ForgetSlowAttempts(ctx, client, pair.AccessKey)
	}
	return key, user, err
}

// recheckMembership calls [GitHubConnector.StillAdmitted] for a user whose access key was accepted.
// If StillAdmitted refuses the user, the result is ErrInvalidCredentials, as for a wrong secret.
func (s *Service) recheckMembership(ctx context.Context, user User) error {
	if s.github == nil {
		return nil
	}
	err := s.github.StillAdmitted(ctx, user)
	if errors.Is(err, ErrGitHubNotAllowed) {
		s.log.InfoContext(ctx, "auth: an access key was rejected: its user must sign in with GitHub first",
			"user_id", user.ID)
		return rejectionOf(user.ID, "", errMembership)
	}
	if err != nil {
		return fmt.Errorf("auth: asking whether GitHub still admits the user %s: %w", user.ID, err)
	}
	return nil
}

// SignIn opens a session for the user and returns the session's token. It checks no credential: it
// is for the tests of a host, and for hosts that authenticate users by other means. It returns
// ErrNotFound if the user does not exist, ErrUserDisabled if the user is disabled, and an *[InvalidError]
// if an option is not valid.
func (s *Service) SignIn(ctx context.Context, userID string, options LoginOptions) (Token, error) {
	return s.tokens.Issue(ctx, IssueParams{UserID: userID, Method: MethodHost, Scopes: options.Scopes,
		Audience: options.Audience})
}

// WorkloadSignIn says which session an assertion opens: see [Service.SignInWorkload]. An assertion is a
// signed text with which another issuer says who a program is (RFC 7521, section 4), such as the ID token of
// a CI job.
type WorkloadSignIn struct {
	// UserID is the ID of the service user as which the program signs in.
	UserID string

	Scopes   *ScopeSet // limits the session; nil means no limit
	Audience string    // empty means the issuer of this service; otherwise as in [IssueParams]

	// Lifetime is how long the session lasts, in whole seconds. Zero means 15 minutes. The session lasts at
	// most as long as [TokenConfig.Lifetime].
	Lifetime time.Duration

	// Issuer and Subject say who signed the assertion, and about which program. They are for the events.
	Issuer, Subject string

	// AssertionID distinguishes the assertion from all others of its Issuer. The assertion opens only one
	// session, whichever instance it is sent to.
	AssertionID string

	// Reusable lets the assertion open any number of sessions. AssertionID is not used then.
	Reusable bool

	// ExpiresAt is when the assertion expires.
	ExpiresAt time.Time
}

// These errors say why a verified assertion opens no session. errNotService is another.
var (
	errAssertionUsed   = fmt.Errorf("%w: it was used already", ErrAssertionRejected)
	errAssertionOld    = fmt.Errorf("%w: it has expired", ErrAssertionRejected)
	errServiceMissing  = fmt.Errorf("%w: no such user", ErrAssertionRejected)
	errServiceDisabled = fmt.Errorf("%w: the user is disabled", ErrAssertionRejected)
)

const (
	defaultWorkloadLifetime = 15 * time.Minute

	// assertionMargin is how long the store remembers a used assertion that has expired. The clock of the
	// instance that prunes can be ahead, and then another instance would still accept the assertion.
	assertionMargin = 2 * time.Hour
)

// SignInWorkload opens a session for a program that has no access key, but an assertion of an issuer that
// the host trusts. The session has MethodWorkload. Package oauth/workload verifies such assertions.
//
// SignInWorkload calls verify, which verifies the assertion, within the limits of [Throttling]. If verify
// returns an error that wraps ErrAssertionRejected, it counts as a failed sign-in of the client address.
// The text that verify adds to this error becomes the reason of the event. Put the client address into ctx
// with [Service.ClientContext] or [WithClientInfo].
//
// Then SignInWorkload checks that the user is an active service user. It records in the store that the
// assertion was used, and opens the session. If opening the session fails, the assertion stays used, and the
// program needs another. If the store is restored from a backup, it has forgotten the assertions that were
// used since then, so each can be used again until it expires.
//
// SignInWorkload returns ErrAssertionRejected if the assertion has expired or was used already, or if the
// user does not exist, is disabled or is not a service user. It returns a *[ThrottledError] if the client has
// made too many attempts, an *[InvalidError] if a field of the WorkloadSignIn is not valid, and the errors of
// verify. Any other error means that the store could not answer. It is safe for concurrent use.
func (s *Service) SignInWorkload(
	ctx context.Context, verify func(context.Context) (WorkloadSignIn, error),
) (Token, error) {
	began := time.Now()
	signIn, token, err := s.signInWorkload(ctx, verify)
	e := Event{Method: MethodWorkload, UserID: token.User.ID, SessionID: token.Session.ID}
	if signIn.Issuer != "" {
		e.Reason = text.Readable(signIn.Issuer+", "+signIn.Subject, maxReasonLength)
	}
	s.events.recordSignIn(ctx, began, e, err)
	return token, err
}

// signInWorkload is SignInWorkload without its event.
func (s *Service) signInWorkload(
	ctx context.Context, verify func(context.Context) (WorkloadSignIn, error),
) (signIn WorkloadSignIn, token Token, err error) {
	client := clientOf(ctx).throttleClient()
	if err := s.throttle.CountAttempt(ctx, client); err != nil {
		return signIn, token, asThrottled(err)
	}
	signIn, err = callVerify(ctx, verify)
	if err == nil {
		token, err = s.openWorkload(ctx, signIn)
	}
	if errors.Is(err, ErrAssertionRejected) {
		err = cmp.Or(asThrottled(s.throttle.CountFailure(ctx, client)), err)
	}
	return signIn, token, err
}

// callVerify calls the function of the host, and converts a panic into an error.
func callVerify(
	ctx context.Context, verify func(context.Context) (WorkloadSignIn, error),
) (signIn WorkloadSignIn, err error) {
	defer callback.Recover("SignInWorkload: verify", func(failure error) {
		signIn, err = WorkloadSignIn{}, failure
	})
	return verify(ctx)
}

// openWorkload opens the session of a verified assertion. It records the use of the assertion last, so that
// a mistake in the configuration or in the request uses up no assertion.
func (s *Service) openWorkload(ctx context.Context, signIn WorkloadSignIn) (Token, error) {
	switch {
	case signIn.Lifetime < 0 || signIn.Lifetime%time.Second != 0:
		return Token{}, invalidf("lifetime", "must be whole seconds, and not negative")
	case signIn.AssertionID == "" && !signIn.Reusable:
		return Token{}, invalidf("assertion_id", "is required, because the assertion is not reusable")
	case !signIn.ExpiresAt.After(s.now()): // the store would forget that it was used
		return Token{}, errAssertionOld
	}
	if err := cmp.Or(checkID("user_id", signIn.UserID, MaxIDLength), s.tokens.checkScopes(signIn.Scopes),
		s.tokens.checkAudience(signIn.Audience)); err != nil {
		return Token{}, err
	}
	// issue checks the user again, after it has created the session. But then the session has already taken
	// the place of the user's oldest one.
	user, err := s.directory.FindUser(ctx, signIn.UserID)
	switch {
	case err != nil:
		err = fmt.Errorf("auth: reading the record of a service user: %w", err)
	case !user.IsActive:
		err = ErrUserDisabled
	case !user.IsService:
		err = errNotService
	default:
		err = s.consumeAssertion(ctx, signIn)
	}
	if err != nil {
		return Token{}, workloadError(signIn.UserID, err)
	}
	token, err := s.tokens.issue(ctx, IssueParams{UserID: signIn.UserID, Method: MethodWorkload,
		Scopes: signIn.Scopes, Audience: signIn.Audience,
		lifetime: min(cmp.Or(signIn.Lifetime, defaultWorkloadLifetime), s.tokens.cfg.Lifetime)})
	return token, workloadError(signIn.UserID, err)
}

// workloadError returns the rejection of an assertion if err means that its user cannot sign in.
func workloadError(userID string, err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return errServiceMissing
	case errors.Is(err, ErrUserDisabled):
		err = errServiceDisabled
	}
	return rejectionOf(userID, "", err)
}

// consumeAssertion records that the assertion was used. It returns ErrAssertionRejected if it was used
// before. The store keeps only a digest, as it does of the states of GitHub flows.
func (s *Service) consumeAssertion(ctx context.Context, signIn WorkloadSignIn) error {
	if signIn.Reusable {
		return nil
	}
	digest := sha256.Sum256(canonical.Frame("workload assertion", signIn.Issuer, signIn.AssertionID))
	err := s.store.ConsumeState(ctx, base64.RawURLEncoding.EncodeToString(digest[:]),
		signIn.ExpiresAt.Add(assertionMargin))
	if errors.Is(err, ErrExists) {
		return errAssertionUsed
	}
	if err != nil {
		return fmt.Errorf("auth: recording the use of an assertion: %w", err)
	}
	return nil
}

// The methods below are for packages that serve another protocol than the documented calls, such as package
// oauth.

// ClientContext returns the context of the request with the client of the request and with the deadline of
// Config.Timeout. Methods such as [Service.Login] then throttle the client address, and their events name it.
// The caller must call cancel when the request is served.
func (s *Service) ClientContext(r *http.Request) (ctx context.Context, cancel context.CancelFunc) {
	return context.WithTimeout(WithClientInfo(r.Context(), s.clientInfo(r)), s.timeout)
}

// VerifyPair verifies an access key and its secret within the limits of [Throttling], and returns the
// key, without its hashes, and its user. Unlike [Service.Login], it opens no session and does not record
// the use of the key. Put the client address into ctx with [Service.ClientContext] or [WithClientInfo].
//
// If the key must be rotated, the Scopes of the returned key are only [ScopeRotate], as those of a
// session are.
//
// VerifyPair returns the errors of Login for the pair. A failure is an attempt to sign in for the events and
// the hooks, as in Login.
func (s *Service) VerifyPair(ctx context.Context, pair KeyPair) (AccessKey, User, error) {
	began, pair := time.Now(), s.credentials.trim(pair)
	key, user, err := s.verifyWithinLimits(ctx, pair)
	if err == nil {
		err = s.recheckMembership(ctx, user)
	}
	key.Scopes = key.SessionScopes()
	if err == nil && s.tokens.users != nil { // the store knows only the ID of the user
		user, err = s.activeOwner(ctx, user.ID)
	}
	if err != nil {
		s.events.recordSignIn(ctx, began, s.credentials.signInEvent(pair, err), err)
		return AccessKey{}, User{}, err
	}
	return key.withoutHashes(), user, nil
}

// activeOwner returns the host's record of the owner of a key. If the owner does not exist or is disabled,
// the error is ErrInvalidCredentials, as for a wrong secret.
func (s *Service) activeOwner(ctx context.Context, userID string) (User, error) {
	user, err := s.tokens.users.activeUser(ctx, userID)
	switch {
	case errors.Is(err, ErrUserDisabled):
		return User{}, rejectionOf(userID, "", errOwnerDisabled)
	case errors.Is(err, ErrNotFound):
		return User{}, rejectionOf(userID, "", errKeyUnknown)
	}
	return user, err
}

// LogResult logs err if it means that the store or GitHub could not answer the request, as the documented
// calls do. While requests keep failing, it only counts most of them. If err is nil, LogResult logs the end
// of an outage. It ignores all other errors.
func (s *Service) LogResult(r *http.Request, err error) {
	if err != nil {
		s.logFailure(serving, r, err)
		return
	}
	s.logSuccess(serving, r)
}

// LogEvent writes an event to Config.Logger as the service does without OnEvent, for an OnEvent that logs
// events. Anyone can cause refusals, so that an OnEvent which logs each of them lets clients fill the disk.
// LogEvent logs at most 10 refusals of a kind with a UserID and 10 without one in a minute, and the number of
// the others. It logs every other event.
func (s *Service) LogEvent(e Event) { s.events.LogEvent(e) }

// clientInfo returns the client that sent the request.
func (s *Service) clientInfo(r *http.Request) ClientInfo { return clientOfRequest(r, s.clients) }
