package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"runtime"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

// fakeSigner is a signer of the host. Its field pin must never be printed.
type fakeSigner struct {
	public func() crypto.PublicKey
	sign   func(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error)
	pin    string
}

const pin = "the-pin-of-the-token"

func (f *fakeSigner) Public() crypto.PublicKey { return f.public() }

func (f *fakeSigner) Sign(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return f.sign(rand, message, opts)
}

func newFake(good crypto.Signer) *fakeSigner {
	return &fakeSigner{public: good.Public, sign: good.Sign, pin: pin}
}

func signerKey(t testing.TB, id string, signer crypto.Signer) *signing.Key {
	t.Helper()
	key, err := signing.NewSignerKey(id, signer)
	require.NoError(t, err)
	return key
}

// signers returns a private key for each algorithm that a signer can have.
func (m material) signers() map[string]crypto.Signer {
	return map[string]crypto.Signer{"ES256": m.ec, "EdDSA": m.ed}
}

func TestASignerKeyMakesTheSignaturesOfTheLocalKey(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	for alg, private := range m.signers() {
		local := m.keys(t)[alg]
		for name, signer := range map[string]crypto.Signer{"itself": private, "a fake": newFake(private)} {
			key := signerKey(t, local.ID(), signer)
			require.Equal(t, alg, key.Algorithm())
			require.Equal(t, local.Header("at+jwt"), key.Header("at+jwt"))
			for range 16 { // half of the ECDSA signatures have the greater s
				requireSame(t, key, local)
				requireSame(t, local, key)
				requireSame(t, key, key)
			}
			ring, err := signing.NewRing([]*signing.Key{key})
			require.NoError(t, err, name)
			localRing, err := signing.NewRing([]*signing.Key{local})
			require.NoError(t, err)
			require.Equal(t, localRing.JWKS(), ring.JWKS())
			public, err := signing.ParseJWKS(ring.JWKS())
			require.NoError(t, err)
			requireSame(t, key, public.ByID(key.ID()))
			at := time.Unix(1_700_000_000, 0)
			require.True(t, key.RetiredAt(at).RetiredBefore(1_700_000_001))
			requireSame(t, key.RetiredAt(at), local)
		}
	}
}

func TestASignerKeyDerivesTheIDOfTheLocalKey(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	es, err := signing.NewES256Key("", m.ec)
	require.NoError(t, err)
	require.Equal(t, es.ID(), signerKey(t, "", m.ec).ID())
	ed, err := signing.NewEdDSAKey("", m.ed)
	require.NoError(t, err)
	require.Equal(t, ed.ID(), signerKey(t, "", m.ed).ID())
}

func TestASignerGetsADigestOrTheWholeMessage(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	digest := sha256.Sum256([]byte("text"))
	for _, test := range []struct {
		private crypto.Signer
		message []byte
		hash    crypto.Hash
	}{{m.ec, digest[:], crypto.SHA256}, {m.ed, []byte("text"), 0}} {
		fake, calls := newFake(test.private), 0
		fake.sign = func(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
			calls++
			require.NotNil(t, random)
			require.Equal(t, test.message, message)
			require.Equal(t, test.hash, opts)
			return test.private.Sign(random, message, opts)
		}
		_, err := signerKey(t, "id", fake).Sign(t.Context(), "text")
		require.NoError(t, err)
		require.Equal(t, 1, calls)
	}
}

// A signer for another algorithm, or without a usable public key, is refused when the key is made.
func TestASignerWithoutAUsablePublicKeyIsRefused(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	offCurve := m.ec.PublicKey
	//lint:ignore SA1019 the mistake is the point
	offCurve.X, offCurve.Y = big.NewInt(1), big.NewInt(1)
	public := func(key any) crypto.Signer {
		return &fakeSigner{pin: pin, public: func() crypto.PublicKey { return key }}
	}
	const (
		fake  = "auth: NewSignerKey: the signer (*signing_test.fakeSigner) "
		types = ": use a key whose Public is an *ecdsa.PublicKey on P-256 or an ed25519.PublicKey"
	)
	for name, test := range map[string]struct {
		signer crypto.Signer
		id     string
		want   string
	}{
		"nil":                 {nil, "id", "auth: NewSignerKey needs a signer"},
		"a nil pointer":       {(*fakeSigner)(nil), "id", "auth: NewSignerKey needs a signer"},
		"a nil ecdsa key":     {(*ecdsa.PrivateKey)(nil), "id", "auth: NewSignerKey needs a signer"},
		"a nil ed25519 key":   {ed25519.PrivateKey(nil), "id", "auth: NewSignerKey needs a signer"},
		"P-384":               {p384, "id", "auth: NewSignerKey: the signer (*ecdsa.PrivateKey) has an ECDSA key on another curve: use a key on P-256"},
		"an empty ECDSA key":  {&ecdsa.PrivateKey{}, "id", "auth: NewSignerKey: the signer (*ecdsa.PrivateKey) has an ECDSA key on another curve"},
		"RSA":                 {rsaKey, "id", "auth: NewSignerKey: the signer (*rsa.PrivateKey) has a public key of the type *rsa.PublicKey" + types},
		"no public key":       {public(nil), "id", fake + "has a public key of the type <nil>" + types},
		"a nil public key":    {public((*ecdsa.PublicKey)(nil)), "id", fake + "has a nil public key: make Public return the public key"},
		"a public key value":  {public(m.ec.PublicKey), "id", fake + "has a public key of the type ecdsa.PublicKey" + types},
		"a pointer to bytes":  {public(&ed25519.PublicKey{}), "id", fake + "has a public key of the type *ed25519.PublicKey" + types},
		"bytes":               {public([]byte(m.ed.Public().(ed25519.PublicKey))), "id", fake + "has a public key of the type []uint8" + types},
		"off the curve":       {public(&offCurve), "id", fake + "has a public key that is not valid: "},
		"a curve only":        {public(&ecdsa.PublicKey{Curve: elliptic.P256()}), "id", fake},
		"a short Ed25519":     {public(make(ed25519.PublicKey, 31)), "id", fake + "has an Ed25519 public key of 31 bytes: it must be 32"},
		"Ed25519 of zeros":    {public(make(ed25519.PublicKey, 32)), "id", fake + "has an Ed25519 public key of zeros: make Public return the public key"},
		"a long Ed25519":      {public(make(ed25519.PublicKey, 33)), "id", fake + "has an Ed25519 public key of 33 bytes: it must be 32"},
		"a short private key": {ed25519.PrivateKey{1}, "id", "auth: NewSignerKey: the signer (ed25519.PrivateKey) panicked in Public: runtime error: slice bounds out of range"},
		"a panic":             {&fakeSigner{public: func() crypto.PublicKey { panic(pin) }}, "id", fake + "panicked in Public: with a value of the type string: make Public return the public key"},
		"no good id":          {m.ec, "a b", `auth: a key id must be of letters, digits, ".", "_" and "-"`},
		"no good id2":         {m.ed, "a b", `auth: a key id must be of letters, digits, ".", "_" and "-"`},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := signing.NewSignerKey(test.id, test.signer)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), pin)
			require.Nil(t, key)
		})
	}
}

// A signer that changes its public key later could otherwise publish another key, or make other
// signatures valid.
func TestThePublicKeyOfASignerIsReadOnceAndCopied(t *testing.T) {
	t.Parallel()
	m, other := newMaterial(t), newMaterial(t)
	point, seed := m.ec.PublicKey, bytes.Clone(m.ed.Public().(ed25519.PublicKey))
	calls := 0
	es, ed := newFake(m.ec), newFake(m.ed)
	es.public = func() crypto.PublicKey { calls++; return &point }
	ed.public = func() crypto.PublicKey { calls++; return ed25519.PublicKey(seed) }
	for alg, fake := range map[string]*fakeSigner{"ES256": es, "EdDSA": ed} {
		calls = 0
		key := signerKey(t, "id", fake)
		ring, err := signing.NewRing([]*signing.Key{key})
		require.NoError(t, err)
		point = other.ec.PublicKey
		copy(seed, other.ed.Public().(ed25519.PublicKey))
		requireSame(t, key, m.keys(t)[alg])
		again, err := signing.NewRing([]*signing.Key{key})
		require.NoError(t, err)
		require.Equal(t, ring.JWKS(), again.JWKS())
		require.Equal(t, 1, calls)
		fake.sign = other.signers()[alg].Sign
		_, err = key.Sign(t.Context(), "text")
		require.ErrorContains(t, err, "returned a signature that its public key does not verify")
		point = m.ec.PublicKey
		copy(seed, m.ed.Public().(ed25519.PublicKey))
	}
}

// panickingError panics if its text is asked for, like the nil pointer of many types.
type panickingError struct{}

func (*panickingError) Error() string { panic("no text") }

// runtimeError is a panic value that claims to come from the runtime.
type runtimeError struct{ error }

func (runtimeError) RuntimeError() {}

// misbehaviors returns what a signer can do instead of signing, and the text of the error. The
// argument is a good signer, and the other one has another key.
func misbehaviors(good, other crypto.Signer) map[string]struct {
	sign func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error)
	want string
} {
	type test = struct {
		sign func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error)
		want string
	}
	does := func(f func() ([]byte, error)) func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
		return func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return f() }
	}
	changed := func(change func([]byte) []byte) func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
		return func(r io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
			signature, err := good.Sign(r, message, opts)
			return change(signature), err
		}
	}
	const unverified = "returned a signature that its public key does not verify: make it sign the bytes " +
		"that it gets, with the key that Public returned to NewSignerKey"
	return map[string]test{
		"an error": {does(func() ([]byte, error) { return nil, errors.New("access\x1b denied") }), "returned an error: access denied"},
		"an error and all": {func(r io.Reader, m []byte, o crypto.SignerOpts) ([]byte, error) {
			s, _ := good.Sign(r, m, o)
			return s, io.EOF
		}, "returned an error: EOF"},
		"canceled":        {does(func() ([]byte, error) { return nil, context.Canceled }), "returned an error: context canceled"},
		"a nil error":     {does(func() ([]byte, error) { return nil, (*panickingError)(nil) }), "panicked: with a value of the type string"},
		"nothing":         {does(func() ([]byte, error) { return nil, nil }), "returned 0 bytes"},
		"a short answer":  {changed(func(s []byte) []byte { return s[:len(s)-1] }), "bytes"},
		"a long answer":   {changed(func(s []byte) []byte { return append(s, 0) }), "bytes"},
		"another text":    {func(r io.Reader, m []byte, o crypto.SignerOpts) ([]byte, error) { m[0] ^= 1; return good.Sign(r, m, o) }, unverified},
		"another key":     {other.Sign, unverified},
		"a panic":         {does(func() ([]byte, error) { panic(pin) }), "panicked: with a value of the type string: make it return an error instead"},
		"an error panics": {does(func() ([]byte, error) { panic(errors.New(pin)) }), "panicked: with a value of the type *errors.errorString: make it"},
		"a nil panic":     {does(func() ([]byte, error) { panic(nil) }), "panicked: panic called with nil argument"},
		"an index":        {does(func() ([]byte, error) { return pinOf(nil)[3:], nil }), "panicked: runtime error: slice bounds out of range [3:0]"},
		"a forged panic":  {does(func() ([]byte, error) { panic(runtimeError{}) }), "panicked: with a value of the type signing_test.runtimeError"},
		"Goexit":          {does(func() ([]byte, error) { runtime.Goexit(); return nil, nil }), "called runtime.Goexit: make it return an error instead"},
	}
}

func pinOf(b []byte) []byte { return b }

func TestASignerThatMisbehavesIsAnError(t *testing.T) {
	t.Parallel()
	m, others := newMaterial(t), newMaterial(t).signers()
	for alg, good := range m.signers() {
		for name, test := range misbehaviors(good, others[alg]) {
			t.Run(alg+" "+name, func(t *testing.T) {
				fake := newFake(good)
				key := signerKey(t, "kms-1", fake)
				fake.sign = test.sign
				signature, err := key.Sign(t.Context(), "text")
				require.ErrorContains(t, err, `the signer (*signing_test.fakeSigner) of the key "kms-1" `)
				require.ErrorContains(t, err, test.want)
				require.ErrorIs(t, err, signing.ErrSigner)
				require.NotErrorIs(t, err, context.Canceled, "the context of the caller did not end")
				require.NotErrorIs(t, err, io.EOF)
				require.NotContains(t, err.Error(), pin)
				require.Nil(t, signature)
				fake.sign = good.Sign
				requireSame(t, key, key)
			})
		}
	}
}

// ecdsaSignature has the form of RFC 3279, section 2.2.3.
type ecdsaSignature struct{ R, S *big.Int }

// decode decodes a signature leniently, for tests.
func decode(t testing.TB, der []byte) ecdsaSignature {
	t.Helper()
	var signature ecdsaSignature
	_, err := asn1.Unmarshal(der, &signature)
	require.NoError(t, err)
	return signature
}

func encode(t testing.TB, r, s *big.Int) []byte {
	t.Helper()
	der, err := asn1.Marshal(ecdsaSignature{r, s})
	require.NoError(t, err)
	return der
}

// raw64 returns r and s in the form of a token.
func raw64(r, s *big.Int) []byte {
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

func TestOnlyTheDEROfASignatureIsAccepted(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	n := elliptic.P256().Params().N
	neg := func(x *big.Int) *big.Int { return new(big.Int).Sub(n, x) }
	const notDER = "bytes that are not an ECDSA signature in ASN.1 DER: make it return the form of " +
		"ecdsa.SignASN1"
	for name, test := range map[string]struct {
		change func(der []byte, r, s *big.Int) []byte
		want   string // of the error; empty if the signature is accepted
	}{
		"as it is":          {func(der []byte, _, _ *big.Int) []byte { return der }, ""},
		"the other s":       {func(_ []byte, r, s *big.Int) []byte { return encode(t, r, neg(s)) }, ""},
		"r and s":           {func(_ []byte, r, s *big.Int) []byte { return raw64(r, s) }, "returned 64 " + notDER},
		"a byte at the end": {func(der []byte, _, _ *big.Int) []byte { return append(der, 0) }, notDER},
		"a number more": {func(der []byte, _, _ *big.Int) []byte {
			return append([]byte{der[0], der[1] + 3}, append(der[2:], 2, 1, 1)...)
		}, notDER},
		"only r": {func(_ []byte, r, _ *big.Int) []byte {
			der, err := asn1.Marshal(struct{ R *big.Int }{r})
			require.NoError(t, err)
			return der
		}, notDER},
		"a set":               {func(der []byte, _, _ *big.Int) []byte { der[0] = 0x31; return der }, notDER},
		"a long length":       {func(der []byte, _, _ *big.Int) []byte { return append([]byte{0x30, 0x81, der[1]}, der[2:]...) }, notDER},
		"an endless length":   {func(der []byte, _, _ *big.Int) []byte { return append(append([]byte{0x30, 0x80}, der[2:]...), 0, 0) }, notDER},
		"a zero before r":     {func(der []byte, r, s *big.Int) []byte { return padded(r, s) }, notDER},
		"a negative r":        {func(_ []byte, r, s *big.Int) []byte { return encode(t, new(big.Int).Neg(r), s) }, notDER},
		"a negative s":        {func(_ []byte, r, s *big.Int) []byte { return encode(t, r, new(big.Int).Neg(s)) }, notDER},
		"r of zero":           {func(_ []byte, _, s *big.Int) []byte { return encode(t, new(big.Int), s) }, notDER},
		"s of zero":           {func(_ []byte, r, _ *big.Int) []byte { return encode(t, r, new(big.Int)) }, notDER},
		"r plus the order":    {func(_ []byte, r, s *big.Int) []byte { return encode(t, new(big.Int).Add(r, n), s) }, notDER},
		"s plus the order":    {func(_ []byte, r, s *big.Int) []byte { return encode(t, r, new(big.Int).Add(s, n)) }, notDER},
		"r of the order":      {func(_ []byte, _, s *big.Int) []byte { return encode(t, n, s) }, notDER},
		"s of the order":      {func(_ []byte, r, _ *big.Int) []byte { return encode(t, r, n) }, notDER},
		"a huge r":            {func(_ []byte, r, s *big.Int) []byte { return encode(t, new(big.Int).Lsh(r, 8000), s) }, notDER},
		"r and s are swapped": {func(_ []byte, r, s *big.Int) []byte { return encode(t, s, r) }, "does not verify"},
		"r of one":            {func(_ []byte, _, s *big.Int) []byte { return encode(t, big.NewInt(1), s) }, "does not verify"},
		"the greatest r":      {func(_ []byte, _, s *big.Int) []byte { return encode(t, neg(big.NewInt(1)), s) }, "does not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(m.ec)
			fake.sign = func(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
				der, err := m.ec.Sign(random, digest, opts)
				require.NoError(t, err)
				signature := decode(t, der)
				return test.change(der, signature.R, signature.S), nil
			}
			signature, err := signerKey(t, "id", fake).Sign(t.Context(), "text")
			if test.want != "" {
				require.ErrorContains(t, err, test.want)
				return
			}
			require.NoError(t, err)
			require.Len(t, signature, 64)
			require.LessOrEqual(t, new(big.Int).SetBytes(signature[32:]).Cmp(new(big.Int).Rsh(n, 1)), 0)
			require.True(t, m.keys(t)["ES256"].Verify("text", signature))
		})
	}
}

// padded returns a signature whose r has a zero byte that DER does not allow.
func padded(r, s *big.Int) []byte {
	integer := func(zeros int, x *big.Int) []byte {
		b := x.Bytes()
		if b[0]&0x80 != 0 {
			zeros++
		}
		return append([]byte{2, byte(len(b) + zeros)}, append(make([]byte, zeros), b...)...)
	}
	body := append(integer(1, r), integer(0, s)...)
	return append([]byte{0x30, byte(len(body))}, body...)
}
