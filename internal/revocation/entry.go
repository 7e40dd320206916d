// Package revocation tells whether a session is revoked, without reading the store for each token.
//
// A store keeps a feed of revocations in the order in which they were committed. Every instance of
// the service reads this revocation feed. [Revoked] is the set of revoked sessions that an instance
// has read. [Feed] keeps that set up to date: it polls the revocation feed, each time from the last
// entry that it has read. At most one read runs at a time, and it serves all requests. If an entry
// is missing, the read fails. If the store has lost commits, for instance because it was restored
// from a backup, Feed repairs the revocation feed.
//
// If an instance revokes a session itself, it rejects the session at once. If another instance
// revokes a session, this instance rejects the session within the interval of its Feed. If the
// store does not answer, the instance uses the revocations that it has read. If its last complete
// read is too old, the instance accepts no session. If a clock jumps, the last read counts as too
// old, not as recent.
//
// The package knows nothing of tokens, users and records. It only reads the revocation feed, except
// that a repair of the feed adds an entry.
package revocation

import "time"

const (
	// KeptEntries is the number of entries at the end of a revocation feed that are never pruned. A
	// reader whose last entry is one of them can continue from there.
	KeptEntries = 1000

	// SkippedPositions is by how much an entry that revokes the sessions of all users is at least
	// above the head of the feed. A store that has lost commits may have assigned Positions above
	// the head. It has not assigned so many.
	SkippedPositions = 10_000_000

	// Grace is how long an entry is kept after its ExpiresAt, in memory and in the store. It is
	// needed because clocks differ and can be set back.
	Grace = 2 * time.Hour
)

// Entry is an entry of a store's revocation feed. It has the same fields as auth.Revocation, so
// that each type converts to the other. Package auth documents the fields.
type Entry struct {
	Position   int64
	ID         string
	UserID     string // empty if the entry revokes the sessions of all users
	SessionID  string // empty if the entry revokes every session with a lower Generation
	Generation int64
	ExpiresAt  time.Time // zero if a newer entry has replaced this one
}

// IsCapped reports whether the entry names a session and has a Generation equal to its Position.
// Such an entry exists only if the store has lost commits. The session can then have a higher
// generation than the entry, because the store limits the Generation of an entry to its Position.
func (e Entry) IsCapped() bool { return e.SessionID != "" && e.Generation == e.Position }
