package auth

import (
	"context"
	"time"

	"github.com/sallyport-go/auth/internal/revocation"
)

// Store keeps users, access keys, sessions and GitHub accounts. Package memstore keeps them in memory, and
// package sqlstore in an SQL database. Package storetest has the tests that every other store must pass.
//
// A host that has its own users table needs only an [AccountStore]. The comment of AccountStore
// states the rules for the methods of all store interfaces in this package.
type Store interface {
	AccountStore
	UserStore
}

// AccountStore keeps access keys, sessions and GitHub accounts. It is all that a host with its own
// users table needs: see [NewWithUsers]. If an AccountStore is not also a [UserStore], it keeps no
// users and treats every user ID as the ID of an active user:
//
//   - A returned User has only an ID. IsActive is false, so that no user can sign in if a program
//     mistakes this store for one that keeps users.
//   - No method returns ErrUserDisabled, and none returns ErrNotFound because a user does not
//     exist.
//   - SignInGitHub returns ErrInvalid if NewUser is set. If the GitHub account is not linked yet,
//     SignInGitHub links the account to the user of the Link. But if this user is linked to another
//     account of the same GitHub host, SignInGitHub returns ErrChanged.
//   - UnlinkGitHub counts only access keys and GitHub links as ways to sign in.
//   - A store that locks records has one lockable record for each user ID that it has received.
//     Without these records, a session could still add an access key after it was revoked.
//   - The store checks the session of an Authority, but not the user. If the host disables the user
//     in its own table, the user's sessions lose their authority when RevokeUserSessions returns.
//
// The following rules hold for every method of every store, with or without users:
//
//   - Methods are safe for concurrent use. Each call takes effect entirely or not at all, as if
//     calls ran one after another. After a call has returned, every later call on every instance
//     sees its result.
//   - If a method returns an error that the comment of the method names, the call has changed
//     nothing. Callers test for these errors with errors.Is. Any other error means that the store
//     has failed. After such a failure of a write, it is unknown whether the change was made.
//   - If ctx is done before a call, the call changes nothing and returns an error that wraps
//     ctx.Err(). If ctx ends during a call, the call returns soon, and it has made its whole change
//     or no change.
//   - A method with a [Write] checks the write's Authority in the transaction of the change, after it has
//     locked the records on which the check depends. It calls Check of storekit.Acting, then
//     [Authority.CheckOwner], and CheckGrant of storekit.Acting if the change gives power. Some methods
//     call CheckKeyGrant, CheckRotation, CheckNewUser, CheckUserChange or CheckReset in place of
//     CheckGrant. The argument of CheckOwner is the ID of the user whose record changes, or "" if the
//     change is about several users or none. Because of the locks, a change by a session and a revocation
//     of this session wait for each other. So the session can change nothing after the revocation has
//     returned.
//   - A store that locks records takes the locks in this order: the record of everybody (one record
//     that stands for all users), one record for the set of super users, user records by ascending
//     ID, keys, sessions, links, the head of the revocation feed. RevokeEverybody locks the record
//     of everybody exclusively. Every other method with a Write takes a shared lock on this record.
//   - An [EventStore] stores the Event of a Write in the transaction of the change.
//   - A method returns [ErrInvalid] if Validate of a record or of the Write returns an error, or if
//     storekit.ValidateHash or storekit.ValidateState rejects a value. If several errors apply, a method
//     returns the first of this list: the error of a context that is done, ErrInvalid, an error of the
//     check of the Authority, an error of CheckGrant or a method in place of it, any other error that the
//     method's comment names. As an exception, ErrNotFound for the changed record may come before an error
//     of the check of the Authority.
//   - A look-up returns [ErrNotFound] if the ID is invalid, for example too long.
//   - A record whose ExpiresAt is equal to the given time has expired.
//   - The store compares IDs byte for byte. It keeps usernames and e-mails as given. Two usernames
//     or two e-mails are the same if [FoldASCII] returns the same text for them.
//   - The store truncates times to the microsecond and returns them in UTC. A zero time stays zero.
//     A store has no clock of its own: each time is an argument or comes from the Write's Now.
type AccountStore interface {
	CredentialStore
	SessionStore
	GitHubStore

	// Ping returns nil if the store can answer.
	Ping(ctx context.Context) error
}

// SessionStore has the methods of a store that are about sessions and the revocation feed. See
// [AccountStore] for the rules that all methods follow.
type SessionStore interface {
	// CreateSession adds a session, sets the user's LastLogin to the session's CreatedAt, and returns the
	// stored session and user. If an access key opens the session, CreateSession records the key's use as
	// TouchKey does, and stores the session that storekit.OpenSession returns. The stored session has no
	// later ExpiresAt and no more Scopes than the key. While the user's record is locked, CreateSession
	// reads the newest Position of the revocation feed, which becomes the session's Generation. So an entry
	// for all sessions of the user revokes exactly the sessions that were added before the entry.
	//
	// The parameter limit is the maximum number of sessions of the user. Below one, there is no limit.
	// Sessions that are revoked or have expired at CreatedAt do not count. To make room for the new session,
	// CreateSession revokes the oldest sessions before it reads the newest Position. The order is by
	// CreatedAt, then Generation, then ID. In a store without users, concurrent calls can leave a few more
	// sessions.
	//
	// It returns ErrNotFound if there is no such user, ErrUserDisabled if the user is not active, and
	// ErrExists if the session's ID is taken. If AccessKeyID is set, it also returns ErrNotFound if the key
	// is missing, and the errors of storekit.OpenSession.
	//
	// CreateSession locks the records of the user and of the key until it commits. The following
	// methods take the same locks: [UserStore.UpdateUser], [UserStore.ResetUser],
	// [UserStore.DeleteUser], [CredentialStore.RevokeKey], [CredentialStore.PruneKeys],
	// RevokeSession and RevokeUserSessions. So after one of these methods has returned, every
	// session that it must revoke is revoked.
	CreateSession(ctx context.Context, session Session, limit int) (Session, User, error)

	// FindSession returns the session with this ID, or ErrNotFound. It also returns an expired
	// session that has not been pruned.
	FindSession(ctx context.Context, id string) (Session, error)

	// ListSessions returns the user's sessions that have not expired at the given time, the newest
	// first. They are sorted by CreatedAt, then Generation, then ID, all descending. ListSessions
	// returns no sessions if there is no such user.
	ListSessions(ctx context.Context, userID string, now time.Time) ([]Session, error)

	// RevokeSession revokes the session and removes its record. It returns ErrNotFound if there is
	// no such session. Of several calls for one session, only one succeeds.
	//
	// Every method that revokes sessions, in this interface or in another, adds entries to the
	// revocation feed in the same transaction. The method adds one entry for each session. If it
	// revokes all sessions of a user, it adds one entry for the user instead. PruneKeys and
	// PruneSessions add no entry: they remove only expired sessions. Positions follow the order of
	// the commits: after a reader has seen an entry, no entry with a lower Position can appear. A
	// counter that stays locked until the commit ensures this order. A timestamp or a database
	// sequence does not.
	//
	// The entry for a user is added even if the store has no session of the user: the record of a
	// session can be lost while the session's token is valid. The entry's ExpiresAt is the latest
	// ExpiresAt of the sessions and of the entries that it replaces, or Now plus MaxTokenLifetime if
	// that is later. The ExpiresAt of an entry for a session is the later of the session's ExpiresAt and
	// Now plus MaxTokenLifetime, because the commit of [SessionStore.ExtendSession] can be lost, too. If
	// CreateSession or a sign-in with GitHub revokes the oldest sessions of a user, the ExpiresAt of the
	// given session takes the place of Now plus MaxTokenLifetime.
	//
	// An entry for a session replaces an older entry for the session. An entry for a user replaces the
	// older entries for the user and for the user's sessions, except capped ones: see storekit.IsCapped. A
	// replaced entry gets a zero ExpiresAt. All others are in force.
	//
	// A user can get more than storekit.MaxNamedRevocations entries in force that each revoke one session.
	// The store then also adds the entry that storekit.FoldRevocations returns, in the same transaction.
	// This entry replaces most of the user's entries for one session. It also revokes every session of the
	// user whose Generation is below the Generation of this entry.
	RevokeSession(ctx context.Context, w Write, id string) error

	// RevokeToken revokes the session that a verified token names, and removes the record of the
	// session if there is one and it belongs to the user of the token. It adds an entry even if the
	// store has no record of the session or of the user. The entry's ExpiresAt is the later of the
	// token's expiry and the session's ExpiresAt. The entry's Generation is the lesser of the token's
	// Generation and the entry's Position. RevokeToken adds no entry if an entry in force already
	// revokes the session and expires no earlier than the new entry.
	RevokeToken(ctx context.Context, claims SessionClaims) error

	// RevokeUserSessions removes all sessions of the user and returns how many of them were neither
	// expired nor revoked. It returns ErrNotFound if there is no such user. It locks the user's
	// record as CreateSession does.
	RevokeUserSessions(ctx context.Context, w Write, userID string) (int, error)

	// RevokeOtherSessions revokes all sessions of the user of the Write's authority, except the session of
	// the authority, and returns how many of them were neither expired nor revoked. It adds one entry to
	// the feed for each session, as RevokeSession does, and folds them: see storekit.FoldRevocations. It
	// returns ErrInvalid if the authority has a Host: see storekit.ValidateBySession.
	//
	// A [DeviceStore] also removes the devices that the session of the authority has approved and that are
	// not redeemed. Otherwise, such a device would get another session of the user afterwards.
	RevokeOtherSessions(ctx context.Context, w Write) (int, error)

	// ExtendSession extends the session of the Write's authority, and returns the stored session and its
	// user. The session keeps its ID, its Generation and all other fields, so a revocation of the session,
	// earlier or later, revokes every token of the session. ExtendSession stores the session that
	// storekit.ExtendSession returns for the given time and the locked access key of the session. It stores
	// no event and does not change the user's LastLogin.
	//
	// ExtendSession returns ErrInvalid if the authority has a Host, ErrNotFound if the access key is
	// missing, and the errors of storekit.ExtendSession, which also checks the time. It locks the records
	// of the user and of the key as CreateSession does. So no session is extended after a method that
	// revokes it has returned, and a method that revokes the session afterwards adds an entry that expires
	// no earlier than the extended session.
	ExtendSession(ctx context.Context, w Write, until time.Time) (Session, User, error)

	// RevokeEverybody revokes all sessions of all users with one entry, which has neither a UserID
	// nor a SessionID. FindSession and ListSessions then return only sessions whose Generation is
	// at least the entry's. The store can keep the records of the other sessions, but no method
	// counts them. The entry replaces the older one of this form. Its ExpiresAt is the latest
	// ExpiresAt of the sessions and of the replaced entry, or Now plus MaxTokenLifetime if later.
	//
	// The entry's Position is above the time of the Write in microseconds since 1970. It is also more than
	// storekit.SkippedPositions above the feed's newest Position and the parameter above. If the store has
	// lost entries, for example after a backup was restored, they had lower Positions.
	//
	// A caller that found lost commits sets the parameter above to a positive value. If the feed has
	// an entry for all users with a greater Generation, RevokeEverybody then returns ErrChanged.
	RevokeEverybody(ctx context.Context, w Write, above int64) error

	// RevocationHead returns the Position of the newest entry that was ever added to the feed, or 0
	// if no entry was ever added. It makes only one query.
	RevocationHead(ctx context.Context) (int64, error)

	// RememberClient records that the user has signed in from the client at the time of the Write. It
	// reports whether the client is new: the store knows other clients of the user, but not this one. If the
	// client is not new, RememberClient stores no event. So the first client of a user makes no event.
	//
	// A store knows at most storekit.MaxClients clients of a user. To add another, RememberClient removes
	// the client from which the user has not signed in for the longest time. [UserStore.DeleteUser] removes
	// the clients of the user. RememberClient returns ErrNotFound if there is no such user. It locks the
	// user's record, so that of several concurrent calls for a new client one reports that it is new.
	RememberClient(ctx context.Context, w Write, client SignInClient) (isNew bool, err error)

	// PruneClients removes at most limit clients from which no user has signed in since the given time. It
	// returns the number of removed clients, as PruneKeys does.
	PruneClients(ctx context.Context, seen time.Time, limit int) (int, error)

	// PruneSessions removes at most limit sessions that had expired at the given time. It returns
	// the number of removed sessions, as PruneKeys does.
	PruneSessions(ctx context.Context, expired time.Time, limit int) (int, error)

	// ListRevocations returns at most limit entries of the feed, sorted by Position: the first ones
	// whose Position is at least the parameter from. If there are fewer than limit entries, the
	// last is the newest entry of the feed. If limit is below one, it returns no entries.
	//
	// In a database, a later entry can be visible before an earlier one. ListRevocations must not return
	// the later entry alone. A gap in the Positions of the newest storekit.KeptRevocations entries shows a
	// missing entry, except right before an entry that revokes everybody.
	ListRevocations(ctx context.Context, from int64, limit int) ([]Revocation, error)

	// PruneRevocations removes at most limit entries of the feed that had expired at the given time. It
	// returns the number of removed entries, as PruneKeys does. It does not remove the newest
	// storekit.KeptRevocations entries, even if they have expired.
	PruneRevocations(ctx context.Context, expired time.Time, limit int) (int, error)
}

// GitHubStore has the methods of a store that are about GitHub accounts. See [AccountStore] for the
// rules that all methods follow.
type GitHubStore interface {
	// ConsumeState records that the state of a GitHub flow (the OAuth state parameter), or an assertion
	// of a workload, has been used. Both have the form of a digest. It returns ErrExists if the state is
	// already recorded. Of several calls for one state, only one succeeds.
	ConsumeState(ctx context.Context, id string, expiresAt time.Time) error

	// PruneStates removes at most limit states that had expired at the given time, as PruneKeys does.
	PruneStates(ctx context.Context, expired time.Time, limit int) (int, error)

	// FindGitHubLink returns the link of the account, or ErrNotFound.
	FindGitHubLink(ctx context.Context, account GitHubAccount) (GitHubLink, error)

	// FindGitHubConnection returns the user's link to an account of the GitHub host, and the user's
	// token for that account. The token is nil if there is none. FindGitHubConnection returns
	// ErrNotFound if there is no link, and makes only one query.
	FindGitHubConnection(ctx context.Context, userID, host string) (GitHubLink, *GitHubToken, error)

	// SignInGitHub writes everything that a sign-in with GitHub changes. It writes the Link and
	// creates the Session as CreateSession does. It adds the NewUser if there is one, and writes
	// the Token if there is one. It writes the link's CreatedAt only if the link is new. It gives
	// the Email to an existing user without an e-mail. An e-mail that is taken is left out. If the
	// AdmittedAt of an existing user is not zero, SignInGitHub sets it to the link's SeenAt.
	//
	// A store also remembers every GitHub account that was ever linked, even after it is unlinked.
	// It remembers the account for the user to whom the account was last linked. Each account has
	// one grant, which can make a user a super user one time. If GrantSuperUser is set and the
	// account's grant is not spent, the user becomes a super user and the grant becomes spent. The
	// Event of the Write is stored if the link is new or the user becomes a super user.
	//
	// It returns the errors of storekit.SignInGitHub: ErrChanged if the link or the token has changed since
	// the caller read it, ErrServiceUser if the user is a service user, and ErrGitHubNotAllowed if the
	// account is remembered for a user but no longer linked. It returns ErrExists if the username, the
	// user's ID or the session's ID is taken, ErrUserDisabled if the user is not active, and ErrNotFound if
	// there is no such user.
	SignInGitHub(ctx context.Context, w Write, signIn GitHubSignInWrite) (Session, User, error)

	// ConnectGitHub writes the link and the token of a user who is already signed in. It sets
	// AdmittedAt and remembers the account as SignInGitHub does.
	//
	// It returns the errors of storekit.ConnectGitHub. ErrExists means that the account is linked to or
	// remembered for another user, or that the user is linked to another account of the GitHub host.
	// ErrServiceUser means that the user is a service user. ErrChanged means that the stored token's
	// Version is not TokenVersion.
	ConnectGitHub(ctx context.Context, w Write, connect GitHubConnectWrite) error

	// UpdateGitHubLink replaces the stored link of the account, except for its CreatedAt. It sets
	// the user's AdmittedAt as SignInGitHub does. It returns ErrNotFound if the account is not
	// linked to the link's UserID.
	UpdateGitHubLink(ctx context.Context, link GitHubLink) error

	// ListGitHubTokens returns one page of the tokens for the GitHub host, sorted by the bytes of
	// their UserIDs: at most limit tokens, whose UserIDs are greater than the parameter after. Pages
	// are as in [UserStore.ListUsers].
	ListGitHubTokens(ctx context.Context, host, after string, limit int) ([]GitHubToken, error)

	// LeaseGitHubToken gives a caller the lease on the user's token, so that only this caller
	// refreshes the token. The parameter now is the current time, and the parameter until is the
	// end of the lease. A write of the token ends the lease earlier. While another caller has the
	// lease, the result is false. For a missing token or another Version, the error is ErrNotFound.
	//
	// The new lease lasts for until.Sub(now). LeaseGitHubToken ignores an earlier lease that ends
	// more than this duration after the new lease ends, as [EventStore.ClaimEvent] ignores such a
	// claim. Without this rule, a caller whose clock was a day ahead could block the refresh of the
	// token for a day.
	LeaseGitHubToken(ctx context.Context, userID, host, version string, now, until time.Time) (bool, error)

	// ReplaceGitHubToken replaces the stored token of the same user and account, and ends its
	// lease. It returns ErrNotFound if there is no stored token or its Version is not oldVersion.
	ReplaceGitHubToken(ctx context.Context, token GitHubToken, oldVersion string) error

	// DeleteGitHubToken removes the user's token for the GitHub host and returns it. The link
	// stays. If the parameter version is set, the token must have this Version. It returns
	// ErrNotFound if there is no such token. Of several calls for one token, only one succeeds.
	DeleteGitHubToken(ctx context.Context, w Write, userID, host, version string) (GitHubToken, error)

	// UnlinkGitHub removes and returns the user's link to an account of the GitHub host, and the
	// token if there is one. The account stays remembered for the user.
	//
	// UnlinkGitHub revokes the user's sessions whose Method is MethodGitHub. It also revokes those whose
	// Method is MethodDevice and that have no AccessKeyID, because a session of GitHub may have approved
	// the device. UnlinkGitHub returns ErrNotFound if there is no link, and ErrLastWayIn if the user has
	// no other link and no unexpired access key.
	UnlinkGitHub(ctx context.Context, w Write, userID, host string) (GitHubLink, *GitHubToken, error)

	// ListGitHubAccounts returns the accounts that the store remembers for the user, sorted by Host and
	// then by ID. The accounts that are linked to the user are among them. It returns no accounts if
	// there is no such user.
	ListGitHubAccounts(ctx context.Context, userID string) ([]GitHubAccount, error)

	// ForgetGitHubAccount makes the store forget the user of an account that is no longer linked. A
	// sign-in with the account can then create a new user. A spent grant stays spent. It returns
	// ErrNotFound if the account is remembered for no user, and ErrExists if the account is linked.
	ForgetGitHubAccount(ctx context.Context, w Write, account GitHubAccount) error

	// PruneGitHubAccounts removes at most limit accounts that the store has remembered for no user since
	// the given time or longer. DeleteUser and ForgetGitHubAccount are the beginning of this time,
	// according to the Now of the Write. A spent grant stays spent: the store keeps the
	// storekit.GitHubDigest of the account forever, and no other record of it. It returns the number of
	// removed accounts, as PruneKeys does.
	PruneGitHubAccounts(ctx context.Context, forgotten time.Time, limit int) (int, error)
}

// listEntries adapts [SessionStore.ListRevocations] to the types of package revocation.
func listEntries(store SessionStore) func(context.Context, int64, int) ([]revocation.Entry, error) {
	return func(ctx context.Context, from int64, limit int) ([]revocation.Entry, error) {
		page, err := store.ListRevocations(ctx, from, limit)
		if err != nil {
			return nil, err
		}
		entries := make([]revocation.Entry, len(page))
		for i, entry := range page {
			entries[i] = revocation.Entry(entry)
		}
		return entries, nil
	}
}
