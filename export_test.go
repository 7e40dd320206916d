package auth

import (
	"time"
)

// What the tests look at from the inside.

// KnownRevocations returns how many entries the instance has in memory.
func (s *Service) KnownRevocations() int64 { return s.tokens.feed.known.count.Load() }

// Revocations is what an instance knows of ended sessions, alone.
type Revocations struct{ known *revocations }

func NewRevocations() *Revocations { return &Revocations{newRevocations()} }

func (r *Revocations) Add(entries []Revocation, now time.Time) { r.known.add(entries, now) }
func (r *Revocations) Count() int64                            { return r.known.count.Load() }

func (r *Revocations) Ended(userID, sessionID string, generation int64) bool {
	return r.known.isRevoked(userID, sessionID, generation)
}
