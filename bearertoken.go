package auth

import (
	"fmt"
	"net/http"
	"strings"
)

// BearerToken returns the token of the request's one Authorization header (RFC 6750, section 2.1),
// for [TokenIssuer.Verify]. It returns ErrTokenMissing if there is none, or one of another scheme,
// and ErrTokenRejected if there are several. A token in the query or in a form is not looked for,
// because it would end up in logs.
func BearerToken(r *http.Request) (string, error) {
	lines := r.Header["Authorization"]
	if len(lines) == 0 {
		return "", ErrTokenMissing
	}
	if len(lines) > 1 { // Get would take the first, a proxy before us perhaps the last
		return "", fmt.Errorf("%w: more than one Authorization header", ErrTokenRejected)
	}
	token, usual := strings.CutPrefix(lines[0], "Bearer ") // the spelling of nearly every client
	if !usual {
		var scheme string
		if scheme, token, _ = strings.Cut(lines[0], " "); !strings.EqualFold(scheme, "Bearer") {
			return "", ErrTokenMissing
		}
	}
	return strings.TrimLeft(token, " "), nil
}
