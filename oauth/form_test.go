package oauth_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

// The attack: a form that the server reads in another way than a proxy in front of it, or than a store.
func TestAFormThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *auth.Config) { cfg.Credentials.AllowImported = true })
	const formType = "application/x-www-form-urlencoded"
	send := func(path, form string) answer { return f.send(path, form, "Content-Type", formType) }
	valid := client(f.ada.Pair, "grant_type", "client_credentials").Encode()
	for name, a := range map[string]answer{
		"UTF-16":            f.send("/auth/token", valid, "Content-Type", formType+"; charset=utf-16"),
		"two types":         f.send("/auth/token", valid, "Content-Type", formType, "Content-Type", "text/plain"),
		"two forms":         f.send("/auth/token", valid, "Content-Type", formType, "Content-Type", formType),
		"long type":         f.send("/auth/token", valid, "Content-Type", formType+strings.Repeat(`; a="b"`, 50)),
		"multipart":         f.send("/auth/token", valid, "Content-Type", "multipart/form-data; boundary=x"),
		"semicolon":         send("/auth/token", strings.ReplaceAll(valid, "&", ";")),
		"semicolon in URL":  send("/auth/token?a;client_secret=x", valid),
		"escape in URL":     send("/auth/token?client%5Fsecret=x", valid),
		"token in URL":      send("/auth/revoke?token=x", valid+"&token=y"),
		"subject in URL":    send("/auth/token?subject_token=x", valid),
		"actor in URL":      send("/auth/token?actor_token", valid),
		"NUL in the client": f.post("/auth/token", grant("client_id", "a\x00", "client_secret", "b")),
		"NUL in the secret": f.post("/auth/token", grant("client_id", "a", "client_secret", "b\x00")),
		"NUL in a name":     send("/auth/token", valid+"&%00=x"),
		"invalid UTF-8":     f.post("/auth/token", grant("client_id", "a\xff", "client_secret", "b")),
		"half a surrogate":  send("/auth/token", valid+"&x=%ed%a0%80"),
		"two clients":       send("/auth/token", valid+"&client_id=x"),
		"escaped repeat":    send("/auth/token", valid+"&grant%5Ftype=client_credentials"),
	} {
		require.Equal(t, 400, a.status, "%s: %s", name, a.text)
		require.Equal(t, "invalid_request", a.code(), name)
	}
	for name, header := range map[string]string{
		"NUL": basic("a\x00", "b"), "invalid UTF-8": basic("a\xff", "b"),
		"NUL in the secret": basic("a", "\x00"),
		"no colon":          "Basic " + encoded("ab"), "empty name": basic("", "b"), "empty secret": basic("a", ""),
		"empty": "", "a NUL without an escape": "Basic " + encoded("a\x00:b"),
	} {
		a := f.post("/auth/token", grant(), "Authorization", header)
		require.Equal(t, "invalid_client", a.code(), name)
		require.NotEmpty(t, a.header.Get("WWW-Authenticate"), name)
	}
}

func TestEmptyParametersAreAbsent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	form := client(f.ada.Pair, "grant_type", "client_credentials").Encode() +
		"&scope=&scope=reports:read&client_id=&resource=&resource&resource=" + url.QueryEscape(reports)
	a := f.send("/auth/token", form, "Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, 200, a.status, a.text)
	require.Equal(t, "reports:read", a.body["scope"])
}

// Only spaces separate scopes, and no spelling of scopes makes a token without a limit.
func TestNoSpellingOfScopesWidensAToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, scope := range []string{"reports:read\treports:write", "reports:read\nreports:write", "\u00a0",
		"reports:read\u00a0reports:write", "reports:read,reports:write", "*", "REPORTS:READ", "\t"} {
		a := f.post("/auth/token", client(f.ada.Pair, "grant_type", "client_credentials", "scope", scope))
		require.Equal(t, "invalid_scope", a.code(), "%q: %s", scope, a.text)
	}
	a := f.post("/auth/token", client(f.ada.Pair, "grant_type", "client_credentials", "scope", "  "))
	require.Equal(t, 200, a.status)
	identity, err := f.svc.Tokens().Verify(t.Context(), a.body["access_token"].(string))
	require.NoError(t, err)
	require.True(t, identity.Limited)
	require.Empty(t, identity.Scope)
}

// The attack: a caller authenticates in two ways, and the server and an auditor choose different ones.
func TestACallerOfIntrospectionAuthenticatesInOneWay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.token(f.ada.Pair, auth.LoginOptions{Audience: reports})
	bearer := "Bearer " + f.token(f.agent.Pair, auth.LoginOptions{})
	a := f.post("/auth/introspect", client(f.ada.Pair, "token", token), "Authorization", bearer)
	require.Equal(t, "invalid_request", a.code())
	for _, header := range [][]string{
		{"Authorization", bearer, "Authorization", bearer},
		{"Authorization", bearer, "Authorization", basic(f.agent.Pair.AccessKey, "x")},
		{"Authorization", "Bearer "}, {"Authorization", "Bearer"}, {"Authorization", "bearer x"},
	} {
		a := f.post("/auth/introspect", url.Values{"token": {token}}, header...)
		require.Equal(t, "invalid_token", a.code(), header)
		require.Equal(t, 401, a.status)
	}
}

// If a client stops sending its form, it gets a 408, and no instance waits for it.
func TestAFormThatIsHeldBackIsA408(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *auth.Config) { cfg.Timeout = 500 * time.Millisecond })
	for _, path := range []string{"/auth/token", "/auth/revoke", "/auth/introspect"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n"+
			"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant", path)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestTimeout, answer.StatusCode)
	}
}

// deadlines is a ResponseWriter that records the read deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error { d.set = append(d.set, at); return nil }

// The deadline of a form must not end a later request of the connection, or cancel this one.
func TestTheDeadlineOfAFormEndsWithTheForm(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	server, err := oauth.New(f.svc, oauth.Config{})
	require.NoError(t, err)
	for body, want := range map[string]int{
		client(f.ada.Pair, "grant_type", "client_credentials").Encode(): 2, strings.Repeat("x", 20<<10): 1,
	} {
		r := httptest.NewRequest("POST", "/auth/token", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		server.TokenHandler().ServeHTTP(w, r)
		require.Len(t, w.set, want, w.Body.String())
		require.WithinDuration(t, before.Add(5*time.Second), w.set[0], time.Second, "half of Config.Timeout")
		if want == 2 {
			require.Zero(t, w.set[1])
			require.Equal(t, 200, w.Code)
		}
	}
}

// The path of an issuer can contain a brace, which must not become a wildcard.
func TestThePathOfAnIssuerIsNoPattern(t *testing.T) {
	t.Parallel()
	key, err := auth.NewHS256Key("", []byte("0123456789abcdef0123456789abcdef-oauth"))
	require.NoError(t, err)
	svc, err := auth.New(memstore.New(), auth.Config{Issuer: "https://example.com/%7Ba%7D",
		SigningKeys: []auth.SigningKey{key}, Proxies: auth.NoProxies()})
	require.NoError(t, err)
	server, err := oauth.New(svc, oauth.Config{})
	require.NoError(t, err)
	mux := http.NewServeMux()
	server.Mount(mux)
	for path, want := range map[string]int{"/%7Ba%7D": 200, "/other": 404, "": 404} {
		for _, document := range []string{"oauth-authorization-server", "oauth-protected-resource"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/"+document+path, nil))
			require.Equal(t, want, w.Code, path)
			require.NotContains(t, w.Body.String(), "scopes_supported", "there are none")
		}
	}
}
