package oauthstate

import (
	"encoding/json"
	"net/http"
	"time"
)

// Completed is the content of a cookie about a flow that has completed in a browser session. If the
// person goes back in the browser, GitHub sends the used state again. The service can then redirect the
// browser to the page at which the flow ended, instead of to an error.
//
// A Completed alone proves nothing. It says in which session the flow completed, so the caller must
// check that the browser still has this session, and that the session is live.
type Completed struct {
	SessionID string `json:"s"`           // the session that a sign-in opened, or that connected an account
	Page      string `json:"p,omitempty"` // the path to which the browser was sent, if the flow named one
	Connect   bool   `json:"-"`           // the flow connected an account
}

// Each kind of flow has only one cookie, because only the newest sign-in of a browser can have opened
// the browser's current session.
const (
	signedInCookie  = "auth_github_signed_in"
	connectedCookie = "auth_github_connected"

	// completedContext is a part of the sealed value of these cookies. Without it, the cookie of a
	// completed flow could be opened as the cookie of a flow, because both are sealed under the state.
	completedContext = "completed"
)

// Complete returns the cookie that remembers a completed flow for the time of its session. The
// browser sends the cookie only to the given path, which must be that of the callback. Complete
// returns nil if the cookie would be too long, or if the session has expired.
//
// The cookie's name has no prefix "__Host-", because this prefix needs the path "/". So another host of
// the domain can set the cookie. This does not help an attacker, because the value must be sealed under
// the state and must name the browser's session.
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

// ForgetCompleted removes the cookies of completed flows. It always removes both, because the browser
// sends them only to the given path, and the request can have another path.
func (c Cookies) ForgetCompleted(w http.ResponseWriter, path string) {
	for _, name := range []string{signedInCookie, connectedCookie} {
		cookie := c.sealed.Cookie("", "", -1)
		cookie.Name, cookie.Path = name, path
		http.SetCookie(w, cookie)
	}
}

// Completed returns the content of the browser's cookie about the flow of the state. ok is false if the
// browser has no such cookie.
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
