package strictjson

import "unicode/utf16"

// scanner reads JSON text (RFC 8259) that is known to be valid UTF-8.
type scanner struct {
	data []byte
	pos  int
}

// peek returns the next byte, or 0 at the end of the text. JSON text cannot contain the byte 0.
func (s *scanner) peek() byte {
	if s.pos == len(s.data) {
		return 0
	}
	return s.data[s.pos]
}

// take skips the next byte if it is c. It reports whether it has skipped the byte.
func (s *scanner) take(c byte) bool {
	if s.pos == len(s.data) || s.data[s.pos] != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// span is the position of a value in the text. It is not a slice of the text, because the slice
// would force the text onto the heap.
type span struct {
	kind       Kind
	start, end int
}

// value reads any value, and the white space before it. The argument depth is the nesting depth of
// the array or object around the value.
func (s *scanner) value(depth int) (span, error) {
	s.space()
	start := s.pos
	kind, err := s.skip(depth)
	return span{kind, start, s.pos}, err
}

func (s *scanner) skip(depth int) (Kind, error) {
	switch c := s.peek(); {
	case c == '"':
		return String, s.string()
	case c == '-' || '0' <= c && c <= '9':
		return Number, s.number()
	case c == 't':
		return Bool, s.word("true")
	case c == 'f':
		return Bool, s.word("false")
	case c == 'n':
		return Null, s.word("null")
	case c == '[':
		return Array, s.list(depth+1, ']', s.element)
	case c == '{':
		return Nested, s.list(depth+1, '}', s.member)
	default:
		return Absent, ErrSyntax
	}
}

// list reads an array or object, which begins at the next byte. The parameter end is the closing
// bracket of the array or object. The function item reads one element or member.
func (s *scanner) list(depth int, end byte, item func(depth int) error) error {
	if depth > maxDepth {
		return ErrTooLarge
	}
	s.pos++
	s.space()
	if s.take(end) {
		return nil
	}
	for {
		if err := item(depth); err != nil {
			return err
		}
		s.space()
		if s.take(end) {
			return nil
		}
		if !s.take(',') {
			return ErrSyntax
		}
	}
}

func (s *scanner) element(depth int) error {
	_, err := s.value(depth)
	return err
}

func (s *scanner) member(depth int) error {
	s.space()
	if err := s.string(); err != nil {
		return err
	}
	s.space()
	if !s.take(':') {
		return ErrSyntax
	}
	return s.element(depth)
}

func (s *scanner) string() error {
	if !s.take('"') {
		return ErrSyntax
	}
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			return nil
		case c < ' ':
			return ErrSyntax
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		}
	}
	return ErrSyntax
}

// escape reads the characters after a backslash.
func (s *scanner) escape() error {
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		return s.unicode()
	default:
		return ErrSyntax
	}
}

// unicode reads the four digits after \u. If they are the first half of a surrogate pair, unicode
// also reads the second half.
func (s *scanner) unicode() error {
	r := hex4(s.data[s.pos:])
	switch {
	case r < 0:
		return ErrSyntax
	case r == 0:
		return ErrEncoding
	}
	s.pos += 4
	if !utf16.IsSurrogate(r) {
		return nil
	}
	if !s.take('\\') || !s.take('u') {
		return ErrEncoding
	}
	low := hex4(s.data[s.pos:])
	if low < 0 || utf16.DecodeRune(r, low) == '\uFFFD' {
		return ErrEncoding
	}
	s.pos += 4
	return nil
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return ErrSyntax
	}
	if s.take('.') && !s.digits() {
		return ErrSyntax
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return ErrSyntax
		}
	}
	return nil
}

// digits skips digits and reports whether there was at least one.
func (s *scanner) digits() bool {
	start := s.pos
	for '0' <= s.peek() && s.peek() <= '9' {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) word(word string) error {
	end := s.pos + len(word)
	if end > len(s.data) || string(s.data[s.pos:end]) != word {
		return ErrSyntax
	}
	s.pos = end
	return nil
}
