package seal

import "net/http"

// Cookies names and makes cookies whose values come from [Sealer.SealText].
type Cookies struct {
	*Sealer
	Insecure bool // the host is served by plain http elsewhere than on loopback
}

// Name returns the name of a cookie in the browser. The prefix __Host- of the name proves that no
// sibling domain has set the cookie (RFC 6265bis, section 4.1.3).
func (c Cookies) Name(base string) string {
	if c.Insecure {
		return base
	}
	return "__Host-" + base
}

// Cookie returns a cookie with this value that lives for maxAge seconds. If maxAge is negative, the
// cookie removes the one that the browser has.
func (c Cookies) Cookie(base, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name:     c.Name(base),
		Value:    value,
		Path:     "/",
		MaxAge:   maxAge,
		Secure:   !c.Insecure,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // GitHub sends the browser back with a GET
	}
}
