package browsertest

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// hostile is text with markup, which a page must display as text.
const hostile = `"'><img src=x onerror=hacked()><script>hacked()</script>`

// unharmed fails the test if hostile text has become markup.
func (b *tab) unharmed() {
	b.t.Helper()
	require.Equal(b.t, 0, eval[int](b, `document.querySelectorAll("img, main script, dialog script, [onerror]").length`))
	require.Equal(b.t, 1, eval[int](b, `document.scripts.length`))
}

func TestHostileTextsAreShownAsTexts(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: hostile, GitHubPurpose: hostile, Scopes: scopeChoices})
	mallory := h.register(t, auth.UserParams{Username: hostile})
	_, err := h.svc.Credentials().Issue(t.Context(), auth.ByHost("<script>hacked()</script>"), h.admin.ID,
		auth.KeyOptions{Label: hostile})
	require.NoError(t, err)
	ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{UserAgent: hostile})
	for _, id := range []string{h.admin.ID, mallory.User.ID} {
		_, err := h.svc.SignIn(ctx, id, auth.LoginOptions{})
		require.NoError(t, err)
	}
	query := "?" + url.Values{"error": {hostile}, "notice": {hostile}, "connected": {hostile},
		"search": {hostile}, "length": {hostile}, "item": {hostile}, "__proto__": {hostile},
		"kind": {hostile}, "state": {hostile}, "user": {hostile}, "from": {hostile}, "to": {hostile}}.Encode()
	b := newBrowser(t)
	b.openPage(h, "/"+query)
	b.shows("#alert", "This did not work at GitHub. Begin again.")
	b.unharmed()
	b.signIn(h, h.pair, "/users/"+url.PathEscape(hostile))
	b.unharmed()
	for path, text := range map[string]string{
		"/": hostile, "/keys": hostile, "/sessions": hostile, "/users": hostile,
		"/users/" + mallory.User.ID: hostile, "/users/" + h.admin.ID: hostile, "/events": "<script>hacked()</script>",
	} {
		b.openPage(h, path)
		require.Contains(t, b.text("body"), text, path)
		b.unharmed()
	}
	for _, path := range []string{"/", "/keys", "/sessions", "/users", "/users/" + mallory.User.ID,
		"/users/" + h.admin.ID} {
		b.openPage(h, path)
		b.asksUnharmed()
	}
	for _, action := range []string{"Disable…", "Enable…", "Revoke all sessions…", "Replace credentials…",
		"Delete…"} {
		b.openPage(h, "/users")
		b.fromMenu(hostile, action)
		if action == "Delete…" {
			b.set("#typed-name", hostile)
			eval[bool](b, `document.querySelector("#typed-name").dispatchEvent(new Event("input"))`)
		}
		b.click("dialog .dialog-actions .button:last-child")
		if action == "Replace credentials…" {
			b.takeSecret("The new access key of " + hostile)
		}
		b.until(`document.getElementById("status").textContent.includes(` + quote(hostile) + `)`)
		b.unharmed()
	}
	for _, path := range []string{"/", "/keys", "/sessions", "/users"} {
		b.openPage(h, path+query)
		b.unharmed()
	}
}

// Attack: a link tells a person that the session has ended, that a user is deleted or that GitHub is
// connected.
func TestALinkCannotShowANoticeThatIsNotTrue(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	b := newBrowser(t)
	silent := func(queries ...string) {
		t.Helper()
		for _, query := range queries {
			b.openPage(h, "/?"+query)
			require.Empty(t, b.text("#alert")+b.text("#status"), query)
		}
	}
	notices := []string{"notice=ended", "notice=rotated", "notice=out", "notice=other", "notice=deleted",
		"notice=disconnected", "notice=constructor", "notice=__proto__", "notice=toString"}
	silent(notices...)
	b.signIn(h, h.pair, "/")
	silent(append(notices, "connected")...)
	require.Equal(t, "/console/", b.path())
}

// asksUnharmed opens each question that the page can ask. It fails the test if a hostile text has become
// markup, or if an action is shown as dangerous and its question is not.
func (b *tab) asksUnharmed() {
	b.t.Helper()
	const buttons = `[...document.querySelectorAll("main button")].filter((button) => button.firstChild?.textContent.endsWith("…"))`
	for i := range eval[int](b, buttons+".length") {
		name := eval[string](b, fmt.Sprintf(`((button) => { button.click(); return button.textContent; })(%s[%d])`, buttons, i))
		if b.until(`!!document.querySelector("dialog[open]")`); !strings.HasPrefix(name, "Rename") {
			red := eval[bool](b, fmt.Sprintf(`%s[%d].classList.contains("danger")`, buttons, i))
			require.Equal(b.t, red, eval[bool](b, `document.querySelector("dialog").role === "alertdialog"`), name)
		}
		b.unharmed()
		b.click("dialog .dialog-actions .button:first-child")
		b.until(`!document.querySelector("dialog")`)
	}
}

// Attack: the audit trail for an e-mail address shows the events of another user, who has chosen the
// address as a username.
func TestAUsernameHidesTheEventsOfNobody(t *testing.T) {
	h, b := openConsole(t)
	bob := h.register(t, auth.UserParams{Username: "bob", Email: "bob@example.com"})
	mallory := h.register(t, auth.UserParams{Username: "bob@example.com"})
	b.openPage(h, "/events?user=bob@example.com")
	b.shows("#list p", "This is the username of one user and the e-mail address of another. Write id: and "+
		"the ID of the user.")
	for text, user := range map[string]string{"bob": bob.User.ID, "id:" + mallory.User.ID: mallory.User.ID} {
		b.openPage(h, "/events?user="+url.QueryEscape(text))
		b.until(`!!document.querySelector('tbody a[href$="` + user + `"]')`)
		b.settled()
		require.Equal(t, 1, b.rows(), text)
	}
}

// The names of other users cannot become a path that leads elsewhere.
func TestAnIDIsOneSegmentOfAPath(t *testing.T) {
	h, b := openConsole(t)
	for _, id := range []string{"..", "%2e%2e%2fkeys", "a%2Fb", "%3Fsearch=x"} {
		b.do(chromedp.Navigate(h.url + "/users/" + id))
		b.until(`document.readyState === "complete"`)
		if eval[string](b, "document.body.dataset.page") != "user" {
			continue // the browser has left out the segments ".."
		}
		asked := eval[[]string](b, `performance.getEntriesByType("resource").map((entry) => entry.name)`)
		for _, address := range asked {
			require.NotRegexp(t, `/auth/(keys|user$|users\?search=x)`, address, id)
		}
	}
	b.tolerant = true // the service answers 404 for unknown IDs
}

// attackerPage serves a page at another site.
func attackerPage(t *testing.T, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!DOCTYPE html><title>Attack</title>"+body)
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "evil.test", 1)
}

func TestTheConsoleCannotBeFramed(t *testing.T) {
	h, b := openConsole(t)
	b.tolerant = true
	require.Contains(t, h.requests.take(), "/console/assets/account.js", "a page that is shown loads scripts")
	own := attackerPage(t, fmt.Sprintf(`<iframe src="%s/keys"></iframe>`, h.url))
	for _, address := range []string{own, strings.Replace(own, "evil.test", "127.0.0.1", 1)} {
		b.do(chromedp.Navigate(address))
		b.until(`document.title === "Attack" && document.readyState === "complete"`)
		asked := h.requests.take()
		require.Contains(t, asked, "/console/keys")
		require.NotContains(t, asked, "/console/assets/core.js", "a page that is shown loads scripts, too")
	}
}

// A page that signs a victim in as the attacker learns what the victim then does (login CSRF).
func TestAForeignPageCannotSignABrowserIn(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	b := newBrowser(t)
	b.tolerant = true // the service refuses the requests
	body := fmt.Sprintf(`{"access_key": %q, "access_secret": %q}`,
		h.pair.AccessKey, h.pair.AccessSecret.Reveal())
	login := strings.TrimSuffix(h.url, "/console") + "/auth/browser/login"
	name, value, _ := strings.Cut(body, ": ")
	form := fmt.Sprintf(`<form method="post" enctype="text/plain" action="%s"><input name="%s" value="%s"></form>`,
		login, html.EscapeString(name+`: "`), html.EscapeString(`", "x": `+value))
	own := attackerPage(t, form)
	for _, address := range []string{own, strings.Replace(own, "evil.test", "127.0.0.1", 1)} {
		for _, script := range []string{
			fmt.Sprintf(`fetch(%q, {method: "POST", mode: "no-cors", credentials: "include", body: %s}).finally(() => { window.done = true; })`, login, quote(body)),
			fmt.Sprintf(`fetch(%q, {method: "POST", credentials: "include", headers: {"Content-Type": "application/json"}, body: %s}).finally(() => { window.done = true; })`, login, quote(body)),
			`document.forms[0].submit()`,
		} {
			b.do(chromedp.Navigate(address))
			b.until(`document.title === "Attack"`)
			eval[chromedp.Void](b, "void "+script)
			b.until(`window.done || location.pathname === "/auth/browser/login"`)
			b.do(chromedp.Navigate(h.url + "/"))
			b.shows("h1", "Sign in")
			require.Empty(t, b.cookies(), script)
		}
	}
}

// An address may ask for the codes of 30 devices a minute. A page of another origin must not use this up for
// its visitors.
func TestAForeignPageCannotUseUpTheLimitsOfItsVisitors(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	b := newBrowser(t)
	b.tolerant = true // the service refuses the requests
	start := strings.TrimSuffix(h.url, "/console") + "/auth/device"
	const form = `<form method="post" action="%s"><input name="client_id" value="cli"></form>`
	own := attackerPage(t, fmt.Sprintf(form, start))
	sent := 0
	for _, address := range []string{own, strings.Replace(own, "evil.test", "127.0.0.1", 1)} {
		for _, options := range []string{`mode: "no-cors"`, `mode: "no-cors", credentials: "include"`, `mode: "cors"`} {
			b.do(chromedp.Navigate(address))
			b.until(`document.title === "Attack"`)
			eval[chromedp.Void](b, fmt.Sprintf(`void Promise.allSettled(Array.from({length: 20}, () => fetch(%q, {
				method: "POST", body: new URLSearchParams({client_id: "cli"}), %s,
			}))).then(() => { window.done = true; })`, start, options))
			b.until(`window.done`)
			sent += 20
		}
		b.do(chromedp.Navigate(address))
		b.until(`document.title === "Attack"`)
		eval[chromedp.Void](b, "void document.forms[0].submit()")
		b.until(`location.pathname === "/auth/device"`)
		sent++
	}
	arrived := slices.DeleteFunc(h.requests.take(), func(path string) bool { return path != "/auth/device" })
	require.Len(t, arrived, sent)
	h.startDevice(t) // from the same address
}

func TestLeavingAPageOfTheConsoleRemovesTheSecret(t *testing.T) {
	h, b := openConsole(t)
	b.openPage(h, "/keys")
	b.click("#new-key")
	b.click("dialog .primary")
	b.shows(".secret-dialog h2", "Your new access key")
	secret := b.text(".secret-dialog .secret:last-child code")
	secrets := eval[[]string](b, `[...document.querySelectorAll(".secret code")].map((code) => code.textContent)`)
	require.Contains(t, secrets, secret)
	b.do(chromedp.Navigate(h.url + "/sessions"))
	eval[bool](b, "history.back() ?? true")
	b.shows("h1", "Access keys")
	b.settled()
	for _, text := range secrets[1:] {
		b.requireNowhere(text)
	}
}

// A later visitor who presses the Back button must not see the pages of the earlier visitor.
func TestTheBackButtonShowsNothingAfterSigningOut(t *testing.T) {
	h, b := openConsole(t)
	b.openPage(h, "/keys")
	b.click("#sign-out")
	b.shows("h1", "Sign in")
	eval[bool](b, "window.before = true")
	eval[bool](b, "history.back() ?? true")
	b.until(`document.querySelector("h1")?.innerText === "Sign in" && !window.before`)
	b.requireNowhere(h.pair.AccessKey)
}

func TestAPageWhoseSessionWasRevokedLeadsToTheSignInPage(t *testing.T) {
	h, b := openConsole(t)
	b.openPage(h, "/keys")
	_, err := h.svc.Tokens().RevokeUser(t.Context(), auth.ByHost("test"), h.admin.ID)
	require.NoError(t, err)
	b.tolerant = true // the service answers 401
	b.click("#new-key")
	b.click("dialog .primary")
	b.shows("h1", "Sign in")
	b.shows("#alert", "You have been signed out. Sign in again.")
	require.Equal(t, "/console/keys", b.path())
}

// Users who replace their own credentials are signed out and can sign in only with the new ones. So the
// page must show the new credentials first.
func TestOwnNewCredentialsAreShownBeforeTheSignInPage(t *testing.T) {
	h, b := openConsole(t)
	b.tolerant = true // the service answers 401
	b.openPage(h, "/users")
	b.fromMenu("admin@", "Replace credentials…")
	b.agree("Replace the credentials of admin?")
	b.shows(".secret-dialog h2", "The new access key of admin")
	pair := b.takeSecret("The new access key of admin")
	b.shows("h1", "Sign in")
	h.requireSignIn(t, h.pair, auth.ErrInvalidCredentials)
	h.requireSignIn(t, pair, nil)
}

func TestAFailedReadIsExplainedAndCanBeRepeated(t *testing.T) {
	h, b := openConsole(t)
	b.openPage(h, "/keys")
	const breakReads = `void (window.real = window.fetch, window.fetch = (path, options) => options.method === "GET" && path !== "/auth/user"
		? Promise.reject(new TypeError("Failed to fetch")) : real(path, options))`
	eval[chromedp.Void](b, breakReads)
	b.click("#new-key")
	b.click("dialog .primary")
	pair := b.takeSecret("Your new access key")
	h.requireSignIn(t, pair, nil)
	b.shows("#list strong", "This cannot be shown now")
	b.screenshot("console-failure")
	eval[chromedp.Void](b, "void (window.fetch = window.real)")
	b.click("#list .button")
	b.until(`document.querySelectorAll("tbody tr").length === 2`)
}
