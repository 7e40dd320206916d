package browsertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// hostile is text with markup, which a page must display as text.
const hostile = `<img src=x onerror=alert(1)>`

// login sends a sign-in request outside the browser, and returns the token and the status.
func (q *quickstart) login(t *testing.T, key, secret, userAgent string) (token string, status int) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"access_key": key, "access_secret": secret})
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, q.url+"/auth/users/login",
		bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", userAgent)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	var answer struct{ Token string }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	return answer.Token, response.StatusCode
}

func (q *quickstart) requireLogin(t *testing.T, key, secret string, want int) {
	t.Helper()
	_, status := q.login(t, key, secret, "test")
	require.Equal(t, want, status)
}

// statusOf returns the status of a GET request with the token.
func (q *quickstart) statusOf(t *testing.T, token, path string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, q.url+path, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	response.Body.Close()
	return response.StatusCode
}

// text returns the visible text of the element.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%s).innerText.trim()", quote(selector)))
}

// takeSecret returns the access key and secret that the open dialog shows, and closes the dialog.
// After that, takeSecret checks that the secret is nowhere in the page.
func (b *tab) takeSecret(heading string) (key, secret string) {
	b.t.Helper()
	b.shows("#secret-heading", heading)
	key, secret = b.text("#secret-key"), b.text("#secret-secret")
	require.Regexp(b.t, `^ak_live_\w{26}$`, key)
	require.Regexp(b.t, `^as_live_\w{69}$`, secret)
	b.click("#secret button[value=no]")
	b.until(`!document.getElementById("secret").open && document.getElementById("secret-secret").textContent === ""`)
	b.requireNowhere(secret)
	return key, secret
}

// requireNowhere fails the test if the text is anywhere in the page or its storage.
func (b *tab) requireNowhere(secret string) {
	b.t.Helper()
	everything := eval[string](b, `document.documentElement.outerHTML + JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie +
		location.href + JSON.stringify(history.state) + [...document.querySelectorAll("input")].map((input) => input.value).join()`)
	require.NotContains(b.t, everything, secret)
}

// pressOn presses the button of the list item with this heading.
func (b *tab) pressOn(list, heading, button string) {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%s)].find((li) => li.querySelector("h3").innerText === %s)
		?.querySelectorAll("button")`, quote(list+" > li"), quote(heading))
	name := fmt.Sprintf(`[...(%s ?? [])].find((button) => button.firstChild.data === %s)`, find,
		quote(button))
	b.until(fmt.Sprintf(`!document.body.classList.contains("busy") && Boolean(%s)`, name))
	eval[bool](b, fmt.Sprintf("(%s).click() ?? true", name))
}

func (b *tab) card(list, heading string) string {
	b.t.Helper()
	return eval[string](b,
		fmt.Sprintf(`[...document.querySelectorAll(%s)].find((li) => li.querySelector("h3").innerText === %s)?.innerText ?? ""`,
			quote(list+" > li"), quote(heading)))
}

func TestPageMakesALimitedKey(t *testing.T) {
	q, b := startSignedIn(t)
	require.Contains(t, b.card("#key-list", b.text("#key-list h3")), "everything")
	b.fill("#new-key-label", "dashboard")
	b.set("#new-key-scopes", "notes:read")
	b.click("#new-key button")
	key, secret := b.takeSecret("The new key")
	require.Contains(t, b.card("#key-list", "dashboard"), "notes:read")
	token, status := q.login(t, key, secret, "test")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, http.StatusOK, q.statusOf(t, token, "/api/v1/your-protected-endpoint"))
	require.Equal(t, http.StatusForbidden, q.statusOf(t, token, "/auth/keys"))
}

func TestKeyLifecycleOnThePage(t *testing.T) {
	q, b := startSignedIn(t)
	b.fill("#new-key-label", hostile)
	b.click("#new-key button")
	b.shows("#secret-heading", "The new key")
	b.click("#copy-secret")
	b.until(`/^The access secret is copied|^The browser does not allow it/.test(document.getElementById("copied").textContent)`)
	key, secret := b.takeSecret("The new key")
	b.focused("#keys-heading")
	q.requireLogin(t, key, secret, http.StatusOK)
	require.Contains(t, b.card("#key-list", hostile), key)
	require.Contains(t, b.card("#key-list", hostile), "Active")
	require.Empty(t, eval[string](b, `document.getElementById("new-key-label").value`))

	b.pressOn("#key-list", hostile, "New secret")
	b.shows("#rotate-heading", "New secret for "+hostile)
	b.do(chromedp.SetAttributeValue(chromedp.CSS("#overlap option[value='3600']"), "selected", ""))
	b.click("#rotate button[value=yes]")
	same, second := b.takeSecret("The new secret")
	require.Equal(t, key, same)
	q.requireLogin(t, key, secret, http.StatusOK)
	q.requireLogin(t, key, second, http.StatusOK)

	b.pressOn("#key-list", hostile, "Revoke")
	b.shows("#confirm-heading", "Revoke this key?")
	b.press(kb.Escape)
	b.until(`!document.getElementById("confirm").open`)
	q.requireLogin(t, key, second, http.StatusOK)

	b.pressOn("#key-list", hostile, "Revoke")
	b.shows("#confirm-heading", "Revoke this key?")
	b.focused("#confirm button[value=no]") // the button No has the focus
	b.press(kb.Tab)
	b.focused("#confirm-yes")
	b.press(kb.Enter)
	b.shows("#status", "The key is revoked.")
	b.focused("#keys-heading")
	q.requireLogin(t, key, second, http.StatusUnauthorized)
	require.Empty(t, b.card("#key-list", hostile))
}

func TestLeavingThePageRemovesTheSecret(t *testing.T) {
	q, b := startSignedIn(t)
	b.click("#new-key button")
	b.shows("#secret-heading", "The new key")
	secret := b.text("#secret-secret")
	b.do(chromedp.Navigate(q.url + "/api/v1/healthcheck"))
	eval[bool](b, "history.back() ?? true")
	b.shows("#signed-out h2", "Sign in")
	b.requireNowhere(secret)
	require.False(t, eval[bool](b, `document.getElementById("secret").open`))
}

func TestPageRevokesASession(t *testing.T) {
	q, b := start(t)
	token, status := q.login(t, q.key, q.secret, hostile)
	require.Equal(t, http.StatusOK, status)
	b.open(q)
	b.signInWithKey(q)
	require.Contains(t, b.card("#session-list", hostile), "127.0.0.1")
	require.Contains(t, b.text("#session-list"), "(this one)")
	require.Equal(t, http.StatusOK, q.statusOf(t, token, "/auth/user"))
	b.pressOn("#session-list", hostile, "End")
	b.shows("#confirm-text", hostile+" is signed out.")
	b.click("#confirm-yes")
	b.shows("#status", "The session has ended.")
	b.focused("#sessions-heading")
	require.Equal(t, http.StatusUnauthorized, q.statusOf(t, token, "/auth/user"))
	require.Empty(t, b.card("#session-list", hostile))
	require.Equal(t, 1, eval[int](b, `document.querySelectorAll("#session-list > li").length`))
}

func TestSuperUserManagesUsersOnThePage(t *testing.T) {
	q, b := startSignedIn(t)
	b.fill("#new-username", "grace")
	b.fill("#new-email", "grace@example.com")
	b.click("#new-user button")
	key, secret := b.takeSecret("grace is registered")
	q.requireLogin(t, key, secret, http.StatusOK)

	asks := map[string]bool{"Disable": true, "Make a plain user": true, "End sessions": true}
	said := func(button, want string) {
		t.Helper()
		b.pressOn("#user-list", "grace", button)
		if asks[button] {
			b.shows("#confirm-yes", button)
			b.click("#confirm-yes")
		}
		b.shows("#status", want)
		b.focused("#users-heading")
	}
	said("Disable", "grace is disabled.")
	q.requireLogin(t, key, secret, http.StatusUnauthorized)
	require.Contains(t, b.card("#user-list", "grace"), "Disabled")
	said("Enable", "grace is enabled.")
	q.requireLogin(t, key, secret, http.StatusOK)
	said("Make a super user", "grace is a super user.")
	require.Contains(t, b.card("#user-list", "grace"), "Super user")
	said("Make a plain user", "grace is no super user any more.")
	token, _ := q.login(t, key, secret, "test")
	said("End sessions", "The sessions of grace have ended.")
	require.Equal(t, http.StatusUnauthorized, q.statusOf(t, token, "/auth/user"))

	b.pressOn("#user-list", "grace", "New credentials")
	b.shows("#confirm-heading", "New credentials for grace?")
	b.click("#confirm-yes")
	next, nextSecret := b.takeSecret("grace is given new credentials")
	q.requireLogin(t, key, secret, http.StatusUnauthorized)
	q.requireLogin(t, next, nextSecret, http.StatusOK)

	said("Disable", "grace is disabled.")
	b.pressOn("#user-list", "grace", "Reinstate")
	b.shows("#confirm-heading", "New credentials for grace?")
	b.click("#confirm-yes")
	last, lastSecret := b.takeSecret("grace is reinstated")
	q.requireLogin(t, last, lastSecret, http.StatusOK)

	b.pressOn("#user-list", "admin", "Make a plain user")
	b.shows("#confirm-heading", "Make admin a plain user?")
	b.click("#confirm-yes")
	b.shows("#alert", "The last active super user must stay: make another first")
	require.Contains(t, b.card("#user-list", "admin"), "Super user")

	b.pressOn("#user-list", "grace", "Delete")
	b.shows("#confirm-heading", "Delete grace?")
	b.click("#confirm button[value=no]")
	b.until(`!document.getElementById("confirm").open`)
	require.NotEmpty(t, b.card("#user-list", "grace"))
	b.pressOn("#user-list", "grace", "Delete")
	b.shows("#confirm-heading", "Delete grace?")
	b.click("#confirm-yes")
	b.shows("#status", "grace is deleted.")
	require.Empty(t, b.card("#user-list", "grace"))
	q.requireLogin(t, last, lastSecret, http.StatusUnauthorized)
}

// Users who replace their own credentials are signed out and can sign in only with the new
// credentials. So the page must show the new credentials before the sign-out.
func TestOwnNewCredentialsAreShownBeforeSignOut(t *testing.T) {
	q, b := startSignedIn(t)
	b.pressOn("#user-list", "admin", "New credentials")
	b.shows("#confirm-heading", "New credentials for admin?")
	b.click("#confirm-yes")
	key, secret := b.takeSecret("admin is given new credentials")
	b.shows("#alert", "You have been signed out. Sign in again.")
	b.shows("#signed-out h2", "Sign in")
	q.requireLogin(t, q.key, q.secret, http.StatusUnauthorized)
	q.requireLogin(t, key, secret, http.StatusOK)
}

func TestSecretIsShownAlthoughTheListFails(t *testing.T) {
	q, b := startSignedIn(t)
	eval[chromedp.Void](b, `void ((real) => { window.fetch = (path, options) => options.method === "GET"
		? Promise.reject(new TypeError("Failed to fetch")) : real(path, options); })(window.fetch)`)
	b.click("#new-key button")
	key, secret := b.takeSecret("The new key")
	b.shows("#alert", "The service does not answer. Try again later.")
	q.requireLogin(t, key, secret, http.StatusOK)
}

// The user leaves the page while it waits for a response with a secret, and then returns with the
// Back button. The response must not appear in the page.
func TestSecretDoesNotAppearAfterThePageWasLeft(t *testing.T) {
	q, b := start(t)
	b.open(q)
	b.signInWithGitHub(octocat, "octocat") // with a cookie, so that the user stays signed in
	eval[chromedp.Void](b, `void ((real) => { window.fetch = async (path, options) => {
		if (options.method === "POST") await new Promise((resolve) => addEventListener("pageshow", resolve, {once: true}));
		return real(path, options);
	}; })(window.fetch)`)
	b.click("#new-key button")
	b.until(`document.body.classList.contains("busy")`)
	b.do(chromedp.Navigate(q.url + "/?error=denied"))
	eval[chromedp.Void](b, "history.back()")
	b.until(`!fetch.toString().includes("native code") && !document.body.classList.contains("busy")`)
	require.False(t, eval[bool](b, `document.getElementById("secret").open`))
	require.Empty(t, eval[string](b, `document.getElementById("secret-secret").textContent`))
}

func TestDemotedSuperUserSeesNoUsers(t *testing.T) {
	_, b := startSignedIn(t)
	b.fill("#new-username", "grace")
	b.fill("#new-email", "grace@example.com")
	b.click("#new-super")
	b.click("#new-user button")
	b.takeSecret("grace is registered")
	b.pressOn("#user-list", "admin", "Make a plain user")
	b.click("#confirm-yes")
	b.shows("#status", "admin is no super user any more.")
	b.shows("#role", "User")
	b.focused("#signed-in-heading")
	require.False(t, eval[bool](b, `document.getElementById("users").checkVisibility()`))
}

func TestUsersAreListedPageByPage(t *testing.T) {
	q, b := start(t)
	token, _ := q.login(t, q.key, q.secret, "test")
	for i := range 25 {
		body := fmt.Sprintf(`{"username":"user-%d","email":"user-%[1]d@example.com"}`, i)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			q.url+"/auth/users/register", bytes.NewBufferString(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	b.open(q)
	b.signInWithKey(q)
	require.Equal(t, 20, eval[int](b, `document.querySelectorAll("#user-list > li").length`))
	b.click("#more-users")
	b.until(`document.querySelectorAll("#user-list > li").length === 26`)
	b.focused("#user-list > li:nth-child(21) button")
	require.False(t, eval[bool](b, `document.getElementById("more-users").checkVisibility()`))
}

func TestPlainUserSeesNoUsers(t *testing.T) {
	q, b := start(t)
	b.open(q)
	b.signInWithGitHub(octocat, "octocat")
	require.True(t, eval[bool](b, `document.getElementById("keys").checkVisibility()`))
	require.False(t, eval[bool](b, `document.getElementById("users").checkVisibility()`))
	require.Equal(t, 0, eval[int](b, `document.querySelectorAll("#user-list > li").length`))
	b.click("#new-key button") // authenticated by the cookie
	b.takeSecret("The new key")

	b.signOut()
	require.Equal(t, 0, eval[int](b, `document.querySelectorAll(".cards > li").length`),
		"nothing of the account may stay in the page")
	b.signInWithKey(q)
	b.until(`document.getElementById("users").checkVisibility()`)
}

// Each control has a name that describes its purpose, and no view is wider than a small phone.
func TestAccountPageFitsAPhoneAndLabelsItsControls(t *testing.T) {
	_, b := startSignedIn(t)
	b.fill("#new-key-label",
		"a label that is longer than any telephone is wide, "+
			"and-has-a-word-in-it-that-cannot-be-broken-anywhere-at-all")
	b.click("#new-key button")
	b.shows("#secret-heading", "The new key")
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 390, 1280} {
			b.look(width, scheme)
			b.screenshot(fmt.Sprintf("secret-%d-%s", width, scheme))
			require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"),
				eval[int](b, "document.documentElement.clientWidth"))
			require.LessOrEqual(t, eval[int](b, `document.getElementById("secret").scrollWidth`),
				eval[int](b, `document.getElementById("secret").clientWidth`))
		}
	}
	b.takeSecret("The new key")
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 390, 1280} {
			b.look(width, scheme)
			b.screenshot(fmt.Sprintf("account-%d-%s", width, scheme))
			require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"),
				eval[int](b, "document.documentElement.clientWidth"))
		}
	}
	unnamed := eval[string](b, `[...document.querySelectorAll("button, input, select, a")].filter((control) => control.checkVisibility() &&
		!control.innerText.trim() && !control.textContent.trim() && !control.labels?.length && !control.ariaLabel).map((control) => control.outerHTML).join()`)
	require.Empty(t, unnamed)
	names := eval[[]string](b,
		`[...document.querySelectorAll(".cards button")].map((button) => button.textContent)`)
	for _, name := range names {
		require.Regexp(t, `\w+ \w+`, name, "the name of a button must say on what it acts")
	}
}
