package oauth_test

import (
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

// reports is a service that accepts tokens of the issuer.
const reports = "https://reports.example.com"

// other is another such service, for which the service user has no tokens.
const other = "https://other.example.com"

var byHost = auth.ByHost("test")

// fixture is a service with OAuth calls, the user ada and the service user agent.
type fixture struct {
	t          *testing.T
	svc        *auth.Service
	url        string
	ada, agent auth.Registration
}

func newFixture(t *testing.T, change ...func(*auth.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	f.url = server.URL
	cfg := auth.Config{
		Issuer: server.URL, SigningKeys: []auth.SigningKey{signingKey(t)}, Proxies: auth.NoProxies(),
		Tokens: auth.TokenConfig{Scopes: []string{"reports:read", "reports:write"},
			Audiences: []string{reports, other}},
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	svc, err := auth.New(memstore.New(), cfg)
	require.NoError(t, err)
	f.svc = svc
	f.svc.Mount(mux)
	oauthServer, err := oauth.New(f.svc, oauth.Config{})
	require.NoError(t, err)
	oauthServer.Mount(mux)
	f.ada = f.register(auth.UserParams{Username: "ada"})
	f.agent = f.register(auth.UserParams{Username: "agent", IsService: true, Audiences: []string{reports}})
	return f
}

func signingKey(t *testing.T) auth.SigningKey {
	t.Helper()
	key, err := auth.NewEdDSAKey("", ed25519.NewKeyFromSeed([]byte(strings.Repeat("oauth-fi", 4))))
	require.NoError(t, err)
	return key
}

func (f *fixture) register(params auth.UserParams) auth.Registration {
	f.t.Helper()
	made, err := f.svc.Register(f.t.Context(), byHost, params)
	require.NoError(f.t, err)
	return made
}

// key returns another key of the user.
func (f *fixture) key(user auth.User, scopes *auth.ScopeSet) auth.KeyPair {
	f.t.Helper()
	pair, err := f.svc.Credentials().Issue(f.t.Context(), byHost, user.ID, auth.KeyOptions{Scopes: scopes})
	require.NoError(f.t, err)
	return pair
}

// token signs in.
func (f *fixture) token(pair auth.KeyPair, options auth.LoginOptions) string {
	f.t.Helper()
	token, err := f.svc.Login(f.t.Context(), pair, options)
	require.NoError(f.t, err)
	return token.Bearer.Reveal()
}

// answer is a response with a JSON body.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func (a answer) code() string { code, _ := a.body["error"].(string); return code }

// post sends a form. Each element of the header is a name or a value.
func (f *fixture) post(path string, form url.Values, header ...string) answer {
	f.t.Helper()
	return f.send(path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"},
		header...)...)
}

func (f *fixture) send(path, body string, header ...string) answer {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+path, strings.NewReader(body))
	require.NoError(f.t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return f.do(r)
}

func (f *fixture) do(r *http.Request) answer {
	f.t.Helper()
	response, err := http.DefaultClient.Do(r)
	require.NoError(f.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(f.t, err)
	a := answer{status: response.StatusCode, header: response.Header, text: string(text)}
	require.Equal(f.t, "nosniff", response.Header.Get("X-Content-Type-Options"))
	require.Equal(f.t, "frame-ancestors 'none'", response.Header.Get("Content-Security-Policy"))
	if len(text) > 0 {
		require.NoError(f.t, json.Unmarshal(text, &a.body), a.text)
		require.Equal(f.t, "application/json", response.Header.Get("Content-Type"))
	}
	if description, failed := a.body["error_description"].(string); failed { // RFC 6749, section 5.2
		require.Regexp(f.t, `^[ !#-\[\]-~]+$`, description)
		require.Regexp(f.t, `^[!#-\[\]-~]+$`, a.code())
	}
	if r.Method == http.MethodPost {
		require.Equal(f.t, "no-store", response.Header.Get("Cache-Control"))
		require.Equal(f.t, "no-cache", response.Header.Get("Pragma"))
	}
	return a
}

// client returns the parameters of a client in the form.
func client(pair auth.KeyPair, more ...string) url.Values {
	form := url.Values{"client_id": {pair.AccessKey}, "client_secret": {pair.AccessSecret.Reveal()}}
	for i := 0; i < len(more); i += 2 {
		form.Add(more[i], more[i+1])
	}
	return form
}
