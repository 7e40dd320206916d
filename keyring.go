package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/sallyport-go/auth/internal/canonical"
)

// keyRing is the signing keys as they are at one time. It does not change.
type keyRing struct {
	signer *signingKey
	byID   map[string]*signingKey
	jwks   []byte
	etag   string // of jwks

	// byHeader is for headers of bearer tokens as this package writes them, which need not be
	// read.
	byHeader map[string]*signingKey
}

// add reports whether the key could be added: no other has its id.
func (r *keyRing) add(key *signingKey) bool {
	if r.byID[key.id] != nil {
		return false
	}
	if r.byID == nil {
		r.byID, r.byHeader = map[string]*signingKey{}, map[string]*signingKey{}
	}
	r.byID[key.id], r.byHeader[key.header] = key, key
	return true
}

func newKeyRing(keys []SigningKey) (*keyRing, error) {
	if len(keys) == 0 {
		return nil, errors.New("auth: SigningKeys must have at least one key")
	}
	ring := &keyRing{}
	for i, k := range keys {
		if k.get == nil {
			return nil, fmt.Errorf("auth: SigningKeys[%d] is empty: make it with NewHS256Key, NewES256Key or NewEdDSAKey", i)
		}
		if !ring.add(k.get()) {
			return nil, fmt.Errorf("auth: two signing keys have the id %q: give each its own", k.ID())
		}
	}
	ring.signer = keys[0].get()
	if ring.signer.retired != nil {
		return nil, fmt.Errorf("auth: the first signing key, %q, signs, and is retired: put the one that replaces it in front", ring.signer.id)
	}
	var err error
	if ring.jwks, err = encodeJWKS(keys); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(ring.jwks)
	ring.etag = fmt.Sprintf(`"%x"`, digest[:16])
	return ring, nil
}

// jwk is a key as RFC 7517, RFC 7518 (section 6) and RFC 8037 write it.
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

	// RetiredAt is the last second, in Unix time, in which the key signed. It is a private member
	// (RFC 7517, section 4), which verifiers that do not know it ignore.
	RetiredAt *int64 `json:"sallyport_retired_at,omitempty"`
}

type jwkSet struct {
	Keys []jwk `json:"keys"`
}

// segment is bytes that are written in base64url, in the one strict spelling.
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

func encodeJWKS(keys []SigningKey) ([]byte, error) {
	set := jwkSet{Keys: []jwk{}} // [], not null
	for _, k := range keys {
		public := jwk{ID: k.ID(), Algorithm: k.algorithm(), Use: "sig", RetiredAt: k.get().retired}
		switch key := k.get().public.(type) {
		case *ecdsa.PublicKey:
			point, err := key.Bytes() // 4, x, y
			if err != nil {
				return nil, fmt.Errorf("auth: encoding the public key %q: %w", k.ID(), err)
			}
			x, y := segment(point[1:33]), segment(point[33:])
			public.KeyType, public.Curve, public.X, public.Y = "EC", "P-256", &x, &y
		case ed25519.PublicKey:
			x := segment(key)
			public.KeyType, public.Curve, public.X = "OKP", "Ed25519", &x
		default:
			continue // symmetric
		}
		set.Keys = append(set.Keys, public)
	}
	return json.Marshal(set)
}
