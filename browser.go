package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// BrowserSessions lets browsers sign in by cookie. The callback of a GitHub sign-in then sets a
// cookie and sends the browser to a page of the host's, with error= in the query if the sign-in
// failed. The middleware accepts the cookie if a request has no Authorization header, and signing
// out removes it.
type BrowserSessions struct {
	// LandingPath is the path of the host's page to which the browser is sent. The default
	// is "/".
	LandingPath string
}

const sessionCookieName = "auth_session"

// browserSessions makes and reads the cookies of browser sessions. What is in
// them is sealed under a key of their own: no bearer token passes for a cookie,
// and no cookie for a token (CVE-2023-48309).
type browserSessions struct {
	sealedCookies
	origin string // scheme and host of the host's pages
	page   string
}

func newBrowserSessions(cfg BrowserSessions, ring []SymmetricKey, origin string, insecure bool) (*browserSessions, error) {
	if cfg.LandingPath == "" {
		cfg.LandingPath = "/"
	}
	if err := checkReturnTo(cfg.LandingPath); err != nil {
		return nil, errors.New("auth: BrowserSessions.LandingPath must be a path such as /account")
	}
	sealer, err := newSealer(ring, "browser session cookie")
	if err != nil {
		return nil, err
	}
	return &browserSessions{
		sealedCookies: sealedCookies{sealer: sealer, insecure: insecure},
		origin:        origin,
		page:          cfg.LandingPath,
	}, nil
}

// cookieIdentity is an Identity as it is in a cookie.
type cookieIdentity struct {
	UserID     string `json:"u"`
	Username   string `json:"n"`
	SessionID  string `json:"s"`
	IssuedAt   int64  `json:"i"`
	ExpiresAt  int64  `json:"e"`
	Generation int64  `json:"g"`
}

// sessionCookie returns the cookie for a session that has just been opened.
func (b *browserSessions) sessionCookie(token Token) (*http.Cookie, error) {
	text, err := json.Marshal(cookieIdentity{
		UserID:     token.User.ID,
		Username:   token.User.Username,
		SessionID:  token.Session.ID,
		IssuedAt:   token.Session.CreatedAt.Unix(),
		ExpiresAt:  token.Session.ExpiresAt.Unix(),
		Generation: token.Session.Generation,
	})
	if err != nil {
		return nil, err
	}
	return b.cookie(sessionCookieName, b.seal(text), int(token.ExpiresIn()/time.Second)), nil
}

// clear returns the cookie that removes the session's from the browser.
func (b *browserSessions) clear() *http.Cookie { return b.cookie(sessionCookieName, "", -1) }

// claims returns who the cookie says is there, if it is one of ours. Whether the
// session is still live is not in it.
func (b *browserSessions) claims(r *http.Request, now time.Time) (tokenClaims, error) {
	cookies := r.CookiesNamed(b.name(sessionCookieName))
	switch {
	case len(cookies) == 0:
		return tokenClaims{}, ErrTokenMissing
	case len(cookies) > 1 || len(cookies[0].Value) > maxTokenLength:
		return tokenClaims{}, errMalformed
	}
	text, err := b.open(cookies[0].Value)
	if err != nil {
		return tokenClaims{}, errSignature
	}
	var c cookieIdentity
	if err := json.Unmarshal(text, &c); err != nil {
		return tokenClaims{}, errClaims
	}
	if now.Unix() >= c.ExpiresAt {
		return tokenClaims{}, errExpired
	}
	return tokenClaims{
		identity: Identity{
			UserID:    c.UserID,
			Username:  c.Username,
			SessionID: c.SessionID,
			IssuedAt:  time.Unix(c.IssuedAt, 0).UTC(),
			ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(),
		},
		generation: c.Generation,
		times:      tokenTimes{issuedAt: c.IssuedAt, expiresAt: c.ExpiresAt},
	}, nil
}

// checkOrigin returns ErrCrossOrigin unless the request changes nothing or comes
// from a page of the host's own. A browser sends a cookie along with whatever any
// page asks for, so something must say which page it was; no word of it is no.
func (b *browserSessions) checkOrigin(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	site, origin := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	switch {
	case len(site) == 1 && site[0] == "same-origin":
		return nil
	case len(site) == 0 && len(origin) == 1 && origin[0] == b.origin:
		return nil
	}
	return ErrCrossOrigin
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
