package recipes_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-go/auth/internal/testenv"
	spaauth "github.com/sallyport-go/auth/recipes/spa"
	"github.com/stretchr/testify/require"
)

// steps are the actions of a person on a page with the code of the documentation. Each line of the report is
// the result of one step.
const steps = `
let shown = 0;
function showSignIn() { shown++; }
async function run() {
  const report = [];
  const say = (...words) => report.push(words.join(" "));
  try {
    const early = await call("/reports");
    say("without a token:", early.status, early.headers.get("WWW-Authenticate"), shown);
    say("wrong secret:", await signIn(KEY, "wrong"));
    say("signed in:", await signIn(KEY, SECRET) === "", token !== null);
    say("route:", await (await call("/reports")).text());
    const made = await call("/auth/keys", {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ label: "page", scopes: ["reports:write"] }),
    });
    const key = await made.json();
    say("made a key:", made.status);
    const session = token;
    say("limited:", await signIn(key.access_key, key.access_secret) === "");
    const limited = await call("/reports");
    say("scope:", limited.status, limited.headers.get("WWW-Authenticate"));
    token = session;
    say("deleted:", (await call("/auth/keys/" + key.access_key, { method: "DELETE" })).status);
    say("patched:", (await call("/auth/users/x", { method: "PATCH" })).status);
    await fetch(api + "/reports", { credentials: "include" }).then(
      () => say("cookies: sent"), () => say("cookies: refused by the browser"));
    await signOut();
    token = session;
    say("after the sign-out:", (await call("/reports")).status, shown, token);
    let last = "";
    for (let i = 0; i < 30 && !last.includes("seconds"); i++) last = await signIn(KEY + "x", "wrong");
    say("too often:", last);
  } catch (e) {
    say("failed:", e.name);
  }
  await fetch("/report", { method: "POST", body: report.join("\n") });
}
run();
`

// reportOf opens a page with the code and the steps in a browser, and returns the report of the page.
func reportOf(t *testing.T, page *httptest.Server, script string) string {
	t.Helper()
	report := make(chan string, 1)
	page.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, "<!DOCTYPE html><script>%s</script>", script)
		case "/report":
			text, _ := io.ReadAll(r.Body)
			report <- string(text)
		default:
			http.NotFound(w, r)
		}
	})
	page.Start()
	profile, err := os.MkdirTemp("", "spa")
	require.NoError(t, err)
	browser := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
		"--disable-sync", "--remote-debugging-port=0", "--user-data-dir="+profile, page.URL)
	browser.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that all its processes end
	require.NoError(t, browser.Start())
	t.Cleanup(func() {
		syscall.Kill(-browser.Process.Pid, syscall.SIGKILL)
		browser.Wait()
		os.RemoveAll(profile)
	})
	select {
	case text := <-report:
		return text
	case <-time.After(time.Minute):
		require.Fail(t, "the page has sent no report")
		return ""
	}
}

// TestTheCodeOfTheSinglePageApplicationWorksInABrowser runs the block of docs/single-page-apps.md that is
// marked with "run: single-page-apps".
func TestTheCodeOfTheSinglePageApplicationWorksInABrowser(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("chromium"); err != nil {
		testenv.Skip(t, "chromium is not installed")
	}
	text, err := os.ReadFile("../docs/single-page-apps.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)<!-- run: single-page-apps -->\n```js\n(.*?)```").FindSubmatch(text)
	require.NotNil(t, block)

	f := newFixture(t)
	pages, stranger := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	t.Cleanup(pages.Close)
	t.Cleanup(stranger.Close)
	api := httptest.NewServer(spaauth.New(f.svc, "http://"+pages.Listener.Addr().String()))
	t.Cleanup(api.Close)
	code := strings.Replace(string(block[1]), "https://api.example.com", api.URL, 1)
	require.NotEqual(t, string(block[1]), code)
	script := fmt.Sprintf("const KEY = %q, SECRET = %q;\n", f.alicePair.AccessKey,
		f.alicePair.AccessSecret.Reveal()) + code + steps

	report := reportOf(t, pages, script)
	want := []string{
		`without a token: 401 Bearer error="invalid_token", scope="reports:read" 1`,
		"wrong secret: Invalid access key or secret",
		"signed in: true true",
		"route: the reports of alice",
		"made a key: 201",
		"limited: true",
		`scope: 403 Bearer error="insufficient_scope", scope="reports:read"`,
		"deleted: 204",
		"patched: 404", // the recipe has no such call, but the preflight request has passed
		"cookies: refused by the browser",
		"after the sign-out: 401 2 ",
	}
	lines := strings.Split(report, "\n")
	require.Len(t, lines, len(want)+1, report)
	require.Equal(t, want, lines[:len(want)])
	require.Regexp(t, `^too often: Too many attempts: try again later \(in [1-9][0-9]* seconds\)$`,
		lines[len(want)])

	require.Equal(t, "failed: TypeError", reportOf(t, stranger, script), "another origin reads nothing")
}
