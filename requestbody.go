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
	value := b.object.Value(i)
	switch value.Kind() {
	case strictjson.Absent:
		return false, nil
	case strictjson.Null:
		return false, errNull
	}
	flag, ok := value.Bool()
	if !ok {
		return false, invalidf(b.names[i], "must be true or false")
	}
	return flag, nil
}

var errNull = &requestError{http.StatusBadRequest, "Body must not have null for a field: leave the field out"}
