package text_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/text"
)

func TestFoldingChangesOnlyASCIILetters(t *testing.T) {
	t.Parallel()
	require.Equal(t, "az@[`{09 \xc3\x84ſk", text.FoldASCII("AZ@[`{09 \xc3\x84ſk"))
	require.Equal(t, "Ä", text.FoldASCII("Ä"))
	require.Empty(t, text.FoldASCII(""))
}

func TestControlCharactersAreFound(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"\x00", "a\nb", "\x7f", "\u0085", "\u200e", "\u202e", "\u2066",
		"\u2028", "\u2029"} {
		require.True(t, text.HasControls(s), "%q", s)
	}
	for _, s := range []string{"", " ", "Ada Lovelace", "Ä", "👩\u200d💻", "\xff"} {
		require.False(t, text.HasControls(s), "%q", s)
	}
}

func TestReadableTextHasNoControlsAndEndsAtACharacter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"curl/8.14.1", 256, "curl/8.14.1"},
		{"a\r\nb\u202ec\xffd\ufffde", 256, "abcde"},
		{"abcdef", 3, "abc"},
		{"aÄÄ", 4, "aÄ"},
		{"aÄÄ", 5, "aÄÄ"},
		{"\n\n\n\n\n\n\n\nab", 2, ""}, // only the first eight bytes are read
		{strings.Repeat("x", 1<<20), 2, "xx"},
		{"", 8, ""},
		{"x", 0, ""},
	} {
		require.Equal(t, c.want, text.Readable(c.in, c.limit), "%q", c.in[:min(len(c.in), 20)])
	}
}

func TestAShortErrorWrapsTheErrorWhoseTextItShortens(t *testing.T) {
	t.Parallel()
	cause := errors.New("answer: " + strings.Repeat("x", 1<<20) + "\n")
	short := text.ShortError(fmt.Errorf("read: %w", cause), 16)
	require.EqualError(t, short, "read: answer: xx")
	require.ErrorIs(t, short, cause)
	require.Equal(t, io.EOF, text.ShortError(io.EOF, 16), "callers compare such an error with ==")
}
