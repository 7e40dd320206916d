package secrethash

// Clients returns how many clients the queue remembers.
func (q *Queue) Clients() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.clients)
}
