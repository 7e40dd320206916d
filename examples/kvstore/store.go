// Package kvstore is an example of a custom store: a complete [auth.Store] on an ordered key-value
// store, go.etcd.io/bbolt, which keeps everything in one file for one process. docs/stores.md
// explains this example step by step.
//
// All records of a user form one value, an [account]. A method reads the account, changes it in
// memory, and writes it back in one transaction. Index entries find an account by other values than
// its user's ID, and keep names unique. They are computed from the account, so that no method can
// forget one: see [account.entries].
//
// The revocation feed and the audit trail are separate values, because they outlive their users. A
// method with an [auth.Write] runs in a [change], which checks the authority first and adds the
// event last, in the same transaction.
//
// The price of this design is that a sign-in writes all sessions of the user again. That is cheap
// for people, but too expensive for a program that signs in every second.
package kvstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sallyport-go/auth"
)

// The buckets. The values in an index are user IDs.
const (
	accounts       = "accounts"       // user ID -> account
	usernames      = "usernames"      // folded; a retired name has no user ID
	emails         = "emails"         // folded
	keys           = "keys"           // access key ID
	sessions       = "sessions"       // session ID
	links          = "links"          // GitHub host and account
	remembered     = "remembered"     // likewise, for accounts that are remembered for a user
	spentGrants    = "spent grants"   // likewise, for accounts whose grant is spent, without a user ID
	administrators = "administrators" // user ID of each active super user
	keyExpiry      = "key expiry"     // time and access key ID
	sessionExpiry  = "session expiry" // time and session ID
	states         = "states"         // used state -> when it expires
	stateExpiry    = "state expiry"   // time and state
	revocations    = "revocations"    // position -> entry of the feed
	feedExpiry     = "feed expiry"    // time and position
	// user ID, session ID and position of each entry that was not replaced
	inForce      = "in force"
	events       = "events"       // event ID -> event
	eventTimes   = "event times"  // time and event ID
	eventsAbout  = "events about" // user ID, time and event ID
	eventsBy     = "events by"    // likewise, by the actor's user ID
	waiting      = "waiting"      // time and event ID -> delivery
	bootstrapped = "bootstrapped" // has one entry after the bootstrap
)

var buckets = []string{
	accounts, usernames, emails, keys, sessions, links, remembered, spentGrants, administrators,
	keyExpiry, sessionExpiry, states, stateExpiry, revocations, feedExpiry, inForce,
	events, eventTimes, eventsAbout, eventsBy, waiting, bootstrapped,
}

// Store is an [auth.Store] and an [auth.EventStore] in a file. It is safe for concurrent use.
type Store struct {
	db *bolt.DB

	// writer is a one-slot semaphore; its holder may write. The database has its own lock for
	// writers, but waiting for that lock cannot be canceled.
	writer chan struct{}
}

var (
	_ auth.Store      = (*Store)(nil)
	_ auth.EventStore = (*Store)(nil)
)

// Open opens the file, or creates it. Another process must not have it open. Nil options mean the
// defaults of bbolt.
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

// Close closes the file once all running calls have returned.
func (s *Store) Close() error { return s.db.Close() }

// Ping implements [auth.AccountStore].
func (s *Store) Ping(ctx context.Context) error {
	return s.view(ctx, func(tx) error { return nil })
}

// tx is a transaction. All reads of a transaction see the same moment. All its writes take effect
// together when the transaction ends without an error.
type tx struct{ *bolt.Tx }

func (t tx) bucket(name string) *bolt.Bucket { return t.Bucket([]byte(name)) }

// view runs do in a read-only transaction.
func (s *Store) view(ctx context.Context, do func(tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(func(t *bolt.Tx) error { return do(tx{t}) })
}

// update runs do in a read-write transaction. Only one can run at a time.
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

// check begins every method. If several errors apply to a call, the error of a done context comes
// first, the error of an invalid record second, and every other error after these two.
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

// checkSame returns an error unless the records of one call agree in the field.
func checkSame(field string, same bool) error {
	if same {
		return nil
	}
	return &auth.InvalidError{Field: field, Reason: "must be the same in all records of one call"}
}

// kept returns the time in UTC, truncated to the microsecond, as the contract requires a store to
// keep it.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
