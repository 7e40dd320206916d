package browser

import (
	"html/template"
	"net/http"
	"net/url"

	"github.com/sallyport-go/auth/internal/wire"
)

// ProtectPage sets the headers of an answer at a URL that a browser opens in a window. No cache
// stores the answer, the answer loads nothing, no page shows it in a frame, and no other site learns
// its URL. A policy that a middleware of the host has set stays: a browser obeys both.
func ProtectPage(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	wire.AddPolicy(header, "default-src 'none'; frame-ancestors 'none'")
}

// WriteStartPage answers with a page that asks the person to continue to GitHub. Its link leads to
// the URL of the page, with the given query.
func WriteStartPage(w http.ResponseWriter, query url.Values) {
	writePage(w, startPage, "?"+query.Encode())
}

// WriteConnectedPage answers with a page that says which GitHub account has been connected.
func WriteConnectedPage(w http.ResponseWriter, login string) { writePage(w, connectedPage, login) }

// writePage answers with the given page. No other page can show the given page in a frame, so a
// click on the given page is deliberate.
func writePage(w http.ResponseWriter, page *template.Template, data any) {
	ProtectPage(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	page.Execute(w, data) // it fails only if the client has gone
}

const pageHead = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
`

var startPage = template.Must(template.New("start").Parse(pageHead + `<title>Sign in with GitHub</title>
<main>
<h1>Sign in with GitHub</h1>
<p>A link or another page has sent you here.</p>
<p><a href="{{.}}">Continue to GitHub</a></p>
</main>
</html>
`))

var connectedPage = template.Must(template.New("connected").Parse(pageHead + `<title>GitHub connected</title>
<main>
<h1>GitHub connected</h1>
<p>The GitHub account <strong>{{.}}</strong> is now connected. You can close this page.</p>
</main>
</html>
`))
