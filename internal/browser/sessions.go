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

const (
	// MaxToken is the maximum length of a token in a cookie, in bytes. Sealed and encoded, the
	// token then stays below 4096 bytes. Browsers drop longer cookies without an error.
	MaxToken = 2 << 10

	// MaxClaims is the maximum length of the issuer and the audience as the claims contain them.
	// With at most this length, a token with the longest user ID and username stays below MaxToken.
	MaxClaims = 700
)

// ErrNoCookie means that a request has no session cookie.
var ErrNoCookie = errors.New("no session cookie")

// Sessions makes and reads session cookies. A cookie contains a token of a type that only cookies
// have. The token is signed with the signing keys and sealed with a key for cookies. So no bearer
// token is accepted as a cookie and no cookie as a bearer token (CVE-2023-48309). A sealing key
// alone opens no session, because a token.Verifier verifies the token in a cookie, too. A Sessions
// is safe for concurrent use.
type Sessions struct {
	cookies  seal.Cookies
	verifier token.Verifier
	cache    *token.Cache
	origin   string
	page     string
}

// NewSessions returns Sessions for the pages of an origin, which is a scheme and a host. The page
// is the path to which browsers are sent unless a flow names another. The verifier is the verifier
// of bearer tokens. The cache must not be the cache of bearer tokens, because a cached token of a
// cookie would then be accepted as a bearer token.
func NewSessions(
	cookies seal.Cookies, verifier token.Verifier, cache *token.Cache, origin, page string,
) *Sessions {
	verifier.Type = token.TypeCookie
	return &Sessions{cookies: cookies, verifier: verifier, cache: cache, origin: origin, page: page}
}

// Insecure reports whether browsers get the cookie over plain http.
func (s *Sessions) Insecure() bool { return s.cookies.Insecure }

// Cookie returns the cookie that carries the token for the lifetime. Only the same issuer and
// origin can open the cookie.
func (s *Sessions) Cookie(text string, lifetime time.Duration) *http.Cookie {
	sealed := s.cookies.SealText([]byte(text), s.verifier.Issuer, s.origin)
	return s.cookies.Cookie(cookieName, sealed, int(lifetime/time.Second))
}

// Removal returns the cookie that removes the session cookie from the browser.
func (s *Sessions) Removal() *http.Cookie { return s.cookies.Cookie(cookieName, "", -1) }

// Verify returns what the token in the request's cookie proves, or [ErrNoCookie] or an error that
// wraps [token.ErrRejected]. Verify does not check whether the session was revoked.
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

// IsOwn reports whether the request changes nothing or comes from a page of the origin. A browser adds
// the cookie to requests of any page, so a header must say which page sent the request. Without such a
// header, the request is not accepted.
//
// A request that upgrades the connection, for instance to a WebSocket, is a GET that leads to
// changes. Chromium sends no Sec-Fetch-Site with such a request, so the Origin header decides.
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

// Location returns the URL of a path of the origin, or of the page if path is empty. If name is not
// empty, name=value is added to the query of the path, before its fragment.
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
