package browsertest

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// TestEveryStateOfTheConsoleFitsAndCanBeUsedByEveryone looks at pages without content, at pages that wait or
// fail, and at those that show an error.
func TestEveryStateOfTheConsoleFitsAndCanBeUsedByEveryone(t *testing.T) {
	needAxe(t)
	h := startHost(t, "admin", console.Config{Name: "Notes", Scopes: scopeChoices})
	alice := h.register(t, auth.UserParams{Username: "alice"})
	rotates := h.register(t, auth.UserParams{Username: "rotates", Key: auth.KeyOptions{MustRotate: true}})
	limited, err := h.svc.Credentials().Issue(t.Context(), auth.ByHost("test"), alice.User.ID,
		auth.KeyOptions{Scopes: auth.NewScopes("notes:read")})
	require.NoError(t, err)
	nobody := auth.KeyPair{}
	at := func(path string) func(b *tab) { return func(b *tab) { b.openPage(h, path) } }
	for view, state := range map[string]struct {
		pair auth.KeyPair
		open func(b *tab)
	}{
		"no-keys": {nobody, func(b *tab) {
			b.openPage(h, "/keys")
			b.click("#github")
			b.answerGitHub(octocat, authorize)
			b.shows(".empty strong", "No access keys yet")
			b.settled()
		}},
		"no-user-found":  {h.pair, at("/users?search=nobody")},
		"no-event-found": {h.pair, at("/events?kind=user.deleted")},
		"wrong-days":     {h.pair, at("/events?from=2026-02-02&to=2026-01-01")},
		"unknown-user": {h.pair, func(b *tab) {
			b.openPage(h, "/users/"+strings.Repeat("A", 26))
			b.shows(".empty strong", "There is no such user")
		}},
		"loading": {h.pair, func(b *tab) {
			release := h.held.hold("GET /auth/keys")
			b.t.Cleanup(func() { release(true) })
			b.do(chromedp.Navigate(h.url + "/keys"))
			b.until(`document.getElementById("progress").checkVisibility()`)
			b.shows("#status", "Please wait…")
		}},
		"failure": {h.pair, func(b *tab) {
			b.tolerant = true // the browser reports the broken connection
			h.held.hold("GET /auth/sessions")(false)
			b.openPage(h, "/sessions")
			b.shows("#list strong", "This cannot be shown now")
		}},
		"wrong-secret": {nobody, func(b *tab) {
			b.openPage(h, "/")
			b.fill("#access-key", h.pair.AccessKey)
			b.fill("#access-secret", "wrong")
			b.click("#key-form button")
			b.refused("#access-secret", "Invalid access key or secret")
		}},
		"refused-field": {h.pair, func(b *tab) {
			b.openPage(h, "/users")
			b.click("#new-user")
			b.fill("dialog input[name=username]", "alice")
			b.click("dialog .primary")
			b.refused("dialog input[name=username]", "Username or e-mail already taken: choose another")
		}},
		"denied": {nobody, at("/?error=denied")},
		"no-page": {h.pair, func(b *tab) {
			b.expects(notFound)
			b.openPage(h, "/nothing")
		}},
		"forbidden": {alice.Pair, func(b *tab) {
			b.expects(forbidden)
			b.openPage(h, "/users")
		}},
		"limited": {limited, at("/")},
		"rotate":  {rotates.Pair, at("/keys")},
	} {
		t.Run(view, func(t *testing.T) {
			b := newBrowser(t)
			if state.pair.AccessKey != "" {
				b.signIn(h, state.pair, "/")
			}
			b.fits(view, state.open)
		})
	}
}

func TestEveryQuestionOfTheConsoleFitsAndCanBeUsedByEveryone(t *testing.T) {
	needAxe(t)
	h := startHost(t, "admin", console.Config{Name: "Notes", Scopes: scopeChoices})
	long := h.fillIn(t)
	b := newBrowser(t) // connects GitHub
	b.signIn(h, h.pair, "/")
	b.click("#connect")
	b.answerGitHub(hubot, authorize)
	b.shows("#github-login", "hubot")
	b.settled()
	menu := func(path, row, action string) func(b *tab) {
		return func(b *tab) { b.openPage(h, path); b.fromMenu(row, action) }
	}
	button := func(path, selector string) func(b *tab) {
		return func(b *tab) {
			b.openPage(h, path)
			b.use(selector)
			b.until(`!!document.querySelector("dialog[open]")`)
		}
	}
	for view, open := range map[string]func(b *tab){
		"rotate-key":      menu("/keys", "CI of the backend", "Rotate secret…"),
		"revoke-all":      menu("/users", "alice", "Revoke all sessions…"),
		"replace":         menu("/users", "alice", "Replace credentials…"),
		"make-super-user": menu("/users", "alice", "Make a super user…"),
		"disable":         menu("/users", "alice", "Disable…"),
		"delete":          menu("/users", "long-name", "Delete…"),
		"revoke-session":  button("/sessions", "tbody tr:nth-child(2) .danger"),
		"others":          button("/sessions", "#others"),
		"rename":          button("/users/"+long.User.ID, "#user-menu .button:first-child"),
		"disconnect":      button("/", "#disconnect"),
	} {
		t.Run(view, func(t *testing.T) {
			b := newBrowser(t)
			b.signIn(h, h.pair, "/")
			b.fits(view, open)
		})
	}
}

// People who get sick from motion ask for less of it.
func TestNothingMovesIfThePersonWantsReducedMotion(t *testing.T) {
	h, b := openConsole(t)
	for preference, moves := range map[string]bool{"reduce": false, "no-preference": true} {
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: preference}},
		})
		require.NoError(t, err)
		release := h.held.hold("GET /auth/keys")
		b.do(chromedp.Navigate(h.url + "/keys"))
		b.until(`document.getElementById("progress").checkVisibility()`)
		require.Equal(t, moves, eval[bool](b, "document.getAnimations().length > 0"), preference)
		release(true)
		b.settled()
	}
}

// The call about the GitHub account needs a scope, so the page must not show the account without it.
func TestALimitedSessionSeesTheGitHubAccountOnlyWithTheScope(t *testing.T) {
	h, b := openConsole(t)
	b.click("#connect")
	b.answerGitHub(hubot, authorize)
	b.shows("#github-login", "hubot")
	b.settled()
	for scope, sees := range map[string]bool{"notes:read": false, auth.ScopeGitHub: true} {
		pair, err := h.svc.Credentials().Issue(t.Context(), auth.ByHost("test"), h.admin.ID,
			auth.KeyOptions{Scopes: auth.NewScopes(scope)})
		require.NoError(t, err)
		b := newBrowser(t)
		b.signIn(h, pair, "/")
		page := eval[string](b, "document.documentElement.outerHTML")
		require.Equal(t, sees, strings.Contains(page, "hubot"), scope)
		require.NotContains(t, page, "Not connected", scope)
		require.Equal(t, !sees, strings.Contains(page, "cannot see the connected account"), scope)
	}
}
