// Package fiberauth is sign-in on fiber, by way of fiber's adaptor for net/http.
//
// The server below fiber is not that of net/http. It reads a body whole before any
// handler runs, up to BodyLimit of fiber's Config, and gives it the time of
// ReadTimeout, which is for ever unless set: Config.Timeout of package auth does not
// bound it. Nor does it tell a handler that the client has gone.
package fiberauth

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/sallyport-go/auth"
)

// Mount registers the calls of the given groups, or of all if none is given.
func Mount(router fiber.Router, svc *auth.Service, groups ...auth.RouteGroup) {
	colons := strings.NewReplacer("{", ":", "}", "") // {id} is :id here
	for _, route := range svc.Routes(groups...) {
		router.Add([]string{route.Method}, colons.Replace(route.Path), func(c fiber.Ctx) error {
			return serve(c, route.Handler)
		})
	}
}

// Use makes a middleware of svc.Authenticate or svc.RequireSuperUser. The caller is in
// c.Context(), not in c.Locals.
func Use(middleware func(http.Handler) http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		passed := false
		err := serve(c, middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.SetContext(r.Context())
		})))
		if err != nil || !passed {
			return err
		}
		return c.Next()
	}
}

func serve(c fiber.Ctx, handler http.Handler) error {
	return adaptor.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, request(c, r))
	}))(c)
}

// request mends the request that the adaptor has made. Of a header that was sent more
// than once that has the last line only, and a second Authorization must be seen to be
// refused. Its strings are in memory that the next request is read into, and a
// session keeps its User-Agent. Its context is the server's, which is used again too
// and has nothing of c.Context(). The remote address is that of the connection, as it
// should be: ProxyHeader of fiber's Config has no part in it, [auth.Config.Proxies] has.
func request(c fiber.Ctx, r *http.Request) *http.Request {
	r = r.WithContext(c.Context())
	r.Header = http.Header{}
	for name, value := range c.Request().Header.All() {
		r.Header.Add(string(name), string(value))
	}
	r.Method, r.Host, r.RequestURI = strings.Clone(r.Method), strings.Clone(r.Host), strings.Clone(r.RequestURI)
	r.URL, _ = url.ParseRequestURI(r.RequestURI) // the adaptor has parsed it too
	for _, name := range c.Route().Params {
		value := strings.Clone(c.Params(name))
		if !c.App().Config().UnescapePath {
			value, _ = url.PathUnescape(value)
		}
		r.SetPathValue(name, value)
	}
	return r
}

// New returns a service with the calls and routes of its own.
func New(svc *auth.Service) *fiber.App {
	app := fiber.New(fiber.Config{BodyLimit: 64 << 10, ReadTimeout: 10 * time.Second, CaseSensitive: true})
	app.Use(recover.New()) // without it, a panic ends the process: the server recovers none
	Mount(app, svc)
	app.Get("/reports", Use(svc.Authenticate), reports)
	app.Delete("/reports", Use(svc.Authenticate), Use(svc.RequireSuperUser), purge)
	return app
}

func reports(c fiber.Ctx) error {
	caller, _ := auth.IdentityFromContext(c.Context())
	return c.SendString("the reports of " + caller.Username)
}

func purge(c fiber.Ctx) error {
	return c.SendString("all gone")
}
