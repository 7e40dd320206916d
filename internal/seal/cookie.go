package seal

import "net/http"

// Cookies makes cookies whose values come from [Sealer.SealText].
type Cookies struct {
	*Sealer

	// PlainHTTP says that the host's pages are at an http origin, also if that is on loopback. The
	// cookies then have neither the attribute Secure nor a prefix. Chromium keeps Secure cookies of
	// http://localhost, but WebKit (Safari) drops them without a word.
	//
	// On loopback, this gives nothing away. Cookies do not depend on the port (RFC 6265, section
	// 8.5), not even cookies with the prefix "__Host-". So a program on another port of the machine
	// that the person opens in the browser always gets the cookies, and can set, replace and remove
	// them. Because the values are sealed, such a program cannot make or change one. It can only plant
	// a cookie that the service has given to the program itself. Loopback is for development.
	PlainHTTP bool
}

// Name returns the name that a cookie has in the browser. A name with the prefix "__Host-" proves
// that no sibling domain has set the cookie (RFC 6265bis, section 4.1.3). Browsers accept this
// prefix only for cookies with the attribute Secure. With PlainHTTP, the name has no prefix.
func (c Cookies) Name(base string) string {
	if c.PlainHTTP {
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
		Secure:   !c.PlainHTTP,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // GitHub sends the browser back with a GET
	}
}
