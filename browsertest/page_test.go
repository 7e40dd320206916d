package browsertest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// Selectors of accounts on the page of the fake GitHub.
const (
	octocat = "#user-583231"
	hubot   = "#user-480938"
)

// Selectors of buttons on the page of the fake GitHub.
const (
	authorize = "button[value=authorize]"
	cancel    = "button[value=cancel]"
)

const signInLink = "#signed-out a.primary"

// start starts a quickstart, and returns it with a tab that has a new profile.
func start(t *testing.T) (*quickstart, *tab) {
	t.Helper()
	needChromium(t)
	q := startQuickstart(t) // first, so that it ends after the pages that call it
	return q, newBrowser(t)
}

// startSignedIn is like start, but the administrator is signed in on the page.
func startSignedIn(t *testing.T) (*quickstart, *tab) {
	t.Helper()
	q, b := start(t)
	b.open(q)
	b.signInWithKey(q)
	return q, b
}

// open opens the page of the quickstart, and waits until the page shows that no user is signed in.
func (b *tab) open(q *quickstart) {
	b.t.Helper()
	b.do(chromedp.Navigate(q.url + "/"))
	b.shows("#signed-out h2", "Sign in")
}

// answerGitHub selects an account on the page of the fake GitHub and presses a button.
func (b *tab) answerGitHub(account, button string) {
	b.t.Helper()
	b.shows("main h1", "Authorize githubtest-client")
	b.click(account)
	b.click(button)
}

// signInWithGitHub presses the sign-in link of the open page and signs in with the account.
func (b *tab) signInWithGitHub(account, username string) {
	b.t.Helper()
	b.click(signInLink)
	b.answerGitHub(account, authorize)
	b.shows("#signed-in h2", "Signed in as "+username)
}

// signInWithKey signs the first user in with the access key, on the open page.
func (b *tab) signInWithKey(q *quickstart) {
	b.t.Helper()
	b.fill("#access-key", q.key)
	b.fill("#access-secret", q.secret)
	b.click("#key-form button")
	b.shows("#signed-in h2", "Signed in as admin")
}

func (b *tab) signOut() {
	b.t.Helper()
	b.click("#sign-out")
	b.shows("#status", "You are signed out.")
	b.shows("#signed-out h2", "Sign in")
}

// reload loads the page again without its earlier state.
func (b *tab) reload() {
	b.t.Helper()
	b.do(chromedp.Reload())
}

func (b *tab) userID() string {
	b.t.Helper()
	return eval[string](b, `document.getElementById("user-id").innerText`)
}

func TestSignInWithGitHub(t *testing.T) {
	q, b := start(t)
	b.open(q)
	b.signInWithGitHub(octocat, "octocat")
	b.shows("#email", "octocat@example.com")
	b.shows("#role", "User")
	b.shows("#connected p", "Connected as octocat.")
	require.Equal(t, q.url+"/", eval[string](b, "location.href"))
	id := b.userID()

	b.reload()
	b.shows("#signed-in h2", "Signed in as octocat")

	b.signOut()
	b.reload()
	b.shows("#signed-out h2", "Sign in")

	b.signInWithGitHub(octocat, "octocat")
	require.Equal(t, id, b.userID(), "it must be the same account as before")
}

func TestConnectFromAKeyAccount(t *testing.T) {
	q, b := startSignedIn(t)
	b.shows("#role", "Super user")
	b.shows("#not-connected p", "Not connected.")
	id := b.userID()

	b.click("#connect")
	b.answerGitHub(hubot, authorize)
	b.shows("#status",
		"GitHub is connected to your account. Sign in again: with your key or, from now on, with GitHub.")
	require.Equal(t, q.url+"/", eval[string](b, "location.href"))

	b.signInWithKey(q)
	b.shows("#connected p", "Connected as hubot.")
	b.signOut()
	b.signInWithGitHub(hubot, "admin")
	require.Equal(t, id, b.userID(), "the account of the key")

	b.click("#disconnect")
	b.shows("#status", "GitHub is disconnected.")
	b.shows("#not-connected p", "Not connected.")
	b.focused("#connect")
	require.False(t, eval[bool](b, `document.getElementById("connect-hint").checkVisibility()`),
		"with a session cookie, the page must not show the hint")

	b.click("#connect")
	b.answerGitHub(hubot, authorize)
	b.shows("#status", "GitHub is connected.")
	b.shows("#connected p", "Connected as hubot.")
	b.signOut()
	b.signInWithGitHub(hubot, "admin")
}

func TestTwoTabsSignInAtOnce(t *testing.T) {
	q, first := start(t)
	second := first.another()
	// Each flow has a cookie, whose name is one of a few names, picked at random. If both flows get
	// the same name, the later cookie replaces the earlier one and the earlier flow fails. In this
	// case, the test starts again.
	for flows := 0; flows != 2; flows = len(first.cookies()) {
		first.clearCookies()
		for _, b := range []*tab{first, second} {
			b.open(q)
			b.click(signInLink)
			b.shows("main h1", "Authorize githubtest-client")
		}
	}
	first.answerGitHub(octocat, authorize)
	first.shows("#signed-in h2", "Signed in as octocat")
	second.answerGitHub(hubot, authorize)
	second.shows("#signed-in h2", "Signed in as hubot")

	first.reload()
	first.shows("#signed-in h2", "Signed in as hubot")
	first.signOut()
	second.click("#disconnect")
	second.shows("#alert", "You have been signed out. Sign in again.")
	second.shows("#signed-out h2", "Sign in")
}

func TestAFlowThatFailsIsExplainedOnce(t *testing.T) {
	q, b := start(t)
	b.open(q)
	b.click(signInLink)
	b.answerGitHub(octocat, cancel)
	b.shows("#alert", "You did not allow it at GitHub. Nothing has changed.")
	b.shows("#signed-out h2", "Sign in")
	require.Equal(t, q.url+"/", eval[string](b, "location.href"))
	b.reload()
	b.shows("#signed-out h2", "Sign in")
	b.until(`document.getElementById("alert").innerText === ""`)

	// The URL of the callback is visited a second time, so its state has already been used.
	b.do(chromedp.Navigate(q.url + "/api/v1/auth/github/callback?code=1&state=2"))
	b.shows("#alert",
		"This visit to GitHub took too long, was used before, or began in another browser. Begin again.")

	// octocat is already connected to another user here, so the administrator cannot connect it.
	b.signInWithGitHub(octocat, "octocat")
	b.signOut()
	b.signInWithKey(q)
	b.click("#connect")
	b.answerGitHub(octocat, authorize)
	b.shows("#alert",
		"This GitHub account and yours here cannot be connected: one of them is connected already.")

	for code, sentence := range map[string]string{
		"not_allowed": "This GitHub account may not sign in here.",
		"unavailable": "GitHub or this service cannot answer now. Try again later.",
		"<b>new</b>":  "This did not work at GitHub. Begin again.",
		"constructor": "This did not work at GitHub. Begin again.",
	} {
		b.do(chromedp.Navigate(q.url + "/?" + url.Values{"error": {code}}.Encode()))
		b.shows("#alert", sentence)
		require.Equal(t, "alert", eval[string](b, `document.getElementById("alert").role`))
	}
}

func TestPageWorksWithTheKeyboardAlone(t *testing.T) {
	q, b := start(t)
	b.open(q)
	b.press(kb.Tab)
	b.focused(signInLink)
	b.press(kb.Tab)
	b.focused("#access-key")
	b.press(q.key + kb.Tab)
	b.focused("#access-secret")
	require.NotEqual(t, "none", eval[string](b,
		"getComputedStyle(document.activeElement).outlineStyle"), "the focus must be visible")
	b.press("wrong" + kb.Enter)
	b.refused("#access-secret", "Invalid access key or secret")
	require.Empty(t, eval[string](b, "document.activeElement.value"))
	b.press(q.secret + kb.Tab)
	b.focused("#key-form button")
	b.press(kb.Enter)
	b.shows("#signed-in h2", "Signed in as admin")
	b.shows("#not-connected p", "Not connected.")
	b.until(`document.querySelectorAll(".refusal, [aria-invalid]").length === 0`)
	b.focused("#signed-in-heading")

	b.press(kb.Tab)
	b.focused("#connect")
	b.press(kb.Tab)
	b.focused("#sign-out")
	b.press(kb.Enter)
	b.shows("#status", "You are signed out.")
	b.focused("#signed-out-heading")
}

func TestNothingSecretStaysInThePage(t *testing.T) {
	q, b := start(t)
	nothingSecret := func() {
		t.Helper()
		kept := eval[string](b, `JSON.stringify([
			document.documentElement.outerHTML,
			[...document.querySelectorAll("input")].map((field) => field.value),
			{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state, name,
			Object.values(window).filter((value) => typeof value === "string"),
			performance.getEntries().map((entry) => entry.name),
		])`)
		require.NotContains(t, kept, q.secret)
		require.NotContains(t, kept, "eyJ", "tokens begin with eyJ")
		require.Equal(t, 0, eval[int](b, "localStorage.length + sessionStorage.length"))
		require.Empty(t, eval[string](b, "document.cookie"))
		for name, cookie := range b.cookies() {
			require.True(t, strings.HasPrefix(name, "auth_"), "%s: no prefix on plain http", name)
			require.True(t, cookie.HTTPOnly, name)
			require.False(t, cookie.Secure, "%s: Safari would drop it", name)
			require.EqualValues(t, "Lax", cookie.SameSite, name)
		}
	}
	b.open(q)
	b.signInWithKey(q)
	nothingSecret()
	require.Empty(t, b.cookies())
	b.signOut()
	nothingSecret()
	require.NotContains(t, eval[string](b, "document.documentElement.outerHTML"), "admin",
		"the page must not keep the name of the user")

	b.signInWithGitHub(octocat, "octocat")
	nothingSecret()
	require.Contains(t, b.cookies(), "auth_session")
	b.signOut()
	nothingSecret()
	require.Empty(t, b.cookies())
}

// A later visitor who presses the Back button must not be signed in as the earlier visitor.
func TestThePageForgetsTheTokenWhenItIsLeft(t *testing.T) {
	_, b := startSignedIn(t)
	b.click("#connect")
	b.shows("main h1", "Authorize githubtest-client")
	// The Back function of chromedp would wait for a page that the browser has not kept.
	eval[chromedp.Void](b, "history.back()")
	b.shows("#signed-out h2", "Sign in")
}

func TestPageExplainsAnUnavailableService(t *testing.T) {
	q, b := start(t)
	b.open(q)
	eval[chromedp.Void](b,
		`void (window.fetch = () => Promise.reject(new TypeError("Failed to fetch")))`)
	b.fill("#access-key", q.key)
	b.fill("#access-secret", q.secret)
	b.click("#key-form button")
	b.shows("#alert", "The service does not answer. Try again later.")
	b.shows("#signed-out h2", "Sign in")
}

// views returns the views of the page. The function open makes the steps that lead from the
// previous view to this one.
func views(q *quickstart) []struct {
	name string
	open func(b *tab)
} {
	return []struct {
		name string
		open func(b *tab)
	}{
		{"signed-out", func(b *tab) { b.open(q) }},
		{"fake-github", func(b *tab) {
			b.click(signInLink)
			b.shows("main h1", "Authorize githubtest-client")
		}},
		{"denied", func(b *tab) {
			b.answerGitHub(octocat, cancel)
			b.shows("#alert", "You did not allow it at GitHub. Nothing has changed.")
		}},
		{"key-account", func(b *tab) {
			b.signInWithKey(q)
			b.shows("#not-connected p", "Not connected.")
		}},
		{"connected", func(b *tab) {
			b.click("#connect")
			b.answerGitHub(octocat, authorize)
			b.until(`document.getElementById("status").innerText.startsWith("GitHub is connected to your account.")`)
		}},
		{"github-account", func(b *tab) { b.signInWithGitHub(octocat, "admin") }},
		{"disconnected", func(b *tab) {
			b.click("#disconnect")
			b.shows("#status", "GitHub is disconnected.")
		}},
	}
}

// tooFaint is a script that returns the texts with too little contrast. The limit is that of WCAG
// 1.4.3, level AA, for small text.
const tooFaint = `(() => {
	const parse = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = (color) => {
		const [r, g, b] = parse(color).map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (element) => {
		for (; element; element = element.parentElement) {
			const color = getComputedStyle(element).backgroundColor;
			if (parse(color)[3] !== 0) return color;
		}
		return matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
	};
	const faint = [];
	for (const element of document.querySelectorAll("body *")) {
		const says = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
		if (!element.checkVisibility() || !says && element.localName !== "input") continue;
		const pseudo = element.localName === "input" && !element.value ? "::placeholder" : null;
		const [a, b] = [getComputedStyle(element, pseudo).color, behind(element)].map(luminance).sort((a, b) => b - a);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) faint.push(element.innerText + " " + ratio.toFixed(2));
	}
	return faint;
})()`

func TestEveryViewFitsAndCanBeRead(t *testing.T) {
	q, b := start(t)
	for _, view := range views(q) {
		view.open(b)
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{320, 360, 390, 1280} {
				b.look(width, scheme)
				where := fmt.Sprintf("%s-%d-%s", view.name, width, scheme)
				require.Zero(t, eval[int](b, "document.documentElement.scrollWidth - innerWidth"),
					"%s scrolls sideways", where)
				require.Empty(t, eval[[]string](b, tooFaint), where)
				b.screenshot(where)
			}
		}
	}
}
