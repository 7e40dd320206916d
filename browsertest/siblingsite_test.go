package browsertest

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// ours returns the handler of ourHost, which has the service and a page.
func (s *site) ours() http.Handler {
	mux := http.NewServeMux()
	s.svc.Mount(mux)
	mux.Handle("GET /live", s.svc.Authenticate(http.HandlerFunc(serveWebSocket)))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { page(w, "our page") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A service must send these headers so that its pages on other origins can use fetch.
		if origin := r.Header.Get("Origin"); origin == s.at(namedHost) {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		mux.ServeHTTP(w, r)
	})
}

// page responds with a page that has a button and references no icon.
func page(w http.ResponseWriter, title string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w,
		`<!DOCTYPE html><link rel="icon" href="data:,"><title>%s</title><h1>%[1]s</h1><button>a button</button>`, title)
}

// serveWebSocket completes the handshake of a WebSocket (RFC 6455, section 4.2.2) and sends nothing
// else.
func serveWebSocket(w http.ResponseWriter, r *http.Request) {
	accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(accept[:]))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

// statusRecorder records the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *site) recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.asSafari {
			r.Header.Del("Sec-Fetch-User")
		}
		recorder := &statusRecorder{w, http.StatusOK}
		next.ServeHTTP(recorder, r)
		from := []string{}
		for _, name := range []string{"Site", "Mode", "Dest", "User"} {
			from = append(from, r.Header["Sec-Fetch-"+name]...)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, seen{r.URL.Path, strings.Join(from, " "), len(r.Cookies()),
			recorder.status})
	})
}

// take waits until n requests for the path have arrived since the last call of take or arrived, and
// returns them.
func (s *site) take(path string, n int) (taken []seen) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		taken = append(taken, s.arrived(path)...)
		return len(taken) >= n
	}, 30*time.Second, 10*time.Millisecond, "%d requests for %s", n, path)
	return taken
}

// arrived returns the requests for the path that have arrived since the last call of take or
// arrived.
func (s *site) arrived(path string) (taken []seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = slices.DeleteFunc(s.requests, func(r seen) bool {
		if r.path == path {
			taken = append(taken, r)
		}
		return r.path == path
	})
	return taken
}

// provoke repeats the action until a request for the path arrives, and returns that request. One
// attempt may not be enough: a browser can drop a navigation if another navigation ends at the same
// moment.
func (s *site) provoke(path string, action func()) seen {
	s.t.Helper()
	for range 30 {
		action()
		for range 50 {
			if taken := s.arrived(path); taken != nil {
				return taken[0]
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	require.Fail(s.t, "no request for "+path)
	return seen{}
}

func (s *site) at(host string) string { return s.scheme + "://" + host + ":" + s.port }

// visit opens the page of the host and waits until it is loaded.
func (b *tab) visit(s *site, host string) {
	b.t.Helper()
	b.do(chromedp.Navigate(s.at(host) + "/"))
	b.until(`document.querySelector("button") !== null`)
}

// signedInSite returns a site, and a browser in which the user octocat is signed in. octocat also
// has three sessions in other browsers.
func signedInSite(t *testing.T) (*site, *tab) {
	t.Helper()
	s := newSite(t, false, "octocat")
	b := newBrowser(t)
	b.visit(s, ourHost)
	eval[bool](b, fmt.Sprintf("(location = %s) !== null", quote(startCall)))
	s.take(callback, 1)
	s.take(startCall, 1)
	b.until(`document.title === "our page"`)
	for range 3 {
		token, err := s.svc.SignIn(t.Context(), s.user(), auth.LoginOptions{})
		require.NoError(t, err)
		s.others = append(s.others, token.Session.ID)
	}
	return s, b
}

// user returns the user ID of octocat.
func (s *site) user() string {
	s.t.Helper()
	link, err := s.store.FindGitHubLink(s.t.Context(),
		auth.GitHubAccount{Host: "githubtest.invalid", ID: 583231})
	require.NoError(s.t, err)
	return link.UserID
}

// sessions returns the IDs of the sessions of octocat.
func (s *site) sessions() (ids []string) {
	s.t.Helper()
	list, err := s.store.ListSessions(s.t.Context(), s.user(), time.Now())
	require.NoError(s.t, err)
	for _, session := range list {
		ids = append(ids, session.ID)
	}
	return ids
}

// requireNothingChanged runs the attack. It fails the test if the attack changes the user's
// sessions or the browser's cookies.
func (s *site) requireNothingChanged(b *tab, attack func()) {
	s.t.Helper()
	sessions, cookies := s.sessions(), b.cookies()
	attack()
	require.Equal(s.t, sessions, s.sessions())
	require.Equal(s.t, cookies, b.cookies())
}
