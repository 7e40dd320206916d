package githubtest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

var (
	//go:embed page.html
	pageHTML string

	//go:embed page.css
	pageCSS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
	styleHash    = hashOf(pageCSS)
)

// pageData is the data of the template. If Problem is not empty, the page shows only Problem.
type pageData struct {
	Style    template.CSS
	Problem  string
	App      string
	Scopes   []string
	Users    []User
	Chosen   int64 // ID of the preselected user
	Action   string
	Redirect string
}

// authorizePage shows the page that asks which user agrees.
func (s *Server) authorizePage(w http.ResponseWriter, r *http.Request, request authorization) {
	data := pageData{
		App:      s.clientID,
		Scopes:   request.scopes,
		Users:    s.Users(),
		Action:   r.URL.RequestURI(),
		Redirect: origin(request.redirect),
	}
	for i, user := range data.Users {
		if i == 0 || strings.EqualFold(user.Login, request.login) {
			data.Chosen = user.ID
		}
	}
	writePage(w, http.StatusOK, formAction(request.redirect), data)
}

func (s *Server) errorPage(w http.ResponseWriter, status int, problem string) {
	writePage(w, status, "'none'", pageData{Problem: problem})
}

func writePage(w http.ResponseWriter, status int, formAction string, data pageData) {
	data.Style = template.CSS(pageCSS)
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", strings.Join([]string{
		"default-src 'none'", "style-src '" + styleHash + "'", "form-action " + formAction,
		"base-uri 'none'", "frame-ancestors 'none'",
	}, "; "))
	header.Set("X-Content-Type-Options", "nosniff")
	// The URL of the page contains the state, so a Referer header must not send the URL to another
	// site. The stricter policy no-referrer would make the browser send "Origin: null" with the
	// form, and the method decide would refuse the form.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, data) // an error means that the browser has disconnected
}

// formAction returns the sources for the directive form-action of the Content-Security-Policy.
// Chromium applies the directive also to every redirect that follows the form. So the sources must
// contain the app's callback, and the page to which the callback redirects. In tests and
// demonstrations, that page is at some loopback port.
func formAction(redirect *url.URL) string {
	if strings.Contains(redirect.Hostname(), ":") {
		return "'self' http: https:" // the directive cannot contain an IPv6 address
	}
	return "'self' http://127.0.0.1:* http://localhost:* " + origin(redirect)
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// hashOf returns the hash of an inline style. A Content-Security-Policy with this hash allows the
// style.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
