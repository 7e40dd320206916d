// Package console serves pages on which users manage their own account, and on which super users
// manage all users. A host mounts the pages under a path of its own:
//
//	pages, err := console.Handler(svc, console.Config{Path: "/console", Name: "Example"})
//	…
//	svc.Mount(mux)
//	svc.Mount(mux, auth.GroupBrowser)
//	mux.Handle("/console/", pages)
//
// The pages are HTML, CSS and JavaScript in the program itself. They load nothing from other origins
// and need no build step. They call the documented JSON calls of the service with the session cookie,
// so the service needs [auth.Config.BrowserSessions].
//
// # Security
//
// The pages can do everything that their user can do, and so can every other page of the same origin:
// a script of that page can make the same calls. Therefore serve only pages that you trust on the
// origin of the console, or give the console an origin of its own. A Path does not separate the console
// from other pages: the session cookie has the prefix __Host-, and is sent to all paths of the origin.
//
// A strict Content-Security-Policy forbids inline scripts and styles, all resources of other origins,
// and frames. The scripts write texts only as text nodes, and the policy makes the browser refuse any
// other way (Trusted Types).
package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/sallyport-go/auth"
)

// Page names a page that a host can leave out.
type Page string

// The pages that a host can leave out. The page of the account is always there.
const (
	PageKeys     Page = "keys"
	PageSessions Page = "sessions"
	PageUsers    Page = "users" // the list of users and the page of each user
	PageEvents   Page = "events"
)

// Scope describes a scope that a user can choose for a new access key.
type Scope struct {
	Name        string // one of TokenConfig.Scopes, such as "reports:read"
	Description string // what the scope allows, such as "Read reports"; may be empty
}

// Config configures the pages. The zero value serves all pages at "/".
type Config struct {
	// Path is the path at which the host mounts the handler, such as "/console". Default "/".
	Path string

	// Name is the name of the product. The pages show it in the header and in their titles. Default
	// "Console".
	Name string

	// Logo is the path of an image on the same origin, such as "/logo.svg". Empty means a small
	// picture with the first letter of Name.
	Logo string

	// Accent is the color of the most important button and of links, such as "#4f46e5". If the
	// color is too light or too dark for a text to be legible, the pages use the nearest legible shade.
	// Default "#3b5bdb".
	Accent string

	// Stylesheet is the path of a further stylesheet on the same origin. It is loaded last, so it can
	// replace the custom properties at the beginning of console.css.
	Stylesheet string

	// Scopes are the scopes that users can choose for a new access key. If Scopes is empty, the pages do
	// not ask, and a new key has the scopes of the session.
	Scopes []Scope

	// GitHubPurpose says to users what the service uses a connected GitHub account for, as full sentences.
	// The page of the account shows it beside the scopes that GitHub has granted. Empty means that the page
	// says only that users can sign in with the account.
	GitHubPurpose string

	// Devices adds the page Path + "/device", on which people approve devices: see package oauth. Its URL is
	// oauth.Config.DevicePage, and its calls are those that oauth.Server.Mount registers.
	Devices bool

	// Without lists the pages to leave out. Leaving a page out takes no power from anybody: the calls
	// of the service stay as they are.
	Without []Page
}

// Handler returns a handler for the pages, or an error that says what to change in the configuration. A
// service without [auth.Config.BrowserSessions] is such an error, because nobody could sign in. The handler
// serves GET and HEAD requests for the paths below [Config.Path], and answers 404 with a page for all other
// paths. It is safe for concurrent use.
//
// The host must mount the groups of the calls that the pages make. They are the default groups and
// [auth.GroupBrowser], at their documented paths and on the same origin. If the host keeps its
// users in its own table, there are no pages for users and events. To come back to the pages after a
// visit to GitHub, set [auth.BrowserSessions.LandingPath] to Path, and [auth.GitHubConfig.ConnectedPage]
// to Path with the query "?connected".
//
// A page of a user who is not signed in is the sign-in page, at the same URL. A limited session opens only
// the pages whose calls its scopes allow: see [auth.ScopeSet]. For each page, the handler reads the user from
// the store. If the store does not answer, the handler answers with the status of [auth.ErrorStatus] and a
// page that says so.
func Handler(svc *auth.Service, cfg Config) (http.Handler, error) {
	if svc == nil {
		return nil, errors.New("console: Handler needs a Service, not nil")
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(svc.Routes(auth.GroupBrowser)) == 0 { // the group is empty without BrowserSessions
		return nil, errors.New("console: set auth.Config.BrowserSessions, because the pages need a " +
			"session cookie")
	}
	if cfg.Devices {
		if err := svc.CheckDevices(); err != nil {
			return nil, fmt.Errorf("console: Config.Devices: %w", err)
		}
	}
	return newSite(svc, cfg)
}

// withDefaults checks the configuration and sets the defaults. The returned Path has no slash at its end.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Path == "" {
		cfg.Path = "/"
	}
	if err := checkPath("Path", cfg.Path); err != nil {
		return cfg, err
	}
	if strings.ContainsAny(cfg.Path, "?{}%") {
		return cfg, errors.New("console: Config.Path must not have a query, braces or escapes")
	}
	cfg.Path = strings.TrimSuffix(cfg.Path, "/")
	for field, value := range map[string]string{"Logo": cfg.Logo, "Stylesheet": cfg.Stylesheet} {
		if value == "" {
			continue
		}
		if err := checkPath(field, value); err != nil {
			return cfg, err
		}
	}
	if cfg.Name == "" {
		cfg.Name = "Console"
	}
	if cfg.Accent == "" {
		cfg.Accent = "#3b5bdb"
	}
	if _, err := parseColor(cfg.Accent); err != nil {
		return cfg, err
	}
	for i, scope := range cfg.Scopes {
		if scope.Name == "" || strings.ContainsAny(scope.Name, " \t\r\n") {
			return cfg, fmt.Errorf("console: Config.Scopes[%d].Name must be one scope without spaces", i)
		}
	}
	known := []Page{PageKeys, PageSessions, PageUsers, PageEvents}
	for _, page := range cfg.Without {
		if !slices.Contains(known, page) {
			return cfg, fmt.Errorf("console: Config.Without: %q is not one of %q", page, known)
		}
	}
	cfg.Scopes, cfg.Without = slices.Clone(cfg.Scopes), slices.Clone(cfg.Without)
	return cfg, nil
}

// checkPath checks that a browser resolves the text to exactly this path on the same origin.
func checkPath(field, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(text, "/") ||
		strings.HasPrefix(text, "//") || strings.ContainsAny(text, "\\#") ||
		(path.Clean(u.Path) != u.Path && path.Clean(u.Path)+"/" != u.Path) {
		return fmt.Errorf("console: Config.%s must be a path on the same origin, such as /console", field)
	}
	return nil
}
