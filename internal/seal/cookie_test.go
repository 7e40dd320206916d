package seal_test

import (
	"testing"

	"github.com/sallyport-go/auth/internal/seal"
	"github.com/stretchr/testify/require"
)

func TestACookieIsForTheHostAloneAndNotForScripts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cookies seal.Cookies
		maxAge  int
		want    string
	}{
		"over https":      {seal.Cookies{}, 600, "__Host-session=value; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax"},
		"removed":         {seal.Cookies{}, -1, "__Host-session=value; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		"over plain http": {seal.Cookies{PlainHTTP: true}, 600, "session=value; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"},
	} {
		cookie := test.cookies.Cookie("session", "value", test.maxAge)
		require.Equal(t, test.want, cookie.String(), name)
		require.Equal(t, cookie.Name, test.cookies.Name("session"), name)
	}
}
