package memstore

// Owners returns how many users the store has anything of.
func (s *accounts) Owners() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.users)
}

// Events returns how many events the longest of the lists and indexes has.
func (s *accounts) Events() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := &s.trail
	most := max(len(t.events), len(t.byID), len(t.waiting))
	for _, index := range []map[string]eventList{t.byUser, t.byActor} {
		indexed := 0
		for _, list := range index {
			indexed += len(list)
		}
		most = max(most, indexed)
	}
	return most
}
