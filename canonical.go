package auth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// segmentEncoding has one spelling for any bytes: padding bits must be zero. It passes over
// line breaks, so callers check text with isBase64URL first.
var segmentEncoding = base64.RawURLEncoding.Strict()

func decodeSegment(segment string) ([]byte, error) {
	return segmentEncoding.DecodeString(segment)
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// decodeBase64 accepts one spelling only of any bytes. Strict refuses padding bits; the
// decoder passes over line breaks, which are refused here.
func decodeBase64(encoding *base64.Encoding, text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break in base64")
	}
	return encoding.Strict().DecodeString(text)
}

// framed returns the parts, each after its length, so that no two different lists are the
// same bytes.
func framed(parts ...string) []byte {
	var text []byte
	for _, part := range parts {
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	return text
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the program instead
	return b
}
