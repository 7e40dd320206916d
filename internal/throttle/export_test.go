package throttle

// PendingGitHub returns the number of buckets with sign-ins with GitHub that have not ended.
func (t *Throttle) PendingGitHub() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.github)
}
