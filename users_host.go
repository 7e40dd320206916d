package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/sallyport-go/auth/internal/callback"
)

// hostUsers calls a UserSource and checks its results. If a method panics or returns a result that
// the interface does not allow, hostUsers returns an error that [ErrorStatus] maps to 503.
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
		return User{}, fmt.Errorf("auth: UserSource.FindUser returned a Username that is not text of at "+
			"most %d bytes", maxUsernameLength)
	}
	if err := user.checkService(); err != nil {
		return User{}, fmt.Errorf("auth: UserSource.FindUser returned a User that is not valid: %v", err)
	}
	return user, nil
}

// activeUser does the same as FindUser, but returns ErrUserDisabled if the user is not active.
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

// activePerson does the same as activeUser, but returns ErrServiceUser for a service user.
func (h hostUsers) activePerson(ctx context.Context, id string) (User, error) {
	user, err := h.activeUser(ctx, id)
	if err == nil && user.IsService {
		return User{}, ErrServiceUser
	}
	return user, err
}

// resolve returns the ID of the user to whom the host assigns a GitHub account. It returns
// ErrNotFound if the host refuses the account or the user does not exist, ErrUserDisabled if the
// user is not active, and ErrServiceUser if the user is a service user.
func (h hostUsers) resolve(ctx context.Context, profile GitHubProfile, email string) (string, error) {
	id, err := h.resolveID(ctx, profile, email)
	if err != nil {
		return "", err
	}
	_, err = h.activePerson(ctx, id)
	return id, err
}

func (h hostUsers) resolveID(
	ctx context.Context, profile GitHubProfile, email string,
) (id string, err error) {
	defer callback.Recover("UserSource.ResolveGitHub", func(failure error) { id, err = "", failure })
	id, err = h.source.ResolveGitHub(ctx, profile, email)
	switch {
	case err != nil:
		return "", hostError("ResolveGitHub", err)
	case checkID("user_id", id, MaxIDLength) != nil:
		return "", fmt.Errorf("auth: UserSource.ResolveGitHub returned an ID that is not text of 1 to "+
			"%d bytes", MaxIDLength)
	}
	return id, nil
}

// hostError wraps err, which the UserSource method of the given name has returned. If err matches
// ErrNotFound, the result matches ErrNotFound too. In every other case, the status of the result is
// 503, even if err matches an error of this package that has another status. For example, the host
// may call another Service and return the ErrTokenRejected of that Service. That error says nothing
// about the token of this request.
func hostError(name string, err error) error {
	if status, _ := ErrorStatus(err); status != http.StatusServiceUnavailable &&
		!errors.Is(err, ErrNotFound) {
		return fmt.Errorf("auth: UserSource.%s: %v", name, err)
	}
	return fmt.Errorf("auth: UserSource.%s: %w", name, err)
}
