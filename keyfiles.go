package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

const maxKeyFile = 1 << 20 // bytes

// ParseSigningKeys returns the keys in data, in order. Data is one of
//
//   - PEM blocks, PRIVATE KEY (PKCS #8) or EC PRIVATE KEY (SEC 1), of P-256 for ES256 and of
//     Ed25519 for EdDSA. Their IDs are derived from the keys.
//   - A private JWK, or a set of them (RFC 7517), of P-256, of Ed25519, or symmetric for HS256. A
//     key without a kid gets an ID derived from it.
//
// Everything else is an error that says what is wrong, also beside good keys. The error contains
// nothing of the keys. The keys are copied, so the caller can clear data.
func ParseSigningKeys(data []byte) (keys []SigningKey, err error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return nil, errors.New("auth: no signing key: there is nothing in it")
	case len(text) > maxKeyFile:
		return nil, fmt.Errorf("auth: more than %d bytes cannot be signing keys", maxKeyFile)
	case text[0] == '{':
		keys, err = parseJWKs(text)
	default:
		keys, err = parsePEM(text)
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

func parsePEM(text []byte) (keys []SigningKey, err error) {
	for len(text) > 0 {
		if !bytes.HasPrefix(text, []byte("-----BEGIN ")) { // pem.Decode would pass over what it cannot read
			return nil, errors.New("auth: signing keys must be PEM blocks, one after the other, or JSON")
		}
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("auth: a PEM block of a signing key is damaged: copy it whole, with its first and last line")
		}
		text = bytes.TrimSpace(rest)
		if block.Type == "EC PARAMETERS" { // which OpenSSL writes in front of a key that says so itself
			continue
		}
		key, err := parseBlock(block)
		clear(block.Bytes)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("auth: no PRIVATE KEY block among the PEM blocks")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (SigningKey, error) {
	var key any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return SigningKey{}, errors.New("auth: the signing key is encrypted: decrypt it first, such as with openssl pkey")
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return SigningKey{}, fmt.Errorf("auth: a PEM block of type %q is no signing key: it must be PRIVATE KEY or EC PRIVATE KEY", block.Type)
	}
	if err != nil {
		// x509 names the structure that it could not read, never its contents.
		return SigningKey{}, fmt.Errorf("auth: a PEM block of a signing key cannot be read: %w", err)
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return NewES256Key("", key)
	case ed25519.PrivateKey:
		return NewEdDSAKey("", key)
	}
	return SigningKey{}, fmt.Errorf("auth: a signing key must be of P-256 or Ed25519, not a %T", key)
}

func parseJWKs(text []byte) (keys []SigningKey, err error) {
	var file struct {
		jwkSet
		jwk
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("auth: a JWK of a signing key cannot be read: %w", withoutValue(err))
	}
	if file.Keys == nil {
		file.Keys = []jwk{file.jwk}
	}
	if len(file.Keys) == 0 {
		return nil, errors.New("auth: the JWK set has no keys")
	}
	for i, k := range file.Keys {
		key, err := k.signingKey()
		if err != nil {
			return nil, fmt.Errorf("%w (key %d, kid %q)", err, i+1, k.ID)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// withoutValue leaves out what encoding/json quotes of the text.
func withoutValue(err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON from byte %d on", syntax.Offset)
	case errors.As(err, &mismatch):
		_, member, _ := strings.Cut(mismatch.Field, ".") // after the name of the embedded Go type
		found, _, _ := strings.Cut(mismatch.Value, " ")  // a number is followed by itself
		return fmt.Errorf("%s must be %s, not %s", member, jsonTypeFor(mismatch.Type), jsonTypeNames[found])
	}
	return err
}

// jsonTypeNames has encoding/json's names of the JSON types, with their articles.
var jsonTypeNames = map[string]string{
	"string": "a string", "number": "a number", "bool": "a truth value", "array": "an array", "object": "an object",
}

// jsonTypeFor returns what a member of a JWK must be that is read into the Go type.
func jsonTypeFor(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "an array"
	case reflect.Struct:
		return "an object"
	}
	return "a string" // or *segment, which is written as one
}

// signingKey returns the private key that the JWK is.
func (k *jwk) signingKey() (SigningKey, error) {
	key, err := k.make()
	switch {
	case err != nil:
		return SigningKey{}, err
	case k.Algorithm != "" && k.Algorithm != key.algorithm():
		return SigningKey{}, fmt.Errorf("auth: a JWK of kty %q cannot have alg %q: it must be %q", k.KeyType, k.Algorithm, key.algorithm())
	case k.Use != "" && k.Use != "sig":
		return SigningKey{}, fmt.Errorf("auth: a JWK with use %q is not for signatures: it must be %q", k.Use, "sig")
	case k.Uses != nil && !slices.Contains(k.Uses, "sign"):
		return SigningKey{}, errors.New(`auth: a JWK whose key_ops do not have "sign" is not for signing`)
	}
	return key, nil
}

func (k *jwk) make() (SigningKey, error) {
	switch {
	case k.KeyType == "oct":
		if k.K == nil {
			return SigningKey{}, errors.New(`auth: a symmetric JWK needs the member "k"`)
		}
		return NewHS256Key(k.ID, *k.K)
	case k.KeyType == "EC" && k.Curve == "P-256", k.KeyType == "OKP" && k.Curve == "Ed25519":
		if k.D == nil {
			return SigningKey{}, errors.New(`auth: a public JWK cannot sign: the private one has the member "d"`)
		}
		if k.KeyType == "EC" {
			return k.ecdsa()
		}
		return k.ed25519()
	}
	return SigningKey{}, fmt.Errorf("auth: a JWK of kty %q and crv %q is no signing key: it must be EC and P-256, OKP and Ed25519, or oct", k.KeyType, k.Curve)
}

func (k *jwk) ecdsa() (SigningKey, error) {
	public, err := k.ecdsaPublic()
	if err != nil {
		return SigningKey{}, err
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), *k.D)
	if err != nil {
		return SigningKey{}, fmt.Errorf("auth: d of the JWK is not valid: %w", err)
	}
	if !private.PublicKey.Equal(public) {
		return SigningKey{}, errors.New("auth: x and y of the JWK do not belong to its d")
	}
	return NewES256Key(k.ID, private)
}

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

func (k *jwk) ed25519() (SigningKey, error) {
	public, err := k.ed25519Public()
	if err != nil {
		return SigningKey{}, err
	}
	if len(*k.D) != ed25519.SeedSize {
		return SigningKey{}, fmt.Errorf("auth: d of a JWK of Ed25519 must be %d bytes", ed25519.SeedSize)
	}
	private := ed25519.NewKeyFromSeed(*k.D)
	if !bytes.Equal(private.Public().(ed25519.PublicKey), public) {
		return SigningKey{}, errors.New("auth: x of the JWK does not belong to its d")
	}
	return NewEdDSAKey(k.ID, private)
}

func (k *jwk) ed25519Public() (ed25519.PublicKey, error) {
	if k.X == nil || len(*k.X) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("auth: x of a JWK of Ed25519 must be %d bytes", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(*k.X), nil
}
