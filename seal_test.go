package auth_test

import (
	"bytes"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func newSealer(t testing.TB, purpose string, ring ...auth.SymmetricKey) *auth.Sealer {
	t.Helper()
	s, err := auth.NewSealer(ring, purpose)
	require.NoError(t, err)
	return s
}

func TestWhatIsSealedOpensForTheSamePurposeAndContextOnly(t *testing.T) {
	t.Parallel()
	key := authtest.SymmetricKey(t, "k1")
	s := newSealer(t, "token", key)
	sealed := s.Seal([]byte("gho_x"), "user", "github.com")
	require.NotContains(t, string(sealed), "gho_x")
	plain, stale, err := s.Open(sealed, "user", "github.com")
	require.NoError(t, err)
	require.False(t, stale)
	require.Equal(t, "gho_x", string(plain))
	require.NotEqual(t, sealed, s.Seal([]byte("gho_x"), "user", "github.com"), "never the same twice")

	for name, open := range map[string]func() ([]byte, bool, error){
		"another user":    func() ([]byte, bool, error) { return s.Open(sealed, "mallory", "github.com") },
		"another host":    func() ([]byte, bool, error) { return s.Open(sealed, "user", "example.com") },
		"shifted context": func() ([]byte, bool, error) { return s.Open(sealed, "userg", "ithub.com") },
		"context in one":  func() ([]byte, bool, error) { return s.Open(sealed, "usergithub.com") },
		"no context":      func() ([]byte, bool, error) { return s.Open(sealed) },
		"another purpose": func() ([]byte, bool, error) { return newSealer(t, "cookie", key).Open(sealed, "user", "github.com") },
		"another key": func() ([]byte, bool, error) {
			return newSealer(t, "token", authtest.SymmetricKey(t, "k1")).Open(sealed, "user", "github.com")
		},
		"another id": func() ([]byte, bool, error) {
			return newSealer(t, "token", authtest.SymmetricKey(t, "k2")).Open(sealed, "user", "github.com")
		},
		"a byte more":       func() ([]byte, bool, error) { return s.Open(append(bytes.Clone(sealed), 0), "user", "github.com") },
		"nothing":           func() ([]byte, bool, error) { return s.Open(nil, "user", "github.com") },
		"the other version": func() ([]byte, bool, error) { return s.Open(append([]byte{2}, sealed[1:]...), "user", "github.com") },
	} {
		plain, _, err := open()
		require.Error(t, err, name)
		require.Nil(t, plain, name)
	}
}

func TestFlippedBitsAndCutTailsAreErrorsNeverPanics(t *testing.T) {
	t.Parallel()
	s := newSealer(t, "token", authtest.SymmetricKey(t, "k1"))
	sealed := s.Seal([]byte("gho_x"), "user")
	for length := range 256 { // of the key's id, in front of more than enough
		_, _, err := s.Open(append([]byte{1, byte(length)}, make([]byte, 1000)...), "user")
		require.Error(t, err)
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
	first, second := authtest.SymmetricKey(t, "k1"), authtest.SymmetricKey(t, "k2")
	sealed := newSealer(t, "token", first).Seal([]byte("x"))
	plain, stale, err := newSealer(t, "token", second, first).Open(sealed)
	require.NoError(t, err)
	require.True(t, stale, "to be sealed anew")
	require.Equal(t, "x", string(plain))
	_, _, err = newSealer(t, "token", second).Open(sealed)
	require.Error(t, err)

	for name, ring := range map[string][]auth.SymmetricKey{
		"none": nil, "a zero key": {{}}, "one id twice": {first, authtest.SymmetricKey(t, "k1")},
	} {
		_, err := auth.NewSealer(ring, "token")
		require.Error(t, err, name)
	}
}

// FuzzSealedBytes opens any bytes: only what was sealed opens.
func FuzzSealedBytes(f *testing.F) {
	s := newSealer(f, "token", authtest.SymmetricKey(f, "k1"))
	sealed := s.Seal([]byte("x"), "user")
	f.Add(sealed)
	f.Add(sealed[:10])
	f.Add([]byte{1, 255})
	f.Add([]byte{1, 0})
	f.Add(append([]byte{1, 255}, make([]byte, 2000)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := s.Open(data, "user")
		require.Equal(t, bytes.Equal(data, sealed), err == nil)
	})
}
