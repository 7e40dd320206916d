package auth

import (
	"net/http"
	"path"
	"slices"
	"strings"
)

// RouteGroup is a part of the documented calls that a host may leave out.
type RouteGroup string

// The groups.
const (
	GroupSignIn         RouteGroup = "sign-in"
	GroupGitHub         RouteGroup = "github"
	GroupAccount        RouteGroup = "account"
	GroupAdministration RouteGroup = "administration"
)

// Route is one documented call.
type Route struct {
	Method  string // "GET"
	Path    string // "/auth/user"
	Group   RouteGroup
	Handler http.Handler // complete: it authenticates where the call needs it
}

// Pattern returns the method and path as [http.ServeMux] takes them.
func (r Route) Pattern() string {
	path := r.Path
	if strings.HasSuffix(path, "/") {
		path += "{$}" // this path, not all below it
	}
	return r.Method + " " + path
}

// Routes returns the calls of the given groups, or of all if none is given, for
// routers other than [http.ServeMux]. Paths have parameters, such as {id}, which
// handlers ask for with [http.Request.PathValue]: a router that does not set it needs
// a line that calls [http.Request.SetPathValue]. With [Config.Users] there are none that make
// or change users.
func (s *Service) Routes(groups ...RouteGroup) []Route {
	login, register := s.LoginHandler(), s.RegisterUserHandler()
	user, logout := s.CurrentUserHandler(), s.LogoutHandler()
	routes := []Route{
		{http.MethodPost, "/auth/users/login", GroupSignIn, login},
		{http.MethodPost, "/auth/logout", GroupSignIn, logout},
		{http.MethodGet, "/.well-known/jwks.json", GroupSignIn, s.JWKSHandler()},
		{http.MethodGet, "/api/v1/auth/github/login-user", GroupGitHub, s.GitHubSignInHandler()},
		{http.MethodGet, "/api/v1/auth/github/start", GroupGitHub, s.GitHubStartHandler()},
		{http.MethodGet, "/api/v1/auth/github/login", GroupGitHub, s.GitHubConnectHandler()},
		{http.MethodGet, "/api/v1/auth/github/callback", GroupGitHub, s.GitHubCallbackHandler()},
		{http.MethodGet, "/api/v1/auth/github/token", GroupGitHub, s.GitHubStatusHandler()},
		{http.MethodPost, "/api/v1/auth/github/logout", GroupGitHub, s.GitHubDisconnectHandler()},
		{http.MethodDelete, "/api/v1/auth/github/link", GroupGitHub, s.GitHubUnlinkHandler()},
		{http.MethodGet, "/auth/user", GroupAccount, user},
		{http.MethodGet, "/auth/user/", GroupAccount, user},
		{http.MethodGet, "/auth/sessions", GroupAccount, s.ListSessionsHandler()},
		{http.MethodDelete, "/auth/sessions/{id}", GroupAccount, s.RevokeSessionHandler()},
		{http.MethodGet, "/auth/keys", GroupAccount, s.ListKeysHandler()},
		{http.MethodPost, "/auth/keys", GroupAccount, s.CreateKeyHandler()},
		{http.MethodPost, "/auth/keys/{access_key}/rotate", GroupAccount, s.RotateKeyHandler()},
		{http.MethodDelete, "/auth/keys/{access_key}", GroupAccount, s.RevokeKeyHandler()},
	}
	if s.tokens.users == nil {
		routes = append(routes,
			Route{http.MethodPost, "/api/v1/user/register", GroupAdministration, register},
			Route{http.MethodPost, "/auth/users/register", GroupAdministration, register},
			Route{http.MethodGet, "/auth/users", GroupAdministration, s.ListUsersHandler()},
			Route{http.MethodGet, "/auth/users/{id}", GroupAdministration, s.GetUserHandler()},
			Route{http.MethodPatch, "/auth/users/{id}", GroupAdministration, s.UpdateUserHandler()},
			Route{http.MethodDelete, "/auth/users/{id}", GroupAdministration, s.DeleteUserHandler()},
			Route{http.MethodPost, "/auth/users/{id}/regenerate-credentials", GroupAdministration, s.RegenerateCredentialsHandler()},
			Route{http.MethodPost, "/auth/users/{id}/reinstate", GroupAdministration, s.ReinstateUserHandler()},
			Route{http.MethodPost, "/auth/tokens/revoke-user/{id}", GroupAdministration, s.RevokeUserSessionsHandler()},
		)
	}
	return slices.DeleteFunc(routes, func(r Route) bool {
		return len(groups) > 0 && !slices.Contains(groups, r.Group)
	})
}

// Mount registers the calls of the given groups, or of all if none is given, on
// the mux: one pattern each, with its method. Like [http.ServeMux.Handle], it
// panics if the host has registered one of them already.
func (s *Service) Mount(mux *http.ServeMux, groups ...RouteGroup) {
	for _, route := range s.Routes(groups...) {
		mux.Handle(route.Pattern(), route.Handler)
	}
}

// Handler returns the calls of the given groups, or of all if none is given, as
// one handler, which answers everything else with 404 or 405 in the form of the
// other errors. It redirects nothing: a path that is not in its shortest form is
// none of its own.
func (s *Service) Handler(groups ...RouteGroup) http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{} // by path
	for _, route := range s.Routes(groups...) {
		mux.Handle(route.Pattern(), route.Handler)
		methods[route.Path] = append(methods[route.Path], route.Method)
	}
	// A path without parameters is nothing but itself: "login" is no user's id. The
	// mux could not have it for all methods beside the others for one.
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
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.URL.EscapedPath() // in which a slash of an access key's is none
		if clean := path.Clean("/" + asked); r.Method == http.MethodConnect || asked != clean && asked != clean+"/" {
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
