package auth

import (
	"context"
	"time"
)

// GitHubAccount is an account at GitHub: the host and the number that GitHub gave
// it there. Logins are renamed, and reused by others; numbers are not.
type GitHubAccount struct {
	Host string // "github.com", or the name of a GitHub Enterprise host
	ID   int64  // more than zero
}

// GitHubLink says that a GitHub account signs in as a user. An account is linked
// to one user at most, and a user to one account of each host.
type GitHubLink struct {
	Account GitHubAccount
	UserID  string

	// Login, Name and AvatarURL are what GitHub last said of the account. They
	// are for people to read, and identify nobody.
	Login     string
	Name      string
	AvatarURL string

	CreatedAt time.Time
	SeenAt    time.Time // when GitHub last said so
}

// GitHubToken is the token with which the host acts on GitHub for a user. It is
// another record than the link: without it the user still signs in.
type GitHubToken struct {
	Account GitHubAccount
	UserID  string

	// Version is another for every write of the record.
	Version string

	// Scopes are what GitHub granted, sorted and separated by single spaces.
	Scopes string

	// Sealed is the token itself, and the one to refresh it with, encrypted.
	Sealed []byte

	UpdatedAt time.Time
}

// Validate returns an [InvalidError] for the first field that no store may
// keep, and nil if there is none. A store calls it before it writes.
func (l GitHubLink) Validate() error {
	return firstError(
		l.Account.validate(),
		checkID("user_id", l.UserID, MaxIDLength),
		checkID("login", l.Login, MaxGitHubTextLength),
		checkText("name", l.Name, MaxGitHubTextLength),
		checkText("avatar_url", l.AvatarURL, MaxGitHubTextLength),
		checkTime("created_at", l.CreatedAt),
		checkTime("seen_at", l.SeenAt),
	)
}

// Validate returns an [InvalidError] for the first field that no store may
// keep, and nil if there is none. A store calls it before it writes.
func (t GitHubToken) Validate() error {
	if len(t.Sealed) == 0 || len(t.Sealed) > MaxSealedLength {
		return invalidf("token", "must be 1 to %d bytes long when sealed", MaxSealedLength)
	}
	return firstError(
		t.Account.validate(),
		checkID("user_id", t.UserID, MaxIDLength),
		checkID("version", t.Version, MaxIDLength),
		checkText("scopes", t.Scopes, MaxGitHubTextLength),
		checkTime("updated_at", t.UpdatedAt),
	)
}

func (a GitHubAccount) validate() error {
	if a.ID <= 0 {
		return invalidf("account_id", "must be more than zero")
	}
	return checkID("host", a.Host, MaxGitHubHostLength)
}

// GitHubConnection is what a store has of a user and a GitHub host.
type GitHubConnection struct {
	Link  GitHubLink
	Token *GitHubToken // nil if there is none
}

// GitHubSignInWrite is all that a sign-in with GitHub writes.
type GitHubSignInWrite struct {
	// Link is what GitHub says of the account. Its UserID is that of NewUser, or
	// of the user to whom FindGitHubLink found it linked.
	Link GitHubLink

	// NewUser is the user to make, nil where the account is linked already.
	NewUser *User

	// Token replaces the one whose Version is TokenVersion, or is the first if
	// that is empty. A nil Token leaves what there is.
	Token        *GitHubToken
	TokenVersion string

	// Session is created with SessionLimit as CreateSession's limit.
	Session      Session
	SessionLimit int
}

// GitHubConnectWrite is all that connecting an account writes.
type GitHubConnectWrite struct {
	Link         GitHubLink
	Token        GitHubToken
	TokenVersion string // as in GitHubSignInWrite

	// SessionID is the session that asked for it, and At the time.
	SessionID string
	At        time.Time
}

// GitHubStore is the part of a [Store] that keeps GitHub accounts. See there for
// the rules that hold for every method.
type GitHubStore interface {
	// ConsumeState records, until it is pruned, that a state has been used. It
	// returns ErrExists if it was recorded before: of several calls for one
	// state, one succeeds.
	ConsumeState(ctx context.Context, id string, expiresAt time.Time) error

	// PruneStates removes at most limit states that had expired at the given
	// time and returns how many it removed, as PruneKeys does.
	PruneStates(ctx context.Context, expired time.Time, limit int) (int, error)

	// FindGitHubLink returns the link of the account, or ErrNotFound.
	FindGitHubLink(ctx context.Context, account GitHubAccount) (GitHubLink, error)

	// FindGitHubConnection returns the link of the user to an account of the
	// host, with the token if there is one, or ErrNotFound. It is one read.
	FindGitHubConnection(ctx context.Context, userID, host string) (GitHubConnection, error)

	// SignInGitHub makes the new user if there is one, writes the link, its
	// CreatedAt only where it is new, and the token if there is one, and creates
	// the session as CreateSession does. If the new user's e-mail is taken, the
	// user is made without. The AdmittedAt of a user who was there, unless it is
	// zero, becomes the link's SeenAt.
	//
	// It returns ErrChanged if the link or the token is not as the caller read
	// it: the account is linked to another user, or to one where a NewUser was to
	// be made, or to nobody where none was, or the token's Version is another.
	// It returns ErrExists if the username, or the ID of the user or session, is
	// taken, ErrUserDisabled if the user is not active, and ErrNotFound if there
	// is no such user.
	SignInGitHub(ctx context.Context, signIn GitHubSignInWrite) (Session, User, error)

	// ConnectGitHub writes the link and the token of a user who is signed in,
	// and AdmittedAt as SignInGitHub does.
	//
	// It returns ErrNotFound if the session is gone, has expired at that time or
	// is not the user's; ErrExists if the account is linked to another user or
	// the user to another account of the host; ErrUserDisabled if the user is not
	// active; and ErrChanged if the token's Version is another.
	ConnectGitHub(ctx context.Context, connect GitHubConnectWrite) error

	// UpdateGitHubLink writes what GitHub says of an account that is linked to the
	// user, all but CreatedAt, and AdmittedAt as SignInGitHub does. It returns
	// ErrNotFound if the account is not linked to the user.
	UpdateGitHubLink(ctx context.Context, link GitHubLink) error

	// LeaseGitHubToken lets one caller refresh the token. It returns true if the
	// record has this Version and nobody holds a lease at the time now, and
	// holds one for the caller then, until the other time or the next write of
	// the record. It returns ErrNotFound if the record is gone or has another
	// Version.
	LeaseGitHubToken(ctx context.Context, userID, host, version string, now, until time.Time) (bool, error)

	// ReplaceGitHubToken writes the token in place of the one with the old
	// Version, of the same account, and ends its lease. It returns ErrNotFound if the record is gone or
	// has another Version.
	ReplaceGitHubToken(ctx context.Context, token GitHubToken, oldVersion string) error

	// DeleteGitHubToken removes the token and returns it, or ErrNotFound. The
	// link stays. Of several calls for one token, one succeeds.
	DeleteGitHubToken(ctx context.Context, userID, host string) (GitHubToken, error)

	// DropGitHubToken removes the token if its record has this Version, and else
	// returns ErrNotFound.
	DropGitHubToken(ctx context.Context, userID, host, version string) error

	// UnlinkGitHub removes the link, and the token if there is one, and returns
	// what it removed, or ErrNotFound. It returns ErrLastWayIn if the user has no
	// other link and no access key that is good at the time now.
	UnlinkGitHub(ctx context.Context, userID, host string, now time.Time) (GitHubConnection, error)
}
