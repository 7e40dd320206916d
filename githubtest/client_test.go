package githubtest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/githubtest"
)

const (
	callbackURL = "http://127.0.0.1:8080/callback"
	octocat     = 583231 // the IDs of two default users
	hubot       = 480938
)

// client is an app that uses the fake, together with the browser of the app's user.
type client struct {
	*githubtest.Server
	t    *testing.T
	http *http.Client
}

// start starts a fake at which the user octocat agrees without a page.
func start(t *testing.T) *client {
	return startWith(t, githubtest.Config{AutoApprove: "octocat"})
}

func startWith(t *testing.T, cfg githubtest.Config) *client {
	t.Helper()
	fake, err := githubtest.Start("", cfg)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		require.NoError(t, fake.Close())
	})
	return &client{fake, t, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reply is a response whose body has been read.
type reply struct {
	status int
	header http.Header
	body   string
}

// object returns the body as a JSON object.
func (r reply) object(t *testing.T) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &object), r.body)
	return object
}

// list returns the body as a list of JSON objects.
func (r reply) list(t *testing.T) []map[string]any {
	t.Helper()
	var list []map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &list), r.body)
	return list
}

func (c *client) do(r *http.Request) reply {
	c.t.Helper()
	response, err := c.http.Do(r)
	require.NoError(c.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return reply{response.StatusCode, response.Header, string(body)}
}

// request returns a request. If form is not nil, the form is the body.
func (c *client) request(method, path string, form url.Values) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.URL()+path,
		strings.NewReader(form.Encode()))
	require.NoError(c.t, err)
	r.Header.Set("Accept", "application/json")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// authorizeQuery returns the parameters of an authorization request. The pairs are names and values
// of parameters to set. An empty value removes the parameter.
func (c *client) authorizeQuery(pairs ...string) url.Values {
	id, _ := c.Client()
	query := url.Values{"client_id": {id}, "redirect_uri": {callbackURL}, "state": {"xyz"}}
	set(query, pairs)
	return query
}

func set(values url.Values, pairs []string) {
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			values.Del(pairs[i])
		}
	}
}

// authorize requests an authorization and returns the query of the callback.
func (c *client) authorize(pairs ...string) url.Values {
	c.t.Helper()
	got := c.do(c.request(http.MethodGet,
		"/login/oauth/authorize?"+c.authorizeQuery(pairs...).Encode(), nil))
	require.Equal(c.t, http.StatusFound, got.status, got.body)
	return brought(c.t, got)
}

// brought returns the query of the URL to which the response redirects.
func brought(t *testing.T, got reply) url.Values {
	t.Helper()
	target, err := url.Parse(got.header.Get("Location"))
	require.NoError(t, err)
	require.Equal(t, callbackURL, target.Scheme+"://"+target.Host+target.Path)
	return target.Query()
}

// tokenForm returns the parameters of a request to the token endpoint. The pairs set further
// parameters.
func (c *client) tokenForm(pairs ...string) url.Values {
	id, secret := c.Client()
	form := url.Values{"client_id": {id}, "client_secret": {secret}}
	set(form, pairs)
	return form
}

// exchange calls the token endpoint and returns the JSON object of the response.
func (c *client) exchange(pairs ...string) map[string]any {
	c.t.Helper()
	got := c.do(c.request(http.MethodPost, "/login/oauth/access_token", c.tokenForm(pairs...)))
	require.Equal(c.t, http.StatusOK, got.status, got.body)
	return got.object(c.t)
}

// signIn runs the whole flow and returns the access token.
func (c *client) signIn(scope string) string {
	c.t.Helper()
	answer := c.exchange("code", c.authorize("scope", scope).Get("code"), "redirect_uri", callbackURL)
	require.Contains(c.t, answer, "access_token", answer)
	return answer["access_token"].(string)
}

// get reads a resource of the REST API.
func (c *client) get(path, token string) reply {
	c.t.Helper()
	r := c.request(http.MethodGet, "/api/v3"+path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return c.do(r)
}

// application calls an endpoint at which the app checks or revokes a token. The app authenticates
// with its client ID and client secret.
func (c *client) application(method, what, token string) reply {
	c.t.Helper()
	id, secret := c.Client()
	body, err := json.Marshal(map[string]string{"access_token": token})
	require.NoError(c.t, err)
	r := c.request(method, "/api/v3/applications/"+id+"/"+what, nil)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	r.SetBasicAuth(id, secret)
	return c.do(r)
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
