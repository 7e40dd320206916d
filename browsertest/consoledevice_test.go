package browsertest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth/console"
	"github.com/stretchr/testify/require"
)

// device is a program that waits for its approval.
type device struct {
	h                                  *host
	DeviceCode, UserCode, Verification string
}

// postForm sends a form to the service and returns the status and the fields of the answer.
func (h *host) postForm(t *testing.T, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	response, err := http.PostForm(strings.TrimSuffix(h.url, "/console")+path, form)
	require.NoError(t, err)
	defer response.Body.Close()
	var fields map[string]any
	require.NoError(t, json.NewDecoder(response.Body).Decode(&fields))
	return response.StatusCode, fields
}

// startDevice asks for the codes of a program.
func (h *host) startDevice(t *testing.T) device {
	t.Helper()
	status, fields := h.postForm(t, "/auth/device", url.Values{"client_id": {"cli"}})
	require.Equal(t, 200, status)
	return device{h, fields["device_code"].(string), fields["user_code"].(string),
		fields["verification_uri_complete"].(string)}
}

// poll returns the error of the program's request for its token, or "".
func (d device) poll(t *testing.T) string {
	t.Helper()
	_, fields := d.h.postForm(t, "/auth/token", url.Values{"client_id": {"cli"},
		"device_code": {d.DeviceCode}, "grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}})
	problem, _ := fields["error"].(string)
	return problem
}

func TestAPersonApprovesADevice(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		b := newTab(t)
		b.signIn(h, h.pair, "/device")
		b.shows("h1", "Sign in on a device")
		b.enter("#user-code", "bcdf ghjk")
		b.use("#code-form .primary")
		b.refused("#user-code", "This code is wrong, has expired or was used. Check it, or start again on "+
			"the device.")

		approved, denied := h.startDevice(t), h.startDevice(t)
		b.openPage(h, "/device")
		b.enter("#user-code", strings.ToLower(strings.ReplaceAll(approved.UserCode, "-", " ")))
		b.use("#code-form .primary")
		b.shows("#device h2", "Let Notes for the terminal sign in as you?")
		b.focused("#device h2")
		shown := b.text("#device")
		for _, want := range []string{approved.UserCode, "notes:read", "127.0.0.1", "Go-http-client",
			"another person has sent you"} {
			require.Contains(t, shown, want)
		}
		require.Equal(t, "authorization_pending", approved.poll(t))
		b.use("#device .buttons .primary")
		b.shows("#device h2", "Approved")
		b.focused("#device h2")
		require.Empty(t, approved.poll(t))

		// The link has the code, but the person still decides.
		b.do(chromedp.Navigate(denied.Verification))
		b.settled()
		require.Equal(t, denied.UserCode, eval[string](b, `document.querySelector("#user-code").value`))
		require.Equal(t, "authorization_pending", denied.poll(t))
		b.use("#code-form .primary")
		b.shows("#device h2", "Let Notes for the terminal sign in as you?")
		b.use("#device .buttons .danger")
		b.shows("#device h2", "Denied")
		require.Equal(t, "access_denied", denied.poll(t))
		require.Equal(t, "/console/device", b.path(), "the code does not stay in the URL")

		b.use(`.nav a[href$="/sessions"]`)
		b.shows("h1", "Sessions")
		b.settled()
		require.Contains(t, b.text(b.row("Go-http-client", "td:nth-child(2)")), "Browser, for a device")
	})
}

// The attack: a link to the page shows a text of the attacker, or approves by itself.
func TestALinkToThePageOfADeviceDecidesNothing(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	b := newBrowser(t)
	b.signIn(h, h.pair, "/device")
	waiting := h.startDevice(t)
	for _, query := range []string{
		"?user_code=" + url.QueryEscape("Call 555-0100 now"), "?user_code=%3Cscript%3Ealert(1)%3C/script%3E",
		"?user_code=" + strings.Repeat("B", 500),
	} {
		b.openPage(h, "/device"+query)
		require.Empty(t, eval[string](b, `document.querySelector("#user-code").value`))
	}
	b.openPage(h, "/device?user_code="+waiting.UserCode+"&approve=yes")
	require.Equal(t, "authorization_pending", waiting.poll(t))
}

// Anybody can start a device with any User-Agent, and a person then looks at it.
func TestTheHostileUserAgentOfADeviceIsAText(t *testing.T) {
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	b := newBrowser(t)
	b.look(320, "light")
	b.signIn(h, h.pair, "/")
	for _, agent := range []string{hostile, strings.Repeat("<b>W", 200), "Mozilla/5.0 Chrome/1 <img src=x>"} {
		r, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(h.url, "/console")+"/auth/device",
			strings.NewReader("client_id=cli"))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("User-Agent", agent)
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer response.Body.Close()
		var codes struct {
			Code string `json:"user_code"`
		}
		require.NoError(t, json.NewDecoder(response.Body).Decode(&codes))
		b.openPage(h, "/device?user_code="+codes.Code)
		b.use("#code-form .primary")
		b.shows("#device h2", "Let Notes for the terminal sign in as you?")
		b.unharmed()
		b.fitsWindow()
		b.use("#device .buttons .primary")
		b.shows("#device h2", "Approved")
	}
	for _, path := range []string{"/sessions", "/events", "/users/" + h.admin.ID} {
		b.openPage(h, path)
		b.unharmed()
		b.fitsWindow()
	}
}

// A person who signed in too long ago signs in again, and the code stays.
func TestAPersonSignsInAgainToApproveADevice(t *testing.T) {
	hands(t, func(t *testing.T, newTab func(t *testing.T) *tab) {
		h := startHost(t, "admin", console.Config{Name: "Notes"})
		b := newTab(t)
		waiting := h.startDevice(t)
		b.openPage(h, "/device?user_code="+waiting.UserCode)
		typeKey := func() {
			b.shows("h1", "Sign in")
			b.enter("#access-key", h.pair.AccessKey)
			b.enter("#access-secret", h.pair.AccessSecret.Reveal())
			b.use("#key-form button")
			b.until(`document.body.dataset.page !== "signin"`)
			b.settled()
		}
		typeKey()
		require.Equal(t, "/console/device?user_code="+waiting.UserCode, b.path())
		h.ahead.Store(int64(11 * 60))
		late := h.startDevice(t)
		b.openPage(h, "/device?user_code="+late.UserCode)
		b.use("#code-form .primary")
		b.shows("#code-form [role=alert]", "This needs a newer session: sign in again first")
		signInAgain := func() {
			b.use("#again")
			typeKey()
			require.Equal(t, late.UserCode, eval[string](b, `document.querySelector("#user-code").value`))
			b.use("#code-form .primary")
			b.shows("#device h2", "Let Notes for the terminal sign in as you?")
		}
		signInAgain()

		// The session becomes too old while the person reads about the device.
		h.ahead.Store(int64(20 * 60))
		late = h.startDevice(t)
		b.openPage(h, "/device")
		b.enter("#user-code", late.UserCode)
		b.use("#code-form .primary")
		b.shows("#device h2", "Let Notes for the terminal sign in as you?")
		h.ahead.Store(int64(22 * 60))
		b.use("#device .buttons .primary")
		b.shows("#alert", "This needs a newer session: sign in again first")
		signInAgain()
		b.use("#device .buttons .primary")
		b.shows("#device h2", "Approved")
		require.Empty(t, late.poll(t))
	})
}

func TestThePageOfADeviceFitsAndCanBeUsedByEveryone(t *testing.T) {
	needAxe(t)
	h := startHost(t, "admin", console.Config{Name: "Notes"})
	for view, open := range map[string]func(b *tab){
		"device": func(b *tab) { b.openPage(h, "/device") },
		"device-found": func(b *tab) {
			b.openPage(h, "/device?user_code="+h.startDevice(b.t).UserCode)
			b.click("#code-form .primary")
			b.until(`!!document.querySelector("#device h2")`)
		},
	} {
		t.Run(view, func(t *testing.T) {
			b := newBrowser(t)
			b.signIn(h, h.pair, "/")
			b.fits(view, open)
		})
	}
}
