// Package browser contains the rules for requests of browsers: where a request comes from, how a
// session is kept in a cookie, and where to send the browser after a flow.
package browser

import (
	"net/http"
	"slices"
	"strings"
)

// Source is where a GET request comes from that writes.
//
// A browser sends a GET for any page and adds its cookies. The calls that begin a flow with GitHub
// are GETs that write: they set a cookie and lead to a session. A page of another origin could make
// these calls again and again in a hidden frame. Browsers say in headers where a request comes from
// (https://www.w3.org/TR/fetch-metadata/).
type Source int

const (
	// Allowed means that a page of the host, the person at the browser, or a program has sent the
	// request. A request without Sec-Fetch-Site is allowed, because programs and old browsers do
	// not send this header. (Programs on Node.js send Sec-Fetch-Mode alone.)
	Allowed Source = iota

	// Unproven is a navigation of a whole tab or window from another origin, without
	// Sec-Fetch-User. In Chromium and Firefox, a script caused the navigation. In Safari, a script
	// or a click caused it: Safari sends the other three headers since 16.4 but never
	// Sec-Fetch-User.
	Unproven

	// Foreign is a frame, fetch, image or WebSocket of another origin.
	Foreign
)

// SourceOf returns where a GET that writes comes from. The origin is the host's own. Pages of the
// other origins may fetch if they are on the same site. For a page of another site, a browser drops
// the cookies of the answer.
func SourceOf(r *http.Request, origin string, others []string) Source {
	from := r.Header["Origin"]
	if len(r.Header["Upgrade"]) > 0 && len(from) > 0 {
		// Chromium sends no Sec-Fetch-Site with the handshake of a WebSocket, and keeps the cookies
		// of the answer although the handshake fails. A browser always sends Origin with a
		// handshake. A request with Upgrade and without Origin is no handshake of a browser: Java's
		// client offers HTTP/2 in this way.
		if len(from) == 1 && from[0] == origin {
			return Allowed
		}
		return Foreign
	}
	site := r.Header["Sec-Fetch-Site"]
	switch {
	case len(site) == 0:
		return Allowed
	case len(site) > 1:
		return Foreign
	case site[0] == "same-origin", site[0] == "none": // none: the person typed the address, for instance
		return Allowed
	case site[0] == "same-site" && len(from) == 1 && slices.Contains(others, from[0]):
		return Allowed
	case !headerIs(r, "Sec-Fetch-Mode", "navigate") || !headerIs(r, "Sec-Fetch-Dest", "document"):
		return Foreign
	case headerIs(r, "Sec-Fetch-User", "?1"):
		return Allowed
	}
	return Unproven
}

// headerIs reports whether the request has the header exactly once, with this value.
func headerIs(r *http.Request, name, value string) bool {
	lines := r.Header[name]
	return len(lines) == 1 && lines[0] == value
}

// LooksAhead reports whether a request only asks what the answer would be: a HEAD, which a ServeMux
// pattern for GET also matches, or a prefetch. Such a request must not complete a flow.
func LooksAhead(r *http.Request) bool {
	return r.Method == http.MethodHead || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")
}

// Redirect sends the browser to a complete URL. Unlike [http.Redirect], it leaves the URL as it is.
func Redirect(w http.ResponseWriter, location string, status int) {
	header := w.Header()
	header.Set("Location", location)
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
}
