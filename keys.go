package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/seal"
	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/sallyport-go/auth/internal/signing"
)

// Secret is text that must not be shown, such as an access secret or a token. Packages fmt,
// log/slog and encoding/json print "[redacted]" in its place, even if the Secret is part of another
// value. Reveal returns the text. The zero Secret is empty. Secrets cannot be compared with ==.
type Secret struct {
	redacted
	text *string // a pointer, because fmt does not follow it: see redacted
}

// NewSecret returns the secret with this text.
func NewSecret(text string) Secret {
	return Secret{text: &text}
}

// Reveal returns the text of the secret, or "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// KeyPair is an access key and its secret. A client sends both to sign in.
//
// A generated pair with the default prefixes has the form
//
//	ak_live_ + 20 characters + 6 characters of checksum
//	as_live_ + the same 20 characters + 43 characters of 256 random bits + 6 characters of checksum
//
// with the characters 0-9, A-Z and a-z. The checksum is the CRC-32 of everything before it. With
// the checksum, the service rejects a mistyped key without a call of the store. A scanner can use
// the checksum to distinguish a leaked secret from other text. If a secret has leaked, its first 20
// characters after the prefix say which key it belongs to.
//
// Only the method that makes a pair returns its secret. If the method returns an error, for example because
// its context has ended, the store may have made the change at the last moment, and nobody knows the secret.
// Then call the method again, and revoke the key that the first call may have left.
type KeyPair struct {
	AccessKey    string // public: it may be logged and shown
	AccessSecret Secret
}

const maxSymmetricKeyID = secrethash.MaxPepperID // each stored hash contains the ID of its pepper

// SymmetricKey is a secret key of at least 32 bytes with an ID. Make one with [NewSymmetricKey].
// Each hash and each ciphertext is stored with the ID of the key that made it. A SymmetricKey
// prints as "[redacted]".
//
// A slice of the keys in use is called a ring. The first key makes new hashes and ciphertexts, and
// all keys can check or decrypt existing ones. To replace a key, first append the new key on every
// instance, and then move the new key to the front. Remove the old key when no hash and no
// ciphertext with the ID of the old key is left.
type SymmetricKey struct {
	redacted
	id  string
	get func() []byte // nil in the zero value
}

// NewSymmetricKey returns a key with a copy of the secret. The secret must be at least 32 bytes
// from a cryptographic random source, such as crypto/rand or `openssl rand -base64 32`. It is
// checked like the secret of [NewHS256Key].
//
// The ID must consist of 1 to 32 of the characters A-Z, a-z, 0-9, "." "_" and "-". If the ID is
// empty, it is derived from the secret, as in [NewHS256Key]. Two different secrets must never have
// the same ID, even if they are not in use at the same time.
func NewSymmetricKey(id string, secret []byte) (SymmetricKey, error) {
	id, err := signing.CheckSecret("symmetric key", id, maxSymmetricKeyID, secret)
	if err != nil {
		return SymmetricKey{}, err
	}
	secret = bytes.Clone(secret)
	return SymmetricKey{id: id, get: func() []byte { return secret }}, nil
}

// NoPepper returns an element for [CredentialConfig.Peppers]. If this element is in the list,
// hashes without a pepper are accepted. If it is the first element, new hashes have no pepper. The
// element is not a key. In any other list of keys, it leads to an error.
func NoPepper() SymmetricKey {
	return SymmetricKey{get: func() []byte { return nil }}
}

func (k SymmetricKey) isNoPepper() bool { return k.id == "" && k.get != nil }

// derivePeppers returns the peppers for the hashes of access secrets. Each pepper is derived from
// one key of the ring. The element that [NoPepper] returns leads to an empty pepper.
func derivePeppers(ring []SymmetricKey) ([]secrethash.Pepper, error) {
	peppers := make([]secrethash.Pepper, len(ring))
	for i, k := range ring {
		if k.isNoPepper() {
			continue
		}
		key, err := k.derive("access secret pepper")
		if err != nil {
			return nil, fmt.Errorf("auth: CredentialConfig.Peppers[%d] %w", i, err)
		}
		peppers[i] = secrethash.Pepper{ID: k.id, Key: key}
	}
	return peppers, nil
}

// newSealer returns a sealer for the purpose, with keys derived from the ring.
func newSealer(ring []SymmetricKey, purpose string) (*seal.Sealer, error) {
	keys := make([]seal.Key, len(ring))
	for i, k := range ring {
		key, err := k.derive("seal " + purpose)
		if err != nil {
			return nil, fmt.Errorf("auth: Config.SealingKeys[%d] %w", i, err)
		}
		keys[i] = seal.Key{ID: k.id, Bytes: key}
	}
	return seal.New(keys, purpose)
}

// newCookies returns a [seal.Cookies] for pages at the origin. The names and attributes of the cookies
// depend only on the origin, never on a request.
func newCookies(sealer *seal.Sealer, origin string) seal.Cookies {
	return seal.Cookies{Sealer: sealer, PlainHTTP: strings.HasPrefix(origin, "http:")}
}

// derive returns a 32-byte key for one purpose. Keys for different purposes are independent.
// Therefore, a ciphertext that was made for one purpose cannot be decrypted for another, although
// both purposes use the same ring. The purpose must not be "key id", because package signing
// derives the IDs of keys with that text. The text of an error continues a sentence that begins
// with the place of the key.
func (k SymmetricKey) derive(purpose string) ([]byte, error) {
	if k.get == nil {
		return nil, errors.New("is empty: make it with NewSymmetricKey")
	}
	secret := k.get()
	if len(secret) < signing.MinSecret { // NoPepper has no secret, so anyone could derive its keys
		return nil, errors.New("is NoPepper, which is no key: it belongs in CredentialConfig.Peppers only")
	}
	return hkdf.Key(sha256.New, secret, nil, "sallyport "+purpose, 32)
}

// SigningKey signs and verifies session tokens. A slice of the keys in use is called a ring. The
// first key signs, and all keys verify. The algorithm depends only on the key and is never taken
// from a token (RFC 8725, section 3.1). A SigningKey prints as "[redacted]".
type SigningKey struct {
	redacted
	get func() *signing.Key // nil in the zero value
}

// newSigningKey wraps the result of a constructor of package signing.
func newSigningKey(key *signing.Key, err error) (SigningKey, error) {
	if err != nil {
		return SigningKey{}, err
	}
	return SigningKey{get: func() *signing.Key { return key }}, nil
}

// NewHS256Key returns a key for HMAC-SHA-256 with a copy of the secret, which must be at least 32
// random bytes, such as the output of `openssl rand -base64 32`. NewHS256Key refuses repetitions,
// sequences and the placeholders of examples. Every service that can verify tokens with this key
// can also sign them.
//
// The ID is the key ID (kid) of tokens. It must consist of 1 to 64 of the characters A-Z, a-z, 0-9,
// "." "_" and "-". If the ID is empty, it is derived from the key, so that the same key always has
// the same ID. These rules also hold for the IDs in [NewES256Key], [NewEdDSAKey] and [NewSignerKey].
func NewHS256Key(id string, secret []byte) (SigningKey, error) {
	return newSigningKey(signing.NewHS256Key(id, secret))
}

// NewES256Key returns a key for ECDSA on the curve P-256 with SHA-256. It copies the private key.
// The rules for the ID are those of [NewHS256Key].
func NewES256Key(id string, private *ecdsa.PrivateKey) (SigningKey, error) {
	return newSigningKey(signing.NewES256Key(id, private))
}

// NewEdDSAKey returns a key for Ed25519. It copies the private key. The rules for the ID
// are those of [NewHS256Key].
func NewEdDSAKey(id string, private ed25519.PrivateKey) (SigningKey, error) {
	return newSigningKey(signing.NewEdDSAKey(id, private))
}

// NewSignerKey returns a key whose private half only the signer can use. The private half can be, for
// example, in the KMS of a cloud, in an HSM, or in a PKCS #11 token. The rules for the ID are those of
// [NewHS256Key].
//
// The signer's public key determines the algorithm. It must be an *ecdsa.PublicKey on the curve P-256,
// for ES256, or an ed25519.PublicKey, for EdDSA. NewSignerKey copies the public key. It never calls
// Public again, so a signer cannot change its key.
//
// The signer's method Sign is called when a session is opened, never for an authenticated request. It
// can be called by several goroutines at the same time.
//
//   - For ES256, Sign gets a SHA-256 digest and the option crypto.SHA256. It must return the signature
//     in ASN.1 DER, as [ecdsa.SignASN1] and most KMS do.
//   - For EdDSA, Sign gets the header and the claims of a token, of at most 4 KiB, and the option
//     crypto.Hash(0). It must return the 64 bytes of the signature.
//
// Each signature is verified with the public key before the token is used. If Sign fails, panics,
// calls runtime.Goexit, or returns anything but a valid signature of the key, then the sign-in fails,
// and its session is revoked. [ErrorStatus] of the error is 503. The error contains the text of the
// signer's error, but does not wrap it.
//
// A signature takes at most five seconds. [crypto.Signer] has no context, so each call of Sign has a
// goroutine of its own, which exists only during Sign. If Sign takes longer than four seconds, or if
// the context of the sign-in ends first, then the sign-in fails without the signer's answer, and a
// later answer is dropped. At most 64 calls of Sign run at a time. If 64 calls run, further sign-ins
// wait for up to a second. They fail at once if each of these calls has taken longer than four seconds.
// Give the client of the KMS a timeout below four seconds, so that its calls end.
//
// [TokenIssuer.SetKeys] keeps a key in use if the new key has the same ID, the same public key and the
// same signer, as == compares them. With another signer, the new key replaces it.
func NewSignerKey(id string, signer crypto.Signer) (SigningKey, error) {
	return newSigningKey(signing.NewSignerKey(id, signer))
}

// ReadKeyFile returns the content of a file with keys or secrets, for [ParseSigningKeys] or
// [NewSymmetricKey]. The file must be a regular file, or a link to one, of 1 byte to 1 MiB. If log is
// nil, ReadKeyFile uses slog.Default().
//
// If accounts other than the owner can write the file, ReadKeyFile returns an error, because such an
// account could make tokens. If all accounts can read the file, ReadKeyFile logs a warning. On Windows,
// it checks neither. It does not check the owner of the file, which is root for a Secret of Kubernetes, or
// which accounts can replace the file in its directory. If the file does not exist, the error matches
// fs.ErrNotExist.
func ReadKeyFile(path string, log *slog.Logger) ([]byte, error) {
	return signing.ReadFile(path, defaults.Logger(log))
}

// ParseSigningKeys returns the keys in the given data, in order. The data must be one of
//
//   - PEM blocks of type PRIVATE KEY (PKCS #8) or EC PRIVATE KEY (SEC 1), with P-256 keys for ES256
//     and Ed25519 keys for EdDSA. Their IDs are derived from the keys.
//   - A private JWK or a JWK Set (RFC 7517), with P-256 keys, Ed25519 keys, or symmetric keys for
//     HS256. The ID of a key without a kid is derived from the key. If a JWK has the member
//     sallyport_retired_at, in seconds of Unix time, the key is the result of
//     [SigningKey.RetiredAt] for that time.
//
// If any part of the data is something else, ParseSigningKeys returns no keys and an error that
// says what is wrong. The error contains no part of a key. ParseSigningKeys copies the keys, so the
// caller can overwrite the data afterwards.
func ParseSigningKeys(data []byte) (keys []SigningKey, err error) {
	parsed, err := signing.ParseKeys(data)
	if err != nil {
		return nil, err
	}
	for _, key := range parsed {
		keys = append(keys, SigningKey{get: func() *signing.Key { return key }})
	}
	return keys, nil
}

// ID returns the key ID, or "" for the zero SigningKey.
func (k SigningKey) ID() string {
	if k.get == nil {
		return ""
	}
	return k.get().ID()
}

// KeyInfo describes a [SigningKey] or a [SymmetricKey] without revealing its secret.
type KeyInfo struct {
	ID string // the ID of the key, or "" for [NoPepper] and for a zero key

	Algorithm string    // "HS256", "ES256" or "EdDSA"; empty for a SymmetricKey
	RetiredAt time.Time // the time of [SigningKey.RetiredAt], in whole seconds; zero if not retired

	// Fingerprint is equal for two keys only if they have the same secret or the same public key, even if
	// their IDs differ. So it shows that one secret is used for two purposes. It is empty if ID is.
	Fingerprint string
}

// Info describes the key.
func (k SigningKey) Info() KeyInfo {
	if k.get == nil {
		return KeyInfo{}
	}
	key := k.get()
	return KeyInfo{key.ID(), key.Algorithm(), key.Retired(), key.Fingerprint()}
}

// Info describes the key. Algorithm and RetiredAt are zero.
func (k SymmetricKey) Info() KeyInfo {
	if k.id == "" {
		return KeyInfo{}
	}
	return KeyInfo{ID: k.id, Fingerprint: signing.SecretFingerprint(k.get())}
}

// RetiredAt returns a copy of the key. The copy verifies only tokens that were issued at the given
// time or earlier, to the second. Use RetiredAt for a key that no longer signs on any instance.
//
// Pass a fixed time. With time.Now() in code that runs at each start, the time of retirement would
// change with each restart. A JWK can contain its time of retirement: see [ParseSigningKeys].
//
// An attacker who obtains the key later can sign tokens with any time of issue. The copy rejects
// every token with a time of issue after the given time. Every other token of the attacker expires
// at most [TokenConfig.MaxLifetime] after the given time.
//
// A retired key cannot be the first of a ring. The time is published with the public key, so that a
// [RemoteVerifier] rejects later tokens too.
func (k SigningKey) RetiredAt(at time.Time) SigningKey {
	if k.get == nil {
		return k
	}
	retired := k.get().RetiredAt(at)
	return SigningKey{get: func() *signing.Key { return retired }}
}

// unknownPepperError is an ErrUnknownPepper with the ID of the pepper. The ID is empty if the hash
// was made without a pepper.
type unknownPepperError struct{ id string }

// Error returns a message with the ID of the pepper, which is not secret.
func (e *unknownPepperError) Error() string {
	if e.id == "" {
		return ErrUnknownPepper.Error() +
			": the hash has no pepper, and CredentialConfig.Peppers does not contain NoPepper()"
	}
	return fmt.Sprintf("%v: CredentialConfig.Peppers has no pepper with the ID %q", ErrUnknownPepper, e.id)
}

// Unwrap returns ErrUnknownPepper.
func (e *unknownPepperError) Unwrap() error { return ErrUnknownPepper }

// pepperRejection is the ErrInvalidCredentials for a pair that cannot be checked because a pepper
// is missing. Error builds the text, not the code that returns the error. So a client cannot measure
// a difference from the rejection of a wrong secret.
type pepperRejection struct{ unknownPepperError }

// Error returns a message with the ID of the pepper.
func (e *pepperRejection) Error() string {
	return fmt.Sprintf("%v: %v", ErrInvalidCredentials, &e.unknownPepperError)
}

// Unwrap returns ErrInvalidCredentials and the error about the pepper.
func (e *pepperRejection) Unwrap() []error {
	return []error{ErrInvalidCredentials, &e.unknownPepperError}
}

// newRing returns a ring of the keys.
func newRing(keys []SigningKey) (*signing.Ring, error) {
	ring := make([]*signing.Key, len(keys))
	for i, k := range keys {
		if k.get != nil { // if nil, the element stays nil, which NewRing refuses
			ring[i] = k.get()
		}
	}
	return signing.NewRing(ring)
}

// redacted is embedded in types with a secret. It makes their values print as "[redacted]", so that
// the secret does not get into logs and responses.
//
// Package fmt calls no method of a value in an unexported field, such as a Secret in a host's own
// struct. Instead, fmt prints the fields of the value, and follows pointers to structs, slices and
// maps. For a function or a pointer to a string, fmt prints only the address. Therefore, a type
// that embeds redacted keeps its secret in a function or behind a pointer to a string.
//
// Some other printers, such as those of test libraries, follow every pointer. They print a string
// behind a pointer, but not a secret in a function.
type redacted struct {
	_ [0]func() // makes == a compile error, because == would compare addresses
}

const redactedText = "[redacted]"

// Format prints "[redacted]" for every verb.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, redactedText) }

// MarshalText returns "[redacted]".
func (redacted) MarshalText() ([]byte, error) { return []byte(redactedText), nil }
