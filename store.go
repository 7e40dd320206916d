package auth

import (
	"context"
	"time"
)

// Store keeps users, access keys, sessions and GitHub accounts. Package memstore keeps them in
// memory, and package sqlstore in an SQL database. Package storetest is this contract as a test
// suite for every other store.
//
// A host that has its own users table needs only an [AccountStore]. The comment of AccountStore
// states the rules that every method of every role follows.
type Store interface {
	AccountStore
	UserStore
}

// AccountStore keeps access keys, sessions and GitHub accounts. It is the whole store of a host
// that has its own users table: see [NewWithUsers]. Such a store has no UserStore and treats every
// user ID as an active user:
//
//   - If a method returns a user, only its ID is set. IsActive is false, so that no user can sign
//     in if a program mistakes this store for one that keeps users.
//   - No method returns ErrUserDisabled, and no method returns ErrNotFound because a user is
//     missing.
//   - SignInGitHub with a NewUser returns ErrInvalid. If the account is linked to no user,
//     SignInGitHub links it to the link's UserID. SignInGitHub also returns ErrChanged if this user
//     has another account of the same GitHub host.
//   - UnlinkGitHub counts only access keys and links as ways to sign in.
//   - The store keeps and locks one record for each user ID that it has received. Without that
//     record, nothing would delay a new key while the user's sessions are revoked.
//   - Of an Authority, the store checks the session but not the user. A change that the host makes
//     to the user takes effect when RevokeUserSessions returns.
//
// These rules hold for every method of every role of every store:
//
//   - A method is safe for concurrent use. It takes effect entirely or not at all, as if calls ran
//     one after another. A store is strongly consistent: every later call, from any instance, sees
//     the result of a call that has returned.
//   - The errors that a method's comment names are answers. Callers test for them with errors.Is,
//     and nothing has changed when a method returns one. Any other error means that the store could
//     not answer. Callers never treat such an error as success. If a write returns such an error,
//     the write may or may not have taken effect.
//   - If ctx is done before the call, the call changes nothing and returns an error that wraps
//     ctx.Err(). If ctx ends during the call, the call returns soon, and has either done everything
//     or nothing.
//   - A method with a [Write] checks the authority in its own transaction, after it has locked the
//     records on which the check depends. It calls [Authority.Check], and for a record that belongs
//     to a user also [Authority.CheckOwner]. Either the change waits for the revocation of a
//     session, or the revocation waits for the change. After a revocation has been acknowledged,
//     the revoked session changes nothing. An error of Check or CheckOwner comes after ErrInvalid,
//     and before every other error that the method's comment names. Only ErrNotFound for the record
//     to be changed may come before an error of Check or CheckOwner.
//   - Every method takes locks in the same order: the record of everybody, the record of super
//     users, all user records by ascending ID, keys, sessions, links, the head of the feed. The
//     lock on the record of everybody is exclusive in RevokeEverybody and shared in every other
//     method with a Write.
//   - If the store is an [EventStore], it stores the Event of a Write in the same transaction.
//   - A method returns [ErrInvalid] for a record or a Write whose Validate method returns an error,
//     and for a value that [ValidateHash] or [ValidateState] rejects. The error of a context that
//     is done comes before ErrInvalid. ErrInvalid comes before every other error.
//   - Looking up an ID that no store could have kept returns [ErrNotFound].
//   - A record whose ExpiresAt is equal to the given time has expired.
//   - IDs compare byte for byte. The store keeps usernames and e-mails as given and compares them
//     after [FoldASCII].
//   - The store truncates times to the microsecond and returns them in UTC. A zero time stays zero.
//     A store has no clock of its own: each time is an argument, or Now of the Write.
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
	// Register adds a user and the user's first access key, or neither.
	//
	// It returns ErrExists if the user's ID, username or e-mail or the key's ID is taken, and
	// ErrInvalid if the key belongs to another user.
	Register(ctx context.Context, w Write, user User, key AccessKey) error

	// RegisterUsers adds many users, each with one to MaxKeys access keys, in one transaction.
	// [Service.ImportUsers] uses it.
	//
	// It processes the users in order and returns one error for each. The error is nil if the user
	// was added with all keys. The error is an [ExistsError] for the first value that is taken, in
	// the order of the user's ID, username, e-mail and keys' IDs. A value of an earlier user of the
	// same call is taken, too. SameUserID of the error says whether the user is already registered.
	// A rejected user leaves nothing behind, and the other users are added. If other calls write
	// meanwhile, each error was true at some moment during the call. Two errors may have been true
	// at different moments.
	//
	// It returns ErrInvalid, and adds no user, if a key names another user than the user in whose
	// Keys it is, or if a user has no key or more than MaxKeys keys. The call stores one event, or
	// no event if it adds no user.
	RegisterUsers(ctx context.Context, w Write, users []UserWithKeys) ([]error, error)

	// Bootstrap is Register for the first super user. In the same transaction it records
	// permanently that it has been called. One call in the life of a store succeeds, and the others
	// return ErrBootstrapped. A failed call is not recorded. Bootstrap returns ErrInvalid if the
	// user is not an active super user.
	Bootstrap(ctx context.Context, w Write, user User, key AccessKey) error

	// FindUser returns the user with this ID, or ErrNotFound.
	FindUser(ctx context.Context, id string) (User, error)

	// ListUsers returns at most limit users whose IDs come after the given one, in the byte order
	// of the IDs. Every ID comes after "". A result of fewer than limit users is the last page. If
	// limit is below one, ListUsers returns none.
	//
	// Passing the last ID of each page as after visits every user that exists for the whole
	// iteration exactly once.
	ListUsers(ctx context.Context, after string, limit int) ([]User, error)

	// UpdateUser changes the user and returns the changed record. Setting IsActive to false revokes
	// the user's sessions in the same transaction, as RevokeUserSessions does. Setting IsActive to
	// true restores no session. Setting IsSuperUser to false spends the grants of the GitHub
	// accounts that are remembered for the user, so that none of them can make a user a super user
	// again: see SignInGitHub.
	//
	// It returns ErrNotFound if there is no such user. It returns ErrLastSuperUser if there is an
	// active super user and the change would leave none. If two concurrent calls would remove the
	// last two super users, one of them fails.
	UpdateUser(ctx context.Context, w Write, id string, change UserChange) (User, error)

	// ResetUser replaces every way in which the user can sign in. In one transaction it removes all
	// access keys, sessions, and GitHub links and tokens, applies the change, and adds the key.
	// AdmittedAt becomes zero, because the new key comes from the caller and not from the rules of
	// GitHub sign-in. The GitHub accounts stay remembered for the user, and their grants are spent:
	// see SignInGitHub. It returns the changed record and the removed GitHub tokens, which the
	// caller must still revoke at GitHub.
	//
	// It returns ErrNotFound if there is no such user, ErrInvalid if the key belongs to another
	// user, ErrExists if the key's ID is taken (the user's own earlier keys count), and
	// ErrLastSuperUser as UpdateUser does.
	ResetUser(ctx context.Context, w Write, id string, change UserChange, key AccessKey) (User,
		[]GitHubToken, error)

	// DeleteUser removes the user with all access keys, sessions, GitHub links and GitHub tokens,
	// in one transaction. It returns the tokens, which the caller must still revoke at GitHub. The
	// username stays taken: registering it later returns ErrExists. The e-mail becomes available
	// again. The user's GitHub accounts are no longer remembered for any user, and their grants are
	// spent: see SignInGitHub. An [EventStore] blanks the client of the events that the user
	// caused.
	//
	// It returns ErrNotFound if there is no such user, and ErrLastSuperUser if the user is the only
	// active super user.
	DeleteUser(ctx context.Context, w Write, id string) ([]GitHubToken, error)
}

// CredentialStore is the role of a store that keeps access keys. The rules for every method are at
// [AccountStore].
type CredentialStore interface {
	// AddKey adds an access key to a user, who may be disabled. It returns ErrNotFound if there is
	// no such user, ErrExists if the key's ID is taken, and ErrTooManyKeys if the user already has
	// MaxKeys keys, including expired ones. It locks the user's record, so that concurrent calls
	// cannot exceed the limit.
	AddKey(ctx context.Context, w Write, key AccessKey) error

	// ListKeys returns all keys of the user, the oldest first, then by ID. It returns none if there
	// is no such user.
	ListKeys(ctx context.Context, userID string) ([]AccessKey, error)

	// FindKey returns the key with this ID and its owner, both read at one moment, or ErrNotFound.
	// It also returns a key that has expired or whose owner is disabled. It is one read.
	FindKey(ctx context.Context, id string) (AccessKey, User, error)

	// SwapHash sets the key's Hash if it is still equal to old. It returns ErrNotFound if there is
	// no such key or its Hash is different.
	SwapHash(ctx context.Context, id, old, new string) error

	// RotateKey replaces the key's Hash and returns the changed key. If there is an Overlap, the
	// replaced Hash becomes the PreviousHash. RotateKey returns ErrNotFound if there is no such key
	// or the key has expired, and ErrRotating if the key's PreviousHash still works. Of two
	// concurrent calls with an Overlap, one fails.
	RotateKey(ctx context.Context, w Write, id string, rotation KeyRotation) (AccessKey, error)

	// TouchKey sets the key's LastUsedAt to the time at, if at is later than LastUsedAt by
	// [KeyUsePrecision] or more. It returns ErrNotFound if there is no such key.
	TouchKey(ctx context.Context, id string, at time.Time) error

	// RevokeKey removes the key and revokes the sessions that the key opened, or returns
	// ErrNotFound.
	RevokeKey(ctx context.Context, w Write, id string) error

	// PruneKeys removes at most limit keys that had expired at the given time, with the sessions
	// that these keys opened. It returns the number of removed keys. A result below limit means
	// that no such key is left, except keys that concurrent calls have locked. If limit is below
	// one, PruneKeys removes nothing.
	PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error)
}

// SessionStore is the role of a store that keeps sessions and the revocation feed. The rules for
// every method are at [AccountStore].
type SessionStore interface {
	// CreateSession adds a session, sets the user's LastLogin to its CreatedAt, and returns the
	// stored session and user. A session never outlives its key: if the key expires before the
	// session, the session gets the key's ExpiresAt. CreateSession records the use of the key as
	// TouchKey does. It reads the session's Generation while the user's record is locked. The
	// session's Generation is below the Generation of an entry that revokes all of the user's
	// sessions if, and only if, the entry is added after the session.
	//
	// If the user has limit sessions or more that have not expired at CreatedAt, CreateSession
	// revokes the oldest of these sessions, by CreatedAt, then Generation, then ID, until limit
	// minus one are left. It reads the new session's Generation after this revocation. A limit
	// below one means no limit. An AccountStore may leave a few more sessions if calls are
	// concurrent.
	//
	// It returns ErrNotFound if there is no such user. It also returns ErrNotFound if AccessKeyID
	// is set and that key is missing, belongs to another user, or has expired at CreatedAt. It
	// returns ErrUserDisabled if the user is not active, and ErrExists if the ID is taken.
	//
	// From the check to the commit, CreateSession locks the user's record and the key's record
	// against [UserStore.UpdateUser], [UserStore.ResetUser], [UserStore.DeleteUser],
	// [CredentialStore.RevokeKey], [CredentialStore.PruneKeys], RevokeSession and
	// RevokeUserSessions. Once one of these methods has returned, no session exists that the method
	// should have revoked.
	CreateSession(ctx context.Context, session Session, limit int) (Session, User, error)

	// FindSession returns the session with this ID, or ErrNotFound. It also returns an expired
	// session that has not been pruned.
	FindSession(ctx context.Context, id string) (Session, error)

	// ListSessions returns the sessions of the user that have not expired at the given time, the
	// newest first. This is the reverse of the order in which CreateSession revokes sessions.
	// ListSessions returns no session if there is no such user.
	ListSessions(ctx context.Context, userID string, now time.Time) ([]Session, error)

	// RevokeSession removes the session, or returns ErrNotFound. Of several calls for one session,
	// one succeeds.
	//
	// Every method that revokes sessions that may not have expired, here and in the other roles,
	// adds to the feed in the same transaction: one entry for each session, or one entry for the
	// user if all of the user's sessions are revoked. Entries take their positions in the order in
	// which their transactions commit, so that a reader that has seen one entry never sees an
	// earlier one appear. A counter that is locked until the commit ensures this order. A time or a
	// database sequence does not ensure it.
	//
	// An entry for a user is added even if the user has no session, because there may be a valid
	// token whose session record was lost. The entry's ExpiresAt is the latest ExpiresAt of the
	// sessions, or Now plus MaxTokenLifetime if this time is later. A newer entry for the same
	// session or user replaces an older one, which gets a zero ExpiresAt. An entry that has not
	// been replaced is in force: at most one for each session and one for each user. An entry for a
	// user replaces the entries of the user's sessions, except [Revocation.Capped] ones.
	//
	// If the feed then names more than [MaxNamedRevocations] sessions of one user, the entry of
	// [FoldRevocations] is added in the same transaction. That entry also revokes the user's other
	// sessions whose Generations are below the entry's Generation. The entries that it replaces get
	// a zero ExpiresAt.
	RevokeSession(ctx context.Context, w Write, id string) error

	// RevokeToken revokes the session that a verified token names. It removes the record of the
	// session if there is one. It adds an entry for the session even if there is no record of the
	// session or of the user. It adds no entry if an entry in force already revokes the session and
	// expires no earlier than the new entry would. The new entry's ExpiresAt is that of the token
	// or that of the session, whichever is later. The new entry's Generation is at most its
	// Position.
	RevokeToken(ctx context.Context, claims SessionClaims) error

	// RevokeUserSessions removes all sessions of the user and returns how many of them had not
	// expired. It returns ErrNotFound if there is no such user. It locks the user's record as
	// CreateSession does.
	RevokeUserSessions(ctx context.Context, w Write, userID string) (int, error)

	// RevokeEverybody revokes all sessions of all users with one entry, which has neither a UserID
	// nor a SessionID. FindSession and ListSessions no longer return a session whose Generation is
	// below the entry's Generation, whether or not the store has removed the record of the session.
	// RevokeEverybody locks the record of everybody exclusively.
	//
	// A positive above means that commits may have been lost. If the feed's newest Position is not
	// below above, another call has already added the entry, and this call changes nothing. If the
	// newest Position is below above, the entry takes the Position after the greater of above and
	// the time of the Write in microseconds since 1970. That Position has never been assigned, even
	// before a backup was restored, because no store adds an entry in each microsecond. So no
	// Generation is assigned twice.
	RevokeEverybody(ctx context.Context, w Write, above int64) error

	// RevocationHead returns the Position of the newest entry that was ever added to the feed, or 0
	// if no entry was ever added. It is one read.
	RevocationHead(ctx context.Context) (int64, error)

	// PruneSessions removes at most limit sessions that had expired at the given time and returns
	// the number of removed sessions, as PruneKeys does.
	PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error)

	// ListRevocations returns, in order, at most limit entries of the feed whose Positions are not
	// below from. A result of fewer than limit entries ends with the newest entry. If limit is
	// below one, ListRevocations returns no entry.
	//
	// A database might show an entry while an earlier entry is not yet visible. ListRevocations
	// must not do this: among the newest [KeptRevocations] entries, no entry is missing, except
	// right before an entry that revokes everybody.
	ListRevocations(ctx context.Context, from int64, limit int) ([]Revocation, error)

	// PruneRevocations removes at most limit entries of the feed that had expired at the given time
	// and returns the number of removed entries, as PruneKeys does. The newest [KeptRevocations]
	// entries stay, whatever their time.
	PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error)
}

// GitHubStore is the role of a store that keeps GitHub accounts. The rules for every method are at
// [AccountStore].
type GitHubStore interface {
	// ConsumeState records that a state has been used. The record stays until it is pruned.
	// ConsumeState returns ErrExists if the state was recorded before: of several calls for one
	// state, one succeeds.
	ConsumeState(ctx context.Context, id string, expiresAt time.Time) error

	// PruneStates removes at most limit states that had expired at the given time and returns the
	// number of removed states, as PruneKeys does.
	PruneStates(ctx context.Context, expired time.Time, limit int) (int, error)

	// FindGitHubLink returns the link of the account, or ErrNotFound.
	FindGitHubLink(ctx context.Context, account GitHubAccount) (GitHubLink, error)

	// FindGitHubConnection returns the user's link to an account of the GitHub host, and the user's
	// token, which is nil if there is no token. It returns ErrNotFound if there is no link. It is
	// one read.
	FindGitHubConnection(ctx context.Context, userID, host string) (GitHubLink, *GitHubToken, error)

	// SignInGitHub writes everything that a sign-in with GitHub changes. It adds the new user if
	// there is one, writes the link, writes the token if there is one, and creates the session as
	// CreateSession does. It writes the link's CreatedAt only if the link is new. If the new user's
	// e-mail is taken, the user is added without an e-mail. If an existing user's AdmittedAt is not
	// zero, AdmittedAt is set to the link's SeenAt.
	//
	// Apart from the link, a store remembers two facts about each account that was ever linked: the
	// user to whom the account was linked, and whether the account's grant is spent. The grant lets
	// the account make a user a super user once in its life. If GrantSuperUser is set and the grant
	// is not spent, the user becomes a super user and the grant is spent. The event is stored if
	// the link is new or the user becomes a super user.
	//
	// It returns the error of [GitHubSignInWrite.Check]: ErrChanged if the link or the token has
	// changed since the caller read it, and ErrGitHubNotAllowed if the account is remembered for a
	// user to whom the account is no longer linked. It returns ErrExists if the username, or the ID
	// of the user or session, is taken, ErrUserDisabled if the user is not active, and ErrNotFound
	// if there is no such user.
	SignInGitHub(ctx context.Context, w Write, signIn GitHubSignInWrite) (Session, User, error)

	// ConnectGitHub writes the link and the token of the user whose session acts. It writes
	// AdmittedAt, and remembers the account, as SignInGitHub does.
	//
	// It returns the error of [GitHubConnectWrite.Check]: ErrExists if the account is linked to or
	// remembered for another user, or if the user is linked to another account of the host, and
	// ErrChanged if the token has a different Version.
	ConnectGitHub(ctx context.Context, w Write, connect GitHubConnectWrite) error

	// UpdateGitHubLink writes every field but CreatedAt of the link of an account that is linked to
	// the user, and AdmittedAt as SignInGitHub does. It returns ErrNotFound if the account is not
	// linked to the user.
	UpdateGitHubLink(ctx context.Context, link GitHubLink) error

	// LeaseGitHubToken lets one caller refresh the token. It returns true if the record has this
	// Version and no caller holds a lease at the time now. The caller then holds the lease until
	// the given time or the next write of the record, whichever is earlier. LeaseGitHubToken
	// returns ErrNotFound if the record is missing or has a different Version.
	LeaseGitHubToken(ctx context.Context, userID, host, version string, now, until time.Time) (bool, error)

	// ReplaceGitHubToken writes the token in place of the token of the same account that has the
	// old Version, and ends the lease of the old token. It returns ErrNotFound if the record is
	// missing or has a different Version.
	ReplaceGitHubToken(ctx context.Context, token GitHubToken, oldVersion string) error

	// DeleteGitHubToken removes the token and returns it. The link stays. It returns ErrNotFound if
	// there is no token, or if version is not empty and the record has a different Version. Of
	// several calls for one token, one succeeds.
	DeleteGitHubToken(ctx context.Context, w Write, userID, host, version string) (GitHubToken, error)

	// UnlinkGitHub removes and returns the user's link to an account of the GitHub host, and the
	// token if there is one. It returns ErrNotFound if there is no link. It revokes the user's
	// sessions of MethodGitHub. The account stays remembered for the user. It returns ErrLastWayIn
	// if the user has no other link and no access key that works now.
	UnlinkGitHub(ctx context.Context, w Write, userID, host string) (GitHubLink, *GitHubToken, error)

	// ForgetGitHubAccount makes the account remembered for no user, so that the account can sign in
	// as a new user again. The account's grant does not change. It returns ErrNotFound if the
	// account is remembered for no user, and ErrExists if the account is linked.
	ForgetGitHubAccount(ctx context.Context, w Write, account GitHubAccount) error
}

// EventStore is the role of a store that keeps the audit trail. It is not part of [Store]: a
// [Service] uses it if its store has these methods. The rules for every method are at
// [AccountStore].
//
// The store adds the Event of each [Write] in the transaction of the change. The event's ID is
// random. The event's At is the later of two times, so that the events of a user are in order: the
// time that Now returned after the locks were taken, and one microsecond after the newest event of
// the same UserID. Events have no foreign keys: they stay when their user is deleted.
type EventStore interface {
	// ListEvents returns at most limit events that match the filter, the newest first: by At, then
	// by ID. It returns ErrNotFound if the filter's Before is not the ID of an event. If limit is
	// below one, ListEvents returns none.
	ListEvents(ctx context.Context, filter EventFilter, limit int) ([]Event, error)

	// ClaimEvent hands out the oldest event that waits for delivery, and counts the attempt:
	// attempt is 1 the first time. Until the time until, no other call gets the event or a later
	// event of the same user. ClaimEvent returns ErrNotFound if no event can be handed out at the
	// time now. It may also return ErrNotFound because concurrent calls have locked the events, so
	// that a waiting event is handed out by a later call.
	//
	// ClaimEvent ignores an earlier claim that ends later than now plus twice the time from now to
	// until, because a clock that was ahead has made it. Without this rule, such a claim would hold
	// the event, and the user's later events, for the time by which that clock was ahead.
	ClaimEvent(ctx context.Context, now, until time.Time) (event Event, attempt int, err error)

	// FinishEvent records that the event no longer waits for delivery. The event stays in the
	// trail. FinishEvent returns ErrNotFound if there is no such event.
	FinishEvent(ctx context.Context, id string) error

	// PruneEvents removes at most limit events that are older than the given time, whether or not
	// they wait for delivery, and returns the number of removed events, as PruneKeys does.
	PruneEvents(ctx context.Context, before time.Time, limit int) (int, error)
}
