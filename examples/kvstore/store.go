// Package kvstore is an example of a store that you write yourself. It implements all of
// [auth.Store] with go.etcd.io/bbolt, an ordered key-value store. All data is in one file, which
// only one process can open at a time. docs/stores.md explains this example step by step.
//
// All records of a user form one value, an [account]. A method reads the account, changes it in
// memory, and writes it back in one transaction. An index finds an account by a value that is not
// the user ID, for example by a session ID. Indexes also keep names unique. The index entries are
// computed from the account, so that no method can forget to change one: see [account.entries].
//
// The revocation feed and the audit trail are not part of an account, because their entries stay
// when the user is deleted. A method with an [auth.Write] runs in a transaction of the type
// [change]. The transaction checks the authority first and adds the event last.
//
// The disadvantage of this design is that a sign-in writes all sessions of the user again. That is
// fast enough for people, but too slow for a program that signs in every second.
package kvstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport-go/auth"
)

// These are the names of the buckets. The comment on each bucket describes the keys of the bucket.
// In a comment with an arrow, the text after the arrow describes the values. In an index of
// accounts, each value is a user ID.
const (
	accounts       = "accounts"        // user ID -> account
	usernames      = "usernames"       // username after auth.FoldASCII; no user ID if retired
	retired        = "retired"         // retired username after auth.FoldASCII -> retirement
	retiredTimes   = "retired times"   // time and retired username after auth.FoldASCII
	retiredBy      = "retired by"      // user ID and retired username after auth.FoldASCII
	emails         = "emails"          // e-mail after auth.FoldASCII
	keys           = "keys"            // access key ID
	sessions       = "sessions"        // session ID
	links          = "links"           // GitHub host and account
	remembered     = "remembered"      // GitHub host and account, if remembered for a user
	spentGrants    = "spent grants"    // GitHub host and account, if the grant is spent; no user ID
	forgotten      = "forgotten"       // GitHub host and account, if remembered for no user -> when forgotten
	forgottenTimes = "forgotten times" // time, and GitHub host and account
	prunedGrants   = "pruned grants"   // digest of each pruned account whose grant is spent
	administrators = "administrators"  // user ID of each active super user who is a person
	persons        = "persons"         // user ID of each user who is a person
	services       = "services"        // user ID of each service user
	keyExpiry      = "key expiry"      // time and access key ID
	overlapEnd     = "overlap end"     // time and access key ID, if the key has a previous hash
	sessionExpiry  = "session expiry"  // time and session ID
	clientTimes    = "client times"    // time, user ID and hash of the client
	states         = "states"          // used state -> when it expires
	stateExpiry    = "state expiry"    // time and state
	revocations    = "revocations"     // position -> entry of the feed
	feedExpiry     = "feed expiry"     // time and position
	// user ID, session ID and position of each feed entry that no newer entry has replaced
	inForce      = "in force"
	events       = "events"       // event ID -> event
	eventTimes   = "event times"  // time and event ID
	eventsAbout  = "events about" // user ID, time and event ID
	eventsBy     = "events by"    // user ID of the actor, time and event ID
	waiting      = "waiting"      // time and event ID -> delivery
	bootstrapped = "bootstrapped" // has one entry after the bootstrap
)

var buckets = []string{
	accounts, usernames, retired, retiredTimes, retiredBy, emails, keys, sessions, links, remembered, spentGrants,
	forgotten, forgottenTimes, prunedGrants, administrators,
	persons, services, keyExpiry, overlapEnd, sessionExpiry, clientTimes, states, stateExpiry, revocations, feedExpiry, inForce,
	events, eventTimes, eventsAbout, eventsBy, waiting, bootstrapped,
}

// Store is an [auth.Store] and an [auth.EventStore] in a file. It is safe for concurrent use.
type Store struct {
	db *bolt.DB

	// writer is a semaphore with one slot. A write transaction must hold the slot. The database
	// also has a lock for writers, but waiting for that lock cannot be canceled.
	writer chan struct{}
}

var (
	_ auth.Store      = (*Store)(nil)
	_ auth.EventStore = (*Store)(nil)
)

// Open opens the file, or creates it if it does not exist. Only one process can have the file open.
// If options is nil, the defaults of bbolt apply.
func Open(path string, options *bolt.Options) (*Store, error) {
	db, err := bolt.Open(path, 0o600, options)
	if err != nil {
		return nil, fmt.Errorf("kvstore: %w", err)
	}
	err = db.Update(func(t *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := t.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("kvstore: %w", err), db.Close())
	}
	return &Store{db: db, writer: make(chan struct{}, 1)}, nil
}

// Close waits until all running calls have returned, and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping implements [auth.AccountStore].
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(tx) error { return nil })
}

// tx is a transaction. A read-only transaction sees the store at one moment. A read-write
// transaction that ends without an error makes all of its writes visible together.
type tx struct{ *bolt.Tx }

func (t tx) bucket(name string) *bolt.Bucket { return t.Bucket([]byte(name)) }

// view runs do in a read-only transaction.
func (s *Store) view(ctx context.Context, do func(tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(func(t *bolt.Tx) error { return do(tx{t}) })
}

// update runs the callback do in a read-write transaction. Only one such transaction runs at a
// time.
func (s *Store) update(ctx context.Context, do func(tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.db.Update(func(t *bolt.Tx) error { return do(tx{t}) })
}

// check returns an error if ctx is done or if a record is invalid. A method calls check first,
// because the error of ctx takes precedence over the error of an invalid record. Both take
// precedence over all other errors.
func check(ctx context.Context, records ...interface{ Validate() error }) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, record := range records {
		if err := record.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// checkSame returns an error for the field if the parameter same is false. This parameter reports
// whether all records of one call have equal values in the field.
func checkSame(field string, same bool) error {
	if same {
		return nil
	}
	return &auth.InvalidError{Field: field, Reason: "must be the same in all records of one call"}
}

// kept returns the time as a store must keep it: in UTC, and truncated to the microsecond.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// excludes reports whether a claim or a lease that ends at the given time excludes another from now to
// until. If it ends too late, a clock that was ahead took it, and it excludes nobody.
func excludes(end, now, until time.Time) bool {
	return end.After(kept(now)) && !end.After(kept(until.Add(until.Sub(now))))
}
