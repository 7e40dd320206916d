package browsertest

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// sessionCookie returns the value of the session cookie.
func (b *tab) sessionCookie() string {
	b.t.Helper()
	cookies := b.cookies()
	require.Len(b.t, cookies, 1)
	for _, cookie := range cookies {
		return cookie.Value
	}
	return ""
}

// Each page renews the session cookie in the last quarter of its life, until the session is a week old.
func TestEachPageRenewsTheSessionUntilItsMaximum(t *testing.T) {
	h, b := openConsole(t)
	now := time.Duration(0)
	for _, path := range []string{"/", "/keys", "/sessions", "/users", "/users/" + h.admin.ID, "/events"} {
		before := b.sessionCookie()
		h.ahead.Store(int64((now + 8*time.Hour).Seconds()))
		b.openPage(h, path)
		require.Equal(t, before, b.sessionCookie(), "%s: two thirds of 12 hours", path)
		now += 10 * time.Hour
		h.ahead.Store(int64(now.Seconds()))
		b.openPage(h, path)
		b.until(`document.readyState === "complete"`)
		renewed := func() bool { return b.sessionCookie() != before }
		require.Eventually(t, renewed, testTimeout/4, testTimeout/400, path)
	}
	for now < 7*24*time.Hour-10*time.Hour {
		now += 10 * time.Hour
		h.ahead.Store(int64(now.Seconds()))
		b.openPage(h, "/keys")
		b.shows("h1", "Access keys")
	}
	h.ahead.Store(int64((7*24*time.Hour + time.Minute).Seconds()))
	b.openPage(h, "/keys")
	b.shows("h1", "Sign in")
}

// A super user whose power ends while the page is open keeps none of it, and the page says why.
func TestAnOpenPageOfADemotedUserSaysSo(t *testing.T) {
	h, b := openConsole(t)
	b.tolerant = true // the service answers 403
	other := h.register(t, auth.UserParams{Username: "other", IsSuperUser: true})
	b.openPage(h, "/users")
	require.Equal(t, 2, b.rows())
	_, err := h.svc.UpdateUser(t.Context(), auth.ByHost("test"), h.admin.ID,
		auth.UserChange{IsSuperUser: new(false)})
	require.NoError(t, err)
	b.fromMenu("other", "Disable…")
	b.agree("Disable other?")
	b.shows("dialog [role=alert]", "Super user access required")
	b.click("dialog .dialog-actions .button:first-child")
	b.choose("#kind", "person")
	b.shows("#list p", "Super user access required")
	b.do(chromedp.Reload())
	b.shows("h1", "Not allowed")
	h.requireSignIn(t, other.Pair, nil)
}

// Users who take their own power see at once which pages are left.
func TestAUserWhoGivesUpPowerLeavesThePage(t *testing.T) {
	h, b := openConsole(t)
	b.tolerant = true // the page answers 403
	h.register(t, auth.UserParams{Username: "other", IsSuperUser: true})
	b.openPage(h, "/users")
	b.fromMenu("admin@", "Make a plain user…")
	b.agree("Make admin a plain user?")
	b.shows("h1", "Not allowed")
	require.False(t, eval[bool](b, `!!document.querySelector('.nav a[href$="/users"]')`))
}

func TestABrowserWithoutAClipboardSaysSo(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	b := newBrowser(t)
	b.signIn(h, h.pair, "/")
	eval[chromedp.Void](b, `void Object.defineProperty(navigator, "clipboard", {value: undefined})`)
	b.click("#copy-id")
	b.shows("#alert", "The browser does not allow it. Select the text and copy it.")
	b.openPage(h, "/keys")
	eval[chromedp.Void](b, `void Object.defineProperty(navigator, "clipboard", {value: undefined})`)
	b.click("#new-key")
	b.click("dialog .primary")
	b.shows(".secret-dialog h2", "Your new access key")
	b.click(".secret-dialog .secret .button")
	b.shows(".secret-dialog [role=status]", "The browser does not allow it. Select the text and copy it.")
}
