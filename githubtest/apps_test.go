package githubtest_test

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/githubtest"
)

// startApp starts a fake at which a GitHub App with the permissions is registered.
func startApp(t *testing.T, permissions ...string) (*client, *clock) {
	t.Helper()
	clock := newClock()
	if permissions == nil {
		permissions = []string{}
	}
	return startWith(t, githubtest.Config{AutoApprove: "octocat", AppPermissions: permissions,
		TokenLifetime: 8 * time.Hour, Now: clock.now, Users: []githubtest.User{{
			ID: octocat, Login: "octocat",
			Emails:      []githubtest.Email{{Address: "octocat@example.com", Primary: true, Verified: true}},
			Memberships: []githubtest.Membership{{Org: githubtest.Org{ID: 77, Login: "acme"}}},
		}}}), clock
}

func TestAGitHubAppGetsATokenWithoutScopesThatExpires(t *testing.T) {
	c, clock := startApp(t)
	first := c.exchange("code", c.authorize("scope", "repo user:email").Get("code"))
	require.Regexp(t, regexp.MustCompile(`^ghu_[0-9A-Za-z]{36}$`), first["access_token"])
	require.Equal(t, "", first["scope"], "GitHub ignores the scopes")
	require.EqualValues(t, 8*60*60, first["expires_in"])
	user := c.get("/user", first["access_token"].(string))
	require.Equal(t, http.StatusOK, user.status)
	require.NotContains(t, user.header, "X-Oauth-Scopes")

	clock.add(8 * time.Hour)
	require.Equal(t, http.StatusUnauthorized, c.get("/user", first["access_token"].(string)).status)
	second := c.exchange("grant_type", "refresh_token", "refresh_token", first["refresh_token"].(string))
	require.Regexp(t, regexp.MustCompile(`^ghu_`), second["access_token"])
	require.Equal(t, "", second["scope"])
	require.Equal(t, http.StatusOK, c.get("/user", second["access_token"].(string)).status)
	require.Equal(t, "bad_refresh_token", c.exchange("grant_type", "refresh_token",
		"refresh_token", first["refresh_token"].(string))["error"])
}

func TestTheScopesOfAGitHubAppDoNotGrantWhatItsPermissionsDoNot(t *testing.T) {
	for _, permissions := range [][]string{
		nil, {"email_addresses"}, {"members"}, {"email_addresses", "members"},
	} {
		c, _ := startApp(t, permissions...)
		answer := c.exchange("code", c.authorize("scope", "repo user read:org").Get("code"))
		token := answer["access_token"].(string)
		emails, members := http.StatusForbidden, 0
		for _, permission := range permissions {
			switch permission {
			case "email_addresses":
				emails = http.StatusOK
			case "members":
				members = 1
			}
		}
		require.Equal(t, emails, c.get("/user/emails", token).status, permissions)
		require.Len(t, c.get("/user/memberships/orgs", token).list(t), members, permissions)
		require.Len(t, c.get("/user/orgs", token).list(t), members, permissions)
	}
}
