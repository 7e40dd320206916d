package wiretest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// keyMaterial has one key of each kind and its encoded parts.
type keyMaterial struct {
	ec      *ecdsa.PrivateKey
	ed      ed25519.PrivateKey
	secret  []byte
	x, y, d string // of ec
	edX     string
	edSeed  string
	k       string
}

func newKeyMaterial(t *testing.T) keyMaterial {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	point, err := ec.PublicKey.Bytes()
	require.NoError(t, err)
	scalar, err := ec.Bytes()
	require.NoError(t, err)
	m := keyMaterial{ec: ec, ed: ed, secret: authtest.Random(32)}
	m.x, m.y, m.d = raw(point[1:33]), raw(point[33:]), raw(scalar)
	m.edX, m.edSeed, m.k = raw(ed.Public().(ed25519.PublicKey)), raw(ed.Seed()), raw(m.secret)
	return m
}

func raw(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func sec1(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (m keyMaterial) ecJWK(more string) string {
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q,"d":%q%s}`, m.x, m.y, m.d, more)
}

func (m keyMaterial) edJWK(more string) string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"d":%q%s}`, m.edX, m.edSeed, more)
}

func (m keyMaterial) octJWK(more string) string {
	return fmt.Sprintf(`{"kty":"oct","k":%q%s}`, m.k, more)
}

func TestSigningKeysAreReadFromPEMAndJWK(t *testing.T) {
	t.Parallel()
	m := newKeyMaterial(t)
	es, err := auth.NewES256Key("", m.ec)
	require.NoError(t, err)
	ed, err := auth.NewEdDSAKey("", m.ed)
	require.NoError(t, err)
	hs, err := auth.NewHS256Key("", m.secret)
	require.NoError(t, err)
	thumb := strings.Repeat("t", 43)

	for name, test := range map[string]struct {
		data string
		same []auth.SigningKey // each verifies the tokens of the parsed key
		ids  []string
	}{
		"PKCS #8":                 {string(pkcs8(t, m.ec)), []auth.SigningKey{es}, []string{es.ID()}},
		"PKCS #8 of Ed25519":      {string(pkcs8(t, m.ed)), []auth.SigningKey{ed}, []string{ed.ID()}},
		"SEC 1":                   {string(sec1(t, m.ec)), []auth.SigningKey{es}, []string{es.ID()}},
		"two blocks and spaces":   {"\n" + string(pkcs8(t, m.ed)) + "\n\n" + string(sec1(t, m.ec)) + "\n", []auth.SigningKey{ed, es}, []string{ed.ID(), es.ID()}},
		"EC parameters in front":  {"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + string(sec1(t, m.ec)), []auth.SigningKey{es}, []string{es.ID()}},
		"a JWK":                   {m.ecJWK(`,"kid":"one","alg":"ES256","use":"sig"`), nil, []string{"one"}},
		"a JWK without a kid":     {m.edJWK(""), []auth.SigningKey{ed}, []string{ed.ID()}},
		"a symmetric JWK":         {m.octJWK(`,"key_ops":["sign","verify"]`), []auth.SigningKey{hs}, []string{hs.ID()}},
		"a JWK with a thumbprint": {m.ecJWK(`,"kid":"` + thumb + `"`), nil, []string{thumb}},
		"a set": {`{"keys":[` + m.edJWK(`,"kid":"first","alg":"EdDSA"`) + `,` + m.octJWK(`,"kid":"second"`) + `],"other":1}`, nil,
			[]string{"first", "second"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := []byte(test.data)
			keys, err := auth.ParseSigningKeys(data)
			require.NoError(t, err)
			clear(data) // the keys are copies
			require.Len(t, keys, len(test.ids))
			for i, id := range test.ids {
				require.Equal(t, id, keys[i].ID())
				f := newTokens(t, authtest.Signer{Key: keys[i]}, auth.TokenConfig{})
				f.requireAccepted(t, f.token.Bearer.Reveal())
				if test.same != nil {
					require.NoError(t, f.issuer.SetKeys([]auth.SigningKey{test.same[i]}))
					f.requireAccepted(t, f.token.Bearer.Reveal())
				}
			}
		})
	}
}

func TestUnreadableSigningKeysAreRejectedWithoutNamingSecrets(t *testing.T) {
	t.Parallel()
	m := newKeyMaterial(t)
	other := newKeyMaterial(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&m.ec.PublicKey)
	require.NoError(t, err)
	publicPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	whole := string(pkcs8(t, m.ed))

	for name, test := range map[string]struct{ data, says string }{
		"only spaces":                       {" \n", "nothing in it"},
		"more than a megabyte":              {strings.Repeat("x", 1<<20+1), "more than"},
		"a passphrase":                      {"hunter2 hunter2 hunter2 hunter2", "must be PEM blocks"},
		"RSA":                               {string(pkcs8(t, rsaKey)), "P-256 or Ed25519, not a *rsa.PrivateKey"},
		"P-384":                             {string(pkcs8(t, p384)), "must be on the curve P-256"},
		"a public key":                      {publicPEM, `type "PUBLIC KEY"`},
		"a public key behind":               {whole + publicPEM, `type "PUBLIC KEY"`},
		"an encrypted key":                  {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted: decrypt it"},
		"a key encrypted by OpenSSL":        {"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n", "encrypted: decrypt it"},
		"EC parameters alone":               {"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", "no PRIVATE KEY block"},
		"a truncated key":                   {whole[:60], "damaged"},
		"a truncated key behind a good one": {whole + whole[:60], "damaged"},
		"text behind":                       {whole + "and more", "must be PEM blocks"},
		"bytes that are not a key":          {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"},

		"half a JWK":                {m.ecJWK("")[:40], "not JSON"},
		"two JWKs":                  {m.ecJWK("") + m.edJWK(""), "not JSON"},
		"an empty set":              {`{"keys":[]}`, "no keys"},
		"an empty object":           {`{}`, `kty "" and crv ""`},
		"a public JWK":              {strings.Replace(m.ecJWK(""), `"d"`, `"not d"`, 1), `"d"`},
		"a public JWK in a set":     {`{"keys":[` + m.edJWK("") + `,` + strings.Replace(m.ecJWK(`,"kid":"pub"`), `"d"`, `"not d"`, 1) + `]}`, `key 2, kid "pub"`},
		"a symmetric JWK without k": {`{"kty":"oct"}`, `"k"`},
		"a short secret":            {`{"kty":"oct","k":"` + raw(authtest.Random(31)) + `"}`, "HS256 key is 31 bytes; at least 32 are needed"},
		"alg of another kind":       {m.ecJWK(`,"alg":"HS256"`), `must be "ES256"`},
		"alg none":                  {m.octJWK(`,"alg":"none"`), `must be "HS256"`},
		"use enc":                   {m.ecJWK(`,"use":"enc"`), `"sig"`},
		"key_ops verify":            {m.ecJWK(`,"key_ops":["verify"]`), "key_ops"},
		"kty RSA":                   {`{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ"}`, `"RSA"`},
		"another curve":             {strings.Replace(m.ecJWK(""), "P-256", "P-384", 1), `"P-384"`},
		"x of another key":          {strings.Replace(m.ecJWK(""), m.x, other.x, 1), "not valid"},
		"a point of another key":    {strings.NewReplacer(m.x, other.x, m.y, other.y).Replace(m.ecJWK("")), "do not belong"},
		"x of another Ed25519 key":  {strings.Replace(m.edJWK(""), m.edX, other.edX, 1), "does not belong"},
		"a short d":                 {strings.Replace(m.edJWK(""), m.edSeed, m.edSeed[:20], 1), "d of a JWK of Ed25519 must be 32 bytes"},
		"a short coordinate":        {strings.Replace(m.ecJWK(""), m.x, "AQ", 1), "32 bytes each"},
		"no x":                      {strings.Replace(m.edJWK(""), `"x"`, `"not x"`, 1), "x of a JWK of Ed25519 must be 32 bytes"},
		"a padded k":                {strings.Replace(m.octJWK(""), m.k, m.k+"=", 1), "base64url"},
		"a line break in k":         {strings.Replace(m.octJWK(""), m.k, m.k[:10]+`\n`+m.k[10:], 1), "base64url"},
		"a number as k":             {`{"kty":"oct","k":12345678901234567890123456789012}`, "k must be"},
		"an invalid kid":            {m.ecJWK(`,"kid":"a b"`), "a key id must be of letters"},
		"a kid of 65 characters":    {m.ecJWK(`,"kid":"` + strings.Repeat("k", 65) + `"`), "1 to 64 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := auth.ParseSigningKeys([]byte(test.data))
			require.ErrorContains(t, err, test.says)
			require.Nil(t, keys)
			for _, secret := range []string{m.d, m.edSeed, m.k, m.k[:10], "hunter2", "1234567890"} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestSigningKeysAreReadAsOpenSSLWritesThem(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		testenv.Skip(t, "openssl is not installed")
	}
	for name, args := range map[string][]string{
		"ecparam": {"ecparam", "-name", "prime256v1", "-genkey"},
		"genpkey": {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"ed25519": {"genpkey", "-algorithm", "ed25519"},
	} {
		text, err := exec.CommandContext(t.Context(), openssl, args...).Output()
		require.NoError(t, err)
		keys, err := auth.ParseSigningKeys(text)
		require.NoError(t, err, name)
		require.Len(t, keys, 1)
	}
}

func FuzzParseSigningKeys(f *testing.F) {
	f.Add([]byte(`{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","d":"AQ"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQ","d":"AQ"},null]}`))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := auth.ParseSigningKeys(data)
		if err != nil {
			require.Nil(t, keys)
			return
		}
		require.NotEmpty(t, keys)
		for _, key := range keys {
			require.NotEmpty(t, key.ID())
			text, err := json.Marshal(key)
			require.NoError(t, err)
			require.Equal(t, `"[redacted]"`, string(text))
		}
	})
}
