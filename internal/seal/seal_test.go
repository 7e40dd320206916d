package seal_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/seal"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"
)

// newKey returns a random key with this ID.
func newKey(id string) seal.Key {
	secret := make([]byte, 32)
	rand.Read(secret)
	return seal.Key{ID: id, Bytes: secret}
}

func newSealer(t testing.TB, purpose string, keys ...seal.Key) *seal.Sealer {
	t.Helper()
	s, err := seal.New(keys, purpose)
	require.NoError(t, err)
	return s
}

func TestSealedBytesOpenForTheSamePurposeAndContextOnly(t *testing.T) {
	t.Parallel()
	key := newKey("k1")
	s := newSealer(t, "token", key)
	sealed := s.Seal([]byte("gho_x"), "user", "github.com")
	require.NotContains(t, string(sealed), "gho_x")
	plain, stale, err := s.Open(sealed, "user", "github.com")
	require.NoError(t, err)
	require.False(t, stale)
	require.Equal(t, "gho_x", string(plain))
	require.NotEqual(t, sealed, s.Seal([]byte("gho_x"), "user", "github.com"), "never the same twice")

	for name, test := range map[string]struct {
		sealer  *seal.Sealer
		sealed  []byte
		context []string
	}{
		"another user":      {s, sealed, []string{"mallory", "github.com"}},
		"another host":      {s, sealed, []string{"user", "example.com"}},
		"shifted context":   {s, sealed, []string{"userg", "ithub.com"}},
		"context in one":    {s, sealed, []string{"usergithub.com"}},
		"no context":        {s, sealed, nil},
		"a context more":    {s, sealed, []string{"user", "github.com", ""}},
		"another purpose":   {newSealer(t, "cookie", key), sealed, []string{"user", "github.com"}},
		"a shifted purpose": {newSealer(t, "tokenuser", key), sealed, []string{"github.com"}},
		"another key":       {newSealer(t, "token", newKey("k1")), sealed, []string{"user", "github.com"}},
		"another ID":        {newSealer(t, "token", seal.Key{ID: "k2", Bytes: key.Bytes}), sealed, []string{"user", "github.com"}},
		"a byte more":       {s, append(bytes.Clone(sealed), 0), []string{"user", "github.com"}},
		"nothing":           {s, nil, []string{"user", "github.com"}},
		"the older version": {s, append([]byte{1}, sealed[1:]...), []string{"user", "github.com"}},
		"another version":   {s, append([]byte{3}, sealed[1:]...), []string{"user", "github.com"}},
	} {
		plain, stale, err := test.sealer.Open(test.sealed, test.context...)
		require.Equal(t, seal.ErrSealed, err, name)
		require.Nil(t, plain, name)
		require.False(t, stale, name)
	}
}

// Stores contain bytes in this form. If a new version read another form, all stored tokens would be
// lost.
func TestTheSealedFormIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	key := newKey("k1")
	sealed := newSealer(t, "token", key).Seal([]byte("gho_x"), "user")
	require.Equal(t, "\x02\x02k1", string(sealed[:4]))
	salt, nonce, ciphertext := sealed[4:16], sealed[16:28], sealed[28:]
	require.Len(t, ciphertext, len("gho_x")+16)
	messageKey, err := hkdf.Expand(sha256.New, key.Bytes, "sallyport sealed message"+string(salt), 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(messageKey)
	require.NoError(t, err)
	fips140.WithoutEnforcement(func() { // which forbids NewGCM, because its nonces could repeat
		aead, err := cipher.NewGCM(block)
		require.NoError(t, err)
		plain, err := aead.Open(nil, nonce, ciphertext, associated("token", "k1", "user"))
		require.NoError(t, err)
		require.Equal(t, "gho_x", string(plain))
	})
}

// associated returns the additional data for this purpose, key and context.
func associated(parts ...string) (framed []byte) {
	for _, part := range parts {
		framed = binary.BigEndian.AppendUint64(framed, uint64(len(part)))
		framed = append(framed, part...)
	}
	return framed
}

// sealOlder returns the bytes in the older form.
func sealOlder(t *testing.T, key seal.Key, purpose, plain, context string) (sealed []byte) {
	fips140.WithoutEnforcement(func() {
		aead, err := chacha20poly1305.NewX(key.Bytes)
		require.NoError(t, err)
		nonce := make([]byte, aead.NonceSize())
		rand.Read(nonce)
		sealed = append([]byte{1, byte(len(key.ID))}, key.ID...)
		sealed = append(sealed, nonce...)
		sealed = aead.Seal(sealed, nonce, []byte(plain), associated(purpose, key.ID, context))
	})
	return sealed
}

func TestTheOlderFormOpensUnlessOnlyApprovedAlgorithmsMayRun(t *testing.T) {
	t.Parallel()
	key := newKey("k1")
	s := newSealer(t, "token", key)
	sealed := sealOlder(t, key, "token", "gho_x", "user")
	id, known := s.KeyID(sealed)
	require.True(t, known)
	require.Equal(t, "k1", id)
	plain, stale, err := s.Open(sealed, "user")
	if fips140.Enforced() {
		require.Equal(t, seal.ErrSealed, err)
		return
	}
	require.NoError(t, err)
	require.True(t, stale, "to be sealed again, although the key is the first")
	require.Equal(t, "gho_x", string(plain))

	_, _, err = s.Open(sealed, "mallory")
	require.Equal(t, seal.ErrSealed, err)
	sealed[0] = 2
	_, _, err = s.Open(sealed, "user")
	require.Equal(t, seal.ErrSealed, err, "the older ciphertext is not one of the newer form")
}

func TestSealedBytesNameTheirKey(t *testing.T) {
	t.Parallel()
	s := newSealer(t, "token", newKey("k1"))
	for name, test := range map[string]struct {
		sealed []byte
		id     string
		known  bool
	}{
		"its own key":   {s.Seal(nil), "k1", true},
		"another key":   {newSealer(t, "token", newKey("k2")).Seal(nil), "k2", false},
		"a cut ID":      {[]byte{2, 3, 'k'}, "", false},
		"other bytes":   {[]byte("gho_x"), "", false},
		"nothing":       {nil, "", false},
		"only a header": {[]byte{2, 2, 'k', '1'}, "k1", true},
	} {
		id, known := s.KeyID(test.sealed)
		require.Equal(t, test.id, id, name)
		require.Equal(t, test.known, known, name)
	}
}

func TestFlippedBitsAndCutTailsAreErrorsNeverPanics(t *testing.T) {
	t.Parallel()
	s := newSealer(t, "token", newKey("k1"))
	sealed := s.Seal([]byte("gho_x"), "user")
	for length := range 256 { // length of the key's ID; the bytes after it are enough
		for _, version := range []byte{1, 2} {
			_, _, err := s.Open(append([]byte{version, byte(length)}, make([]byte, 1000)...), "user")
			require.Error(t, err)
		}
	}
	for i := range sealed {
		_, _, err := s.Open(sealed[:i], "user")
		require.Error(t, err)
		for bit := range 8 {
			flipped := bytes.Clone(sealed)
			flipped[i] ^= 1 << bit
			_, _, err := s.Open(flipped, "user")
			require.Error(t, err)
		}
	}
}

func TestSealingKeysAreARing(t *testing.T) {
	t.Parallel()
	first, second := newKey("k1"), newKey(strings.Repeat("k", 255))
	for _, key := range []seal.Key{first, second} {
		sealed := newSealer(t, "token", key).Seal([]byte("x"))
		for name, test := range map[string]struct {
			ring  []seal.Key
			stale bool
		}{
			"alone":    {[]seal.Key{key}, false},
			"in front": {[]seal.Key{key, newKey("k3")}, false},
			"behind":   {[]seal.Key{newKey("k3"), key}, true},
		} {
			plain, stale, err := newSealer(t, "token", test.ring...).Open(sealed)
			require.NoError(t, err, name)
			require.Equal(t, test.stale, stale, name)
			require.Equal(t, "x", string(plain), name)
		}
		_, _, err := newSealer(t, "token", newKey("k3")).Open(sealed)
		require.Equal(t, seal.ErrSealed, err)
	}
}

func TestRingsAreChecked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keys []seal.Key
		want string
	}{
		"no key":         {nil, "auth: SealingKeys must have at least one key"},
		"one ID twice":   {[]seal.Key{newKey("k1"), newKey("k2"), newKey("k1")}, `auth: SealingKeys[2] has the id "k1" of an earlier key: give each its own`},
		"a short key":    {[]seal.Key{newKey("k1"), {ID: "k2", Bytes: make([]byte, 31)}}, "auth: SealingKeys[1] is 31 bytes; 32 are needed"},
		"an ID, no key":  {[]seal.Key{{ID: "k1"}}, "auth: SealingKeys[0] is 0 bytes; 32 are needed"},
		"the zero value": {[]seal.Key{{}}, "auth: SealingKeys[0] is 0 bytes; 32 are needed"},
	} {
		_, err := seal.New(test.keys, "token")
		require.EqualError(t, err, test.want, name)
	}
}

func TestSealedTextOpensInOneSpelling(t *testing.T) {
	t.Parallel()
	s := newSealer(t, "cookie", newKey("k1"))
	for _, plain := range []string{"", "x", "xy", "xyz"} { // all lengths of the last group
		text := s.SealText([]byte(plain), "state")
		require.Regexp(t, `^[A-Za-z0-9_-]+$`, text)
		opened, err := s.OpenText(text, "state")
		require.NoError(t, err)
		require.Equal(t, plain, string(opened))
		other := byte('A')
		if text[len(text)-1] == other {
			other = 'B'
		}
		for name, spelling := range map[string]string{
			"nothing":            "",
			"a padded text":      text + "=",
			"a line break":       text[:5] + "\n" + text[5:],
			"a line break after": text + "\r\n",
			"a space":            " " + text,
			"another last bit":   text[:len(text)-1] + string(other),
			"a cut tail":         text[:len(text)-1],
			"no base64":          "%" + text[1:],
		} {
			_, err := s.OpenText(spelling, "state")
			require.Equal(t, seal.ErrSealed, err, name)
		}
		_, err = s.OpenText(text, "another state")
		require.Equal(t, seal.ErrSealed, err)
	}
}

// FuzzSealedBytes passes any bytes to Open, which must open only the bytes that were sealed.
func FuzzSealedBytes(f *testing.F) {
	s := newSealer(f, "token", newKey("k1"))
	sealed := s.Seal([]byte("x"), "user")
	f.Add(sealed)
	f.Add(sealed[:10])
	f.Add([]byte{2, 255})
	f.Add([]byte{2, 0})
	f.Add([]byte{1, 0})
	f.Add(append([]byte{1, 255}, make([]byte, 2000)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := s.Open(data, "user")
		require.Equal(t, bytes.Equal(data, sealed), err == nil)
	})
}
