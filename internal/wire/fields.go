package wire

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/strictjson"
)

// Fields reads the fields of a JSON object by name. The first field that breaks a rule sets the
// error. After that, every field reads as its zero value. A caller reads all fields and then calls
// [Fields.Err] once.
type Fields struct {
	object strictjson.Object
	names  []string // names of the fields that can be read; names[i] has the value object.Value(i)
	err    error
}

// FieldError says which field was refused, and which rule the field broke. It does not contain the
// value of the field.
type FieldError struct {
	Field  string // the field's name on the wire
	Reason string // the end of a sentence that begins with Field, for example "must be a string"
}

// Error returns "auth: " with the field and the reason.
func (e *FieldError) Error() string { return fmt.Sprintf("auth: %s %s", e.Field, e.Reason) }

// ErrNull means that a field is null. Some programs treat null like a missing field, and others do
// not, so a client must leave the field out.
var ErrNull error = &RequestError{http.StatusBadRequest,
	"Body must not have null for a field: leave the field out"}

// Parse reads a JSON object that has no fields but the given ones. If Parse ignored other fields, a
// misspelled field would read as an absent field. The message of an error is the end of a sentence,
// for example "must be one JSON object". The caller puts the name of the object before the message.
func Parse(text []byte, names []string) (*Fields, error) {
	object, err := strictjson.Parse(text, names)
	switch {
	case err != nil:
		return nil, errors.New(fault(err))
	case len(object.Unknown()) > 0:
		return nil, errors.New("must have no fields but " + strings.Join(names, ", "))
	}
	return &Fields{object: object, names: names}, nil
}

// fault returns the message for an error of strictjson.Parse. The message is the end of a sentence,
// for example "must be one JSON object".
func fault(err error) string {
	switch {
	case errors.Is(err, strictjson.ErrDuplicate):
		return "must not have a field twice"
	case errors.Is(err, strictjson.ErrVariant):
		return "must have field names in lower case"
	case errors.Is(err, strictjson.ErrEncoding):
		return "must be UTF-8 text without NUL"
	default:
		return "must be one JSON object"
	}
}

// Err returns the error of the first field that broke a rule, or nil. The error is a [*FieldError],
// a [*RequestError] such as [ErrNull], or the argument of [Fields.Fail].
func (f *Fields) Err() error { return f.err }

// Fail sets the error, unless an error is already set.
func (f *Fields) Fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *Fields) refuse(name, reason string) { f.Fail(&FieldError{Field: name, Reason: reason}) }

// Value returns the value of the field, which is Absent if the object does not have the field.
// Value panics if the name is not among the names that were passed to [ReadBody], [ReadStrictBody]
// or [Parse].
func (f *Fields) Value(name string) strictjson.Value {
	i := slices.Index(f.names, name)
	if i < 0 {
		panic("auth: field " + name + " is read and was not named")
	}
	return f.object.Value(i)
}

// Text returns the value of a required field, which must be a string and not empty.
func (f *Fields) Text(name string) string {
	text, given := optional(f, name, strictjson.Value.Text, "must be a string")
	switch {
	case f.err != nil:
	case !given:
		f.refuse(name, "is required")
	case text == "":
		f.refuse(name, "must not be empty")
	}
	return text
}

// NonEmptyText returns the value of an optional string field, or "" if the field is absent. An empty
// string is an error.
func (f *Fields) NonEmptyText(name string) string {
	text, given := optional(f, name, strictjson.Value.Text, "must be a string")
	if given && text == "" {
		f.refuse(name, "must not be empty: leave the field out")
	}
	return text
}

// OptionalText returns the value of a string field, or "" if the field is absent. The string may be
// empty.
func (f *Fields) OptionalText(name string) string {
	text, _ := optional(f, name, strictjson.Value.Text, "must be a string")
	return text
}

// GivenText returns a pointer to the value of a string field, or nil if the field is absent. The string
// may be empty.
func (f *Fields) GivenText(name string) *string {
	text, given := optional(f, name, strictjson.Value.Text, "must be a string")
	if !given {
		return nil
	}
	return &text
}

// NullableText returns a pointer to the value of a string field, or nil if the field is absent. It
// returns a pointer to the empty string if the field is null. An empty string is an error.
func (f *Fields) NullableText(name string) *string {
	if f.err == nil && f.Value(name).Kind() == strictjson.Null {
		return new("")
	}
	text := f.GivenText(name)
	if text != nil && *text == "" {
		f.refuse(name, "must not be empty: null removes it")
	}
	return text
}

// Texts returns the value of an optional field with an array of strings. The result given reports whether
// the object has the field.
func (f *Fields) Texts(name string) (texts []string, given bool) {
	return optional(f, name, func(value strictjson.Value) (texts []string, ok bool) {
		elements, ok := value.Elements()
		for _, element := range elements {
			text, isText := element.Text()
			texts, ok = append(texts, text), ok && isText
		}
		return texts, ok
	}, "must be an array of strings")
}

// Flag returns the value of a boolean field, or false if the field is absent.
func (f *Fields) Flag(name string) bool {
	flag, _ := optional(f, name, strictjson.Value.Bool, wantFlag)
	return flag
}

// OptionalFlag returns a pointer to the value of a boolean field, or nil if the field is absent.
func (f *Fields) OptionalFlag(name string) *bool {
	flag, given := optional(f, name, strictjson.Value.Bool, wantFlag)
	if !given {
		return nil
	}
	return &flag
}

const wantFlag = "must be true or false"

// Number returns the value of an integer field, or 0 if the field is absent.
func (f *Fields) Number(name string) int64 {
	n, _ := optional(f, name, strictjson.Value.Int, "must be an integer")
	return n
}

// rfc3339 matches a time in the form of RFC 3339. time.Parse is less strict: it also accepts an
// hour of one digit, and a comma before the fraction (https://go.dev/issue/54580).
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`)

// Time returns the value of a field with a time (RFC 3339), or the zero time if the field is
// absent.
func (f *Fields) Time(name string) time.Time {
	const want = "must be a time such as 2030-01-02T03:04:05Z"
	text, given := optional(f, name, strictjson.Value.Text, want)
	if !given {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	// The zero time would read as an absent field, and a key with this expiry would never expire.
	if err != nil || t.IsZero() || !rfc3339.MatchString(text) {
		f.refuse(name, want)
		return time.Time{}
	}
	return t
}

// optional returns the value of a field, and whether the object has the field with a valid value.
// The parameter read converts the value, and returns false if the value is not valid. The parameter
// want is the rule for a valid value, for example "must be a string".
func optional[T any](
	f *Fields, name string, read func(strictjson.Value) (T, bool), want string,
) (result T, given bool) {
	if f.err != nil {
		return result, false
	}
	value := f.Value(name)
	switch value.Kind() {
	case strictjson.Absent:
		return result, false
	case strictjson.Null:
		f.Fail(ErrNull)
		return result, false
	}
	if result, given = read(value); !given {
		f.refuse(name, want)
	}
	return result, given
}
