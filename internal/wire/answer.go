package wire

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// WriteJSON answers with a JSON body. Its headers keep caches from storing the body and browsers
// from treating it as another type.
func WriteJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // impossible with the types of this module
		status, text = http.StatusInternalServerError, []byte(`{"detail":"Internal error"}`)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	w.Write(text) // a client that has gone needs no answer
}

// OptionalTime returns [Time] of t, or nil, which is null in JSON, for the zero time.
func OptionalTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(Time(t))
}

// Time returns t as clients get it: RFC 3339 in UTC, in whole seconds.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339) }
