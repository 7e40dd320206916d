package signing

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth/internal/canonical"
)

const (
	maxJWKS     = 256 << 10 // maximum length of a JWK set, in bytes
	maxJWKSKeys = 64        // maximum number of keys in a JWK set
)

// jwk is a JSON Web Key (RFC 7517). Its parameters are those of RFC 7518, section 6, and RFC 8037.
type jwk struct {
	KeyType   string   `json:"kty"`
	Curve     string   `json:"crv,omitempty"`
	X         *segment `json:"x,omitempty"`
	Y         *segment `json:"y,omitempty"`
	D         *segment `json:"d,omitempty"` // the private half
	K         *segment `json:"k,omitempty"` // a symmetric key
	ID        string   `json:"kid,omitempty"`
	Algorithm string   `json:"alg,omitempty"`
	Use       string   `json:"use,omitempty"`
	Uses      []string `json:"key_ops,omitempty"`

	// RetiredAt is the last second, in Unix time, in which the key signed. It is nil if the key is
	// not retired. This JWK member is a private extension (RFC 7517, section 4). Verifiers ignore a
	// member that they do not know.
	RetiredAt *int64 `json:"sallyport_retired_at,omitempty"`
}

type jwkSet struct {
	Keys []jwk `json:"keys"`
}

// segment is a byte slice that JSON contains as base64url. UnmarshalText accepts only the strict
// spelling, without padding.
type segment []byte

func (s segment) MarshalText() ([]byte, error) {
	return canonical.Base64URL.AppendEncode(nil, s), nil
}

func (s *segment) UnmarshalText(text []byte) (err error) {
	if !canonical.IsBase64URL(string(text)) {
		return errors.New("not base64url without padding")
	}
	*s, err = canonical.DecodeBase64URL(string(text))
	return err
}

// encodeJWKS returns the public keys as a JWK set. It leaves out symmetric keys, because a reader
// of the set could sign tokens with them.
func encodeJWKS(keys []*Key) ([]byte, error) {
	set := jwkSet{Keys: []jwk{}} // an empty set is [], not null
	for _, key := range keys {
		public := jwk{ID: key.id, Algorithm: key.Algorithm(), Use: "sig", RetiredAt: key.retired}
		switch k := key.public.(type) {
		case *ecdsa.PublicKey:
			point, err := k.Bytes() // the byte 4, then x, then y
			if err != nil {
				return nil, fmt.Errorf("auth: encoding the public key %q: %w", key.id, err)
			}
			x, y := segment(point[1:33]), segment(point[33:])
			public.KeyType, public.Curve, public.X, public.Y = "EC", "P-256", &x, &y
		case ed25519.PublicKey:
			x := segment(k)
			public.KeyType, public.Curve, public.X = "OKP", "Ed25519", &x
		default:
			continue
		}
		set.Keys = append(set.Keys, public)
	}
	return json.Marshal(set)
}

// errNoKeys means that an issuer has no public keys for tokens. Either no key in the JWK set of the
// issuer can verify tokens, or the issuer refuses to return the JWK set.
var errNoKeys = errors.New("no key of ES256 or EdDSA for signatures")

// ParseJWKS parses a JWK set, and returns a ring. The ring has the keys of the set that can verify
// tokens. The ring cannot sign. As RFC 7517, section 5, says, ParseJWKS ignores keys of other kinds
// and for other uses. If several keys have the same ID, ParseJWKS ignores all of them: the kid of a
// token would not say which of these keys signed the token. ParseJWKS returns an error if no key is
// left.
func ParseJWKS(text []byte) (*Ring, error) {
	if len(text) > maxJWKS {
		return nil, fmt.Errorf("more than %d bytes", maxJWKS)
	}
	var set struct{ Keys *[]json.RawMessage } // Keys is nil if the required member is absent
	if err := json.Unmarshal(text, &set); err != nil || set.Keys == nil {
		return nil, errors.New("not a JWK set")
	}
	if len(*set.Keys) > maxJWKSKeys {
		return nil, fmt.Errorf("more than %d keys", maxJWKSKeys)
	}
	var keys []*Key
	sharing := map[string]int{} // number of keys with each ID
	for _, member := range *set.Keys {
		if key := parsePublicKey(member); key != nil {
			keys = append(keys, key)
			sharing[key.id]++
		}
	}
	ring := &Ring{}
	for _, key := range keys {
		if sharing[key.id] == 1 {
			ring.add(key)
		}
	}
	if len(ring.byID) == 0 {
		return nil, fmt.Errorf("the JWK set has %w", errNoKeys)
	}
	return ring, nil
}

// parsePublicKey returns the public key in a JWK, or nil if the key cannot verify tokens.
func parsePublicKey(text []byte) *Key {
	var k jwk
	if json.Unmarshal(text, &k) != nil || !canonical.IsKeyID(k.ID, maxID) || k.Use != "" && k.Use != "sig" {
		return nil
	}
	key := &Key{id: k.ID, retired: k.RetiredAt}
	switch {
	case k.KeyType == "EC" && k.Curve == "P-256":
		public, err := k.ecdsaPublic()
		if err != nil {
			return nil
		}
		key.method, key.public = lowS{jwt.SigningMethodES256}, public
	case k.KeyType == "OKP" && k.Curve == "Ed25519":
		public, err := k.ed25519Public()
		if err != nil {
			return nil
		}
		key.method, key.public = jwt.SigningMethodEdDSA, public
	default:
		return nil
	}
	if k.Algorithm != "" && k.Algorithm != key.method.Alg() {
		return nil
	}
	key.header = key.encodeHeader(TypeJWT)
	return key
}

// ecdsaPublic returns the public key of a JWK on P-256.
func (k *jwk) ecdsaPublic() (*ecdsa.PublicKey, error) {
	const size = 32
	if k.X == nil || k.Y == nil || len(*k.X) != size || len(*k.Y) != size { // RFC 7518, section 6.2.1.2
		return nil, fmt.Errorf("auth: x and y of a JWK on P-256 must be %d bytes each", size)
	}
	point := append(append([]byte{4}, *k.X...), *k.Y...)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("auth: x and y of the JWK are not valid: %w", err)
	}
	return public, nil
}

// ed25519Public returns the public key of a JWK for Ed25519.
func (k *jwk) ed25519Public() (ed25519.PublicKey, error) {
	if k.X == nil || len(*k.X) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("auth: x of a JWK of Ed25519 must be %d bytes", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(*k.X), nil
}
