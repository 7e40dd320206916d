package text_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

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

// If one of these names were accepted beside the plain name, people could not tell two users apart.
func TestNamesThatLookLikeAnotherNameHaveAFlaw(t *testing.T) {
	t.Parallel()
	const (
		invisible = "must have only visible characters and plain spaces"
		form      = "must be in Unicode normalization form NFKC"
		mark      = "must not begin with a combining mark"
		spaces    = "must not have two spaces in a row"
		marks     = "must have at most 4 combining marks in a row, no mark twice, and no dot above a " +
			"letter that has a dot"
		controls = "must not have control or bidirectional characters"
	)
	for s, want := range map[string]string{
		"":                "",
		"alice":           "",
		"Zo\u00eb \u00d6": "",
		"山田太郎":            "",
		"\U0001f600":      "",
		"a b c":           "",
		"-_.@+":           "",

		"admin\u200b":                invisible, // zero width space
		"\u200cadmin":                invisible, // zero width non-joiner
		"ad\u200dmin":                invisible, // zero width joiner
		"ad\u2060min":                invisible, // word joiner
		"\ufeffadmin":                invisible, // byte order mark
		"admin\u00ad":                invisible, // soft hyphen
		"admin\u034f":                invisible, // combining grapheme joiner
		"\u3164":                     invisible, // Hangul filler
		"\u115f":                     invisible, // Hangul Choseong filler
		"\uffa0":                     invisible, // halfwidth Hangul filler
		"admin\u17b4":                invisible, // Khmer vowel inherent aq
		"admin\u180e":                invisible, // Mongolian vowel separator
		"admin\ufe0f":                invisible, // variation selector 16
		"admin\U000e0100":            invisible, // variation selector 17
		"admin\U000e0041":            invisible, // tag A
		"admin\u2800":                invisible, // blank Braille pattern
		"admin\u2d7f":                invisible, // Tifinagh consonant joiner
		"admin\U0001107f":            invisible, // Brahmi number joiner
		"admin\U00013441":            invisible, // Egyptian full blank
		"admin\U00013442":            invisible, // Egyptian half blank
		"admin\U0001d159":            invisible, // musical null notehead
		"admin\U00016fe4":            invisible, // Khitan filler
		"admin\U0001d173":            invisible, // musical begin beam
		"a\u00a0b":                   invisible, // no-break space
		"a\u3000b":                   invisible, // ideographic space
		"a\u1680b":                   invisible, // Ogham space mark
		"admin\ue000":                invisible, // private use
		"admin\u0378":                invisible, // unassigned
		"admin\U0010ffff":            invisible, // noncharacter
		"\U0001f469\u200d\U0001f4bb": invisible, // an emoji that a joiner holds together

		"ad\u202emin": controls,
		"admin\u061c": controls,

		"\uff41\uff44\uff4d\uff49\uff4e": form, // full-width letters
		"zoe\u0308":                      form, // letter and combining mark, in place of one character
		"\u212a":                         form, // Kelvin sign, in place of the letter K
		"o\ufb00ice":                     form, // ligature ff
		"\u2460":                         form, // circled digit one
		"admin\u1d43":                    form, // superscript a
		"a\u0323\u0307":                  form, // NFKC writes a with dot below, and the dot above after it

		"\u0301admin": mark,

		"a  b":    spaces,
		"a b   c": spaces,

		"adm\u0069\u0307n":                 marks, // the dot above replaces that of the i
		"\u0456\u0307":                     marks, // Ukrainian i
		"\u1ecb\u0307":                     marks, // i with a dot below
		"i\u0331\u0307":                    marks, // i with a line below
		"q\u0331\u0331":                    marks,
		"\u00e9\u0301":                     marks, // e with two acute accents
		"z\u0300\u0301\u0302\u0303\u0304":  marks,
		"z\u0300\u0301\u0302\u0303":        "",
		"z\u0300\u0301x\u0302\u0303\u0304": "",
		"q\u0331x\u0331":                   "",
		"q\u0307":                          "", // the letter has no dot of its own
		"\u0e01\u0e34\u0e48":               "", // Thai, with a vowel and a tone
		"\u0915\u094d\u0930\u0947\u0902":   "", // Devanagari
	} {
		require.Equal(t, want, text.NameFlaw(s, 128), "%+q", s)
	}
	require.Equal(t, "must be at most 4 bytes long", text.NameFlaw("admin", 4))
}

// Every code point with one of these Unicode categories or properties is invisible, or is not assigned
// to a character.
func TestNoInvisibleCodePointIsPartOfAName(t *testing.T) {
	t.Parallel()
	requireFlaw := func(c rune) {
		if c == ' ' || !utf8.ValidRune(c) { // a surrogate is not valid in UTF-8
			return
		}
		if text.NameFlaw("a"+string(c)+"b", 8) == "" {
			t.Errorf("%U has no flaw", c)
		}
	}
	for _, table := range []*unicode.RangeTable{
		unicode.Cc, unicode.Cf, unicode.Z, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
		unicode.Join_Control, unicode.Bidi_Control, unicode.White_Space, unicode.Noncharacter_Code_Point,
	} {
		for _, r := range table.R16 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				requireFlaw(c)
			}
		}
		for _, r := range table.R32 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				requireFlaw(c)
			}
		}
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
		"zo\u00eb@example.com":         true,
		"zoe\u0308@example.com":        false, // not in NFKC
		"a\u200b@example.com":          false, // zero width space
		"a@ex\u00adample.com":          false, // soft hyphen
		"\uff41@example.com":           false, // full-width letter
	} {
		require.Equal(t, want, text.IsEmail(s), "%q", s)
	}
}
