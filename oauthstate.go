package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"github.com/sallyport-go/auth/internal/text"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A flow begins with a state: random, in the URL to GitHub and back. Whoever
// comes back with it must be the browser that it was given to (CVE-2025-68481,
// CVE-2025-68158: without that, an attacker's URL signs the victim in as the
// attacker, or hands the victim's token over). So the browser gets a cookie in
// which all that the flow needs is sealed for that state; the store learns of a
// state only when it has been used.

const (
	stateLifetime = 10 * time.Minute
	stateKept     = 2 * time.Minute // for which a used state is remembered beyond that

	stateCookieName = "auth_github_" // with a slot behind it
	stateSlots      = 4
	maxStateCookie  = 1024
	maxReturnTo     = 256
)

// githubFlow is a flow that has begun.
type githubFlow struct {
	Verifier  string `json:"v"`           // of PKCE (RFC 7636)
	ExpiresAt int64  `json:"e"`           // in seconds since 1970
	ReturnTo  string `json:"r,omitempty"` // a path of the host's
	UserID    string `json:"u,omitempty"` // who connects an account; empty for a sign-in
	SessionID string `json:"s,omitempty"` // in which session
	MaxAge    int64  `json:"a,omitempty"` // of that session in seconds when the account is connected; 0 for any
	Bearer    bool   `json:"b,omitempty"` // a bearer token began the connect, no browser session
}

// newState returns 256 random bits.
func newState() string {
	random := make([]byte, 32)
	rand.Read(random) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(random)
}

// stateID is what the store remembers of a used state.
func stateID(state string) string {
	digest := sha256.Sum256([]byte(state))
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

// stateCookies makes and reads the cookies that bind a state to a browser.
type stateCookies struct{ sealedCookies }

// newState returns a state whose cookie overwrites none that the browser has, if there is room for
// one more. It parses the request's cookies once: the call is public, and a Cookie header can be
// large.
func (c stateCookies) newState(r *http.Request) string {
	taken := map[string]bool{}
	for _, cookie := range r.Cookies() {
		taken[cookie.Name] = true
	}
	const attempts = 64 // one of four slots stays unmet for so long once in 10^8
	var state string
	for range attempts {
		state = newState()
		if !taken[c.name(slotFor(state))] {
			break
		}
	}
	return state
}

// slotFor returns the name of the state's cookie. Some bits of the state choose one
// of a few, so that flows in two tabs do not overwrite each other, and no number of
// flows fills the browser's jar.
func slotFor(state string) string {
	if state == "" {
		return slot(0)
	}
	return slot(int(state[0]) % stateSlots)
}

func slot(i int) string { return stateCookieName + strconv.Itoa(i) }

// bind returns the cookie for a flow that begins with the state.
func (c stateCookies) bind(state string, flow githubFlow) (*http.Cookie, error) {
	text, err := json.Marshal(flow)
	if err != nil {
		return nil, err
	}
	value := c.seal(text, state)
	if len(value) > maxStateCookie {
		return nil, invalidf("return_to", "is too long")
	}
	return c.cookie(slotFor(state), value, int(stateLifetime/time.Second)), nil
}

// clear returns the cookie that removes the one for the state.
func (c stateCookies) clear(state string) *http.Cookie {
	return c.cookie(slotFor(state), "", -1)
}

// clearAll removes the cookies of all flows that the browser has begun.
func (c stateCookies) clearAll(w http.ResponseWriter, r *http.Request) {
	sent := map[string]bool{}
	for _, cookie := range r.Cookies() {
		sent[cookie.Name] = true
	}
	for i := range stateSlots {
		if sent[c.name(slot(i))] {
			http.SetCookie(w, c.cookie(slot(i), "", -1))
		}
	}
}

// flow returns what the browser's cookie says of the state; ok is false if the
// state is not one that this browser was given, or has expired. The caller must
// then spend it in the store.
func (c stateCookies) flow(r *http.Request, state string, now time.Time) (flow githubFlow, ok bool) {
	if state == "" || len(state) > maxStateCookie {
		return githubFlow{}, false
	}
	cookies := r.CookiesNamed(c.name(slotFor(state)))
	if len(cookies) != 1 || len(cookies[0].Value) > maxStateCookie {
		return githubFlow{}, false
	}
	return c.openFlow(cookies[0].Value, state, now)
}

func (c sealedCookies) openFlow(value, state string, now time.Time) (flow githubFlow, ok bool) {
	text, err := c.open(value, state)
	if err != nil || json.Unmarshal(text, &flow) != nil || now.Unix() >= flow.ExpiresAt {
		return githubFlow{}, false
	}
	return flow, true
}

// checkReturnTo accepts a path of the host's own, in a spelling that no browser
// and no redirect reads as anything else. Empty is none.
func checkReturnTo(path string) error {
	if path == "" {
		return nil
	}
	lower := text.FoldASCII(path)
	clean, _, _ := strings.Cut(path, "?")
	clean, _, _ = strings.Cut(clean, "#")
	bad := path[0] != '/' || len(path) > maxReturnTo ||
		strings.Contains(path, "//") || strings.Contains(path, `\`) || strings.Contains(lower, "%5c") ||
		strings.Contains(lower, "%2f") || strings.Contains(lower, "%2e") || strings.Contains(lower, "%00") ||
		strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	for segment := range strings.SplitSeq(clean, "/") {
		bad = bad || segment == "." || segment == ".."
	}
	if bad {
		return invalidf("return_to", "must be a path such as /settings?tab=github")
	}
	return nil
}

// unboundState returns a state that carries the flow itself, for a browser that
// has no cookie of ours: random bits, a dot, and the flow sealed for those bits.
func unboundState(sealer *sealer, flow githubFlow) (string, error) {
	text, err := json.Marshal(flow)
	if err != nil {
		return "", err
	}
	state := newState()
	return state + "." + sealedCookies{sealer: sealer}.seal(text, state), nil
}

// openUnbound returns the flow of an unbound state, which is always a sign-in.
func openUnbound(sealer *sealer, state string, now time.Time) (flow githubFlow, ok bool) {
	random, sealed, ok := strings.Cut(state, ".")
	if !ok || len(state) > maxStateCookie {
		return githubFlow{}, false
	}
	flow, ok = sealedCookies{sealer: sealer}.openFlow(sealed, random, now)
	return flow, ok && flow.UserID == ""
}
