// Package memstore keeps users, access keys, sessions and GitHub accounts in memory. It is meant
// for tests and for hosts that run as a single process.
//
// When the process ends, all records are lost. The store then also forgets that [Store.Bootstrap]
// has created a first super user. Two processes cannot share a store. A host that must keep its
// records, or that runs more than one instance, needs package sqlstore.
//
// Records stay in memory after they have expired, until the methods whose names begin with Prune remove
// them. [auth.Service.Run] calls these methods. A host that does not call Run calls [auth.Service.Prune]
// from time to time. An event of the audit trail takes about half a kilobyte until it is removed. Users
// stay until they are deleted. Retired usernames, and GitHub accounts that were linked to deleted users,
// stay forever unless [auth.Config] has a NameRetention.
package memstore

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

var (
	_ auth.Store        = (*Store)(nil)
	_ auth.AccountStore = (*Accounts)(nil)
	_ auth.EventStore   = (*Store)(nil)
	_ auth.EventStore   = (*Accounts)(nil)
	_ auth.DeviceStore  = (*Store)(nil)
	_ auth.DeviceStore  = (*Accounts)(nil)
)

// Store is an [auth.Store] in memory. Create one with [New]. It is safe for concurrent use.
type Store struct{ accounts }

// Accounts is an [auth.AccountStore] in memory, for a host that has its own users table. Create one
// with [NewAccounts]. It is safe for concurrent use.
type Accounts struct{ accounts }

// accounts contains all records of a [Store] or of an [Accounts].
//
// One lock guards all records, so each call is atomic. Records are found by their IDs, and have
// pointers to related records. So a call rarely scans all records of a kind. Adding or removing a
// record that can expire takes logarithmic time.
type accounts struct {
	withoutUsers bool // set for Accounts, where every valid ID belongs to an active user

	mu sync.RWMutex

	bootstrapped   bool
	administrators int // number of users for whom the function administers returns true

	users     map[string]*user // if withoutUsers is set, only users with a key, session or link
	usersByID order[*user]
	// servicesByID contains the service users, who are also in usersByID.
	servicesByID order[*user]
	usernames    map[string]*username // by the result of auth.FoldASCII, also the retired ones
	emails       set[string]          // results of auth.FoldASCII, without "" and without deleted users
	byUsername   order[named]         // all users
	byEmail      order[named]         // the users who have an e-mail address
	keys         map[string]*accessKey
	keysByID     order[*accessKey]
	sessions     map[string]*session
	links        map[auth.GitHubAccount]*githubLink
	remembered   map[auth.GitHubAccount]*githubAccount // accounts that have been linked at least once
	states       map[string]*expiry[string]            // used states of GitHub flows
	clients      map[string]map[string]*client         // by user ID and hash
	devices      devices
	feed         feed
	trail        trail

	keysByExpiry     queue[*accessKey] // keys that can expire
	keysByOverlap    queue[*accessKey] // keys with a previous hash, by the end of the overlap
	sessionsByExpiry queue[*session]
	statesByExpiry   queue[string]
	clientsBySeen    queue[*client]   // by the time of the last sign-in
	retiredByTime    queue[*username] // retired usernames, by the time at which they were retired

	forgottenByTime queue[auth.GitHubAccount] // accounts that are remembered for no user
	spentGrants     set[string]               // digests of pruned accounts whose grant is spent

	retiredByUser map[string]set[*username] // retired usernames, by the ID of the user
}

// username is a username that is taken.
type username struct {
	folded  string             // the result of auth.FoldASCII
	userID  string             // the user who has the username or has retired it
	retired *expiry[*username] // nil while the user has the username
}

// user is the record of a user, with pointers to the other records of this user.
type user struct {
	record     auth.User
	keys       set[*accessKey]
	sessions   sessionsByAge
	links      map[string]*githubLink // by GitHub host
	remembered set[*githubAccount]    // accounts that are remembered for the user
}

// accessKey is the record of a key, with its owner and the sessions that the key opened.
type accessKey struct {
	record   auth.AccessKey
	owner    *user
	sessions set[*session]
	expiry   *expiry[*accessKey] // nil if the key never expires
	overlap  *expiry[*accessKey] // nil if the key has no previous hash
}

// session is the record of a session, with its owner, the key that opened it, and its entry in the
// queue of sessions that can expire.
type session struct {
	record auth.Session
	owner  *user
	key    *accessKey // nil if no key opened it
	expiry *expiry[*session]
}

// set is a set of comparable values.
type set[T comparable] map[T]struct{}

func (s set[T]) add(member T) { s[member] = struct{}{} }

func (s set[T]) has(member T) bool {
	_, ok := s[member]
	return ok
}

// New returns an empty store.
func New() *Store { return &Store{newAccounts(false)} }

// NewAccounts returns an empty store for a host that has its own users table. See
// [auth.NewWithUsers].
func NewAccounts() *Accounts { return &Accounts{newAccounts(true)} }

func newAccounts(withoutUsers bool) accounts {
	return accounts{
		withoutUsers: withoutUsers,

		users:      make(map[string]*user),
		usernames:  make(map[string]*username),
		emails:     make(set[string]),
		keys:       make(map[string]*accessKey),
		sessions:   make(map[string]*session),
		links:      make(map[auth.GitHubAccount]*githubLink),
		remembered: make(map[auth.GitHubAccount]*githubAccount),
		states:     make(map[string]*expiry[string]),
		clients:    make(map[string]map[string]*client),
		devices:    newDevices(),
		feed:       feed{inForce: make(map[string][]*auth.Revocation)},
		trail:      newTrail(),

		spentGrants:   make(set[string]),
		retiredByUser: make(map[string]set[*username]),
	}
}

// Ping returns an error only if ctx is done.
func (s *accounts) Ping(ctx context.Context) error {
	return check(ctx)
}

// check is the first step of every method. It returns an error if ctx is done or if a record is
// invalid. After check, a method waits only for the lock and need not look at ctx again.
func check(ctx context.Context, records ...validator) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memstore: %w", err)
	}
	for _, record := range records {
		if err := record.Validate(); err != nil {
			return fmt.Errorf("memstore: %w", err)
		}
	}
	return nil
}

// authorize returns an error unless w.By is allowed to change the records of the user with the ID
// ownerID. It also returns the time of the change. The caller holds the lock from before this call
// until the change is made.
func (s *accounts) authorize(w auth.Write, ownerID string) (now time.Time, err error) {
	now = storedTime(w.Now())
	acting := s.acting(w)
	acting.Now = now
	if err := cmp.Or(acting.Check(), w.By.CheckOwner(ownerID)); err != nil {
		return time.Time{}, fmt.Errorf("memstore: %w", err)
	}
	return now, nil
}

// acting returns what the store knows about the authority of the change, without the time of the change.
// RevokedBelow is always zero, which means that no session in the store is revoked. This is true, because a
// call that revokes sessions also removes them before it releases the lock. The caller holds the lock.
func (s *accounts) acting(w auth.Write) storekit.Acting {
	acting := storekit.Acting{By: w.By}
	if found := s.sessions[w.By.SessionID]; found != nil {
		acting.Session = found.record
	}
	if s.withoutUsers {
		acting.User.ID = w.By.UserID
	} else if u := s.users[w.By.UserID]; u != nil {
		acting.User = u.record
	}
	return acting
}

// checkGrant returns an error unless w.By may grant the scopes: see [storekit.Acting.CheckGrant]. The
// caller has called authorize, and holds the lock.
func (s *accounts) checkGrant(w auth.Write, granted *auth.ScopeSet) error {
	if err := s.acting(w).CheckGrant(granted); err != nil {
		return fmt.Errorf("memstore: %w", err)
	}
	return nil
}

// checkKeyGrant returns an error unless w.By may give a key of the owner these scopes: see
// [storekit.Acting.CheckKeyGrant]. The caller has called authorize, and holds the lock.
func (s *accounts) checkKeyGrant(w auth.Write, owner *user, granted *auth.ScopeSet) error {
	if err := s.acting(w).CheckKeyGrant(owner.record, granted); err != nil {
		return fmt.Errorf("memstore: %w", err)
	}
	return nil
}

// checkNewUser returns an error unless w.By may add the user. The caller has called authorize, and holds
// the lock.
func (s *accounts) checkNewUser(w auth.Write, user auth.User, keys ...auth.AccessKey) error {
	if err := s.acting(w).CheckNewUser(user, keys...); err != nil {
		return fmt.Errorf("memstore: %w", err)
	}
	return nil
}

// validator is a record that can check its own fields.
type validator interface{ Validate() error }

// checkOwner returns an error unless the key belongs to the user with this ID.
func checkOwner(key auth.AccessKey, userID string) error {
	if key.UserID == userID {
		return nil
	}
	return invalid("user_id", "must be the same in the access key and in the user")
}

func invalid(field, reason string) error {
	return fmt.Errorf("memstore: %w", &auth.InvalidError{Field: field, Reason: reason})
}

// taken returns the [auth.ExistsError] for a field whose value another record already has.
func taken(field string) error {
	return fmt.Errorf("memstore: %w", &auth.ExistsError{Field: field})
}

// storedTime returns t as the store keeps it: in UTC, truncated to the microsecond, without a
// monotonic clock reading. The zero time stays zero.
func storedTime(t time.Time) time.Time {
	return t.UTC().Truncate(time.Microsecond)
}

// excludes reports whether a claim or a lease that ends at the given time excludes another from now to
// until. If it ends too late, a clock that was ahead took it, and it excludes nobody.
func excludes(end, now, until time.Time) bool {
	return end.After(storedTime(now)) && !end.After(storedTime(until.Add(until.Sub(now))))
}
