// Package text compares and cleans text that people read and type.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// FoldASCII returns s with the letters A to Z in lower case and every other byte as it is.
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
// stored order (Trojan Source, CVE-2021-42574).
func HasControls(s string) bool { return strings.ContainsFunc(s, isControl) }

func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Readable returns the part of s that is safe to show to people. It drops the characters of
// [HasControls] and bytes that are not UTF-8, and cuts the text to limit bytes at the end of a
// character. It reads at most the first 4*limit bytes of s.
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
