package wire

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// DenyFrames adds a header that makes browsers refuse to show the answer in a frame. The page around a
// frame could cover the answer, or make a person copy a secret out of it. If a middleware of the host
// has set a policy, the policy stays, and browsers apply both.
//
// DenyFrames does not set X-Frame-Options, because every browser since 2016 supports frame-ancestors.
func DenyFrames(header http.Header) { AddPolicy(header, "frame-ancestors 'none'") }

// AddPolicy adds a Content-Security-Policy, unless the answer has the same policy already. Other
// policies stay.
func AddPolicy(header http.Header, policy string) {
	const name = "Content-Security-Policy"
	if !slices.Contains(header[name], policy) {
		header.Add(name, policy)
	}
}

// WriteJSON answers with a JSON body, which ends with a newline: without the newline, the prompt of a
// shell would follow the body on the same line. WriteJSON sets headers so that caches do not store
// the body, and browsers neither treat it as another type nor show it in a frame.
func WriteJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // impossible with the types of this module
		status, text = http.StatusInternalServerError, []byte(`{"detail":"Internal error"}`)
	}
	text = append(text, '\n')
	header := w.Header()
	DenyFrames(header)
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	w.Write(text) // an error means that the client has gone
}

// OptionalTime returns a pointer to the text that [Time] returns. For the zero time, and for a time
// that RFC 3339 cannot express in UTC, OptionalTime returns nil, which is null in JSON.
func OptionalTime(t time.Time) *string {
	if year := t.UTC().Year(); t.IsZero() || year < 1 || year > 9999 {
		return nil
	}
	return new(Time(t))
}

// Time returns t as clients get it: RFC 3339 in UTC, in whole seconds.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339) }
