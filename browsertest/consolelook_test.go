package browsertest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// widths are the widths of windows for which the pages are tested, from a small phone to a wide screen.
var widths = []int64{320, 390, 768, 1280, 1920}

// fits opens a view and checks it in all widths and color schemes: nothing is out of the window, every
// text can be read, and axe-core finds nothing.
func (b *tab) fits(view string, open func(b *tab)) {
	b.t.Helper()
	open(b)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range widths {
			b.look(width, scheme)
			where := fmt.Sprintf("%s-%d-%s", view, width, scheme)
			require.Zero(b.t, eval[int](b, "document.documentElement.scrollWidth - innerWidth"),
				"%s scrolls sideways", where)
			require.Empty(b.t, eval[[]string](b, outside), where)
			require.Empty(b.t, b.violations(), where)
			b.screenshot("console-" + where)
		}
	}
}

// outside is a script that returns the texts that a box with hidden overflow cuts off, other than names that
// end with an ellipsis.
const outside = `[...document.querySelectorAll("main *, dialog *")].filter((element) => element.checkVisibility() &&
	element.textContent.trim() && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 1 &&
	!["visible", "auto"].includes(getComputedStyle(element).overflowX) &&
	getComputedStyle(element).textOverflow !== "ellipsis" && !["INPUT", "SELECT"].includes(element.tagName)).map((element) => element.outerHTML.slice(0, 120))`

// fill adds users, keys, sessions and events, also with long names.
func (h *host) fillIn(t *testing.T) auth.Registration {
	t.Helper()
	by := auth.ByHost("import")
	alice := h.register(t, auth.UserParams{Username: "alice", Email: "alice.wonderland@example.com"})
	h.register(t, auth.UserParams{Username: "backup-service", IsService: true})
	h.register(t, auth.UserParams{Username: strings.Repeat("long-name-", 12),
		Email: strings.Repeat("a", 60) + "@" + strings.Repeat("example.", 12) + "com"})
	read := auth.NewScopes("notes:read")
	for _, options := range []auth.KeyOptions{
		{Label: "CI of the backend", Scopes: read},
		{Label: strings.Repeat("A label without an end ", 10)},
		{Label: strings.Repeat("x", 250)},
	} {
		_, err := h.svc.Credentials().Issue(t.Context(), by, h.admin.ID, options)
		require.NoError(t, err)
	}
	for _, agent := range []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
		"curl/8.14.1", strings.Repeat("agent ", 40), "",
	} {
		ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{UserAgent: agent,
			Address: netip.MustParseAddr("2001:db8:85a3:8d3:1319:8a2e:370:7348")})
		_, err := h.svc.SignIn(ctx, h.admin.ID, auth.LoginOptions{})
		require.NoError(t, err)
		_, err = h.svc.SignIn(ctx, alice.User.ID, auth.LoginOptions{})
		require.NoError(t, err)
	}
	return alice
}

func TestEveryPageOfTheConsoleFitsAndCanBeUsedByEveryone(t *testing.T) {
	needAxe(t)
	h := startHost(t, "admin", console.Config{Name: "Notes", Scopes: scopeChoices})
	alice := h.fillIn(t)
	newBrowser(t).fits("signin", func(b *tab) { b.openPage(h, "/") })
	for view, path := range map[string]string{
		"account": "/", "keys": "/keys", "sessions": "/sessions", "users": "/users", "events": "/events",
		"user": "/users/" + alice.User.ID, "service": "/users?kind=service",
	} {
		t.Run(view, func(t *testing.T) {
			b := newBrowser(t) // with a time limit of its own
			b.signIn(h, h.pair, "/")
			b.fits(view, func(b *tab) { b.openPage(h, path) })
		})
	}
}

func TestEveryDialogOfTheConsoleFitsAndCanBeUsedByEveryone(t *testing.T) {
	needAxe(t)
	h := startHost(t, "admin", console.Config{Name: "Notes", Scopes: scopeChoices})
	h.fillIn(t)
	newKey := func(b *tab) {
		b.openPage(h, "/keys")
		b.click("#new-key")
		b.do(chromedp.Click(chromedp.CSS("input[name=limit][value=some]")))
	}
	for view, open := range map[string]func(b *tab){
		"new-key": newKey,
		"secret": func(b *tab) {
			newKey(b)
			b.click("input[value='notes:read']")
			b.click("dialog .primary")
			b.shows("dialog h2", "Your new access key")
		},
		"revoke": func(b *tab) {
			b.openPage(h, "/keys")
			b.fromMenu("CI of the backend", "Revoke…")
		},
		"new-user": func(b *tab) {
			b.openPage(h, "/users")
			b.click("#new-user")
		},
		"menu": func(b *tab) {
			b.openPage(h, "/users")
			b.use(b.row("alice", ".icon-button"))
			b.until(`document.querySelector(".menu:popover-open")?.checkVisibility({visibilityProperty: true})`)
		},
	} {
		t.Run(view, func(t *testing.T) {
			b := newBrowser(t) // with a time limit of its own
			b.signIn(h, h.pair, "/")
			b.fits(view, open)
		})
	}
}
