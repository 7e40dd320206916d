package text

import (
	"fmt"
	"net/mail"
	"unicode/utf8"
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

// IsEmail reports whether s is an e-mail address (RFC 5322, section 3.4.1) without a display name.
func IsEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	return err == nil && address.Address == s
}
