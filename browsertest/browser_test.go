package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// testTimeout is the time limit of a test. A test usually takes seconds, but a busy machine may
// need more.
const testTimeout = 2 * time.Minute

// tempDir is the directory in which the quickstart is built.
var tempDir string

func TestMain(m *testing.M) {
	var err error
	if tempDir, err = os.MkdirTemp("", "browsertest"); err != nil {
		panic(err)
	}
	code := m.Run()
	stopChromium()
	os.RemoveAll(tempDir)
	os.Exit(code)
}

var stopChromium = func() {}

// chromium starts one browser for all tests. Each test has its own profile in this browser.
var chromium = sync.OnceValues(func() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	ctx, stopAllocator := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.Headless,
		chromedp.NoSandbox, // the sandbox does not work in containers
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-sync", true),
		// The names of all sites in the tests resolve to this machine.
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors", true),
	)
	ctx, stopBrowser := chromedp.NewContext(ctx)
	stopChromium = func() { stopBrowser(); stopAllocator() }
	return ctx, chromedp.Do(ctx)
})

// tab is a tab of the browser. The test fails if the tab's console reports an error.
type tab struct {
	t        *testing.T
	ctx      context.Context
	tolerant bool // for an attacker's page: the console may report refused requests
	keyboard bool // whether use presses keys instead of clicking

	mu     *sync.Mutex
	allows map[string]bool // the errors of documents that the console may report
}

// expects lets the next documents of the tab answer with the error.
func (b *tab) expects(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allows[text] = true
}

func needChromium(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		testenv.Skip(t, "chromium is not installed")
	}
}

// newBrowser returns a tab with a new profile.
func newBrowser(t *testing.T) *tab {
	t.Helper()
	browser, err := chromium()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(browser, testTimeout)
	t.Cleanup(cancel)
	return newTab(t, ctx, chromedp.WithNewBrowserContext())
}

// another returns a second tab with the same profile.
func (b *tab) another() *tab {
	b.t.Helper()
	return newTab(b.t, b.ctx)
}

func newTab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	var mu sync.Mutex
	var mistakes []string
	allows := map[string]bool{}
	options = append(options, chromedp.WithListener(func(event any) {
		mu.Lock()
		defer mu.Unlock()
		entry, ok := event.(*log.EventEntryAdded)
		if ok && allows[entry.Entry.Text] && strings.HasPrefix(pathOf(entry.Entry.URL), "/console/") {
			return
		}
		if mistake := mistakeOf(event); mistake != "" {
			mistakes = append(mistakes, mistake)
		}
	}))
	ctx, closeTab := chromedp.NewContext(parent, options...)
	b := &tab{t: t, ctx: ctx, mu: &mu, allows: allows}
	t.Cleanup(func() {
		// The result of this evaluation arrives after all earlier events.
		eval[bool](b, "true")
		closeTab()
		mu.Lock()
		defer mu.Unlock()
		if !b.tolerant {
			require.Empty(t, mistakes)
		}
	})
	require.NoError(t, chromedp.Do(ctx))
	return b
}

// expected maps paths to errors that the console reports although the page works. The reason for
// these errors is that no user is signed in, that GitHub is not connected, or that the service has
// refused what the user has typed.
var expected = map[string][]string{
	"/auth/users":                {unauthorized},
	"/auth/user":                 {unauthorized},
	"/auth/users/login":          {unauthorized},
	"/auth/browser/login":        {unauthorized},
	"/auth/users/register":       {conflict, unprocessable},
	"/auth/keys":                 {unprocessable},
	"/auth/device/lookup":        {notFound, forbidden},
	"/auth/device/approve":       {forbidden},
	"/api/v1/auth/github/logout": {unauthorized},
	"/api/v1/auth/github/token":  {notFound},
	// The browser requests this icon if a document names none.
	"/favicon.ico": {notFound},
}

const (
	failed        = "Failed to load resource: the server responded with a status of "
	unauthorized  = failed + "401 (Unauthorized)"
	forbidden     = failed + "403 (Forbidden)"
	notFound      = failed + "404 (Not Found)"
	conflict      = failed + "409 (Conflict)"
	unprocessable = failed + "422 (Unprocessable Entity)"
)

// mistakeOf returns the error of the page that the event reports, or "".
func mistakeOf(event any) string {
	switch event := event.(type) {
	case *runtime.EventConsoleAPICalled:
		return fmt.Sprintf("console.%s was called", event.Type)
	case *runtime.EventExceptionThrown:
		return "exception: " + event.ExceptionDetails.Text
	case *log.EventEntryAdded:
		entry := event.Entry
		at, err := url.Parse(entry.URL)
		// The path of the last super user contains the ID of the user.
		// So does the path of an unknown user. The path of a key that cannot be rotated yet contains the key.
		if err == nil && (slices.Contains(expected[at.Path], entry.Text) ||
			entry.Text == notFound && strings.HasPrefix(at.Path, "/auth/users/") ||
			entry.Text == conflict && (strings.HasPrefix(at.Path, "/auth/users/") ||
				strings.HasPrefix(at.Path, "/auth/keys/"))) {
			return ""
		}
		return fmt.Sprintf("%s: %s (%s)", entry.Source, entry.Text, entry.URL)
	}
	return ""
}

func pathOf(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return at.Path
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// eval returns the value of a JavaScript expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return value
}

// until waits until a JavaScript expression is true. The page may change while until waits. It waits for
// 30 seconds at most, and then says what the page shows.
func (b *tab) until(expression string) {
	b.t.Helper()
	late := time.After(30 * time.Second)
	for {
		// An error means that the browser is loading another page.
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		if err == nil && is {
			return
		}
		select {
		case <-late:
			page, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.pathname + "\n" +
				document.activeElement?.outerHTML.slice(0, 300) + "\n" + document.body.innerText`))
			require.Fail(b.t, "this never became true: "+expression, "error: %v\n%s", err, page)
		case <-b.ctx.Done():
			require.Fail(b.t, "this never became true: "+expression, "%v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// shows waits until the element shows exactly this text.
func (b *tab) shows(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.querySelector(%s)?.checkVisibility() && "+
		"document.querySelector(%[1]s).innerText.trim() === %s",
		quote(selector), quote(text)))
}

// focused waits until the element has the focus.
func (b *tab) focused(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.activeElement?.matches(%s) ?? false", quote(selector)))
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// cookies returns the cookies of the profile, keyed by name.
func (b *tab) cookies() map[string]*network.Cookie {
	b.t.Helper()
	id := chromedp.FromContext(b.ctx).BrowserContextID
	result, err := chromedp.CallBrowser(b.ctx, storage.GetCookies,
		storage.GetCookiesParams{BrowserContextID: id})
	require.NoError(b.t, err)
	cookies := map[string]*network.Cookie{}
	for _, cookie := range result.Cookies {
		cookies[cookie.Name] = cookie
	}
	return cookies
}

// look sets the width of the window and the preferred color scheme.
func (b *tab) look(width int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 800))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(b.t, err)
}

// quote returns the text as a JavaScript string.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil { // impossible for a string
		panic(err)
	}
	return string(quoted)
}
