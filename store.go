package auth

import (
	"context"
	"time"
)

// Store keeps users, access keys, sessions and GitHub accounts. Package memstore keeps them
// in memory and package sqlstore in an SQL database; package storetest is this contract as a
// test suite, for every other store.
//
// A host that has a users table of its own needs only an [AccountStore]. The rules for every
// method of every role are there.
type Store interface {
	AccountStore
	UserStore
}

// AccountStore keeps access keys, sessions and GitHub accounts. It is the whole store of a
// host that has a users table of its own: see [NewWithUsers]. Such a store has no UserStore
// and treats every user ID as an active user:
//
//   - Where a method returns a user, only its ID is set. IsActive is false, so that nobody signs
//     in where a program takes this store for one that knows its users.
//   - No method returns ErrUserDisabled, nor ErrNotFound because a user is missing.
//   - SignInGitHub with a NewUser returns ErrInvalid. If the account is linked to nobody,
//     SignInGitHub links it to the link's UserID; it also returns ErrChanged if this user has
//     another account of the host.
//   - UnlinkGitHub knows no way in but keys and links.
//   - It keeps and locks one record for each user ID that it has been given, or nothing would
//     hold a key that is added while the user's sessions are revoked. Of an Authority it checks
//     the session; what the host says of the user counts from the return of RevokeUserSessions.
//
// These rules hold for every method of every role of every store:
//
//   - A method is safe for concurrent use. It takes effect entirely or not at all, as if
//     calls ran one after another. What a call has returned, every later call sees, from any
//     instance: a store is strongly consistent.
//   - The errors that a method's comment names are answers. Callers test for them with
//     errors.Is, and nothing has changed when one is returned. Any other error means that the
//     store could not answer. It is never taken for a yes; if a write returned it, the write
//     may or may not have taken effect.
//   - If ctx is done before the call, the call changes nothing and returns an error that
//     wraps ctx.Err(). If ctx ends during the call, the call returns soon, with everything
//     done or nothing.
//   - A method with a [Write] checks the authority in its own transaction, after it has locked the
//     records that it decides by: with [Authority.Check], and with [Authority.CheckOwner] for a
//     record that belongs to a user. So a change waits for the end of a session, or the end of the
//     session waits for the change; from the moment a revocation has been acknowledged, the
//     session changes nothing. An answer of these two methods comes before every answer that the
//     method's own comment names, but after ErrInvalid. ErrNotFound for the record to be changed
//     may come before both.
//   - Locks are taken in one order: the record of everybody, shared by every method with a Write
//     and exclusive for RevokeEverybody; the record of super users; all user records, by
//     ascending ID; keys; sessions; links; the head of the feed.
//   - The Event of a Write is stored in the same transaction if the store is an [EventStore].
//   - A record that its Validate method refuses is [ErrInvalid], and so is a Write, and a value that
//     [ValidateHash] or [ValidateState] refuses. A context that is done comes before that
//     answer, and that answer before every other.
//   - An ID that could never have been stored is [ErrNotFound] when it is looked for.
//   - A record whose ExpiresAt is equal to the given time has expired.
//   - IDs compare byte for byte. Usernames and e-mails are kept as given and compare as
//     [FoldASCII] makes them.
//   - Times are kept to the microsecond, the rest cut off, and come back in UTC. A zero time
//     comes back zero. A store has no clock of its own: the time is an argument, or Now of the Write.
type AccountStore interface {
	CredentialStore
	SessionStore
	GitHubStore

	// Ping reports whether the store can answer.
	Ping(ctx context.Context) error
}

// UserStore is the role of a [Store] that keeps users. The rules for every method are at
// [AccountStore].
type UserStore interface {
	// Register adds a user together with the first access key, or neither.
	//
	// It returns ErrExists if the user's ID, username or e-mail or the key's ID is taken, and
	// ErrInvalid if the key is not of this user.
	Register(ctx context.Context, w Write, user User, key AccessKey) error

	// RegisterUsers adds many users, each with one to MaxKeys access keys, in one
	// transaction: for [Service.ImportUsers]. It takes them in order and returns one error
	// for each: nil if the user was added with all keys, or an [ExistsError] for the first of
	// the user's ID, username, e-mail and keys' IDs that is taken, also by a user of the same
	// call. SameUserID of the error says whether the user is registered already. A user who
	// is refused leaves nothing behind, and the others are added. If other calls write
	// meanwhile, each error was true at some moment during the call, and two errors may be
	// true of different moments.
	//
	// It returns ErrInvalid, and adds nobody, if a key is not of its user, or a user has no
	// key or more than MaxKeys. There is one event for the call, unless it adds nobody.
	RegisterUsers(ctx context.Context, w Write, users []UserWithKeys) ([]error, error)

	// Bootstrap is Register for the first super user. In the same transaction it remembers
	// for ever that it has been called: one call in the life of a store succeeds, the others
	// return ErrBootstrapped. A failed call is not remembered. A user who is not an active
	// super user is ErrInvalid.
	Bootstrap(ctx context.Context, w Write, user User, key AccessKey) error

	// FindUser returns the user with this ID, or ErrNotFound.
	FindUser(ctx context.Context, id string) (User, error)

	// ListUsers returns at most limit users whose IDs come after the given one, in the order
	// of the IDs' bytes; every ID comes after "". Fewer than limit means that there are no
	// more. A limit below one returns none.
	//
	// Passing the last ID of each page as after visits every user that exists for the whole
	// iteration exactly once.
	ListUsers(ctx context.Context, after string, limit int) ([]User, error)

	// UpdateUser changes the user and returns the changed record. Setting IsActive to false
	// revokes the user's sessions in the same transaction, as RevokeUserSessions does; setting
	// it to true brings none back. Setting IsSuperUser to false spends the grants of the GitHub
	// accounts that are remembered for the user: see SignInGitHub.
	//
	// It returns ErrNotFound if there is no such user, and ErrLastSuperUser if the change
	// would leave no active super user where there was one. If two calls at once would
	// remove the last two super users, one of them fails.
	UpdateUser(ctx context.Context, w Write, id string, change UserChange) (User, error)

	// ResetUser removes every way in that the user has, namely all access keys, sessions,
	// and GitHub links and tokens, applies the change, and adds the key, in one transaction.
	// AdmittedAt becomes zero: the caller gives this key, not GitHub's rules. The GitHub accounts
	// stay remembered for the user, and their grants are spent: see SignInGitHub. It returns the
	// changed record and the removed GitHub tokens, which the caller must still revoke at
	// GitHub.
	//
	// It returns ErrNotFound if there is no such user, ErrInvalid if the key is not of this
	// user, ErrExists if the key's ID is taken (the user's own old keys count), and
	// ErrLastSuperUser as UpdateUser does.
	ResetUser(ctx context.Context, w Write, id string, change UserChange, key AccessKey) (User,
		[]GitHubToken, error)

	// DeleteUser removes the user with all access keys, sessions, GitHub links and tokens, in
	// one transaction. It returns the tokens, which the caller must still revoke at GitHub.
	// The username is never given again: registering it later returns ErrExists. The e-mail
	// may be given again. The user's GitHub accounts are no longer remembered for anybody, and
	// their grants are spent: see SignInGitHub. An [EventStore] blanks the client of the events
	// that the user caused.
	//
	// It returns ErrNotFound if there is no such user, and ErrLastSuperUser if the user is
	// the only active super user.
	DeleteUser(ctx context.Context, w Write, id string) ([]GitHubToken, error)
}

// CredentialStore is the role of a store that keeps access keys. The rules for every method
// are at [AccountStore].
type CredentialStore interface {
	// AddKey adds an access key to a user, who may be disabled. It returns ErrNotFound if
	// there is no such user, ErrExists if the key's ID is taken, and ErrTooManyKeys if the
	// user has MaxKeys already, expired ones included. It locks the user's record, so that
	// concurrent calls cannot add more.
	AddKey(ctx context.Context, w Write, key AccessKey) error

	// ListKeys returns all keys of the user, the oldest first, then by ID. It returns none
	// if there is no such user.
	ListKeys(ctx context.Context, userID string) ([]AccessKey, error)

	// FindKey returns the key with this ID and its owner, read at one moment, also if the key
	// has expired or the owner is disabled; or ErrNotFound. It is one read.
	FindKey(ctx context.Context, id string) (AccessKey, User, error)

	// SwapHash sets the key's Hash if it is still equal to old. It returns ErrNotFound if
	// there is no such key or its Hash is another.
	SwapHash(ctx context.Context, id, old, new string) error

	// RotateKey replaces the key's Hash, which becomes its PreviousHash if there is an Overlap,
	// and returns the changed key. It returns ErrNotFound if there is no such key or it has
	// expired, and ErrRotating if its PreviousHash still works. Of two concurrent calls with an
	// Overlap, one fails.
	RotateKey(ctx context.Context, w Write, id string, rotation KeyRotation) (AccessKey, error)

	// TouchKey sets the key's LastUsedAt to the time at, if that is later by
	// [KeyUsePrecision] or more. It returns ErrNotFound if there is no such key.
	TouchKey(ctx context.Context, id string, at time.Time) error

	// RevokeKey removes the key and revokes the sessions that it opened, or returns
	// ErrNotFound.
	RevokeKey(ctx context.Context, w Write, id string) error

	// PruneKeys removes at most limit keys that had expired at the given time, with the
	// sessions that they opened, and returns how many keys it removed. Fewer than limit means
	// that none is left, except those that concurrent calls hold. A limit below one removes
	// nothing.
	PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error)
}

// SessionStore is the role of a store that keeps sessions and the revocation feed. The rules
// for every method are at [AccountStore].
type SessionStore interface {
	// CreateSession adds a session, sets the user's LastLogin to its CreatedAt, and returns
	// the session and the user as they then are. A session never outlives its key: ExpiresAt
	// is lowered to the key's, if that is earlier. The key is touched as by TouchKey. The
	// Generation is read while the user's record is locked: it is below that of an entry that
	// revokes all of the user's sessions if, and only if, the entry comes later.
	//
	// If the user has limit sessions or more that have not expired at CreatedAt, the oldest
	// of them, by CreatedAt, then Generation, then ID, are revoked until one less than limit
	// is left. The new session's Generation is read after that. A limit below one is none. An
	// AccountStore may leave a few more if calls are concurrent.
	//
	// It returns ErrNotFound if there is no such user, or if AccessKeyID is set and that key
	// is missing, another user's, or expired at CreatedAt; ErrUserDisabled if the user is not
	// active; and ErrExists if the ID is taken.
	//
	// It locks the user's record and the key's from the check to the commit against
	// [UserStore.UpdateUser], [UserStore.ResetUser], [UserStore.DeleteUser],
	// [CredentialStore.RevokeKey], [CredentialStore.PruneKeys], RevokeSession and
	// RevokeUserSessions: once one of those has returned, no session exists that it should
	// have revoked.
	CreateSession(ctx context.Context, session Session, limit int) (Session, User, error)

	// FindSession returns the session with this ID, also after it has expired until it is
	// pruned, or ErrNotFound.
	FindSession(ctx context.Context, id string) (Session, error)

	// ListSessions returns the sessions of the user that have not expired at the given time,
	// the newest first: in the reverse of the order in which CreateSession revokes them. It
	// returns none if there is no such user.
	ListSessions(ctx context.Context, userID string, now time.Time) ([]Session, error)

	// RevokeSession removes the session, or returns ErrNotFound. Of several calls for one
	// session, one succeeds.
	//
	// Every method that revokes sessions which may not have expired, here and in the other
	// roles, adds to the feed in the same transaction: an entry for each session, or one for
	// the user if all of the user's sessions are revoked. Entries take their positions in the
	// order in which their transactions commit, so that a reader who has seen one entry never
	// sees an earlier one appear. A counter that is locked until the commit ensures that;
	// neither a time nor a sequence does.
	//
	// An entry for a user is added also if the user has no session, because a token may be
	// alive whose session was lost. Its ExpiresAt is the latest of the sessions', or Now plus
	// MaxTokenLifetime if that is later. At most one entry for each session and one for each
	// user is in force: the entries that a newer one replaces get a zero ExpiresAt. An entry for
	// a user replaces those of the user's sessions, except [Revocation.Capped] ones.
	//
	// When a feed comes to name more than [MaxNamedRevocations] sessions of one user, the
	// entry of [FoldRevocations] is added in the same transaction. The user's other sessions
	// with Generations below the entry's are revoked with it, and the entries that it replaces
	// get a zero ExpiresAt.
	RevokeSession(ctx context.Context, w Write, id string) error

	// RevokeToken revokes a session by what a verified token says of it: it removes the
	// session if there is one, and adds an entry for the session in any case, unless an entry
	// is in force that revokes it and lives as long. It succeeds also if there is no such
	// session and no such user. The entry's ExpiresAt is the later of the token's and the
	// session's, and its Generation is at most its Position.
	RevokeToken(ctx context.Context, claims SessionClaims) error

	// RevokeUserSessions removes all sessions of the user and returns how many of them had
	// not expired. It returns ErrNotFound if there is no such user. It locks the user's record
	// as CreateSession does.
	RevokeUserSessions(ctx context.Context, w Write, userID string) (int, error)

	// RevokeEverybody revokes all sessions of all users with one entry, which has neither a
	// UserID nor a SessionID. FindSession and ListSessions no longer return a session below its
	// Generation, whether or not the store has removed it. It locks the record of everybody exclusively.
	//
	// If above is positive, commits may have been lost. If the head is not below above then,
	// another call has added the entry already, and this call changes nothing. Otherwise the
	// entry takes the Position after the greater of above and the time of the Write in
	// microseconds since 1970. No history of the store has given that Position, because no store
	// adds an entry in each microsecond, so no Generation is given twice.
	RevokeEverybody(ctx context.Context, w Write, above int64) error

	// RevocationHead returns the Position of the newest entry that was ever added to the feed,
	// and 0 if there was none. It is one read.
	RevocationHead(ctx context.Context) (int64, error)

	// PruneSessions removes at most limit sessions that had expired at the given time and
	// returns how many it removed, as PruneKeys does.
	PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error)

	// ListRevocations returns at most limit entries of the feed whose Positions are not below
	// from, in order. Fewer than limit means that there are no more. A limit below one
	// returns none. It shows no entry behind one that is not visible yet, as a database
	// might: among the newest [KeptRevocations] none is missing, except right before an entry
	// that revokes everybody.
	ListRevocations(ctx context.Context, from int64, limit int) ([]Revocation, error)

	// PruneRevocations removes at most limit entries of the feed that had expired at the
	// given time and returns how many it removed, as PruneKeys does. The newest
	// [KeptRevocations] entries stay, whatever their time.
	PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error)
}

// GitHubStore is the role of a store that keeps GitHub accounts. The rules for every method
// are at [AccountStore].
type GitHubStore interface {
	// ConsumeState records, until it is pruned, that a state has been used. It returns
	// ErrExists if the state was recorded before: of several calls for one state, one
	// succeeds.
	ConsumeState(ctx context.Context, id string, expiresAt time.Time) error

	// PruneStates removes at most limit states that had expired at the given time and
	// returns how many it removed, as PruneKeys does.
	PruneStates(ctx context.Context, expired time.Time, limit int) (int, error)

	// FindGitHubLink returns the link of the account, or ErrNotFound.
	FindGitHubLink(ctx context.Context, account GitHubAccount) (GitHubLink, error)

	// FindGitHubConnection returns the link of the user to an account of the host, with the
	// token, which is nil if there is none; or ErrNotFound. It is one read.
	FindGitHubConnection(ctx context.Context, userID, host string) (GitHubLink, *GitHubToken, error)

	// SignInGitHub adds the new user if there is one, writes the link, its CreatedAt only if
	// it is new, and the token if there is one, and creates the session as CreateSession
	// does. If the new user's e-mail is taken, the user is added without. The AdmittedAt of
	// an existing user, unless it is zero, becomes the link's SeenAt.
	//
	// A store remembers each account that was ever linked, apart from its link: for which user,
	// and whether its grant is spent. An account has one grant in its life. If GrantSuperUser is
	// set and the account's grant is not spent, the user becomes a super user and the grant is
	// spent. The event is stored if the link is new or the user becomes a super user.
	//
	// It returns what [GitHubSignInWrite.Check] returns: ErrChanged if the link or the token is
	// not as the caller read it, and ErrGitHubNotAllowed if the account is remembered for a
	// user to whom it is no longer linked. It returns ErrExists if the username, or the ID of
	// the user or session, is taken, ErrUserDisabled if the user is not active, and ErrNotFound
	// if there is no such user.
	SignInGitHub(ctx context.Context, w Write, signIn GitHubSignInWrite) (Session, User, error)

	// ConnectGitHub writes the link and the token of the user whose session acts, and AdmittedAt
	// and what is remembered of the account as SignInGitHub does.
	//
	// It returns what [GitHubConnectWrite.Check] returns: ErrExists if the account is linked to
	// another user or remembered for another, or the user is linked to another account of the
	// host, and ErrChanged if the token's Version is another.
	ConnectGitHub(ctx context.Context, w Write, connect GitHubConnectWrite) error

	// UpdateGitHubLink writes what GitHub says of an account that is linked to the user, all
	// but CreatedAt, and AdmittedAt as SignInGitHub does. It returns ErrNotFound if the
	// account is not linked to the user.
	UpdateGitHubLink(ctx context.Context, link GitHubLink) error

	// LeaseGitHubToken lets one caller refresh the token. It returns true if the record has
	// this Version and nobody holds a lease at the time now. The caller then holds the lease
	// until the other time or the next write of the record. It returns ErrNotFound if the
	// record is missing or has another Version.
	LeaseGitHubToken(ctx context.Context, userID, host, version string, now, until time.Time) (bool, error)

	// ReplaceGitHubToken writes the token in place of the one with the old Version, of the
	// same account, and ends its lease. It returns ErrNotFound if the record is missing or
	// has another Version.
	ReplaceGitHubToken(ctx context.Context, token GitHubToken, oldVersion string) error

	// DeleteGitHubToken removes the token and returns it. The link stays. It returns
	// ErrNotFound if there is no token, or if version is not empty and the record has
	// another Version. Of several calls for one token, one succeeds.
	DeleteGitHubToken(ctx context.Context, w Write, userID, host, version string) (GitHubToken, error)

	// UnlinkGitHub removes the link, and the token if there is one, and returns both, or
	// ErrNotFound. It revokes the user's sessions of MethodGitHub. The account stays remembered
	// for the user. It returns ErrLastWayIn if the user has no other link and no access key that
	// is good now.
	UnlinkGitHub(ctx context.Context, w Write, userID, host string) (GitHubLink, *GitHubToken, error)

	// ForgetGitHubAccount makes the account remembered for nobody, so that it signs in as a new
	// user again. Its grant stays as it is. It returns ErrNotFound if the account is remembered
	// for nobody, and ErrExists if it is linked.
	ForgetGitHubAccount(ctx context.Context, w Write, account GitHubAccount) error
}

// EventStore is the role of a store that keeps the audit trail. It is no part of [Store]: a
// [Service] uses it if its store has these methods. The rules for every method are at
// [AccountStore].
//
// The store adds the Event of each [Write] in the transaction of the change. Its ID is random, and
// its At is the time that Now returned after the locks, or one microsecond after the newest event
// of the same UserID if that is later, so that the events of a user are in order. Events have no
// foreign keys: they stay when their user is deleted.
type EventStore interface {
	// ListEvents returns at most limit events that match the filter, the newest first: by At,
	// then by ID. It returns ErrNotFound if the filter's Before is not the ID of an event. A
	// limit below one returns none.
	ListEvents(ctx context.Context, filter EventFilter, limit int) ([]Event, error)

	// ClaimEvent hands out the oldest event that waits for delivery, and counts that: attempt
	// is 1 the first time. Until the given time, no other call gets the event or a later event
	// of the same user. It returns ErrNotFound if no event can be handed out at the time now.
	//
	// A claim holds the event only if it ends no later than twice the time from now to until after
	// now. A claim that ends later was made by a clock that was ahead, and would hold the event,
	// and the user's later events, for as long as that clock was ahead.
	ClaimEvent(ctx context.Context, now, until time.Time) (event Event, attempt int, err error)

	// FinishEvent notes that the event no longer waits. It stays in the trail. It returns
	// ErrNotFound if there is no such event.
	FinishEvent(ctx context.Context, id string) error

	// PruneEvents removes at most limit events that are older than the given time, whether or
	// not they wait, and returns how many it removed, as PruneKeys does.
	PruneEvents(ctx context.Context, before time.Time, limit int) (int, error)
}
