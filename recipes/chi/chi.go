// Package chiauth provides sign-in on a chi router. chi accepts the library's route paths and
// net/http middleware without a conversion.
package chiauth

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/sallyport-go/auth"
)

// Mount registers the routes of the given groups, or all routes if no group is given.
func Mount(router chi.Router, svc *auth.Service, groups ...auth.RouteGroup) {
	for _, route := range svc.Routes(groups...) {
		router.Method(route.Method, route.Path, decoded(route.Handler))
	}
}

// decoded unescapes the path parameters. A client may escape more characters than necessary, for
// example write %40 for an @. chi does not unescape the parameters of such a path.
func decoded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if params := chi.RouteContext(r.Context()).URLParams; r.URL.RawPath != "" {
			for i, name := range params.Keys {
				value, _ := url.PathUnescape(params.Values[i]) // net/http has already parsed the path
				r.SetPathValue(name, value)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// New returns a router with the routes of the library and two routes of its own.
func New(svc *auth.Service) *chi.Mux {
	router := chi.NewRouter()
	router.Use(middleware.Recoverer)
	Mount(router, svc)
	router.With(requireRead(svc)).Get("/reports", reports)
	router.With(svc.RequireSuperUser).Delete("/reports", purge)
	return router
}

// NewWithFallback returns a router like New. The router passes every request that matches none of
// its own routes to the library, which answers 404 or 405 if it has no such call either.
func NewWithFallback(svc *auth.Service) *chi.Mux {
	router := chi.NewRouter()
	router.Use(middleware.Recoverer)
	router.NotFound(svc.Handler().ServeHTTP)
	router.With(requireRead(svc)).Get("/reports", reports)
	router.With(svc.RequireSuperUser).Delete("/reports", purge)
	return router
}

// requireRead returns the middleware for routes that need the scope reports:read.
func requireRead(svc *auth.Service) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return svc.RequireScope("reports:read", next) }
}

func reports(w http.ResponseWriter, r *http.Request) {
	caller, _ := auth.IdentityFromContext(r.Context())
	fmt.Fprint(w, "the reports of ", caller.Username)
}

func purge(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "all gone")
}
