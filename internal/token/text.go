package token

import (
	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/signing"
)

// OpenText verifies that one of the ring's keys has signed a text of at most maxLength bytes, and that
// the text has exactly the given type, which must not be a type of tokens. It returns the claims and the
// key. OpenText is as strict about the form as [Verifier.Verify], but it does not read the claims. Its
// errors wrap ErrRejected.
func OpenText(ring *signing.Ring, typ, text string, maxLength int) ([]byte, *signing.Key, error) {
	v := Verifier{Type: typ}
	segment, key, _, err := v.open(ring, text, maxLength)
	if err != nil {
		return nil, nil, err
	}
	claims, err := canonical.DecodeBase64URL(segment)
	if err != nil {
		return nil, nil, ErrMalformed
	}
	return claims, key, nil
}
