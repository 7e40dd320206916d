package text_test

import (
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/text"
	"github.com/stretchr/testify/require"
)

func TestTextThatBreaksARuleHasAFlaw(t *testing.T) {
	t.Parallel()
	const long = "must be at most 8 bytes long"
	const controls = "must not have control or bidirectional characters"
	for s, want := range map[string]string{
		"":                      "",
		"octocat":               "",
		"Zoë Ö":                 "",
		strings.Repeat("x", 8):  "",
		strings.Repeat("x", 9):  long,
		strings.Repeat("\n", 9): long,
		"a\xff":                 "must be valid UTF-8",
		"a\nb":                  controls,
		"a\x00":                 controls,
		"a\u202eb":              controls,
		"a\u2028b":              controls,
	} {
		require.Equal(t, want, text.Flaw(s, 8), "%q", s)
	}
}

func TestOnlyABareAddressIsAnEmail(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"a@example.com":                true,
		"a+b@example.com":              true,
		"":                             false,
		"a":                            false,
		"A <a@example.com>":            false,
		"<a@example.com>":              false,
		" a@example.com":               false,
		"a@example.com, b@example.com": false,
	} {
		require.Equal(t, want, text.IsEmail(s), "%q", s)
	}
}
