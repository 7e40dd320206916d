package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/sallyport-go/auth/internal/callback"
	"github.com/sallyport-go/auth/internal/defaults"
)

// UserSource is a host's own users table: see [NewWithUsers]. Its methods are safe for
// concurrent use. If a method cannot answer, it returns an error that is not ErrNotFound, and
// nobody is signed in; a panic counts as such an error. The methods get the context of the
// call, with what is left of its time, and must heed it.
//
// A session is opened first and the user is looked up then, so that no user who is disabled
// at the same moment slips in. A host that disables or deletes a user must therefore change
// its table first and call [Service.RevokeUser] then. FindUser must see at once what the host
// has written: behind a cache or a replica, a disabled user does slip in.
type UserSource interface {
	// FindUser returns the user with this ID, or ErrNotFound. Its IsActive and IsSuperUser
	// decide at every sign-in and on every call that only super users may make. The ID must
	// be the requested one. The Username must be at most 128 bytes of text, because it goes
	// into tokens. The other fields are only shown by GET /auth/user and may be zero, except
	// that a zero CreatedAt is shown as the year 1.
	FindUser(ctx context.Context, id string) (User, error)

	// ResolveGitHub returns the ID of the user who signs in with this GitHub account from now
	// on, adding one if the host likes, or ErrNotFound to refuse the account. It is called for
	// accounts that are linked to nobody, before the link is written. So it may be called
	// again for the same account, also concurrently, and must then return the same ID. The
	// e-mail is the account's verified primary one, or empty. It is an address to write to
	// and identifies nobody: never choose a user because the e-mail is the same.
	ResolveGitHub(ctx context.Context, profile GitHubProfile, email string) (userID string, err error)
}

// errHostUsers is what the methods return that a Service over a [UserSource] lacks.
var errHostUsers = errors.New("auth: the Service was made with NewWithUsers: change users in the host's own table")

// userFinder finds users: a UserStore, or a host's own table.
type userFinder interface {
	FindUser(ctx context.Context, id string) (User, error)
}

// hasUsers reports whether the store keeps users.
func hasUsers(store any) bool {
	_, ok := store.(UserStore)
	return ok
}

// keepsNoUsers reports whether the store is for a host with a users table of its own. A store of one
// role may not show it.
func keepsNoUsers(store any) bool {
	_, accounts := store.(AccountStore)
	return accounts && !hasUsers(store)
}

// checkUserSource returns an error unless users are kept in one place: in the source if there
// is one, and else in the store. A store of one role may not show whether it keeps users;
// then the host is believed.
func checkUserSource(store any, source UserSource) error {
	switch {
	case source != nil && defaults.IsNil(source):
		return errors.New("auth: the UserSource is a nil pointer: pass the host's own users table")
	case source != nil && hasUsers(store):
		return errors.New("auth: there is a UserSource and the store keeps users too: pass an AccountStore, such as memstore.NewAccounts")
	case source == nil && keepsNoUsers(store):
		return errors.New("auth: the store keeps no users: pass a Store, or use the constructor with a UserSource")
	}
	return nil
}

// hostUsers calls the functions of a UserSource. Whatever they do becomes one of the answers
// that they may give, or an error that is none of this package's answers.
type hostUsers struct{ source UserSource }

// FindUser returns the user with this ID, or ErrNotFound.
func (h hostUsers) FindUser(ctx context.Context, id string) (user User, err error) {
	defer callback.Recover("UserSource.FindUser", func(failure error) { user, err = User{}, failure })
	user, err = h.source.FindUser(ctx, id)
	switch {
	case err != nil:
		return User{}, hostError("FindUser", err)
	case user.ID != id:
		return User{}, errors.New("auth: UserSource.FindUser returned another user than the requested one")
	case checkText("username", user.Username, maxUsernameLength) != nil:
		return User{}, fmt.Errorf("auth: UserSource.FindUser returned a Username that is not text of at most %d bytes", maxUsernameLength)
	}
	return user, nil
}

// activeUser returns the user with this ID, ErrNotFound, or ErrUserDisabled.
func (h hostUsers) activeUser(ctx context.Context, id string) (User, error) {
	user, err := h.FindUser(ctx, id)
	switch {
	case err != nil:
		return User{}, err
	case !user.IsActive:
		return User{}, ErrUserDisabled
	}
	return user, nil
}

// resolve returns the ID of the active user whom the host assigns to a GitHub account,
// ErrNotFound, or ErrUserDisabled.
func (h hostUsers) resolve(ctx context.Context, profile GitHubProfile, email string) (string, error) {
	id, err := h.resolveID(ctx, profile, email)
	if err != nil {
		return "", err
	}
	_, err = h.activeUser(ctx, id)
	return id, err
}

func (h hostUsers) resolveID(ctx context.Context, profile GitHubProfile, email string) (id string, err error) {
	defer callback.Recover("UserSource.ResolveGitHub", func(failure error) { id, err = "", failure })
	id, err = h.source.ResolveGitHub(ctx, profile, email)
	switch {
	case err != nil:
		return "", hostError("ResolveGitHub", err)
	case checkID("user_id", id, MaxIDLength) != nil:
		return "", fmt.Errorf("auth: UserSource.ResolveGitHub returned an ID that is not text of 1 to %d bytes", MaxIDLength)
	}
	return id, nil
}

// hostError returns ErrNotFound as it is, and every other error as one that answers 503: an
// error that happens to wrap an answer of this package, such as that of another store, is not
// that answer here.
func hostError(name string, err error) error {
	if status, _ := ErrorStatus(err); status != http.StatusServiceUnavailable && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("auth: UserSource.%s: %v", name, err)
	}
	return fmt.Errorf("auth: UserSource.%s: %w", name, err)
}
