package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/scope"
)

// UserParams contains what the host or a super user chooses for a new user.
type UserParams struct {
	// Username has 1 to 128 bytes. It must be in Unicode normalization form NFKC. It must not have
	// invisible characters, combining marks that people overlook, spaces at its ends, or two spaces in a
	// row. Letters of other scripts can still look alike, so authorize by the user's ID. The host's code
	// may choose a name that the HTTP calls refuse as reserved, such as "root".
	Username string

	Email       string // an address, or empty for none
	IsSuperUser bool

	// IsService makes a service user, which is a program and not a person: see [User].
	IsService bool

	// Audiences contains the audiences for which a service user may get delegated tokens, in any order: see
	// [User]. It must be empty for a person.
	Audiences []string

	// Key has the options of the user's first access key.
	Key KeyOptions
}

// Registration is the result of registering or reinstating a user. It contains the user's new
// access key, with the only copy of the access secret.
type Registration struct {
	User User
	Pair KeyPair
}

// Register adds a user and the user's first access key, or neither. An authority with a SessionID
// must have SuperUser set. The other methods that change users also require this.
//
// If a session adds a service user, the CreatedBy of the service user is the ID of the session's user.
//
// Register returns ErrExists if the username or the e-mail is taken. It returns an *InvalidError for a
// field that is not valid. It also returns the errors of an [Authority].
func (s *Service) Register(ctx context.Context, by Authority, user UserParams) (Registration, error) {
	if err := s.checkAdministrator(ctx, by); err != nil {
		return Registration{}, err
	}
	r, key, err := s.newRegistration(by, user, s.credentials.GeneratePair())
	if err != nil {
		return Registration{}, err
	}
	c := s.newChange(ctx, by, Event{Kind: eventkind.UserCreated, UserID: r.User.ID, AccessKey: key.ID})
	if err := s.users.Register(ctx, c.write, r.User, key); err != nil {
		return Registration{}, fmt.Errorf("auth: registering a user: %w", err)
	}
	c.recordEvent(ctx)
	return r, nil
}

// newChange returns a change that the given authority makes, with the given event.
func (s *Service) newChange(ctx context.Context, by Authority, e Event) change {
	return s.tokens.newChange(ctx, by, e)
}

// checkAdministrator returns an error unless the authority may change users.
func (s *Service) checkAdministrator(ctx context.Context, by Authority) error {
	switch {
	case s.users == nil:
		return errHostUsers
	case by.Host == "" && !by.SuperUser:
		return ErrSuperUserRequired
	}
	return s.tokens.checkAuthority(ctx, by)
}

// checkAudiences returns an *InvalidError unless each text is an audience.
func checkAudiences(audiences []string) error {
	if slices.ContainsFunc(audiences, func(name string) bool { return !scope.IsAudience(name) }) {
		return invalidf("audiences", "must each be 1 to %d bytes of visible ASCII, without quotation marks "+
			"and backslashes", scope.MaxAudience)
	}
	return nil
}

// newRegistration returns a new user with the given pair, and the record of the pair's access key.
func (s *Service) newRegistration(
	by Authority, user UserParams, pair KeyPair,
) (Registration, AccessKey, error) {
	u := User{
		ID:          rand.Text(),
		Username:    user.Username,
		Email:       user.Email,
		IsSuperUser: user.IsSuperUser,
		IsActive:    true,
		CreatedAt:   s.now(),
		IsService:   user.IsService,
		Audiences:   scope.Join(user.Audiences),
	}
	if u.IsService {
		u.CreatedBy = by.UserID
	}
	if err := cmp.Or(checkAudiences(user.Audiences), u.Validate(), u.checkNames()); err != nil {
		return Registration{}, AccessKey{}, err
	}
	key, err := s.credentials.newKey(u.ID, pair, user.Key)
	return Registration{User: u, Pair: pair}, key, err
}

// Bootstrap creates the first super user of a new service. Only one call in the life of the store
// creates a user, whichever instance makes the call. If the pair of a later call signs in as a
// super user, that call returns this super user. Otherwise, it returns ErrBootstrapped.
//
// Create the pair with [CredentialVerifier.GeneratePair] and store the pair before the call. If the
// program dies before it has shown the secret, it can call Bootstrap again with the same pair.
//
// Bootstrap returns ErrServiceUser if the parameters are those of a service user.
func (s *Service) Bootstrap(ctx context.Context, user UserParams, pair KeyPair) (User, error) {
	if s.users == nil {
		return User{}, errHostUsers
	}
	if user.IsService {
		return User{}, ErrServiceUser
	}
	user.IsSuperUser = true
	by := ByHost("auth.Bootstrap")
	r, key, err := s.newRegistration(by, user, pair)
	if err != nil {
		return User{}, err
	}
	c := s.newChange(ctx, by, Event{Kind: eventkind.Bootstrapped, UserID: r.User.ID, AccessKey: key.ID})
	err = s.users.Bootstrap(ctx, c.write, r.User, key)
	if err == nil {
		c.recordEvent(ctx)
		return r.User, nil
	}
	if errors.Is(err, ErrBootstrapped) {
		_, first, verifyErr := s.credentials.verifyAndTouch(ctx, pair)
		switch {
		case verifyErr == nil && first.IsSuperUser:
			return first, nil
		case verifyErr != nil && !errors.Is(verifyErr, ErrInvalidCredentials):
			err = verifyErr
		}
	}
	return User{}, fmt.Errorf("auth: making the first super user: %w", err)
}
