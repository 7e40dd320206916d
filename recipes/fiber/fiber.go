// Package fiberauth provides sign-in on fiber, with fiber's adaptor for net/http.
//
// fiber has its own server and does not use the server of net/http. Before any handler runs,
// fiber's server reads the whole body, up to BodyLimit of fiber's Config. Reading the body can take
// as long as ReadTimeout, which is unlimited by default. Config.Timeout of package auth does not
// limit this time. fiber's server also does not tell a handler that the client has disconnected.
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

// Mount registers the routes of the given groups, or all routes if no group is given.
func Mount(router fiber.Router, svc *auth.Service, groups ...auth.RouteGroup) {
	colons := strings.NewReplacer("{", ":", "}", "") // fiber writes {id} as :id
	for _, route := range svc.Routes(groups...) {
		router.Add([]string{route.Method}, colons.Replace(route.Path), func(c fiber.Ctx) error {
			return serve(c, route.Handler)
		})
	}
}

// Use converts svc.Authenticate or svc.RequireSuperUser to a fiber middleware. The middleware
// stores the caller's identity in c.Context(), not in c.Locals.
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

// request returns a corrected copy of the request r, which the adaptor created:
//
//   - If a client sends a header more than once, the adaptor keeps only the last value. The copy
//     has all values, because the library must refuse a request with two Authorization headers.
//   - The strings in r are in memory that fiber reuses for another request. The copy has strings of
//     its own, because the library stores some of them, such as the User-Agent of a session.
//   - fiber also reuses the context of r, and this context lacks the values of c.Context(). The
//     copy has c.Context() as its context.
//
// The remote address of r is correct already: it is the address of the connection.
// [auth.Config.Proxies] decides which proxies to trust. ProxyHeader of fiber's Config has no
// effect.
func request(c fiber.Ctx, r *http.Request) *http.Request {
	r = r.WithContext(c.Context())
	r.Header = http.Header{}
	for name, value := range c.Request().Header.All() {
		r.Header.Add(string(name), string(value))
	}
	r.Method, r.Host, r.RequestURI =
		strings.Clone(r.Method), strings.Clone(r.Host), strings.Clone(r.RequestURI)
	r.URL, _ = url.ParseRequestURI(r.RequestURI) // the adaptor has already parsed it
	for _, name := range c.Route().Params {
		value := strings.Clone(c.Params(name))
		if !c.App().Config().UnescapePath {
			value, _ = url.PathUnescape(value)
		}
		r.SetPathValue(name, value)
	}
	return r
}

// New returns an app with the routes of the library and two routes of its own.
func New(svc *auth.Service) *fiber.App {
	app := fiber.New(fiber.Config{BodyLimit: 64 << 10, ReadTimeout: 10 * time.Second,
		CaseSensitive: true})
	// Without this middleware, a panic in a handler ends the process, because fiber's server does
	// not recover panics.
	app.Use(recover.New())
	Mount(app, svc)
	app.Get("/reports", Use(requireRead(svc)), reports)
	app.Delete("/reports", Use(svc.RequireSuperUser), purge)
	return app
}

// requireRead returns the middleware for routes that need the scope reports:read.
func requireRead(svc *auth.Service) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return svc.RequireScope("reports:read", next) }
}

func reports(c fiber.Ctx) error {
	caller, _ := auth.IdentityFromContext(c.Context())
	return c.SendString("the reports of " + caller.Username)
}

func purge(c fiber.Ctx) error {
	return c.SendString("all gone")
}
