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
// routers other than [http.ServeMux]. With [Config.Users] there are none that make
// or change users.
func (s *Service) Routes(groups ...RouteGroup) []Route {
	login, register := s.LoginHandler(), s.RegisterHandler()
	user, logout := s.UserHandler(), s.LogoutHandler()
	routes := []Route{
		{http.MethodPost, "/auth/users/login", GroupSignIn, login},
		{http.MethodPost, "/auth/logout", GroupSignIn, logout},
		{http.MethodGet, "/.well-known/jwks.json", GroupSignIn, s.JWKSHandler()},
		{http.MethodGet, "/api/v1/auth/github/login-user", GroupGitHub, s.GitHubSignInHandler()},
		{http.MethodGet, "/api/v1/auth/github/start", GroupGitHub, s.GitHubStartHandler()},
		{http.MethodGet, "/api/v1/auth/github/login", GroupGitHub, s.GitHubConnectHandler()},
		{http.MethodGet, "/api/v1/auth/github/callback", GroupGitHub, s.GitHubCallbackHandler()},
		{http.MethodGet, "/api/v1/auth/github/token", GroupGitHub, s.GitHubTokenHandler()},
		{http.MethodPost, "/api/v1/auth/github/logout", GroupGitHub, s.GitHubDisconnectHandler()},
		{http.MethodDelete, "/api/v1/auth/github/link", GroupGitHub, s.GitHubUnlinkHandler()},
		{http.MethodGet, "/auth/user", GroupAccount, user},
		{http.MethodGet, "/auth/user/", GroupAccount, user},
	}
	if s.tokens.users == nil {
		routes = append(routes,
			Route{http.MethodPost, "/api/v1/user/register", GroupAdministration, register},
			Route{http.MethodPost, "/auth/users/register", GroupAdministration, register},
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
		_, pattern, _ := strings.Cut(route.Pattern(), " ")
		methods[pattern] = append(methods[pattern], route.Method)
	}
	for pattern, allowed := range methods {
		mux.Handle(pattern, s.methodNotAllowed(allowed))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, ErrNotFound)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if clean := path.Clean("/" + r.URL.Path); r.Method == http.MethodConnect || r.URL.Path != clean && r.URL.Path != clean+"/" {
			s.fail(w, r, ErrNotFound)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
