package canonical_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/canonical"
)

func TestEachByteStringHasOneSpelling(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "AA": "\x00", "_-8": "\xff\xef",
		"AAAA": "\x00\x00\x00"} {
		got, err := canonical.DecodeBase64URL(text)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	for name, text := range map[string]string{
		"stray bits": "AB", "padding": "AA==", "a line break": "AA\nAA", "a return": "AA\r", "a space": "AA AA",
		"the other alphabet": "/+8", "half a byte": "A",
	} {
		_, err := canonical.DecodeBase64URL(text)
		require.Error(t, err, name)
	}
	got, err := canonical.DecodeBase64(base64.StdEncoding, "/+8=")
	require.NoError(t, err)
	require.Equal(t, "\xff\xef", string(got))
	_, err = canonical.DecodeBase64(base64.StdEncoding, "/+9=")
	require.Error(t, err, "stray bits")
	_, err = canonical.Base64URL.DecodeString("AB")
	require.Error(t, err, "stray bits")
}

func TestOnlyTheAlphabetIsBase64URL(t *testing.T) {
	t.Parallel()
	require.True(t, canonical.IsBase64URL("azAZ09-_"))
	for _, text := range []string{"", "a=", "a+", "a/", "a\n", "a.", "a b", "ä", "a\x00", "@",
		"[", "`", "{", ":"} {
		require.False(t, canonical.IsBase64URL(text), "%q", text)
	}
	for c := range 256 {
		is := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		require.Equal(t, is, canonical.IsAlphanumeric(byte(c)), "%q", c)
	}
}

func TestDifferentListsAreDifferentBytes(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{}
	for _, parts := range [][]string{
		{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"b", "a"}, {"\x00\x00\x00\x00\x00\x00\x00\x01a"},
	} {
		framed := string(canonical.Frame(parts...))
		require.NotContains(t, seen, framed, "%q", parts)
		seen[framed] = parts
	}
	require.Equal(t, "\x00\x00\x00\x00\x00\x00\x00\x02ab", string(canonical.Frame("ab")))
}
