package githubapi

import (
	"crypto/rand"
	"slices"
	"strings"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/text"
)

// reservedUsernames are usernames that people would mistake for a role or for the service itself.
var reservedUsernames = []string{
	"admin", "administrator", "api", "auth", "github", "help", "host", "info", "login", "me",
	"moderator", "nobody", "null", "owner", "register", "root", "security", "staff", "superuser",
	"support", "system", "undefined", "user", "webmaster",
}

// IsReservedUsername reports whether the name is reserved. A person who sends a request cannot choose
// a reserved name. The host's own code can. Letter case, and the characters between words, do not
// matter: "Super-User" is reserved, too.
func IsReservedUsername(name string) bool {
	name = strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace(name)
	return slices.Contains(reservedUsernames, text.FoldASCII(name))
}

// Username derives a username from the letters, digits, hyphens and underscores of a GitHub
// login. It adds a random suffix if the name is reserved or taken. A user keeps the username if the
// login changes later.
func Username(login string, taken bool) string {
	const longest = 39 // GitHub's own limit
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (canonical.IsAlphanumeric(byte(r)) || r == '-' || r == '_') {
			return r
		}
		return -1
	}, login)
	name = name[:min(len(name), longest)]
	if taken || name == "" || IsReservedUsername(name) {
		name = strings.TrimPrefix(name+"-", "-") + text.FoldASCII(rand.Text()[:6])
	}
	return name
}
