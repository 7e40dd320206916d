package auth

import (
	"context"
	"time"
)

// User is the record of one user.
type User struct {
	// ID identifies the user for ever and is never given to another. Authorise
	// by it: names change hands, ids do not.
	ID string

	// Username and Email are each unique without regard to ASCII case. An empty
	// Email means that there is none; any number of users may have none.
	Username string
	Email    string

	// IsSuperUser lets the user administer other users.
	IsSuperUser bool

	// IsActive is false while the user is disabled: no key signs in and no
	// session exists.
	IsActive bool

	CreatedAt time.Time

	// LastLogin is when the newest session was created; zero means never.
	LastLogin time.Time

	// AdmittedAt is when the rules of GitHub sign-in last let in a user whom such
	// a sign-in made, and zero for everybody else. See
	// [GitHubConfig.MembershipMaxAge].
	AdmittedAt time.Time
}

// AccessKey is the record of one access key. It has the hash of the secret,
// never the secret.
type AccessKey struct {
	// ID is the public half of the pair, what a client sends as access_key.
	ID string

	// UserID is whom the key signs in.
	UserID string

	// Hash is the self-describing stored form of the secret. It is bound to ID
	// and UserID, so that a row copied to another user opens nothing.
	Hash string

	// Label is the owner's own words for the key, and may be empty.
	Label string

	CreatedAt time.Time

	// ExpiresAt is when the key stops working; zero means never.
	ExpiresAt time.Time

	// PreviousHash is the stored form of the secret before this one, which works
	// too until PreviousUntil. Both are empty where there is none.
	PreviousHash  string
	PreviousUntil time.Time

	// LastUsedAt is when the key last signed in, or up to KeyUsePrecision earlier;
	// zero means never.
	LastUsedAt time.Time
}

// MaxKeys is how many access keys one user may have.
const MaxKeys = 100

// KeyUsePrecision is how much later a use of a key must be than the one before to
// be written down.
const KeyUsePrecision = time.Minute

// SignInMethod says how a session was opened.
type SignInMethod string

// The ways to open a session.
const (
	MethodAccessKey SignInMethod = "access_key" // an access key and its secret
	MethodGitHub    SignInMethod = "github"     // a GitHub account
	MethodHost      SignInMethod = "host"       // the host itself, with Service.SignIn
)

// Session is the record of one session. Every token names its session, and is
// worth as much as the session: when the record is gone, the token is refused.
type Session struct {
	// ID is the session's, and the jti claim of its token.
	ID     string
	UserID string
	Method SignInMethod

	// AccessKeyID is the key that opened the session, which ends with it. It is
	// empty when Method is not MethodAccessKey.
	AccessKeyID string

	CreatedAt time.Time
	ExpiresAt time.Time

	// UserAgent and Address are of the client that opened the session, for its
	// owner to recognise it by. Either may be empty.
	UserAgent string
	Address   string // an IP address

	// Generation is the Position of the newest entry of the store's feed of
	// revocations when the session was created. The store sets it.
	Generation int64
}

// Revocation is an entry of a store's feed: sessions that have ended before they
// expired. It is how every instance learns of tokens that are good no longer
// without asking about each.
type Revocation struct {
	// Position is the entry's place in the feed, one more than that of the entry
	// before it; the first has 1.
	Position int64

	// ID is random, another for every entry. By it a reader knows that a store was
	// restored from a backup, and has gone on from there in another way.
	ID string

	UserID string

	// SessionID is the session that has ended. Where it is empty, all sessions of the
	// user have ended whose Generation is below that of the entry.
	SessionID  string
	Generation int64

	// ExpiresAt is when the last of these sessions would have expired. It is zero where
	// a newer entry stands for this one.
	ExpiresAt time.Time
}

// MaxNamedRevocations is how many sessions of one user a feed names one by one, so
// that signing in and out in a loop makes no feed grow without end.
const MaxNamedRevocations = 1000

// KeptRevocations is how many entries at the end of a feed are never pruned, so
// that whoever has read up to one of them can go on from there.
const KeptRevocations = 1000

// Credential is an access key together with its owner, read at one moment.
type Credential struct {
	Key  AccessKey
	User User
}

// UserWithKeys is a user to be added together with access keys.
type UserWithKeys struct {
	User User
	Keys []AccessKey
}

// Store keeps users, access keys, sessions and GitHub accounts. Package memstore keeps them in
// memory and package sqlstore in an SQL database; package storetest is this
// contract as a test suite, for any other.
//
// The rules for every method of every role:
//
//   - It is safe for concurrent use, and takes effect entirely or not at all,
//     as if the calls ran one after another. What a call has returned, every
//     later call sees, from any instance: a store is strongly consistent.
//   - The errors named at a method are answers, tested with errors.Is; nothing
//     has changed when one is returned. Any other error means that the store
//     could not answer. It is never taken for a yes and, where it came back
//     from a write, the write may or may not have happened.
//   - When ctx is done before the call, the call changes nothing and returns
//     an error that wraps ctx.Err(). When it ends during the call, the call
//     returns soon, with everything done or nothing.
//   - A record that its Validate method refuses is [ErrInvalid], and so is what
//     [ValidateHash] and [ValidateState] refuse. A context that is done comes
//     before that, and that before every other answer.
//   - An id to look for that could never have been stored is [ErrNotFound].
//   - A record whose ExpiresAt is equal to the given time has expired.
//   - IDs compare byte for byte. Usernames and e-mails are kept as given and
//     compare as [FoldASCII] makes them.
//   - Times are kept to the microsecond, the rest cut off, and come back in
//     UTC; a zero time comes back zero. A store has no clock of its own: the
//     time is always in the arguments.
type Store interface {
	UserStore
	CredentialStore
	SessionStore
	GitHubStore

	// KeepsUsers reports whether the store keeps users, as it does unless it was
	// made for a host that has a table of its own: see [Config.Users]. Such a
	// store takes every user for one who is there and active, and remembers of
	// them the IDs alone:
	//
	//   - Where a method returns a user, only the ID is set.
	//   - The methods of UserStore return an error that is none of the answers.
	//   - SignInGitHub with a NewUser is ErrInvalid. An account that is linked to
	//     nobody it links to the link's user; and ErrChanged says, too, that this
	//     user has another account of the host.
	//   - UnlinkGitHub knows of no way in but keys and links.
	KeepsUsers() bool

	// Ping reports whether the store can answer.
	Ping(ctx context.Context) error
}

// UserStore is the part of a [Store] that keeps users. See there for the rules
// that hold for every method.
type UserStore interface {
	// Register adds a user together with the first access key, or neither.
	//
	// It returns ErrExists if the user's ID, username or e-mail or the key's ID
	// is taken, and ErrInvalid if the key is not of this user.
	Register(ctx context.Context, user User, key AccessKey) error

	// RegisterUsers adds many users, each with one to MaxKeys access keys, in one
	// transaction: for [Service.ImportUsers]. It takes them in their order, and returns
	// for each nil where the user has been added with all the keys, or else an
	// [ExistsError] for the first of the user's ID, username, e-mail and keys' IDs that is
	// taken, by a user of the same call too; its SameUserID says whether that is the same
	// user. Who is refused so leaves nothing behind, and the others are added. What one of
	// the errors says was so at a moment during the call; where others write meanwhile, it
	// need not be that of the next error.
	//
	// It returns ErrInvalid, and adds nobody, if a key is not of its user, or somebody has
	// no key or more than MaxKeys.
	RegisterUsers(ctx context.Context, users []UserWithKeys) ([]error, error)

	// Bootstrap is Register for the first super user, and remembers, in the same
	// transaction and for ever, that it has been called: one call in the life of
	// a store succeeds, the others return ErrBootstrapped. A failed call is not
	// remembered. A user who is not an active super user is ErrInvalid.
	Bootstrap(ctx context.Context, user User, key AccessKey) error

	// FindUser returns the user with this ID, or ErrNotFound.
	FindUser(ctx context.Context, id string) (User, error)

	// ListUsers returns at most limit users whose IDs come after the given one, in
	// the order of the IDs' bytes; every ID comes after "". Fewer than limit means
	// that there are no more. A limit below one returns none.
	//
	// Who walks from page to page, each time after the last ID of the page before,
	// meets everybody who is there throughout exactly once.
	ListUsers(ctx context.Context, after string, limit int) ([]User, error)

	// UpdateUser changes the user and returns the record as it is afterwards.
	// Setting IsActive to false ends the user's sessions in the same
	// transaction; setting it to true brings back none.
	//
	// It returns ErrNotFound if there is no such user, and ErrLastSuperUser if
	// the change would leave no user who is both active and a super user where
	// there was one. Of two such calls at once, for the last two super users,
	// one fails.
	UpdateUser(ctx context.Context, id string, change UserChange) (User, error)

	// ResetUser removes every way in that the user has, all access keys, sessions,
	// and GitHub links and tokens, applies the change, and adds the key, in one
	// transaction. AdmittedAt becomes zero: the key is given by whoever calls, not
	// by GitHub's word. It returns the record as it is afterwards, and the GitHub
	// tokens, which are still to be revoked at GitHub.
	//
	// It returns ErrNotFound if there is no such user, ErrInvalid if the key is
	// not of this user, ErrExists if the key's ID is taken (the user's own old
	// keys count), and ErrLastSuperUser as UpdateUser does.
	ResetUser(ctx context.Context, id string, change UserChange, key AccessKey) (User, []GitHubToken, error)

	// DeleteUser removes the user and all that is the user's: access keys,
	// sessions, GitHub links and tokens, in one transaction. It returns the tokens,
	// which are still to be revoked at GitHub. The username is never given again:
	// who asks for it later gets ErrExists. The e-mail may be.
	//
	// It returns ErrNotFound if there is no such user, and ErrLastSuperUser if the
	// user is the only one who is active and a super user.
	DeleteUser(ctx context.Context, id string) ([]GitHubToken, error)
}

// CredentialStore is the part of a [Store] that keeps access keys. See there
// for the rules that hold for every method.
type CredentialStore interface {
	// AddKey adds an access key to a user who may be disabled. It returns
	// ErrNotFound if there is no such user, ErrExists if the key's ID is taken, and
	// ErrTooManyKeys if the user has MaxKeys already, expired ones included. It holds
	// the user's record, so that calls at once cannot add more.
	AddKey(ctx context.Context, key AccessKey) error

	// ListKeys returns all keys of the user, the oldest first, then by ID; none if
	// there is no such user.
	ListKeys(ctx context.Context, userID string) ([]AccessKey, error)

	// FindKey returns the key with this ID and its owner, as they are, expired
	// and disabled ones too; or ErrNotFound. It is one read.
	FindKey(ctx context.Context, id string) (Credential, error)

	// SwapHash sets the key's Hash if it is still equal to old, and returns
	// ErrNotFound if there is no such key or its Hash is another.
	SwapHash(ctx context.Context, id, old, new string) error

	// RotateKey replaces the key's Hash, which becomes its PreviousHash if
	// PreviousUntil is set. It returns the key as it is afterwards, ErrNotFound if there
	// is no such key or it has expired, and ErrRotating if it has a PreviousHash
	// that still works. Of two such calls at once with a PreviousUntil, one fails.
	RotateKey(ctx context.Context, id string, rotation KeyRotation) (AccessKey, error)

	// TouchKey sets the key's LastUsedAt to the time at, if that is KeyUsePrecision
	// later or more. It returns ErrNotFound if there is no such key.
	TouchKey(ctx context.Context, id string, at time.Time) error

	// RevokeKey removes the key and ends the sessions that it opened, or returns
	// ErrNotFound.
	RevokeKey(ctx context.Context, id string) error

	// PruneKeys removes at most limit keys that had expired at the given time,
	// with the sessions they opened, and returns how many keys it removed: fewer
	// than limit means that none is left, but for those that other calls are at
	// work on at that moment. A limit below one removes nothing.
	PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error)
}

// SessionStore is the part of a [Store] that keeps sessions. See there for the
// rules that hold for every method.
type SessionStore interface {
	// CreateSession adds a session, sets the user's LastLogin to its CreatedAt,
	// and returns the session and the user as they then are. A session never
	// outlives its key: ExpiresAt is lowered to the key's, if that is earlier. It is a
	// use of the key as TouchKey has it. The Generation is read while the user's record
	// is held: it is below that of an entry which ends all of the user's sessions if the
	// entry comes later, and only then.
	//
	// Where the user has limit sessions or more that have not expired at CreatedAt, it
	// ends the oldest of them, as RevokeSession does, until one less is left: by CreatedAt,
	// then Generation, then ID. The new one's Generation is that after these. A limit
	// below one is none. Without users, calls at once may leave a few more.
	//
	// It returns ErrNotFound if there is no such user, or if AccessKeyID is set
	// and that key is gone, another user's, or expired at CreatedAt;
	// ErrUserDisabled if the user is not active; and ErrExists if the ID is
	// taken.
	//
	// It holds the user's record and the key's from the check to the commit
	// against [UserStore.UpdateUser], [UserStore.ResetUser], [UserStore.DeleteUser],
	// [CredentialStore.RevokeKey], [CredentialStore.PruneKeys], RevokeSession and RevokeUserSessions:
	// once one of those has returned, no session exists that it ought to have ended.
	CreateSession(ctx context.Context, session Session, limit int) (Session, User, error)

	// FindSession returns the session with this ID, an expired one too as long
	// as it has not been pruned, or ErrNotFound.
	FindSession(ctx context.Context, id string) (Session, error)

	// ListSessions returns the sessions of the user that have not expired at the given
	// time, the newest first: in the reverse of the order in which CreateSession ends
	// them. It returns none if there is no such user.
	ListSessions(ctx context.Context, userID string, now time.Time) ([]Session, error)

	// RevokeSession removes the session, or returns ErrNotFound. Of several calls
	// for one session, one succeeds.
	//
	// Whatever ends sessions that may not have expired, here and in the methods of
	// the other roles, adds to the feed in the same transaction: an entry for each
	// session, or one for the user where all sessions of one end and there were any.
	// Entries take their positions in the order in which their transactions commit,
	// so that who has seen one will see no earlier one any more; a counter that is
	// held until the commit does that, and neither a time nor a sequence does.
	//
	// When a feed comes to name more than MaxNamedRevocations sessions of one user,
	// all but at most half of that many, those of the newest Generations, become
	// one entry for the user, in the same transaction. The user's other sessions with
	// Generations below that of the entry end with them, and the entries that it
	// stands for get an ExpiresAt of zero.
	RevokeSession(ctx context.Context, id string) error

	// RevokeUserSessions removes all sessions of the user, and returns how many of
	// them had not expired at the given time. It returns ErrNotFound if there is no
	// such user. It holds the user's record as CreateSession does.
	RevokeUserSessions(ctx context.Context, userID string, now time.Time) (int, error)

	// PruneSessions removes at most limit sessions that had expired at the given
	// time and returns how many it removed, as PruneKeys does.
	PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error)

	// ListRevocations returns at most limit entries of the feed whose Positions are
	// not below from, in their order. Fewer than limit means that there are no more.
	// A limit below one returns none. It shows no entry behind one that is not there
	// yet, which a database may do: among the newest KeptRevocations none is missing.
	ListRevocations(ctx context.Context, from int64, limit int) ([]Revocation, error)

	// PruneRevocations removes at most limit entries of the feed that had expired at
	// the given time and returns how many it removed, as PruneKeys does. The newest
	// KeptRevocations entries stay, whatever their time.
	PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error)
}
