package browsertest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
	"github.com/stretchr/testify/require"
)

// host is a host with the console, in this process.
type host struct {
	url   string // of the console, without a slash at the end
	store *memstore.Store
	svc   *auth.Service
	admin auth.User
	pair  auth.KeyPair // of the administrator

	github   *githubtest.Server
	requests *requestLog
	held     holds
	ahead    atomic.Int64 // how far the clock of the service is ahead, in seconds
}

// requestLog has the paths of the requests since the last call of take.
type requestLog struct {
	mu    sync.Mutex
	paths []string
}

func (l *requestLog) add(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paths = append(l.paths, path)
}

func (l *requestLog) take() (paths []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	paths, l.paths = l.paths, nil
	return paths
}

// startHost starts a host whose administrator has the username and one access key. The functions change the
// configuration of the service.
func startHost(t *testing.T, username string, cfg console.Config, edit ...func(*auth.Config)) *host {
	t.Helper()
	needChromium(t)
	h := &host{}
	mux := http.NewServeMux()
	var log requestLog
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.add(r.URL.Path)
		h.held.serve(mux, w, r)
	}))
	t.Cleanup(server.Close)
	callback := server.URL + "/api/v1/auth/github/callback"
	github, err := githubtest.Start("", githubtest.Config{RedirectURLs: []string{callback}})
	require.NoError(t, err)
	t.Cleanup(func() { github.Close() })

	cfg.Path, cfg.Devices = "/console", true
	id, secret := github.Client()
	signing, err := auth.NewHS256Key("k", randomBytes())
	require.NoError(t, err)
	sealing, err := auth.NewSymmetricKey("s", randomBytes())
	require.NoError(t, err)
	serviceConfig := auth.Config{
		Issuer: server.URL, SigningKeys: []auth.SigningKey{signing},
		SealingKeys: []auth.SymmetricKey{sealing},
		Proxies:     auth.NoProxies(), Logger: slog.New(slog.DiscardHandler),
		Now:    func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load()) * time.Second) },
		Tokens: auth.TokenConfig{Scopes: []string{"notes:read", "notes:write"}},
		GitHub: &auth.GitHubConfig{
			ClientID: id, ClientSecret: auth.NewSecret(secret), CallbackURL: callback,
			BaseURL: github.URL(), APIURL: github.URL() + "/api/v3", Host: "githubtest.invalid",
			ConnectedPage: "/console/?connected",
		},
		BrowserSessions: &auth.BrowserSessions{LandingPath: "/console/"},
	}
	for _, e := range edit {
		e(&serviceConfig)
	}
	store := memstore.New()
	svc, err := auth.New(store, serviceConfig)
	require.NoError(t, err)
	pages, err := console.Handler(svc, cfg)
	require.NoError(t, err)
	svc.Mount(mux)
	svc.Mount(mux, auth.GroupBrowser)
	mux.Handle("/console/", pages)
	devices, err := oauth.New(svc, oauth.Config{
		DeviceClients: []oauth.DeviceClient{
			{ID: "cli", Name: "Notes for the terminal", Scopes: []string{"notes:read"}},
		},
		DevicePage: server.URL + "/console/device",
	})
	require.NoError(t, err)
	devices.Mount(mux)

	h.url, h.store, h.svc, h.github, h.requests = server.URL+"/console", store, svc, github, &log
	h.pair = svc.Credentials().GeneratePair()
	h.admin, err = svc.Bootstrap(t.Context(),
		auth.UserParams{Username: username, Email: "admin@example.com"}, h.pair)
	require.NoError(t, err)
	return h
}

func randomBytes() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

var scopeChoices = []console.Scope{{Name: "notes:read", Description: "Read notes"}, {Name: "notes:write"}}

// register adds a user and returns the user's ID and pair.
func (h *host) register(t *testing.T, user auth.UserParams) auth.Registration {
	t.Helper()
	added, err := h.svc.Register(context.Background(), auth.ByHost("test"), user)
	require.NoError(t, err)
	return added
}

// openPage opens a page of the console and waits until its lists are complete.
func (b *tab) openPage(h *host, path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(h.url + path))
	b.settled()
}

// settled waits until the page has shown its lists.
func (b *tab) settled() {
	b.t.Helper()
	b.until(`document.readyState === "complete" && !!document.querySelector("h1") && !document.querySelector("[aria-busy=true], .loading")`)
}

// signIn signs a user in on the sign-in page, which is at every URL.
func (b *tab) signIn(h *host, pair auth.KeyPair, path string) {
	b.t.Helper()
	b.openPage(h, path)
	b.shows("h1", "Sign in")
	b.fill("#access-key", pair.AccessKey)
	b.fill("#access-secret", pair.AccessSecret.Reveal())
	b.click("#key-form button")
	b.until(`document.body.dataset.page !== "signin"`)
	b.settled()
}

// openConsole starts a host, and returns it with a tab in which the administrator is signed in.
func openConsole(t *testing.T) (*host, *tab) {
	t.Helper()
	h := startHost(t, "admin", console.Config{Name: "Notes", Scopes: scopeChoices})
	b := newBrowser(t)
	b.signIn(h, h.pair, "/")
	return h, b
}

// path returns the path of a URL of the tab, with its query.
func (b *tab) path() string {
	b.t.Helper()
	u, err := url.Parse(eval[string](b, "location.href"))
	require.NoError(b.t, err)
	return u.RequestURI()
}
