package wire

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// WriteJSON answers with a JSON body. It sets headers so that caches do not store the body and
// browsers do not treat it as another type.
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
	w.Write(text) // an error means that the client has gone
}

// OptionalTime returns a pointer to the text that [Time] returns. For the zero time, OptionalTime
// returns nil, which is null in JSON.
func OptionalTime(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(Time(t))
}

// Time returns t as clients get it: RFC 3339 in UTC, in whole seconds.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339) }
