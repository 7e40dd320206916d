package wiretest

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// signInBy signs the browser in by cookie and returns the callback that did it.
func (b *browser) signInBy(returnTo string) (callback string) {
	b.t.Helper()
	p := b.stay().get(startCall + "?return_to=" + url.QueryEscape(returnTo))
	callback = b.callbackURL(p.header.Get("Location"))
	p = b.get(callback)
	require.Equal(b.t, http.StatusSeeOther, p.status, p.body)
	require.NotContains(b.t, p.header.Get("Location"), "error")
	return callback
}

// callbackCookies returns a Cookie header with what the browser sends to the callback.
func (b *browser) callbackCookies() string {
	var sent []string
	for _, cookie := range b.client.Jar.Cookies(mustURL(b.t, b.g.server.URL+callbackCall)) {
		sent = append(sent, cookie.Name+"="+cookie.Value)
	}
	return strings.Join(sent, "; ")
}

// callbackAt sends the callback to one instance of the service, and returns where it leads.
func (g *githubFixture) callbackAt(svc *auth.Service, callback, cookies string) string {
	g.t.Helper()
	answer := send(svc.Handler(), http.MethodGet, mustURL(g.t, callback).RequestURI(), "", "Cookie", cookies)
	require.Equal(g.t, http.StatusSeeOther, answer.status, answer.body)
	return strings.TrimPrefix(answer.header.Get("Location"), g.server.URL)
}

func browserSessions(cfg *auth.Config) {
	cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/account?tab=1"}
}

// A person who has signed in goes back to GitHub's page, which sends the browser to the callback
// again: with the same state and a new code.
func TestGoingBackToAUsedCallbackLeadsToThePageOfTheSession(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	other := g.instance(browserSessions)
	for returnTo, page := range map[string]string{"": "/account?tab=1", "/a?x=1#top": "/a?x=1#top"} {
		b := g.browser()
		callback := b.signInBy(returnTo)
		used := strings.Split(callback, "?")[0] + "?state=" + queryOf(t, callback).Get("state")
		calls, cookies := len(g.fake.Calls()), b.callbackCookies()
		events := strings.Count(g.log.String(), "sign_in.")
		for _, query := range []string{"&code=another", "&error=access_denied", ""} {
			again := used + query
			p := b.get(again)
			require.Equal(t, http.StatusSeeOther, p.status, again)
			require.Equal(t, g.server.URL+page, p.header.Get("Location"), again)
			require.Empty(t, p.header.Values("Set-Cookie"), again)
			require.Equal(t, page, g.callbackAt(other, again, cookies), "another instance: %s", again)
		}
		require.Equal(t, http.StatusNoContent, b.do(http.MethodHead, callback).status)
		require.Equal(t, http.StatusNoContent, b.get(callback, "Sec-Purpose", "prefetch").status)
		require.Len(t, g.fake.Calls(), calls, "GitHub is not asked")
		require.Equal(t, events, strings.Count(g.log.String(), "sign_in."), "nobody has signed in")
		require.Equal(t, http.StatusOK, b.get("/auth/user").status)

		g.clock.Advance(11 * time.Hour) // the state has been pruned
		_, err := g.svc.Prune(t.Context())
		require.NoError(t, err)
		require.Equal(t, g.server.URL+page, b.get(callback).header.Get("Location"))
		g.clock.Advance(time.Hour)
		require.Contains(t, b.get(callback).header.Get("Location"), "error=expired", "so has the session")
	}
}

func TestGoingBackToAUsedCallbackOfAConnectFlowLeadsToItsPage(t *testing.T) {
	t.Parallel()
	for connected, want := range map[string]string{"": "/account?tab=1", "/connected": "/connected"} {
		g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
			browserSessions(cfg)
			cfg.GitHub.ConnectedPage = connected
		}})
		b := g.browser()
		signIn := b.signInBy("/reports")
		g.clock.Advance(time.Hour)
		callback := b.callbackURL(b.authURL(connectCall))
		p := b.stay().get(callback)
		require.Equal(t, g.server.URL+want, p.header.Get("Location"))
		require.Regexp(t, `auth_github_connected=\S+ Path=`+callbackCall+`; Max-Age=(39599|39600);`,
			strings.Join(p.header.Values("Set-Cookie"), "\n"), "the rest of the session's 12 hours")
		cookies := b.callbackCookies()
		require.Equal(t, want, g.callbackAt(g.svc, callback, cookies))
		require.Equal(t, want, g.callbackAt(g.instance(browserSessions), callback, cookies))
		require.Equal(t, "/reports", g.callbackAt(g.svc, signIn, cookies), "further back")

		require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/auth/logout", "Origin", g.server.URL).status)
		for _, used := range []string{callback, signIn} {
			require.Contains(t, g.callbackAt(g.svc, used, cookies), "error=expired")
		}
	}
}

// The user can disconnect in another browser, so the browser of the flow still has its cookies.
func TestGoingBackToAConnectFlowAfterDisconnectingDoesNotLeadToItsPage(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(g *githubFixture, userID string) error{
		"disconnect": func(g *githubFixture, userID string) error {
			return g.svc.GitHub().Disconnect(t.Context(), authtest.ByHost, userID)
		},
		"unlink": func(g *githubFixture, userID string) error {
			return g.svc.GitHub().Unlink(t.Context(), authtest.ByHost, userID)
		},
	} {
		g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
			browserSessions(cfg)
			cfg.GitHub.ConnectedPage = "/connected"
		}})
		b := g.browser()
		signIn := b.signInBy("/reports")
		callback := b.callbackURL(b.authURL(connectCall))
		require.Equal(t, g.server.URL+"/connected", b.stay().get(callback).header.Get("Location"))
		cookies := b.callbackCookies()
		require.Equal(t, "/connected", g.callbackAt(g.svc, callback, cookies))
		link, err := g.link(octocat)
		require.NoError(t, err)
		if name == "unlink" { // needs another way in
			_, err := g.svc.Credentials().Issue(t.Context(), authtest.ByHost, link.UserID, auth.KeyOptions{})
			require.NoError(t, err)
		}
		require.NoError(t, end(g, link.UserID))
		require.Equal(t, "/account?tab=1&error=expired", g.callbackAt(g.svc, callback, cookies), name)
		if name == "disconnect" { // unlinking revokes the session
			require.Equal(t, "/reports", g.callbackAt(g.svc, signIn, cookies), "the sign-in is still true")
		}
	}
}

// Attack: a used callback is opened by a browser that does not have the session of its flow.
func TestAUsedCallbackWithoutTheSessionOfItsFlowIsExpired(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	other := g.instance(browserSessions)
	link := func() auth.GitHubLink {
		link, err := g.link(octocat)
		require.NoError(t, err)
		return link
	}
	part := func(cookies, name string) string {
		for cookie := range strings.SplitSeq(cookies, "; ") {
			if strings.HasPrefix(cookie, name+"=") {
				return cookie
			}
		}
		t.Fatalf("no %s in %s", name, cookies)
		return ""
	}
	const session, memory = "__Host-auth_session", "auth_github_signed_in"
	victim, attacker := g.browser(), g.browser()
	victimCallback := victim.signInBy("")
	require.NoError(t, g.fake.SignInAs(hubotLogin))
	attackerCallback := attacker.signInBy("")
	require.NoError(t, g.fake.SignInAs(octocatLogin))
	own, planted := victim.callbackCookies(), part(attacker.callbackCookies(), memory)
	ownSession, ownMemory := part(own, session), part(own, memory)

	for name, c := range map[string]struct{ callback, cookies string }{
		"no cookies":                             {victimCallback, ""},
		"the session alone":                      {victimCallback, ownSession},
		"the memory alone":                       {victimCallback, ownMemory},
		"another person's browser":               {victimCallback, attacker.callbackCookies()},
		"the attacker's callback":                {attackerCallback, own},
		"the attacker's callback and memory":     {attackerCallback, ownSession + "; " + planted},
		"a planted memory beside the own":        {victimCallback, own + "; " + planted},
		"the memory twice":                       {victimCallback, own + "; " + ownMemory},
		"a memory that was changed":              {victimCallback, ownSession + "; " + ownMemory[:len(ownMemory)-4] + "AAAA"},
		"a memory under the other name":          {attackerCallback, ownSession + "; auth_github_connected=" + planted[len(memory)+1:]},
		"no state":                               {g.server.URL + callbackCall, own},
		"the state twice":                        {victimCallback + "&state=x", own},
		"the state in another form":              {strings.Replace(victimCallback, "state=", "state=x", 1), own},
		"the memory as the session":              {victimCallback, session + "=" + ownMemory[len(memory)+1:] + "; " + ownMemory},
		"the memory as the cookie of the flow":   {victimCallback, "__Host-auth_github_0=" + ownMemory[len(memory)+1:]},
		"the memory as the cookie of the flow 2": {victimCallback, "__Host-auth_github_1=" + ownMemory[len(memory)+1:]},
	} {
		require.Equal(t, "/account?tab=1&error=expired", g.callbackAt(g.svc, c.callback, c.cookies), name)
	}
	require.Equal(t, "/account?tab=1", g.callbackAt(g.svc, victimCallback, own))

	// The session ends in another way each time.
	for name, end := range map[string]func(*browser){
		"another sign-in": func(b *browser) { b.signInBy("") },
		"a sign-out":      func(b *browser) { b.do(http.MethodPost, "/auth/logout", "Origin", g.server.URL) },
		"a revocation": func(*browser) {
			_, err := g.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, link().UserID)
			require.NoError(t, err)
		},
		"a disabled user": func(*browser) {
			g.setActive(auth.User{ID: link().UserID}, false)
			g.setActive(auth.User{ID: link().UserID}, true)
		},
	} {
		b := g.browser()
		callback := b.signInBy("")
		stolen := b.callbackCookies()
		require.Equal(t, "/account?tab=1", g.callbackAt(other, callback, stolen), name)
		end(b)
		require.Contains(t, b.get(callback).header.Get("Location"), "error=expired", name)
		require.Contains(t, g.callbackAt(g.svc, callback, stolen), "error=expired", name)
		g.clock.Advance(5 * time.Second) // until the other instance reads the revocation feed
		require.Contains(t, g.callbackAt(other, callback, stolen), "error=expired", name)
	}
}

// A flow that failed is not remembered, and a JSON answer needs no memory.
func TestOnlyFlowsThatCompleteWithASessionCookieAreRemembered(t *testing.T) {
	t.Parallel()
	const memory = "auth_github_signed_in"
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	p := b.stay().get(startCall)
	state := queryOf(t, p.header.Get("Location")).Get("state")
	denied := b.get(callbackCall + "?error=access_denied&state=" + state)
	require.Contains(t, denied.header.Get("Location"), "error=denied")
	require.NotContains(t, b.callbackCookies(), memory)
	require.Contains(t, b.get(callbackCall+"?code=x&state="+state).header.Get("Location"), "error=expired")

	g.fake.Inject(githubtest.EndpointUser, githubtest.Status(http.StatusServiceUnavailable))
	p = b.get(startCall)
	require.Contains(t, b.get(b.callbackURL(p.header.Get("Location"))).header.Get("Location"), "unavailable")
	require.NotContains(t, b.callbackCookies(), memory)
	g.fake.Heal()

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b.client.Jar = jar
	p = b.get(b.callbackURL(b.get(startCall).header.Get("Location")))
	var line string
	for _, set := range p.header.Values("Set-Cookie") {
		if strings.HasPrefix(set, memory) {
			line = set
		}
	}
	require.Regexp(t, `^auth_github_signed_in=[A-Za-z0-9_-]+; Path=`+callbackCall+
		`; Max-Age=43200; HttpOnly; Secure; SameSite=Lax$`, line)

	tokens := newGitHub(t)
	b = tokens.browser()
	callback := b.callbackURL(b.authURL(signInCall))
	require.Equal(t, http.StatusOK, b.get(callback).status)
	require.Empty(t, b.callbackCookies())
	require.Equal(t, http.StatusBadRequest, b.get(callback).status, "as published")
}
