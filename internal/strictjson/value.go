package strictjson

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Kind is the type of a JSON value.
type Kind uint8

// The kinds of values. Absent, the zero Kind, means that the object does not have the member.
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Array
	Nested // an object inside another value
)

// Value is a JSON value, as text and with its kind.
type Value struct {
	kind Kind
	text []byte
}

// Kind returns the value's type.
func (v Value) Kind() Kind { return v.kind }

// Raw returns the JSON text of the value, or no bytes if the value is Absent. If the value is
// Nested, [Parse] can parse this text.
func (v Value) Raw() []byte { return v.text }

// Text returns the value as a string; ok is false if the value is not a string.
func (v Value) Text() (text string, ok bool) {
	if v.kind != String {
		return "", false
	}
	return string(v.inner()), true
}

// Elements returns the elements of the array; ok is false if the value is not an array.
func (v Value) Elements() (elements []Value, ok bool) {
	if v.kind != Array {
		return nil, false
	}
	s := scanner{data: v.text, pos: 1}
	for s.space(); !s.take(']'); s.space() {
		element, _ := s.value(1) // the scanner has already accepted it
		elements = append(elements, Value{element.kind, s.data[element.start:element.end]})
		s.space()
		s.take(',')
	}
	return elements, true
}

// Is reports whether the value is a string equal to text. It does not copy the string.
func (v Value) Is(text string) bool {
	return v.kind == String && string(v.inner()) == text
}

// inner returns the characters of a string: it removes the quotes and replaces the escapes.
func (v Value) inner() []byte {
	inner := v.text[1 : len(v.text)-1]
	if bytes.IndexByte(inner, '\\') >= 0 {
		return unescape(inner)
	}
	return inner
}

// Int returns the value as an integer; ok is false if the value is not an integer that fits into an
// int64. A number that is written with a fraction or an exponent, or as -0, does not count as an
// integer.
func (v Value) Int() (n int64, ok bool) {
	if v.kind != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.text), 10, 64)
	return n, err == nil && !(n == 0 && v.text[0] == '-')
}

// Bool returns the value as a boolean; ok is false if the value is not a boolean.
func (v Value) Bool() (value, ok bool) {
	if v.kind != Bool {
		return false, false
	}
	return v.text[0] == 't', true
}

// unescape replaces the escapes of a JSON string. The parameter inner is the text between the
// quotes. unescape cannot fail, because the scanner has already accepted the string.
func unescape(inner []byte) []byte {
	out := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		if inner[i] != '\\' {
			out = append(out, inner[i])
			continue
		}
		i++
		switch c := inner[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(inner[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, hex4(inner[i+3:]))
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default: // the quote, the slash and the backslash
			out = append(out, c)
		}
	}
	return out
}

// hex4 reads the first four bytes of b as a hexadecimal number. It returns -1 if they are not four
// hexadecimal digits.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}
