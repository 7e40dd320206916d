// Package browser has the code for requests from browsers. It finds out whether a page of another
// origin has made a request, and keeps a session in a cookie. At the end of an OAuth flow, the
// package redirects the browser to a page.
package browser

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Source says where a GET request comes from. The Source matters for the GET requests that begin a
// flow with GitHub. Unlike most GET requests, they have an effect: they set a cookie and lead to a
// session.
//
// A page of any origin can make the browser send a GET request with cookies. So a page of another
// origin could begin flows again and again in a hidden frame. Browsers say in headers where a
// request comes from (https://www.w3.org/TR/fetch-metadata/).
type Source int

const (
	// Allowed means that a page of the host, the person at the browser, or a program has made the
	// request. A request without Sec-Fetch-Site is allowed, because programs and old browsers do
	// not send this header. Programs on Node.js send Sec-Fetch-Mode, but no other Sec-Fetch header.
	Allowed Source = iota

	// Unproven means that a page of another origin has navigated a whole tab or window to the URL,
	// and that the request has no Sec-Fetch-User. In Chromium and Firefox, such a request comes
	// from a script. In Safari, it comes from a script or a click, because Safari never sends
	// Sec-Fetch-User. Safari 16.4 and later send Sec-Fetch-Site, Sec-Fetch-Mode and
	// Sec-Fetch-Dest.
	Unproven

	// Foreign means that a page of another origin has made the request for a frame, an image, a
	// fetch or a WebSocket.
	Foreign
)

// SourceOf returns the Source of a GET request. The parameter origin is the origin of the host, and
// the parameter others lists further origins. A page of a further origin may make the request with
// fetch only if the page is on the same site as the host. For a page on another site, the browser
// would drop the cookies of the answer.
func SourceOf(r *http.Request, origin string, others []string) Source {
	from := r.Header["Origin"]
	if len(r.Header["Upgrade"]) > 0 && len(from) > 0 {
		// Chromium sends no Sec-Fetch-Site with the handshake of a WebSocket, and keeps the cookies
		// of the answer although the handshake fails. Browsers always send Origin with a handshake.
		// So a request with Upgrade and without Origin is not from a browser. For example, Java's
		// HTTP client sends such requests to offer HTTP/2.
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
	case site[0] == "same-origin", site[0] == "none": // none: the person typed the URL, for instance
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

// IsForgeable reports whether any page of another origin could have made a browser send this POST
// request. The parameter origin is that of the host. The body of the request can be a form.
//
// A page can send a form to every origin, and the browser does not ask the service before. That
// holds for fetch in the mode "cors", too: the page cannot read the answer, but the service has done
// the work. With the header Authorization, the browser first asks the service in a preflight request
// (https://fetch.spec.whatwg.org/#http-cors-protocol), and the CORS handler of the host decides. So
// a request with this header is not forgeable. In any mode but "cors", a page cannot set the header:
// it is then a password that the browser has stored for the service. The browser can add such a
// password in the mode "cors", too, without a preflight request. But it stores one only if something
// else at this origin, such as a proxy, has asked for it.
//
// A request without Sec-Fetch-Site is judged by its Origin, which old browsers send with each POST
// request to another origin. A request with neither comes from a program, and is not forgeable.
func IsForgeable(r *http.Request, origin string) bool {
	if !isFromOtherOrigin(r, origin) {
		return false
	}
	asked := len(r.Header["Sec-Fetch-Mode"]) == 0 || headerIs(r, "Sec-Fetch-Mode", "cors")
	return !asked || len(r.Header["Authorization"]) == 0
}

// isFromOtherOrigin reports whether the headers of the request say that it comes from a page of an
// origin that is neither the given one nor that of the Host header. No page can choose the Host
// header, and a host can have a second name.
func isFromOtherOrigin(r *http.Request, origin string) bool {
	from := r.Header["Origin"]
	switch {
	case len(r.Header["Sec-Fetch-Site"]) > 0:
		return !headerIs(r, "Sec-Fetch-Site", "same-origin") && !headerIs(r, "Sec-Fetch-Site", "none")
	case len(from) == 0:
		return false
	}
	page, err := url.Parse(from[0])
	return len(from) > 1 || from[0] != origin && (err != nil || page.Host == "" || page.Host != r.Host)
}

// headerIs reports whether the request has the header exactly once and with this value.
func headerIs(r *http.Request, name, value string) bool {
	lines := r.Header[name]
	return len(lines) == 1 && lines[0] == value
}

// LooksAhead reports whether the request is a HEAD or a prefetch. Such a request only asks what the
// answer would be, so it must not complete a flow. A handler for GET must check this, because a
// ServeMux pattern for GET also matches HEAD.
func LooksAhead(r *http.Request) bool {
	return r.Method == http.MethodHead || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")
}

// Redirect redirects the browser to location, which is a complete URL. Unlike [http.Redirect], it
// does not change the URL.
func Redirect(w http.ResponseWriter, location string, status int) {
	header := w.Header()
	header.Set("Location", location)
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
}
