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

const (
	maxBodyLength  = 8 << 10 // far above what any call needs
	maxContentType = 256     // parsing half a megabyte of parameters takes 25 ms
)

// readBody reads the JSON body of a published call, which ignores fields other than the named
// ones. If the body cannot be read, err of the result says why.
func readBody(w http.ResponseWriter, r *http.Request, names ...string) *jsonFields {
	fields := &jsonFields{names: names}
	if !isJSON(r.Header) {
		fields.err = &requestError{http.StatusUnsupportedMediaType, "Content-Type must be application/json"}
		return fields
	}
	data, err := readAll(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		fields.err = &requestError{http.StatusRequestTimeout, "Body took too long to arrive"}
	case errors.As(err, &tooLarge):
		fields.err = &requestError{http.StatusRequestEntityTooLarge, "Body must be at most 8 KiB long"}
	case err != nil:
		fields.err = &requestError{http.StatusBadRequest, "Body could not be read"}
	}
	if fields.err != nil {
		return fields
	}
	if fields.object, err = strictjson.Parse(data, names); err != nil {
		fields.err = &requestError{http.StatusBadRequest, "Body " + jsonFault(err)}
	}
	return fields
}

// readOwnBody is readBody for the calls that are not published: an unknown field is refused,
// because a misspelled field would read as an absent one. An empty body is an empty object.
func readOwnBody(w http.ResponseWriter, r *http.Request, names ...string) *jsonFields {
	if r.ContentLength == 0 {
		return &jsonFields{names: names}
	}
	fields := readBody(w, r, names...)
	if fields.err == nil && len(fields.object.Unknown()) > 0 {
		fields.err = &requestError{http.StatusUnprocessableEntity, "Body has a field that is not known: the fields are " + strings.Join(names, " and ")}
	}
	return fields
}

// readAll reads the body within the time that the request may take, so that a client that
// sends a byte a minute does not keep a connection.
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
		// Left in place, it would look like a client that has gone. After an error it stays,
		// because the server still reads the rest of the body.
		controller.SetReadDeadline(time.Time{})
	}
	return data, err
}

func isJSON(header http.Header) bool {
	lines := header["Content-Type"]
	if len(lines) != 1 || len(lines[0]) > maxContentType {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(lines[0])
	charset, given := params["charset"]
	return err == nil && mediaType == "application/json" && (!given || strings.EqualFold(charset, "utf-8"))
}
