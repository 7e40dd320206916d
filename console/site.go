package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/devicecode"
	"github.com/sallyport-go/auth/internal/oauthstate"
)

//go:embed assets templates
var files embed.FS

// policy is the Content-Security-Policy of all answers. The scripts send the forms, so the policy forbids the
// browser to send a form itself, even if the scripts do not run: a secret would be in the URL.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; " +
	"connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// site serves the pages.
type site struct {
	svc       *auth.Service
	cfg       Config
	pages     []page
	trail     bool // whether the service has an audit trail
	templates *template.Template
}

// page is a page of a user who is signed in.
type page struct {
	Name       Page
	Title      string
	path       string // below Config.Path
	superUsers bool   // only super users see the page
	scope      string // that a limited session needs for the calls of the page; empty if it needs none
	Hidden     bool   // the navigation does not show the page
}

// These pages cannot be left out by their names.
const (
	pageAccount Page = "account"
	pageUser    Page = "user"
	pageDevice  Page = "device"
)

var allPages = []page{
	{Name: pageAccount, Title: "Account", path: "/"},
	{Name: PageKeys, Title: "Access keys", path: "/keys", scope: auth.ScopeKeys},
	{Name: PageSessions, Title: "Sessions", path: "/sessions", scope: auth.ScopeSessions},
	{Name: PageUsers, Title: "Users", path: "/users", superUsers: true, scope: auth.ScopeUsers},
	{Name: pageUser, Title: "User", path: "/users/{id}", superUsers: true, scope: auth.ScopeUsers,
		Hidden: true},
	{Name: PageEvents, Title: "Audit trail", path: "/events", superUsers: true, scope: auth.ScopeEvents},
	{Name: pageDevice, Title: "Sign in on a device", path: "/device", Hidden: true},
}

func newSite(svc *auth.Service, cfg Config) (http.Handler, error) {
	templates, err := template.ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	s := &site{svc: svc, cfg: cfg, templates: templates, trail: hasTrail(svc)}
	manages := len(svc.Routes(auth.GroupAdministration)) > 0 // false if the host keeps the users
	s.pages = slices.DeleteFunc(slices.Clone(allPages), func(p page) bool {
		name := p.Name
		if name == pageUser {
			name = PageUsers
		}
		return slices.Contains(cfg.Without, name) || p.superUsers && !manages ||
			name == pageDevice && !cfg.Devices || name == PageEvents && !s.trail
	})

	mux := http.NewServeMux()
	for _, p := range s.pages {
		pattern := "GET " + cfg.Path + p.path
		if p.path == "/" {
			pattern += "{$}"
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.servePage(w, r, p) })
	}
	if err := s.addAssets(mux); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if _, pattern := mux.Handler(r); pattern == "" && reads {
			s.writeNotice(w, http.StatusNotFound, view{Page: page{Title: "There is no such page"},
				Detail: "Check the address."})
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

// hasTrail reports whether the service has an audit trail. With a limit that is not valid, the service reads
// nothing. If it has no audit trail, its error is another one.
func hasTrail(svc *auth.Service) bool {
	_, err := svc.Events(context.Background(), auth.EventFilter{}, 0)
	_, isInvalid := errors.AsType[*auth.InvalidError](err)
	return isInvalid
}

// protect sets the headers of all answers. A policy that a middleware of the host has set stays, because a
// browser obeys both.
func protect(header http.Header) {
	header.Add("Content-Security-Policy", policy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// addAssets registers the scripts, the stylesheets and the icon. Browsers ask for them again for each
// page, and get 304 as long as the program stays the same.
func (s *site) addAssets(mux *http.ServeMux) error {
	accent, err := parseColor(s.cfg.Accent)
	if err != nil {
		return err
	}
	s.addAsset(mux, "theme.css", []byte(theme(accent)))
	return fs.WalkDir(files, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		s.addAsset(mux, path.Base(name), content)
		return nil
	})
}

var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func (s *site) addAsset(mux *http.ServeMux, name string, content []byte) {
	sum := sha256.Sum256(content)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	mux.HandleFunc("GET "+s.cfg.Path+"/assets/"+name, func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", contentTypes[path.Ext(name)])
		header.Set("Cache-Control", "no-cache")
		header.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}

// view is what the templates show. The scripts get it as attributes of the body.
type view struct {
	Config
	Page   page
	Pages  []page
	Letter string // the first letter of the name
	ID     string // of the user whom the page is about
	Here   string // the path of this page, with the code of a device

	caller      auth.Identity
	User        auth.User
	GitHub      bool   // whether GitHub is configured
	GitHubLogin string // of the connected account; empty if none is connected
	HasUsers    bool   // whether the caller can open the page of a user
	HasEvents   bool   // whether the caller can open the page of the audit trail
	Trail       bool   // whether the service has an audit trail
	Detail      string // why the page shows nothing else
}

// May reports whether the session of the caller may do what the scope allows.
func (v view) May(scope string) bool { return v.caller.HasScope(scope) }

// Limited reports whether the session of the caller has scopes.
func (v view) Limited() bool { return v.caller.Limited }

// URL returns the URL of a page.
func (v view) URL(p page) string { return v.Path + p.path }

// Scripts returns the scripts that the script of the page imports. The browser loads them at once.
func (v view) Scripts() []string {
	switch v.Page.Name {
	case "":
		return nil
	case "signin", "forbidden":
		return []string{"core.js"}
	case "rotate", pageAccount:
		return []string{"core.js", "dialog.js"}
	}
	return []string{"core.js", "dialog.js", "table.js"}
}

// Is reports whether the navigation marks the page as the current one.
func (v view) Is(p page) bool {
	return p.Name == v.Page.Name || p.Name == PageUsers && v.Page.Name == pageUser
}

func (s *site) servePage(w http.ResponseWriter, r *http.Request, p page) {
	v := view{Config: s.cfg, Page: p, Letter: s.letter(),
		Here: s.here(r, p), ID: r.PathValue("id"), GitHub: s.svc.GitHub() != nil,
		Trail: s.trail}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Cookie")

	err := s.readUser(r, &v)
	if signedOut := errors.Is(err, auth.ErrTokenMissing) || errors.Is(err, auth.ErrTokenRejected); signedOut {
		v.Page = page{Name: "signin", Title: "Sign in"}
		s.write(w, http.StatusOK, "signin.html", v)
		return
	} else if err != nil {
		status, detail := auth.ErrorStatus(err)
		s.writeNotice(w, status, view{Page: page{Title: "This page cannot be shown now"},
			Detail: detail + ".", Here: v.Here})
		return
	}
	if caller := v.caller; caller.Limited && caller.Scope == auth.ScopeRotate {
		v.Page, v.ID = page{Name: "rotate", Title: "Replace your access secret"}, caller.AccessKeyID
		s.write(w, http.StatusOK, "page.html", v)
		return
	}
	for _, other := range s.pages {
		if v.opens(other) {
			v.Pages = append(v.Pages, other)
			v.HasUsers = v.HasUsers || other.Name == pageUser
			v.HasEvents = v.HasEvents || other.Name == PageEvents
		}
	}
	if !v.opens(p) {
		v.Detail = "This session is limited, because you have signed in with an access key that has scopes."
		if p.superUsers && !v.User.IsSuperUser {
			v.Detail = "Only super users can open this page."
		}
		v.Page, v.ID = page{Name: "forbidden", Title: "Not allowed"}, ""
		s.write(w, http.StatusForbidden, "page.html", v)
		return
	}
	s.write(w, http.StatusOK, "page.html", v)
}

// opens reports whether the caller can open the page. The calls of the page decide by themselves what the
// caller may do.
func (v view) opens(p page) bool {
	return (!p.superUsers || v.User.IsSuperUser) && (p.scope == "" || v.May(p.scope))
}

// here returns the path of the page to which a person comes back after signing in. The path of the page of a
// device has the user code of the request. If the service would refuse the path, such as one with an escaped
// slash, the person comes back to the page of the account.
func (s *site) here(r *http.Request, p page) string {
	path := r.URL.EscapedPath()
	if !oauthstate.IsReturnTo(path) {
		return s.cfg.Path + "/"
	}
	if code, ok := devicecode.Normalize(r.URL.Query().Get("user_code")); p.Name == pageDevice && ok {
		path += "?user_code=" + devicecode.Format(code)
	}
	return path
}

// readUser reads the user of the session cookie, and the user's GitHub account. A limited session gets the
// account only if it may also ask the service for it.
func (s *site) readUser(r *http.Request, v *view) error {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization") // the scripts have only the cookie
	ctx, err := s.svc.IdentifyContext(r)
	if err != nil {
		return err
	}
	v.caller, _ = auth.IdentityFromContext(ctx)
	if v.User, err = s.svc.User(ctx); err != nil {
		return err
	}
	if v.Page.Name != pageAccount || !v.GitHub || !v.May(auth.ScopeGitHub) {
		return nil
	}
	link, err := s.svc.GitHub().Status(ctx, v.User.ID)
	if errors.Is(err, auth.ErrNotFound) {
		return nil
	}
	v.GitHubLogin = link.Login
	return err
}

// writeNotice answers with a page that only says something. It has no scripts, and nothing of a user.
func (s *site) writeNotice(w http.ResponseWriter, status int, v view) {
	v.Config, v.Letter = s.cfg, s.letter()
	w.Header().Set("Cache-Control", "no-store")
	s.write(w, status, "notice.html", v)
}

// letter returns the first letter of the name, for the picture in the header.
func (s *site) letter() string {
	first, _ := utf8.DecodeRuneInString(s.cfg.Name)
	return strings.ToUpper(string(first))
}

func (s *site) write(w http.ResponseWriter, status int, name string, v view) {
	var html bytes.Buffer
	if err := s.templates.ExecuteTemplate(&html, name, v); err != nil {
		http.Error(w, "The page cannot be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(html.Bytes())
}
