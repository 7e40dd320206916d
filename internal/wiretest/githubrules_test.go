package wiretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/stretchr/testify/require"
)

func TestACallbackOfAnotherBrowserClearsNoCookies(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	victim := g.browser()
	own := victim.authURL(signInCall)
	for range 8 { // enough flows to use every cookie name
		require.Equal(t, http.StatusBadRequest, victim.get(g.browser().authURL(signInCall)).status)
	}
	require.Equal(t, http.StatusOK, victim.get(own).status, "the victim's own flow completes")
}

func TestAConsumedStateIsKeptLongerThanItsCookie(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	require.Equal(t, http.StatusOK, g.sendCallback(g.pending()).status)
	pruned := func(after time.Duration) int {
		n, err := g.store.PruneStates(t.Context(), g.clock.Now().Add(after), 10)
		require.NoError(t, err)
		return n
	}
	const kept = 2*time.Hour + 10*time.Minute
	require.Zero(t, pruned(kept-time.Microsecond))
	require.Equal(t, 1, pruned(kept))
}

// The attack: an instance whose clock is ahead removes the record of a used state, and another instance
// accepts the state again.
func TestAnInstanceWhoseClockIsAheadDoesNotReviveAState(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	p := g.pending()
	require.Equal(t, http.StatusOK, g.sendCallback(p).status)
	const ahead = 2*time.Hour + 9*time.Minute
	g.clock.Advance(ahead)
	_, err := g.instance().Prune(t.Context())
	require.NoError(t, err)
	g.clock.Advance(-ahead)
	require.Equal(t, http.StatusBadRequest, g.sendCallback(p).status)
	require.Equal(t, 1, g.fake.Count(githubtest.EndpointAccessToken), "GitHub is not asked again")
}

func TestAFlowCanCompleteOnAnotherInstance(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	p := g.pending()
	g.svc = g.instance()
	require.Equal(t, http.StatusOK, g.sendCallback(p).status)
}

func TestPlainHTTPNeedsInsecureCookies(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	cfg := g.github
	cfg.CallbackURL = "http://intranet.example/api/v1/auth/github/callback"
	_, err := auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg)
	require.Error(t, err)
	cfg.InsecureCookies = true
	connector, err := auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg)
	require.NoError(t, err)
	_, cookie, err := connector.BeginSignIn(httptest.NewRequest(http.MethodGet, "/", nil), "")
	require.NoError(t, err)
	require.Regexp(t, `^auth_github_[0-3]$`, cookie.Name)
	require.False(t, cookie.Secure)

	// InsecureCookies has no effect if the callback URL uses https.
	cfg.CallbackURL = g.github.CallbackURL
	connector, err = auth.NewGitHubConnector(g.store, g.svc.Tokens(), g.sealing, cfg)
	require.NoError(t, err)
	_, cookie, err = connector.BeginSignIn(httptest.NewRequest(http.MethodGet, "/", nil), "")
	require.NoError(t, err)
	require.True(t, cookie.Secure)
}

func TestTheRedirectURIComesOnlyFromTheConfiguration(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	r := httptest.NewRequest(http.MethodGet, "https://evil.example/api/v1/auth/github/start", nil)
	r.Header.Set("X-Forwarded-Host", "evil.example")
	r.Header.Set("X-Forwarded-Proto", "http")
	r.Header.Set("Forwarded", "host=evil.example")
	answer := serve(g.svc.Handler(), r)
	require.Equal(t, g.github.CallbackURL, queryOf(t, answer.header.Get("Location")).Get("redirect_uri"))
	r = httptest.NewRequest(http.MethodGet, "https://evil.example/api/v1/auth/github/callback", nil)
	require.Equal(t, g.server.URL+"/account?tab=1&error=expired",
		serve(g.svc.Handler(), r).header.Get("Location"))
}

// If GitHub responds with status 200 and an error, golang.org/x/oauth2 by default sends the code
// again, with the credentials in another place.
func TestACodeIsExchangedOnlyOnce(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]githubtest.Fault{
		"200 with an error": githubtest.OAuthError("bad_verification_code"),
		"401":               githubtest.Status(http.StatusUnauthorized),
		"503":               githubtest.Status(http.StatusServiceUnavailable),
		"reset":             githubtest.Reset,
	} {
		g := newGitHub(t)
		p := g.pending()
		g.fake.Inject(githubtest.EndpointAccessToken, fault)
		require.NotEqual(t, http.StatusOK, g.sendCallback(p).status, name)
		require.Equal(t, 1, g.fake.Count(githubtest.EndpointAccessToken), name)
	}
}

func TestDisconnectingRevokesTheTokenButNotTheGrant(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	g.browser().connect(token)
	g.sendAs(token, http.MethodPost, disconnectCall, "")
	require.Equal(t, 1, g.fake.Count(githubtest.EndpointDeleteToken))
	require.Zero(t, g.fake.Count(githubtest.EndpointDeleteGrant),
		"revoking the grant would revoke the tokens of the host's other services")
}

// A person who fears that a token has leaked connects the account again. The leaked token must then no
// longer work at GitHub, and the new one must.
func TestConnectingAgainRevokesTheReplacedTokenButNotTheGrant(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	g.browser().connect(token)
	replaced := g.fake.Tokens(octocat)
	require.Len(t, replaced, 1)
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	left := g.fake.Tokens(octocat)
	require.Len(t, left, 1)
	require.NotEqual(t, replaced, left)
	source, err := g.svc.GitHub().TokenSource(t.Context(), g.user.ID).Token()
	require.NoError(t, err)
	require.Equal(t, left[0].Access, source.AccessToken)
	require.Equal(t, 1, g.fake.Count(githubtest.EndpointDeleteToken))
	require.Zero(t, g.fake.Count(githubtest.EndpointDeleteGrant), "it would revoke the new token")
	require.Empty(t, g.logLines("a GitHub token was not revoked"))
}

func TestConnectingAgainSucceedsIfTheReplacedTokenIsNotRevoked(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.signIn(g.user)
	g.browser().connect(token)
	g.fake.Inject(githubtest.EndpointDeleteToken, githubtest.Status(http.StatusBadGateway))
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	require.Equal(t, http.StatusOK, g.status(token).status)
	require.Len(t, g.logLines("a GitHub token was not revoked"), 1)
}

func TestOrganizationListsRequestTheScopeAndReadAllPages(t *testing.T) {
	t.Parallel()
	org := githubtest.Org{ID: 1, Login: "acme"}
	var teams []githubtest.Team
	var memberships []githubtest.Membership
	for i := range int64(150) {
		teams = append(teams, githubtest.Team{ID: 1000 + i, Slug: fmt.Sprint("team-", i), Org: org})
		memberships = append(memberships, githubtest.Membership{
			Org: githubtest.Org{ID: 2000 + i, Login: fmt.Sprint("org-", i)},
		})
	}
	for name, configure := range map[string]func(*auth.GitHubConfig){
		"team":         func(c *auth.GitHubConfig) { c.AllowedTeams = []int64{1149} },
		"organization": func(c *auth.GitHubConfig) { c.AllowedOrganizations = []int64{2149} },
	} {
		g := newGitHub(t, githubOptions{
			fake: githubtest.Config{
				Users: []githubtest.User{
					{ID: octocat, Login: octocatLogin, Teams: teams, Memberships: memberships},
				},
			},
			configure: func(_ *githubFixture, cfg *auth.Config) { configure(cfg.GitHub) },
		})
		b := g.browser()
		authURL := b.authURL(signInCall)
		require.Equal(t, "read:user user:email read:org", queryOf(t, authURL).Get("scope"), name)
		require.Equal(t, http.StatusOK, b.get(authURL).status, name)
	}
}

func TestThePKCEVerifierAppearsInNoURL(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	verifiers := make(chan string, 1)
	g.fake.InjectN(githubtest.EndpointAccessToken, 1, func(endpoint http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, r.ParseForm())
			verifiers <- r.PostForm.Get("code_verifier")
			require.Empty(t, r.URL.RawQuery)
			endpoint.ServeHTTP(w, r)
		})
	})
	b := g.browser()
	authURL := b.authURL(signInCall)
	callback := b.callbackURL(authURL)
	require.Equal(t, http.StatusOK, b.get(callback).status)
	verifier := <-verifiers
	require.Len(t, verifier, 43)
	for _, u := range []string{authURL, callback} {
		plain, err := url.QueryUnescape(u)
		require.NoError(t, err)
		require.NotContains(t, plain, verifier)
	}
	require.NotContains(t, g.log.String(), verifier)
}

// Anyone can begin a flow. So the library must parse a large Cookie header only one time, and not
// again for each cookie name.
func TestBeginningAFlowParsesTheCookiesOnce(t *testing.T) {
	g := newGitHub(t)
	begin := func(cookies string) float64 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", cookies)
		return testing.AllocsPerRun(20, func() {
			if _, _, err := g.svc.GitHub().BeginSignIn(r, ""); err != nil {
				t.Error(err)
			}
		})
	}
	// All four cookie names are in use, so the library finds no free one.
	taken := "__Host-auth_github_0=x; __Host-auth_github_1=x; __Host-auth_github_2=x; __Host-auth_github_3=x"
	large := taken + strings.Repeat("; a=b", 1000)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", large)
	once := testing.AllocsPerRun(20, func() { r.Cookies() })
	require.Less(t, begin(large)-begin(taken), 2*once)
}

// A host may show the avatar of an account. A URL that runs a script must not reach the host.
func TestAnAvatarURLThatIsNotAWebAddressIsDropped(t *testing.T) {
	t.Parallel()
	for avatar, want := range map[string]string{
		"https://avatars.example.com/u/1?v=4": "https://avatars.example.com/u/1?v=4",
		"http://127.0.0.1:8080/u/1":           "http://127.0.0.1:8080/u/1",
		"http://avatars.example.com/u/1":      "",
		"javascript:alert(1)":                 "",
		"data:text/html,<script>":             "",
		"//avatars.example.com/u/1":           "",
		"https:":                              "",
		"":                                    "",
	} {
		g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.GitHub.HTTPClient = &http.Client{
				Transport: avatarTransport{cfg.GitHub.HTTPClient.Transport, avatar},
			}
		}})
		g.browser().signIn()
		link, err := g.link(octocat)
		require.NoError(t, err)
		require.Equal(t, want, link.AvatarURL, avatar)
	}
}

// avatarTransport replaces the avatar URL in the responses of GitHub.
type avatarTransport struct {
	http.RoundTripper
	avatar string
}

func (a avatarTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := a.RoundTripper.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/user") {
		return response, err
	}
	var account map[string]any
	if err := json.NewDecoder(response.Body).Decode(&account); err != nil {
		return nil, err
	}
	response.Body.Close()
	account["avatar_url"] = a.avatar
	text, err := json.Marshal(account)
	response.Body = io.NopCloser(bytes.NewReader(text))
	response.ContentLength = int64(len(text))
	response.Header.Del("Content-Length")
	return response, err
}
