package wiretest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// cookieHeader returns a Cookie header with those cookies of the browser whose names contain the
// text.
func (b *browser) cookieHeader(text string) string {
	var found []string
	for _, cookie := range b.client.Jar.Cookies(mustURL(b.t, b.g.server.URL)) {
		if strings.Contains(cookie.Name, text) {
			found = append(found, cookie.String())
		}
	}
	return strings.Join(found, "; ")
}

// Attack: an attacker begins a connect flow and plants its cookie in the victim's browser, and the
// victim agrees at GitHub. A subdomain can plant the cookie if the name of the cookie lacks the
// prefix __Host-.
func TestAConnectFlowCompletesOnlyInTheSessionThatBeganIt(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	session := func() string {
		b := g.browser()
		b.signInByCookie("")
		return b.cookieHeader("auth_session")
	}
	own := session()
	bearer := "Bearer " + g.signIn(g.user)
	revoked := session()
	require.Equal(t, http.StatusOK,
		g.send(http.MethodPost, "/auth/logout", "", "Cookie", revoked,
			"Sec-Fetch-Site", "same-origin").status)
	for name, test := range map[string]struct {
		begin, complete []string
		ok              bool
	}{
		"cookie, the same session":                 {[]string{"Cookie", own}, []string{own}, true},
		"cookie, no session":                       {[]string{"Cookie", own}, nil, false},
		"cookie, another session":                  {[]string{"Cookie", own}, []string{session()}, false},
		"cookie, a revoked session":                {[]string{"Cookie", own}, []string{revoked}, false},
		"cookie, a malformed cookie":               {[]string{"Cookie", own}, []string{own + "x"}, false},
		"cookie, two session cookies":              {[]string{"Cookie", own}, []string{session(), own}, false},
		"bearer, no session":                       {[]string{"Authorization", bearer}, nil, true},
		"bearer, another user's session":           {[]string{"Authorization", bearer}, []string{own}, false},
		"bearer, a revoked session":                {[]string{"Authorization", bearer}, []string{revoked}, true},
		"cookie and another user's bearer":         {[]string{"Cookie", own, "Authorization", bearer}, []string{own}, false},
		"cookie beside another scheme":             {[]string{"Cookie", own, "Authorization", "Basic eDp5"}, []string{own}, true},
		"cookie beside another scheme, no session": {[]string{"Cookie", own, "Authorization", "Basic eDp5"}, nil, false},
	} {
		begun := g.send(http.MethodGet, connectCall, "", test.begin...)
		require.Equal(t, http.StatusOK, begun.status, name)
		flow, err := http.ParseSetCookie(begun.header.Get("Set-Cookie"))
		require.NoError(t, err)
		b := g.browser().stay()
		callback := b.callbackURL(begun.json(t)["auth_url"].(string))
		p := b.get(callback, "Cookie", strings.Join(append(test.complete, flow.Name+"="+flow.Value), "; "))
		require.Equal(t, http.StatusSeeOther, p.status, name)
		if test.ok && test.begin[0] == "Cookie" {
			require.NotContains(t, p.header.Get("Location"), "error", name)
		} else if test.ok {
			require.Contains(t, p.header.Get("Location"), "error=conflict",
				"%s: octocat is linked to another user, so the flow was accepted", name)
		} else {
			require.Contains(t, p.header.Get("Location"), "error=expired", name)
			require.Empty(t, p.header.Get("Set-Cookie"), "%s: no cookie is cleared", name)
		}
	}
}

// A flow that a bearer token began belongs to the session of the token. A browser session of the
// same user is a different session.
func TestAConnectFlowOfABearerTokenIsRejectedInABrowserSessionOfTheSameUser(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withBrowserSessions)
	b := g.browser()
	b.signInByCookie("")
	link, err := g.link(octocat)
	require.NoError(t, err)
	token, err := g.svc.SignIn(t.Context(), link.UserID, auth.LoginOptions{})
	require.NoError(t, err)
	callback := b.callbackURL(b.connectURL(token.Bearer.Reveal()))
	require.Contains(t, b.stay().get(callback).header.Get("Location"), "error=expired")
}

// The callback reads the store to check the browser session. If the store fails, the same callback
// URL must work later.
func TestAConnectFlowCanBeRetriedAfterAStoreFailure(t *testing.T) {
	t.Parallel()
	away := false
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, cfg *auth.Config) {
		cfg.BrowserSessions = &auth.BrowserSessions{}
		cfg.Tokens.CheckSessionsInStore = true
		g.injectFaults(func(method string) error {
			if away && method == "FindSession" {
				return authtest.ErrStoreAway
			}
			return nil
		})
	}})
	b := g.browser()
	b.signInByCookie("")
	callback := b.callbackURL(b.authURL(connectCall))
	away = true
	require.Contains(t, b.stay().get(callback).header.Get("Location"), "error=unavailable")
	away = false
	require.NotContains(t, b.get(callback).header.Get("Location"), "error")
}

// Attack: an attacker begins a flow with a bearer token, and plants its cookie in the victim's
// browser over plain http. In the browser, this flow would look like a flow of the victim.
func TestOverPlainHTTPWithBrowserSessionsABearerTokenCannotBeginConnect(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		callback string
		sessions *auth.BrowserSessions
		status   int
	}{
		"plain http":                         {"http://intranet.example/api/v1/auth/github/callback", &auth.BrowserSessions{}, http.StatusForbidden},
		"plain http, tokens alone":           {"http://intranet.example/api/v1/auth/github/callback", nil, http.StatusOK},
		"https, where cookies have a prefix": {"https://intranet.example/api/v1/auth/github/callback", &auth.BrowserSessions{}, http.StatusOK},
	} {
		g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.GitHub.InsecureCookies, cfg.GitHub.CallbackURL = true, test.callback
			cfg.BrowserSessions = test.sessions
		}})
		answer := g.sendAs(g.signIn(g.user), http.MethodGet, connectCall, "")
		require.Equal(t, test.status, answer.status, "%s: %s", name, answer.body)
		require.Equal(t, test.status == http.StatusOK, answer.writes(), name)
	}
}

// A host may have its own callback handler, which passes the identity of the browser session to
// Complete.
func TestCompleteOfAHostsHandlerChecksTheBrowserSession(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token, err := g.svc.SignIn(t.Context(), g.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	caller := auth.Identity{UserID: g.user.ID, SessionID: token.Session.ID}
	complete := func(bearer bool, browser auth.Identity) error {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		if bearer {
			r.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())
		}
		authURL, cookie, err := g.svc.GitHub().BeginConnect(r, caller.Authority(), "")
		require.NoError(t, err)
		r = httptest.NewRequest(http.MethodGet, g.browser().callbackURL(authURL), nil)
		r.AddCookie(cookie)
		_, err = g.svc.GitHub().Complete(r, browser)
		return err
	}
	require.NoError(t, complete(true, auth.Identity{}))
	require.NoError(t, complete(true, caller))
	require.NoError(t, complete(false, caller))
	require.ErrorIs(t, complete(false, auth.Identity{}), auth.ErrGitHubState)
	for _, bearer := range []bool{false, true} {
		require.ErrorIs(t, complete(bearer, auth.Identity{UserID: g.user.ID, SessionID: "another"}),
			auth.ErrGitHubState)
		require.ErrorIs(t, complete(bearer, auth.Identity{UserID: g.user.ID}), auth.ErrGitHubState)
		require.ErrorIs(t, complete(bearer,
			auth.Identity{UserID: g.admin.ID, SessionID: caller.SessionID}), auth.ErrGitHubState)
	}
}

// A flow without a session would be a sign-in: the browser would get a session of another user.
func TestOnlyASessionBeginsToConnectAnAccount(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	for _, by := range []auth.Authority{{}, authtest.ByHost} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		authURL, cookie, err := g.svc.GitHub().BeginConnect(r, by, "")
		require.ErrorIs(t, err, auth.ErrInvalid)
		require.Empty(t, authURL)
		require.Nil(t, cookie)
	}
}

// A host begins the flow although the session is already older than MaxAge. Complete rejects the
// flow if the session is older than MaxAge plus the ten minutes that a flow may take.
func TestAConnectFlowOfASessionThatIsTooOldConnectsNothing(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token, err := g.svc.SignIn(t.Context(), g.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	complete := func() error {
		by := auth.Authority{UserID: g.user.ID, SessionID: token.Session.ID, MaxAge: time.Minute}
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		authURL, cookie, err := g.svc.GitHub().BeginConnect(r, by, "")
		require.NoError(t, err)
		r = httptest.NewRequest(http.MethodGet, g.browser().callbackURL(authURL), nil)
		r.AddCookie(cookie)
		_, err = g.svc.GitHub().Complete(r, auth.Identity{UserID: by.UserID, SessionID: by.SessionID})
		return err
	}
	g.clock.Advance(11*time.Minute - time.Second)
	require.NoError(t, complete())
	g.clock.Advance(time.Second)
	require.ErrorIs(t, complete(), auth.ErrGitHubState)
}

// A flow that a browser session began completes only in this session. A flow that a bearer token
// began completes only if there is no browser session.
func TestConnectFlowsCompleteOnlyInTheirOwnSession(t *testing.T) {
	t.Parallel()
	for _, begin := range []string{"bearer", "cookie"} {
		for _, end := range []string{
			"none", "same", "another session of the same user", "another user", "revoked",
		} {
			g := newGitHub(t, withBrowserSessions)
			b := g.browser()
			b.signInByCookie("")
			link, err := g.link(octocat)
			require.NoError(t, err)
			token, err := g.svc.SignIn(t.Context(), link.UserID, auth.LoginOptions{})
			require.NoError(t, err)
			var callback string
			if begin == "bearer" {
				callback = b.callbackURL(b.connectURL(token.Bearer.Reveal()))
			} else {
				callback = b.callbackURL(b.authURL(connectCall))
			}
			u := mustURL(t, g.server.URL)
			var state, session *http.Cookie
			for _, c := range b.client.Jar.Cookies(u) {
				if c.Name == "__Host-auth_session" {
					session = c
				} else {
					state = c
				}
			}
			header := []string{"Cookie", state.Name + "=" + state.Value}
			switch end {
			case "same":
				header[1] += "; " + session.Name + "=" + session.Value
			case "another session of the same user", "another user":
				other := g.browser()
				if end == "another user" {
					require.NoError(t, g.fake.SignInAs(hubotLogin))
				}
				other.signInByCookie("")
				require.NoError(t, g.fake.SignInAs(octocatLogin))
				c := other.client.Jar.Cookies(u)[0]
				header[1] += "; " + c.Name + "=" + c.Value
			case "revoked":
				_, err := g.svc.Tokens().RevokeUser(t.Context(), auth.ByHost("test"), link.UserID)
				require.NoError(t, err)
				header[1] += "; " + session.Name + "=" + session.Value
			}
			cb := mustURL(t, callback)
			answer := g.send("GET", cb.RequestURI(), "", header...)
			ok := answer.header.Get("Location") == g.server.URL+"/account?tab=1"
			want := begin == "cookie" && end == "same" || begin == "bearer" && end == "none"
			require.Equal(t, want, ok, "%s, %s: %s", begin, end, answer.header.Get("Location"))
		}
	}
}

// A connect flow must not complete after its session was revoked. The test tries every way to
// revoke the session.
func TestConnectFlowsBegunBeforeARevocationAreRejected(t *testing.T) {
	t.Parallel()
	ways := map[string]func(t *testing.T, g *githubFixture, token string){
		"the session is revoked": func(t *testing.T, g *githubFixture, token string) {
			require.Equal(t, http.StatusOK, g.sendAs(token, http.MethodPost, "/auth/logout", "").status)
		},
		"the user is disabled": func(_ *testing.T, g *githubFixture, _ string) { g.setActive(g.user, false) },
		"the user is disabled and enabled again": func(_ *testing.T, g *githubFixture, _ string) {
			g.setActive(g.user, false)
			g.setActive(g.user, true)
		},
		"the user is reset": func(t *testing.T, g *githubFixture, _ string) {
			_, err := g.instance().RegenerateCredentials(t.Context(), authtest.ByHost, g.user.ID,
				auth.KeyOptions{})
			require.NoError(t, err)
		},
		"the user is deleted": func(t *testing.T, g *githubFixture, _ string) {
			require.NoError(t, g.instance().DeleteUser(t.Context(), authtest.ByHost, g.user.ID))
		},
		"everybody is revoked": func(t *testing.T, g *githubFixture, _ string) {
			require.NoError(t, g.instance().RevokeEverybody(t.Context(), authtest.ByHost))
		},
	}
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for name, revoke := range ways {
			g := newGitHub(t, onStore(open(t)))
			token := g.signIn(g.user)
			b := g.browser()
			callback := b.callbackURL(b.connectURL(token))
			revoke(t, g, token)
			require.Equal(t, http.StatusBadRequest, b.get(callback).status, name)
			_, err := g.link(octocat)
			require.ErrorIs(t, err, auth.ErrNotFound, name)
			require.Empty(t, g.fake.Tokens(octocat), name)
		}
	})
}
