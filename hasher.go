package auth

import (
	"crypto/rand"
	"fmt"
)

func newHasher(ring []SymmetricKey) (*hasher, error) {
	if len(ring) == 0 {
		ring = []SymmetricKey{NoPepper()}
	}
	h := new(hasher)
	for i, k := range ring {
		var key []byte
		var err error
		if !k.isNoPepper() {
			key, err = k.derive("access secret pepper")
		}
		if err != nil {
			return nil, fmt.Errorf("%w (Peppers[%d])", err, i)
		}
		if _, taken := h.pepper(k.id); taken {
			return nil, fmt.Errorf("auth: two peppers have the id %q: give each its own", k.id)
		}
		h.peppers = append(h.peppers, pepper{id: k.id, key: key})
	}
	h.fastDecoy = h.fast(rand.Text(), rand.Text(), rand.Text())
	h.slowDecoy = h.slowForm(randomBytes(16), randomBytes(32))
	return h, nil
}

// hashScheme is one of the two ways, fast and slow, to keep a secret.
type hashScheme struct {
	make  func(userID, accessKey, secret string) string
	match func(stored, userID, accessKey, secret string) (match, stale bool)

	// decoy stands in for a key that is not there, so that it costs what one
	// that is there does.
	decoy AccessKey
}

// decoyUserID is as long as the IDs that we make, and none of them.
const decoyUserID = "--------------------------"

func (h *hasher) fastScheme() hashScheme {
	return hashScheme{h.fast, h.matchFast, AccessKey{UserID: decoyUserID, Hash: h.fastDecoy}}
}

func (h *hasher) slowScheme() hashScheme {
	return hashScheme{h.slow, h.matchSlow, AccessKey{UserID: decoyUserID, Hash: h.slowDecoy}}
}
