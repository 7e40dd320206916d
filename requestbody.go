package auth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/strictjson"
)

// maxBodyLength is far above what any call needs.
const maxBodyLength = 8 << 10

// requestBody is the JSON object in the body of a request.
type requestBody struct {
	object strictjson.Object
	names  []string
}

// readBody reads the body of a request, of whose fields the names are known.
func readBody(w http.ResponseWriter, r *http.Request, names []string) (requestBody, error) {
	if !isJSON(r.Header) {
		return requestBody{}, &requestError{http.StatusUnsupportedMediaType, "Content-Type must be application/json"}
	}
	data, err := readAll(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return requestBody{}, &requestError{http.StatusRequestTimeout, "Body took too long to arrive"}
	case errors.As(err, &tooLarge):
		return requestBody{}, &requestError{http.StatusRequestEntityTooLarge, "Body must be at most 8 KiB long"}
	case err != nil:
		return requestBody{}, &requestError{http.StatusBadRequest, "Body could not be read"}
	}
	object, err := strictjson.Parse(data, names)
	if err != nil {
		return requestBody{}, &requestError{http.StatusBadRequest, bodyDetail(err)}
	}
	return requestBody{object: object, names: names}, nil
}

// readOwnBody is readBody for the calls that are ours: a field that is not known is
// refused, for one that is misspelt would be taken for one that is not there. A body
// that is empty is an object that is.
func readOwnBody(w http.ResponseWriter, r *http.Request, names []string) (requestBody, error) {
	if r.ContentLength == 0 {
		return requestBody{names: names}, nil
	}
	body, err := readBody(w, r, names)
	if err == nil && len(body.object.Unknown()) > 0 {
		err = &requestError{http.StatusUnprocessableEntity, "Body has a field that is not known: the fields are " + strings.Join(names, " and ")}
	}
	return body, err
}

// readAll reads the body within the time that the request may take: whoever sends
// a byte a minute does not keep a connection.
func readAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil { // in a request that no server has made
		return nil, nil
	}
	controller := http.NewResponseController(w)
	if deadline, ok := r.Context().Deadline(); ok {
		controller.SetReadDeadline(deadline) // not every server has deadlines
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyLength))
	if err == nil {
		// Left in place, it would look like a client that has gone. After an error
		// it stays, for the server still reads what is left of the body.
		controller.SetReadDeadline(time.Time{})
	}
	return data, err
}

func isJSON(header http.Header) bool {
	lines := header["Content-Type"]
	if len(lines) != 1 {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(lines[0])
	charset, given := params["charset"]
	return err == nil && mediaType == "application/json" && (!given || strings.EqualFold(charset, "utf-8"))
}

func bodyDetail(err error) string {
	switch {
	case errors.Is(err, strictjson.ErrDuplicate):
		return "Body must not have a field twice"
	case errors.Is(err, strictjson.ErrVariant):
		return "Body must have field names in lower case"
	case errors.Is(err, strictjson.ErrEncoding):
		return "Body must be UTF-8 text without NUL"
	default:
		return "Body must be one JSON object"
	}
}

// text returns a required field that is a string, and not an empty one.
func (b requestBody) text(i int) (string, error) {
	value := b.object.Value(i)
	switch value.Kind() {
	case strictjson.Absent:
		return "", invalidf(b.names[i], "is required")
	case strictjson.Null:
		return "", errNull
	}
	text, ok := value.Text()
	switch {
	case !ok:
		return "", invalidf(b.names[i], "must be a string")
	case text == "":
		return "", invalidf(b.names[i], "must not be empty")
	}
	return text, nil
}

// flag returns an optional field that is true or false.
func (b requestBody) flag(i int) (bool, error) {
	flag, err := b.optionalFlag(i)
	return flag != nil && *flag, err
}

// optionalFlag is flag with nil for a field that is not there.
func (b requestBody) optionalFlag(i int) (*bool, error) {
	flag, there, err := optional(b, i, strictjson.Value.Bool, "must be true or false")
	if !there {
		return nil, err
	}
	return &flag, nil
}

// optionalText returns an optional field that is a string, which may be empty.
func (b requestBody) optionalText(i int) (string, error) {
	text, _, err := optional(b, i, strictjson.Value.Text, "must be a string")
	return text, err
}

// number returns an optional field that is an integer.
func (b requestBody) number(i int) (int64, error) {
	n, _, err := optional(b, i, strictjson.Value.Int, "must be an integer")
	return n, err
}

// time returns an optional field that is a time.
func (b requestBody) time(i int) (time.Time, error) {
	const wanted = "must be a time such as 2030-01-02T03:04:05Z"
	text, there, err := optional(b, i, strictjson.Value.Text, wanted)
	if !there {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, invalidf(b.names[i], wanted)
	}
	return t, nil
}

// optional returns a field as read has it, and whether it is there.
func optional[T any](b requestBody, i int, read func(strictjson.Value) (T, bool), wanted string) (result T, there bool, err error) {
	value := b.object.Value(i)
	switch value.Kind() {
	case strictjson.Absent:
		return result, false, nil
	case strictjson.Null:
		return result, false, errNull
	}
	if result, there = read(value); !there {
		return result, false, invalidf(b.names[i], "%s", wanted)
	}
	return result, true, nil
}

var errNull = &requestError{http.StatusBadRequest, "Body must not have null for a field: leave the field out"}
