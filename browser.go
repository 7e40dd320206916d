package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/seal"
	"github.com/sallyport-go/auth/internal/token"
)

// BrowserSessions lets browsers sign in by cookie. The callback of a GitHub sign-in then sets a
// cookie and sends the browser to a page of the host's, with error= in the query if the sign-in
// failed. The middleware accepts the cookie if a request has no bearer token, and signing out
// removes it.
type BrowserSessions struct {
	// LandingPath is the path of the host's page to which the browser is sent. The default
	// is "/".
	LandingPath string
}

const sessionCookieName = "auth_session"

// browserSessions makes and reads the cookies of browser sessions. A cookie carries a token of its
// own type, signed with the signing keys and sealed under a key of its own: no bearer token passes
// for a cookie and no cookie for a token (CVE-2023-48309), the token's verifier decides about both,
// and a sealing key alone opens no session.
type browserSessions struct {
	seal.Cookies
	origin   string // scheme and host of the host's pages
	page     string
	tokens   *TokenIssuer
	verifier token.Verifier
	cache    *token.Cache // of tokens in cookies: one in the issuer's would pass for a bearer token
}

const (
	// maxCookieToken bounds a token in a cookie, in bytes. Sealed and encoded it stays below the
	// 4096 bytes beyond which browsers drop a cookie without a word.
	maxCookieToken = 2 << 10

	// maxCookieClaims bounds the issuer and the audience, as they stand in the claims, so that
	// the longest user ID and username leave a token below maxCookieToken.
	maxCookieClaims = 700
)

func newBrowserSessions(
	cfg BrowserSessions, ring []SymmetricKey, origin string, insecure bool, tokens *TokenIssuer,
) (*browserSessions, error) {
	if cfg.LandingPath == "" {
		cfg.LandingPath = "/"
	}
	if err := checkReturnTo(cfg.LandingPath); err != nil {
		return nil, errors.New("auth: BrowserSessions.LandingPath must be a path such as /account")
	}
	if len(tokens.claimsPrefix) > maxCookieClaims {
		return nil, errors.New("auth: BrowserSessions: the issuer and the audience are too long together for a cookie")
	}
	sealer, err := newSealer(ring, "browser session cookie")
	if err != nil {
		return nil, err
	}
	cache, err := token.NewCache(tokens.cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	verifier := tokens.verifier
	verifier.Type = token.TypeCookie
	return &browserSessions{
		Cookies:  seal.Cookies{Sealer: sealer, Insecure: insecure},
		origin:   origin,
		page:     cfg.LandingPath,
		tokens:   tokens,
		verifier: verifier,
		cache:    cache,
	}, nil
}

// sessionCookie returns the cookie for a session that has just been opened. The cookie is bound to
// the issuer and to the origin of the host's pages.
func (b *browserSessions) sessionCookie(issued Token) (*http.Cookie, error) {
	text, err := b.tokens.signAs(token.TypeCookie, issued.Session, issued.User)
	if err != nil {
		return nil, err
	}
	if len(text) > maxCookieToken {
		return nil, fmt.Errorf("auth: a token of %d bytes does not fit into a cookie: shorten the issuer or the audience", len(text))
	}
	return b.Cookie(sessionCookieName, b.SealText([]byte(text), b.verifier.Issuer, b.origin), int(issued.ExpiresIn()/time.Second)), nil
}

// clear returns the cookie that removes the session's from the browser.
func (b *browserSessions) clear() *http.Cookie { return b.Cookie(sessionCookieName, "", -1) }

// verify returns what the token in the request's cookie proves. Whether the session is still live,
// it does not say.
func (b *browserSessions) verify(r *http.Request, now time.Time) (*token.Verified, error) {
	cookies := r.CookiesNamed(b.Name(sessionCookieName))
	switch {
	case len(cookies) == 0:
		return nil, ErrTokenMissing
	case len(cookies) > 1 || len(cookies[0].Value) > token.MaxLength:
		return nil, token.ErrMalformed
	}
	text, err := b.OpenText(cookies[0].Value, b.verifier.Issuer, b.origin)
	if err != nil {
		return nil, token.ErrSignature
	}
	v, _, err := b.verifier.Verify(b.cache, b.tokens.ring.Load(), string(text), now.Unix())
	return v, err
}

// checkOrigin returns ErrCrossOrigin unless the request changes nothing or comes from a page of the
// host's own. A browser adds the cookie to requests of any page, so a header must say which page
// it was; without such a header the answer is no.
//
// A request that upgrades the connection, to a WebSocket say, is a GET that leads to changes.
// Chromium sends no Sec-Fetch-Site with it, so its Origin decides.
func (b *browserSessions) checkOrigin(r *http.Request) error {
	site, origin := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	ours := len(origin) == 1 && origin[0] == b.origin
	switch {
	case len(r.Header["Upgrade"]) > 0:
	case r.Method == http.MethodGet, r.Method == http.MethodHead, r.Method == http.MethodOptions:
		return nil
	case len(site) > 0:
		ours = len(site) == 1 && site[0] == "same-origin"
	}
	if !ours {
		return ErrCrossOrigin
	}
	return nil
}

// location returns the URL of a path of the host's, with a query value added if
// there is one to add.
func (b *browserSessions) location(path, name, value string) string {
	if path == "" {
		path = b.page
	}
	if name == "" {
		return b.origin + path
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
	return b.origin + path
}
