package revocation

// Users returns how many users have an entry, or space for one.
func (r *Revoked) Users() int {
	n := 0
	for i := range r.shards {
		n += len(r.shards[i].users)
	}
	return n
}

// HoldLookUps makes look-ups of the user's sessions wait until release is called.
func (f *Feed) HoldLookUps(userID string) (release func()) {
	shard := f.revoked.shard(userID)
	shard.Lock()
	return shard.Unlock
}
