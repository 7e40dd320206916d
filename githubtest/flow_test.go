package githubtest_test

import (
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/githubtest"
)

// clock is a clock that tests advance.
type clock struct{ seconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.seconds.Store(1_800_000_000)
	return c
}

func (c *clock) now() time.Time             { return time.Unix(c.seconds.Load(), 0) }
func (c *clock) add(duration time.Duration) { c.seconds.Add(int64(duration / time.Second)) }

func TestSignIn(t *testing.T) {
	c := start(t)
	verifier := strings.Repeat("v", 43)
	back := c.authorize("scope", "repo user:email", "code_challenge", challengeOf(verifier),
		"code_challenge_method", "S256")
	require.Equal(t, "xyz", back.Get("state"))
	require.Equal(t, c.URL()+"/login/oauth", back.Get("iss"))

	answer := c.exchange("code", back.Get("code"), "redirect_uri", callbackURL, "code_verifier",
		verifier)
	require.Equal(t, "bearer", answer["token_type"])
	require.Equal(t, "repo,user:email", answer["scope"])
	require.NotContains(t, answer, "expires_in")
	require.NotContains(t, answer, "refresh_token")

	user := c.get("/user", answer["access_token"].(string)).object(t)
	require.Equal(t, "octocat", user["login"])
	require.EqualValues(t, octocat, user["id"])
	require.Equal(t, 1, c.Count(githubtest.EndpointAccessToken))
	tokens := c.Tokens(octocat)
	require.Len(t, tokens, 1)
	require.Equal(t, answer["access_token"], tokens[0].Access)
	require.Equal(t, []string{"repo", "user:email"}, tokens[0].Scopes)
}

func TestCodeWorksOnce(t *testing.T) {
	c := start(t)
	code := c.authorize().Get("code")
	require.Contains(t, c.exchange("code", code), "access_token")
	require.Equal(t, "bad_verification_code", c.exchange("code", code)["error"])
	require.Len(t, c.Tokens(octocat), 1)
}

func TestCodeExpires(t *testing.T) {
	clock := newClock()
	c := startWith(t, githubtest.Config{AutoApprove: "octocat", Now: clock.now})
	code, second := c.authorize().Get("code"), c.authorize().Get("code")
	clock.add(10*time.Minute - time.Second)
	require.Contains(t, c.exchange("code", code), "access_token")
	clock.add(time.Second)
	require.Equal(t, "bad_verification_code", c.exchange("code", second)["error"])
}

func TestExchangeIsRefused(t *testing.T) {
	verifier := strings.Repeat("v", 43)
	for name, test := range map[string]struct {
		pairs []string
		want  string
	}{
		"wrong secret":      {[]string{"client_secret", "wrong"}, "incorrect_client_credentials"},
		"no secret":         {[]string{"client_secret", ""}, "incorrect_client_credentials"},
		"wrong code":        {[]string{"code", "wrong"}, "bad_verification_code"},
		"no code":           {[]string{"code", ""}, "bad_verification_code"},
		"wrong verifier":    {[]string{"code_verifier", verifier + "v"}, "bad_verification_code"},
		"no verifier":       {[]string{"code_verifier", ""}, "bad_verification_code"},
		"other redirect":    {[]string{"redirect_uri", callbackURL + "/other"}, "redirect_uri_mismatch"},
		"other grant":       {[]string{"grant_type", "password"}, "unsupported_grant_type"},
		"unknown refresh":   {[]string{"grant_type", "refresh_token", "refresh_token", "ghr_1"}, "bad_refresh_token"},
		"refresh with none": {[]string{"grant_type", "refresh_token"}, "bad_refresh_token"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			code := c.authorize("code_challenge", challengeOf(verifier), "code_challenge_method",
				"S256").Get("code")
			answer := c.exchange(append([]string{"code", code, "redirect_uri", callbackURL,
				"code_verifier", verifier}, test.pairs...)...)
			require.Equal(t, test.want, answer["error"])
			require.NotEmpty(t, answer["error_description"])
			require.NotEmpty(t, answer["error_uri"])
			require.NotContains(t, answer, "access_token")
			require.Empty(t, c.Tokens(octocat))
		})
	}
}

func TestUnknownAppIsNotFound(t *testing.T) {
	c := start(t)
	got := c.do(c.request(http.MethodPost, "/login/oauth/access_token",
		c.tokenForm("client_id", "other")))
	require.Equal(t, http.StatusNotFound, got.status)
	require.JSONEq(t, `{"error":"Not Found"}`, got.body)
	got = c.do(c.request(http.MethodGet, "/login/oauth/authorize?client_id=other", nil))
	require.Equal(t, http.StatusNotFound, got.status)
}

func TestTokenEndpointSpeaksFormsAndJSON(t *testing.T) {
	c := start(t)
	r := c.request(http.MethodPost, "/login/oauth/access_token",
		c.tokenForm("code", c.authorize("scope", "user repo").Get("code")))
	r.Header.Del("Accept")
	got := c.do(r)
	require.Equal(t, "application/x-www-form-urlencoded; charset=utf-8", got.header.Get("Content-Type"))
	form, err := url.ParseQuery(got.body)
	require.NoError(t, err)
	require.Equal(t, "repo,user", form.Get("scope"))

	r = c.request(http.MethodPost, "/login/oauth/access_token", nil)
	r.Header.Set("Content-Type", "application/json")
	id, secret := c.Client()
	r.SetBasicAuth(id, secret)
	r.Body = io.NopCloser(strings.NewReader(`{"code":"` + c.authorize().Get("code") + `"}`))
	require.Contains(t, c.do(r).object(t), "access_token")
}

func TestTokensHaveGitHubsFormat(t *testing.T) {
	c := startWith(t, githubtest.Config{AutoApprove: "octocat", TokenLifetime: 8 * time.Hour})
	c.signIn("")
	token := c.Tokens(octocat)[0]
	require.Regexp(t, regexp.MustCompile(`^gho_[0-9A-Za-z]{36}$`), token.Access)
	require.Regexp(t, regexp.MustCompile(`^ghr_[0-9A-Za-z]{76}$`), token.Refresh)
	for _, secret := range []string{token.Access, token.Refresh} {
		random, digits := secret[4:len(secret)-6], secret[len(secret)-6:]
		var sum uint64
		for _, digit := range digits {
			sum = sum*62 + uint64(strings.IndexRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"+
				"abcdefghijklmnopqrstuvwxyz", digit))
		}
		require.EqualValues(t, crc32.ChecksumIEEE([]byte(random)), sum)
	}
}

func TestRefreshRotatesBothTokens(t *testing.T) {
	clock := newClock()
	c := startWith(t, githubtest.Config{AutoApprove: "octocat", TokenLifetime: 8 * time.Hour,
		Now: clock.now})
	first := c.exchange("code", c.authorize("scope", "repo").Get("code"))
	require.EqualValues(t, 28800, first["expires_in"])
	require.EqualValues(t, 15897600, first["refresh_token_expires_in"])

	refresh := func(old map[string]any) map[string]any {
		return c.exchange("grant_type", "refresh_token", "refresh_token", old["refresh_token"].(string))
	}
	status := func(of map[string]any) int { return c.get("/user", of["access_token"].(string)).status }
	clock.add(8 * time.Hour)
	require.Equal(t, http.StatusUnauthorized, status(first))
	second := refresh(first)
	require.Equal(t, "repo", second["scope"])
	require.Equal(t, http.StatusOK, status(second))
	require.Equal(t, "bad_refresh_token", refresh(first)["error"])

	third := refresh(second) // before it had expired
	require.Equal(t, http.StatusUnauthorized, status(second))
	clock.add(184 * 24 * time.Hour)
	require.Equal(t, "bad_refresh_token", refresh(third)["error"])
	require.Empty(t, c.Tokens(octocat))
}

func TestEleventhTokenEndsTheFirst(t *testing.T) {
	c := start(t)
	other := c.signIn("repo")
	first := c.signIn("user:email")
	for range 9 {
		c.signIn("user:email")
	}
	require.Equal(t, http.StatusOK, c.get("/user", first).status)
	c.signIn("user:email")
	require.Equal(t, http.StatusUnauthorized, c.get("/user", first).status)
	require.Equal(t, http.StatusOK, c.get("/user", other).status,
		"a token with other scopes must stay valid")
}

func TestScopesAreRemembered(t *testing.T) {
	c := start(t)
	c.signIn("user:email")
	c.signIn("repo")
	require.Equal(t, "repo,user:email", c.exchange("code", c.authorize().Get("code"))["scope"])
	c.Revoke(octocat)
	require.Equal(t, "", c.exchange("code", c.authorize().Get("code"))["scope"])
}

func TestIncludedScopeIsOmitted(t *testing.T) {
	c := start(t)
	answer := c.exchange("code", c.authorize("scope",
		"user:email user read:user,gist user").Get("code"))
	require.Equal(t, "gist,user", answer["scope"])
}

func TestRenamedAndRemovedUsers(t *testing.T) {
	c := start(t)
	token := c.signIn("")
	require.Error(t, c.SetUser(githubtest.User{ID: 1, Login: "OCTOCAT"}), "the login is taken")
	require.Error(t, c.SetUser(githubtest.User{ID: 0, Login: "nobody"}))
	require.Error(t, c.SetUser(githubtest.User{ID: 1}))

	require.NoError(t, c.SetUser(githubtest.User{ID: octocat, Login: "monalisa"}))
	require.NoError(t, c.SetUser(githubtest.User{ID: 1, Login: "octocat"}),
		"another user may take the free login")
	require.Equal(t, "monalisa", c.get("/user", token).object(t)["login"])
	require.Equal(t, "monalisa", c.get("/user", c.signIn("")).object(t)["login"],
		"the renamed user must still agree automatically")

	require.Error(t, c.SignInAs("nobody"))
	require.NoError(t, c.SignInAs("Hubot"))
	require.EqualValues(t, hubot, c.get("/user", c.signIn("")).object(t)["id"])

	code := c.authorize().Get("code")
	c.RemoveUser(octocat)
	c.RemoveUser(hubot)
	require.Equal(t, http.StatusUnauthorized, c.get("/user", token).status)
	require.Equal(t, "bad_verification_code", c.exchange("code", code)["error"])
	require.Len(t, c.Users(), 4)
}
