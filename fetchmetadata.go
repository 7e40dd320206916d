package auth

import (
	"net/http"
	"slices"
)

// A browser sends a GET for any page, and adds the cookies. The calls that begin a flow with GitHub
// are GETs that write: they set a cookie and lead to a session. A page of another origin could make
// them again and again in a hidden frame. So they go by the headers in which a browser says where a
// request comes from (https://www.w3.org/TR/fetch-metadata/).

// fetchSource is what a request says of where it comes from.
type fetchSource int

const (
	// fetchAllowed is a page of the host's own, the person, or no browser at all: a request
	// without Sec-Fetch-Site is served, because programs and old browsers send none. (Programs
	// on Node.js send Sec-Fetch-Mode, and no other.)
	fetchAllowed fetchSource = iota

	// fetchUnproven is a navigation of a whole tab or window from another origin, without
	// Sec-Fetch-User. In Chromium and Firefox a script has caused it. Safari sends the other
	// three headers since 16.4 and never this one, so there it is a script or a click.
	fetchUnproven

	// fetchForeign is another origin's frame, fetch, image or WebSocket.
	fetchForeign
)

// fetchSourceOf returns where a GET that writes comes from. The origin is the host's own. Pages of the
// other origins may fetch if they are on the same site: from another site, a browser drops the cookies
// of the answer.
func fetchSourceOf(r *http.Request, origin string, others []string) fetchSource {
	from := r.Header["Origin"]
	if len(r.Header["Upgrade"]) > 0 && len(from) > 0 {
		// Chromium sends no Sec-Fetch-Site with the handshake of a WebSocket, and keeps the
		// cookies of the answer although the handshake fails. A browser always sends Origin
		// with it; Java's client offers HTTP/2 by an Upgrade without Origin.
		if len(from) == 1 && from[0] == origin {
			return fetchAllowed
		}
		return fetchForeign
	}
	site := r.Header["Sec-Fetch-Site"]
	switch {
	case len(site) == 0:
		return fetchAllowed
	case len(site) > 1:
		return fetchForeign
	case site[0] == "same-origin", site[0] == "none": // none: the person typed the address, say
		return fetchAllowed
	case site[0] == "same-site" && len(from) == 1 && slices.Contains(others, from[0]):
		return fetchAllowed
	case !headerIs(r, "Sec-Fetch-Mode", "navigate") || !headerIs(r, "Sec-Fetch-Dest", "document"):
		return fetchForeign
	case headerIs(r, "Sec-Fetch-User", "?1"):
		return fetchAllowed
	}
	return fetchUnproven
}

// headerIs reports whether the request has the header exactly once, with this value.
func headerIs(r *http.Request, name, value string) bool {
	lines := r.Header[name]
	return len(lines) == 1 && lines[0] == value
}
