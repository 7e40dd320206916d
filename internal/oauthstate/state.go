// Package oauthstate keeps the state of an OAuth flow (RFC 6749, section 10.12) between the request
// that begins the flow and the callback that ends it.
//
// A state is random text. The browser takes it to GitHub in a URL, and GitHub sends it back in the
// URL of the callback. The callback must come from the browser that began the flow. If any browser
// could send the callback, an attacker could give a victim the URL of a callback. The URL could
// sign the victim in as the attacker, or give the victim's token to the attacker (CVE-2025-68481,
// CVE-2025-68158). Therefore the browser that begins a flow gets a cookie with the sealed data of
// the flow. The data can be opened only with the state of this flow.
//
// The package keeps nothing on the server, so it accepts a state any number of times until the
// state expires. The caller must record in a store that the state was used, under the [ID] of the
// state.
package oauthstate

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/seal"
)

const (
	// Lifetime is the maximum duration of a flow.
	Lifetime = 10 * time.Minute

	// UsedLifetime is how long the store must remember a used state. It is longer than Lifetime,
	// because the clock of the instance that prunes can be ahead, or that of another one behind.
	UsedLifetime = Lifetime + 2*time.Hour
)

const (
	cookieName = "auth_github_" // followed by the number of a slot

	// slots is the maximum number of flows that a browser can have at once. Flows in a few tabs get
	// different cookies. The limit keeps flows from filling the browser's cookie jar.
	slots = 4

	maxCookie = 1024 // maximum length of a cookie's value, and of a state, in bytes
)

// ErrTooLong means that a flow does not fit into a cookie, because its ReturnTo is too long.
var ErrTooLong = errors.New("auth: the path to return to is too long for a cookie")

// Flow is the data of a flow that has begun. Its JSON form must stay the same: after a new version
// of this package is deployed, browsers still have cookies of the old version.
type Flow struct {
	Verifier  string `json:"v"`           // of PKCE (RFC 7636)
	ExpiresAt int64  `json:"e"`           // in seconds since 1970
	ReturnTo  string `json:"r,omitempty"` // the path for the browser after the flow
	UserID    string `json:"u,omitempty"` // the user who connects an account; empty for a sign-in
	SessionID string `json:"s,omitempty"` // the session of that user
	MaxAge    int64  `json:"a,omitempty"` // maximum age of the session at the end, in seconds; 0 for no limit
	Bearer    bool   `json:"b,omitempty"` // the flow was begun with a bearer token, not with a session cookie
}

// MayCompleteIn reports whether the flow is allowed to complete in the browser session with this user
// and this ID. Both are empty if there is no browser session.
func (f Flow) MayCompleteIn(userID, sessionID string) bool {
	switch {
	case f.UserID == "":
		return true // a sign-in does not belong to a user yet
	case userID == "" && sessionID == "":
		return f.Bearer
	}
	return f.UserID == userID && f.SessionID == sessionID
}

// ID returns the name under which the store remembers that the state was used. The name is a
// digest, so a person who reads the store cannot find out the state.
func ID(state string) string {
	digest := sha256.Sum256([]byte(state))
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

// newState returns 256 random bits as text.
func newState() string {
	random := make([]byte, 32)
	rand.Read(random) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(random)
}

// Cookies makes and reads the cookies that bind a state to a browser.
type Cookies struct {
	sealed seal.Cookies
}

// NewCookies returns a Cookies that uses the given sealer.
func NewCookies(sealed seal.Cookies) Cookies { return Cookies{sealed} }

// NewState returns a new state. There are only a few names for the cookies of flows, and each state
// selects one of them. If a name is free in the browser, NewState returns a state that selects a
// free name. The new cookie then replaces no cookie of another flow.
//
// Anyone can send a request with a large Cookie header. Therefore NewState parses the cookies of
// the request only once.
func (c Cookies) NewState(r *http.Request) string {
	taken := sentNames(r)
	const attempts = 64 // all 64 miss the only free slot of four with a chance of 1 in 10^8
	var state string
	for range attempts {
		state = newState()
		if !taken[c.sealed.Name(slotOf(state))] {
			break
		}
	}
	return state
}

func sentNames(r *http.Request) map[string]bool {
	names := map[string]bool{}
	for _, cookie := range r.Cookies() {
		names[cookie.Name] = true
	}
	return names
}

// slotOf returns the name of the state's cookie, without a prefix.
func slotOf(state string) string {
	if state == "" {
		return slotName(0)
	}
	return slotName(int(state[0]) % slots)
}

func slotName(slot int) string { return cookieName + strconv.Itoa(slot) }

// Bind returns the cookie that binds the state to the browser. The cookie contains the flow. Bind
// returns ErrTooLong if the flow does not fit into a cookie.
func (c Cookies) Bind(state string, flow Flow) (*http.Cookie, error) {
	value := sealFlow(c.sealed.Sealer, flow, state)
	if len(value) > maxCookie {
		return nil, ErrTooLong
	}
	return c.sealed.Cookie(slotOf(state), value, int(Lifetime/time.Second)), nil
}

// Clear returns a cookie that removes the cookie of the state from the browser.
func (c Cookies) Clear(state string) *http.Cookie {
	return c.sealed.Cookie(slotOf(state), "", -1)
}

// ClearAll removes the cookies of all flows from the browser that sent the request.
func (c Cookies) ClearAll(w http.ResponseWriter, r *http.Request) {
	sent := sentNames(r)
	for slot := range slots {
		if base := slotName(slot); sent[c.sealed.Name(base)] {
			http.SetCookie(w, c.sealed.Cookie(base, "", -1))
		}
	}
}

// Sent reports whether the browser sent a cookie that may have the flow of the state.
func (c Cookies) Sent(r *http.Request, state string) bool {
	return len(r.CookiesNamed(c.sealed.Name(slotOf(state)))) > 0
}

// Flow returns the flow in the browser's cookie for the state. ok is false if the browser has no
// cookie for the state, or if the flow has expired.
func (c Cookies) Flow(r *http.Request, state string, now time.Time) (flow Flow, ok bool) {
	if state == "" || len(state) > maxCookie {
		return Flow{}, false
	}
	// If there are two cookies with the same name, another host of the domain may have set one of
	// them.
	cookies := r.CookiesNamed(c.sealed.Name(slotOf(state)))
	if len(cookies) != 1 || len(cookies[0].Value) > maxCookie {
		return Flow{}, false
	}
	return openFlow(c.sealed.Sealer, cookies[0].Value, state, now)
}

// ParseCallback parses the query of a callback. ok is false if the query cannot be parsed, or if a
// parameter of the flow is repeated (RFC 6749, section 3.1).
func ParseCallback(rawQuery string) (query url.Values, ok bool) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, false
	}
	for _, name := range []string{"code", "state", "iss", "error"} {
		if len(query[name]) > 1 {
			return nil, false
		}
	}
	return query, true
}

// NewUnboundState returns a state that contains the flow itself, for a browser without a cookie of
// the flow. The state consists of random bits, a dot, and the sealed flow. The sealed flow can be
// opened only with the same random bits.
func NewUnboundState(sealer *seal.Sealer, flow Flow) string {
	random := newState()
	return random + "." + sealFlow(sealer, flow, random)
}

// IsUnbound reports whether the state has the form of a state of [NewUnboundState]. A state of
// [Cookies.NewState] never has this form.
func IsUnbound(state string) bool { return strings.Contains(state, ".") }

// OpenUnboundState returns the flow in a state of [NewUnboundState]. ok is false if the flow has
// expired, or if the state was not made with the same sealer. ok is also false if the flow connects
// a GitHub account to an existing user. Only a sign-in may continue in another browser.
func OpenUnboundState(sealer *seal.Sealer, state string, now time.Time) (flow Flow, ok bool) {
	random, sealed, ok := strings.Cut(state, ".")
	if !ok || len(state) > maxCookie {
		return Flow{}, false
	}
	flow, ok = openFlow(sealer, sealed, random, now)
	if !ok || flow.UserID != "" {
		return Flow{}, false
	}
	return flow, true
}

func sealFlow(sealer *seal.Sealer, flow Flow, state string) string {
	text, _ := json.Marshal(flow) // never fails: a Flow has only strings, numbers and a bool
	return sealer.SealText(text, state)
}

func openFlow(sealer *seal.Sealer, sealed, state string, now time.Time) (flow Flow, ok bool) {
	text, err := sealer.OpenText(sealed, state)
	if err != nil || json.Unmarshal(text, &flow) != nil || now.Unix() >= flow.ExpiresAt {
		return Flow{}, false
	}
	return flow, true
}
