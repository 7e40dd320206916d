package auth

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/sallyport-go/auth/internal/strictjson"
)

// jsonFields reads the fields of a JSON object by name. The first field that is not as it must
// be sets err; from then on, every field reads as its zero value. A caller reads all fields and
// looks at err once.
type jsonFields struct {
	object strictjson.Object
	names  []string // of the fields that can be read, in the order of the object's values
	err    error
}

// jsonFault completes the sentence about text that strictjson.Parse refuses.
func jsonFault(err error) string {
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

// value returns the value of the field, which is Absent if the object does not have it.
func (f *jsonFields) value(name string) strictjson.Value {
	i := slices.Index(f.names, name)
	if i < 0 {
		panic("auth: field " + name + " is read and was not named") // a mistake in this package
	}
	return f.object.Value(i)
}

// fail sets err unless an earlier field has set it.
func (f *jsonFields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// text returns a required field that is a string, and not an empty one.
func (f *jsonFields) text(name string) string {
	text, given := optional(f, name, strictjson.Value.Text, "must be a string")
	switch {
	case f.err != nil:
	case !given:
		f.fail(invalidf(name, "is required"))
	case text == "":
		f.fail(invalidf(name, "must not be empty"))
	}
	return text
}

// optionalText returns a string, which may be empty, or "" if the field is absent.
func (f *jsonFields) optionalText(name string) string {
	text, _ := optional(f, name, strictjson.Value.Text, "must be a string")
	return text
}

// flag returns true or false, or false if the field is absent.
func (f *jsonFields) flag(name string) bool {
	flag, _ := optional(f, name, strictjson.Value.Bool, wantFlag)
	return flag
}

// optionalFlag returns a pointer to true or false, or nil if the field is absent.
func (f *jsonFields) optionalFlag(name string) *bool {
	flag, given := optional(f, name, strictjson.Value.Bool, wantFlag)
	if !given {
		return nil
	}
	return &flag
}

const wantFlag = "must be true or false"

// number returns an integer, or 0 if the field is absent.
func (f *jsonFields) number(name string) int64 {
	n, _ := optional(f, name, strictjson.Value.Int, "must be an integer")
	return n
}

// rfc3339 is the form of a time. time.Parse also accepts an hour of one digit and a comma
// (https://go.dev/issue/54580).
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`)

// time returns a time, or the zero time if the field is absent.
func (f *jsonFields) time(name string) time.Time {
	const want = "must be a time such as 2030-01-02T03:04:05Z"
	text, given := optional(f, name, strictjson.Value.Text, want)
	if !given {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	// The zero time would read as an absent field: a key that never expires.
	if err != nil || t.IsZero() || !rfc3339.MatchString(text) {
		f.fail(invalidf(name, want))
		return time.Time{}
	}
	return t
}

// optional returns a field that read accepts, and whether the object has it.
func optional[T any](f *jsonFields, name string, read func(strictjson.Value) (T, bool), want string) (result T, given bool) {
	if f.err != nil {
		return result, false
	}
	value := f.value(name)
	switch value.Kind() {
	case strictjson.Absent:
		return result, false
	case strictjson.Null:
		f.fail(errNull)
		return result, false
	}
	if result, given = read(value); !given {
		f.fail(invalidf(name, "%s", want))
	}
	return result, given
}

// errNull is the answer to a request with null for a field.
var errNull = &requestError{http.StatusBadRequest, "Body must not have null for a field: leave the field out"}
