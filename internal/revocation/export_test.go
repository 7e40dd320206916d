package revocation

// Users returns the number of users for whom the set uses memory.
func (r *Revoked) Users() int {
	n := 0
	for i := range r.shards {
		n += len(r.shards[i].users)
	}
	return n
}

// HoldLookUps makes every look-up of the user's sessions wait until release is called.
func (f *Feed) HoldLookUps(userID string) (release func()) {
	shard := f.revoked.shard(userID)
	shard.Lock()
	return shard.Unlock
}

// KeepTail makes the Feed keep its tail from now on, as the first call of Tail does.
func (f *Feed) KeepTail() { f.keepsTail.Store(true) }

// Knows reports whether an entry that has been read revokes the session.
func (f *Feed) Knows(userID, sessionID string, generation int64) bool {
	return f.revoked.Contains(userID, sessionID, generation)
}
