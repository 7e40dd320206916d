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

// NameFlaw checks a name by which people recognize each other, such as a username. It returns the
// rule that s breaks, or "" if s breaks none. The rules are those of [Flaw], and further rules so
// that two names that look the same are the same bytes: a name has no invisible characters, and is
// in normalization form NFKC. NameFlaw does not find letters of other scripts that look alike, such
// as a Cyrillic a.
func NameFlaw(s string, limit int) string {
	if flaw := Flaw(s, limit); flaw != "" {
		return flaw
	}
	first, _ := utf8.DecodeRuneInString(s)
	switch {
	case strings.ContainsFunc(s, isInvisible):
		return "must have only visible characters and plain spaces"
	case !norm.NFKC.IsNormalString(s):
		return "must be in Unicode normalization form NFKC"
	case unicode.Is(unicode.M, first): // it would be displayed on the text in front of the name
		return "must not begin with a combining mark"
	}
	return ""
}

// isInvisible reports whether a person cannot see the character, or cannot tell it from a space. It
// includes the characters that programs may ignore when they display text (the property
// Default_Ignorable_Code_Point of Unicode), and the code points to which Unicode has given no
// character yet, because their normalization may still change.
func isInvisible(r rune) bool {
	switch r {
	case ' ':
		return false
	case '\u2800', '\U00016FE4', '\U0001D159': // blank symbols that Unicode does not list as ignorable
		return true
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
