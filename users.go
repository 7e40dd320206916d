package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/mail"
)

// UserParams says what a user is to be.
type UserParams struct {
	Username    string // 1 to MaxUsernameLength bytes
	Email       string // an address, or empty for none
	IsSuperUser bool
}

// Registration is a user who has just been made, with the only copy of the
// first access secret.
type Registration struct {
	User User
	Pair KeyPair
}

// Register makes a user with a first access key, or neither. It returns
// ErrExists if the username or the e-mail is taken, and an InvalidError for one
// that cannot be.
func (s *Service) Register(ctx context.Context, user UserParams) (Registration, error) {
	if s.tokens.users != nil {
		return Registration{}, errHostsUsers
	}
	r, key, err := s.register(user, s.credentials.GeneratePair())
	if err != nil {
		return Registration{}, err
	}
	if err := s.store.Register(ctx, r.User, key); err != nil {
		return Registration{}, fmt.Errorf("auth: registering a user: %w", err)
	}
	s.events.emit(ctx, Event{Kind: EventUserCreated, UserID: r.User.ID, AccessKey: key.ID})
	return r, nil
}

// register makes the records of a new user.
func (s *Service) register(user UserParams, pair KeyPair) (Registration, AccessKey, error) {
	u := User{
		ID:          rand.Text(),
		Username:    user.Username,
		Email:       user.Email,
		IsSuperUser: user.IsSuperUser,
		IsActive:    true,
		CreatedAt:   s.now(),
	}
	if err := firstError(u.Validate(), checkEmail(u.Email)); err != nil {
		return Registration{}, AccessKey{}, err
	}
	key, err := s.credentials.newKey(u.ID, pair, KeyOptions{})
	return Registration{User: u, Pair: pair}, key, err
}

// checkEmail accepts a bare address (RFC 5322 addr-spec), or none.
func checkEmail(email string) error {
	if email == "" {
		return nil
	}
	if address, err := mail.ParseAddress(email); err != nil || address.Address != email {
		return invalidf("email", "must be an e-mail address")
	}
	return nil
}

// Bootstrap makes the first super user of a new service. Of all calls in the
// life of the store, from any number of instances, one succeeds; the others
// return ErrBootstrapped.
//
// The pair comes from the caller, who made it with [CredentialVerifier.GeneratePair]
// and can have kept it first. A call with the pair that has won returns the
// user again, for as long as that pair signs in: so a program that dies between
// this call and showing the secret just starts again.
func (s *Service) Bootstrap(ctx context.Context, user UserParams, pair KeyPair) (User, error) {
	if s.tokens.users != nil {
		return User{}, errHostsUsers
	}
	user.IsSuperUser = true
	r, key, err := s.register(user, pair)
	if err != nil {
		return User{}, err
	}
	err = s.store.Bootstrap(ctx, r.User, key)
	if err == nil {
		s.events.emit(ctx, Event{Kind: EventBootstrapped, UserID: r.User.ID, AccessKey: key.ID})
		return r.User, nil
	}
	if errors.Is(err, ErrBootstrapped) {
		credential, verifyErr := s.credentials.Verify(ctx, pair)
		switch {
		case verifyErr == nil && credential.User.IsSuperUser:
			return credential.User, nil
		case verifyErr != nil && !errors.Is(verifyErr, ErrInvalidCredentials):
			err = verifyErr
		}
	}
	return User{}, fmt.Errorf("auth: making the first super user: %w", err)
}

// RecoverSuperUser is the way back in when no super user has a key any more, or
// somebody else has. It makes the user an active super user and returns the only
// pair that now signs in as this user: every earlier key and session is gone. It
// returns ErrNotFound if there is no such user.
//
// Call it from a program that an operator runs beside the store. No handler of
// this package does.
func (s *Service) RecoverSuperUser(ctx context.Context, userID string) (KeyPair, error) {
	yes := true
	recovered, err := s.resetUser(ctx, userID, UserChange{IsSuperUser: &yes, IsActive: &yes})
	if err != nil {
		return KeyPair{}, fmt.Errorf("auth: recovering a super user: %w", err)
	}
	s.events.emit(ctx, Event{Kind: EventSuperUserRecovered, UserID: userID, AccessKey: recovered.Pair.AccessKey})
	return recovered.Pair, nil
}

// RegenerateCredentials is for when somebody else may be able to sign in as the user.
// It returns the only pair that now does: every earlier key, session and GitHub
// account of the user is gone, and the GitHub token is revoked as far as GitHub
// answers. A disabled user stays disabled. It returns ErrNotFound if there is no such
// user.
func (s *Service) RegenerateCredentials(ctx context.Context, userID string) (KeyPair, error) {
	made, err := s.resetUser(ctx, userID, UserChange{})
	if err != nil {
		return KeyPair{}, fmt.Errorf("auth: regenerating the credentials of a user: %w", err)
	}
	s.events.emit(ctx, Event{Kind: EventUserReset, UserID: userID, AccessKey: made.Pair.AccessKey, Reason: "regenerated"})
	return made.Pair, nil
}

// ReinstateUser makes a user active again who was disabled, with a new pair in place
// of every way in there was, as RegenerateCredentials does. To bring back the earlier
// keys, use UpdateUser.
func (s *Service) ReinstateUser(ctx context.Context, userID string) (Registration, error) {
	made, err := s.resetUser(ctx, userID, UserChange{IsActive: new(true)})
	if err != nil {
		return Registration{}, fmt.Errorf("auth: reinstating a user: %w", err)
	}
	s.events.emit(ctx, Event{Kind: EventUserReset, UserID: userID, AccessKey: made.Pair.AccessKey, Reason: "reinstated"})
	return made, nil
}

// resetUser gives the user a new pair in place of every way in there was.
func (s *Service) resetUser(ctx context.Context, userID string, change UserChange) (Registration, error) {
	if s.tokens.users != nil {
		return Registration{}, errHostsUsers
	}
	pair := s.credentials.GeneratePair()
	key, err := s.credentials.newKey(userID, pair, KeyOptions{})
	if err != nil {
		return Registration{}, err
	}
	user, tokens, err := s.store.ResetUser(ctx, userID, change, key)
	if err != nil {
		return Registration{}, err
	}
	s.forgetGitHub(ctx, tokens)
	return Registration{User: user, Pair: pair}, nil
}

// forgetGitHub revokes tokens at GitHub that are in the store no more.
func (s *Service) forgetGitHub(ctx context.Context, tokens []GitHubToken) {
	for _, token := range tokens {
		if s.github != nil && token.Account.Host == s.github.cfg.Host {
			s.github.forgetRecord(ctx, token)
		}
	}
}

// UpdateUser changes the user, who may be disabled, enabled, promoted or demoted,
// and returns the record as it is then. Disabling ends all sessions of the user, here
// from now on. It returns ErrNotFound if there is no such user, and ErrLastSuperUser
// if no active super user would be left.
func (s *Service) UpdateUser(ctx context.Context, userID string, change UserChange) (User, error) {
	if s.tokens.users != nil {
		return User{}, errHostsUsers
	}
	user, err := s.store.UpdateUser(ctx, userID, change)
	if err != nil {
		return User{}, fmt.Errorf("auth: changing a user: %w", err)
	}
	s.events.emit(ctx, Event{Kind: EventUserChanged, UserID: userID, Reason: change.String()})
	return user, nil
}

// DeleteUser removes the user with all keys, sessions and GitHub accounts, and
// revokes the user's token at GitHub as far as GitHub answers. The username is never
// given again. It returns ErrNotFound if there is no such user, and ErrLastSuperUser
// if no active super user would be left.
func (s *Service) DeleteUser(ctx context.Context, userID string) error {
	if s.tokens.users != nil {
		return errHostsUsers
	}
	tokens, err := s.store.DeleteUser(ctx, userID)
	if err != nil {
		return fmt.Errorf("auth: deleting a user: %w", err)
	}
	s.events.emit(ctx, Event{Kind: EventUserDeleted, UserID: userID})
	s.forgetGitHub(ctx, tokens)
	return nil
}

// User returns the user who makes the request that the context belongs to, as
// the store, or [Config.Users], has the record now; behind [Service.RequireSuperUser] without
// reading it again. It returns ErrTokenMissing where [Service.Authenticate] did
// not see the request, and ErrTokenRejected if the user is gone or disabled.
func (s *Service) User(ctx context.Context) (User, error) {
	caller, ok := ctx.Value(callerKey{}).(*callerContext)
	if !ok || caller.service != s {
		return User{}, ErrTokenMissing
	}
	if known, ok := ctx.Value(userKey{}).(*userContext); ok && &known.callerContext == caller {
		return known.user, nil
	}
	user, err := s.findUser(ctx, caller.identity.UserID)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && !user.IsActive:
		return User{}, errRevoked
	case err != nil:
		return User{}, fmt.Errorf("auth: reading the caller's record: %w", err)
	}
	return user, nil
}

// SuperUser is [Service.User] for who may administer: it returns ErrSuperUserRequired for
// anybody who is not a super user now. [Service.RequireSuperUser] is the middleware.
func (s *Service) SuperUser(ctx context.Context) (User, error) {
	user, err := s.User(ctx)
	if err == nil && !user.IsSuperUser {
		return User{}, ErrSuperUserRequired
	}
	return user, err
}
