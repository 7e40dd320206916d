// Package echoauth is sign-in on echo, whose own wrappers do most of it: they set the
// path parameters, and pass the context of a middleware on.
package echoauth

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/sallyport-go/auth"
)

// Mount registers the calls of the given groups, or of all if none is given.
func Mount(router *echo.Echo, svc *auth.Service, groups ...auth.RouteGroup) {
	colons := strings.NewReplacer("{", ":", "}", "") // {id} is :id here
	for _, route := range svc.Routes(groups...) {
		router.Add(route.Method, colons.Replace(route.Path), echo.WrapHandler(route.Handler))
	}
}

// New returns a service with the calls and routes of its own.
func New(svc *auth.Service) *echo.Echo {
	router := echo.NewWithConfig(echo.Config{Router: echo.NewRouter(echo.RouterConfig{
		UnescapePathParamValues: true, // or a parameter stays as it was sent, with %40 for an @
	})})
	router.Use(middleware.Recover())
	Mount(router, svc)
	authenticate := echo.WrapMiddleware(svc.Authenticate)
	router.GET("/reports", reports, authenticate)
	router.DELETE("/reports", purge, authenticate, echo.WrapMiddleware(svc.RequireSuperUser))
	return router
}

func reports(c *echo.Context) error {
	caller, _ := auth.IdentityFromContext(c.Request().Context())
	return c.String(http.StatusOK, "the reports of "+caller.Username)
}

func purge(c *echo.Context) error {
	return c.String(http.StatusOK, "all gone")
}
