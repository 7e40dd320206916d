package oauthstate

import (
	"encoding/json"
	"net/http"
	"time"
)

// Completed is what a browser remembers of a flow that has completed in a session with a cookie. If
// the person goes back in the browser, GitHub sends the used state again. The browser can then be
// led to where the flow ended, instead of to an error.
//
// A Completed proves nothing by itself. It says in which session the flow completed, so the caller
// must check that the browser still has this session, and that the session is live.
type Completed struct {
	SessionID string `json:"s"`           // the session that a sign-in opened, or that connected an account
	Page      string `json:"p,omitempty"` // the path to which the browser was sent, if the flow named one
	Connect   bool   `json:"-"`           // the flow connected an account
}

// Each kind of flow has one cookie, because only the newest sign-in of a browser can have opened the
// browser's session.
const (
	signedInCookie  = "auth_github_signed_in"
	connectedCookie = "auth_github_connected"

	// completedContext keeps the cookie of a completed flow from being opened as a flow, although
	// both are sealed under the state.
	completedContext = "completed"
)

// Complete returns the cookie that remembers a completed flow for the time of its session. The
// browser sends the cookie only to the given path, which must be that of the callback. Complete
// returns nil if the cookie would be too long, or if the session has expired.
//
// The cookie's name has no prefix "__Host-", which would need the path "/". So another host of the
// domain can set the cookie. That gains nothing: the value must be sealed under the state, and name
// the session that the browser has.
func (c Cookies) Complete(state, path string, done Completed, rest time.Duration) *http.Cookie {
	text, _ := json.Marshal(done) // never fails: a Completed has only strings and a bool
	sealed := c.sealed.SealText(text, state, completedContext)
	if len(sealed) > maxCookie || rest < time.Second {
		return nil
	}
	cookie := c.sealed.Cookie("", sealed, int(rest/time.Second))
	cookie.Name, cookie.Path = signedInCookie, path
	if done.Connect {
		cookie.Name = connectedCookie
	}
	return cookie
}

// ForgetCompleted removes what the browser remembers of completed flows. The browser sends these
// cookies only to the given path, so it need not have sent any.
func (c Cookies) ForgetCompleted(w http.ResponseWriter, path string) {
	for _, name := range []string{signedInCookie, connectedCookie} {
		cookie := c.sealed.Cookie("", "", -1)
		cookie.Name, cookie.Path = name, path
		http.SetCookie(w, cookie)
	}
}

// Completed returns what the browser remembers of the flow of the state. ok is false if the flow of
// the state has not completed in this browser.
func (c Cookies) Completed(r *http.Request, state string) (done Completed, ok bool) {
	if state == "" || len(state) > maxCookie {
		return Completed{}, false
	}
	for _, name := range []string{signedInCookie, connectedCookie} {
		cookies := r.CookiesNamed(name)
		if len(cookies) != 1 || len(cookies[0].Value) > maxCookie {
			continue
		}
		text, err := c.sealed.OpenText(cookies[0].Value, state, completedContext)
		if err == nil && json.Unmarshal(text, &done) == nil {
			done.Connect = name == connectedCookie
			return done, true
		}
	}
	return Completed{}, false
}
