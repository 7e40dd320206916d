package browser

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/seal"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
)

const cookieName = "auth_session"

// MaxToken is the maximum length of a token in a cookie, in bytes. The cookie contains the token sealed
// and encoded, and stays below 4096 bytes. Browsers drop longer cookies without an error. A token with
// the longest issuer, user ID and username fits, if it has neither scopes nor claims of the host.
const MaxToken = 2 << 10

// ErrNoCookie means that a request has no session cookie.
var ErrNoCookie = errors.New("no session cookie")

// Sessions makes and verifies session cookies. A session cookie contains a token, sealed with a key
// that is only for cookies. The token has a type of its own, [token.TypeCookie]. So a bearer token
// is never accepted as a cookie, and a cookie is never accepted as a bearer token (CVE-2023-48309).
// A person who has only the sealing key cannot make a valid cookie, because the token must also be
// signed. A Sessions is safe for concurrent use.
type Sessions struct {
	cookies  seal.Cookies
	verifier token.Verifier
	cache    *token.Cache
	origin   string
	page     string
}

// NewSessions returns a Sessions for the pages of an origin, such as "https://example.com". The
// parameter page is the path to which a browser is sent at the end of a flow, unless the flow names
// another path.
//
// The parameter verifier is the verifier of bearer tokens. NewSessions copies this verifier. The copy
// accepts only cookies, and only for the Audience of the verifier. The parameter cache must be a cache
// only for cookies. If bearer tokens used the same cache, a token from a cookie would be accepted as a
// bearer token.
func NewSessions(
	cookies seal.Cookies, verifier token.Verifier, cache *token.Cache, origin, page string,
) *Sessions {
	verifier.Type, verifier.Others = token.TypeCookie, nil
	return &Sessions{cookies: cookies, verifier: verifier, cache: cache, origin: origin, page: page}
}

// Cookie returns a session cookie that contains the token text, sealed. The cookie expires after
// the given lifetime. Only a Sessions with the same sealing key, issuer and origin can open the
// cookie.
func (s *Sessions) Cookie(text string, lifetime time.Duration) *http.Cookie {
	sealed := s.cookies.SealText([]byte(text), s.verifier.Issuer, s.origin)
	return s.cookies.Cookie(cookieName, sealed, int(lifetime/time.Second))
}

// Removal returns the cookie that removes the session cookie from the browser.
func (s *Sessions) Removal() *http.Cookie { return s.cookies.Cookie(cookieName, "", -1) }

// Verify verifies the session cookie of the request, and returns the token in the cookie. It
// returns [ErrNoCookie] if the request has no session cookie. It returns an error that wraps
// [token.ErrRejected] if the cookie or the token is not valid. Verify does not check whether the
// session is revoked.
func (s *Sessions) Verify(r *http.Request, ring *signing.Ring, now time.Time) (*token.Verified, error) {
	cookies := r.CookiesNamed(s.cookies.Name(cookieName))
	switch {
	case len(cookies) == 0:
		return nil, ErrNoCookie
	case len(cookies) > 1 || len(cookies[0].Value) > token.MaxLength:
		return nil, token.ErrMalformed
	}
	text, err := s.cookies.OpenText(cookies[0].Value, s.verifier.Issuer, s.origin)
	if err != nil {
		return nil, token.ErrSignature
	}
	v, _, err := s.verifier.Verify(s.cache, ring, string(text), now.Unix())
	return v, err
}

// IsOwn reports whether a request with a session cookie may be served. A request that changes
// nothing may be served. Any other request must come from a page of the origin, because a browser
// also sends the cookie with requests that pages of other origins cause. The header Sec-Fetch-Site
// or Origin shows where the request comes from. If a request that changes something has neither
// header, IsOwn returns false.
//
// A request with the method GET, HEAD or OPTIONS changes nothing, unless it upgrades the
// connection, for instance to a WebSocket. Chromium sends no Sec-Fetch-Site with an upgrade, so
// IsOwn reads only the Origin header of an upgrade.
func (s *Sessions) IsOwn(r *http.Request) bool {
	site, origin := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	own := len(origin) == 1 && origin[0] == s.origin
	switch {
	case len(r.Header["Upgrade"]) > 0:
	case r.Method == http.MethodGet, r.Method == http.MethodHead, r.Method == http.MethodOptions:
		return true
	case len(site) > 0:
		own = len(site) == 1 && site[0] == "same-origin"
	}
	return own
}

// Location returns the complete URL of the given path of the origin. If the path is empty, Location
// uses the page that was passed to [NewSessions]. If the parameter name is not empty, Location adds
// a query parameter with the given name and value.
func (s *Sessions) Location(path, name, value string) string {
	if path == "" {
		path = s.page
	}
	if name == "" {
		return s.origin + path
	}
	path, fragment, found := strings.Cut(path, "#")
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	path += separator + url.Values{name: {value}}.Encode()
	if found {
		path += "#" + fragment
	}
	return s.origin + path
}
