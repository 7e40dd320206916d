package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

const grantAssertion = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// assertions is a verifier that accepts the texts that are its keys.
type assertions map[string]auth.WorkloadSignIn

func (a assertions) VerifyAssertion(_ context.Context, assertion string) (auth.WorkloadSignIn, error) {
	switch assertion {
	case "outage":
		return auth.WorkloadSignIn{}, errors.New("the issuer hangs")
	case "not found": // such as a host's own verifier that asks a database
		return auth.WorkloadSignIn{}, fmt.Errorf("asking: %w", auth.ErrNotFound)
	case "panic":
		panic("broken")
	}
	signIn, ok := a[assertion]
	if !ok {
		return auth.WorkloadSignIn{}, fmt.Errorf("%w: no such assertion", auth.ErrAssertionRejected)
	}
	return signIn, nil
}

// workloadFixture is a fixture whose second server accepts assertions.
type workloadFixture struct {
	*fixture
	log authtest.Log
}

func newWorkloadFixture(t *testing.T) *workloadFixture {
	t.Helper()
	f := &workloadFixture{}
	f.fixture = newFixture(t, func(cfg *auth.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&f.log, nil))
	})
	limited, soon := auth.NewScopes("reports:read"), time.Now().Add(time.Minute)
	server, err := oauth.New(f.svc, oauth.Config{Workloads: assertions{
		"agent": {UserID: f.agent.User.ID, Reusable: true, ExpiresAt: soon},
		"limited": {UserID: f.agent.User.ID, Scopes: limited, Lifetime: time.Minute, Reusable: true,
			ExpiresAt: soon},
		"ada":  {UserID: f.ada.User.ID, Reusable: true, ExpiresAt: soon},
		"once": {UserID: f.agent.User.ID, Issuer: "https://ci.example.com", AssertionID: "1", ExpiresAt: soon},
		"bad audience": {UserID: f.agent.User.ID, Audience: "https://unknown.example.com", Reusable: true,
			ExpiresAt: soon},
	}})
	require.NoError(t, err)
	mux := http.NewServeMux()
	server.Mount(mux)
	with := httptest.NewServer(mux)
	t.Cleanup(with.Close)
	f.url = with.URL
	return f
}

func (f *workloadFixture) assert(assertion string, parameters ...string) answer {
	form := url.Values{"grant_type": {grantAssertion}, "assertion": {assertion}}
	for i := 0; i < len(parameters); i += 2 {
		form.Add(parameters[i], parameters[i+1])
	}
	return f.post("/auth/token", form)
}

func TestAWorkloadSignsInWithAnAssertion(t *testing.T) {
	t.Parallel()
	f := newWorkloadFixture(t)
	for _, test := range []struct {
		assertion, scope, resource, scopes, target string
		seconds                                    int
	}{
		{"agent", "", "", "", "", 900},
		{"agent", "reports:write", "", "reports:write", "", 900},
		{"limited", "", "", "reports:read", "", 60},
		{"limited", "reports:read", reports, "reports:read", reports, 60},
		{"bad audience", "", "", "", "", 900}, // the request chooses the audience
	} {
		a := f.assert(test.assertion, "scope", test.scope, "resource", test.resource)
		require.Equal(t, 200, a.status, a.text)
		require.Equal(t, "Bearer", a.body["token_type"])
		require.EqualValues(t, test.seconds, a.body["expires_in"])
		if test.scopes == "" {
			require.Len(t, a.body, 3)
		} else {
			require.Equal(t, test.scopes, a.body["scope"])
		}
		target := test.target
		if target == "" {
			target = f.svc.Tokens().Issuer()
		}
		identity, err := f.svc.Tokens().VerifyFor(t.Context(), target, a.body["access_token"].(string))
		require.NoError(t, err)
		require.Equal(t, f.agent.User.ID, identity.UserID)
		require.Equal(t, test.scopes, identity.Scope)
	}
}

func TestAssertionsThatOpenNoSession(t *testing.T) {
	t.Parallel()
	f := newWorkloadFixture(t)
	require.Equal(t, 200, f.assert("once").status)
	form := url.Values{"grant_type": {grantAssertion}, "assertion": {"agent"}}
	header := basic(f.agent.Pair.AccessKey, f.agent.Pair.AccessSecret.Reveal())
	for name, test := range map[string]struct {
		answer answer
		status int
		code   string
	}{
		"unknown":                 {f.assert("x"), 400, "invalid_grant"},
		"used":                    {f.assert("once"), 400, "invalid_grant"},
		"person":                  {f.assert("ada"), 400, "invalid_grant"},
		"none":                    {f.assert(""), 400, "invalid_request"},
		"more scopes":             {f.assert("limited", "scope", "reports:read reports:write"), 400, "invalid_scope"},
		"unknown scope":           {f.assert("agent", "scope", "x"), 400, "invalid_scope"},
		"unknown resource":        {f.assert("agent", "resource", "https://x.example.com"), 400, "invalid_target"},
		"two resources":           {f.assert("agent", "resource", reports, "resource", other), 400, "invalid_target"},
		"two assertions":          {f.assert("agent", "assertion", "limited"), 400, "invalid_request"},
		"secret too":              {f.assert("agent", "client_secret", "x"), 400, "invalid_request"},
		"assertion of a client":   {f.assert("agent", "client_assertion", "x"), 400, "invalid_request"},
		"header too":              {f.post("/auth/token", form, "Authorization", header), 400, "invalid_request"},
		"bearer token too":        {f.post("/auth/token", form, "Authorization", "Bearer x"), 400, "invalid_request"},
		"assertion in the URL":    {f.post("/auth/token?assertion=agent", form), 400, "invalid_request"},
		"no assertions at revoke": {f.post("/auth/revoke", form), 400, "invalid_request"},
		"outage":                  {f.assert("outage"), 503, "temporarily_unavailable"},
		"error of another kind":   {f.assert("not found"), 503, "temporarily_unavailable"},
		"panic":                   {f.assert("panic"), 503, "temporarily_unavailable"},
	} {
		require.Equal(t, test.status, test.answer.status, "%s: %s", name, test.answer.text)
		require.Equal(t, test.code, test.answer.code(), name)
		require.NotContains(t, test.answer.text, "hangs")
	}
}

// Without a verifier, the grant does not exist, and the metadata does not list it.
func TestTheGrantOfAssertionsExistsOnlyWithAVerifier(t *testing.T) {
	t.Parallel()
	f := newWorkloadFixture(t)
	without := f.svc.Tokens().Issuer()
	f.fixture.url = without
	require.Equal(t, "unsupported_grant_type", f.assert("agent").code())
	for _, test := range []struct {
		server oauth.Config
		listed bool
	}{{oauth.Config{}, false}, {oauth.Config{Workloads: assertions{}}, true}} {
		server, err := oauth.New(f.svc, test.server)
		require.NoError(t, err)
		w := httptest.NewRecorder()
		server.ServerMetadataHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, test.listed, strings.Contains(w.Body.String(), grantAssertion))
	}
}

// The log of the service is about its store. An issuer that does not answer is no failure of the store.
func TestAnIssuerThatHangsIsNoOutageOfTheStore(t *testing.T) {
	t.Parallel()
	f := newWorkloadFixture(t)
	f.assert("outage")
	require.NotContains(t, f.log.String(), "request failed")
}

// A store that fails is neither a rejected assertion nor a used one.
func TestAnAssertionIsNotUsedUpIfTheStoreFailsBefore(t *testing.T) {
	t.Parallel()
	failing := ""
	store := authtest.FaultyStore(memstore.New(), func(method string) error {
		if method == failing {
			return errors.New("the disk is full")
		}
		return nil
	})
	f := newFixture(t)
	svc, err := auth.New(store, auth.Config{Issuer: f.url, SigningKeys: []auth.SigningKey{signingKey(t)},
		Proxies: auth.NoProxies(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	made, err := svc.Register(t.Context(), byHost, auth.UserParams{Username: "agent", IsService: true})
	require.NoError(t, err)
	signIn := auth.WorkloadSignIn{UserID: made.User.ID, Issuer: "x", AssertionID: "1",
		ExpiresAt: time.Now().Add(time.Minute)}
	for _, failing = range []string{"FindUser", "ConsumeState", "CreateSession"} {
		_, err := svc.SignInWorkload(t.Context(),
			func(context.Context) (auth.WorkloadSignIn, error) { return signIn, nil })
		require.ErrorContains(t, err, "the disk is full", failing)
		require.NotErrorIs(t, err, auth.ErrAssertionRejected)
	}
	failing = ""
	_, err = svc.SignInWorkload(t.Context(),
		func(context.Context) (auth.WorkloadSignIn, error) { return signIn, nil })
	require.ErrorIs(t, err, auth.ErrAssertionRejected, "CreateSession came after it was used")
}
