package signing

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

const (
	// minVariety is the minimum number of different bytes in a secret, and of different steps from
	// one byte to the next. 32 random bytes, and 32 random hexadecimal digits, have more.
	minVariety = 8

	// minUnknown is the minimum number of characters outside the words of a placeholder. Random text
	// rarely contains a single word. 22 characters of base64 have 128 bits.
	minUnknown = 22
)

// placeholder finds the words of which texts such as "REPLACE THIS WITH YOUR JWT SECRET" consist,
// and the characters between words.
var placeholder = regexp.MustCompile(`[ _.-]|authentication|application|characters|development|` +
	`placeholder|production|generated?|password|changeme|sha256|session|signing|testing|another|` +
	`private|default|example|replace|should|change|secret|random|string|secure|please|public|` +
	`insert|server|strong|super|token|bytes?|chars|least|hs256|hmac|must|long|your|very|with|` +
	`this|that|here|auth|safe|need|test|read|jwt|key|app|bit|web|api|the|and|for|our`)

// weakness returns why a secret can be guessed, or "" if it has the variety of a random secret. The
// result continues a sentence that begins with the name of the secret. No check can find every
// guessable secret: a secret that was published looks random.
func weakness(secret []byte) string {
	steps := make([]byte, len(secret)-1)
	for i := range steps {
		steps[i] = secret[i+1] - secret[i]
	}
	switch n := variety(secret); {
	case n == 1:
		return "is one repeated byte"
	case n < minVariety:
		return fmt.Sprintf("has only %d different bytes", n)
	case variety(steps) < minVariety: // such as "abcdefgh…"
		return "is a sequence"
	}
	for n := 1; n < MinSecret && 2*n <= len(secret); n++ {
		if bytes.Equal(secret[n:], secret[:len(secret)-n]) {
			return fmt.Sprintf("repeats its first %d bytes", n)
		}
	}
	text := strings.ToLower(string(secret))
	if unknown := placeholder.ReplaceAllString(text, ""); unknown != text && len(unknown) < minUnknown {
		return "is a placeholder"
	}
	return ""
}

// variety returns the number of different bytes in b.
func variety(b []byte) int {
	n, seen := 0, [256]bool{}
	for _, c := range b {
		if !seen[c] {
			n, seen[c] = n+1, true
		}
	}
	return n
}

// isPaddedText reports whether the secret is visible ASCII text with white space at an end. A secret
// from a file or a form often has such white space. Of 10^14 random keys of 32 bytes, on average less
// than one looks like this.
func isPaddedText(secret []byte) bool {
	text := bytes.TrimSpace(secret)
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	return len(text) < len(secret) && !bytes.ContainsFunc(text, unprintable)
}
