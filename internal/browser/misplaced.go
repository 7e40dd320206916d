package browser

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/text"
	"github.com/sallyport-go/auth/internal/weburl"
)

// Misplaced helps with flows that a browser begins at another origin than that of the callback. For
// example, a person opens http://localhost:8080, and the callback is at http://127.0.0.1:8080. The
// browser keeps the cookie of the flow for localhost, and does not send it to the callback. The flow
// then fails, and nothing in the failure shows the reason.
//
// The Host header says at which origin a browser has opened the service, but any client can send any
// Host header, and a proxy may replace it. So the URL of a redirect never contains the Host header, and
// the log contains a short, readable form of it. A Misplaced is safe for concurrent use.
type Misplaced struct {
	origin *url.URL // of the callback
	others []string // origins of pages that may fetch the calls that begin a flow
	log    *slog.Logger

	began       atomic.Pointer[string] // the origin at which the last misplaced flow began
	begun, lost *outage.Firsts         // by the origin at which a flow began
}

// NewMisplaced returns a Misplaced for flows whose callback is at the given origin, such as
// "https://example.com". The parameter others lists the further origins of [SourceOf].
func NewMisplaced(origin string, others []string, now func() time.Time, log *slog.Logger) *Misplaced {
	u, err := url.Parse(origin)
	if err != nil {
		u = new(url.URL)
	}
	return &Misplaced{origin: u, others: others, log: log,
		begun: outage.NewFirsts(now), lost: outage.NewFirsts(now)}
}

// movedParameter is the query parameter that a redirect of [Misplaced.Move] adds, so that there is
// never a second redirect.
const movedParameter = "moved"

// Move returns the URL of the same path and query at the callback's origin, to which the browser must
// be redirected before it can begin a flow. ok is false if no redirect is needed, if the browser has
// already been redirected, or if the callback's origin or the requested host is not loopback.
//
// Move requires that the ports are equal, because two loopback names with one port lead to the same
// program. For other hosts, Move cannot know whether two names lead to the same program: behind a
// proxy, the requested host may be a name that browsers cannot resolve.
func (m *Misplaced) Move(r *http.Request) (location string, ok bool) {
	seen, misplaced := m.seenAt(r)
	if !misplaced || !weburl.IsLoopback(m.origin.Hostname()) {
		return "", false
	}
	at, err := url.Parse(seen)
	if err != nil || !weburl.IsLoopback(at.Hostname()) || at.Port() != m.origin.Port() {
		return "", false
	}
	// RequestURI has the whole path, even if the handler is inside http.StripPrefix.
	target, err := url.ParseRequestURI(r.RequestURI)
	if err != nil || target.IsAbs() || !strings.HasPrefix(target.Path, "/") {
		return "", false
	}
	query := target.Query()
	if query.Has(movedParameter) {
		return "", false
	}
	query.Set(movedParameter, "1")
	return m.callbackOrigin() + target.EscapedPath() + "?" + query.Encode(), true
}

// Begin logs a warning if the browser begins a flow at another origin. Each such origin has one line
// an hour, so a client that sends a made-up Host header does not use up the line of another origin.
// The number of lines is limited, because anyone can send any number of Host headers.
func (m *Misplaced) Begin(r *http.Request) {
	seen, misplaced := m.seenAt(r)
	if !misplaced {
		return
	}
	m.began.Store(&seen)
	switch first, full := m.begun.Fail(seen); {
	case first:
		m.log.WarnContext(r.Context(), "auth: a GitHub flow began at another origin than that of "+
			"GitHubConfig.CallbackURL, so the browser will not send the cookie of the flow to the callback: "+
			"open the pages at the origin of CallbackURL, or let the proxy pass the Host header on",
			"began_at", seen, "callback_at", m.callbackOrigin())
	case full:
		m.log.WarnContext(r.Context(), "auth: GitHub flows began at too many other origins to name each in "+
			"this hour: clients probably make up Host headers; let the proxy refuse unknown ones",
			"began_at", seen, "callback_at", m.callbackOrigin())
	}
}

// Lose logs that a callback has come without the cookie of its flow. It logs at most one line an hour
// for each origin at which the last misplaced flow began, and a limited number of lines in total,
// because anyone can cause them.
func (m *Misplaced) Lose(ctx context.Context) {
	attributes, last := []any{"callback_at", m.callbackOrigin()}, ""
	if began := m.began.Load(); began != nil {
		last = *began
		attributes = append(attributes, "last_began_at", last)
	}
	if first, _ := m.lost.Fail(last); !first {
		return
	}
	m.log.InfoContext(ctx, "auth: a callback from GitHub came without the cookie of its flow: the flow "+
		"began at another origin than that of GitHubConfig.CallbackURL or in another browser, was used "+
		"before, or the browser keeps no cookies", attributes...)
}

func (m *Misplaced) callbackOrigin() string { return m.origin.Scheme + "://" + m.origin.Host }

// seenAt returns the origin at which the browser has probably opened the service, in a form that is
// safe for the log. misplaced is false if this is the callback's origin. misplaced is also false if the
// headers Origin or Referer name the callback's origin or one of the other origins, because a proxy
// has then replaced the Host header. If these headers name the same origin as the Host header, no proxy
// has replaced the Host header.
func (m *Misplaced) seenAt(r *http.Request) (seen string, misplaced bool) {
	const longest = 100 // a DNS name may be longer, but not one that a person types
	if r.Host == "" {
		return "", false // HTTP/1.0
	}
	// The scheme is a guess, because a proxy may have decrypted the request.
	seen = m.origin.Scheme + "://" + r.Host
	if origin := weburl.Origin(seen); origin != "" {
		seen = origin
	}
	if seen == m.callbackOrigin() {
		return "", false
	}
	for _, page := range []string{r.Header.Get("Origin"), r.Header.Get("Referer")} {
		page = weburl.Origin(page)
		if page == m.callbackOrigin() || page != seen && slices.Contains(m.others, page) {
			return "", false
		}
	}
	return text.Readable(seen, longest), true
}
