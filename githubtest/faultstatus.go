package githubtest

import (
	"fmt"
	"net/http"
	"time"
)

// elsewhere is a URL with a host that never exists (RFC 2606).
const elsewhere = "http://elsewhere.invalid/"

// statusFaults returns the faults that respond with a redirect, or with an error of GitHub or of a
// proxy in front of GitHub.
func statusFaults() []NamedFault {
	var faults []NamedFault
	for _, status := range []int{400, 401, 403, 404, 410, 418, 422, 429, 451, 500, 501, 502, 503, 504} {
		faults = append(faults, named(fmt.Sprintf("status %d", status), Status(status)))
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		faults = append(faults, named(fmt.Sprintf("redirect %d to another host", status),
			Redirect(status, elsewhere)))
	}
	hour := fmt.Sprint(time.Hour.Seconds())
	return append(faults,
		named("redirect loop", instead(redirectLoop)),
		named("redirect without a location", Answer(http.StatusFound, "text/html", "")),
		named("retry-after of an hour", statusWith(429, map[string]string{"Retry-After": hour})),
		named("retry-after absurd", statusWith(429,
			map[string]string{"Retry-After": "99999999999999999999"})),
		named("retry-after negative", statusWith(429, map[string]string{"Retry-After": "-1"})),
		named("retry-after garbage", statusWith(503,
			map[string]string{"Retry-After": "when the cows come home"})),
		named("retry-after a date in the past",
			statusWith(503, map[string]string{"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})),
		named("rate limit exhausted", rateLimited("4102444800")), // until the year 2100
		named("rate limit reset garbage", rateLimited("soon")),
	)
}

func redirectLoop(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", r.URL.RequestURI())
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func rateLimited(reset string) Fault {
	return statusWith(http.StatusForbidden, map[string]string{
		"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Used": "5000",
		"X-RateLimit-Resource": "core", "X-RateLimit-Reset": reset,
	})
}

// statusMessages has GitHub's error messages for the statuses at which GitHub does not use the
// standard text of HTTP.
var statusMessages = map[int]string{
	http.StatusBadRequest:          "Problems parsing JSON",
	http.StatusUnauthorized:        "Bad credentials",
	http.StatusForbidden:           "API rate limit exceeded",
	http.StatusUnprocessableEntity: "Validation Failed",
	http.StatusTooManyRequests:     "You have exceeded a secondary rate limit.",
}

// statusWith returns a fault that responds with this status and these headers. If the status is 502
// or higher, the body is HTML, as from GitHub's proxy. At a lower status, the body is JSON.
func statusWith(status int, headers map[string]string) Fault {
	return instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-GitHub-Request-Id", requestID())
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		if status >= http.StatusBadGateway {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(unicorn))
			return
		}
		message := statusMessages[status]
		if message == "" {
			message = http.StatusText(status)
		}
		apiError(w, status, message)
	})
}

// unicorn resembles the page that GitHub shows when a request takes too long.
const unicorn = `<!DOCTYPE html><html lang="en"><title>Unicorn!</title><p>No server is available to handle your request.</p></html>`
