package main

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
)

// openConsole returns a handler for the pages of the console, at "/".
func openConsole(svc *auth.Service, origin string) (http.Handler, error) {
	pages, err := console.Handler(svc, console.Config{
		Name:          "Sallyport quickstart",
		GitHubPurpose: "With a connected GitHub account you can also sign in with GitHub.",
		Scopes: []console.Scope{
			{Name: scopeRead, Description: "Read notes"},
			{Name: scopeWrite, Description: "Write notes"},
		},
	})
	if err != nil {
		return nil, err
	}
	return atOrigin(origin, pages), nil
}

// atOrigin redirects a browser to origin if the browser has reached this machine by another name.
// For example, the browser uses localhost and origin has 127.0.0.1. At the end of a sign-in, GitHub
// sends the browser to origin. The sign-in must begin at origin too, because a browser does not
// send the cookies of one host name to another.
func atOrigin(origin string, next http.Handler) http.Handler {
	own, _ := url.Parse(origin) // originOf returned the URL, so it is valid
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := url.URL{Host: r.Host}
		if asked.Port() == own.Port() && !strings.EqualFold(asked.Hostname(), own.Hostname()) &&
			isLoopback(r.Host) {
			http.Redirect(w, r, origin+r.URL.RequestURI(), http.StatusFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}
