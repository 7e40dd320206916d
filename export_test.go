package auth

// What the tests look at from the inside.

var NewHasher = newHasher

func (h *hasher) Fast(userID, accessKey, secret string) string {
	return h.fast(userID, accessKey, secret)
}

func (h *hasher) MatchFast(stored, userID, accessKey, secret string) (match, stale bool) {
	return h.matchFast(stored, userID, accessKey, secret)
}

// ParseHash returns the form of a stored hash, empty if it is none.
func ParseHash(stored string) (form string) {
	s, err := parseHash(stored)
	if err != nil {
		return ""
	}
	return s.form
}

// SlowCost returns what verifying the stored hash takes.
func SlowCost(stored string) (memory, time uint32, threads uint8, saltLength, hashLength int) {
	s, _ := parseHash(stored)
	return s.argon.memory, s.argon.time, s.argon.threads, len(s.argon.salt), len(s.argon.hash)
}

const PruneBatch = pruneBatch
