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

// readBody reads the body of a request, of whose fields the names are known.
func readBody(w http.ResponseWriter, r *http.Request, names []string) (jsonFields, error) {
	if !isJSON(r.Header) {
		return jsonFields{}, &requestError{http.StatusUnsupportedMediaType, "Content-Type must be application/json"}
	}
	data, err := readAll(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return jsonFields{}, &requestError{http.StatusRequestTimeout, "Body took too long to arrive"}
	case errors.As(err, &tooLarge):
		return jsonFields{}, &requestError{http.StatusRequestEntityTooLarge, "Body must be at most 8 KiB long"}
	case err != nil:
		return jsonFields{}, &requestError{http.StatusBadRequest, "Body could not be read"}
	}
	object, err := strictjson.Parse(data, names)
	if err != nil {
		return jsonFields{}, &requestError{http.StatusBadRequest, "Body " + jsonFault(err)}
	}
	return jsonFields{object: object, names: names}, nil
}

// readOwnBody is readBody for the calls that are ours: a field that is not known is
// refused, for one that is misspelt would be taken for one that is not there. A body
// that is empty is an object that is.
func readOwnBody(w http.ResponseWriter, r *http.Request, names []string) (jsonFields, error) {
	if r.ContentLength == 0 {
		return jsonFields{names: names}, nil
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
