package githubtest_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/githubtest"
)

func TestAPINeedsAValidToken(t *testing.T) {
	c := start(t)
	for token, message := range map[string]string{"": "Requires authentication",
		"gho_unknown": "Bad credentials"} {
		got := c.get("/user", token)
		require.Equal(t, http.StatusUnauthorized, got.status)
		answer := got.object(t)
		require.Equal(t, message, answer["message"])
		require.Equal(t, "401", answer["status"])
		require.NotEmpty(t, answer["documentation_url"])
	}
	r := c.request(http.MethodGet, "/user", nil) // at the root, as on api.github.com
	r.Header.Set("Authorization", "token "+c.signIn(""))
	require.Equal(t, http.StatusOK, c.do(r).status)
}

func TestAPINeedsAUserAgent(t *testing.T) {
	c := start(t)
	r := c.request(http.MethodGet, "/api/v3/user", nil)
	r.Header.Set("Authorization", "Bearer "+c.signIn(""))
	r.Header.Set("User-Agent", "")
	require.Equal(t, http.StatusForbidden, c.do(r).status)
}

func TestScopesLimitTheAPI(t *testing.T) {
	c := start(t)
	for _, test := range []struct {
		path, scope string
		status      int
	}{
		{"/user", "", 200},
		{"/user/emails", "", 404},
		{"/user/emails", "read:user", 404},
		{"/user/emails", "user:email", 200},
		{"/user/emails", "user", 200},
		{"/user/memberships/orgs", "user repo", 403},
		{"/user/memberships/orgs", "read:org", 200},
		{"/user/memberships/orgs", "admin:org", 200},
		{"/user/orgs", "repo", 403},
		{"/user/orgs", "user", 200},
		{"/user/teams", "gist", 403},
		{"/user/teams", "read:org", 200},
		{"/user/repos", "", 200},
	} {
		c.Revoke(octocat) // so that a request without scopes does not get earlier scopes
		got := c.get(test.path, c.signIn(test.scope))
		require.Equal(t, test.status, got.status, "%s with %q: %s", test.path, test.scope, got.body)
		require.Equal(t, strings.ReplaceAll(normal(test.scope), " ", ", "),
			got.header.Get("X-OAuth-Scopes"))
		_, ok := got.header["X-Accepted-Oauth-Scopes"]
		require.True(t, ok)
	}
	c.Revoke(octocat)
	require.Len(t, c.get("/user/repos", c.signIn("")).list(t), 1)
	require.Len(t, c.get("/user/repos", c.signIn("repo")).list(t), 2,
		"private repositories must be listed too")
	require.NotContains(t, c.get("/user", c.signIn("repo")).object(t), "plan")
	require.Contains(t, c.get("/user", c.signIn("read:user")).object(t), "plan")
}

// normal changes the scopes "user repo" to the order in which GitHub returns them.
func normal(scope string) string {
	return strings.ReplaceAll(scope, "user repo", "repo user")
}

func TestEmails(t *testing.T) {
	c := start(t)
	require.JSONEq(t, `[
		{"email":"octocat@example.com","primary":true,"verified":true,"visibility":"public"},
		{"email":"583231+octocat@users.noreply.example.com","primary":false,"verified":true,"visibility":null}
	]`, c.get("/user/emails", c.signIn("user:email")).body)
	require.NoError(t, c.SignInAs("no-email"))
	token := c.signIn("user:email")
	require.JSONEq(t, `[]`, c.get("/user/emails", token).body)
	require.Nil(t, c.get("/user", token).object(t)["email"])
	require.NoError(t, c.SignInAs("unverified"))
	require.JSONEq(t,
		`[{"email":"unverified@example.com","primary":true,"verified":false,"visibility":"private"}]`,
		c.get("/user/emails", c.signIn("user:email")).body)
}

func TestMembershipsByState(t *testing.T) {
	c := start(t)
	require.NoError(t, c.SetUser(githubtest.User{ID: octocat, Login: "octocat",
		Memberships: []githubtest.Membership{
			{Org: githubtest.Org{ID: 1,
				Login: "in"}}, {Org: githubtest.Org{ID: 2, Login: "invited"}, Pending: true},
		}}))
	token := c.signIn("read:org")
	for query, want := range map[string][]string{
		"": {"in", "invited"}, "?state=active": {"in"}, "?state=pending": {"invited"},
	} {
		var logins []string
		for _, membership := range c.get("/user/memberships/orgs"+query, token).list(t) {
			logins = append(logins, membership["organization"].(map[string]any)["login"].(string))
		}
		require.Equal(t, want, logins, query)
	}
	require.Len(t, c.get("/user/orgs", token).list(t), 1)
}

func TestPages(t *testing.T) {
	user := githubtest.User{ID: octocat, Login: "octocat"}
	for i := range 250 {
		user.Teams = append(user.Teams, githubtest.Team{ID: int64(i + 1),
			Slug: fmt.Sprint("team-", i), Org: githubtest.Org{ID: 1, Login: "org"}})
	}
	c := startWith(t, githubtest.Config{AutoApprove: "octocat", Users: []githubtest.User{user}})
	token := c.signIn("read:org")
	for query, size := range map[string]int{
		"": 30, "?per_page=100": 100, "?per_page=1000": 100, "?per_page=0": 30, "?per_page=x": 30, "?per_page=7": 7,
		"?page=9": 10, "?page=10": 0, "?page=99999999999999999999": 30, "?page=-1": 30,
	} {
		require.Len(t, c.get("/user/teams"+query, token).list(t), size, query)
	}

	next := regexp.MustCompile(`<([^>]*)>; rel="next"`)
	seen := make(map[float64]bool)
	path := "/user/teams?per_page=100"
	for pages := 1; ; pages++ {
		got := c.get(path, token)
		for _, team := range got.list(t) {
			seen[team["id"].(float64)] = true
		}
		link := next.FindStringSubmatch(got.header.Get("Link"))
		if link == nil {
			require.Equal(t, 3, pages)
			break
		}
		require.True(t, strings.HasPrefix(link[1], c.URL()+"/api/v3/user/teams?"), link[1])
		path = strings.TrimPrefix(link[1], c.URL()+"/api/v3")
	}
	require.Len(t, seen, 250)

	link := c.get("/user/teams?page=2", token).header.Get("Link")
	for _, rel := range []string{"prev", "next", "last", "first"} {
		require.Contains(t, link, `rel="`+rel+`"`)
	}
	require.Empty(t, c.get("/user/orgs", token).header.Get("Link"), "a single page has no links")
}

func TestRateLimitIsShown(t *testing.T) {
	clock := newClock()
	c := startWith(t, githubtest.Config{AutoApprove: "octocat", Now: clock.now})
	token := c.signIn("")
	rate := func(name string) string { return c.get("/user", token).header.Get("X-RateLimit-" + name) }
	require.Equal(t, "5000", rate("Limit"))
	require.Equal(t, "2", rate("Used"))
	require.Equal(t, "4997", rate("Remaining"))
	require.Equal(t, "core", rate("Resource"))
	reset := clock.now().Truncate(time.Hour).Add(time.Hour)
	require.Equal(t, fmt.Sprint(reset.Unix()), rate("Reset"))
	clock.add(time.Hour)
	require.Equal(t, "1", rate("Used"))

	got := c.get("/user", token)
	require.NotEmpty(t, got.header.Get("X-GitHub-Request-Id"))
	require.NotEmpty(t, got.header.Get("X-GitHub-Media-Type"))
}

func TestAppChecksAndDeletesTokens(t *testing.T) {
	c := start(t)
	first, second := c.signIn("repo"), c.signIn("repo")
	got := c.application(http.MethodPost, "token", first)
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, first, got.object(t)["token"])
	require.Equal(t, "octocat", got.object(t)["user"].(map[string]any)["login"])

	require.Equal(t, http.StatusNoContent, c.application(http.MethodDelete, "token", first).status)
	require.Equal(t, http.StatusUnauthorized, c.get("/user", first).status)
	require.Equal(t, http.StatusNotFound, c.application(http.MethodPost, "token", first).status)
	require.Equal(t, http.StatusNotFound, c.application(http.MethodDelete, "token", first).status)
	require.Equal(t, http.StatusOK, c.get("/user", second).status, "the second token must stay valid")

	third := c.signIn("user")
	require.Equal(t, http.StatusNoContent, c.application(http.MethodDelete, "grant", second).status)
	require.Equal(t, http.StatusUnauthorized, c.get("/user", third).status,
		"deleting a grant must revoke all tokens")
}

func TestAppResetsTokens(t *testing.T) {
	for _, lifetime := range []time.Duration{0, time.Hour} {
		c := startWith(t, githubtest.Config{AutoApprove: "octocat", TokenLifetime: lifetime})
		old, other := c.signIn("repo user:email"), c.signIn("repo user:email")
		got := c.application(http.MethodPatch, "token", old)
		require.Equal(t, http.StatusOK, got.status)
		authorization.check(t, exact(t, got.body))
		fresh := got.object(t)["token"].(string)
		require.NotContains(t, []string{old, other}, fresh)
		require.Equal(t, []any{"repo", "user:email"}, got.object(t)["scopes"])
		require.Equal(t, lifetime > 0, got.object(t)["expires_at"] != nil)
		require.Equal(t, 1, c.Count(githubtest.EndpointResetToken))

		require.Equal(t, http.StatusUnauthorized, c.get("/user", old).status)
		require.Equal(t, http.StatusOK, c.get("/user", fresh).status)
		require.Equal(t, http.StatusOK, c.get("/user", other).status, "the other token must stay valid")
		require.Len(t, c.Tokens(octocat), 2)
		for _, invalid := range []string{old, "gho_unknown"} {
			require.Equal(t, http.StatusNotFound, c.application(http.MethodPatch, "token", invalid).status)
		}
		require.Equal(t, 422, c.application(http.MethodPatch, "token", "").status)
	}
}

func TestAResourceThatTheClientHasIsNotSentAgain(t *testing.T) {
	c := start(t)
	token := c.signIn("repo user read:org")
	ask := func(path, known string) reply {
		r := c.request(http.MethodGet, "/api/v3"+path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("If-None-Match", known)
		return c.do(r)
	}
	for _, path := range []string{"/user", "/user/emails", "/user/memberships/orgs", "/user/orgs",
		"/user/teams", "/user/repos"} {
		first := c.get(path, token)
		tag := first.header.Get("ETag")
		require.Regexp(t, `^W/"[0-9a-f]{64}"$`, tag)
		require.Contains(t, first.header.Get("Vary"), "Authorization")
		for _, known := range []string{tag, strings.TrimPrefix(tag, "W/"), `"x", ` + tag, "*"} {
			got := ask(path, known)
			require.Equal(t, http.StatusNotModified, got.status, known)
			require.Empty(t, got.body)
			require.Equal(t, tag, got.header.Get("ETag"))
			require.Equal(t, first.header.Get("X-RateLimit-Used"), got.header.Get("X-RateLimit-Used"),
				"a 304 does not count against the rate limit")
		}
		for _, known := range []string{"", `"x"`, `W/"x"`, "x" + tag} {
			got := ask(path, known)
			require.Equal(t, http.StatusOK, got.status, known)
			require.Equal(t, first.body, got.body)
		}
	}
	tag := c.get("/user", token).header.Get("ETag")
	require.NoError(t, c.SetUser(githubtest.User{ID: octocat, Login: "renamed"}))
	require.Equal(t, http.StatusOK, ask("/user", tag).status)
	c.Revoke(octocat)
	require.Equal(t, http.StatusUnauthorized, ask("/user", tag).status)
}

func TestAppCallsNeedTheAppsCredentials(t *testing.T) {
	c := start(t)
	id, secret := c.Client()
	token := c.signIn("")
	body := `{"access_token":"` + token + `"}`
	for name, test := range map[string]struct {
		user, password, path, body string
		status                     int
	}{
		"right":          {id, secret, id, body, 200},
		"wrong secret":   {id, "wrong", id, body, 401},
		"wrong app":      {"other", secret, id, body, 401},
		"another's path": {id, secret, "other", body, 404},
		"not JSON":       {id, secret, id, "access_token=" + token, 400},
		"nothing":        {id, secret, id, "", 400},
		"no token":       {id, secret, id, `{}`, 422},
		"empty token":    {id, secret, id, `{"access_token":""}`, 422},
		"number":         {id, secret, id, `{"access_token":1}`, 422},
	} {
		r := c.request(http.MethodPost, "/api/v3/applications/"+test.path+"/token", nil)
		r.SetBasicAuth(test.user, test.password)
		r.Body = io.NopCloser(strings.NewReader(test.body))
		require.Equal(t, test.status, c.do(r).status, name)
	}
	r := c.request(http.MethodPost, "/api/v3/applications/"+id+"/token", nil)
	require.Equal(t, http.StatusUnauthorized, c.do(r).status, "no credentials")
}

func TestOtherPathsAreNotFound(t *testing.T) {
	c := start(t)
	for _, path := range []string{"/", "/api/v3/", "/api/v3/users/octocat", "/login/oauth/other"} {
		got := c.do(c.request(http.MethodGet, path, nil))
		require.Equal(t, http.StatusNotFound, got.status, path)
		require.Equal(t, "Not Found", got.object(t)["message"])
	}
}

func TestAvatarIsAPicture(t *testing.T) {
	c := start(t)
	avatar := c.get("/user", c.signIn("")).object(t)["avatar_url"].(string)
	require.True(t, strings.HasPrefix(avatar, c.URL()), "nothing is fetched from GitHub")
	got := c.do(c.request(http.MethodGet, strings.TrimPrefix(avatar, c.URL()), nil))
	require.Equal(t, "image/svg+xml", got.header.Get("Content-Type"))
	require.Equal(t, http.StatusNotFound, c.do(c.request(http.MethodGet, "/avatars/u/x", nil)).status)
}
