// Package revocation answers whether a session is revoked without asking the store for each token.
//
// A store keeps a feed of revocations in the order in which they were committed, and every instance
// of the service reads it. [Revoked] is the set of revoked sessions that an instance has read. [Feed]
// keeps that set up to date: it polls the store's feed from the last entry that it has read, in one
// read at a time for all requests. An entry that is missing is an error, and lost commits of the
// store, for instance after a restored backup, are repaired.
//
// An instance rejects a session that it has revoked itself at once, and a session that another
// instance has revoked within the feed's interval. While the store does not answer, the instance
// acts on what it knows until that is too old, and then accepts no session. A clock that jumps makes
// what is known look too old rather than fresh.
//
// The package knows nothing of tokens, users and records. It adds nothing to the feed itself.
package revocation

import "time"

const (
	// KeptEntries is how many entries at the end of a feed are never pruned, so that a reader that
	// has read up to one of them can continue from there.
	KeptEntries = 1000

	// Grace is how long after its ExpiresAt an entry is kept, in memory and in the store, because
	// clocks differ and can be set back.
	Grace = 2 * time.Hour
)

// Entry is an entry of a store's revocation feed. Its fields are those of the Revocation of package
// auth, which documents them, so that converting one to the other copies it and nothing else.
type Entry struct {
	Position   int64
	ID         string
	UserID     string // empty if the entry revokes the sessions of all users
	SessionID  string // empty if the entry revokes every session whose Generation is below the entry's
	Generation int64
	ExpiresAt  time.Time // zero if a newer entry has replaced this one
}

// IsCapped reports whether the entry names a session whose token claims a Generation that the feed
// has not reached, because the store has lost commits. The entry has its own Position in place of
// that Generation.
func (e Entry) IsCapped() bool { return e.SessionID != "" && e.Generation == e.Position }
