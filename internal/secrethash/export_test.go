package secrethash

// Clients returns the number of clients that the queue remembers.
func (q *Queue) Clients() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.clients)
}
