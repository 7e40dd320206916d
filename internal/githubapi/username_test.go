package githubapi_test

import (
	"testing"

	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/stretchr/testify/require"
)

// People read "super-user" as they read "superuser". GitHub gives anyone such a login.
func TestALoginLikeAReservedNameGetsASuffix(t *testing.T) {
	t.Parallel()
	const suffix = "-[a-z2-7]{6}$"
	for login, want := range map[string]string{
		"octocat": "^octocat$", "Octo-Cat": "^Octo-Cat$", "sysadmin": "^sysadmin$", "admin1": "^admin1$",
		"admin": "^admin" + suffix, "Admin": "^Admin" + suffix, "super-user": "^super-user" + suffix,
		"Web-Master": "^Web-Master" + suffix, "root_": "^root_" + suffix, "-me": "^me" + suffix,
		"a.d.m.i.n": "^admin" + suffix, "\u0430dmin": "^dmin$", "\u5c71": "^[a-z2-7]{6}$", "": "^[a-z2-7]{6}$",
	} {
		require.Regexp(t, want, githubapi.Username(login, false), "%q", login)
	}
	require.Regexp(t, "^octocat"+suffix, githubapi.Username("octocat", true))
}

func TestReservedNamesAreReservedInEachSpelling(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"root": true, "ROOT": true, "Super User": true, "super_user": true, "a.p.i": true, "-host-": true,
		"": false, "-": false, "alice": false, "roots": false, "r\u00f6ot": false, "ro\u2010ot": false,
	} {
		require.Equal(t, want, githubapi.IsReservedUsername(name), "%q", name)
	}
}
