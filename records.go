package auth

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sallyport-go/auth/internal/scope"
	"github.com/sallyport-go/auth/internal/seal"
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

// UserWithKeys is a user to be added together with 1 to [MaxKeys] access keys.
type UserWithKeys struct {
	User User
	Keys []AccessKey
}

// SignInMethod says how a session was opened.
type SignInMethod string

// The ways to open a session.
const (
	MethodAccessKey SignInMethod = "access_key" // an access key and its secret
	MethodGitHub    SignInMethod = "github"     // a GitHub account
	MethodHost      SignInMethod = "host"       // the host itself, with [Service.SignIn]
	MethodDevice    SignInMethod = "device"     // a person, for a device: see [Service.StartDevice]
	MethodWorkload  SignInMethod = "workload"   // an assertion of another issuer about a program
)

// Session is the record of one session. Every token belongs to a session and is accepted only while
// the session exists.
type Session struct {
	// ID identifies the session and is the jti claim of its token. It has at most [MaxIDLength]
	// bytes.
	ID     string
	UserID string
	Method SignInMethod

	// AccessKeyID is the ID of the access key that opened the session. It is empty unless Method is
	// MethodAccessKey, or Method is MethodDevice and the key opened the session that approved the device.
	// Revoking the key revokes the session.
	AccessKeyID string

	CreatedAt time.Time
	ExpiresAt time.Time

	// UserAgent and Address describe the client that opened the session, so that the user
	// recognizes the session. UserAgent has at most 256 bytes and Address at most 64. Either may be
	// empty.
	UserAgent string
	Address   string // an IP address

	// Generation is the Position that the newest entry of the revocation feed had when the session
	// was created: see [Revocation]. The store sets it.
	Generation int64

	// Scopes limits what the session may do: see [ScopeSet]. nil means no limit. The scopes of a session
	// never change.
	Scopes *ScopeSet

	// Audience is the service for which the session was opened: the aud claim of its token. Empty means the
	// issuer itself. A session for another audience is no [Authority]. An Audience has at most 256 bytes of
	// visible ASCII, without quotation marks and backslashes.
	Audience string
}

// ClientInfo describes the client that sends a request. It helps people to recognize their
// sessions. It proves nothing, because a client chooses most of it.
type ClientInfo struct {
	Address   netip.Addr // the client address; the zero Addr if not known
	UserAgent string
	RequestID string // from X-Request-Id, to find the request in other logs

	peer netip.Addr // the other end of the connection, if Address is not known
}

// address returns the client address as text, or "" if the address is not known.
func (c ClientInfo) address() string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}

// SignInClient is a client from which a user has signed in.
type SignInClient struct {
	UserID string

	// Hash identifies the client among those of the user. It has at most [MaxIDLength] bytes.
	Hash string
}

// Revocation is an entry of a store's revocation feed. It names sessions that were revoked before
// they expired. Every instance reads the feed, so that it does not have to ask the store about each
// token.
type Revocation struct {
	// Position is the entry's place in the feed. The first entry has Position 1. Each later entry
	// has the next Position, but an entry that revokes the sessions of all users can skip
	// Positions.
	Position int64

	// ID is random and different for every entry. If the entry at a Position gets a different ID,
	// the store was restored from a backup, and entries have been added since then.
	ID string

	// UserID is the user whose sessions are revoked. If UserID is empty, the entry is for all
	// users: it revokes each session whose Generation is below the entry's Generation.
	UserID string

	// SessionID is the session that is revoked. If SessionID is empty and UserID is set, the entry
	// revokes each session of the user whose Generation is below the entry's Generation.
	SessionID  string
	Generation int64

	// ExpiresAt is not before the last token of the revoked sessions expires. It is zero if a newer
	// entry has replaced this one.
	ExpiresAt time.Time
}

// GitHubAccount identifies an account at GitHub by the GitHub host and by the number of the account
// at this host. A login does not identify an account, because logins can be renamed and reused.
type GitHubAccount struct {
	Host string `json:"host"` // "github.com", or the name of a GitHub Enterprise host; at most 253 bytes
	ID   int64  `json:"id"`   // positive
}

// GitHubProfile is the public profile of an account, as GitHub reports it.
type GitHubProfile struct {
	Account   GitHubAccount
	Login     string
	Name      string // may be empty
	AvatarURL string // may be empty
}

// GitHubLink lets the owner of a GitHub account sign in as a user. An account is linked to at most
// one user. A user is linked to at most one account of each GitHub host.
type GitHubLink struct {
	Account GitHubAccount
	UserID  string

	// Login, Name and AvatarURL are the values that GitHub last reported, at most 512 bytes each.
	// They are for display only and do not identify the account.
	Login     string
	Name      string
	AvatarURL string

	CreatedAt time.Time
	SeenAt    time.Time // when GitHub last reported these values
}

// GitHubToken is the token with which the host acts on GitHub for a user. It is separate from the
// [GitHubLink]: a user whose account is linked can sign in with GitHub even without a stored token.
type GitHubToken struct {
	Account GitHubAccount
	UserID  string

	// Version changes with every write of the record. It has at most [MaxIDLength] bytes.
	Version string

	// Scopes are the scopes that GitHub granted, sorted and separated by single spaces. They have
	// at most 512 bytes.
	Scopes string

	// Sealed contains the access token and the refresh token, encrypted. It has at most 4096 bytes.
	Sealed []byte

	UpdatedAt time.Time
}

// GitHubSignInWrite contains everything that a sign-in with GitHub writes.
type GitHubSignInWrite struct {
	// Link describes the account as GitHub reported it. If NewUser is set, Link.UserID is the ID of
	// NewUser. If the account is linked, Link.UserID is the ID of the linked user. In all other
	// cases, Link.UserID is the ID that [UserSource.ResolveGitHub] returned.
	Link GitHubLink

	NewUser *User // the user to add; nil if no user is to be added

	// Email becomes the e-mail address of an existing user who has none. Empty means no address.
	Email string

	// GrantSuperUser makes the user a super user. For each account, this works only once: see
	// [GitHubStore.SignInGitHub].
	GrantSuperUser bool

	// Token replaces the stored token. The Version of the stored token must be TokenVersion. If
	// TokenVersion is empty, there must be no stored token, and Token is added. If Token is nil,
	// the stored token does not change.
	Token        *GitHubToken
	TokenVersion string

	Session      Session // the session to create
	SessionLimit int     // maximum number of the user's sessions: see [SessionStore.CreateSession]
}

// GitHubConnectWrite contains everything that connecting an account writes.
type GitHubConnectWrite struct {
	Link         GitHubLink
	Token        GitHubToken
	TokenVersion string // as in [GitHubSignInWrite]
}

// SessionClaims contains what a verified token says about its session.
type SessionClaims struct {
	UserID     string
	SessionID  string
	Generation int64
	ExpiresAt  time.Time
}

// printedGitHubToken is a GitHubToken with text in place of the sealed bytes.
type printedGitHubToken struct {
	Account   GitHubAccount
	UserID    string
	Version   string
	Scopes    string
	Sealed    string
	UpdatedAt time.Time
}

func (t GitHubToken) printed() printedGitHubToken {
	sealed := redactHash(string(t.Sealed))
	return printedGitHubToken{t.Account, t.UserID, t.Version, t.Scopes, sealed, t.UpdatedAt}
}

// Format prints the record with "[redacted]" in place of Sealed, as [AccessKey.Format] does.
func (t GitHubToken) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), t.printed())
}

// LogValue returns the record with "[redacted]" in place of Sealed, as [AccessKey.LogValue] does.
func (t GitHubToken) LogValue() slog.Value { return slog.AnyValue(t.printed()) }

// SealingKeyID returns the ID of the key of [Config.SealingKeys] that encrypted the token, or "" if
// Sealed has no known form. A removed key is missing if the ID of a stored token is not in the ring.
func (t GitHubToken) SealingKeyID() string { return seal.SealedBy(t.Sealed) }
