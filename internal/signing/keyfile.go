package signing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

const maxKeyFile = 1 << 20 // bytes

// ParseKeys parses a file of private or symmetric keys, and returns the keys in the order of the
// file. The file contains PEM blocks, a JWK, or a JWK set. If a key has no ID, ParseKeys derives an
// ID from the key. The keys share no memory with data, so the caller can clear data.
//
// If any part of the file is wrong, ParseKeys returns no keys, and an error that says what is
// wrong.
func ParseKeys(data []byte) (keys []*Key, err error) {
	// Some editors begin a file with a byte order mark, which means nothing in UTF-8.
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
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

func parsePEM(text []byte) (keys []*Key, err error) {
	for len(text) > 0 {
		if !bytes.HasPrefix(text, []byte("-----BEGIN ")) { // pem.Decode would skip other text
			hint := ""
			if len(keys) == 0 && !bytes.Contains(text, []byte("\n")) {
				hint = "; pass the content of the file, not its path"
			}
			return nil, errors.New("auth: signing keys must be PEM blocks, one after the other, or JSON" +
				hint)
		}
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("auth: a PEM block of a signing key is damaged: copy it whole, with " +
				"its first and last line")
		}
		text = bytes.TrimSpace(rest)
		if block.Type == "EC PARAMETERS" { // OpenSSL writes it before the key; the key names the curve, too
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

func parseBlock(block *pem.Block) (*Key, error) {
	var key any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errors.New("auth: the signing key is encrypted: decrypt it first, such as with " +
			"openssl pkey")
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("auth: a PEM block of type %q is no signing key: it must be PRIVATE KEY "+
			"or EC PRIVATE KEY", block.Type)
	}
	if err != nil {
		// The error of x509 names the structure that could not be read, never its contents.
		return nil, fmt.Errorf("auth: a PEM block of a signing key cannot be read: %w", err)
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return NewES256Key("", key)
	case ed25519.PrivateKey:
		return NewEdDSAKey("", key)
	}
	return nil, fmt.Errorf("auth: a signing key must be of P-256 or Ed25519, not a %T", key)
}

func parseJWKs(text []byte) (keys []*Key, err error) {
	set, isSet, err := parseSet(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("auth: a JWK of a signing key cannot be read: %w", err)
	case !isSet:
		key, err := parseSigningKey(text, 0)
		if err != nil {
			return nil, err
		}
		return []*Key{key}, nil
	case len(set) == 0:
		return nil, errors.New("auth: the JWK set has no keys")
	case parseMembers(text, setMembers).misspelled():
		return nil, errMisspelled
	}
	for i, member := range set {
		key, err := parseSigningKey(member.Raw(), i)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// parseSigningKey parses the JWK with the index i of a set.
func parseSigningKey(text []byte, i int) (*Key, error) {
	k, err := parseJWK(text)
	if err != nil {
		return nil, fmt.Errorf("auth: a JWK of a signing key cannot be read: %w (%s)", err, k.label(i))
	}
	key, err := k.signingKey()
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, k.label(i))
	}
	return key, nil
}

// errMisspelled is the error for a member such as retired_at. If the member were ignored, as RFC 7517
// says of other members, the key would not be retired.
var errMisspelled = errors.New("auth: a member of a JWK is misspelled: the member with the time of " +
	"retirement, in seconds of Unix time, is sallyport_retired_at")

// lastSecond is the last second of the year 9999, in Unix time. A greater number is probably a time in
// milliseconds. As a number of seconds, it would be so far in the future that the key never retires.
const lastSecond = 253402300799

// signingKey returns the private or symmetric key of the JWK, as the method privateKey does. If the
// JWK has a time of retirement, the key is retired. signingKey returns an error if the JWK says that
// the key is not for signing tokens.
func (k *jwk) signingKey() (*Key, error) {
	key, err := k.privateKey()
	switch {
	case err != nil:
		return nil, err
	case k.Algorithm != "" && k.Algorithm != key.Algorithm():
		return nil, fmt.Errorf("auth: a JWK of kty %q cannot have alg %q: it must be %q", k.KeyType,
			k.Algorithm, key.Algorithm())
	case k.Use != "" && k.Use != "sig":
		return nil, fmt.Errorf("auth: a JWK with use %q is not for signatures: it must be %q", k.Use, "sig")
	case k.Uses != nil && !slices.Contains(k.Uses, "sign"):
		return nil, errors.New(`auth: a JWK whose key_ops do not have "sign" is not for signing`)
	case k.misspelled:
		return nil, errMisspelled
	case k.RetiredAt == nil:
		return key, nil
	case *k.RetiredAt < 1 || *k.RetiredAt > lastSecond:
		return nil, errors.New("auth: sallyport_retired_at of a JWK must be in seconds of Unix time")
	}
	return key.RetiredAt(time.Unix(*k.RetiredAt, 0)), nil
}

// privateKey returns the private or symmetric key of the JWK. It does not check whether the JWK
// limits the use of the key.
func (k *jwk) privateKey() (*Key, error) {
	switch {
	case k.KeyType == "oct":
		if k.K == nil {
			return nil, errors.New(`auth: a symmetric JWK needs the member "k"`)
		}
		return NewHS256Key(k.ID, k.K)
	case k.KeyType == "EC" && k.Curve == "P-256", k.KeyType == "OKP" && k.Curve == "Ed25519":
		if k.D == nil {
			return nil, errors.New(`auth: a public JWK cannot sign: the private one has the member "d"`)
		}
		if k.KeyType == "EC" {
			return k.ecdsaPrivate()
		}
		return k.ed25519Private()
	}
	return nil, fmt.Errorf("auth: a JWK of kty %q and crv %q is no signing key: it must be EC and "+
		"P-256, OKP and Ed25519, or oct", k.KeyType, k.Curve)
}

func (k *jwk) ecdsaPrivate() (*Key, error) {
	public, err := k.ecdsaPublic()
	if err != nil {
		return nil, err
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.D)
	if err != nil {
		return nil, fmt.Errorf("auth: d of the JWK is not valid: %w", err)
	}
	if !private.PublicKey.Equal(public) {
		return nil, errors.New("auth: x and y of the JWK do not belong to its d")
	}
	return NewES256Key(k.ID, private)
}

func (k *jwk) ed25519Private() (*Key, error) {
	public, err := k.ed25519Public()
	if err != nil {
		return nil, err
	}
	if len(k.D) != ed25519.SeedSize {
		return nil, fmt.Errorf("auth: d of a JWK of Ed25519 must be %d bytes", ed25519.SeedSize)
	}
	private := ed25519.NewKeyFromSeed(k.D)
	if !bytes.Equal(private.Public().(ed25519.PublicKey), public) {
		return nil, errors.New("auth: x of the JWK does not belong to its d")
	}
	return NewEdDSAKey(k.ID, private)
}
