package auth

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/revocation"
)

// User is the record of one user.
type User struct {
	// ID identifies the user for ever and is never given to another user; at most
	// [MaxIDLength] bytes. Authorize by it: names change hands, IDs do not.
	ID string

	// Username and Email are each unique without regard to ASCII case. An empty
	// Email means none; any number of users may have none. A Username has at most 128
	// bytes, an Email 254.
	Username string
	Email    string

	// IsSuperUser lets the user administer other users.
	IsSuperUser bool

	// IsActive is false while the user is disabled: no key signs in and no session
	// exists.
	IsActive bool

	CreatedAt time.Time

	// LastLogin is when the newest session was created; zero means never.
	LastLogin time.Time

	// AdmittedAt is when the rules of GitHub sign-in last admitted this user, if a GitHub
	// sign-in made the user. It is zero for every other user. See
	// [GitHubConfig.MembershipMaxAge].
	AdmittedAt time.Time
}

// AccessKey is the record of one access key. It has the hash of the secret, never the
// secret.
type AccessKey struct {
	// ID is the public half of the pair, which a client sends as access_key; at most
	// [MaxAccessKeyLength] bytes.
	ID string

	// UserID is the user who signs in with the key.
	UserID string

	// Hash is the self-describing stored form of the secret, 1 to 255 bytes of visible
	// ASCII. It is bound to ID and UserID, so a row copied to another user opens nothing.
	Hash string

	// Label is the owner's own name for the key, at most 256 bytes. It may be empty.
	Label string

	CreatedAt time.Time

	// ExpiresAt is when the key stops working; zero means never.
	ExpiresAt time.Time

	// PreviousHash is the stored form of the previous secret, which keeps working until
	// PreviousUntil. Both are zero if there is no previous secret.
	PreviousHash  string
	PreviousUntil time.Time

	// LastUsedAt is when the key last signed in, or up to [KeyUsePrecision] earlier; zero
	// means never.
	LastUsedAt time.Time
}

// KeyRotation gives an access key a new secret.
type KeyRotation struct {
	Hash string // of the new secret

	// Overlap is how long the previous secret keeps working. Zero means not at all.
	Overlap time.Duration
}

// Apply returns the key after a rotation at the time now, for implementations of
// [CredentialStore.RotateKey], which first round the time to what they keep. It returns
// ErrNotFound if the key has expired, and ErrRotating if its PreviousHash still works.
func (r KeyRotation) Apply(key AccessKey, now time.Time) (AccessKey, error) {
	switch {
	case !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(now):
		return AccessKey{}, fmt.Errorf("auth: the access key has expired: %w", ErrNotFound)
	case key.PreviousUntil.After(now):
		return AccessKey{}, ErrRotating
	}
	key.PreviousHash, key.PreviousUntil = "", time.Time{}
	if r.Overlap > 0 {
		key.PreviousHash, key.PreviousUntil = key.Hash, now.Add(r.Overlap)
	}
	key.Hash = r.Hash
	return key, nil
}

func (k AccessKey) withoutHashes() AccessKey {
	k.Hash, k.PreviousHash = "", ""
	return k
}

// UserWithKeys is a user to be added together with access keys: at least one, and at most
// [MaxKeys].
type UserWithKeys struct {
	User User
	Keys []AccessKey
}

// UserChange is a change of a user. A nil field leaves the user's value as it is.
type UserChange struct {
	IsSuperUser *bool
	IsActive    *bool
}

// Apply returns the user after the change, for implementations of [UserStore.UpdateUser].
func (c UserChange) Apply(user User) User {
	if c.IsSuperUser != nil {
		user.IsSuperUser = *c.IsSuperUser
	}
	if c.IsActive != nil {
		user.IsActive = *c.IsActive
	}
	return user
}

// givesPower reports whether the change enables or promotes the user.
func (c UserChange) givesPower() bool {
	return c.IsSuperUser != nil && *c.IsSuperUser || c.IsActive != nil && *c.IsActive
}

// describe returns what the change sets, such as "is_super_user=true is_active=false".
func (c UserChange) describe() string {
	var changes []string
	if c.IsSuperUser != nil {
		changes = append(changes, fmt.Sprintf("is_super_user=%t", *c.IsSuperUser))
	}
	if c.IsActive != nil {
		changes = append(changes, fmt.Sprintf("is_active=%t", *c.IsActive))
	}
	return strings.Join(changes, " ")
}

// SignInMethod says how a session was opened.
type SignInMethod string

// The ways to open a session.
const (
	MethodAccessKey SignInMethod = "access_key" // an access key and its secret
	MethodGitHub    SignInMethod = "github"     // a GitHub account
	MethodHost      SignInMethod = "host"       // the host itself, with [Service.SignIn]
)

// Session is the record of one session. Every token names its session and is accepted only
// while the session exists.
type Session struct {
	// ID identifies the session, and is the jti claim of its token; at most
	// [MaxIDLength] bytes.
	ID     string
	UserID string
	Method SignInMethod

	// AccessKeyID is the key that opened the session. Revoking the key revokes the
	// session. It is empty unless Method is MethodAccessKey.
	AccessKeyID string

	CreatedAt time.Time
	ExpiresAt time.Time

	// UserAgent and Address describe the client that opened the session, so that its
	// owner recognizes it: at most 256 and 64 bytes. Either may be empty.
	UserAgent string
	Address   string // an IP address

	// Generation is the Position of the newest entry of the revocation feed when the
	// session was created. The store sets it.
	Generation int64
}

// ClientInfo describes the client that sends a request, as far as the service can see it.
// People recognize sessions by it. It proves nothing.
type ClientInfo struct {
	Address   netip.Addr // the zero Addr if the address is not known
	UserAgent string
	RequestID string // from X-Request-Id, to find the request in other logs

	peer netip.Addr // of the connection, if Address is not known
}

// address returns the address as it is kept.
func (c ClientInfo) address() string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}

// Revocation is an entry of a store's revocation feed: sessions that were revoked before
// they expired. Every instance reads the feed, so no instance asks the store about each
// token.
type Revocation struct {
	// Position is the entry's place in the feed, one more than that of the entry before
	// it. The first entry has 1.
	Position int64

	// ID is random and differs for every entry. A reader that finds another ID at a
	// Position it knows learns that the store was restored from a backup and has taken
	// another course since.
	ID string

	// UserID is the user whose sessions are revoked. If it is empty, the entry revokes every
	// session of every user whose Generation is below the entry's.
	UserID string

	// SessionID is the revoked session. If it is empty, the entry revokes every session of
	// the user whose Generation is below the entry's.
	SessionID  string
	Generation int64

	// ExpiresAt is when the last of these sessions would have expired. It is zero if a
	// newer entry has replaced this one.
	ExpiresAt time.Time
}

// Capped reports whether the entry names a session whose token claims a Generation that the feed
// has not reached, because the store has lost commits. The entry has its own Position in place of
// that Generation. So no entry for the user or for everybody revokes that token for certain, and a
// store replaces a capped entry only by another entry for the same session.
func (r Revocation) Capped() bool { return revocation.Entry(r).IsCapped() }

// GitHubAccount identifies an account at GitHub by its host and the number that GitHub
// gave it there. Logins are renamed and reused; numbers are not.
type GitHubAccount struct {
	Host string // "github.com", or the name of a GitHub Enterprise host; at most 253 bytes
	ID   int64  // positive
}

// GitHubProfile is what GitHub says of an account.
type GitHubProfile struct {
	Account   GitHubAccount
	Login     string
	Name      string // may be empty
	AvatarURL string // may be empty
}

// GitHubLink says that a GitHub account signs in as a user. An account is linked to one
// user at most, and a user to one account of each host.
type GitHubLink struct {
	Account GitHubAccount
	UserID  string

	// Login, Name and AvatarURL are what GitHub last said of the account, at most 512
	// bytes each. People read them; they identify nobody.
	Login     string
	Name      string
	AvatarURL string

	CreatedAt time.Time
	SeenAt    time.Time // when GitHub last said so
}

// GitHubToken is the token with which the host acts on GitHub for a user. The link is
// another record: a user without a token still signs in with GitHub.
type GitHubToken struct {
	Account GitHubAccount
	UserID  string

	// Version differs after every write of the record; at most [MaxIDLength] bytes.
	Version string

	// Scopes are what GitHub granted, sorted and separated by single spaces; at most 512
	// bytes.
	Scopes string

	// Sealed is the token and its refresh token, encrypted; at most 4096 bytes.
	Sealed []byte

	UpdatedAt time.Time
}

// GitHubSignInWrite is everything that a sign-in with GitHub writes.
type GitHubSignInWrite struct {
	// Link is what GitHub says of the account. Its UserID is that of NewUser, or of the
	// user that FindGitHubLink returned for the account.
	Link GitHubLink

	// NewUser is the user to add. It is nil if the account is linked already.
	NewUser *User

	// GrantSuperUser makes the user a super user, if the account's one grant is not spent.
	GrantSuperUser bool

	// Token replaces the token whose Version is TokenVersion. If TokenVersion is empty,
	// Token is the user's first. A nil Token leaves the stored token as it is.
	Token        *GitHubToken
	TokenVersion string

	// Session is created with SessionLimit as CreateSession's limit.
	Session      Session
	SessionLimit int
}

// GitHubConnectWrite is everything that connecting an account writes.
type GitHubConnectWrite struct {
	Link         GitHubLink
	Token        GitHubToken
	TokenVersion string // as in [GitHubSignInWrite]
}

// GitHubAccountState is what a store has of a GitHub account and of the user who is to be linked
// to it, read under the locks of a write.
type GitHubAccountState struct {
	// LinkedTo is the ID of the user whom the account signs in as; empty if there is none.
	LinkedTo string

	// RememberedFor is the ID of the user whom the account was last linked to; empty if there
	// is none.
	RememberedFor string

	// GrantSpent means that the account can make nobody a super user any more.
	GrantSpent bool

	// UserAccount is the account of the same host that the user is linked to; zero if there is
	// none.
	UserAccount GitHubAccount

	// TokenVersion is the Version of the user's token of the host; empty if there is none.
	TokenVersion string
}

// SessionClaims is what a verified token says of its session.
type SessionClaims struct {
	UserID     string
	SessionID  string
	Generation int64
	ExpiresAt  time.Time
}

// The records below print without the hashes and sealed bytes that are in them, so that a host which
// logs a record gives nothing away. They have no MarshalJSON, because a store may keep them as JSON.

// hidden returns what is printed of a hash.
func hidden(hash string) string {
	if hash == "" {
		return ""
	}
	return redactedText
}

type printedAccessKey AccessKey

func (k AccessKey) printed() printedAccessKey {
	k.Hash, k.PreviousHash = hidden(k.Hash), hidden(k.PreviousHash)
	return printedAccessKey(k)
}

// Format prints the record with "[redacted]" for its hashes, for every verb. Package fmt does not
// call it for a record in an unexported field, and encoding/json writes the hashes, because stores
// may keep records as JSON.
func (k AccessKey) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), k.printed())
}

// LogValue returns the record with "[redacted]" for its hashes, for package log/slog. A
// slog.JSONHandler asks for it only where the record itself is the value, and not a slice or a
// struct that has it.
func (k AccessKey) LogValue() slog.Value { return slog.AnyValue(k.printed()) }

type printedKeyRotation KeyRotation

func (r KeyRotation) printed() printedKeyRotation {
	r.Hash = hidden(r.Hash)
	return printedKeyRotation(r)
}

// Format is [AccessKey.Format] for a rotation.
func (r KeyRotation) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), r.printed())
}

// LogValue is [AccessKey.LogValue] for a rotation.
func (r KeyRotation) LogValue() slog.Value { return slog.AnyValue(r.printed()) }

// printedGitHubToken is a GitHubToken whose sealed bytes are text.
type printedGitHubToken struct {
	Account   GitHubAccount
	UserID    string
	Version   string
	Scopes    string
	Sealed    string
	UpdatedAt time.Time
}

func (t GitHubToken) printed() printedGitHubToken {
	return printedGitHubToken{t.Account, t.UserID, t.Version, t.Scopes, hidden(string(t.Sealed)), t.UpdatedAt}
}

// Format prints the record with "[redacted]" for Sealed, as [AccessKey.Format] does.
func (t GitHubToken) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), t.printed())
}

// LogValue returns the record with "[redacted]" for Sealed, as [AccessKey.LogValue] does.
func (t GitHubToken) LogValue() slog.Value { return slog.AnyValue(t.printed()) }
