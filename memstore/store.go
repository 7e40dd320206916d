// Package memstore keeps users, access keys, sessions and GitHub accounts in
// memory, for tests and for hosts that are a single process.
//
// Everything is lost when the process ends: every user, with all that they sign
// in with, every session, and that there has been a first super user. Nothing is
// shared between processes. A host that must remember, or that runs more than
// one instance, wants package sqlstore.
//
// Records leave memory only when they are removed. Nothing expires by itself:
// what bounds the memory is that [Store.PruneSessions], [Store.PruneKeys],
// [Store.PruneStates], [Store.PruneRevocations] and [Store.PruneEvents] are called
// now and then. Events of the audit trail stay until PruneEvents, about half a
// kilobyte each. Users stay until they are deleted, and for ever their usernames and
// the GitHub accounts that were ever linked.
package memstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sallyport-go/auth"
)

var (
	_ auth.Store        = (*Store)(nil)
	_ auth.AccountStore = (*Accounts)(nil)
	_ auth.EventStore   = (*Store)(nil)
	_ auth.EventStore   = (*Accounts)(nil)
)

// Store is an [auth.Store] in memory. Make one with [New]. It is safe for concurrent use.
type Store struct{ accounts }

// Accounts is an [auth.AccountStore] in memory, for a host that has a users table of its own.
// Make one with [NewAccounts]. It is safe for concurrent use.
type Accounts struct{ accounts }

// accounts are the records of a store of either type.
//
// One lock guards them all, so each call is atomic. A call looks records up by ID and follows
// pointers from there; none looks at every record. Adding or removing a record that can expire
// costs a logarithm of how many there are.
type accounts struct {
	withoutUsers bool // every ID is that of an active user

	mu sync.RWMutex

	bootstrapped   bool
	administrators int // how many users administers is true for

	users      map[string]*user // without users: those of whom there is something
	usersByID  order
	usernames  set[string] // as auth.FoldASCII makes them, and of deleted users too
	emails     set[string] // likewise, without the empty one and of nobody deleted
	keys       map[string]*accessKey
	sessions   map[string]*session
	links      map[auth.GitHubAccount]*githubLink
	remembered map[auth.GitHubAccount]*githubAccount // those that were ever linked
	states     map[string]*expiry[string]            // those of GitHub flows that have been used
	feed       feed
	trail      trail

	keysByExpiry     queue[*accessKey] // those that expire
	sessionsByExpiry queue[*session]
	statesByExpiry   queue[string]
}

// user is a user's record and what ends with it.
type user struct {
	record     auth.User
	keys       set[*accessKey]
	sessions   sessionsByAge
	links      map[string]*githubLink // by host
	remembered set[*githubAccount]    // those that are remembered for the user
}

// accessKey is a key's record, its owner, and the sessions that it opened.
type accessKey struct {
	record   auth.AccessKey
	owner    *user
	sessions set[*session]
	expiry   *expiry[*accessKey] // nil if the key never expires
}

// session is a session's record, and who and what must forget it at its end.
type session struct {
	record auth.Session
	owner  *user
	key    *accessKey // nil if no key opened it
	expiry *expiry[*session]
}

// set is a set.
type set[T comparable] map[T]struct{}

func (s set[T]) add(member T) { s[member] = struct{}{} }

func (s set[T]) has(member T) bool {
	_, ok := s[member]
	return ok
}

// New returns an empty store.
func New() *Store { return &Store{newAccounts(false)} }

// NewAccounts returns an empty store for a host that has a users table of its own: see
// [auth.NewWithUsers].
func NewAccounts() *Accounts { return &Accounts{newAccounts(true)} }

func newAccounts(withoutUsers bool) accounts {
	return accounts{
		withoutUsers: withoutUsers,

		users:      make(map[string]*user),
		usernames:  make(set[string]),
		emails:     make(set[string]),
		keys:       make(map[string]*accessKey),
		sessions:   make(map[string]*session),
		links:      make(map[auth.GitHubAccount]*githubLink),
		remembered: make(map[auth.GitHubAccount]*githubAccount),
		states:     make(map[string]*expiry[string]),
		feed:       feed{inForce: make(map[string][]*auth.Revocation)},
		trail:      newTrail(),
	}
}

// Ping returns an error only if ctx is done.
func (s *accounts) Ping(ctx context.Context) error {
	return check(ctx)
}

// check is how every method begins: it returns an error if ctx is done, or else
// if one of the records to write may not be kept. No method waits for anything
// but the lock after that, so none looks at ctx again.
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

// authorize returns the time of a change to a record of this user, or an error if its authority
// does not hold. The caller has just taken the lock, which it holds until the change is made.
//
// An entry of the feed that revokes all sessions below its Generation is added under the same
// lock that they are removed under. So a session that is there is not revoked.
func (s *accounts) authorize(w auth.Write, ownerID string) (now time.Time, err error) {
	now = instant(w.Now())
	actor := auth.User{ID: w.By.UserID}
	if !s.withoutUsers {
		actor = auth.User{}
		if u := s.users[w.By.UserID]; u != nil {
			actor = u.record
		}
	}
	var acting auth.Session
	if found := s.sessions[w.By.SessionID]; found != nil {
		acting = found.record
	}
	err = w.By.Check(now, acting, actor, 0)
	if err == nil {
		err = w.By.CheckOwner(ownerID)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("memstore: %w", err)
	}
	return now, nil
}

// validator is a record that says whether it may be kept.
type validator interface{ Validate() error }

// checkOwner returns an error if the key is not of the user with this ID.
func checkOwner(key auth.AccessKey, userID string) error {
	if key.UserID == userID {
		return nil
	}
	return invalid("user_id", "must be the same in the access key as in the user")
}

func invalid(field, reason string) error {
	return fmt.Errorf("memstore: %w", &auth.InvalidError{Field: field, Reason: reason})
}

// taken returns ErrExists, for what is in the field.
func taken(field string) error {
	return fmt.Errorf("memstore: %w", &auth.ExistsError{Field: field})
}

// instant returns t as the store keeps it: in UTC, cut to the microsecond, and
// without the monotonic clock's reading. Zero stays zero.
func instant(t time.Time) time.Time {
	return t.UTC().Truncate(time.Microsecond)
}
