package console_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// host is a host with the console at /console.
type host struct {
	svc   *auth.Service
	mux   *http.ServeMux
	admin auth.User
	pair  auth.KeyPair
}

func newConfig(t *testing.T) auth.Config {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	signing, err := auth.NewHS256Key("k", secret)
	require.NoError(t, err)
	sealing, err := auth.NewSymmetricKey("s", secret)
	require.NoError(t, err)
	return auth.Config{
		Issuer: "https://example.com", PublicURL: "https://example.com", Proxies: auth.NoProxies(),
		SigningKeys: []auth.SigningKey{signing}, SealingKeys: []auth.SymmetricKey{sealing},
		Tokens:          auth.TokenConfig{Scopes: []string{"notes:read"}},
		BrowserSessions: &auth.BrowserSessions{LandingPath: "/console/"},
		Logger:          slog.New(slog.DiscardHandler),
	}
}

func newHost(t *testing.T, cfg console.Config, edit ...func(*auth.Config)) *host {
	t.Helper()
	config := newConfig(t)
	for _, e := range edit {
		e(&config)
	}
	svc, err := auth.New(memstore.New(), config)
	require.NoError(t, err)
	h := &host{svc: svc, mux: http.NewServeMux(), pair: svc.Credentials().GeneratePair()}
	h.admin, err = svc.Bootstrap(t.Context(), auth.UserParams{Username: "admin"}, h.pair)
	require.NoError(t, err)
	cfg.Path = "/console"
	pages, err := console.Handler(svc, cfg)
	require.NoError(t, err)
	svc.Mount(h.mux)
	svc.Mount(h.mux, auth.GroupBrowser)
	h.mux.Handle("/console/", pages)
	return h
}

// newGitHubHost returns a host with GitHub and devices, but without users.
func newGitHubHost(t *testing.T) *host {
	t.Helper()
	cfg := newConfig(t)
	cfg.GitHub = &auth.GitHubConfig{ClientID: "Iv1.x", ClientSecret: auth.NewSecret("secret"),
		CallbackURL: "https://example.com/api/v1/auth/github/callback"}
	svc, err := auth.New(memstore.New(), cfg)
	require.NoError(t, err)
	pages, err := console.Handler(svc, console.Config{Path: "/console", Devices: true})
	require.NoError(t, err)
	h := &host{svc: svc, mux: http.NewServeMux()}
	svc.Mount(h.mux)
	h.mux.Handle("/console/", pages)
	return h
}

// signIn returns the session cookie of a user.
func (h *host) signIn(t *testing.T, pair auth.KeyPair) *http.Cookie {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://example.com/auth/browser/login", strings.NewReader(
		`{"access_key": "`+pair.AccessKey+`", "access_secret": "`+pair.AccessSecret.Reveal()+`"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	require.Equal(t, http.StatusNoContent, w.Code, w.Body)
	return w.Result().Cookies()[0]
}

// get requests a path below /console.
func (h *host) get(path string, cookies ...*http.Cookie) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "https://example.com/console"+path, nil)
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, response *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}

func (h *host) register(t *testing.T, user auth.UserParams) auth.Registration {
	t.Helper()
	added, err := h.svc.Register(t.Context(), auth.ByHost("test"), user)
	require.NoError(t, err)
	return added
}

var paths = []string{"/", "/keys", "/sessions", "/users", "/users/x", "/events"}

func TestEachPageIsTheSignInPageForAStranger(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{Name: "Example"})
	for name, cookies := range map[string][]*http.Cookie{
		"no cookie":    nil,
		"a bad cookie": {{Name: "__Host-auth_session", Value: "x"}},
	} {
		for _, path := range paths {
			response := h.get(path, cookies...)
			require.Equal(t, http.StatusOK, response.StatusCode, name)
			html := body(t, response)
			require.Contains(t, html, "<title>Sign in · Example</title>", name)
			require.NotContains(t, html, "data-user")
			require.NotContains(t, html, "/console/users", "a stranger must not learn which pages there are")
		}
	}
}

func TestEachPageHasItsOwnTitleAndIsMarkedInTheNavigation(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	cookie := h.signIn(t, h.pair)
	for path, title := range map[string]string{
		"/": "Account", "/keys": "Access keys", "/sessions": "Sessions", "/users": "Users", "/users/x": "User", "/events": "Audit trail",
	} {
		response := h.get(path, cookie)
		require.Equal(t, http.StatusOK, response.StatusCode)
		html := body(t, response)
		require.Contains(t, html, "<title>"+title+" · Console</title>")
		require.Equal(t, 1, strings.Count(html, "aria-current="), path)
		require.Equal(t, 1, strings.Count(html, "<h1"), path)
	}
}

func TestAPlainUserDoesNotSeeTheUsers(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	alice := h.register(t, auth.UserParams{Username: "alice"})
	cookie := h.signIn(t, alice.Pair)
	require.NotContains(t, body(t, h.get("/", cookie)), "/console/users")
	for _, path := range []string{"/users", "/users/" + h.admin.ID, "/events"} {
		response := h.get(path, cookie)
		require.Equal(t, http.StatusForbidden, response.StatusCode)
		html := body(t, response)
		require.Contains(t, html, "Only super users can open this page.")
		require.NotContains(t, html, h.admin.ID)
	}
}

// The power of a super user is read from the store for each page, so a demoted user loses it at once.
func TestADemotedUserDoesNotSeeTheUsers(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	other := h.register(t, auth.UserParams{Username: "other", IsSuperUser: true})
	cookie := h.signIn(t, other.Pair)
	require.Equal(t, http.StatusOK, h.get("/users", cookie).StatusCode)
	_, err := h.svc.UpdateUser(t.Context(), auth.ByHost("test"), other.User.ID,
		auth.UserChange{IsSuperUser: new(false)})
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, h.get("/users", cookie).StatusCode)
	_, err = h.svc.UpdateUser(t.Context(), auth.ByHost("test"), other.User.ID,
		auth.UserChange{IsActive: new(false)})
	require.NoError(t, err)
	require.Contains(t, body(t, h.get("/users", cookie)), "<title>Sign in")
}

func TestABearerTokenOpensNoPage(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	token, err := h.svc.SignIn(t.Context(), h.admin.ID, auth.LoginOptions{})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "https://example.com/console/", nil)
	r.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	require.Contains(t, w.Body.String(), "<title>Sign in", "the scripts have only the cookie")
}

func TestAKeyThatMustBeRotatedOpensOnlyThePageThatRotatesIt(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{})
	alice := h.register(t, auth.UserParams{Username: "alice", Key: auth.KeyOptions{MustRotate: true}})
	cookie := h.signIn(t, alice.Pair)
	for _, path := range paths {
		html := body(t, h.get(path, cookie))
		require.Contains(t, html, "<title>Replace your access secret", path)
		require.Contains(t, html, alice.Pair.AccessKey)
		require.NotContains(t, html, `href="/console/keys"`)
	}
}

// attack is a text that breaks out of HTML texts, attributes and scripts, if a page does not escape it.
const attack = `"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}`

func TestHostileTextsStayTexts(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{
		Name: attack, GitHubPurpose: attack,
		Scopes: []console.Scope{{Name: strings.ReplaceAll(attack, " ", ""), Description: attack}},
	})
	mallory := h.register(t, auth.UserParams{Username: attack, IsSuperUser: true})
	cookie := h.signIn(t, mallory.Pair)
	hostile := "/users/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E?error=%3Cscript%3E&notice=%22%3E%3Cscript%3E"
	for _, path := range append(paths, hostile) {
		for _, cookies := range [][]*http.Cookie{nil, {cookie}} {
			html := body(t, h.get(path, cookies...))
			require.NotContains(t, html, "<script>", path)
			require.NotContains(t, html, "<img src=x", path)
			require.Equal(t, 1, strings.Count(html, "<script "), path)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	svc, err := auth.New(memstore.New(), newConfig(t))
	require.NoError(t, err)
	for field, cfg := range map[string]console.Config{
		"Config.Path":            {Path: "console"},
		"Config.Path must":       {Path: "//evil.example"},
		"Config.Path must be":    {Path: "/a/../b"},
		"Config.Path must not":   {Path: "/{id}"},
		"Config.Logo":            {Logo: "https://evil.example/logo.svg"},
		"Config.Logo must":       {Logo: `/\evil.example/logo.svg`},
		"Config.Stylesheet":      {Stylesheet: "//evil.example/style.css"},
		"Config.Accent":          {Accent: "red;} body{display:none"},
		"Config.Accent must":     {Accent: "#12345"},
		"Config.Scopes[0].Name":  {Scopes: []console.Scope{{Name: "a b"}}},
		`Config.Without: "admin`: {Without: []console.Page{"admin"}},
	} {
		_, err := console.Handler(svc, cfg)
		require.ErrorContains(t, err, field)
	}
	_, err = console.Handler(nil, console.Config{})
	require.ErrorContains(t, err, "needs a Service")
	without := newConfig(t)
	without.BrowserSessions = nil
	svc, err = auth.New(memstore.New(), without)
	require.NoError(t, err)
	_, err = console.Handler(svc, console.Config{})
	require.ErrorContains(t, err, "set auth.Config.BrowserSessions")
}

func TestAPageThatIsLeftOutIsNotFound(t *testing.T) {
	t.Parallel()
	h := newHost(t, console.Config{Without: []console.Page{console.PageUsers, console.PageKeys}})
	cookie := h.signIn(t, h.pair)
	html := body(t, h.get("/", cookie))
	for path, status := range map[string]int{
		"/users": 404, "/users/x": 404, "/keys": 404, "/sessions": 200, "/events": 200,
	} {
		require.Equal(t, status, h.get(path, cookie).StatusCode, path)
		require.Equal(t, status == 200, strings.Contains(html, `href="/console`+path+`"`), path)
	}
}

// ownUsers is the users table of a host, which is never read here.
type ownUsers struct{ auth.UserSource }

func TestAHostWithItsOwnUsersHasNoPagesForUsers(t *testing.T) {
	t.Parallel()
	svc, err := auth.NewWithUsers(memstore.NewAccounts(), ownUsers{}, newConfig(t))
	require.NoError(t, err)
	pages, err := console.Handler(svc, console.Config{})
	require.NoError(t, err)
	for path, status := range map[string]int{"/": 200, "/keys": 200, "/users": 404, "/events": 404} {
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, status, w.Code, path)
	}
}

// brokenStore is a store whose users cannot be read.
type brokenStore struct{ auth.Store }

func (brokenStore) FindUser(context.Context, string) (auth.User, error) {
	return auth.User{}, errors.New("the disk is full")
}

func TestAFailingStoreIsNotASignInPage(t *testing.T) {
	t.Parallel()
	store := memstore.New()
	cfg := newConfig(t)
	working, err := auth.New(store, cfg)
	require.NoError(t, err)
	h := &host{svc: working, mux: http.NewServeMux(), pair: working.Credentials().GeneratePair()}
	_, err = working.Bootstrap(t.Context(), auth.UserParams{Username: "admin"}, h.pair)
	require.NoError(t, err)
	working.Mount(h.mux, auth.GroupBrowser)
	cookie := h.signIn(t, h.pair)

	broken, err := auth.New(brokenStore{store}, cfg)
	require.NoError(t, err)
	pages, err := console.Handler(broken, console.Config{Path: "/console"})
	require.NoError(t, err)
	h.mux.Handle("/console/", pages)
	response := h.get("/", cookie)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	html := body(t, response)
	require.NotContains(t, html, "disk")
	require.Contains(t, html, "<h1 id=\"title\">This page cannot be shown now</h1>")
	require.Contains(t, html, `href="/console/">Try again</a>`)
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
}

func TestTheAccentIsLegibleInBothColorSchemes(t *testing.T) {
	t.Parallel()
	svc, err := auth.New(memstore.New(), newConfig(t))
	require.NoError(t, err)
	color := regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)
	for _, accent := range []string{"#000000", "#ffffff", "#ffff00", "#0000ff", "#777777", "#3b5bdb",
		"#ff0000", "#00FF7f", "#1a0033"} {
		pages, err := console.Handler(svc, console.Config{Accent: accent})
		require.NoError(t, err)
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/assets/theme.css", nil))
		found := color.FindAllStringSubmatch(w.Body.String(), -1)
		require.Len(t, found, 4, w.Body)
		require.Equal(t, strings.ToLower(accent), found[0][2])
		require.GreaterOrEqual(t, contrast(t, found[0][2], found[1][2]), 4.5, "%s: a button", accent)
		require.GreaterOrEqual(t, contrast(t, found[2][2], "#f6f7f9"), 4.5, "%s: a link, light", accent)
		require.GreaterOrEqual(t, contrast(t, found[3][2], "#1e232c"), 4.5, "%s: a link, dark", accent)
	}
}

// contrast returns the contrast of two colors as WCAG 2.2 defines it.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(color string) (sum float64) {
		bytes, err := hex.DecodeString(color[1:])
		require.NoError(t, err)
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			linear := float64(bytes[i]) / 255
			if linear <= 0.04045 {
				linear /= 12.92
			} else {
				linear = math.Pow((linear+0.055)/1.055, 2.4)
			}
			sum += weight * linear
		}
		return sum
	}
	x, y := luminance(a)+0.05, luminance(b)+0.05
	return max(x/y, y/x)
}
