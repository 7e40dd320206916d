package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Users is a host's own table of users: see [Config.Users]. Its methods are safe
// for concurrent use, and return an error that is not ErrNotFound when they cannot
// answer; nobody is signed in then. A panic in one is such an error. They get the
// context of the call, with what is left of its time, and must heed it.
//
// A session is opened and then the user is looked up, so that nobody slips in who
// is disabled at the same time. So a host that disables or deletes a user does
// that first, and calls [Service.RevokeUser] then. FindUser must see at once what
// the host has written: behind a cache or a replica somebody does slip in.
type Users interface {
	// FindUser returns the user with this ID, or ErrNotFound. What it says of
	// IsActive and IsSuperUser counts, at every sign-in and on every call that
	// only super users may make. The ID must be the one asked for, the Username
	// at most MaxUsernameLength bytes of text, as it goes into tokens; everything
	// else is for GET /auth/user to show, and may be left out.
	FindUser(ctx context.Context, id string) (User, error)

	// ResolveGitHub returns the ID of the user whom a GitHub account is to sign
	// in from now on, making one if the host likes, or ErrNotFound to refuse it.
	// It is called for accounts that are linked to nobody, before the link is
	// written, so it may be called again for the same account, also at the same
	// time, and must then return the same ID. The e-mail is the account's
	// verified primary one, or empty. It says where to write to, not who it is: an
	// account must not be given a user for having the same e-mail.
	ResolveGitHub(ctx context.Context, profile GitHubProfile, email string) (userID string, err error)
}

// errHostsUsers is what the methods return that a service with Config.Users does
// not have.
var errHostsUsers = errors.New("auth: Config.Users is set: make and change users in the host's own table")

// keepsUsers reports whether the store of one role keeps users. One that is less
// than a whole Store, and so does not say, is taken to: then nobody whom it does
// not call active is let in.
func keepsUsers(store any) bool {
	s, ok := store.(interface{ KeepsUsers() bool })
	return !ok || s.KeepsUsers()
}

// checkUsers returns an error unless users are kept in one place.
func checkUsers(store any, users Users) error {
	switch {
	case users != nil && isNil(users):
		return errors.New("auth: Users holds a nil pointer: leave it out, or set it to the host's own table")
	case users != nil && keepsUsers(store):
		return errors.New("auth: Users is set, and the store keeps users too: make the store without users, or leave Users out")
	case users == nil && !keepsUsers(store):
		return errors.New("auth: the store was made without users: set Users to the host's own table")
	}
	return nil
}

// hostUsers calls the functions of a host's table. Whatever they do is one of the
// answers that they may give, or an error that is none of this package's.
type hostUsers struct{ users Users }

// find returns the user with this ID, or ErrNotFound.
func (h hostUsers) find(ctx context.Context, id string) (user User, err error) {
	defer contain("Users.FindUser", func(failure error) { user, err = User{}, failure })
	user, err = h.users.FindUser(ctx, id)
	switch {
	case err != nil:
		return User{}, hostError("FindUser", err)
	case user.ID != id:
		return User{}, errors.New("auth: Users.FindUser returned another user than was asked for")
	case checkText("username", user.Username, MaxUsernameLength) != nil:
		return User{}, fmt.Errorf("auth: Users.FindUser returned a username that is no text of at most %d bytes", MaxUsernameLength)
	}
	return user, nil
}

// active returns the user with this ID, ErrNotFound, or ErrUserDisabled.
func (h hostUsers) active(ctx context.Context, id string) (User, error) {
	user, err := h.find(ctx, id)
	switch {
	case err != nil:
		return User{}, err
	case !user.IsActive:
		return User{}, ErrUserDisabled
	}
	return user, nil
}

// resolve returns the ID of the active user whom the host gives a GitHub account,
// ErrNotFound, or ErrUserDisabled.
func (h hostUsers) resolve(ctx context.Context, profile GitHubProfile, email string) (string, error) {
	id, err := h.resolveID(ctx, profile, email)
	if err != nil {
		return "", err
	}
	_, err = h.active(ctx, id)
	return id, err
}

func (h hostUsers) resolveID(ctx context.Context, profile GitHubProfile, email string) (id string, err error) {
	defer contain("Users.ResolveGitHub", func(failure error) { id, err = "", failure })
	id, err = h.users.ResolveGitHub(ctx, profile, email)
	switch {
	case err != nil:
		return "", hostError("ResolveGitHub", err)
	case checkID("user_id", id, MaxIDLength) != nil:
		return "", fmt.Errorf("auth: Users.ResolveGitHub returned an id that is no text of 1 to %d bytes", MaxIDLength)
	}
	return id, nil
}

// contain makes an error of a panic in a function of the host's. It must be
// deferred itself.
func contain(name string, fail func(error)) {
	if p := recover(); p != nil {
		fail(fmt.Errorf("auth: %s panicked: %v", name, p))
	}
}

// hostError returns ErrNotFound as it is, and every other error so that the client
// gets 503: one that happens to wrap an answer of this package's, such as that of
// another store, is not that answer here.
func hostError(name string, err error) error {
	if status, _ := ErrorStatus(err); status != http.StatusServiceUnavailable && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("auth: Users.%s: %v", name, err)
	}
	return fmt.Errorf("auth: Users.%s: %w", name, err)
}

// findUser returns the user as whoever keeps users has the record now.
func (s *Service) findUser(ctx context.Context, id string) (User, error) {
	if s.tokens.users != nil {
		return s.tokens.users.find(ctx, id)
	}
	return s.store.FindUser(ctx, id)
}

// RevokeUser ends all sessions of the user, from now on, and returns how many of
// them were live. The user may sign in again, unless disabled before: a host with
// [Config.Users] calls it when it has disabled or deleted somebody. It returns
// ErrNotFound if the store keeps users and there is no such one.
func (s *Service) RevokeUser(ctx context.Context, userID string) (int, error) {
	live, err := s.store.RevokeUserSessions(ctx, userID, s.now())
	if err != nil {
		return 0, fmt.Errorf("auth: ending the sessions of a user: %w", err)
	}
	s.events.emit(ctx, Event{Kind: EventUserSessionsRevoked, UserID: userID, Reason: fmt.Sprintf("%d were live", live)})
	return live, nil
}
