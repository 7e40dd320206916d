package signing

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ring is the set of an issuer's keys at one time. All keys verify tokens, and the first key signs
// tokens. The keys of a remote issuer only verify. A Ring is immutable. The zero Ring has no keys.
type Ring struct {
	signer *Key // nil in the ring of a remote issuer
	byID   map[string]*Key
	order  []*Key // in the order of the list or the set from which the ring was made
	jwks   []byte // ends with a newline; empty in the ring of a remote issuer
	etag   string

	ignored string // why keys of the parsed set are not in the ring

	// byHeader maps the encoded header of tokens of type TypeJWT to the key that the header names.
	// If the header of a token is found in this map, the header needs no parsing.
	byHeader map[string]*Key
}

// NewRing returns a ring of the keys. It returns an error if there is no key, if a key is nil, or
// if two keys have the same ID. The first key signs, so NewRing also returns an error if the first
// key is retired.
func NewRing(keys []*Key) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("auth: SigningKeys must have at least one key")
	}
	ring := &Ring{signer: keys[0]}
	for i, key := range keys {
		if key == nil {
			return nil, fmt.Errorf("auth: SigningKeys[%d] is empty: make it with NewHS256Key, "+
				"NewES256Key, NewEdDSAKey or NewSignerKey", i)
		}
		if !ring.add(key) {
			return nil, fmt.Errorf("auth: SigningKeys[%d] has the id %q of an earlier key: give each its own",
				i, key.id)
		}
	}
	if ring.signer.retired != nil {
		return nil, fmt.Errorf(
			"auth: SigningKeys[0], %q, signs, and is retired: put the one that replaces it in front",
			ring.signer.id)
	}
	jwks, err := encodeJWKS(keys)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(jwks)
	ring.jwks = append(jwks, '\n')
	ring.etag = fmt.Sprintf(`"%x"`, digest[:16])
	return ring, nil
}

// add adds the key unless another key has the same ID. It reports whether it added the key.
func (r *Ring) add(key *Key) bool {
	if r.byID[key.id] != nil {
		return false
	}
	if r.byID == nil {
		r.byID, r.byHeader = map[string]*Key{}, map[string]*Key{}
	}
	r.byID[key.id], r.byHeader[key.header] = key, key
	r.order = append(r.order, key)
	return true
}

// maxListed is the maximum number of keys that [Ring.Summary] lists.
const maxListed = 6

// Summary lists the IDs of the keys in order, and says what each key does. It contains no part of a
// key.
func (r *Ring) Summary() string {
	var text strings.Builder
	for i, key := range r.order {
		if i > 0 {
			text.WriteString("; ")
		}
		switch {
		case i == maxListed:
			fmt.Fprintf(&text, "and %d more", len(r.order)-i)
			return text.String()
		case key == r.signer:
			fmt.Fprintf(&text, "%q signs", key.id)
		case key.retired != nil:
			at := time.Unix(*key.retired, 0).UTC().Format(time.RFC3339)
			fmt.Fprintf(&text, "%q verifies tokens issued until %s", key.id, at)
		default:
			fmt.Fprintf(&text, "%q verifies", key.id)
		}
	}
	return text.String()
}

// Signer returns the key that signs, or nil if the ring has only public keys.
func (r *Ring) Signer() *Key { return r.signer }

// Equal reports whether both rings have equal keys in the same order: see [Key.Equal].
func (r *Ring) Equal(other *Ring) bool { return slices.EqualFunc(r.order, other.order, (*Key).Equal) }

// ByID returns the key with this ID, or nil.
func (r *Ring) ByID(id string) *Key { return r.byID[id] }

// ByHeader returns the key that gives this encoded header to tokens of type [TypeJWT]. If ByHeader
// returns nil, the header may still name a key of the ring. For example, a header with its members
// in another order is also valid.
func (r *Ring) ByHeader(segment string) *Key { return r.byHeader[segment] }

// Ignored says which keys of the set that [ParseJWKS] parsed are not in the ring, and why. It returns
// "" if all keys are in the ring. If more than three keys are ignored, it gives the reasons for the
// first three, and the number of the others.
func (r *Ring) Ignored() string { return r.ignored }

// JWKS returns the public keys as a JWK set. The caller must not change the result.
func (r *Ring) JWKS() []byte { return bytes.TrimSuffix(r.jwks, []byte{'\n'}) }

// JWKSLine returns the text of JWKS with a newline at the end. It makes no copy, so the caller must
// not change the result.
func (r *Ring) JWKSLine() []byte { return r.jwks }

// ETag returns the entity tag of JWKS, with its quotes.
func (r *Ring) ETag() string { return r.etag }
