package signing_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

func TestASecretThatCanBeGuessedIsRefused(t *testing.T) {
	t.Parallel()
	counting := make([]byte, 64)
	for i := range counting {
		counting[i] = byte(i)
	}
	for secret, want := range map[string]string{
		strings.Repeat("x", 32):                        "is one repeated byte",
		string(make([]byte, 64)):                       "is one repeated byte",
		strings.Repeat("abcdefg", 5):                   "has only 7 different bytes",
		"asdfasdfasdfasdfasdfasdfasdfasdf":             "has only 4 different bytes",
		"12345678901234567890123456789012":             "is a sequence",
		"0123456789abcdef0123456789abcdef":             "is a sequence",
		"abcdefghijklmnopqrstuvwxyzABCDEFG":            "is a sequence",
		"zyxwvutsrqponmlkjihgfedcba987654":             "is a sequence",
		string(counting):                               "is a sequence",
		"k9Qz!mW2" + strings.Repeat("k9Qz!mW2", 3):     "repeats its first 8 bytes",
		strings.Repeat("2k66QfKeTRk3MdZ5vpDYgZCu", 2):  "repeats its first 24 bytes",
		strings.Repeat("h8566MNQ18oo5cMmHROV", 3)[:57]: "repeats its first 20 bytes",
		"REPLACE THIS WITH YOUR JWT SECRET":            "is a placeholder",
		"replace-this-with-your-jwt-secret":            "is a placeholder",
		"your_jwt_secret_key_change_in_production":     "is a placeholder",
		"a secret of 32 random bytes, say":             "is a placeholder",
		"another one of 32 random bytes, say":          "is a placeholder",
		"a-string-secret-at-least-256-bits-long":       "is a placeholder",
		"authentication-secret-key-lies-here":          "is a placeholder",
		"any_random_secret_key_for_token_generation":   "is a placeholder",
	} {
		_, err := signing.NewHS256Key("main", []byte(secret))
		require.EqualError(t, err, `auth: HS256 key "main" `+want+
			`; it must be random: make one with "openssl rand -base64 32"`, secret)
		_, err = signing.ParseKeys([]byte(`{"kty":"oct","kid":"main","k":"` + raw([]byte(secret)) + `"}`))
		require.ErrorContains(t, err, want, "a key in a file")
		require.NotContains(t, err.Error(), secret)
	}
}

func TestARandomSecretIsTaken(t *testing.T) {
	t.Parallel()
	for range 2000 {
		b := random(32)
		for name, secret := range map[string]string{
			"bytes":       string(b),
			"hexadecimal": hex.EncodeToString(b[:16]),
			"base64":      base64.StdEncoding.EncodeToString(b),
			"base32":      rand.Text() + rand.Text(),
			"with words":  "my-jwt-secret-key-" + raw(b),
			"32 twice":    string(b) + string(b),
		} {
			_, err := signing.NewHS256Key("", []byte(secret))
			require.NoError(t, err, name)
		}
	}
}

// A secret that is read from a file often has a line break at its end, and the same secret in a
// variable of the environment has none.
func TestATextWithWhiteSpaceAtAnEndIsNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "8J2vq0eYt7Zr5Wb1mXc4Nd6Kf9Hg3LpS"
	for _, padded := range []string{secret + "\n", secret + "\r\n", " " + secret, secret + "\t"} {
		_, err := signing.CheckSecret("HS256 key", "k1", 32, []byte(padded))
		require.ErrorContains(t, err, `auth: HS256 key "k1" is text with white space`)
		require.NotContains(t, err.Error(), secret)
	}
	for _, whole := range [][]byte{[]byte(secret), append([]byte(secret), 0x80, '\n')} {
		_, err := signing.CheckSecret("HS256 key", "k1", 32, whole)
		require.NoError(t, err)
	}
}
