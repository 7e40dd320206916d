package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// watchClipboard makes the page remember what it copies. The test cannot read the clipboard.
func (b *tab) watchClipboard() {
	b.t.Helper()
	eval[chromedp.Void](b, `void (window.copied = [], navigator.clipboard.writeText = async (text) => { copied.push(text); })`)
}

// copied returns what the page has copied, and forgets it.
func (b *tab) copied() []string {
	b.t.Helper()
	return eval[[]string](b, "copied.splice(0)")
}

// downloads returns the directory in which the browser saves files.
func (b *tab) downloads() string {
	b.t.Helper()
	dir := b.t.TempDir()
	profile := chromedp.FromContext(b.ctx).BrowserContextID
	_, err := chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior,
		cdpbrowser.SetDownloadBehaviorParams{Behavior: "allow", DownloadPath: dir, BrowserContextID: profile})
	require.NoError(b.t, err)
	return dir
}

func TestANewSecretIsCopiedOrDownloaded(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		b := newTab(t)
		b.signIn(h, h.pair, "/keys")
		b.watchClipboard()
		dir := b.downloads()
		b.use("#new-key")
		b.use("dialog .primary")
		b.shows(".secret-dialog h2", "Your new access key")
		b.press(kb.Escape) // nothing was copied yet
		b.shows(".secret-dialog [role=status]",
			"Copy or save the secret first. Press Escape again to close without it.")
		b.use(".secret-dialog div:nth-of-type(1) > .secret .button")
		b.shows(".secret-dialog [role=status]", "The access key is copied.")
		b.use(".secret-dialog div:nth-of-type(2) > .secret .button")
		b.shows(".secret-dialog [role=status]", "The access secret is copied.")
		copied := b.copied()
		b.use(".secret-dialog .dialog-actions .button:first-child")
		b.shows(".secret-dialog [role=status]", "The file access-key.env is saved. Keep it like a password.")
		pair := b.takeSecret("Your new access key")
		require.Equal(t, []string{pair.AccessKey, pair.AccessSecret.Reveal()}, copied)
		want := fmt.Sprintf("ACCESS_KEY=%s\nACCESS_SECRET=%s\n", pair.AccessKey, pair.AccessSecret.Reveal())
		require.Eventually(t, func() bool {
			saved, err := os.ReadFile(filepath.Join(dir, "access-key.env"))
			return err == nil && string(saved) == want
		}, testTimeout/4, testTimeout/4000)
		h.requireSignIn(t, pair, nil)
	})
}

// The user comes from GitHub, so there is no access key yet.
func TestAUserWithoutAKeyMakesTheFirstOne(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		b := newTab(t)
		b.openPage(h, "/keys")
		b.use("#github")
		b.answerGitHub(octocat, cancel)
		b.shows("#alert", "You did not allow it at GitHub. Nothing has changed.")
		b.settled()
		b.openPage(h, "/keys")
		b.use("#github")
		b.answerGitHub(octocat, authorize)
		b.shows("h1", "Access keys")
		b.settled()
		b.shows(".empty strong", "No access keys yet")
		b.use(".empty .button")
		b.choose("dialog select", "day")
		b.focused("dialog input[type=date]")
		b.use("dialog .primary")
		require.True(t, eval[bool](b, `document.querySelector("dialog").open`), "no day is chosen")
		day := eval[string](b, `document.querySelector("dialog input[type=date]").min`)
		b.set("dialog input[type=date]", day)
		b.use("dialog .primary")
		b.takeSecret("Your new access key")
		b.settled()
		require.Equal(t, 1, b.rows())
		keys, err := h.svc.Credentials().List(t.Context(), eval[string](b, "document.body.dataset.user"))
		require.NoError(t, err)
		require.Equal(t, day+" 23:59:59", keys[0].ExpiresAt.Format("2006-01-02 15:04:05"))
	})
}

func TestAUserWhoseKeyMustBeRotatedGetsANewSecretOnTheConsole(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		alice := h.register(t, auth.UserParams{Username: "alice", Key: auth.KeyOptions{MustRotate: true}})
		admin := newTab(t)
		admin.signIn(h, h.pair, "/users/"+alice.User.ID)
		require.Contains(t, admin.text("#keys"), "Must be rotated")
		b := newTab(t)
		b.signIn(h, alice.Pair, "/sessions")
		b.shows("h1", "Replace your access secret")
		b.use("#rotate")
		next := b.takeSecret("Your new access secret")
		b.shows("h1", "Sign in")
		b.shows("#alert", "Sign in with the new secret.")
		b.settled()
		require.Equal(t, alice.Pair.AccessKey, next.AccessKey)
		h.requireSignIn(t, alice.Pair, auth.ErrInvalidCredentials)
		b.signIn(h, next, "/sessions")
		b.shows("h1", "Sessions")
	})
}

func TestAUserMovesAroundTheConsole(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		alice := h.register(t, auth.UserParams{Username: "alice"})
		b := newTab(t)
		b.signIn(h, alice.Pair, "/")
		b.watchClipboard()
		b.use("#copy-id")
		b.shows("#status", "The user ID is copied.")
		require.Equal(t, []string{alice.User.ID}, b.copied())
		for path, title := range map[string]string{"/keys": "Access keys", "/sessions": "Sessions"} {
			b.use(`.nav a[href$="` + path + `"]`)
			b.shows("h1", title)
			b.settled()
			if b.keyboard { // the first element of each page skips the navigation
				b.press(kb.Tab)
				b.focused(".skip")
				b.press(kb.Enter)
				b.focused("#main")
			}
		}
		b.expects(forbidden)
		b.openPage(h, "/events")
		b.shows("h1", "Not allowed")
		b.shows(".lead", "Only super users can open this page.")
		b.use("main .button")
		b.shows("h1", "Account")
		b.settled()
		b.expects(notFound)
		b.openPage(h, "/nothing")
		b.shows("h1", "There is no such page")
		b.use("main .button")
		b.shows("h1", "Account")
	})
}

// manage uses the actions on the page of a user.
func (b *tab) manage(h *host, alice auth.Registration) (next auth.KeyPair) {
	b.t.Helper()
	b.use("#user-menu .button:first-child")
	b.refusedNames()
	b.set("dialog input[name=username]", "")
	b.enter("dialog input[name=username]", "alicia")
	b.enter("dialog input[name=email]", "alicia@example.com")
	b.use("dialog .primary")
	b.says("The changes are saved.")
	b.shows("h1", "alicia")
	require.Contains(b.t, b.text("#profile"), "alicia@example.com")

	b.fromMenu(alice.Pair.AccessKey, "Rotate secret…")
	b.use("dialog .primary")
	next = b.takeSecret("The new secret")
	b.settled()
	for _, step := range []struct{ action, heading, said, state string }{
		{"Disable…", "Disable alicia?", "alicia is disabled.", "Disabled"},
		{"Enable…", "Enable alicia?", "alicia is enabled.", "Active"},
	} {
		b.fromUserMenu(step.action)
		b.shows("dialog h2", step.heading)
		b.use("dialog .dialog-actions .button:last-child")
		b.says(step.said)
		b.shows("#badges", step.state)
	}
	h.requireSignIn(b.t, next, nil)

	// A disabled user with new credentials is enabled, too.
	b.fromUserMenu("Disable…")
	b.agree("Disable alicia?")
	b.says("alicia is disabled.")
	b.fromUserMenu("Replace credentials…")
	require.Contains(b.t, b.text("dialog p:not(:empty)"), "The user is enabled, too.")
	b.agree("Replace the credentials of alicia?")
	replaced := b.takeSecret("The new access key of alicia")
	b.says("alicia has new credentials.")
	b.shows("#badges", "Active")
	h.requireSignIn(b.t, next, auth.ErrInvalidCredentials)
	return replaced
}

// addService adds a service user who is a super user.
func (b *tab) addService() {
	b.t.Helper()
	b.use("#new-user")
	b.enter("dialog input[name=username]", "robot")
	b.tick("dialog input[name=is_service]")
	b.tick("dialog input[name=is_super_user]")
	b.use("dialog .primary")
	b.takeSecret("The access key of robot")
	b.says("robot is added.")
	state := b.text(b.row("robot", "td:nth-child(2)"))
	require.Contains(b.t, state, "Service")
	require.Contains(b.t, state, "Super user")
}

// refusedNames checks that the dialog shows the refusal of a name beside its field.
func (b *tab) refusedNames() {
	b.t.Helper()
	b.shows("dialog h2", "Rename alice")
	b.set("dialog input[name=username]", "")
	b.enter("dialog input[name=username]", "bob")
	b.use("dialog .primary")
	b.refused("dialog input[name=username]", "Username or e-mail already taken: choose another")
}

// fromUserMenu uses an action of the menu on the page of a user. With the keyboard, it moves by the arrows.
func (b *tab) fromUserMenu(action string) {
	b.t.Helper()
	b.use("#user-menu .button[popovertarget]")
	b.until(`document.querySelector(".menu:popover-open")?.checkVisibility({visibilityProperty: true})`)
	index := eval[int](b, fmt.Sprintf(`[...document.querySelectorAll(".menu:popover-open button")].findIndex((item) => item.textContent === %s)`,
		quote(action)))
	require.NotEqual(b.t, -1, index, action)
	if b.keyboard {
		b.focused(".menu:popover-open button")
		b.press(kb.ArrowUp) // from the first to the last
		b.press(kb.ArrowDown)
		for range index {
			b.press(kb.ArrowDown)
		}
		b.press(kb.Enter)
	} else {
		eval[chromedp.Void](b, fmt.Sprintf(`void document.querySelectorAll(".menu:popover-open button")[%d].setAttribute("data-item", "")`, index))
		b.use(".menu:popover-open [data-item]")
	}
	b.until(`!!document.querySelector("dialog[open]")`)
}

func TestASuperUserManagesAUserOnTheUsersPage(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		alice := h.register(t, auth.UserParams{Username: "alice"})
		h.register(t, auth.UserParams{Username: "bob"})
		b := newTab(t)
		b.signIn(h, h.pair, "/users")
		b.use(b.row("alice", "a"))
		b.shows("h1", "alice")
		b.settled()
		next := b.manage(h, alice)
		h.requireSignIn(t, next, nil)

		b.use("#events .list-note a")
		b.shows("h1", "Audit trail")
		b.settled()
		require.Equal(t, "/console/events?user=id%3A"+alice.User.ID, b.path())
		require.Positive(t, b.rows())
		b.use("tbody tr:first-child a")
		b.shows("h1", "alicia")
		b.settled()
		b.use(".crumb a")
		b.shows("h1", "Users")
		b.settled()

		b.openPage(h, "/users/"+alice.User.ID)
		b.fromUserMenu("Delete…")
		b.enter("#typed-name", "alicia")
		b.agree("Delete alicia?")
		b.shows("h1", "Users")
		b.shows("#status", "The user is deleted.")
		b.settled()
		require.Equal(t, 2, b.rows())
		require.Equal(t, "/console/users", b.path())
		b.addService()
	})
}

func TestASuperUserTurnsThePagesOfLists(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		for i := range 60 {
			h.register(t, auth.UserParams{Username: fmt.Sprintf("user-%02d", i)})
		}
		b := newTab(t)
		b.signIn(h, h.pair, "/")
		for _, path := range []string{"/users", "/events"} {
			b.openPage(h, path)
			require.Equal(t, 50, b.rows(), path)
			first := b.text("tbody")
			b.use("#pager .button:last-child")
			b.shows("#pager .hint", "Page 2")
			b.focused("#title")
			b.settled()
			require.Greater(t, 50, b.rows(), path)
			require.NotContains(t, first, b.text("tbody tr:first-child"), path)
			b.use("#pager .button:first-child")
			b.shows("#pager .hint", "Page 1")
			b.settled()
			require.Equal(t, first, b.text("tbody"), path)
		}
		b.choose("#kind", "user.deleted")
		b.shows(".empty strong", "No event found")
		b.use(".empty .button")
		b.listed("", 50)
		b.focused("#user")
	})
}
