package auth

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/http"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/wire"
)

// RouteGroup is a group of the HTTP calls that this package documents, such as the calls to sign
// in. A host can leave a group out: see [Service.Mount].
type RouteGroup string

// The groups of documented calls.
const (
	GroupSignIn         RouteGroup = "sign-in"
	GroupGitHub         RouteGroup = "github"
	GroupAccount        RouteGroup = "account"
	GroupAdministration RouteGroup = "administration"

	// GroupHealth contains the calls for health checks. Routes, Mount and Handler omit this group
	// unless the host names it, because the host may have health checks of its own.
	GroupHealth RouteGroup = "health"

	// GroupBrowser contains the call with which a person signs in to a browser session with an access key:
	// see [Config.BrowserSessions]. Routes, Mount and Handler omit this group unless the host names it.
	GroupBrowser RouteGroup = "browser"

	// GroupVerifiers contains the call with which services that have no store learn of revocations: see
	// [RemoteVerifierConfig]. Routes, Mount and Handler omit this group unless the host names it.
	GroupVerifiers RouteGroup = "verifiers"
)

// optionalGroups are the groups that a host must name.
var optionalGroups = []RouteGroup{GroupBrowser, GroupHealth, GroupVerifiers}

// Route is one documented call and its handler.
type Route struct {
	Method  string // "GET"
	Path    string // "/auth/user/"
	Pattern string // Method and Path as a pattern of [http.ServeMux]: "GET /auth/user/{$}"
	Group   RouteGroup
	Handler http.Handler // also authenticates the caller, if the call needs one
}

func newRoute(method, path string, group RouteGroup, handler http.Handler) Route {
	pattern := method + " " + path
	if strings.HasSuffix(path, "/") {
		pattern += "{$}" // matches this path only, not the paths below it
	}
	return Route{Method: method, Path: path, Pattern: pattern, Group: group, Handler: handler}
}

// Routes returns the calls of the given groups. If no group is given, it returns the calls of all
// groups except GroupBrowser, GroupHealth and GroupVerifiers. Use it for routers other than
// [http.ServeMux]. If the host has a [UserSource], Routes omits GroupAdministration. If
// [Config.BrowserSessions] is nil, it omits GroupBrowser.
//
// Paths contain parameters, such as {id}, which the handlers read with [http.Request.PathValue]. If
// the router does not set path values, the host must set them with [http.Request.SetPathValue].
func (s *Service) Routes(groups ...RouteGroup) []Route {
	return slices.DeleteFunc(s.allRoutes(), func(r Route) bool {
		if len(groups) == 0 {
			return slices.Contains(optionalGroups, r.Group)
		}
		return !slices.Contains(groups, r.Group)
	})
}

// Route returns the call whose Pattern is the given one, such as "POST /auth/users/login". It is for a host
// that serves a call at a path of its own: Handler of the call accepts requests for any path. If the pattern
// has parameters such as {id}, the host's pattern must have the same ones. The sign-in has more than one call
// (also POST /auth/browser/login, and the token call of package oauth), so a check around one of them is no
// check around the others. Route panics if there is no such call, or if Routes omits the call because of the
// configuration.
func (s *Service) Route(pattern string) Route {
	routes := s.allRoutes()
	i := slices.IndexFunc(routes, func(r Route) bool { return r.Pattern == pattern })
	if i < 0 {
		panic(fmt.Sprintf("auth: Service.Route has no call with the pattern %q: "+
			"Service.Routes lists the calls", pattern))
	}
	return routes[i]
}

// allRoutes returns the calls of all groups.
func (s *Service) allRoutes() []Route {
	login, register := s.loginHandler(), s.registerUserHandler()
	user, logout := s.currentUserHandler(), s.logoutHandler()
	routes := []Route{
		newRoute(http.MethodPost, "/auth/users/login", GroupSignIn, login),
		newRoute(http.MethodPost, "/auth/logout", GroupSignIn, logout),
		newRoute(http.MethodGet, "/.well-known/jwks.json", GroupSignIn, s.jwksHandler()),
		newRoute(http.MethodGet, "/api/v1/auth/github/login-user", GroupGitHub, s.gitHubSignInHandler()),
		newRoute(http.MethodGet, "/api/v1/auth/github/start", GroupGitHub, s.gitHubStartHandler()),
		newRoute(http.MethodGet, "/api/v1/auth/github/login", GroupGitHub, s.gitHubConnectHandler()),
		newRoute(http.MethodGet, "/api/v1/auth/github/callback", GroupGitHub, s.gitHubCallbackHandler()),
		newRoute(http.MethodGet, "/api/v1/auth/github/token", GroupGitHub, s.gitHubStatusHandler()),
		newRoute(http.MethodPost, "/api/v1/auth/github/logout", GroupGitHub, s.gitHubDisconnectHandler()),
		newRoute(http.MethodDelete, "/api/v1/auth/github/link", GroupGitHub, s.gitHubUnlinkHandler()),
		newRoute(http.MethodGet, "/auth/user", GroupAccount, user),
		newRoute(http.MethodGet, "/auth/user/", GroupAccount, user),
		newRoute(http.MethodGet, "/auth/sessions", GroupAccount, s.listSessionsHandler()),
		newRoute(http.MethodDelete, "/auth/sessions", GroupAccount, s.revokeOtherSessionsHandler()),
		newRoute(http.MethodDelete, "/auth/sessions/{id}", GroupAccount, s.revokeSessionHandler()),
		newRoute(http.MethodGet, "/auth/keys", GroupAccount, s.listKeysHandler()),
		newRoute(http.MethodPost, "/auth/keys", GroupAccount, s.createKeyHandler()),
		newRoute(http.MethodPost, "/auth/keys/{access_key}/rotate", GroupAccount, s.rotateKeyHandler()),
		newRoute(http.MethodDelete, "/auth/keys/{access_key}", GroupAccount, s.revokeKeyHandler()),
	}
	if s.users != nil {
		routes = append(routes,
			newRoute(http.MethodPost, "/api/v1/user/register", GroupAdministration, register),
			newRoute(http.MethodPost, "/auth/users/register", GroupAdministration, register),
			newRoute(http.MethodGet, "/auth/users", GroupAdministration, s.listUsersHandler()),
			newRoute(http.MethodGet, "/auth/users/{id}", GroupAdministration, s.getUserHandler()),
			newRoute(http.MethodGet, "/auth/users/{id}/keys", GroupAdministration, s.listUserKeysHandler()),
			newRoute(http.MethodGet, "/auth/users/{id}/sessions", GroupAdministration,
				s.listUserSessionsHandler()),
			newRoute(http.MethodPatch, "/auth/users/{id}", GroupAdministration, s.updateUserHandler()),
			newRoute(http.MethodDelete, "/auth/users/{id}", GroupAdministration, s.deleteUserHandler()),
			newRoute(http.MethodPost, "/auth/users/{id}/regenerate-credentials", GroupAdministration,
				s.regenerateCredentialsHandler()),
			newRoute(http.MethodPost, "/auth/users/{id}/reinstate", GroupAdministration,
				s.reinstateUserHandler()),
			newRoute(http.MethodPost, "/auth/tokens/revoke-user/{id}", GroupAdministration,
				s.revokeUserSessionsHandler()),
			newRoute(http.MethodGet, "/auth/events", GroupAdministration, s.listEventsHandler()),
		)
	}
	if s.browser != nil {
		routes = append(routes,
			newRoute(http.MethodPost, "/auth/browser/login", GroupBrowser, s.browserLoginHandler()))
	}
	return append(routes,
		newRoute(http.MethodGet, "/livez", GroupHealth, s.livenessHandler()),
		newRoute(http.MethodGet, "/readyz", GroupHealth, s.readinessHandler()),
		newRoute(http.MethodGet, "/auth/revocations", GroupVerifiers, s.revocationsHandler()))
}

// Mount registers the calls of the given groups on the mux. If no group is given, it registers the
// calls of all groups except GroupBrowser, GroupHealth and GroupVerifiers. Each pattern contains the
// method of its call. If a pattern conflicts with a pattern of the mux, Mount panics, as
// [http.ServeMux.Handle] does.
// The message of the panic names both patterns, where the other pattern was registered, and the line that
// called Mount. A second call of Mount for the same group on one mux is such a conflict.
func (s *Service) Mount(mux *http.ServeMux, groups ...RouteGroup) {
	if mux == nil {
		panic("auth: Service.Mount needs a ServeMux, not nil")
	}
	_, file, line, _ := runtime.Caller(1)
	var route Route
	defer func() { // ServeMux would name the line below that calls Handle, which is not the host's
		if conflict := recover(); conflict != nil {
			panic(fmt.Sprintf("auth: Service.Mount, called at %s:%d, cannot register %q on the ServeMux: "+
				"mount each group once, and register no other pattern that conflicts with the call: %v",
				file, line, route.Pattern, conflict))
		}
	}()
	for _, route = range s.Routes(groups...) {
		mux.Handle(route.Pattern, route.Handler)
	}
}

// Handler returns one handler that serves the calls of the given groups. If no group is given, it
// serves the calls of all groups except GroupBrowser, GroupHealth and GroupVerifiers. It answers every
// other request with 404 or 405, through Config.WriteError. It never redirects: a path such as
// /auth//user gets 404, although [http.ServeMux] would redirect it.
func (s *Service) Handler(groups ...RouteGroup) http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{} // by path
	for _, route := range s.Routes(groups...) {
		mux.Handle(route.Pattern, route.Handler)
		methods[route.Path] = append(methods[route.Path], route.Method)
	}
	// GET /auth/users/login must get 405. The mux alone would serve it as GET /auth/users/{id} with
	// the ID "login". It would also reject a pattern for all methods of /auth/users/login, because
	// that pattern conflicts with GET /auth/users/{id}. So the handler checks the methods of paths
	// without parameters itself, before it calls the mux.
	fixed := map[string]http.Handler{}
	for path, allowed := range methods {
		if strings.Contains(path, "{") {
			mux.Handle(path, s.methodNotAllowed(allowed))
			continue
		}
		fixed[path] = s.methodNotAllowed(allowed)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, ErrNotFound)
	})
	return unframed(func(w http.ResponseWriter, r *http.Request) {
		requested := r.URL.EscapedPath() // an access key in the path may contain an escaped slash
		if clean := path.Clean("/" + requested); r.Method == http.MethodConnect ||
			requested != clean && requested != clean+"/" {
			s.fail(w, r, ErrNotFound)
			return
		}
		if refuse := fixed[r.URL.Path]; refuse != nil && !allows(methods[r.URL.Path], r.Method) {
			refuse.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns a description of the documented calls in OpenAPI 3.1, as JSON. It describes the
// parameters, the body and every response of each call. The caller may change the returned bytes.
//
// The description covers all groups, even those that a host leaves out. Its paths are those of
// [Service.Routes] without the second spelling "/auth/user/", its tags are the groups, and its
// server is "/". No handler of this package serves the description. A host can serve it as
// application/json at any path.
func OpenAPI() []byte { return bytes.Clone(openAPI) }

// jwksMaxAge is how long other services may cache the public keys. A new key must therefore be
// published for at least this long before it signs.
const jwksMaxAge = 5 * time.Minute

// jwksHandler handles GET /.well-known/jwks.json: it serves the public keys of [TokenIssuer.JWKS],
// without authentication. Clients may cache the response for five minutes. If all keys are HS256
// keys, the set is empty. The handler ignores Range and If-Match, so it never serves a part of the
// set.
func (s *Service) jwksHandler() http.Handler {
	return s.allowMethod(http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
		ring := s.tokens.ring.Load()
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(jwksMaxAge.Seconds())))
		header.Set("ETag", ring.ETag())
		header.Set("X-Content-Type-Options", "nosniff")
		r = r.Clone(r.Context())
		for _, name := range []string{"Range", "If-Match"} { // they could lead to 206, 412 or 416
			r.Header.Del(name)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(ring.JWKSLine()))
	})
}

// healthBody is the body of a health check that succeeded.
type healthBody struct {
	Status        string `json:"status"`
	StoreWritable *bool  `json:"store_writable,omitempty"` // only of readiness; nil if not known
}

// errNotReady is the error of a readiness check. Anyone can see it, so it does not contain the
// error of the store.
var errNotReady = &wire.RequestError{Status: http.StatusServiceUnavailable,
	Detail: "Not ready: this instance cannot verify tokens now"}

// livenessHandler handles GET /livez: it answers 200 without authentication and without reading the
// store. A supervisor can restart a process that does not answer.
func (s *Service) livenessHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet,
		serve: func(http.ResponseWriter, *http.Request) (any, error) { return healthBody{Status: "ok"}, nil }})
}

// readinessHandler handles GET /readyz: it answers 200 if this instance can accept tokens now, and
// 503 if it cannot. A load balancer should send requests only to instances that answer 200. The
// handler needs no authentication. It answers 503 in these cases:
//
//   - The instance has not read the revocation feed yet.
//   - The store has not answered for MaxStaleness.
//   - CheckSessionsInStore is set, and the store does not answer.
//
// An instance accepts tokens for up to MaxStaleness after the store has stopped answering. So during a
// short failure of the store, the load balancer still sends requests to all instances. Use
// [Service.Ping] for an alert about the store.
//
// If the store has a method CheckWritable(context.Context) error, such as the stores of package
// sqlstore, the body of a 200 also says whether the store accepts writes. An instance whose store
// accepts no writes stays ready, because it still accepts tokens, and because all instances have the
// same store. All requests together call CheckWritable at most every ten seconds. The result is missing
// if it is not known yet, or if CheckWritable returns errors.ErrUnsupported. If CheckWritable fails, the
// body does not contain the cause, but the log does.
func (s *Service) readinessHandler() http.Handler {
	return s.handler(endpoint{method: http.MethodGet,
		serve: func(_ http.ResponseWriter, r *http.Request) (any, error) {
			if s.checkReady(r.Context()) != nil {
				return nil, errNotReady
			}
			return healthBody{"ok", s.writes.State(r.Context())}, nil
		}})
}
