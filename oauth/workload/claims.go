package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

const maxClaim = 1024 // length of a string in Claims, in bytes

// check returns an error that begins with the name of the field and says what to change.
func (c Claims) check(field string) error {
	for name, value := range c {
		at := fmt.Sprintf("%s[%q]", field, name)
		switch value := value.(type) {
		case string:
			if !isClaim(value) {
				return fmt.Errorf("%s must be text of 1 to %d bytes", at, maxClaim)
			}
		case []string:
			if len(value) == 0 {
				return fmt.Errorf("%s is empty", at)
			}
			for i, one := range value {
				if !isClaim(one) {
					return fmt.Errorf("%s[%d] must be text of 1 to %d bytes", at, i, maxClaim)
				}
			}
		case bool, int, int64:
		case Claims:
			if len(value) == 0 {
				return fmt.Errorf("%s is empty", at)
			}
			if err := value.check(at); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is a %T; it must be a string, []string, bool, int, int64 or Claims", at,
				value)
		}
	}
	return nil
}

// isClaim reports whether an assertion can have the text. U+FFFD stands for broken text in an assertion.
func isClaim(text string) bool {
	return text != "" && len(text) <= maxClaim && utf8.ValidString(text) &&
		!strings.ContainsRune(text, utf8.RuneError)
}

// clone returns a copy of the claims, which the host cannot change.
func (c Claims) clone() Claims {
	copied := maps.Clone(c)
	for name, value := range copied {
		switch value := value.(type) {
		case Claims:
			copied[name] = value.clone()
		case []string:
			copied[name] = slices.Clone(value)
		}
	}
	return copied
}

// missing returns the name of the first claim that is not equal to that of the assertion, or "" if all are
// equal. The first one by name makes the reason of a rejection the same each time.
func (c Claims) missing(given map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if !equal(c[name], given[name]) {
			return name
		}
	}
	return ""
}

// equal compares a value of Claims with a value of an assertion, as readObject returns it.
func equal(want, given any) bool {
	switch want := want.(type) {
	case Claims:
		object, ok := given.(map[string]any)
		return ok && want.missing(object) == ""
	case []string:
		text, ok := given.(string)
		return ok && slices.Contains(want, text)
	case int:
		return given == json.Number(strconv.Itoa(want))
	case int64:
		return given == json.Number(strconv.FormatInt(want, 10))
	}
	return given == want
}

// integer returns a claim that is an integer above zero, in its usual spelling.
func integer(value any) (n int64, ok bool) {
	text, _ := value.(json.Number)
	n, err := strconv.ParseInt(string(text), 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == string(text)
}

// readObject reads the object of a header or of claims. It refuses text that readers could understand in
// different ways: a name that is there twice, at any depth, and text that is not UTF-8. A number is a
// [json.Number].
func readObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.SetNumberType(json.UnmarshalJSONNumber)
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || object == nil {
		return nil, errors.New("it is not a JSON object, or has a name twice")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("text follows the JSON object")
	}
	return object, nil
}
