// Package echoauth provides sign-in on echo. echo's wrappers of net/http do most of the work. They
// set the path parameters and pass on the context that a middleware has set.
package echoauth

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/sallyport-go/auth"
)

// Mount registers the routes of the given groups, or all routes if no group is given.
func Mount(router *echo.Echo, svc *auth.Service, groups ...auth.RouteGroup) {
	colons := strings.NewReplacer("{", ":", "}", "") // echo writes {id} as :id
	for _, route := range svc.Routes(groups...) {
		router.Add(route.Method, colons.Replace(route.Path), echo.WrapHandler(route.Handler))
	}
}

// New returns a router with the routes of the library and two routes of its own.
func New(svc *auth.Service) *echo.Echo {
	router := echo.NewWithConfig(echo.Config{Router: echo.NewRouter(echo.RouterConfig{
		// Without this option, echo does not unescape the path parameters. For example, %40 does
		// not become an @.
		UnescapePathParamValues: true,
	})})
	router.Use(middleware.Recover())
	Mount(router, svc)
	router.GET("/reports", reports, echo.WrapMiddleware(requireRead(svc)))
	router.DELETE("/reports", purge, echo.WrapMiddleware(svc.RequireSuperUser))
	return router
}

// requireRead returns the middleware for routes that need the scope reports:read.
func requireRead(svc *auth.Service) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return svc.RequireScope("reports:read", next) }
}

func reports(c *echo.Context) error {
	caller, _ := auth.IdentityFromContext(c.Request().Context())
	return c.String(http.StatusOK, "the reports of "+caller.Username)
}

func purge(c *echo.Context) error {
	return c.String(http.StatusOK, "all gone")
}
