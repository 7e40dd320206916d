// Package text checks, compares and cleans text that people type and read.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// FoldASCII returns s with the letters A to Z in lower case. It does not change any other byte.
func FoldASCII(s string) string {
	folded := []byte(s)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + ('a' - 'A')
		}
	}
	return string(folded)
}

// HasControls reports whether s has a control character, a line or paragraph separator, or a
// bidirectional control. A bidirectional control can make text appear in another order than the
// order in which the text is stored (Trojan Source, CVE-2021-42574).
func HasControls(s string) bool { return strings.ContainsFunc(s, isControl) }

func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Readable returns the part of s that is safe to show to people. It drops invalid UTF-8 and the
// characters that [HasControls] finds. It then cuts the text to at most limit bytes, without
// splitting a character. Readable reads at most the first 4*limit bytes of s.
func Readable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || isControl(r) {
			return -1
		}
		return r
	}, s[:min(len(s), 4*limit)])
	for len(s) > limit {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// MaxErrorText is the limit for [ShortError] at the errors of HTTP clients, in bytes.
const MaxErrorText = 1024

// ShortError returns an error with the text of err, changed as [Readable] changes it, that wraps
// err. Errors of net/http can quote megabytes of what another server has sent.
func ShortError(err error, limit int) error {
	full := err.Error()
	if short := Readable(full, limit); short != full {
		return &shortError{err, short}
	}
	return err
}

// WithoutSecrets returns an error with the text of err that wraps err. In the text, each of the secrets is
// replaced.
func WithoutSecrets(err error, secrets ...string) error {
	full := err.Error()
	clean := full
	for _, secret := range secrets {
		if secret != "" {
			clean = strings.ReplaceAll(clean, secret, "[redacted]")
		}
	}
	if clean != full {
		return &shortError{err, clean}
	}
	return err
}

type shortError struct {
	error
	text string
}

func (e *shortError) Error() string { return e.text }

func (e *shortError) Unwrap() error { return e.error }
