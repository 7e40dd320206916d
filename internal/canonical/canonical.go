// Package canonical reads and writes bytes in forms that have exactly one spelling for each value.
// So no signed, sealed or stored value has a second text with the same meaning.
package canonical

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// Base64URL is base64url without padding. It rejects text whose last character has unused bits that
// are not zero. But it ignores line breaks. So check text with [IsBase64URL] first, or decode the
// text with [DecodeBase64URL].
var Base64URL = base64.RawURLEncoding.Strict()

// DecodeBase64URL decodes base64url without padding. It returns an error for any other spelling.
func DecodeBase64URL(text string) ([]byte, error) {
	return DecodeBase64(base64.RawURLEncoding, text)
}

// DecodeBase64 decodes text in the given encoding. It accepts only the spelling that the encoding
// itself writes. So it rejects line breaks, and unused bits that are not zero. By default,
// encoding/base64 ignores both.
func DecodeBase64(encoding *base64.Encoding, text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break in base64")
	}
	return encoding.Strict().DecodeString(text)
}

// IsBase64URL reports whether text is not empty and has only characters of base64url.
func IsBase64URL(text string) bool {
	for i := range len(text) {
		if c := text[i]; !IsAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return text != ""
}

// IsAlphanumeric reports whether c is an ASCII letter or digit.
func IsAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// Frame encodes the parts as bytes. The length of each part comes before the part, so that two
// different lists never have the same encoding.
func Frame(parts ...string) []byte {
	var framed []byte
	for _, part := range parts {
		framed = binary.BigEndian.AppendUint64(framed, uint64(len(part)))
		framed = append(framed, part...)
	}
	return framed
}
