package main

import (
	"embed"
	"net/http"
	"net/url"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// pagePolicy is the Content-Security-Policy of the page. The page may load only its own scripts,
// style and icon, and may call only its own service. The scripts handle the forms of the page. So
// the policy forbids the browser to submit a form itself, even if the scripts do not run.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'"

// pageScripts are the JavaScript modules of the page.
var pageScripts = []string{"page.js", "core.js", "dialogs.js", "keys.js", "sessions.js", "users.js"}

// mountPage registers the page at "/", and the files that the page loads.
func mountPage(mux *http.ServeMux, origin string) {
	mux.Handle("GET /{$}", atOrigin(origin, pageFile("index.html", "text/html; charset=utf-8")))
	for _, script := range pageScripts {
		mux.Handle("GET /"+script, pageFile(script, "text/javascript; charset=utf-8"))
	}
	mux.Handle("GET /page.css", pageFile("page.css", "text/css; charset=utf-8"))
	mux.Handle("GET /icon.svg", pageFile("icon.svg", "image/svg+xml"))
}

func pageFile(name, contentType string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", contentType)
		header.Set("Content-Security-Policy", pagePolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, pageFiles, "page/"+name)
	})
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
			http.Redirect(w, r, origin+"/", http.StatusFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}
