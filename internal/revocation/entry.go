// Package revocation answers whether a session is revoked without asking the store for each token.
//
// A store keeps a feed of revocations in the order in which they were committed, and every instance
// of the service reads it. [Revoked] is the set of revoked sessions that an instance has read.
// [Feed] keeps that set up to date: it polls the store's feed from the last entry that it has read.
// At most one read runs at a time, and it serves all requests. A missing entry is an error. If the
// store has lost commits, for instance after a restored backup, Feed repairs the store's feed.
//
// If an instance revokes a session itself, it rejects the session at once. If another instance
// revokes a session, this instance rejects it within the feed's interval. While the store does not
// answer, the instance uses the revocations that it has read. When the last complete read is too
// old, it accepts no session. If a clock jumps, the last read looks too old rather than fresh.
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

// Entry is an entry of a store's revocation feed. It has the fields of the type Revocation of
// package auth, so that one type converts to the other. Package auth documents the fields.
type Entry struct {
	Position   int64
	ID         string
	UserID     string // empty if the entry revokes the sessions of all users
	SessionID  string // empty if the entry revokes every session whose Generation is below the entry's
	Generation int64
	ExpiresAt  time.Time // zero if a newer entry has replaced this one
}

// IsCapped reports whether the entry names a session whose token claims a Generation that the feed
// has not reached, because the store has lost commits. Such an entry has its own Position as its
// Generation.
func (e Entry) IsCapped() bool { return e.SessionID != "" && e.Generation == e.Position }
