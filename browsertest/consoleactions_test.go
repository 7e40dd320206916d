package browsertest

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// requireSignIn checks whether the pair signs in.
func (h *host) requireSignIn(t *testing.T, pair auth.KeyPair, want error) {
	t.Helper()
	_, err := h.svc.Login(t.Context(), pair, auth.LoginOptions{})
	require.ErrorIs(t, err, want)
}

func TestAUserSignsInAndOutOnTheConsole(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		b := newTab(t)
		b.openPage(h, "/sessions")
		b.shows("h1", "Sign in")
		b.enter("#access-key", h.pair.AccessKey)
		b.enter("#access-secret", "wrong")
		b.use("#key-form button")
		b.refused("#access-secret", "Invalid access key or secret")
		require.Empty(t, eval[string](b, "document.activeElement.value"), "the secret must not stay")
		b.press(h.pair.AccessSecret.Reveal() + kb.Enter)
		b.shows("h1", "Sessions")
		require.Equal(t, "/console/sessions", b.path())
		b.settled()
		b.requireNowhere(h.pair.AccessSecret.Reveal())

		b.do(chromedp.Reload())
		b.shows("h1", "Sessions")
		b.settled()
		b.use("#sign-out")
		b.shows("h1", "Sign in")
		b.shows("#status", "You are signed out.")
		require.Equal(t, "/console/", b.path())
		require.Empty(t, b.cookies())
		b.requireNowhere("admin")
	})
}

func TestAUserManagesAccessKeysOnTheConsole(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes", Scopes: scopeChoices})
		b := newTab(t)
		b.signIn(h, h.pair, "/")
		b.use(`.nav a[href$="/keys"]`)
		b.shows("h1", "Access keys")
		b.settled()
		require.Equal(t, 1, b.rows())

		b.use("#new-key")
		b.enter("dialog input[name=label]", "dashboard")
		b.reachRadio("some")
		b.use("dialog .primary")
		require.True(t, eval[bool](b, `document.querySelector("dialog").open`), "no scope is chosen")
		b.tick("input[value='notes:read']")
		b.use("dialog .primary")
		pair := b.takeSecret("Your new access key")
		b.settled()
		b.focused("#new-key")
		require.Contains(t, b.text(b.row("dashboard", "td:nth-child(2)")), "notes:read")
		login, err := h.svc.Login(t.Context(), pair, auth.LoginOptions{})
		require.NoError(t, err)
		require.Equal(t, auth.NewScopes("notes:read"), login.Session.Scopes)
		keys, err := h.svc.Credentials().List(t.Context(), h.admin.ID)
		require.NoError(t, err)
		require.False(t, keys[1].ExpiresAt.IsZero(), "a new key expires")

		b.fromMenu("dashboard", "Rotate secret…")
		b.choose("dialog select", "3600")
		b.use("dialog .primary")
		second := b.takeSecret("The new secret")
		require.Equal(t, pair.AccessKey, second.AccessKey)
		h.requireSignIn(t, pair, nil)
		h.requireSignIn(t, second, nil)

		b.settled()
		b.fromMenu("dashboard", "Rotate secret…")
		b.use("dialog .primary")
		b.until(`document.querySelector("dialog [role=alert]").innerText !== ""`) // the overlap has not ended
		b.press(kb.Escape)
		b.until(`!document.querySelector("dialog")`)

		b.fromMenu("dashboard", "Revoke…")
		b.focused("dialog .dialog-actions .button:first-child")
		b.press(kb.Escape)
		b.until(`!document.querySelector("dialog")`)
		h.requireSignIn(t, second, nil)
		b.fromMenu("dashboard", "Revoke…")
		b.agree("Revoke dashboard?")
		b.says("The key is revoked.")
		require.Equal(t, 1, b.rows())
		h.requireSignIn(t, second, auth.ErrInvalidCredentials)
	})
}

// reachRadio selects the radio button with the value, with the arrow keys if there is no mouse.
func (b *tab) reachRadio(value string) {
	b.t.Helper()
	if !b.keyboard {
		b.click("input[type=radio][value=" + value + "]")
		return
	}
	b.reach("input[type=radio]")
	b.press(kb.ArrowDown)
	b.focused("input[type=radio][value=" + value + "]:checked")
}

func TestAUserRevokesSessionsOnTheConsole(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		var tokens []auth.Token
		for _, agent := range []string{"curl/8.14.1", "first/1", "second/1"} {
			ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{UserAgent: agent})
			token, err := h.svc.SignIn(ctx, h.admin.ID, auth.LoginOptions{})
			require.NoError(t, err)
			tokens = append(tokens, token)
		}
		b := newTab(t)
		b.signIn(h, h.pair, "/sessions")
		require.Equal(t, "Chrome on Linux This one", b.text("tbody tr:first-child td"))
		b.use(b.row("curl", ".danger"))
		b.agree("Revoke the session of curl?")
		b.says("The session is revoked.")
		_, err := h.svc.Tokens().Verify(t.Context(), tokens[0].Bearer.Reveal())
		require.ErrorIs(t, err, auth.ErrTokenRejected)

		b.use("#others")
		b.agree("Sign out everywhere else?")
		b.says("2 other sessions are revoked.")
		require.Equal(t, 1, b.rows())
		require.False(t, eval[bool](b, `document.getElementById("others").checkVisibility()`))
		_, err = h.svc.Tokens().Verify(t.Context(), tokens[2].Bearer.Reveal())
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	})
}

func TestASuperUserManagesUsersOnTheConsole(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		b := newTab(t)
		b.signIn(h, h.pair, "/users")
		b.use("#new-user")
		b.enter("dialog input[name=username]", "admin")
		b.use("dialog .primary")
		b.refused("dialog input[name=username]", "Field username must not be a reserved name such as admin")
		b.set("dialog input[name=username]", "")
		b.enter("dialog input[name=username]", "grace")
		b.enter("dialog input[name=email]", "grace@example.com")
		b.use("dialog .primary")
		pair := b.takeSecret("The access key of grace")
		b.says("grace is added.")
		h.requireSignIn(t, pair, nil)

		for _, step := range []struct{ action, heading, said, state string }{
			{"Disable…", "Disable grace?", "grace is disabled.", "Disabled"},
			{"Enable…", "Enable grace?", "grace is enabled.", "Active"},
			{"Make a super user…", "Make grace a super user?", "grace is a super user now.", "Super user"},
			{"Make a plain user…", "Make grace a plain user?", "grace is a plain user now.", "Active"},
			{"Revoke all sessions…", "Revoke all sessions of grace?", "The sessions of grace are revoked.", "Active"},
		} {
			b.fromMenu("grace", step.action)
			b.shows("dialog h2", step.heading)
			b.use("dialog .dialog-actions .button:last-child")
			b.says(step.said)
			require.Contains(t, b.text(b.row("grace", "td:nth-child(2)")), step.state)
		}
		b.fromMenu("grace", "Replace credentials…")
		b.agree("Replace the credentials of grace?")
		next := b.takeSecret("The new access key of grace")
		b.says("grace has new credentials.")
		h.requireSignIn(t, pair, auth.ErrInvalidCredentials)
		h.requireSignIn(t, next, nil)

		b.fromMenu("admin@", "Make a plain user…")
		b.agree("Make admin a plain user?")
		b.shows("dialog [role=alert]", "The last active super user must stay: make another first")
		b.press(kb.Escape)
		b.until(`!document.querySelector("dialog")`)

		b.fromMenu("grace", "Delete…")
		b.enter("#typed-name", "gracy")
		b.use("dialog .danger.fill")
		require.True(t, eval[bool](b, `document.querySelector("dialog").open`), "the name is wrong")
		b.press(kb.Escape)
		b.until(`!document.querySelector("dialog")`)
		b.fromMenu("grace", "Delete…")
		b.enter("#typed-name", "grace")
		b.agree("Delete grace?")
		b.says("grace is deleted.")
		require.Equal(t, 1, b.rows())
		h.requireSignIn(t, next, auth.ErrInvalidCredentials)
	})
}

func TestASuperUserSearchesUsersAndEvents(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		for _, name := range []string{"alice", "alfred", "bob"} {
			h.register(t, auth.UserParams{Username: name, Email: name + "@example.com"})
		}
		robot := h.register(t, auth.UserParams{Username: "robot", IsService: true})
		b := newTab(t)
		b.signIn(h, h.pair, "/users")
		require.Equal(t, 5, b.rows())
		b.searchUsers()
		b.choose("#kind", "super_user")
		b.listed("?kind=super_user", 1)
		require.Contains(t, b.text("tbody tr"), "admin@example.com")
		b.choose("#kind", "service")
		b.listed("?kind=service", 1)
		b.use(b.row("robot", "a"))
		b.shows("h1", "robot")
		b.settled()
		require.Equal(t, "/console/users/"+robot.User.ID, b.path())
		require.Contains(t, b.text("#events"), "User created")

		b.use(`.nav a[href$="/events"]`)
		b.shows("h1", "Audit trail")
		b.settled()
		b.choose("#kind", "user.created")
		b.listed("?kind=user.created", 4)
		b.selectDays()
		for _, name := range []string{robot.User.ID, "Robot", "BOB@example.com"} {
			b.set("#user", "")
			b.enter("#user", name)
			b.until(`document.querySelectorAll("tbody tr").length === 1`)
			b.listed("?"+url.Values{"user": {name}}.Encode()+"&kind=user.created&to="+day(b, 1), 1)
		}
		b.set("#user", "")
		b.enter("#user", "nobody")
		b.shows("#list strong", "No event found")
	})
}

// day returns a day of the browser, which is so many days after today.
func day(b *tab, offset int) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`((day) => { day.setDate(day.getDate() + %d);
		return [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((n) => String(n).padStart(2, "0")).join("-"); })(new Date())`,
		offset))
}

// selectDays selects the four events of the test, which are of today, by their days.
func (b *tab) selectDays() {
	b.t.Helper()
	day := func(offset int) string { return day(b, offset) }
	const wrong = -1
	for _, step := range []struct {
		from, to string
		rows     int
	}{
		{day(0), day(0), 4}, {day(1), "", 0}, {day(-7), day(-1), 0}, {day(1), day(0), wrong},
		{"0202-01-01", "", wrong}, {"1970-01-02", "9999-12-30", 4}, {day(-1), "", 4}, {"", day(1), 4},
	} {
		b.choose("#from", step.from)
		b.choose("#to", step.to)
		if step.rows == wrong { // the service is not asked
			b.shows("#list strong", "No events are selected")
			continue
		}
		query := "?kind=user.created"
		if step.from != "" {
			query += "&from=" + step.from
		}
		if step.to != "" {
			query += "&to=" + step.to
		}
		if b.listed(query, step.rows); step.rows == 0 {
			b.shows("#list strong", "No event found")
		}
	}
	b.do(chromedp.Reload())
	b.listed("?kind=user.created&to="+day(1), 4)
	require.Equal(b.t, day(1), eval[string](b, `document.getElementById("to").value`))
}

func TestASuperUserSeesAndRevokesTheKeysAndSessionsOfAUser(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes", Scopes: scopeChoices})
		alice := h.register(t, auth.UserParams{Username: "alice"})
		_, err := h.svc.Credentials().Issue(t.Context(), auth.ByHost("test"), alice.User.ID,
			auth.KeyOptions{Label: "the build", Scopes: auth.NewScopes("notes:read")})
		require.NoError(t, err)
		ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{UserAgent: "curl/8.14.1"})
		token, err := h.svc.Login(ctx, alice.Pair, auth.LoginOptions{})
		require.NoError(t, err)
		b := newTab(t)
		b.signIn(h, h.pair, "/users/"+alice.User.ID)
		require.Contains(t, b.text("#keys"), alice.Pair.AccessKey)
		require.Contains(t, b.text(b.row("the build", "td:nth-child(2)")), "notes:read")
		require.Contains(t, b.text("#sessions"), "curl")

		b.use(b.row("curl", ".danger"))
		b.agree("Revoke the session of curl?")
		b.says("The session is revoked.")
		require.Contains(t, b.text("#sessions"), "No sessions")
		_, err = h.svc.Tokens().Verify(t.Context(), token.Bearer.Reveal())
		require.ErrorIs(t, err, auth.ErrTokenRejected)

		b.fromMenu("the build", "Revoke…")
		b.agree("Revoke the build?")
		b.says("The key is revoked.")
		require.NotContains(t, b.text("#keys"), "the build")
		require.Contains(t, b.text("#events"), "Access key revoked")
		h.requireSignIn(t, alice.Pair, nil)

		b.openPage(h, "/users/"+h.admin.ID)
		require.Contains(t, b.text("#sessions"), "This one")
		require.Zero(t, eval[int](b, `document.querySelectorAll("#sessions .danger").length`),
			"the session of the page is revoked by signing out")
	})
}

// listed waits until the page has the query and shows its list, and checks the number of rows.
func (b *tab) listed(query string, rows int) {
	b.t.Helper()
	b.until("location.search === " + quote(query))
	b.settled()
	require.Equal(b.t, rows, b.rows(), query)
}

// searchUsers searches the five users of the test.
func (b *tab) searchUsers() {
	b.t.Helper()
	b.enter("#search", "AL")
	b.until(`document.querySelectorAll("tbody tr").length === 2`)
	require.Equal(b.t, "/console/users?search=AL", b.path())
	b.do(chromedp.Reload())
	b.settled()
	require.Equal(b.t, 2, b.rows())
	b.enter("#search", "x")
	b.shows(".empty strong", "No user found")
	b.use(".empty .button")
	b.until(`document.querySelectorAll("tbody tr").length === 5`)
	b.choose("#state", "inactive")
	b.listed("?state=inactive", 0)
	b.choose("#state", "active")
	b.listed("?state=active", 5)
	b.choose("#state", "")
	b.listed("", 5)
}

func TestAUserConnectsGitHubOnTheConsole(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes", GitHubPurpose: "Notes reads your issues."})
		b := newTab(t)
		b.signIn(h, h.pair, "/")
		require.Contains(t, b.text("main"), "Notes reads your issues.")
		b.use("#connect")
		b.answerGitHub(hubot, authorize)
		b.shows("#status", "GitHub is connected.")
		b.shows("#connected strong", "hubot")
		b.settled()
		require.Equal(t, "GitHub has granted the scopes repo, user:email.", b.text("#github-scopes"))
		require.Equal(t, "/console/", b.path())
		b.use("#disconnect")
		b.agree("Disconnect hubot?")
		b.shows("#status", "GitHub is disconnected.")
		b.shows("#not-connected .row-title", "Not connected")
		b.settled()
		b.use("#sign-out")
		b.shows("h1", "Sign in")
		b.settled()

		b.use("#github")
		b.answerGitHub(hubot, authorize)
		b.shows("h1", "Account")
		b.shows("#username", "admin")
		b.settled()
		b.use("#disconnect")
		b.tick("dialog input[type=checkbox]")
		b.agree("Disconnect hubot?")
		b.shows("h1", "Sign in") // the session was one of the account
		b.shows("#status", "GitHub is disconnected.")
	})
}

// Selectors of accounts and buttons on the page of the fake GitHub.
const (
	octocat   = "#user-583231"
	hubot     = "#user-480938"
	authorize = "button[value=authorize]"
	cancel    = "button[value=cancel]"
)

// answerGitHub selects an account on the page of the fake GitHub and presses a button.
func (b *tab) answerGitHub(account, button string) {
	b.t.Helper()
	b.shows("main h1", "Authorize githubtest-client")
	b.click(account)
	b.click(button)
}
