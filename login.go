package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
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
		// The key may be rotated before the session is opened. Then OpenedBy refuses the session, because
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
	key.Scopes = key.sessionScopes()
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
