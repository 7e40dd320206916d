package auth

import (
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/sallyport-go/auth/internal/strictjson"
)

// jsonFields is a JSON object whose fields have these names. Its methods return the
// i-th.
type jsonFields struct {
	object strictjson.Object
	names  []string
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

// text returns a required field that is a string, and not an empty one.
func (f jsonFields) text(i int) (string, error) {
	value := f.object.Value(i)
	switch value.Kind() {
	case strictjson.Absent:
		return "", invalidf(f.names[i], "is required")
	case strictjson.Null:
		return "", errNull
	}
	text, ok := value.Text()
	switch {
	case !ok:
		return "", invalidf(f.names[i], "must be a string")
	case text == "":
		return "", invalidf(f.names[i], "must not be empty")
	}
	return text, nil
}

// flag returns an optional field that is true or false.
func (f jsonFields) flag(i int) (bool, error) {
	flag, err := f.optionalFlag(i)
	return flag != nil && *flag, err
}

// optionalFlag is flag with nil for a field that is not there.
func (f jsonFields) optionalFlag(i int) (*bool, error) {
	flag, there, err := optional(f, i, strictjson.Value.Bool, "must be true or false")
	if !there {
		return nil, err
	}
	return &flag, nil
}

// optionalText returns an optional field that is a string, which may be empty.
func (f jsonFields) optionalText(i int) (string, error) {
	text, _, err := optional(f, i, strictjson.Value.Text, "must be a string")
	return text, err
}

// number returns an optional field that is an integer.
func (f jsonFields) number(i int) (int64, error) {
	n, _, err := optional(f, i, strictjson.Value.Int, "must be an integer")
	return n, err
}

// rfc3339 is what a time looks like: time.Parse takes an hour of one digit and a comma
// besides (https://go.dev/issue/54580).
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`)

// time returns an optional field that is a time.
func (f jsonFields) time(i int) (time.Time, error) {
	const wanted = "must be a time such as 2030-01-02T03:04:05Z"
	text, there, err := optional(f, i, strictjson.Value.Text, wanted)
	if !there {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, text)
	// Zero would be a time that is not given: a key that never expires.
	if err != nil || t.IsZero() || !rfc3339.MatchString(text) {
		return time.Time{}, invalidf(f.names[i], wanted)
	}
	return t, nil
}

// optional returns a field as read has it, and whether it is there.
func optional[T any](f jsonFields, i int, read func(strictjson.Value) (T, bool), wanted string) (result T, there bool, err error) {
	value := f.object.Value(i)
	switch value.Kind() {
	case strictjson.Absent:
		return result, false, nil
	case strictjson.Null:
		return result, false, errNull
	}
	if result, there = read(value); !there {
		return result, false, invalidf(f.names[i], "%s", wanted)
	}
	return result, true, nil
}

// errNull is what a request with null for a field is answered with.
var errNull = &requestError{http.StatusBadRequest, "Body must not have null for a field: leave the field out"}
