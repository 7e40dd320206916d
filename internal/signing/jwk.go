package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth/internal/canonical"
)

const (
	maxJWKS     = 256 << 10 // maximum length of a JWK set, in bytes
	maxJWKSKeys = 64        // maximum number of keys in a JWK set
	maxReasons  = 3         // maximum number of ignored keys for which a message gives the reason
)

// encodeJWKS returns the public keys as a JWK set. It leaves out symmetric keys, because a reader
// of the set could sign tokens with them.
func encodeJWKS(keys []*Key) ([]byte, error) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{}} // an empty set is [], not null
	for _, key := range keys {
		public := jwk{ID: key.id, Algorithm: key.Algorithm(), Use: "sig", RetiredAt: key.retired}
		switch k := key.public.(type) {
		case *ecdsa.PublicKey:
			point, err := k.Bytes() // the byte 4, then x, then y
			if err != nil {
				return nil, fmt.Errorf("auth: encoding the public key %q: %w", key.id, err)
			}
			x, y := segment(point[1:33]), segment(point[33:])
			public.KeyType, public.Curve, public.X, public.Y = "EC", "P-256", x, y
		case ed25519.PublicKey:
			public.KeyType, public.Curve, public.X = "OKP", "Ed25519", segment(k)
		default:
			continue
		}
		set.Keys = append(set.Keys, public)
	}
	return json.Marshal(set)
}

// errNoKeys means that no key in the JWK set of an issuer can verify tokens.
var errNoKeys = errors.New("no key of ES256 or EdDSA for signatures")

// errSecretPublished means that an issuer publishes a private or symmetric key. Anyone can sign
// tokens with that key, and the issuer may publish its other keys in the same way.
var errSecretPublished = errors.New("publishes a secret key, which must be replaced")

// ParseJWKS parses a JWK set, and returns a ring. The ring has the keys of the set that can verify
// tokens. The ring cannot sign. As RFC 7517, section 5, says, ParseJWKS ignores keys of other kinds
// and for other uses. A key may be repeated. If different keys have the same ID, ParseJWKS ignores
// all of them: the kid of a token would not say which of these keys signed the token.
//
// [Ring.Ignored] says why keys are ignored. ParseJWKS returns an error if no key is left, or if the
// set contains a private or symmetric key.
func ParseJWKS(text []byte) (*Ring, error) {
	if len(text) > maxJWKS {
		return nil, fmt.Errorf("more than %d bytes", maxJWKS)
	}
	set, isSet, err := parseSet(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a JWK set: %w", err)
	case !isSet:
		return nil, errors.New("not a JWK set: it has no keys")
	case len(set) > maxJWKSKeys:
		return nil, fmt.Errorf("more than %d keys", maxJWKSKeys)
	}
	ring, ambiguous := &Ring{}, map[string]bool{}
	var ignored []string
	for i, member := range set {
		k, err := parseJWK(member.Raw())
		if k.hasSecret {
			return nil, fmt.Errorf("the JWK set %w (%s)", errSecretPublished, k.label(i))
		}
		var key *Key
		if err == nil {
			key, err = k.publicKey()
		}
		switch {
		case err != nil:
			ignored = append(ignored, fmt.Sprintf("%s: %v", k.label(i), err))
		case !ring.add(key) && !key.equal(ring.ByID(key.id)):
			ambiguous[key.id] = true
			ignored = append(ignored, k.label(i)+": another key has the same kid")
		}
	}
	for id := range ambiguous {
		delete(ring.byHeader, ring.byID[id].header)
		delete(ring.byID, id)
	}
	ring.order = slices.DeleteFunc(ring.order, func(key *Key) bool { return ambiguous[key.id] })
	switch ring.ignored = listIgnored(ignored); {
	case len(set) == 0:
		return nil, fmt.Errorf("the JWK set has %w: it is empty, like that of an issuer with HS256 keys only",
			errNoKeys)
	case len(ring.byID) == 0:
		return nil, fmt.Errorf("the JWK set has %w (%s)", errNoKeys, ring.ignored)
	}
	return ring, nil
}

// listIgnored returns the reasons why keys of a set are ignored, or "" if no key is ignored.
func listIgnored(ignored []string) string {
	more := ""
	if n := len(ignored) - maxReasons; n > 0 {
		ignored, more = ignored[:maxReasons], fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(ignored, "; ") + more
}

// equal reports whether two public keys are the same key, with the same retirement.
func (k *Key) equal(other *Key) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	sameRetirement := (k.retired == nil) == (other.retired == nil) &&
		(k.retired == nil || *k.retired == *other.retired)
	return ok && public.Equal(other.public) && sameRetirement
}

// publicKey returns the public key in a JWK. It returns an error if the key cannot verify tokens.
// The text of the error contains nothing of the JWK, because the JWK is another machine's.
func (k *jwk) publicKey() (*Key, error) {
	switch {
	case k.ID == "":
		return nil, errors.New("it has no kid")
	case !canonical.IsKeyID(k.ID, MaxID):
		return nil, fmt.Errorf(`kid must be 1 to %d letters, digits, ".", "_" and "-"`, MaxID)
	case k.Use != "" && k.Use != "sig":
		return nil, errors.New(`use is not "sig"`)
	case k.Uses != nil && !slices.Contains(k.Uses, "verify"): // RFC 7517, section 4.3
		return nil, errors.New(`key_ops does not have "verify"`)
	}
	key := &Key{id: k.ID, retired: k.RetiredAt}
	switch {
	case k.KeyType == "EC" && k.Curve == "P-256":
		public, err := k.ecdsaPublic()
		if err != nil {
			return nil, err
		}
		key.method, key.public = lowS{jwt.SigningMethodES256}, public
	case k.KeyType == "OKP" && k.Curve == "Ed25519":
		public, err := k.ed25519Public()
		if err != nil {
			return nil, err
		}
		key.method, key.public = jwt.SigningMethodEdDSA, public
	default:
		return nil, errors.New("it must be EC and P-256, or OKP and Ed25519")
	}
	if k.Algorithm != "" && k.Algorithm != key.method.Alg() {
		return nil, fmt.Errorf("alg is not %s", key.method.Alg())
	}
	key.header = key.encodeHeader(TypeJWT)
	return key, nil
}
