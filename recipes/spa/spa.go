// Package spaauth serves an API to the pages of a single-page application on another origin.
package spaauth

import (
	"fmt"
	"net/http"

	"github.com/rs/cors"
	"github.com/sallyport-go/auth"
)

// New returns the handler of an API with the calls of the service and one route of its own. Pages of the
// given origin, such as "https://app.example.com", may call it. Pages of other origins may not.
func New(svc *auth.Service, origin string) http.Handler {
	mux := http.NewServeMux()
	svc.Mount(mux, auth.GroupSignIn, auth.GroupAccount)
	mux.Handle("GET /reports", svc.RequireScope("reports:read", http.HandlerFunc(reports)))
	return allowPages(origin).Handler(mux)
}

// allowPages answers the preflight requests of browsers, which have no token. So it must be outside of the
// service and of its middleware. It also adds its headers to refusals, because a page cannot read a 401
// without them.
func allowPages(origin string) *cors.Cors {
	return cors.New(cors.Options{
		AllowedOrigins: []string{origin},
		AllowedMethods: []string{"GET", "POST", "PATCH", "DELETE"},
		AllowedHeaders: []string{"Authorization", "Content-Type"},
		ExposedHeaders: []string{"Link", "Retry-After", "WWW-Authenticate"},
		MaxAge:         600, // seconds
	})
}

func reports(w http.ResponseWriter, r *http.Request) {
	caller, _ := auth.IdentityFromContext(r.Context())
	fmt.Fprint(w, "the reports of ", caller.Username)
}
