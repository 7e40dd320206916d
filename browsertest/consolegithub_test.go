package browsertest

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/stretchr/testify/require"
)

// becomes makes the account octocat another one: all values are those of the parameters.
func (h *host) becomes(id int, login, name, email string) {
	h.github.Inject(githubtest.EndpointUser, func(endpoint http.Handler) http.Handler {
		for field, value := range map[string]string{
			"id": strconv.Itoa(id), "login": quote(login), "name": quote(name),
		} {
			endpoint = githubtest.SetField(field, value)(endpoint)
		}
		return endpoint
	})
	h.github.Inject(githubtest.EndpointEmails, githubtest.SetField("email", quote(email)))
}

// A person chooses the login, the name and the e-mail address at GitHub, and the GitHub of a company can
// allow any text. The console must show the text as it is, or the sign-in must be refused.
func TestHostileNamesOfGitHubAreTexts(t *testing.T) {
	const refused = "GitHub or this service cannot answer now. Try again later."
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	long, id := strings.Repeat("W", 512), 1000
	for name, account := range map[string]struct {
		login, name, email string
		alert              string // what the sign-in page says if the sign-in is refused
	}{
		"HTML":               {login: "<b>login</b>" + hostile, name: hostile, email: "<img@example.com"},
		"entities":           {login: "&lt;script&gt;&#x202e;", name: "&amp;", email: `"<script>"@example.com`},
		"template":           {login: "{{.User}}${alert(1)}", name: "{{.}}", email: "{{.}}@example.com"},
		"right to left":      {login: "\u05e9\u05dc\u05d5\u05dd\u0661", name: "\u0645\u0631\u062d\u0628\u0627", email: "x@example.com"},
		"a long login":       {login: long, name: long, email: strings.Repeat("w", 64) + "@" + strings.Repeat("example.", 22) + "com"},
		"stacked characters": {login: "Z" + strings.Repeat("\u0300\u0489", 100), name: "Z\u0300", email: ""},
		"an override":        {login: "octo\u202etac", name: "x", alert: refused},
		"an isolate":         {login: "octo\u2067tac", name: "x", alert: refused},
		"a line break":       {login: "octo\ncat", name: "x", alert: refused},
		"NUL":                {login: "octo\u0000cat", name: "x", alert: refused},
		"10,000 characters":  {login: strings.Repeat("o", 10_000), name: "x", alert: refused},
		"a long name":        {login: "octo", name: strings.Repeat("o", 10_000), email: "o@" + strings.Repeat("e", 10_000)},
		"an override name":   {login: "octo", name: "octo\u202etac", email: "octo\u202etac@example.com"},
	} {
		// The subtests are not parallel, because the faults are those of one GitHub.
		t.Run(name, func(t *testing.T) {
			id++
			h.becomes(id, account.login, account.name, account.email)
			b := newBrowser(t)
			b.look(320, "light")
			b.openPage(h, "/")
			b.click("#github")
			b.answerGitHub(octocat, authorize)
			if account.alert != "" {
				b.shows("#alert", account.alert)
				b.shows("h1", "Sign in")
				b.unharmed()
				return
			}
			b.shows("h1", "Account")
			b.settled()
			b.requireText("#github-login", account.login)
			b.unharmed()
			b.fitsWindow()
			b.click("#disconnect")
			b.until(`!!document.querySelector("dialog[open]")`)
			require.Equal(t, "Disconnect "+account.login+"?",
				eval[string](b, `document.querySelector("dialog h2").textContent`))
			b.unharmed()
			b.fitsWindow()

			// The administrator sees the user, too.
			user := eval[string](b, "document.body.dataset.user")
			admin := newBrowser(t)
			admin.look(320, "light")
			admin.signIn(h, h.pair, "/users")
			for _, path := range []string{"/users", "/users/" + user, "/events"} {
				admin.openPage(h, path)
				admin.unharmed()
				admin.fitsWindow()
			}
		})
	}
}

// requireText requires that the element shows exactly the text, and that its direction does not affect the
// texts around it.
func (b *tab) requireText(selector, text string) {
	b.t.Helper()
	require.Equal(b.t, text, eval[string](b, "document.querySelector("+quote(selector)+").textContent"))
	require.Equal(b.t, "isolate", eval[string](b, "getComputedStyle(document.querySelector("+
		quote(selector+" bdi")+")).unicodeBidi"))
}

// fitsWindow requires that the page does not scroll sideways.
func (b *tab) fitsWindow() {
	b.t.Helper()
	require.Zero(b.t, eval[int](b, "document.documentElement.scrollWidth - innerWidth"), "scrolls sideways")
}

// The account at GitHub can belong to one user only. The page must say so, and leave both users as they are.
func TestTheAccountPageSaysThatAGitHubAccountBelongsToAnotherUser(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	first := newBrowser(t)
	first.signIn(h, h.pair, "/")
	first.click("#connect")
	first.answerGitHub(octocat, authorize)
	first.shows("#github-login", "octocat")

	alice := h.register(t, auth.UserParams{Username: "alice"})
	second := newBrowser(t)
	second.signIn(h, alice.Pair, "/")
	second.click("#connect")
	second.answerGitHub(octocat, authorize)
	const conflict = "This GitHub account and yours here cannot be connected: one of them is connected " +
		"already."
	second.shows("#alert", conflict)
	second.settled()
	second.shows("h1", "Account")
	second.shows("#username", "alice")
	require.True(t, eval[bool](second, `!!document.getElementById("not-connected")`))
	require.Equal(t, "/console/", second.path(), "a reload must not show the message again")
	require.NotContains(t, second.text("body"), "admin", "the message must not say whose account it is")

	second.click("#connect")
	second.answerGitHub(hubot, authorize)
	second.shows("#github-login", "hubot")
	first.do(chromedp.Reload())
	first.shows("#github-login", "octocat")
	first.settled()
	second.settled()
}

// Both tabs have the cookie of the later sign-in. The earlier tab shows another user, so it must not begin
// to connect an account to the user who is signed in now.
func TestATabThatShowsAnotherUserConnectsNoGitHubAccount(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	first := newBrowser(t)
	first.signIn(h, h.pair, "/")
	_, second := first.signInElsewhere(h)
	first.click("#connect")
	first.shows("#alert", "Another user is signed in now. Nothing was changed.")
	first.shows("#username", "alice")
	first.settled()
	second.settled()
}

// Each flow has a cookie of its own, so that a second tab does not spoil the flow of the first.
func TestTwoTabsSignInWithGitHubAtTheSameTime(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	first := newBrowser(t)
	second := first.another()
	for _, tab := range []*tab{first, second} {
		tab.openPage(h, "/sessions")
		tab.click("#github")
		tab.shows("main h1", "Authorize githubtest-client")
	}
	for _, tab := range []*tab{first, second} {
		tab.answerGitHub(hubot, authorize)
		tab.shows("h1", "Sessions")
		tab.settled()
	}
	first.do(chromedp.Reload())
	first.settled()
	first.shows("h1", "Sessions")
	require.Equal(t, 1, first.rows(), "the second session has replaced the first")
	require.Equal(t, 1, second.rows())
}

// The two tabs have one cookie. The later sign-in must replace the earlier one completely: no tab may show
// one user and act for another without saying so.
func TestASignInInASecondTabReplacesTheFirst(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	alice := h.register(t, auth.UserParams{Username: "alice"})
	first := newBrowser(t)
	second := first.another()
	first.openPage(h, "/keys")
	second.openPage(h, "/keys")
	first.signIn(h, h.pair, "/keys")
	first.shows(".me-name", "admin")

	// The second tab still shows the form, and another person fills it in.
	second.shows("h1", "Sign in")
	second.fill("#access-key", alice.Pair.AccessKey)
	second.fill("#access-secret", alice.Pair.AccessSecret.Reveal())
	second.click("#key-form button")
	second.shows(".me-name", "alice")
	second.settled()
	sessions, err := h.store.ListSessions(t.Context(), h.admin.ID, time.Now())
	require.NoError(t, err)
	require.Empty(t, sessions, "the person could no longer sign out of the session of admin")

	first.do(chromedp.Reload())
	first.shows(".me-name", "alice")
	first.settled()
	first.click("#sign-out")
	first.shows("h1", "Sign in")
	second.do(chromedp.Reload())
	second.shows("h1", "Sign in")
}

func TestTheAccountPageWithGitHubFitsAndCanBeUsedByEveryone(t *testing.T) {
	needAxe(t)
	const purpose = "Notes adds your issues to your notes."
	h := startHost(t, "admin", console.Config{Name: "Notes", GitHubPurpose: purpose})
	b := newBrowser(t)
	b.signIn(h, h.pair, "/")
	b.fits("connected", func(b *tab) {
		b.click("#connect")
		b.answerGitHub(octocat, authorize)
		b.shows("#github-login", "octocat")
		b.settled()
	})
}
