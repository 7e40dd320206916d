// Package wire reads what clients send, strictly and with limits on size and time, and writes JSON
// answers.
package wire

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

// RequestError is the answer to a request that cannot be read, or that the service refuses.
type RequestError struct {
	Status int    // of the HTTP response
	Detail string // a sentence for the client
}

// Error returns "auth: " with the detail.
func (e *RequestError) Error() string { return "auth: " + e.Detail }

// ReadBody reads the JSON body of a request. It ignores fields other than the given names, because
// existing clients send other fields. If the body cannot be read, [Fields.Err] of the result
// returns a [*RequestError] with status 400, 408, 413 or 415. Status 408 means that the client took
// too long.
func ReadBody(w http.ResponseWriter, r *http.Request, names ...string) *Fields {
	fields := &Fields{names: names}
	if !isJSON(r.Header) {
		fields.err = &RequestError{http.StatusUnsupportedMediaType,
			"Content-Type must be application/json, in UTF-8"}
		return fields
	}
	data, err := readAll(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		fields.err = &RequestError{http.StatusRequestTimeout, "Body took too long to arrive"}
	case errors.As(err, &tooLarge):
		fields.err = &RequestError{http.StatusRequestEntityTooLarge, "Body must be at most 8 KiB long"}
	case err != nil:
		fields.err = &RequestError{http.StatusBadRequest, "Body could not be read"}
	}
	if fields.err != nil {
		return fields
	}
	if fields.object, err = strictjson.Parse(data, names); err != nil {
		fields.err = &RequestError{http.StatusBadRequest, "Body " + fault(err)}
	}
	return fields
}

// ReadStrictBody does the same as [ReadBody], but refuses an unknown field with status 422. So a
// field with a misspelled name does not count as absent. ReadStrictBody reads an empty body as an
// empty object.
func ReadStrictBody(w http.ResponseWriter, r *http.Request, names ...string) *Fields {
	if r.ContentLength == 0 {
		return &Fields{names: names}
	}
	fields := ReadBody(w, r, names...)
	if fields.err == nil && len(fields.object.Unknown()) > 0 {
		fields.err = &RequestError{
			http.StatusUnprocessableEntity, "Body has a field that is not known: the fields are " + enumerate(names),
		}
	}
	return fields
}

// enumerate returns the names as in a sentence, such as "label, expires_at and scopes".
func enumerate(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// readAll reads the body. The read may take half of the time that the request's context has left. So
// a client that sends a byte a minute does not keep a connection. A client that sends the last byte
// just in time leaves the store enough time to answer, and cannot make it look as if the store fails.
func readAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil { // a server always sets Body, but a test may leave it nil
		return nil, nil
	}
	controller := http.NewResponseController(w)
	if deadline, ok := r.Context().Deadline(); ok {
		// SetReadDeadline returns an error if the server has no deadlines.
		controller.SetReadDeadline(deadline.Add(-time.Until(deadline) / 2))
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyLength))
	if err == nil {
		// Remove the deadline. If it expired later, the server would believe that the client has
		// gone. After an error the deadline stays, because the server still reads the rest of the
		// body.
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
	// "utf8" is not the name of a charset, but a common mistake.
	return err == nil && mediaType == "application/json" &&
		(!given || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8"))
}
