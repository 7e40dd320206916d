package text

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Flaw checks that s is valid UTF-8, has at most limit bytes, and has none of the characters that
// [HasControls] finds. It returns the rule that s breaks, or "" if s breaks none. An example of a
// rule is "must be valid UTF-8". Text without a flaw cannot change how the text around it is
// displayed.
func Flaw(s string, limit int) string {
	switch {
	case len(s) > limit:
		return fmt.Sprintf("must be at most %d bytes long", limit)
	case !utf8.ValidString(s):
		return "must be valid UTF-8"
	case HasControls(s):
		return "must not have control or bidirectional characters"
	}
	return ""
}

// IDFlaw returns the rule of [Flaw] that s breaks, or "is required" if s is empty, or "".
func IDFlaw(s string, limit int) string {
	if s == "" {
		return "is required"
	}
	return Flaw(s, limit)
}

// NameFlaw checks a name by which people recognize each other, such as a username. It returns the
// rule that s breaks, or "" if s breaks none. Besides the rules of [Flaw], a name must have no
// invisible characters, must be in normalization form NFKC, and must have no combining marks that
// people overlook. These rules prevent most pairs of different names that look the same. NameFlaw does
// not find different letters that look alike, such as a Cyrillic a.
func NameFlaw(s string, limit int) string {
	if flaw := Flaw(s, limit); flaw != "" {
		return flaw
	}
	first, _ := utf8.DecodeRuneInString(s)
	switch {
	case strings.ContainsFunc(s, isInvisible):
		return "must have only visible characters and plain spaces"
	case strings.Contains(s, "  "): // a page in HTML shows one space
		return "must not have two spaces in a row"
	case !norm.NFKC.IsNormalString(s):
		return "must be in Unicode normalization form NFKC"
	case unicode.Is(unicode.M, first): // it would be displayed on the text in front of the name
		return "must not begin with a combining mark"
	case hasUnclearMarks(s):
		return "must have at most 4 combining marks in a row, no mark twice, and no dot above a letter " +
			"that has a dot"
	}
	return ""
}

// hasUnclearMarks reports whether s has combining marks that people overlook (Unicode Technical
// Standard 39, section 5.4). A mark can be displayed exactly on an equal mark. A dot above the letter i
// is displayed as the letter's own dot. A high stack of marks covers the lines above the text.
func hasUnclearMarks(s string) bool {
	const longest, dotAbove = 4, '\u0307'
	var base, last rune
	marks := 0
	for _, r := range norm.NFD.String(s) { // a letter such as an e with an accent becomes two characters
		if !unicode.Is(unicode.Mn, r) {
			base, last, marks = r, r, 0
			continue
		}
		if marks++; marks > longest || r == last || r == dotAbove && unicode.Is(unicode.Soft_Dotted, base) {
			return true
		}
		last = r
	}
	return false
}

// isInvisible reports whether a person cannot see the character, or cannot tell it from a space. This
// includes characters that programs may ignore when they display text (the Unicode property
// Default_Ignorable_Code_Point). It also includes code points without a character, because a later
// version of Unicode may define their normalization.
func isInvisible(r rune) bool {
	switch r {
	case ' ':
		return false
	case '\u2800', '\u2D7F', '\U0001107F', '\U00013441', '\U00013442', '\U00016FE4', '\U0001D159':
		return true // blanks and joiners that Unicode does not list as ignorable
	}
	return !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.Zs, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// IsEmail reports whether s is an e-mail address (RFC 5322, section 3.4.1) without a display name.
// An address must also have no invisible characters and be in normalization form NFKC, because
// two addresses that look the same could belong to two people.
func IsEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	return err == nil && address.Address == s && NameFlaw(s, len(s)) == ""
}
