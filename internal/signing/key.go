// Package signing implements the keys that sign and verify tokens, for the algorithms HS256, ES256
// and EdDSA. It makes keys and reads them from files. A [Ring] is the set of an issuer's keys. The
// package publishes the public keys of a ring as a JWK set, and fetches the JWK set of a remote
// issuer.
//
// Each key has one algorithm. The algorithm is never taken from a token (RFC 8725, section 3.1).
// The package does not read the claims of a token: a key signs any text, and verifies the signature
// of any text.
//
// The host, which is the service that imports package auth, sees the errors of this package
// unchanged. The text of an error contains no part of a secret key.
package signing

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth/internal/canonical"
)

// TypeJWT is the typ header parameter of a plain token (RFC 7519, section 5.1). Each [Key] encodes
// its header for this type in advance.
const TypeJWT = "JWT"

const (
	// MinSecret is the minimum length of a secret, in bytes.
	MinSecret = 32

	// makeSecret ends the error about a bad secret.
	makeSecret = `make one with "openssl rand -base64 32"`

	// MaxID is the maximum length of a key ID. A JWK thumbprint (RFC 7638) has 43 characters.
	MaxID = 64
)

// Key signs texts and verifies signatures. A key of a remote issuer can only verify. A Key is
// immutable, and safe for concurrent use.
type Key struct {
	id      string
	method  jwt.SigningMethod
	private any         // nil for HS256 (method has the secret), a remote issuer's key, and with a signer
	signer  *hostSigner // signs in place of method; nil unless NewSignerKey made the key
	public  any         // nil for HS256
	header  string      // Header(TypeJWT)
	retired *int64      // the last second, in Unix time, in which the key signed; nil if not retired
}

// NewHS256Key returns a key for HMAC-SHA-256. It copies the secret, which must be at least
// MinSecret bytes long.
//
// The id is the kid header parameter of the tokens that the key signs. If id is empty, NewHS256Key
// derives an ID from the secret. The same secret always gets the same ID.
func NewHS256Key(id string, secret []byte) (*Key, error) {
	id, err := CheckSecret("HS256 key", id, MaxID, secret)
	if err != nil {
		return nil, err
	}
	return newKey(id, newHS256(bytes.Clone(secret)), nil)
}

// NewES256Key returns a key for ECDSA on the curve P-256 with SHA-256. It copies the private key.
// If id is empty, NewES256Key derives an ID from the public key.
func NewES256Key(id string, private *ecdsa.PrivateKey) (*Key, error) {
	if private == nil {
		return nil, errors.New("auth: NewES256Key needs a private key")
	}
	if private.Curve != elliptic.P256() {
		return nil, errors.New("auth: an ES256 key must be on the curve P-256")
	}
	scalar, err := private.ECDH() // ECDH also checks that the numbers are in range
	if err != nil {
		return nil, fmt.Errorf("auth: not a valid ES256 key: %w", err)
	}
	point, err := private.PublicKey.ECDH()
	if err != nil || !scalar.PublicKey().Equal(point) {
		return nil, errors.New("auth: the public half of the ES256 key does not belong to it")
	}
	raw, err := private.Bytes()
	if err != nil {
		return nil, fmt.Errorf("auth: not a valid ES256 key: %w", err)
	}
	copied, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, fmt.Errorf("auth: not a valid ES256 key: %w", err)
	}
	key, err := newES256PublicKey(id, &copied.PublicKey)
	if err != nil {
		return nil, err
	}
	key.private = copied
	return key, nil
}

// newES256PublicKey returns a key that only verifies. It keeps the public key, which must be valid.
func newES256PublicKey(id string, public *ecdsa.PublicKey) (*Key, error) {
	point, err := public.Bytes() // the byte 4, then x, then y
	if err != nil {
		return nil, fmt.Errorf("auth: not a valid ES256 key: %w", err)
	}
	derived := thumbprint(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, point[1:33], point[33:])
	return newKey(cmp.Or(id, derived), lowS{jwt.SigningMethodES256}, public)
}

// NewEdDSAKey returns a key for Ed25519. It copies the private key. If id is empty, NewEdDSAKey
// derives an ID from the public key.
func NewEdDSAKey(id string, private ed25519.PrivateKey) (*Key, error) {
	if len(private) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("auth: EdDSA key is %d bytes; it must be %d", len(private),
			ed25519.PrivateKeySize)
	}
	whole := ed25519.NewKeyFromSeed(private.Seed())
	if !bytes.Equal(whole, private) {
		return nil, errors.New("auth: the public half of the EdDSA key does not belong to it")
	}
	key, err := newEdDSAPublicKey(id, whole.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	key.private = whole
	return key, nil
}

// newEdDSAPublicKey returns a key that only verifies. It keeps the public key.
func newEdDSAPublicKey(id string, public ed25519.PublicKey) (*Key, error) {
	derived := thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, public)
	return newKey(cmp.Or(id, derived), jwt.SigningMethodEdDSA, public)
}

func newKey(id string, method jwt.SigningMethod, public any) (*Key, error) {
	if err := CheckID(id, MaxID); err != nil {
		return nil, err
	}
	key := &Key{id: id, method: method, public: public}
	key.header = key.encodeHeader(TypeJWT)
	return key, nil
}

// CheckID returns an error unless id is a valid key ID. A valid key ID has 1 to maxLength
// characters, and [canonical.IsKeyID] accepts it.
func CheckID(id string, maxLength int) error {
	switch {
	case id == "" || len(id) > maxLength:
		return fmt.Errorf("auth: a key id is %d characters long; it must be 1 to %d", len(id), maxLength)
	case !canonical.IsKeyID(id, maxLength):
		return errors.New(`auth: a key id must be of letters, digits, ".", "_" and "-"`)
	}
	return nil
}

// CheckSecret checks the ID and the secret of a key, and returns the ID. If id is empty,
// CheckSecret derives an ID from the secret: the same secret always gets the same ID. The first
// argument says what the key is, for example "HS256 key", for the text of an error.
//
// CheckSecret returns an error if the secret is too short or can be guessed: see [weakness]. In
// practice, a short secret is a password, a repeated byte comes from a buffer that was never filled,
// and a placeholder comes from the configuration of an example.
func CheckSecret(name, id string, maxLength int, secret []byte) (string, error) {
	if id != "" {
		if err := CheckID(id, maxLength); err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s %q", name, id)
	}
	if len(secret) < MinSecret {
		return "", fmt.Errorf("auth: %s is %d bytes; at least %d are needed: %s", name, len(secret),
			MinSecret, makeSecret)
	}
	if isPaddedText(secret) {
		return "", fmt.Errorf("auth: %s is text with white space, such as a line break, at an end: "+
			"remove it (bytes.TrimSpace), because an instance without the white space would have another "+
			"key", name)
	}
	if flaw := weakness(secret); flaw != "" {
		return "", fmt.Errorf("auth: %s %s; it must be random: %s", name, flaw, makeSecret)
	}
	if id != "" {
		return id, nil
	}
	// Derive nothing but key IDs with this HKDF info. The library derives other keys from the same
	// secret. If it derived one of them with this info, the key ID would reveal a part of that key.
	digest, err := hkdf.Key(sha256.New, secret, nil, "sallyport key id", sha256.Size)
	if err != nil {
		return "", err
	}
	return digestID(digest), nil
}

// thumbprint returns a key ID that is derived from the JWK thumbprint of a public key (RFC 7638).
// The format is a JSON object with the required members, in lexicographic order, and with a %s in
// place of each coordinate.
func thumbprint(format string, coordinates ...[]byte) string {
	encoded := make([]any, len(coordinates))
	for i, c := range coordinates {
		encoded[i] = base64.RawURLEncoding.EncodeToString(c)
	}
	digest := sha256.Sum256(fmt.Appendf(nil, format, encoded...))
	return digestID(digest[:])
}

// digestID returns the first 128 bits of a digest as a key ID. 128 bits are enough to tell keys
// apart.
func digestID(digest []byte) string {
	return base64.RawURLEncoding.EncodeToString(digest[:16])
}

// ID returns the key ID.
func (k *Key) ID() string { return k.id }

// Algorithm returns "HS256", "ES256" or "EdDSA".
func (k *Key) Algorithm() string { return k.method.Alg() }

// IsAsymmetric reports whether other services can verify the signatures of the key, because it has a
// public half.
func (k *Key) IsAsymmetric() bool { return k.public != nil }

// Header returns the encoded header that the key gives to tokens of this type. The encoded header
// is the first segment of such a token.
func (k *Key) Header(typ string) string {
	if typ == TypeJWT {
		return k.header
	}
	return k.encodeHeader(typ)
}

func (k *Key) encodeHeader(typ string) string {
	header := fmt.Sprintf(`{"alg":"%s","kid":"%s","typ":"%s"}`, k.method.Alg(), k.id, typ)
	return base64.RawURLEncoding.EncodeToString([]byte(header))
}

// RetiredAt returns a copy of the key that is marked as retired. The caller passes a time in the last
// second in which the key signed.
func (k *Key) RetiredAt(at time.Time) *Key {
	retired, second := *k, at.Unix()
	retired.retired = &second
	return &retired
}

// Equal reports whether both keys have the same ID, algorithm and time of retirement, and whether
// each makes and accepts the signatures of the other. Keys of [NewSignerKey] are equal only if their
// signers are, because another signer with the same key may replace one whose connection is closed.
func (k *Key) Equal(other *Key) bool {
	switch {
	case k.header != other.header, (k.private == nil) != (other.private == nil):
		return false // the header has the algorithm and the ID
	case !k.signer.same(other.signer):
		return false
	case (k.retired == nil) != (other.retired == nil), k.retired != nil && *k.retired != *other.retired:
		return false
	}
	if public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool }); ok {
		return public.Equal(other.public)
	}
	// HS256 keys do not reveal their secrets. Only keys with the same secret have the same HMAC.
	const text = "Key.Equal" // not the text of a token, which contains a dot between two segments
	signature, err := k.Sign(context.Background(), text)
	return err == nil && other.Verify(text, signature)
}

// Retired returns the last second in which the key signed, or the zero time if the key is not retired.
func (k *Key) Retired() time.Time {
	if k.retired == nil {
		return time.Time{}
	}
	return time.Unix(*k.retired, 0).UTC()
}

// fingerprintText is the text of the HMAC in a fingerprint. A token always contains a dot, so the HMAC
// is not the signature of a token.
const fingerprintText = "sallyport key fingerprint"

// Fingerprint returns a text that is equal for two keys only if their secrets or public keys are equal,
// whatever their IDs are. It reveals nothing about a secret.
func (k *Key) Fingerprint() string {
	if k.public == nil {
		signature, _ := k.method.Sign(fingerprintText, k.private) // hs256 returns no error
		return digestID(signature)
	}
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return "" // never happens: the constructors accept no other kind of key
	}
	digest := sha256.Sum256(der)
	return digestID(digest[:])
}

// SecretFingerprint returns the [Key.Fingerprint] of an HS256 key with this secret.
func SecretFingerprint(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(fingerprintText))
	return digestID(mac.Sum(nil))
}

// RetiredBefore reports whether the key was retired before the given second of Unix time.
func (k *Key) RetiredBefore(second int64) bool {
	return k.retired != nil && second > *k.retired
}

// Sign returns the signature of the text. If [NewSignerKey] made the key, Sign can take up to five
// seconds. If ctx is done first, Sign returns an error that wraps the error of ctx. If the signer
// fails, the error wraps [ErrSigner]. For other keys, Sign does not use ctx.
func (k *Key) Sign(ctx context.Context, text string) ([]byte, error) {
	if k.signer != nil {
		return k.signer.sign(ctx, text)
	}
	return k.method.Sign(text, k.private)
}

// Verify reports whether the key made this signature of the text.
func (k *Key) Verify(text string, signature []byte) bool {
	return k.method.Verify(text, signature, k.public) == nil
}

// lowS is ES256 with only one valid spelling of each signature. If the ECDSA signature (r, s) is
// valid, the signature (r, n-s) is valid, too, where n is the order of the curve. Anyone can
// compute (r, n-s), so each token would have a second spelling. Therefore lowS makes and accepts
// only the signature with the smaller s.
type lowS struct {
	*jwt.SigningMethodECDSA
}

var (
	curveOrder     = elliptic.P256().Params().N
	halfCurveOrder = new(big.Int).Rsh(curveOrder, 1)
)

// Sign signs the text, and returns the signature with the smaller s.
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

// Verify returns an error unless the signature is valid and has the smaller s.
func (m lowS) Verify(text string, signature []byte, key any) error {
	if err := m.SigningMethodECDSA.Verify(text, signature, key); err != nil {
		return err
	}
	if new(big.Int).SetBytes(signature[len(signature)/2:]).Cmp(halfCurveOrder) > 0 {
		return jwt.ErrTokenSignatureInvalid
	}
	return nil
}
