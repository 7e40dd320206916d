package signing_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func sec1(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func (m material) ecJWK(more string) string {
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q,"d":%q%s}`, m.x, m.y, m.d, more)
}

func (m material) edJWK(more string) string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"d":%q%s}`, m.edX, m.edSeed, more)
}

func (m material) octJWK(more string) string {
	return fmt.Sprintf(`{"kty":"oct","k":%q%s}`, m.k, more)
}

func TestKeysAreReadFromPEMAndJWK(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	es, err := signing.NewES256Key("", m.ec)
	require.NoError(t, err)
	ed, err := signing.NewEdDSAKey("", m.ed)
	require.NoError(t, err)
	hs, err := signing.NewHS256Key("", m.secret)
	require.NoError(t, err)
	parameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	thumb := strings.Repeat("t", 43)

	for name, test := range map[string]struct {
		data string
		same []*signing.Key // the keys that ParseKeys must return
		ids  []string
	}{
		"PKCS #8":                 {pkcs8(t, m.ec), []*signing.Key{es}, []string{es.ID()}},
		"PKCS #8 of Ed25519":      {pkcs8(t, m.ed), []*signing.Key{ed}, []string{ed.ID()}},
		"SEC 1":                   {sec1(t, m.ec), []*signing.Key{es}, []string{es.ID()}},
		"two blocks, and space":   {"\n" + pkcs8(t, m.ed) + "\n\n" + sec1(t, m.ec) + "\n", []*signing.Key{ed, es}, []string{ed.ID(), es.ID()}},
		"parameters in front":     {parameters + sec1(t, m.ec), []*signing.Key{es}, []string{es.ID()}},
		"a JWK":                   {m.ecJWK(`,"kid":"one","alg":"ES256","use":"sig"`), []*signing.Key{es}, []string{"one"}},
		"a JWK without a kid":     {m.edJWK(""), []*signing.Key{ed}, []string{ed.ID()}},
		"a symmetric JWK":         {m.octJWK(`,"key_ops":["verify","sign"]`), []*signing.Key{hs}, []string{hs.ID()}},
		"a JWK with a thumbprint": {m.ecJWK(`,"kid":"` + thumb + `"`), []*signing.Key{es}, []string{thumb}},
		"a JWK with nulls":        {m.ecJWK(`,"k":null,"use":null,"key_ops":null,"sallyport_retired_at":null`), []*signing.Key{es}, []string{es.ID()}},
		"a JWK after a mark":      {"\ufeff" + m.edJWK(""), []*signing.Key{ed}, []string{ed.ID()}},
		"PEM after a mark":        {"\ufeff" + pkcs8(t, m.ed), []*signing.Key{ed}, []string{ed.ID()}},
		"a JWK after space":       {"\t " + m.edJWK("") + "\n", []*signing.Key{ed}, []string{ed.ID()}},
		"a set": {
			`{"keys":[` + m.edJWK(`,"kid":"first","alg":"EdDSA"`) + `,` + m.octJWK(`,"kid":"second","alg":"HS256"`) + `],"other":1}`,
			[]*signing.Key{ed, hs}, []string{"first", "second"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := []byte(test.data)
			keys, err := signing.ParseKeys(data)
			require.NoError(t, err)
			clear(data) // the keys are copies
			require.Len(t, keys, len(test.ids))
			for i, id := range test.ids {
				require.Equal(t, id, keys[i].ID())
				require.Equal(t, test.same[i].Algorithm(), keys[i].Algorithm())
				requireSame(t, keys[i], test.same[i])
				requireSame(t, test.same[i], keys[i])
			}
		})
	}
}

func TestAKeyFileSaysWhenAKeyWasRetired(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	for _, jwk := range []func(string) string{m.ecJWK, m.edJWK, m.octJWK} {
		keys, err := signing.ParseKeys([]byte(`{"keys":[` + m.edJWK(`,"kid":"new"`) + `,` +
			jwk(`,"kid":"old","sallyport_retired_at":1764417600`) + `]}`))
		require.NoError(t, err)
		require.False(t, keys[0].RetiredBefore(253402300799))
		require.False(t, keys[1].RetiredBefore(1764417600))
		require.True(t, keys[1].RetiredBefore(1764417601))
		ring, err := signing.NewRing(keys)
		require.NoError(t, err)
		require.Equal(t, `"new" signs; "old" verifies tokens issued until 2025-11-29T12:00:00Z`, ring.Summary())
	}
	keys, err := signing.ParseKeys([]byte(m.edJWK(`,"sallyport_retired_at":1764417600`)))
	require.NoError(t, err)
	_, err = signing.NewRing(keys)
	require.ErrorContains(t, err, "signs, and is retired")
}

func TestKeysThatCannotBeReadSayWhyAndNothingOfTheKey(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	other := newMaterial(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&m.ec.PublicKey)
	require.NoError(t, err)
	publicPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	whole := pkcs8(t, m.ed)

	for name, test := range map[string]struct{ data, says string }{
		"nothing":                     {" \n", "nothing in it"},
		"a megabyte":                  {strings.Repeat("x", 1<<20+1), "more than"},
		"a megabyte less a byte":      {strings.Repeat("x", 1<<20), "must be PEM blocks"},
		"a path":                      {"signing.pem", "pass the content of the file, not its path"},
		"a password":                  {"hunter2 hunter2 hunter2 hunter2", "must be PEM blocks"},
		"RSA":                         {pkcs8(t, rsaKey), "P-256 or Ed25519, not a *rsa.PrivateKey"},
		"P-384":                       {pkcs8(t, p384), "must be on the curve P-256"},
		"a public key":                {publicPEM, `type "PUBLIC KEY"`},
		"a public key beside":         {whole + publicPEM, `type "PUBLIC KEY"`},
		"an encrypted key":            {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted: decrypt it"},
		"encrypted as OpenSSL did":    {"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n", "encrypted: decrypt it"},
		"parameters alone":            {"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", "no PRIVATE KEY block"},
		"a key cut off":               {whole[:60], "damaged"},
		"a key cut off behind a good": {whole + whole[:60], "damaged"},
		"text behind":                 {whole + "and more", "must be PEM blocks"},
		"bytes that are no key":       {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"},

		"half a JWK":              {m.ecJWK("")[:40], "not one JSON object"},
		"two JWKs":                {m.ecJWK("") + m.edJWK(""), "not one JSON object"},
		"an empty set":            {`{"keys":[]}`, "no keys"},
		"an empty object":         {`{}`, `kty "" and crv ""`},
		"a public JWK":            {strings.Replace(m.ecJWK(""), `"d"`, `"not d"`, 1), `"d"`},
		"a public JWK in a set":   {`{"keys":[` + m.edJWK("") + `,` + strings.Replace(m.ecJWK(`,"kid":"pub"`), `"d"`, `"not d"`, 1) + `]}`, `key 2, kid "pub"`},
		"a symmetric one of none": {`{"kty":"oct"}`, `"k"`},
		"a short secret":          {`{"kty":"oct","k":"` + raw(random(31)) + `"}`, "HS256 key is 31 bytes; at least 32 are needed"},
		"another's alg":           {m.ecJWK(`,"alg":"HS256"`), `must be "ES256"`},
		"alg none":                {m.octJWK(`,"alg":"none"`), `must be "HS256"`},
		"for encryption":          {m.ecJWK(`,"use":"enc"`), `"sig"`},
		"for verifying alone":     {m.ecJWK(`,"key_ops":["verify"]`), "key_ops"},
		"for nothing":             {m.ecJWK(`,"key_ops":[]`), "key_ops"},
		"RSA's kty":               {`{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ"}`, `"RSA"`},
		"another curve":           {strings.Replace(m.ecJWK(""), "P-256", "P-384", 1), `"P-384"`},
		"x of another key":        {strings.Replace(m.ecJWK(""), m.x, other.x, 1), "not valid"},
		"a point of another key":  {strings.NewReplacer(m.x, other.x, m.y, other.y).Replace(m.ecJWK("")), "do not belong"},
		"Ed25519's of another":    {strings.Replace(m.edJWK(""), m.edX, other.edX, 1), "does not belong"},
		"a short d":               {strings.Replace(m.edJWK(""), m.edSeed, m.edSeed[:20], 1), "d of a JWK of Ed25519 must be 32 bytes"},
		"a long d":                {strings.Replace(m.edJWK(""), m.edSeed, raw(random(33)), 1), "d of a JWK of Ed25519 must be 32 bytes"},
		"a short coordinate":      {strings.Replace(m.ecJWK(""), m.x, "AQ", 1), "32 bytes each"},
		"a long coordinate":       {strings.Replace(m.ecJWK(""), m.y, raw(random(33)), 1), "32 bytes each"},
		"no y":                    {strings.Replace(m.ecJWK(""), `"y"`, `"not y"`, 1), "32 bytes each"},
		"no x on P-256":           {strings.Replace(m.ecJWK(""), `"x"`, `"not x"`, 1), "32 bytes each"},
		"a d of zero":             {strings.Replace(m.ecJWK(""), m.d, raw(make([]byte, 32)), 1), "d of the JWK is not valid"},
		"a short x of Ed25519":    {strings.Replace(m.edJWK(""), m.edX, m.edX[:20], 1), "x of a JWK of Ed25519 must be 32 bytes"},
		"EC on Ed25519":           {strings.Replace(m.ecJWK(""), "P-256", "Ed25519", 1), `kty "EC" and crv "Ed25519"`},
		"OKP on P-256":            {strings.Replace(m.edJWK(""), "Ed25519", "P-256", 1), `kty "OKP" and crv "P-256"`},
		"no x":                    {strings.Replace(m.edJWK(""), `"x"`, `"not x"`, 1), "x of a JWK of Ed25519 must be 32 bytes"},
		"padded":                  {strings.Replace(m.octJWK(""), m.k, m.k+"=", 1), "base64url"},
		"with a line break":       {strings.Replace(m.octJWK(""), m.k, m.k[:10]+`\n`+m.k[10:], 1), "base64url"},
		"a number for a secret":   {`{"kty":"oct","k":12345678901234567890123456789012}`, ": k must be a string, not a number"},
		"text for the keys":       {`{"keys":"x"}`, ": keys must be an array, not a string"},
		"a truth value for a key": {`{"keys":[true]}`, ": it is not one JSON object (key 1)"},
		"an object for an x":      {`{"keys":[{"x":{}}]}`, ": x must be a string, not an object (key 1)"},
		"a time without prefix":   {m.ecJWK(`,"retired_at":1764417600`), "is sallyport_retired_at (key 1"},
		"a null without prefix":   {m.ecJWK(`,"retired_at":null`), "is sallyport_retired_at"},
		"a time of another name":  {m.ecJWK(`,"sallyport_retired":1764417600`), "is sallyport_retired_at"},
		"a time with a hyphen":    {m.ecJWK(`,"sallyport-retired-at":1764417600`), "is sallyport_retired_at"},
		"a time in camel case":    {m.ecJWK(`,"retiredAt":1764417600`), "is sallyport_retired_at"},
		"an escaped name":         {m.ecJWK(`,"\u0073allyport_until":1764417600`), "is sallyport_retired_at"},
		"a time for the set":      {`{"sallyport_retired_at":1764417600,"keys":[` + m.ecJWK("") + `]}`, "a set and a key at once"},
		"a name for the set":      {`{"retired_at":1764417600,"keys":[` + m.ecJWK("") + `]}`, "is sallyport_retired_at"},
		"milliseconds for a time": {m.ecJWK(`,"sallyport_retired_at":1764417600000`), "must be in seconds of Unix time"},
		"zero for a time":         {m.ecJWK(`,"sallyport_retired_at":0`), "must be in seconds of Unix time"},
		"a time before 1970":      {m.ecJWK(`,"sallyport_retired_at":-1`), "must be in seconds of Unix time"},
		"a time twice":            {m.ecJWK(`,"sallyport_retired_at":1,"sallyport_retired_at":2`), "a member is given twice"},
		"a time in capitals":      {m.ecJWK(`,"Sallyport_Retired_At":1`), "in other letters"},
		"text for a time":         {`{"sallyport_retired_at":"x"}`, ": sallyport_retired_at must be a whole number"},
		"a fraction for a time":   {`{"sallyport_retired_at":1.5}`, ": sallyport_retired_at must be a whole number"},
		"a member twice":          {m.ecJWK(`,"d":"` + other.d + `"`), "a member is given twice"},
		"a twice written kid":     {m.octJWK(`,"kid":"a","\u006bid":"b"`), "a member is given twice"},
		"a stranger's twice":      {m.octJWK(`,"ext":1,"ext":2`), "a member is given twice"},
		"a member in capitals":    {m.octJWK(`,"KID":"a"`), "in other letters"},
		"a Kelvin sign for a k":   {strings.Replace(m.octJWK(""), `"k"`, `"\u212a"`, 1), "in other letters"},
		"one twice in a set":      {`{"keys":[` + m.edJWK("") + `,` + m.octJWK(`,"alg":"HS256","alg":"HS256"`) + `]}`, "a member is given twice (key 2)"},
		"keys twice":              {`{"keys":[` + m.edJWK("") + `],"keys":[` + m.octJWK("") + `]}`, "a member is given twice"},
		"keys in capitals":        {`{"Keys":[` + m.edJWK("") + `]}`, "in other letters"},
		"a set and a key":         {m.octJWK(`,"keys":[` + m.edJWK("") + `]`), "keys beside kty"},
		"a set and a secret":      {`{"keys":[` + m.edJWK("") + `],"k":"` + m.k + `"}`, "keys beside k,"},
		"null for the keys":       {`{"keys":null}`, "keys must be an array, not null"},
		"a secret in an EC key":   {m.ecJWK(`,"kid":"one","k":"` + m.k + `"`), `k does not belong in a JWK of kty EC (key 1, kid "one")`},
		"a secret in an OKP key":  {m.edJWK(`,"k":"` + m.k + `"`), "k does not belong in a JWK of kty OKP"},
		"a y in an OKP key":       {m.edJWK(`,"y":"` + m.y + `"`), "y does not belong in a JWK of kty OKP"},
		"a d in an oct key":       {m.octJWK(`,"d":"` + m.d + `"`), "d does not belong in a JWK of kty oct"},
		"a curve in an oct key":   {m.octJWK(`,"crv":"P-256"`), "crv does not belong in a JWK of kty oct"},
		"a number in key_ops":     {m.octJWK(`,"key_ops":["sign",1]`), "key_ops must contain strings only"},
		"text for the key_ops":    {m.octJWK(`,"key_ops":"sign"`), "key_ops must be an array, not a string"},
		"an empty secret":         {`{"kty":"oct","k":""}`, "k must be base64url without padding"},
		"invalid UTF-8":           {"{\"kty\":\"oct\",\"kid\":\"\xff\"}", "not UTF-8"},
		"nested without end":      {`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "nested too deeply"},
		"a kid that is no id":     {m.ecJWK(`,"kid":"a b"`), "a key id must be of letters"},
		"a kid of 65 characters":  {m.ecJWK(`,"kid":"` + strings.Repeat("k", 65) + `"`), "is 65 characters long; it must be 1 to 64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := signing.ParseKeys([]byte(test.data))
			require.ErrorContains(t, err, test.says)
			require.Nil(t, keys)
			for _, secret := range []string{m.d, m.edSeed, m.k, m.k[:10], "hunter2", "1234567890"} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestKeysAreReadAsOpenSSLWritesThem(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		testenv.Skip(t, "there is no openssl")
	}
	for name, args := range map[string][]string{
		"ecparam": {"ecparam", "-name", "prime256v1", "-genkey"},
		"genpkey": {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"ed25519": {"genpkey", "-algorithm", "ed25519"},
	} {
		text, err := exec.CommandContext(t.Context(), openssl, args...).Output()
		require.NoError(t, err)
		keys, err := signing.ParseKeys(text)
		require.NoError(t, err, name)
		require.Len(t, keys, 1)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","d":"AQ"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQ","d":"AQ"},null]}`))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := signing.ParseKeys(data)
		if err != nil {
			require.Nil(t, keys)
			return
		}
		require.NotEmpty(t, keys)
		for _, key := range keys {
			require.NotEmpty(t, key.ID())
			signature, err := key.Sign(t.Context(), "text")
			require.NoError(t, err)
			require.True(t, key.Verify("text", signature))
		}
	})
}
