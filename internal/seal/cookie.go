package seal

import "net/http"

// Cookies makes cookies whose values come from [Sealer.SealText].
type Cookies struct {
	*Sealer

	// PlainHTTP says that the host's pages are at an http origin, on loopback or elsewhere. The cookies
	// then have neither the attribute Secure nor a prefix. Chromium stores Secure cookies of
	// http://localhost, but WebKit (Safari) does not, and reports no error.
	//
	// On loopback, cookies without Secure and prefix are not weaker. Cookies do not depend on the port
	// (RFC 6265, section 8.5), not even cookies with the prefix "__Host-". So if a person opens a page
	// of a program on another port of the machine, that program always gets the cookies, and can set,
	// replace and remove them. The program cannot forge a cookie, because the values are sealed. It can
	// only set a cookie that the service has given to the program itself. Loopback is for development.
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
