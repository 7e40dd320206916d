// Package ginauth provides sign-in on gin.
package ginauth

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/sallyport-go/auth"
)

// Mount registers the routes of the given groups, or all routes if no group is given.
func Mount(router gin.IRoutes, svc *auth.Service, groups ...auth.RouteGroup) {
	colons := strings.NewReplacer("{", ":", "}", "") // gin writes {id} as :id
	for _, route := range svc.Routes(groups...) {
		router.Handle(route.Method, colons.Replace(route.Path), func(c *gin.Context) {
			for _, param := range c.Params {
				c.Request.SetPathValue(param.Key, param.Value)
			}
			route.Handler.ServeHTTP(c.Writer, c.Request)
		})
	}
}

// Use converts a middleware such as svc.RequireSuperUser to a gin middleware. The middleware stores
// the caller's identity in the context of the request, not in gin's own context.
func Use(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort() // without Abort, gin would call the next handler
		}
	}
}

// New returns an engine with the routes of the library and two routes of its own.
func New(svc *auth.Service) *gin.Engine {
	router := gin.New()
	router.Use(gin.Recovery())
	router.HandleMethodNotAllowed = true // 405 instead of 404
	router.UseRawPath = true             // a key with a slash, sent as %2F, is a single parameter
	Mount(router, svc)
	router.GET("/reports", Use(requireRead(svc)), reports)
	router.DELETE("/reports", Use(svc.RequireSuperUser), purge)
	return router
}

// requireRead returns the middleware for routes that need the scope reports:read.
func requireRead(svc *auth.Service) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return svc.RequireScope("reports:read", next) }
}

func reports(c *gin.Context) {
	caller, _ := auth.IdentityFromContext(c.Request.Context())
	c.String(http.StatusOK, "the reports of %s", caller.Username)
}

func purge(c *gin.Context) {
	c.String(http.StatusOK, "all gone")
}
