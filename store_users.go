package auth

import (
	"context"
	"strings"
	"time"
)

// UserKind selects users for [UserStore.ListUsers]. The zero value selects all users.
type UserKind string

// The kinds of users.
const (
	UserKindPerson    UserKind = "person"     // users who are not service users
	UserKindService   UserKind = "service"    // service users: see [User]
	UserKindSuperUser UserKind = "super_user" // super users, also those who are service users
)

// UserState selects users for [UserStore.ListUsers]. The zero value selects all users.
type UserState string

// The states of users.
const (
	UserStateActive   UserState = "active"
	UserStateInactive UserState = "inactive" // disabled
)

// UserQuery selects a page of users for [UserStore.ListUsers].
type UserQuery struct {
	After string    // the page begins after the user with this Position; empty means the first page
	Limit int       // the maximum number of users on the page
	Kind  UserKind  // the zero value means all users
	State UserState // the zero value means all users

	// Search selects the users whose Username or Email begins with this text, without regard to ASCII case.
	// It has at most 254 bytes of UTF-8 and no control characters. Empty means all users.
	Search string
}

// A position in a search is one of these texts and a folded name. The results whose username matches come
// first, so the positions of all results increase in the order of their bytes.
const (
	positionOfUsername = "1:"
	positionOfEmail    = "2:"
)

// Validate returns an [InvalidError] for the first field that is not valid, or nil. The field After is not
// valid if the query has a Search and no user whom the Search selects can have this Position. A store
// calls Validate before it reads users.
func (q UserQuery) Validate() error {
	switch q.Kind {
	case "", UserKindPerson, UserKindService, UserKindSuperUser:
	default:
		return invalidf("kind", "must be one of the kinds of users")
	}
	switch q.State {
	case "", UserStateActive, UserStateInactive:
	default:
		return invalidf("state", "must be one of the states of users")
	}
	if err := checkText("search", q.Search, maxEmailLength); err != nil || q.Search == "" || q.After == "" {
		return err
	}
	name, ok := strings.CutPrefix(q.After, positionOfUsername)
	if !ok {
		name, ok = strings.CutPrefix(q.After, positionOfEmail)
	}
	if !ok || !strings.HasPrefix(name, FoldASCII(q.Search)) {
		return invalidf("after", "must be from the URL of the next page of the same search")
	}
	return checkText("after", name, maxEmailLength)
}

// Matches reports whether the Kind, the State and the Search select the user.
func (q UserQuery) Matches(user User) bool {
	switch {
	case q.Kind == UserKindPerson && user.IsService,
		q.Kind == UserKindService && !user.IsService,
		q.Kind == UserKindSuperUser && !user.IsSuperUser,
		q.State == UserStateActive && !user.IsActive,
		q.State == UserStateInactive && user.IsActive:
		return false
	}
	return hasNamePrefix(user.Username, q.Search) || hasNamePrefix(user.Email, q.Search)
}

// Position returns the After of the page that begins after the user, whom the query selects. If the query
// has no Search, the position is the user's ID. In a search, it depends on the name with which the user is
// found: "1:" and the Username, or "2:" and the Email, as [FoldASCII] returns the name. A user who is found
// with both names has the position of the Username.
func (q UserQuery) Position(user User) string {
	switch {
	case q.Search == "":
		return user.ID
	case hasNamePrefix(user.Username, q.Search):
		return positionOfUsername + FoldASCII(user.Username)
	}
	return positionOfEmail + FoldASCII(user.Email)
}

// hasNamePrefix reports whether the name begins with the text, without regard to ASCII case.
func hasNamePrefix(name, text string) bool {
	return strings.HasPrefix(FoldASCII(name), FoldASCII(text))
}

// UserStore has the methods of a [Store] that are about users. See [AccountStore] for the rules
// that all methods follow.
type UserStore interface {
	// Register adds a user and the user's first access key, or neither.
	//
	// It returns ErrExists if the user's ID, username or e-mail is taken, or if the key's ID is
	// taken. It returns ErrInvalid if the key belongs to another user.
	Register(ctx context.Context, w Write, user User, key AccessKey) error

	// RegisterUsers adds many users in one transaction, each with 1 to MaxKeys access keys.
	// [Service.ImportUsers] calls it.
	//
	// It processes the users in order and returns one error for each user. The error is nil if the
	// user was added with all keys. A user is not added if the user ID, the username, the e-mail or
	// the ID of a key is taken, even by a user that the call has just added. The error is then an
	// [ExistsError] for the first taken value in this order. The SameUserID of the error says
	// whether the user is already registered. The other users are added nevertheless. If other
	// calls write at the same time, two errors can describe the store at different moments.
	//
	// If any user has no key, more than MaxKeys keys or the key of another user, RegisterUsers adds
	// no user and returns ErrInvalid. If it adds at least one user, it stores one event.
	RegisterUsers(ctx context.Context, w Write, users []UserWithKeys) ([]error, error)

	// Bootstrap adds the first super user and the user's access key, as Register does. In the same
	// transaction it records permanently that the store has been bootstrapped. Every later call
	// returns ErrBootstrapped. A call that fails records nothing. Bootstrap returns ErrInvalid if
	// the user is not an active super user, or is a service user.
	Bootstrap(ctx context.Context, w Write, user User, key AccessKey) error

	// FindUser returns the user with this ID, or ErrNotFound.
	FindUser(ctx context.Context, id string) (User, error)

	// ListUsers returns one page of the users whom the query selects: at most Limit users. A page of fewer
	// than Limit users is the last page. If Limit is below one, ListUsers returns no users. It returns
	// ErrInvalid if the query is not valid: see [UserQuery.Validate].
	//
	// The page has the users whose [UserQuery.Position] is greater than After, sorted by the bytes of their
	// positions. So without a Search, the users are sorted by their IDs. With a Search, the users whose
	// Username matches come first, sorted by the Username. The users of whom only the Email matches follow,
	// sorted by the Email. In this order, a page of a search reads few records if the names have an index,
	// also if the Search is short and matches many users.
	//
	// For the first page, After is empty. For each later page, it is the position of the last user of the
	// previous page. A user who exists during the whole iteration, and whose names do not change, is in
	// exactly one page.
	ListUsers(ctx context.Context, query UserQuery) ([]User, error)

	// UpdateUser changes the user and returns the changed record. If the change sets IsActive to
	// false, UpdateUser revokes the user's sessions in the same transaction, as RevokeUserSessions
	// does. Setting IsActive to true again restores no session. If the change sets IsSuperUser to
	// false, the grants of all GitHub accounts that are remembered for the user become spent: see
	// SignInGitHub. These accounts can then never make a user a super user again.
	//
	// If the change sets a Username that differs from the present one in more than ASCII case, the present
	// Username is retired: it stays taken, but the same user can take it again. The earlier Email becomes
	// available. UpdateUser calls CheckUserChange of storekit.Acting.
	//
	// It returns an [ExistsError] if another user has the Username or the Email, or if the Username is
	// retired and belonged to another user. Of two concurrent calls with the same name, one fails.
	//
	// It returns ErrNotFound if there is no such user. It returns ErrLastSuperUser if the change
	// would disable or demote the only active super user. If two concurrent calls would together
	// disable or demote the last two active super users, one of the calls fails. Service users do not
	// count: they can all be disabled or demoted, and the last super user who is a person cannot.
	UpdateUser(ctx context.Context, w Write, id string, change UserChange) (User, error)

	// ResetUser replaces every way in which the user can sign in. In one transaction it removes all access
	// keys, sessions, GitHub links and GitHub tokens, applies the change, and adds the key. It sets
	// AdmittedAt to zero, because the user no longer depends on the rules of GitHub sign-in. The GitHub
	// accounts stay remembered for the user, and their grants become spent: see SignInGitHub. ResetUser
	// returns the changed record and the removed tokens, which the caller must still revoke at GitHub.
	// ResetUser calls CheckReset of storekit.Acting.
	//
	// It returns ErrNotFound if there is no such user, ErrInvalid if the key belongs to another user or
	// the change sets a Username or an Email, and ErrLastSuperUser as UpdateUser does. It returns
	// ErrExists if the new key's ID is taken, even by a key that ResetUser would remove.
	ResetUser(ctx context.Context, w Write, id string, change UserChange, key AccessKey) (User,
		[]GitHubToken, error)

	// DeleteUser removes the user with all access keys, sessions, GitHub links and GitHub tokens, in one
	// transaction. It returns the tokens, which the caller must still revoke at GitHub. The username is
	// retired, so Register returns ErrExists for it. The e-mail becomes available again. The user's GitHub
	// accounts are no longer remembered for any user, and their grants become spent: see SignInGitHub. An
	// [EventStore] clears the Client of every event whose ActorID is the user's ID.
	//
	// It returns ErrNotFound if there is no such user, and ErrLastSuperUser if the user is the only
	// active super user.
	DeleteUser(ctx context.Context, w Write, id string) ([]GitHubToken, error)

	// ListRetiredUsernames returns the usernames that the user has retired, or all usernames of a
	// deleted user, sorted by their bytes. They are in the form that [FoldASCII] returns. It returns no
	// usernames if there never was such a user.
	ListRetiredUsernames(ctx context.Context, userID string) ([]string, error)

	// PruneRetiredUsernames removes at most limit usernames that UpdateUser or DeleteUser retired at
	// the given time or earlier, according to the Now of the Write. Every user can then take these
	// usernames. It returns the number of removed usernames, as PruneKeys does.
	PruneRetiredUsernames(ctx context.Context, retired time.Time, limit int) (int, error)
}

// CredentialStore has the methods of a store that are about access keys. See [AccountStore] for the
// rules that all methods follow.
type CredentialStore interface {
	// AddKey adds an access key to a user. The user can be disabled. AddKey returns ErrNotFound if there is
	// no such user, ErrExists if the key's ID is taken, and ErrTooManyKeys if the user already has MaxKeys
	// keys, including expired ones. It locks the user's record, so that concurrent calls cannot exceed
	// MaxKeys. It calls CheckKeyGrant of storekit.Acting.
	AddKey(ctx context.Context, w Write, key AccessKey) error

	// ListKeys returns all keys of the user, sorted by CreatedAt, the oldest first, and then by ID. It
	// returns no keys if there is no such user.
	ListKeys(ctx context.Context, userID string) ([]AccessKey, error)

	// ListAllKeys returns one page of the keys of all users, including expired keys, sorted by the bytes of
	// their IDs: at most limit keys, with IDs greater than the parameter after, as in [UserStore.ListUsers].
	ListAllKeys(ctx context.Context, after string, limit int) ([]AccessKey, error)

	// FindKey reads the key with this ID, and the key's owner, in one query. The key may have expired, and
	// the owner may be disabled. It returns ErrNotFound if there is no such key.
	FindKey(ctx context.Context, id string) (AccessKey, User, error)

	// SwapHash replaces the key's Hash with the parameter new if the Hash is equal to the parameter old. It
	// returns ErrNotFound if there is no such key or the Hash is different.
	SwapHash(ctx context.Context, id, old, new string) error

	// RotateKey replaces the key's Hash and returns the changed key, as storekit.RotateKey says. If the
	// key's MustRotate was set, RotateKey also revokes the sessions that the key opened. It calls
	// CheckRotation of storekit.Acting in place of CheckGrant. RotateKey returns ErrNotFound if the key
	// does not exist, and the errors of storekit.RotateKey. Of two concurrent calls with an Overlap, one
	// fails.
	RotateKey(ctx context.Context, w Write, id string, rotation KeyRotation) (AccessKey, error)

	// SetKeyScopes sets the key's Scopes, revokes the sessions that the key opened, and returns the changed
	// key. CheckKeyGrant of storekit.Acting must allow the earlier and the new Scopes. SetKeyScopes returns
	// ErrNotFound if there is no such key.
	SetKeyScopes(ctx context.Context, w Write, id string, scopes *ScopeSet) (AccessKey, error)

	// TouchKey sets LastUsedAt to the given time if this time is at least storekit.KeyUsePrecision after
	// the present LastUsedAt. It returns ErrNotFound if there is no such key.
	TouchKey(ctx context.Context, id string, at time.Time) error

	// RevokeKey removes the key and revokes its sessions. It returns ErrNotFound if there is no such key.
	RevokeKey(ctx context.Context, w Write, id string) error

	// PruneKeys removes keys that had expired at the given time, and the sessions that these keys opened. It
	// returns the number of removed keys, which is at most limit. If the number is below limit, the only
	// expired keys left are those that concurrent calls have locked. If limit is below one, PruneKeys removes
	// nothing.
	PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error)

	// PrunePreviousHashes clears the PreviousHash and the PreviousUntil of at most limit keys that have a
	// previous hash and a PreviousUntil that is not after the given time. The keys stay. It returns the
	// number of changed keys, as PruneKeys does.
	PrunePreviousHashes(ctx context.Context, ended time.Time, limit int) (int, error)

	// ListExpiringKeys returns at most limit keys for which storekit.ExpiryNoticeDue returns true, sorted
	// by ExpiresAt. It does not read keys that expire later. If limit is below one, ListExpiringKeys
	// returns no keys.
	ListExpiringKeys(ctx context.Context, now time.Time, lead time.Duration, limit int) ([]AccessKey, error)

	// RecordExpiryNotice sets the key's ExpiryNoticeAt to the time of the Write, whose Event tells of the
	// expiry. It returns ErrNotFound if there is no such key, and ErrChanged if storekit.ExpiryNoticeDue
	// returns false for this time. So of several concurrent calls, one succeeds.
	RecordExpiryNotice(ctx context.Context, w Write, id string, lead time.Duration) error
}
