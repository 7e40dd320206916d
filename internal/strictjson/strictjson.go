// Package strictjson reads one JSON object as a security decision needs it
// read: so that no two readers can disagree about what it says.
//
// It refuses what encoding/json lets through and RFC 8259 leaves to each
// reader: a name given twice, a known name in other letters (to encoding/json
// "SUB", and "acce\u017f\u017f_key" with its long s, are spellings of a field),
// invalid UTF-8, half a surrogate pair, the character NUL, and anything behind
// the object.
package strictjson

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// What an object may be at the most.
const (
	MaxKnown   = 16 // names that a caller can ask for
	maxMembers = 256
	maxDepth   = 32
)

// The reasons for which Parse refuses its input.
var (
	ErrSyntax    = errors.New("strictjson: not one JSON object")
	ErrEncoding  = errors.New("strictjson: not valid UTF-8, or a NUL in a string")
	ErrDuplicate = errors.New("strictjson: a name is given twice")
	ErrVariant   = errors.New("strictjson: a known name in other letters")
	ErrTooLarge  = errors.New("strictjson: too many members or nested too deeply")
)

// Object is the members of one JSON object that the caller knows.
type Object struct {
	data []byte
	members
}

type members struct {
	values  [MaxKnown]span
	unknown []string
}

// Value returns the value of the i-th known name; its Kind is Absent where the
// object does not have it.
func (o *Object) Value(i int) Value {
	v := o.values[i]
	return Value{kind: v.kind, text: o.data[v.start:v.end]}
}

// Unknown returns the names that are not among the known ones.
func (o *Object) Unknown() []string { return o.unknown }

// Parse reads the object that data consists of, white space around it aside.
// The values it returns are parts of data. More than MaxKnown known names are a
// mistake in the calling code, and panic.
func Parse(data []byte, known []string) (Object, error) {
	if !utf8.Valid(data) {
		return Object{}, ErrEncoding
	}
	s := scanner{data: data}
	s.space()
	if !s.take('{') {
		return Object{}, ErrSyntax
	}
	s.space()
	var found members
	if !s.take('}') {
		if err := s.members(&found, known); err != nil {
			return Object{}, err
		}
	}
	s.space()
	if s.pos != len(data) {
		return Object{}, ErrSyntax
	}
	return Object{data, found}, nil
}

// members reads what stands between the braces, and the closing one.
func (s *scanner) members(found *members, known []string) error {
	for count := 1; ; count++ {
		if count > maxMembers {
			return ErrTooLarge
		}
		start := s.pos
		if err := s.string(); err != nil {
			return err
		}
		name := s.data[start+1 : s.pos-1]
		s.space()
		if !s.take(':') {
			return ErrSyntax
		}
		value, err := s.value(1)
		if err != nil {
			return err
		}
		if err := found.add(name, value, known); err != nil {
			return err
		}
		s.space()
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return ErrSyntax
		}
		s.space()
	}
}

func (m *members) add(name []byte, value span, known []string) error {
	if bytes.IndexByte(name, '\\') >= 0 {
		name = unescape(name)
	}
	for i, k := range known {
		if string(name) == k {
			if m.values[i].kind != Absent {
				return ErrDuplicate
			}
			m.values[i] = value
			return nil
		}
	}
	// Not a known name: then not a variant of one either, and not seen before.
	// Both tests are quadratic, over at most maxMembers names.
	text := string(name)
	for _, k := range known {
		if strings.EqualFold(text, k) {
			return ErrVariant
		}
	}
	for _, u := range m.unknown {
		if text == u {
			return ErrDuplicate
		}
	}
	m.unknown = append(m.unknown, text)
	return nil
}
