package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sallyport-go/auth/eventkind"
)

// RecoverSuperUser makes the user an active super user and returns a new pair. It removes every
// earlier key, session and GitHub link, so that only the new pair signs in as this user. Use
// RecoverSuperUser if no super user has a working key any longer, or if somebody else has a super
// user's key. It returns ErrNotFound if there is no such user, and ErrServiceUser for a service user.
//
// RecoverSuperUser needs no authority. Call it from a program that an operator runs next to the
// store. The handlers of this package never call it.
func (s *Service) RecoverSuperUser(ctx context.Context, userID string) (KeyPair, error) {
	if s.users == nil {
		return KeyPair{}, errHostUsers
	}
	user, err := s.users.FindUser(ctx, userID)
	if err == nil && user.IsService { // IsService never changes, so nothing can change it before the reset
		err = ErrServiceUser
	}
	if err != nil {
		return KeyPair{}, fmt.Errorf("auth: recovering a super user: %w", err)
	}
	yes := true
	recovered, err := s.resetUser(ctx, ByHost("auth.RecoverSuperUser"), userID,
		UserChange{IsSuperUser: &yes, IsActive: &yes}, KeyOptions{},
		Event{Kind: eventkind.SuperUserRecovered})
	if err != nil {
		return KeyPair{}, fmt.Errorf("auth: recovering a super user: %w", err)
	}
	return recovered.Pair, nil
}

// RegenerateCredentials replaces everything with which the user can sign in, and returns a new pair. Use it
// if another person may have the user's credentials. RegenerateCredentials removes every earlier key,
// session and GitHub link. It also tries to revoke the user's token at GitHub. A disabled user stays
// disabled. The new key has the given options. RegenerateCredentials returns ErrNotFound if there is no
// such user, and the errors of an [Authority].
func (s *Service) RegenerateCredentials(
	ctx context.Context, by Authority, userID string, key KeyOptions,
) (KeyPair, error) {
	if err := s.checkAdministrator(ctx, by); err != nil {
		return KeyPair{}, err
	}
	made, err := s.resetUser(ctx, by, userID, UserChange{}, key,
		Event{Kind: eventkind.UserReset, Reason: "regenerated"})
	if err != nil {
		return KeyPair{}, fmt.Errorf("auth: regenerating the credentials of a user: %w", err)
	}
	return made.Pair, nil
}

// ReinstateUser enables a disabled user and returns the user with a new pair. It removes every earlier key,
// session and GitHub link, as RegenerateCredentials does. To enable a user without removing the earlier
// keys, use UpdateUser. The new key has the given options. ReinstateUser returns ErrNotFound if there is no
// such user, and the errors of an [Authority].
func (s *Service) ReinstateUser(
	ctx context.Context, by Authority, userID string, key KeyOptions,
) (Registration, error) {
	if err := s.checkAdministrator(ctx, by); err != nil {
		return Registration{}, err
	}
	made, err := s.resetUser(ctx, by, userID, UserChange{IsActive: new(true)}, key,
		Event{Kind: eventkind.UserReset, Reason: "reinstated"})
	if err != nil {
		return Registration{}, fmt.Errorf("auth: reinstating a user: %w", err)
	}
	return made, nil
}

// resetUser removes everything with which the user can sign in, makes the given change to the user,
// and adds a new pair. It also puts the user's ID and the new access key into the given event.
func (s *Service) resetUser(
	ctx context.Context, by Authority, userID string, change UserChange, options KeyOptions, e Event,
) (Registration, error) {
	// An ID that is not valid belongs to no user. Without this check, newKey would return an
	// [InvalidError] instead of ErrNotFound.
	if checkID("user_id", userID, MaxIDLength) != nil {
		return Registration{}, ErrNotFound
	}
	pair := s.credentials.GeneratePair()
	key, err := s.credentials.newKey(userID, pair, options)
	if err != nil {
		return Registration{}, err
	}
	e.UserID, e.AccessKey = userID, pair.AccessKey
	c := s.newChange(ctx, by, e)
	user, tokens, err := s.users.ResetUser(ctx, c.write, userID, change, key)
	if err != nil {
		return Registration{}, err
	}
	s.tokens.learnRevocations(ctx)
	c.recordEvent(ctx)
	s.revokeAtGitHub(ctx, tokens)
	return Registration{User: user, Pair: pair}, nil
}

// revokeAtGitHub revokes, at GitHub, the tokens that the store has removed. It skips the tokens of
// a GitHub host that is not configured.
func (s *Service) revokeAtGitHub(ctx context.Context, tokens []GitHubToken) {
	for _, token := range tokens {
		if s.github != nil && token.Account.Host == s.github.cfg.Host {
			s.github.revokeRemovedToken(ctx, token)
		}
	}
}

// UpdateUser enables, disables, promotes, demotes or renames the user, and returns the changed record.
// If it disables the user, it revokes all sessions of the user, and this instance rejects their tokens
// from then on. A new username or e-mail address must meet the rules of [UserParams], and leaves the
// sessions as they are. The username that the user gives up stays taken for [Config.NameRetention], but
// the same user can take it again.
//
// UpdateUser returns ErrNotFound if there is no such user, ErrLastSuperUser if the change would leave no
// active super user, an *[ExistsError] if a name is taken, an *[InvalidError] for a name that is not valid,
// and the errors of an [Authority]. A limited session cannot enable or promote a user, give a user an
// e-mail address, or rename a super user: UpdateUser then returns an *[InsufficientScopeError].
func (s *Service) UpdateUser(
	ctx context.Context, by Authority, userID string, change UserChange,
) (User, error) {
	if err := s.checkAdministrator(ctx, by); err != nil {
		return User{}, err
	}
	if err := change.checkNames(); err != nil {
		return User{}, err
	}
	c := s.newChange(ctx, by, Event{Kind: eventkind.UserChanged, UserID: userID, Reason: change.describe()})
	user, err := s.users.UpdateUser(ctx, c.write, userID, change)
	if err != nil {
		return User{}, fmt.Errorf("auth: changing a user: %w", err)
	}
	s.tokens.learnRevocations(ctx)
	c.recordEvent(ctx)
	return user, nil
}

// describe returns what the change sets, such as "is_super_user=true username=changed". It does not contain
// the names.
func (c UserChange) describe() string {
	var changes []string
	if c.IsSuperUser != nil {
		changes = append(changes, fmt.Sprintf("is_super_user=%t", *c.IsSuperUser))
	}
	if c.IsActive != nil {
		changes = append(changes, fmt.Sprintf("is_active=%t", *c.IsActive))
	}
	if c.Username != nil {
		changes = append(changes, "username=changed")
	}
	switch {
	case c.Email != nil && *c.Email == "":
		changes = append(changes, "email=removed")
	case c.Email != nil:
		changes = append(changes, "email=changed")
	}
	return strings.Join(changes, " ")
}

// DeleteUser removes the user, and all keys, sessions and GitHub links of the user. It also tries to revoke
// the user's token at GitHub. The username stays taken for [Config.NameRetention]. DeleteUser returns
// ErrNotFound if there is no such user, ErrLastSuperUser if no active super user would be left, and the
// errors of an [Authority].
func (s *Service) DeleteUser(ctx context.Context, by Authority, userID string) error {
	if err := s.checkAdministrator(ctx, by); err != nil {
		return err
	}
	c := s.newChange(ctx, by, Event{Kind: eventkind.UserDeleted, UserID: userID})
	tokens, err := s.users.DeleteUser(ctx, c.write, userID)
	if err != nil {
		return fmt.Errorf("auth: deleting a user: %w", err)
	}
	s.tokens.learnRevocations(ctx)
	c.recordEvent(ctx)
	s.revokeAtGitHub(ctx, tokens)
	return nil
}

// RevokeEverybody revokes all sessions of all users, so that every user must sign in again. Use it after a
// leaked signing key has been replaced, or after a backup has been restored. Access keys and GitHub links
// stay. After RevokeEverybody has returned, this instance rejects the tokens of the revoked sessions. An
// authority with a SessionID must have SuperUser set. RevokeEverybody returns the errors of an [Authority].
func (s *Service) RevokeEverybody(ctx context.Context, by Authority) error {
	if by.Host == "" && !by.SuperUser {
		return ErrSuperUserRequired
	}
	if err := s.tokens.checkAuthority(ctx, by); err != nil {
		return err
	}
	c := s.newChange(ctx, by, Event{Kind: eventkind.EverybodyRevoked})
	if err := s.store.RevokeEverybody(ctx, c.write, 0); err != nil {
		return fmt.Errorf("auth: revoking all sessions: %w", err)
	}
	s.tokens.learnRevocations(ctx)
	c.recordEvent(ctx)
	return nil
}

// User returns the current record of the caller in ctx. It reads the record from the store or the
// [UserSource]. Inside [Service.RequireSuperUser], User returns the record that this middleware has
// read.
//
// User returns an error that matches ErrTokenMissing unless [Service.Authenticate],
// [Service.RequireSuperUser] or [Service.IdentifyContext] of this Service has put the caller into
// ctx. The text of the error says what to do. User returns ErrTokenRejected if the user does not exist
// or is disabled.
func (s *Service) User(ctx context.Context) (User, error) {
	caller := s.ownCaller(ctx)
	if caller == nil {
		return User{}, missingCaller(ctx)
	}
	if known, ok := ctx.Value(userKey{}).(*userContext); ok && &known.callerContext == caller {
		return known.user, nil
	}
	return s.readUser(ctx, caller.identity.UserID)
}

// ownCaller returns the caller that this Service has identified and put into ctx, or nil. The token of
// any other caller was verified with other keys or not at all, so this Service must not trust it.
func (s *Service) ownCaller(ctx context.Context) *callerContext {
	caller := callerOf(ctx)
	if caller == nil || caller.clients != s.clients {
		return nil
	}
	return caller
}

// missingCallerError tells the host why a context has no caller of the Service. It matches
// ErrTokenMissing, but does not say that the request has no token, because no middleware of this Service
// may have looked for a token.
type missingCallerError string

func (e missingCallerError) Error() string { return "auth: " + string(e) }

func (e missingCallerError) Is(target error) bool { return target == ErrTokenMissing }

func missingCaller(ctx context.Context) error {
	if callerOf(ctx) != nil {
		return missingCallerError("the caller in the context was not identified by this Service: wrap the " +
			"handler in Authenticate of this Service")
	}
	return missingCallerError("the context has no caller: wrap the handler in Authenticate, or pass the " +
		"context of IdentifyContext")
}

// readUser reads the current record of a caller.
func (s *Service) readUser(ctx context.Context, userID string) (User, error) {
	user, err := s.directory.FindUser(ctx, userID)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && !user.IsActive:
		return User{}, errCallerDisabled
	case err != nil:
		return User{}, fmt.Errorf("auth: reading the caller's record: %w", err)
	}
	return user, nil
}

// Recheck reads the caller's session and user record again, and returns the user record. Use it in
// a handler that runs for a long time after the middleware has authenticated the request. An
// example is a handler that holds a connection open.
//
// A session can be revoked a moment after Recheck has returned. To make a revocation wait until a
// write of the handler is complete, use an [Authority]. Inside a transaction of the host, use
// package sqlstore's HoldAuthority.
//
// Recheck returns ErrTokenMissing in the same cases as [Service.User]. It returns ErrTokenRejected
// if the session is not live or the user is not active.
func (s *Service) Recheck(ctx context.Context) (User, error) {
	caller := s.ownCaller(ctx)
	if caller == nil {
		return User{}, missingCaller(ctx)
	}
	if _, err := s.tokens.findLiveSession(ctx, caller.identity); err != nil {
		return User{}, err
	}
	return s.readUser(ctx, caller.identity.UserID)
}

// SuperUser does the same as [Service.User], but returns ErrSuperUserRequired if the caller is not
// a super user, and an *[InsufficientScopeError] if the caller's token is limited and lacks
// [ScopeSuperUser]. [Service.RequireSuperUser] is the middleware with the same check.
func (s *Service) SuperUser(ctx context.Context) (User, error) {
	if caller := s.ownCaller(ctx); caller != nil {
		if err := caller.identity.CheckScope(ScopeSuperUser); err != nil {
			return User{}, err
		}
	}
	return s.superUser(ctx)
}

// superUser is SuperUser for every scope.
func (s *Service) superUser(ctx context.Context) (User, error) {
	user, err := s.User(ctx)
	if err == nil && !user.IsSuperUser {
		return User{}, ErrSuperUserRequired
	}
	return user, err
}
