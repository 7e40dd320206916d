package browsertest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// While the service makes a change, the page shows that it works, and the user cannot cancel: the secret of
// a new key would be lost. The browser closes a dialog at the second Escape whatever the page says.
func TestAChangeUnderWayCannotBeCanceled(t *testing.T) {
	for name, cancel := range map[string]func(b *tab){
		"button": func(b *tab) { b.click("dialog .dialog-actions .button:first-child") },
		"Escape": func(b *tab) { b.press(kb.Escape); b.press(kb.Escape); b.press(kb.Escape) },
	} {
		t.Run(name, func(t *testing.T) {
			h, b := openConsole(t)
			b.openPage(h, "/keys")
			release := h.held.hold("POST /auth/keys")
			b.click("#new-key")
			b.fill("dialog input[name=label]", "slow")
			b.click("dialog .primary")
			b.until(`document.getElementById("progress").checkVisibility()`)
			b.shows("#status", "Please wait…")
			cancel(b)
			b.until(`document.getElementById("progress").checkVisibility()`)
			require.False(t, eval[bool](b, `!!document.querySelector(".secret-dialog")`))
			release(true)
			pair := b.takeSecret("Your new access key")
			h.requireSignIn(t, pair, nil)
			b.row("slow", "td")
			b.until(`!document.getElementById("progress").checkVisibility()`)
		})
	}
}

// A refusal that arrives after the dialog was closed must not be lost.
func TestARefusalAfterTheDialogWasClosedIsShownOnThePage(t *testing.T) {
	h, b := openConsole(t)
	b.openPage(h, "/users")
	release := h.held.hold("POST /auth/users/register")
	b.click("#new-user")
	b.fill("dialog input[name=username]", "admin")
	b.click("dialog .primary")
	b.until(`document.getElementById("progress").checkVisibility()`)
	b.press(kb.Escape)
	b.press(kb.Escape)
	b.until(`!document.querySelector("dialog")`)
	release(true)
	b.shows("#alert", "Field username must not be a reserved name such as admin")
}

// The response to the first request arrives after that to the second one.
func TestAnOlderListDoesNotReplaceANewerOne(t *testing.T) {
	h, b := openConsole(t)
	release := h.held.hold("GET /auth/keys")
	b.do(chromedp.Navigate(h.url + "/keys"))
	b.until(`!!document.querySelector("#list .loading")?.checkVisibility() &&
		document.getElementById("progress").checkVisibility()`)
	require.Equal(t, "true", eval[string](b, `document.getElementById("list").ariaBusy`))
	b.click("#new-key")
	b.fill("dialog input[name=label]", "newer")
	b.click("dialog .primary")
	b.takeSecret("Your new access key")
	b.settled()
	require.Equal(t, 2, b.rows())
	release(true)
	b.until(`!document.getElementById("progress").checkVisibility()`)
	require.Equal(t, 2, b.rows())
}

// Nobody knows whether a change was made if the response is lost. The page must not say that it was not.
func TestALostResponseIsNotCalledAFailedChange(t *testing.T) {
	h, b := openConsole(t)
	b.tolerant = true // the browser reports the broken connection
	b.openPage(h, "/keys")
	release := h.held.hold("POST /auth/keys")
	b.click("#new-key")
	b.click("dialog .primary")
	release(false)
	b.shows("dialog [role=alert]",
		"The service does not answer. It may have made the change all the same: look before you try again.")
	require.Equal(t, "false", eval[string](b, `String(document.querySelector("dialog .button").ariaDisabled === "true")`))
}

func TestAPageSaysThatTheBrowserIsOffline(t *testing.T) {
	h, b := openConsole(t)
	b.tolerant = true // the browser reports the failed requests
	b.openPage(h, "/users")
	offline := func(is bool) {
		conditions := []*network.Conditions{{Offline: is, DownloadThroughput: -1, UploadThroughput: -1}}
		_, err := chromedp.Call(b.ctx, network.EmulateNetworkConditionsByRule,
			network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: conditions})
		require.NoError(t, err)
	}
	offline(true)
	b.enter("#search", "ad")
	b.shows("#list strong", "This cannot be shown now")
	b.click("#sign-out")
	b.shows("#alert", "The service does not answer. It may have made the change all the same: look before "+
		"you try again.")
	offline(false)
	b.click("#list .button")
	b.settled()
	require.Equal(t, 1, b.rows())
	b.click("#sign-out")
	b.shows("h1", "Sign in")
}

// A wrong secret is refused with the time to wait. The right one signs in at any time.
func TestTheSignInPageSaysHowLongToWait(t *testing.T) {
	h, b := openConsole(t)
	b.click("#sign-out")
	b.shows("h1", "Sign in")
	b.settled()
	b.tolerant = true // the service answers 429
	login := strings.TrimSuffix(h.url, "/console") + "/auth/users/login"
	for range 1000 {
		response, err := http.Post(login, "application/json",
			strings.NewReader(`{"access_key": "`+h.pair.AccessKey+`", "access_secret": "wrong"}`))
		require.NoError(t, err)
		response.Body.Close()
		if response.StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	b.fill("#access-key", h.pair.AccessKey)
	b.fill("#access-secret", "wrong")
	b.click("#key-form button")
	b.until(`/^Too many attempts\. Try again in \d+ (seconds?|minutes)\.$/.test(
		document.getElementById("form-alert").innerText)`)
	b.screenshot("console-throttled")
	b.fill("#access-secret", h.pair.AccessSecret.Reveal())
	b.click("#key-form button")
	b.shows("h1", "Account")
}

// signInElsewhere registers the user alice, who then signs in in another tab of the browser.
func (b *tab) signInElsewhere(h *host) (alice auth.Registration, second *tab) {
	b.t.Helper()
	alice, second = h.register(b.t, auth.UserParams{Username: "alice"}), b.another()
	second.openPage(h, "/")
	second.click("#sign-out")
	second.shows("h1", "Sign in")
	second.signIn(h, alice.Pair, "/")
	return alice, second
}

// Both tabs have the cookie of the later sign-in. The earlier tab shows another user, so it must change
// nothing.
func TestATabThatShowsAnotherUserChangesNothing(t *testing.T) {
	h, first := openConsole(t)
	first.openPage(h, "/keys")
	alice, second := first.signInElsewhere(h)
	first.click("#new-key")
	first.click("dialog .primary")
	first.shows("#alert", "Another user is signed in now. Nothing was changed.")
	first.shows(".me-name", "alice")
	first.settled()
	require.Equal(t, "/console/keys", first.path())
	keys, err := h.svc.Credentials().List(t.Context(), alice.User.ID)
	require.NoError(t, err)
	require.Len(t, keys, 1)

	// Signing out ends the session of the cookie.
	second.click("#sign-out")
	second.shows("h1", "Sign in")
	second.signIn(h, h.pair, "/")
	first.click("#sign-out")
	first.shows("h1", "Sign in")
	require.Empty(t, first.cookies())
}

// A session that an attacker has put into the browser does not become that of the person who signs in.
func TestAPlantedSessionEndsWhenAPersonSignsIn(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	mallory := h.register(t, auth.UserParams{Username: "mallory"})
	attacker := newBrowser(t)
	attacker.signIn(h, mallory.Pair, "/")
	var planted *network.Cookie
	for _, planted = range attacker.cookies() {
	}
	b := newBrowser(t)
	b.openPage(h, "/keys")
	_, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: planted.Name,
		Value: planted.Value, URL: h.url, Path: "/", Secure: &planted.Secure, HTTPOnly: new(true)})
	require.NoError(t, err)
	require.Len(t, b.cookies(), 1)
	b.fill("#access-key", h.pair.AccessKey)
	b.fill("#access-secret", h.pair.AccessSecret.Reveal())
	b.click("#key-form button")
	b.shows(".me-name", "admin")
	b.settled()
	require.Len(t, b.cookies(), 1)
	require.NotEqual(t, planted.Value, b.cookies()[planted.Name].Value)
	attacker.do(chromedp.Reload())
	attacker.shows("h1", "Sign in")
}
