package memstore

// Owners returns the number of users of whom the store has a record.
func (s *accounts) Owners() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.users)
}

// Events returns the number of events in the largest list or index of the trail.
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
