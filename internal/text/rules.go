package text

import (
	"fmt"
	"net/mail"
	"unicode/utf8"
)

// Flaw returns the rule that s breaks as text of at most limit bytes, such as "must be valid
// UTF-8", or "" if s breaks none. Nothing in text without a flaw controls how the text around it
// is shown.
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

// IsEmail reports whether s is an e-mail address without a name beside it (RFC 5322, section
// 3.4.1).
func IsEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	return err == nil && address.Address == s
}
