package auth

import (
	"encoding/base64"
	"github.com/sallyport-go/auth/internal/canonical"
	"net/http"
)

// sealedCookies makes and reads cookies whose content only their sealer can open.
type sealedCookies struct {
	sealer   *sealer
	insecure bool // plain http elsewhere than on loopback
}

// name returns the name of a cookie in the browser. The prefix makes sure that no
// sibling domain has set it.
func (c sealedCookies) name(base string) string {
	if c.insecure {
		return base
	}
	return "__Host-" + base
}

// cookie returns a cookie with this value, in seconds of life; with a negative
// number, one that removes it.
func (c sealedCookies) cookie(base, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name:     c.name(base),
		Value:    value,
		Path:     "/",
		MaxAge:   maxAge,
		Secure:   !c.insecure,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // GitHub sends the browser back with a GET
	}
}

// seal returns the text that opens to the plain bytes in the same context.
func (c sealedCookies) seal(plain []byte, context ...string) string {
	return base64.RawURLEncoding.EncodeToString(c.sealer.seal(plain, context...))
}

func (c sealedCookies) open(value string, context ...string) ([]byte, error) {
	sealed, err := canonical.DecodeBase64(base64.RawURLEncoding, value)
	if err != nil {
		return nil, errSealed
	}
	plain, _, err := c.sealer.open(sealed, context...)
	return plain, err
}
