package seal

import "net/http"

// Cookies makes cookies whose values come from [Sealer.SealText].
type Cookies struct {
	*Sealer
	Insecure bool // the host uses plain http and is not on loopback
}

// Name returns the name that a cookie has in the browser. A name with the prefix "__Host-" proves
// that no sibling domain has set the cookie (RFC 6265bis, section 4.1.3). Browsers accept this
// prefix only for cookies with the attribute Secure. If Insecure is true, the name has no prefix.
func (c Cookies) Name(base string) string {
	if c.Insecure {
		return base
	}
	return "__Host-" + base
}

// Cookie returns a cookie with the name that [Cookies.Name] makes from the parameter base. The
// cookie has the given value and expires after maxAge seconds. If maxAge is negative, the browser
// removes its existing cookie of this name.
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
