// Package kvstore is a worked example of a store of one's own: a complete
// [auth.Store] over an ordered key-value store, go.etcd.io/bbolt, in one file of
// one process. The guide docs/stores.md walks through it.
//
// Everything about one user is one value, an [account]: a verb reads it, changes it
// in memory, and writes it back, in one transaction. What finds an account by
// something else than its user's ID, and what keeps names apart, are index entries,
// which follow from the account: see [account.entries]. So no verb can forget one.
//
// The revocation feed and the audit trail are values of their own, because they outlive
// their users. A verb that somebody is responsible for runs in a [change], which checks the
// authority first and adds the event last, in the same transaction.
//
// The price is that a sign-in writes all of a user's sessions anew. That is little
// for people, and too much for a robot that signs in every second.
package kvstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport-go/auth"
)

// The buckets. Those of indexes have the user's ID for a value.
const (
	accounts       = "accounts"       // user ID -> account
	usernames      = "usernames"      // folded; without a user's ID where it is retired
	emails         = "emails"         // folded
	keys           = "keys"           // access key ID
	sessions       = "sessions"       // session ID
	links          = "links"          // GitHub host and account
	remembered     = "remembered"     // likewise, of accounts that are remembered for a user
	spentGrants    = "spent grants"   // likewise, of accounts whose grant is spent, without a user's ID
	administrators = "administrators" // user ID of each active super user
	keyExpiry      = "key expiry"     // time and access key ID
	sessionExpiry  = "session expiry" // time and session ID
	states         = "states"         // used state -> when it expires
	stateExpiry    = "state expiry"   // time and state
	revocations    = "revocations"    // position -> entry of the feed
	feedExpiry     = "feed expiry"    // time and position
	inForce        = "in force"       // user ID, session ID and position of each entry that is not replaced
	events         = "events"         // event ID -> event
	eventTimes     = "event times"    // time and event ID
	eventsAbout    = "events about"   // user ID, time and event ID
	eventsBy       = "events by"      // likewise, by the actor's user ID
	waiting        = "waiting"        // time and event ID -> delivery
	bootstrapped   = "bootstrapped"   // one entry, once it has happened
)

var buckets = []string{
	accounts, usernames, emails, keys, sessions, links, remembered, spentGrants, administrators,
	keyExpiry, sessionExpiry, states, stateExpiry, revocations, feedExpiry, inForce,
	events, eventTimes, eventsAbout, eventsBy, waiting, bootstrapped,
}

// Store is an [auth.Store] and an [auth.EventStore] in a file. It is safe for concurrent use.
type Store struct {
	db *bolt.DB

	// writer has room for one. The database has a lock of its own for its one
	// writer, but whoever waits for that cannot be called off.
	writer chan struct{}
}

var (
	_ auth.Store      = (*Store)(nil)
	_ auth.EventStore = (*Store)(nil)
)

// Open opens the file, or makes it. No other process can have it open. The options
// may be nil.
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

// Close closes the file, once the calls under way have returned.
func (s *Store) Close() error { return s.db.Close() }

// Ping implements [auth.AccountStore].
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(tx) error { return nil })
}

// tx is a transaction: what it reads is of one moment, and what it writes is there
// when it has ended without an error, or nothing is.
type tx struct{ *bolt.Tx }

func (t tx) bucket(name string) *bolt.Bucket { return t.Bucket([]byte(name)) }

// view reads in a transaction.
func (s *Store) view(ctx context.Context, do func(tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(func(t *bolt.Tx) error { return do(tx{t}) })
}

// update reads and writes in a transaction, of which there is one at a time.
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

// check is how each verb begins: a context that is done comes before records that
// may not be kept, and those before every other answer.
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

// checkSame returns an error unless two records to be written together agree.
func checkSame(field string, same bool) error {
	if same {
		return nil
	}
	return &auth.InvalidError{Field: field, Reason: "must be the same in all records of one call"}
}

// kept returns the time as the contract has it kept.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
