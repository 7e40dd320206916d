package githubapi

import (
	"encoding/json"
	"fmt"

	"github.com/sallyport-go/auth/internal/seal"
)

// SealedError means that [Open] cannot decrypt a grant. Its text contains no part of the grant.
type SealedError struct {
	KeyID string // of the key that encrypted the grant; "" if the bytes do not name one
	Known bool   // whether the sealer has a key with this ID
}

// Error returns a message with the ID of the key, which is not secret.
func (e *SealedError) Error() string {
	if e.Known {
		return fmt.Sprintf("the sealing key %q does not decrypt the GitHub token: the key or the "+
			"record has changed, or GODEBUG=fips140=only forbids the cipher of the record", e.KeyID)
	}
	return fmt.Sprintf("the GitHub token is encrypted with the sealing key %q, which is not in "+
		"Config.SealingKeys", e.KeyID)
}

// Seal encrypts the grant, but not its scopes. The result can be opened only for the same user and
// the same GitHub host.
func Seal(s *seal.Sealer, grant Grant, userID, host string) ([]byte, error) {
	text, err := json.Marshal(grant)
	if err != nil {
		return nil, fmt.Errorf("auth: encoding a GitHub token: %w", err)
	}
	return s.Seal(text, userID, host), nil
}

// Open decrypts the result of Seal. The result stale reports whether it should be sealed again: see
// [seal.Sealer.Open]. The only error is a [*SealedError].
func Open(s *seal.Sealer, sealed []byte, userID, host string) (grant Grant, stale bool, err error) {
	text, stale, err := s.Open(sealed, userID, host)
	if err == nil {
		err = json.Unmarshal(text, &grant)
	}
	if err != nil {
		id, known := s.KeyID(sealed)
		return Grant{}, false, &SealedError{id, known}
	}
	return grant, stale, nil
}
