package revocationmodel

// Broken implements [Model]. It checks the answer of each instance to each token in two cases: the
// store answers during the request, or it does not.
func (m *World) Broken(s worldState) string {
	if s.broken != 0 {
		return "a session made a lasting change after its revocation was committed"
	}
	for i := range s.instances {
		for n, t := range s.tokens {
			if !t.issued {
				continue
			}
			for _, answers := range []bool{true, false} {
				after := s
				if problem := m.judge(&after, m.answer(&after, i, n, answers), i, n); problem != "" {
					return problem
				}
			}
		}
	}
	return ""
}

// judge returns the promise that an answer to a token breaks, or "".
func (m *World) judge(s *worldState, verdict Verdict, i, n int) string {
	t := &s.tokens[n]
	tooLate := func(since uint8) bool { // since is a number of ticks, plus one
		return since > 1 && verdict == Accepted || since > m.Bounds.Staleness && verdict == Stale
	}
	switch {
	case verdict == Refused && s.rows&bit(int8(n)) != 0 && t.revoked == 0 && !t.folded &&
		!s.instances[i].outdated:
		return "a session was refused that the store has and that was never revoked"
	case t.revoked > 0 && !t.lost && tooLate(t.revoked):
		return "a token was accepted too late after its revocation was acknowledged"
	case t.lost && tooLate(s.proven):
		return "a token was accepted whose revocation was lost, although lost commits had been proven"
	}
	return ""
}
