// Package strictjson parses a JSON object for security decisions: it accepts only text that every
// reader understands in the same way.
//
// RFC 8259 leaves the meaning of some texts to each reader. Package strictjson refuses these texts,
// which encoding/json accepts:
//
//   - a name that occurs twice
//   - a name that encoding/json reads as another name, such as "SUB" for the field "sub", or
//     "acce\u017f\u017f_key" (with the long s, \u017f) for the field "access_key"
//   - invalid UTF-8, half a surrogate pair, and the character NUL
//
// Package strictjson also refuses text after the object.
package strictjson

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// The limits of an object.
const (
	MaxKnown   = 16 // maximum number of known names
	maxMembers = 256
	maxDepth   = 32
)

// The errors of [Parse].
var (
	ErrSyntax    = errors.New("strictjson: not one JSON object")
	ErrEncoding  = errors.New("strictjson: not valid UTF-8, or a NUL in a string")
	ErrDuplicate = errors.New("strictjson: a name is given twice")
	ErrVariant   = errors.New("strictjson: a known name in other letters")
	ErrTooLarge  = errors.New("strictjson: too many members or nested too deeply")
)

// Object is a parsed JSON object. It holds the values of the known members, whose names were passed
// to [Parse].
type Object struct {
	data []byte
	members
}

type members struct {
	values  [MaxKnown]span
	unknown []string
}

// Value returns the value of the known member with the index i. The Kind of the Value is Absent if
// the object does not have the member.
func (o *Object) Value(i int) Value {
	v := o.values[i]
	return Value{kind: v.kind, text: o.data[v.start:v.end]}
}

// Unknown returns the names of the members whose names were not passed to [Parse].
func (o *Object) Unknown() []string { return o.unknown }

// Parse parses data, which must be a single object with optional white space around it. The
// parameter known lists the names of the members whose values the caller needs, at most MaxKnown
// names. The values share the memory of data.
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

// members reads the members of the object, up to and including the closing brace of the object. It
// adds each member to the parameter found.
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
	// Check that the name is neither a variant of a known name nor a duplicate. Both checks are
	// quadratic, but there are at most maxMembers names.
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
