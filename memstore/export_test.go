package memstore

// Owners returns how many users the store has anything of.
func (s *accounts) Owners() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.users)
}
