package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// The hosts of the tests. Chromium resolves all of them to this machine. Hosts below site.test are
// siblings: they belong to the same site, but to different origins.
const (
	ourHost     = "app.site.test"
	namedHost   = "pages.site.test" // a sibling that GitHubConfig.AllowedOrigins contains
	siblingHost = "evil.site.test"  // a sibling that an attacker controls
	foreignHost = "evil.test"       // another site
)

const (
	startCall   = "/api/v1/auth/github/start"
	signInCall  = "/api/v1/auth/github/login-user"
	connectCall = "/api/v1/auth/github/login"
	callback    = "/api/v1/auth/github/callback"
)

// seen is a request that reached the service, with the status of its response.
type seen struct {
	path, from string // from has the values of the Sec-Fetch headers
	cookies    int
	status     int
}

// site is a service on ourHost, with pages on the other hosts.
type site struct {
	t        *testing.T
	svc      *auth.Service
	store    *memstore.Store
	fake     *githubtest.Server
	port     string
	scheme   string
	asSafari bool     // removes the headers that Safari does not send
	others   []string // the user's sessions in other browsers

	mu       sync.Mutex
	requests []seen
}

// newSite starts a site, with http if plain is true and with https otherwise. If autoApprove is a
// login, the user with this login agrees to every authorization at the fake GitHub. If autoApprove
// is empty, the fake GitHub shows a page that asks which user agrees.
func newSite(t *testing.T, plain bool, autoApprove string) *site {
	t.Helper()
	needChromium(t)
	s := &site{t: t, scheme: "https", store: memstore.New()}
	mux := http.NewServeMux()
	server := httptest.NewUnstartedServer(mux)
	if plain {
		s.scheme = "http"
		server.Start()
	} else {
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	s.port = u.Port()
	s.fake, err = githubtest.Start("", githubtest.Config{AutoApprove: autoApprove,
		RedirectURLs: []string{s.at(ourHost) + callback}})
	require.NoError(t, err)
	t.Cleanup(func() { s.fake.Close() })
	id, secret := s.fake.Client()
	s.svc, err = auth.New(s.store, auth.Config{
		Issuer:      s.at(ourHost),
		SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["ES256"].Key},
		SealingKeys: []auth.SymmetricKey{authtest.SymmetricKey(t, "seal-1")},
		Proxies:     auth.NoProxies(),
		Tokens:      auth.TokenConfig{MaxSessions: 5},
		GitHub: &auth.GitHubConfig{
			ClientID: id, ClientSecret: auth.NewSecret(secret), CallbackURL: s.at(ourHost) + callback,
			BaseURL: s.fake.URL(), APIURL: s.fake.URL() + "/api/v3", Host: "githubtest.invalid",
			InsecureCookies: plain, AllowedOrigins: []string{s.at(namedHost)},
		},
		BrowserSessions: &auth.BrowserSessions{},
	})
	require.NoError(t, err)
	mux.Handle(ourHost+"/", s.recorded(s.ours()))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		page(w, "somebody else's page")
	})
	return s
}

// The browser sends the session cookie with a WebSocket handshake, even if a page of a sibling host
// starts the handshake.
func TestSiblingSiteCannotOpenAWebSocket(t *testing.T) {
	s, b := signedInSite(t)
	b.tolerant = true
	opens := func(host string) bool {
		b.visit(s, host)
		eval[bool](b,
			fmt.Sprintf(`(socket = new WebSocket(%s), socket.onopen = () => said = true, socket.onerror = () => said = false) !== null`,
				quote("wss://"+ourHost+":"+s.port+"/live")))
		b.until("typeof said === 'boolean'")
		return eval[bool](b, "said")
	}
	require.True(t, opens(ourHost))
	require.Equal(t, []seen{{path: "/live", cookies: 1, status: http.StatusSwitchingProtocols}},
		s.take("/live", 1))
	require.False(t, opens(siblingHost))
	require.Equal(t, []seen{{path: "/live", cookies: 1, status: http.StatusForbidden}},
		s.take("/live", 1), "the handshake must have carried the cookie")
}

func TestHiddenFrameCannotSignTheUserIn(t *testing.T) {
	s, b := signedInSite(t)
	b.tolerant = true
	for host, want := range map[string]seen{
		siblingHost: {path: startCall, from: "same-site navigate iframe", cookies: 1, status: http.StatusForbidden},
		foreignHost: {path: startCall, from: "cross-site navigate iframe", status: http.StatusForbidden},
	} {
		b.visit(s, host)
		s.requireNothingChanged(b, func() {
			eval[bool](b, fmt.Sprintf(`(loaded = 0, [...Array(6).keys()].forEach((n) => {
				const frame = document.createElement("iframe");
				frame.style.display = "none";
				frame.onload = () => loaded++;
				frame.src = %s + "?return_to=/" + n;
				document.body.append(frame);
			})) === undefined || true`, quote(s.at(ourHost)+startCall)))
			b.until("loaded === 6")
		})
		require.Equal(t, []seen{want, want, want, want, want, want}, s.take(startCall, 6), host)
	}
}

// After a click, a page can make one navigation that the browser marks as started by the user. The
// service responds to all other navigations with a page that asks for confirmation. Safari does not
// mark navigations, so the service always asks if the browser is Safari.
func TestPopupNavigatedRepeatedlyCannotSignTheUserIn(t *testing.T) {
	s, b := signedInSite(t)
	b.tolerant = true
	for _, host := range []string{siblingHost, foreignHost} {
		b.visit(s, host)
		eval[bool](b,
			`(document.querySelector("button").onclick = () => popup = open("about:blank", "p", "width=300,height=300")) !== null`)
		b.click("button")
		b.until("typeof popup === 'object' && popup !== null")
		s.requireNothingChanged(b, func() {
			for n := range 6 {
				got := s.provoke(startCall, func() {
					eval[bool](b, fmt.Sprintf("(popup.location = %s) !== null",
						quote(fmt.Sprint(s.at(ourHost), startCall, "?return_to=/", n))))
				})
				require.Contains(t, got.from, "-site navigate document")
				require.NotContains(t, got.from, "?1")
				require.Equal(t, http.StatusOK, got.status)
				require.Equal(t, 1, got.cookies)
			}
		})
		eval[bool](b, "popup.close() === undefined")
	}
	// The click allows one sign-in, whose session replaces the session of this browser.
	b.visit(s, foreignHost)
	eval[bool](b, fmt.Sprintf(`(n = 0, document.querySelector("button").onclick = go = () => {
		const link = document.createElement("a");
		link.target = "p", link.href = %s + "?return_to=/" + n++;
		document.body.append(link);
		link.click();
	}) !== null`, quote(s.at(ourHost)+startCall)))
	b.click("button")
	require.Equal(t, []seen{{startCall, "cross-site navigate document ?1", 1, http.StatusFound}},
		s.take(startCall, 1))
	s.take(callback, 1)
	for range 5 {
		got := s.provoke(startCall, func() { eval[bool](b, "go() === undefined") })
		require.Equal(t, seen{startCall, "cross-site navigate document", 1, http.StatusOK}, got)
	}
	require.Subset(t, s.sessions(), s.others)
	require.Len(t, s.sessions(), len(s.others)+1)
}

// The cookie of a flow has one of four names. If another site could start flows, a few of them
// would overwrite the cookie of the visitor's flow.
func TestOtherSiteCannotOverwriteTheVisitorsFlows(t *testing.T) {
	s := newSite(t, false, "")
	b := newBrowser(t)
	b.visit(s, ourHost)
	eval[bool](b, fmt.Sprintf("(location = %s) !== null", quote(startCall)))
	b.shows("main h1", "Authorize githubtest-client")
	s.take(startCall, 1)
	flow := b.cookies()
	require.Len(t, flow, 1)

	attacker := b.another()
	attacker.tolerant = true
	for _, host := range []string{siblingHost, foreignHost} {
		for kind, script := range map[string]string{
			"fetch":     `fetch(%s + n, {mode: "no-cors", credentials: "include"})`,
			"image":     `new Image().src = %s + n`,
			"WebSocket": `new WebSocket(%s.replace("https", "wss") + n)`,
			"prefetch":  `(document.head.append(Object.assign(document.createElement("link"), {rel: "prefetch", href: %s + n})))`,
		} {
			attacker.visit(s, host)
			eval[bool](attacker,
				fmt.Sprintf("[...Array(8).keys()].forEach((n) => { "+script+" }) === undefined",
					quote(s.at(ourHost)+signInCall+"?")))
			for _, got := range s.take(signInCall, 8) {
				require.Equal(t, http.StatusForbidden, got.status, "%s %s: %s", host, kind, got.from)
				require.Equal(t, host == siblingHost, got.cookies == 1, "%s %s", host, kind)
			}
			require.Equal(t, flow, b.cookies(), "%s %s", host, kind)
		}
	}
	b.answerGitHub(octocat, authorize)
	b.until(`document.title === "our page"`)
	require.Contains(t, b.cookies(), "__Host-auth_session")
	require.Empty(t, eval[string](b, "location.search"))
}

func TestAllowedSiblingBeginsAFlowByFetch(t *testing.T) {
	s := newSite(t, false, "octocat")
	b := newBrowser(t)
	begin := func(call string) {
		b.visit(s, namedHost)
		eval[bool](b,
			fmt.Sprintf(`fetch(%s, {credentials: "include"}).then((answer) => answer.json()).then((body) => location = body.auth_url) !== null`,
				quote(s.at(ourHost)+call)))
		require.Equal(t, http.StatusSeeOther, s.take(callback, 1)[0].status)
		b.until(`document.title === "our page"`)
		require.Empty(t, eval[string](b, "location.search"))
	}
	begin(signInCall)
	require.Contains(t, b.cookies(), "__Host-auth_session")
	begin(connectCall)
	require.Len(t, s.sessions(), 1)
}

func TestLinkOnAnotherSiteSignsInAfterConfirmation(t *testing.T) {
	for name, asSafari := range map[string]bool{"Chromium": false, "as Safari": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, false, "octocat")
			s.asSafari = asSafari
			b := newBrowser(t)
			b.visit(s, foreignHost)
			eval[bool](b,
				fmt.Sprintf(`(document.body.innerHTML = "<a href=" + %s + ">Sign in</a>") !== null`,
					quote(s.at(ourHost)+startCall+"?return_to=/?to=here")))
			b.click("a")
			if asSafari {
				b.shows("h1", "Sign in with GitHub")
				require.Empty(t, b.cookies(), "the person has not asked for a sign-in yet")
				b.look(390, "light")
				b.screenshot("start")
				b.click("a")
			}
			b.until(`location.search === "?to=here"`)
			require.Contains(t, b.cookies(), "__Host-auth_session")
			require.Len(t, s.sessions(), 1)
		})
	}
}

// flowCookie matches the name of the cookie of a flow that has not completed.
var flowCookie = regexp.MustCompile(`auth_github_[0-9]`)

// plant simulates an attacker who uses the tab mallory. It starts a flow that connects a GitHub
// account to the attacker's user. From a sibling page, it sets the cookie of the flow in the
// victim's browser. It returns the GitHub URL of the flow.
func (s *site) plant(mallory, victim *tab) (authURL string) {
	s.t.Helper()
	eval[bool](mallory,
		fmt.Sprintf("fetch(%s).then((answer) => answer.json()).then((body) => authURL = body.auth_url) "+
			"!== null", quote(connectCall)))
	mallory.until("typeof authURL === 'string'")
	victim.visit(s, siblingHost)
	planted := 0
	for name, cookie := range mallory.cookies() {
		if flowCookie.MatchString(name) {
			planted++
			attributes := "; path=/; domain=site.test"
			if cookie.Secure {
				attributes += "; secure"
			}
			eval[bool](victim, fmt.Sprintf("(document.cookie = %s) !== null",
				quote(name+"="+cookie.Value+attributes)))
		}
	}
	require.Equal(s.t, 1, planted)
	return eval[string](mallory, "authURL")
}

// Over plain http, the browser does not protect cookie names. So a sibling page can set the cookie
// of an attacker's connect flow in the victim's browser. If the victim then agrees at GitHub, the
// victim's GitHub account must not be connected to the attacker's user.
func TestPlantedConnectFlowIsRefused(t *testing.T) {
	for name, plain := range map[string]bool{"http": true, "https": false} {
		for state, signedIn := range map[string]bool{"signed in": true, "signed out": false} {
			t.Run(name+", "+state, func(t *testing.T) {
				s := newSite(t, plain, "")
				mallory, victim := newBrowser(t), newBrowser(t)
				mallory.visit(s, ourHost)
				eval[bool](mallory, fmt.Sprintf("(location = %s) !== null", quote(startCall)))
				mallory.answerGitHub(hubot, authorize)
				mallory.until(`document.title === "our page"`)
				if signedIn {
					victim.visit(s, ourHost)
					eval[bool](victim, fmt.Sprintf("(location = %s) !== null", quote(startCall)))
					victim.answerGitHub("#user-9000001", authorize)
					victim.until(`document.title === "our page"`)
				}
				authURL := s.plant(mallory, victim)
				require.Equal(t, plain, flowCookie.MatchString(fmt.Sprint(victim.cookies())),
					"a browser must refuse a planted cookie with the __Host- prefix")
				s.arrived(callback) // discards the callbacks of the sign-ins
				victim.do(chromedp.Navigate(authURL))
				victim.answerGitHub(octocat, authorize)
				victim.until(`location.search === "?error=expired"`)
				sent := 0
				if signedIn {
					sent += 2 // the cookies of the session and of the completed sign-in
				}
				if plain {
					sent++ // the planted cookie
				}
				require.Equal(t, sent, s.take(callback, 1)[0].cookies)
				_, err := s.store.FindGitHubLink(t.Context(),
					auth.GitHubAccount{Host: "githubtest.invalid", ID: 583231})
				require.ErrorIs(t, err, auth.ErrNotFound)
			})
		}
	}
}

// This test checks the test above: the same flow completes in the session that began it.
func TestSessionThatBeganAConnectFlowCompletesIt(t *testing.T) {
	for name, plain := range map[string]bool{"http": true, "https": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plain, "octocat")
			b := newBrowser(t)
			b.visit(s, ourHost)
			eval[bool](b, fmt.Sprintf("(location = %s) !== null", quote(startCall)))
			b.until(`document.title === "our page"`)
			s.take(callback, 1)
			eval[bool](b,
				fmt.Sprintf("fetch(%s).then((answer) => answer.json()).then((body) => location = "+
					"body.auth_url) !== null", quote(connectCall)))
			require.Equal(t, http.StatusSeeOther, s.take(callback, 1)[0].status)
			b.until(`document.title === "our page"`)
			require.Empty(t, eval[string](b, "location.search"))
		})
	}
}
