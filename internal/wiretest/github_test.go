package wiretest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/stretchr/testify/require"
)

func TestSignInWithGitHubReturnsTheDocumentedFields(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	first := g.browser().signIn()
	require.Equal(t, map[string]any{
		"token": first["token"], "token_type": "bearer", "expires_in": 43200.0, "is_super_user": false,
		"username": "octocat", "is_new_user": true,
	}, first)
	user := g.sendAs(first["token"].(string), http.MethodGet, "/auth/user", "").json(t)
	require.Equal(t, "octocat", user["username"])
	require.Equal(t, "octocat@example.com", user["email"])

	again := g.browser().signIn()
	require.Equal(t, false, again["is_new_user"])
	require.Equal(t, user["user_id"],
		g.sendAs(again["token"].(string), http.MethodGet, "/auth/user", "").json(t)["user_id"])
}

func TestConnectStatusAndDisconnect(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	none := g.status(token)
	require.Equal(t, http.StatusNotFound, none.status)
	require.JSONEq(t, `{"detail": "No GitHub credentials found for user"}`, none.body)

	done := g.browser().connect(token)
	require.Equal(t, http.StatusOK, done.status, done.body)
	require.Equal(t, "text/html; charset=utf-8", done.header.Get("Content-Type"))
	require.Contains(t, done.body, "<strong>octocat</strong>")

	r := g.status(token)
	require.Equal(t, http.StatusOK, r.status)
	require.JSONEq(t, `{"has_token": true, "github_username": "octocat",
		"scopes": ["repo", "user:email"]}`, r.body)
	verified := g.sendAs(token, http.MethodGet, verifyCall, "")
	require.JSONEq(t, `{"has_token": true, "github_username": "octocat", "scopes": ["repo", "user:email"],
		"valid": true}`, verified.body)

	r = g.sendAs(token, http.MethodPost, disconnectCall, "")
	require.Equal(t, http.StatusOK, r.status)
	require.JSONEq(t, `{"success": true, "message": "GitHub credentials removed successfully"}`, r.body)
	require.Empty(t, g.fake.Tokens(octocat), "the token is revoked at GitHub too")
	require.Equal(t, http.StatusNotFound, g.status(token).status)
	r = g.sendAs(token, http.MethodPost, disconnectCall, "")
	require.JSONEq(t, `{"success": false, "message": "No GitHub credentials found to remove"}`, r.body)

	// A sign-in with GitHub still leads to the same user.
	signedIn := g.browser().signIn()
	require.Equal(t, "alice", signedIn["username"])
	require.Equal(t, false, signedIn["is_new_user"])
}

func TestATokenRevokedAtGitHubIsRemovedWhenVerified(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	g.browser().connect(token)
	g.fake.Revoke(octocat)
	require.Equal(t, http.StatusOK, g.status(token).status, "the store does not know of the revocation yet")
	require.Equal(t, http.StatusNotFound, g.sendAs(token, http.MethodGet, verifyCall, "").status)
	require.Equal(t, http.StatusNotFound, g.status(token).status)
}

// The scopes of the status are those that GitHub granted, which need not be those that the service requested.
func TestTheStatusHasTheScopesThatGitHubGranted(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	for granted, want := range map[string][]any{
		`"user:email,read:user"`: {"read:user", "user:email"},
		`""`:                     {}, // a GitHub App has permissions instead of scopes
	} {
		g.fake.InjectN(githubtest.EndpointAccessToken, 1, githubtest.SetField("scope", granted))
		require.Equal(t, http.StatusOK, g.browser().connect(token).status)
		require.Equal(t, want, g.status(token).json(t)["scopes"])
		require.Equal(t, http.StatusOK, g.sendAs(token, http.MethodPost, disconnectCall, "").status)
	}
}

func TestTheAuthorizationURLHasPKCEStateAndScopes(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	signIn := queryOf(t, b.authURL(signInCall))
	connect := queryOf(t, b.connectURL(g.signIn(g.user)))
	for _, q := range []url.Values{signIn, connect} {
		require.Equal(t, "S256", q.Get("code_challenge_method"))
		require.Len(t, q.Get("code_challenge"), 43)
		require.GreaterOrEqual(t, len(q.Get("state")), 43, "256 random bits")
		require.Equal(t, g.github.CallbackURL, q.Get("redirect_uri"))
		require.Empty(t, q.Get("code_verifier"))
		require.Empty(t, q.Get("client_secret"))
	}
	require.Equal(t, "read:user user:email", signIn.Get("scope"))
	require.Equal(t, "repo user:email", connect.Get("scope"))
	require.Equal(t, "select_account", connect.Get("prompt"))
	require.NotEqual(t, signIn.Get("state"), connect.Get("state"))
}

func TestTheStateCookieIsSecureHttpOnlyAndHostOnly(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	r := g.send(http.MethodGet, signInCall, "")
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	cookies := (&http.Response{Header: r.header}).Cookies()
	require.Len(t, cookies, 1)
	c := cookies[0]
	require.Regexp(t, `^__Host-auth_github_[0-3]$`, c.Name)
	require.True(t, c.Secure)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, "/", c.Path)
	require.Empty(t, c.Domain)
	require.Equal(t, 600, c.MaxAge)
	require.LessOrEqual(t, len(c.Value), 1024)
}

// Attack (CVE-2025-68481, CVE-2025-68158): Mallory begins a flow and makes the victim's browser
// complete it.
func TestAStateOfAnotherBrowserIsRejected_CVE_2025_68481_CVE_2025_68158(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	mallory, victim := g.browser(), g.browser()
	malloryToken := g.signIn(g.user)
	for name, begin := range map[string]func() string{
		"sign-in": func() string { return mallory.authURL(signInCall) },
		"connect": func() string {
			return mallory.connectURL(malloryToken)
		},
	} {
		exchanges := g.fake.Count(githubtest.EndpointAccessToken)
		p := victim.get(begin())
		require.Equal(t, http.StatusBadRequest, p.status, name)
		requireErrorBody(t, response{p.status, p.header, p.body})
		require.Equal(t, exchanges, g.fake.Count(githubtest.EndpointAccessToken), "no exchange")
	}
	_, err := g.link(octocat)
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Equal(t, http.StatusNotFound, g.status(malloryToken).status,
		"the victim's token was given to no user")

	// The cookie of a flow that the victim began does not make Mallory's flow valid either.
	victim.authURL(signInCall)
	require.Equal(t, http.StatusBadRequest, victim.get(mallory.authURL(signInCall)).status)
}

func TestAStateIsValidOnceAndForTenMinutes(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	callback := b.callbackURL(b.authURL(signInCall))
	cookies := b.client.Jar.Cookies(mustURL(t, g.server.URL))
	require.Equal(t, http.StatusOK, b.get(callback).status)
	require.Empty(t, b.client.Jar.Cookies(mustURL(t, g.server.URL)), "the cookie is removed")
	// The browser sends the removed cookie again.
	b.client.Jar.SetCookies(mustURL(t, g.server.URL), cookies)
	require.Equal(t, http.StatusBadRequest, b.get(callback).status, "the state is consumed")
	require.Equal(t, 1, g.fake.Count(githubtest.EndpointAccessToken), "GitHub is not asked again")

	late := b.callbackURL(b.authURL(signInCall))
	g.clock.Advance(10 * time.Minute)
	exchanges := g.fake.Count(githubtest.EndpointAccessToken)
	require.Equal(t, http.StatusBadRequest, b.get(late).status)
	require.Equal(t, exchanges, g.fake.Count(githubtest.EndpointAccessToken), "GitHub is not asked")
}

func TestFourTabsCanSignInAtTheSameTime(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	var tabs []string
	for range 4 {
		tabs = append(tabs, b.authURL(signInCall))
	}
	for _, authURL := range tabs {
		require.Equal(t, http.StatusOK, b.get(authURL).status)
	}
	for range 20 { // more flows than cookie names; the newest always works
		tabs = append(tabs, b.authURL(signInCall))
	}
	require.LessOrEqual(t, len(b.client.Jar.Cookies(mustURL(t, g.server.URL))), 4)
	require.Equal(t, http.StatusOK, b.get(tabs[len(tabs)-1]).status)
}

func TestHeadAndPrefetchRequestsDoNotConsumeTheState(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	callback := b.callbackURL(b.authURL(signInCall))
	require.Equal(t, http.StatusNoContent, b.do(http.MethodHead, callback).status)
	require.Equal(t, http.StatusNoContent, b.get(callback, "Sec-Purpose", "prefetch;prerender").status)
	require.Equal(t, http.StatusOK, b.get(callback).status)
}

func TestInvalidCallbacksAreRejected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	for name, change := range map[string]func(q url.Values) string{
		"no query":           func(url.Values) string { return "" },
		"no state":           func(q url.Values) string { q.Del("state"); return q.Encode() },
		"an empty state":     func(q url.Values) string { q.Set("state", ""); return q.Encode() },
		"another state":      func(q url.Values) string { q.Set("state", strings.Repeat("A", 43)); return q.Encode() },
		"a longer state":     func(q url.Values) string { q.Set("state", q.Get("state")+"A"); return q.Encode() },
		"state twice":        func(q url.Values) string { return q.Encode() + "&state=" + q.Get("state") },
		"no code":            func(q url.Values) string { q.Del("code"); return q.Encode() },
		"an empty code":      func(q url.Values) string { q.Set("code", ""); return q.Encode() },
		"another code":       func(q url.Values) string { q.Set("code", "0123456789abcdef0123"); return q.Encode() },
		"a code of 9 KiB":    func(q url.Values) string { q.Set("code", strings.Repeat("a", 9000)); return q.Encode() },
		"a code with spaces": func(q url.Values) string { q.Set("code", "a b"); return q.Encode() },
		"code twice":         func(q url.Values) string { return q.Encode() + "&code=x" },
		"another issuer":     func(q url.Values) string { q.Set("iss", "https://evil.example/login/oauth"); return q.Encode() },
		"an empty issuer":    func(q url.Values) string { q.Set("iss", ""); return q.Encode() },
		"issuer twice":       func(q url.Values) string { return q.Encode() + "&iss=https://evil.example" },
		"a broken escape":    func(q url.Values) string { return q.Encode() + "&x=%zz" },
		"a semicolon":        func(q url.Values) string { return q.Encode() + ";x=1" },
		"error twice":        func(q url.Values) string { return q.Encode() + "&error=a&error=b" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := g.browser()
			u := mustURL(t, b.callbackURL(b.authURL(signInCall)))
			u.RawQuery = change(u.Query())
			p := b.get(u.String())
			require.Equal(t, http.StatusBadRequest, p.status, p.body)
			requireErrorBody(t, response{p.status, p.header, p.body})
			require.Equal(t, "no-referrer", p.header.Get("Referrer-Policy"))
			require.Equal(t, "nosniff", p.header.Get("X-Content-Type-Options"))
			require.Contains(t, p.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		})
	}
}

func TestTheIssuerOfACallbackMustBeAbsentOrExact_RFC9207(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	for _, iss := range []string{"", g.fake.URL() + "/login/oauth"} {
		u := mustURL(t, b.callbackURL(b.authURL(signInCall)))
		q := u.Query()
		q.Del("iss")
		if iss != "" {
			q.Set("iss", iss)
		}
		u.RawQuery = q.Encode()
		require.Equal(t, http.StatusOK, b.get(u.String()).status)
	}
}

func TestADenialNeedsAValidStateAndIsNotReflected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	const script = "<script>alert(1)</script>"
	denial := func(state string) page {
		q := url.Values{
			"error": {"access_denied"}, "error_description": {script},
			"error_uri": {"https://evil.example"}, "state": {state},
		}
		return b.get(callbackCall + "?" + q.Encode())
	}
	require.Equal(t, http.StatusBadRequest, denial(strings.Repeat("A", 43)).status)
	p := denial(queryOf(t, b.authURL(signInCall)).Get("state"))
	require.Equal(t, http.StatusForbidden, p.status)
	require.NotContains(t, p.body, "script")
	require.NotContains(t, p.body, "evil")
}

func TestWithoutGitHubConfigItsCallsAnswer503(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, route := range f.svc.Routes(auth.GroupGitHub) {
		r := f.send(route.Method, route.Path, "")
		require.Equal(t, http.StatusServiceUnavailable, r.status, route.Path)
		require.JSONEq(t, `{"detail": "GitHub sign-in is not configured"}`, r.body)
	}
	require.Nil(t, f.svc.GitHub())
}

func mustURL(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}
