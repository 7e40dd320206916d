package githubtest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/githubtest"
)

// element is an element of an HTML page and the text directly inside it.
type element struct {
	name       string
	attributes map[string]string
	text       string
	in         []string // names of the enclosing elements
}

// elements returns the elements of a page.
func elements(t *testing.T, page string) []element {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(page))
	decoder.Strict, decoder.AutoClose, decoder.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var found []element
	var open []int
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			require.Empty(t, open, "elements are open")
			return found
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attributes: make(map[string]string)}
			for _, attribute := range token.Attr {
				e.attributes[attribute.Name.Local] = attribute.Value
			}
			for _, i := range open {
				e.in = append(e.in, found[i].name)
			}
			open = append(open, len(found))
			found = append(found, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				found[open[len(open)-1]].text += string(token)
			}
		}
	}
}

// named returns the elements of a page with this name.
func named(t *testing.T, page, name string) []element {
	t.Helper()
	var matching []element
	for _, e := range elements(t, page) {
		if e.name == name {
			matching = append(matching, e)
		}
	}
	return matching
}

// page returns the page that asks which user agrees.
func (c *client) page(pairs ...string) reply {
	c.t.Helper()
	got := c.do(c.request(http.MethodGet,
		"/login/oauth/authorize?"+c.authorizeQuery(pairs...).Encode(), nil))
	require.Equal(c.t, http.StatusOK, got.status, got.body)
	return got
}

// press submits the form of the page.
func (c *client) press(page reply, form url.Values, headers ...string) reply {
	c.t.Helper()
	action := named(c.t, page.body, "form")[0].attributes["action"]
	r := c.request(http.MethodPost, action, form)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return c.do(r)
}

func TestPersonPicksAUser(t *testing.T) {
	c := startWith(t, githubtest.Config{})
	page := c.page("scope", "user:email", "login", "hubot", "prompt", "select_account",
		"allow_signup", "false")
	got := c.press(page, url.Values{"user": {"480938"}, "decision": {"authorize"}},
		"Origin", c.URL(), "Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusFound, got.status)
	back := brought(t, got)
	require.Equal(t, "xyz", back.Get("state"))
	require.Equal(t, c.URL()+"/login/oauth", back.Get("iss"))
	token := c.exchange("code", back.Get("code"))["access_token"].(string)
	require.Equal(t, "hubot", c.get("/user", token).object(t)["login"])
}

func TestPersonCancels(t *testing.T) {
	c := startWith(t, githubtest.Config{})
	got := c.press(c.page(), url.Values{"decision": {"cancel"}})
	require.Equal(t, http.StatusFound, got.status)
	back := brought(t, got)
	require.Equal(t, "access_denied", back.Get("error"))
	require.NotEmpty(t, back.Get("error_description"))
	require.NotEmpty(t, back.Get("error_uri"))
	require.Equal(t, "xyz", back.Get("state"))
	require.False(t, back.Has("code"))
}

func TestOtherSitesCannotAgree(t *testing.T) {
	c := startWith(t, githubtest.Config{})
	form := url.Values{"user": {"583231"}, "decision": {"authorize"}}
	require.Equal(t, http.StatusForbidden,
		c.press(c.page(), form, "Sec-Fetch-Site", "cross-site").status)
	require.Equal(t, http.StatusForbidden,
		c.press(c.page(), form, "Origin", "https://evil.example").status)
}

func TestPageRefusesNonsense(t *testing.T) {
	c := startWith(t, githubtest.Config{})
	require.Equal(t, http.StatusBadRequest,
		c.press(c.page(), url.Values{"decision": {"authorize"}}).status)
	require.Equal(t, http.StatusBadRequest,
		c.press(c.page(), url.Values{"decision": {"authorize"}, "user": {"1"}}).status)
	got := c.do(c.request(http.MethodPut, "/login/oauth/authorize?"+c.authorizeQuery().Encode(), nil))
	require.Equal(t, http.StatusMethodNotAllowed, got.status)
}

func TestPageCanBeUsedByEverybody(t *testing.T) {
	c := startWith(t, githubtest.Config{})
	got := c.page("scope", "repo", "login", "HUBOT")
	page := got.body

	require.Equal(t, "en", named(t, page, "html")[0].attributes["lang"])
	require.NotEmpty(t, named(t, page, "title")[0].text)
	require.Len(t, named(t, page, "h1"), 1)
	require.Len(t, named(t, page, "main"), 1)
	require.Contains(t, page, `<meta name="viewport"`)
	require.Contains(t, page, "color-scheme: light dark")
	require.Empty(t, named(t, page, "script"))

	require.Len(t, named(t, page, "fieldset"), 1)
	legend := named(t, page, "legend")
	require.Len(t, legend, 1)
	require.Equal(t, "fieldset", legend[0].in[len(legend[0].in)-1])
	labels := make(map[string]bool)
	for _, label := range named(t, page, "label") {
		labels[label.attributes["for"]] = true
	}
	inputs := named(t, page, "input")
	require.Len(t, inputs, len(c.Users()))
	for _, input := range inputs {
		require.Equal(t, "radio", input.attributes["type"])
		require.Contains(t, input.in, "fieldset")
		require.True(t, labels[input.attributes["id"]], "no label for %v", input.attributes)
		_, checked := input.attributes["checked"]
		require.Equal(t, input.attributes["value"] == "480938", checked)
	}
	buttons := named(t, page, "button")
	require.Len(t, buttons, 2)
	require.Equal(t, "Authorize", buttons[0].text, "the first button is what Enter presses")
	require.Equal(t, "Cancel", buttons[1].text)
	for _, e := range elements(t, page) {
		require.NotContains(t, e.attributes, "style", "the policy forbids it")
		for name := range e.attributes {
			require.False(t, strings.HasPrefix(name, "on"), "the policy forbids %s", name)
		}
	}
}

func TestPageHasAStrictPolicy(t *testing.T) {
	c := startWith(t, githubtest.Config{RedirectURLs: []string{"https://app.example.com/callback",
		"http://[::1]/callback"}})
	for redirect, formAction := range map[string]string{
		"https://app.example.com/callback": "'self' http://127.0.0.1:* http://localhost:* https://app.example.com",
		"http://[::1]:8080/callback":       "'self' http: https:",
	} {
		got := c.page("redirect_uri", redirect)
		sum := sha256.Sum256([]byte(named(t, got.body, "style")[0].text))
		require.Equal(t, strings.Join([]string{
			"default-src 'none'",
			"style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
			"form-action " + formAction,
			"base-uri 'none'",
			"frame-ancestors 'none'",
		}, "; "), got.header.Get("Content-Security-Policy"))
		require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	}
}

func TestPageShowsTextAsText(t *testing.T) {
	evil := `"><script>alert(1)</script>`
	c := startWith(t, githubtest.Config{Users: []githubtest.User{{ID: 1, Login: evil, Name: evil}}})
	page := c.page("scope", evil, "state", evil, "login", evil).body
	require.Empty(t, named(t, page, "script"))
	require.Equal(t, evil, named(t, page, "strong")[0].text)
}

func TestRedirectMustMatch(t *testing.T) {
	registered := []string{"http://127.0.0.1:8080/callback", "https://app.example.com/auth"}
	for name, test := range map[string]struct {
		registered []string
		redirect   string
		ok         bool
	}{
		"the registered one":        {registered, "https://app.example.com/auth", true},
		"a path below":              {registered, "https://app.example.com/auth/github", true},
		"host in capitals":          {registered, "https://APP.example.com/auth", true},
		"any port of a loopback":    {registered, "http://127.0.0.1:999/callback", true},
		"another port":              {registered, "https://app.example.com:8443/auth", false},
		"another host":              {registered, "https://evil.example.com/auth", false},
		"another loopback":          {registered, "http://localhost:8080/callback", false},
		"another scheme":            {registered, "http://app.example.com/auth", false},
		"a path beside":             {registered, "https://app.example.com/authority", false},
		"a path above":              {registered, "https://app.example.com/", false},
		"a path out of it":          {registered, "https://app.example.com/auth/../x", false},
		"an encoded path out of it": {registered, "https://app.example.com/auth/%2e%2e/x", false},
		"user information":          {registered, "https://evil@app.example.com/auth", false},
		"a fragment":                {registered, "https://app.example.com/auth#x", false},
		"no URL":                    {registered, "http://[", false},
		"any loopback if none is":   {nil, "http://localhost:1234/x", true},
		"no other if none is":       {nil, "https://app.example.com/auth", false},
		"nothing if none is":        {nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := startWith(t, githubtest.Config{AutoApprove: "octocat", RedirectURLs: test.registered})
			query := c.authorizeQuery("redirect_uri", test.redirect)
			got := c.do(c.request(http.MethodGet, "/login/oauth/authorize?"+query.Encode(), nil))
			location := got.header.Get("Location")
			switch {
			case test.ok:
				require.True(t, strings.HasPrefix(strings.ToLower(location),
					strings.ToLower(test.redirect)), location)
				require.Contains(t, location, "code=")
			case test.registered == nil:
				require.Equal(t, http.StatusBadRequest, got.status)
				require.Empty(t, location)
			default:
				back := brought(t, got) // to the first registered URL
				require.Equal(t, "redirect_uri_mismatch", back.Get("error"))
				require.Equal(t, "xyz", back.Get("state"))
				require.False(t, back.Has("code"))
			}
		})
	}
}

func TestRedirectIsTheRegisteredOneByDefault(t *testing.T) {
	c := startWith(t, githubtest.Config{AutoApprove: "octocat", RedirectURLs: []string{callbackURL}})
	code := c.authorize("redirect_uri", "").Get("code")
	require.Contains(t, c.exchange("code", code, "redirect_uri", callbackURL), "access_token")
}

func TestPKCENeedsItsMethod(t *testing.T) {
	c := start(t)
	challenge := challengeOf("verifier")
	for _, pairs := range [][]string{
		{"code_challenge", challenge},
		{"code_challenge_method", "S256"},
		{"code_challenge", challenge, "code_challenge_method", "plain"},
		{"code_challenge", "short", "code_challenge_method", "S256"},
	} {
		require.Equal(t, "invalid_request", c.authorize(pairs...).Get("error"), pairs)
	}
}
