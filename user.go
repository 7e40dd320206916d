package auth

import (
	"time"

	"github.com/sallyport-go/auth/internal/scope"
)

// User is the record of one user.
type User struct {
	// ID identifies the user permanently and is never given to another user. It has at most
	// [MaxIDLength] bytes. Authorize by the ID: an e-mail can later belong to another user. If the
	// host keeps the users in its own table, a username can later belong to another user, too.
	ID string `json:"user_id"`

	// Username and Email are each unique without regard to ASCII case. The Email may be empty, for any
	// number of users. A Username has at most 128 bytes, an Email at most 254. A username that a user
	// has given up, or that a deleted user had, stays taken for [Config.NameRetention].
	Username string `json:"username"`
	Email    string `json:"email,omitzero"`

	// IsSuperUser lets the user administer other users.
	IsSuperUser bool `json:"is_super_user"`

	// IsActive is false while the user is disabled. A disabled user cannot sign in and has no
	// session.
	IsActive bool `json:"is_active"`

	CreatedAt time.Time `json:"created_at,omitzero"`

	// LastLogin is when the newest session was created. Zero means never.
	LastLogin time.Time `json:"last_login,omitzero"`

	// AdmittedAt is when the user's GitHub account last passed the rules of [GitHubConfig] for
	// sign-ins. It is set only for users that a GitHub sign-in created, and is zero for all others.
	// See [GitHubConfig.MembershipMaxAge].
	AdmittedAt time.Time `json:"admitted_at,omitzero"`

	// IsService is true for a service user, which is a program and not a person. A service user signs in
	// with access keys only: it cannot sign in with GitHub and cannot connect a GitHub account. It is never
	// the last active super user, even if it is a super user. IsService never changes.
	IsService bool `json:"is_service,omitzero"`

	// CreatedBy is the ID of the user whose session added the service user. It is empty if the host added
	// the service user, and for a person. It stays if the user with the ID is deleted.
	CreatedBy string `json:"created_by,omitzero"`

	// Audiences contains the audiences for which a service user may get delegated tokens, in ascending order
	// and separated by single spaces. It is empty for a person. An audience has 1 to 256 bytes of visible
	// ASCII, without quotation marks and backslashes. All audiences together have at most 900 bytes.
	Audiences string `json:"audiences,omitzero"`
}

// audiences returns the Audiences of a service user as a slice that is not nil, and nil for a person.
func (u User) audiences() []string {
	if !u.IsService {
		return nil
	}
	return scope.Split(u.Audiences)
}

// HasAudience reports whether Audiences contains the audience.
func (u User) HasAudience(name string) bool { return scope.Contains(u.Audiences, name) }

// UserChange is a change of a user. A nil field leaves the user's value unchanged.
type UserChange struct {
	IsSuperUser *bool
	IsActive    *bool

	// Username and Email are new names. An empty Email removes the e-mail address. A change of a name leaves
	// the user's sessions as they are.
	Username *string
	Email    *string
}

// GivesPower reports whether the change sets IsActive or IsSuperUser to true, or sets an Email that is not
// empty. An e-mail address can give power, because a host can let a person who has lost an access key sign
// in again by e-mail. A limited session cannot make such a change: see [ScopeSet].
func (c UserChange) GivesPower() bool {
	return c.IsSuperUser != nil && *c.IsSuperUser || c.IsActive != nil && *c.IsActive ||
		c.Email != nil && *c.Email != ""
}
