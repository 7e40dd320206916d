package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// SigningKey signs and verifies session tokens. Its algorithm belongs to it and is never taken
// from a token (RFC 8725, section 3.1). A ring of keys is a slice: the first signs, all verify.
//
// It prints as "[redacted]".
type SigningKey struct {
	redacted
	get func() *signingKey // nil in the zero value
}

const (
	tokenType       = "JWT"         // the typ of a bearer token
	cookieTokenType = "session+jwt" // the typ of the token in a session cookie
	maxSigningKeyID = 64            // a thumbprint of a key (RFC 7638) has 43 characters
)

type signingKey struct {
	id      string
	method  jwt.SigningMethod
	private any
	public  any
	header  string // the first segment of every bearer token that the key signs
	retired *int64 // the last second, in Unix time, of which it has signed; nil while it signs
}

// NewHS256Key makes a key for HMAC-SHA-256 from the secret, which it copies: at least 32 random
// bytes. Every service that can verify with this key can also sign.
//
// The ID, here and in the functions below, is the token's key ID (kid): 1 to 64 of the characters
// A-Z, a-z, 0-9, "." "_" and "-". If it is empty, it is derived from the key, the same each time.
func NewHS256Key(id string, secret []byte) (SigningKey, error) {
	if err := checkKeySecret("HS256 key", secret); err != nil {
		return SigningKey{}, err
	}
	secret = bytes.Clone(secret)
	return newSigningKey(id, newHS256(secret), secret, secret, func() ([]byte, error) {
		return SymmetricKey{get: func() []byte { return secret }}.derive("key id")
	})
}

// NewES256Key makes a key for ECDSA on the curve P-256 with SHA-256, which it
// copies.
func NewES256Key(id string, private *ecdsa.PrivateKey) (SigningKey, error) {
	if private == nil {
		return SigningKey{}, errors.New("auth: NewES256Key needs a private key")
	}
	if private.Curve != elliptic.P256() {
		return SigningKey{}, errors.New("auth: an ES256 key must be on the curve P-256")
	}
	scalar, err := private.ECDH() // checks that the numbers are in range
	if err != nil {
		return SigningKey{}, fmt.Errorf("auth: not a valid ES256 key: %w", err)
	}
	point, err := private.PublicKey.ECDH()
	if err != nil || !scalar.PublicKey().Equal(point) {
		return SigningKey{}, errors.New("auth: the public half of the ES256 key does not belong to it")
	}
	raw, err := private.Bytes()
	if err != nil {
		return SigningKey{}, fmt.Errorf("auth: not a valid ES256 key: %w", err)
	}
	copied, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return SigningKey{}, fmt.Errorf("auth: not a valid ES256 key: %w", err)
	}
	return newSigningKey(id, lowS{jwt.SigningMethodES256}, copied, &copied.PublicKey, func() ([]byte, error) {
		encoded := point.Bytes() // 4, x, y
		return thumbprint(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, encoded[1:33], encoded[33:]), nil
	})
}

// NewEdDSAKey makes a key for Ed25519, which it copies.
func NewEdDSAKey(id string, private ed25519.PrivateKey) (SigningKey, error) {
	if len(private) != ed25519.PrivateKeySize {
		return SigningKey{}, fmt.Errorf("auth: an EdDSA key must be %d bytes long", ed25519.PrivateKeySize)
	}
	whole := ed25519.NewKeyFromSeed(private.Seed())
	if !bytes.Equal(whole, private) {
		return SigningKey{}, errors.New("auth: the public half of the EdDSA key does not belong to it")
	}
	public := whole.Public().(ed25519.PublicKey)
	return newSigningKey(id, jwt.SigningMethodEdDSA, whole, public, func() ([]byte, error) {
		return thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, public), nil
	})
}

func newSigningKey(id string, method jwt.SigningMethod, private, public any, derive func() ([]byte, error)) (SigningKey, error) {
	if id == "" {
		digest, err := derive()
		if err != nil {
			return SigningKey{}, err
		}
		id = base64.RawURLEncoding.EncodeToString(digest[:16])
	}
	if err := checkKeyID(id, maxSigningKeyID); err != nil {
		return SigningKey{}, err
	}
	key := &signingKey{
		id:      id,
		method:  method,
		private: private,
		public:  public,
		header:  tokenHeader(method, id, tokenType),
	}
	return SigningKey{get: func() *signingKey { return key }}, nil
}

// tokenHeader is the first segment of the tokens of a key, of one type.
func tokenHeader(method jwt.SigningMethod, id, typ string) string {
	header := fmt.Sprintf(`{"alg":"%s","kid":"%s","typ":"%s"}`, method.Alg(), id, typ)
	return base64.RawURLEncoding.EncodeToString([]byte(header))
}

// thumbprint is the JWK thumbprint of a public key (RFC 7638).
func thumbprint(format string, coordinates ...[]byte) []byte {
	encoded := make([]any, len(coordinates))
	for i, c := range coordinates {
		encoded[i] = base64.RawURLEncoding.EncodeToString(c)
	}
	digest := sha256.Sum256(fmt.Appendf(nil, format, encoded...))
	return digest[:]
}

// ID returns the key ID, or "" for the zero SigningKey.
func (k SigningKey) ID() string {
	if k.get == nil {
		return ""
	}
	return k.get().id
}

// algorithm returns "HS256", "ES256" or "EdDSA".
func (k SigningKey) algorithm() string {
	if k.get == nil {
		return ""
	}
	return k.get().method.Alg()
}

// RetiredAt returns the key for verifying tokens that were issued up to the given time, to the
// second, and no later ones: for a key that no longer signs anywhere. An attacker who gets hold of
// it later can make no new token. It cannot be the first of a ring. The time is published with the
// public key, so that a [RemoteVerifier] rejects later tokens, too.
func (k SigningKey) RetiredAt(at time.Time) SigningKey {
	if k.get == nil {
		return k
	}
	retired, second := *k.get(), at.Unix()
	retired.retired = &second
	return SigningKey{get: func() *signingKey { return &retired }}
}

func (k *signingKey) sign(text string) ([]byte, error) {
	return k.method.Sign(text, k.private)
}

func (k *signingKey) verify(text string, signature []byte) bool {
	return k.method.Verify(text, signature, k.public) == nil
}

// lowS is ES256 with one signature per message and nonce. Where (r, s) verifies,
// (r, n-s) does too, and anybody can compute it: a second spelling of a token.
// Of the two, the one with the smaller s counts.
type lowS struct {
	*jwt.SigningMethodECDSA
}

var (
	curveOrder     = elliptic.P256().Params().N
	halfCurveOrder = new(big.Int).Rsh(curveOrder, 1)
)

func (m lowS) Sign(text string, key any) ([]byte, error) {
	signature, err := m.SigningMethodECDSA.Sign(text, key)
	if err != nil {
		return nil, err
	}
	half := signature[len(signature)/2:]
	if s := new(big.Int).SetBytes(half); s.Cmp(halfCurveOrder) > 0 {
		s.Sub(curveOrder, s).FillBytes(half)
	}
	return signature, nil
}

func (m lowS) Verify(text string, signature []byte, key any) error {
	if err := m.SigningMethodECDSA.Verify(text, signature, key); err != nil {
		return err
	}
	if new(big.Int).SetBytes(signature[len(signature)/2:]).Cmp(halfCurveOrder) > 0 {
		return jwt.ErrTokenSignatureInvalid
	}
	return nil
}
