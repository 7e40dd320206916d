package recipes_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
	mcpauth "github.com/sallyport-go/auth/recipes/mcp"
)

// mcpFixture is a service with an MCP server, and two services that verify tokens of the first: the reports,
// which the MCP server calls for its callers, and another MCP server.
type mcpFixture struct {
	svc            *auth.Service
	url, elsewhere string // of the service, and of the other MCP server
	ada, agent     auth.Registration
	reportsGot     []auth.Identity
}

func newMCPFixture(t *testing.T) *mcpFixture {
	t.Helper()
	f := &mcpFixture{}
	mux, reports, other := http.NewServeMux(), http.NewServeMux(), http.NewServeMux()
	f.url, f.elsewhere = serve(t, mux), serve(t, other)
	reportsURL := serve(t, reports)
	key, err := auth.NewEdDSAKey("", ed25519.NewKeyFromSeed([]byte(strings.Repeat("mcp-seed", 4))))
	require.NoError(t, err)
	f.svc, err = auth.New(memstore.New(), auth.Config{
		Issuer: f.url, SigningKeys: []auth.SigningKey{key}, Proxies: auth.NoProxies(),
		Tokens: auth.TokenConfig{Scopes: []string{"notes:read", "notes:write", "reports:read"},
			Audiences: []string{reportsURL, f.elsewhere + "/mcp"}},
		ResourceMetadataURL: f.url + "/.well-known/oauth-protected-resource/mcp",
		Logger:              slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	f.svc.Mount(mux)
	oauthServer, err := oauth.New(f.svc, oauth.Config{})
	require.NoError(t, err)
	oauthServer.Mount(mux)
	f.ada = f.register(t, auth.UserParams{Username: "ada"})
	f.agent = f.register(t, auth.UserParams{Username: "agent", IsService: true,
		Audiences: []string{reportsURL, f.elsewhere + "/mcp"}})

	verifier := f.verifier(t, reportsURL, "")
	reports.Handle("GET /report", verifier.RequireScope("reports:read", http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			caller, _ := auth.IdentityFromContext(r.Context())
			f.reportsGot = append(f.reportsGot, caller)
			_, _ = io.WriteString(w, "the report of "+caller.Username)
		})))
	notes := &mcpauth.Notes{}
	server := mcpauth.New(f.svc, &mcp.Implementation{Name: "notes", Version: "1"})
	notes.AddTools(server)
	(&mcpauth.Reports{Tokens: f.svc.Tokens(), AgentID: f.agent.User.ID, Audience: reportsURL,
		URL: reportsURL + "/report"}).AddTools(server)
	mux.Handle("/mcp", server.Handler("notes:read"))
	mux.Handle("/.well-known/oauth-protected-resource/mcp",
		mcpauth.Metadata(f.url, f.url, "notes:read", "notes:write", "reports:read"))

	elsewhere := mcpauth.New(
		f.verifier(t, f.elsewhere+"/mcp", f.elsewhere+"/.well-known/oauth-protected-resource/mcp"),
		&mcp.Implementation{Name: "other notes", Version: "1"})
	notes.AddTools(elsewhere)
	other.Handle("/mcp", elsewhere.Handler("notes:read"))
	other.Handle("/.well-known/oauth-protected-resource/mcp",
		mcpauth.Metadata(f.elsewhere, f.url, "notes:read", "notes:write"))
	return f
}

func (f *mcpFixture) register(t *testing.T, params auth.UserParams) auth.Registration {
	t.Helper()
	made, err := f.svc.Register(t.Context(), auth.ByHost("setup"), params)
	require.NoError(t, err)
	return made
}

func (f *mcpFixture) verifier(t *testing.T, audience, metadata string) *auth.RemoteVerifier {
	t.Helper()
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{JWKS: f.svc.Tokens().JWKS(),
		Issuer: f.url, Audience: audience, ResourceMetadataURL: metadata,
		Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return verifier
}

// key returns another access key of ada.
func (f *mcpFixture) key(t *testing.T, scopes ...string) auth.KeyPair {
	t.Helper()
	pair, err := f.svc.Credentials().Issue(t.Context(), auth.ByHost("setup"), f.ada.User.ID,
		auth.KeyOptions{Scopes: auth.NewScopes(scopes...)})
	require.NoError(t, err)
	return pair
}

// connect connects the client of the SDK.
func connect(t *testing.T, transport *mcp.StreamableClientTransport) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), transport, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// use calls a tool, and returns its text or the text of its error.
func use(session *mcp.ClientSession, tool string, arguments any) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return "", err
	}
	text, _ := result.Content[0].(*mcp.TextContent)
	return text.Text, nil
}

var noArguments = map[string]any{}

// signingIn returns the SDK's own handler of sign-ins. It reads the challenge of a 401 and both metadata
// documents, and gets a token. After a 403, it gets a token with one more scope.
func signingIn(t *testing.T, pair auth.KeyPair) *extauth.ClientCredentialsHandler {
	t.Helper()
	handler, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{
			ClientID:         pair.AccessKey,
			ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: pair.AccessSecret.Reveal()},
		},
	})
	require.NoError(t, err)
	return handler
}

func TestTheClientOfTheMCPSDKFindsItsWayIn(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	handler := signingIn(t, f.ada.Pair)
	session := connect(t, &mcp.StreamableClientTransport{Endpoint: f.url + "/mcp", OAuthHandler: handler})
	scopes := func() string {
		source, err := handler.TokenSource(t.Context())
		require.NoError(t, err)
		token, err := source.Token()
		require.NoError(t, err)
		identity, err := f.svc.Tokens().Verify(t.Context(), token.AccessToken)
		require.NoError(t, err)
		require.Equal(t, f.ada.User.ID, identity.UserID)
		return identity.Scope
	}
	tools, err := session.ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, tools.Tools, 3)
	require.Equal(t, "notes:read", scopes(), "the client asks for no more than the challenge names")
	text, err := use(session, "list_notes", noArguments)
	require.NoError(t, err)
	require.JSONEq(t, `{"notes": []}`, text)
	text, err = use(session, "add_note", map[string]any{"text": "buy milk"})
	require.NoError(t, err)
	require.JSONEq(t, `{"notes": ["buy milk"]}`, text)
	require.Equal(t, "notes:read notes:write", scopes(), "one more, after the tool has refused")
}

// A program that uses authclient needs no metadata, and its token has all scopes of its key.
func TestAuthclientConnectsToTheMCPServer(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	pair := f.key(t, "notes:read", "notes:write")
	client, err := authclient.New(f.url, authclient.FromPair(pair.AccessKey, pair.AccessSecret.Reveal()))
	require.NoError(t, err)
	session := connect(t,
		&mcp.StreamableClientTransport{Endpoint: f.url + "/mcp", HTTPClient: client.HTTP()})
	text, err := use(session, "add_note", map[string]any{"text": "buy milk"})
	require.NoError(t, err)
	require.JSONEq(t, `{"notes": ["buy milk"]}`, text)
	require.NoError(t, client.Logout(t.Context()))
	text, err = use(session, "list_notes", noArguments)
	require.NoError(t, err)
	require.JSONEq(t, `{"notes": ["buy milk"]}`, text, "the client has signed in again")
}

func TestAToolNeedsItsScope(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	reading := signingIn(t, f.key(t, "notes:read"))
	session := connect(t, &mcp.StreamableClientTransport{Endpoint: f.url + "/mcp", OAuthHandler: reading})
	_, err := use(session, "add_note", map[string]any{"text": "x"})
	require.ErrorContains(t, err, "invalid_scope", "the client asks for the scope, and its key lacks it")
	text, err := use(session, "list_notes", noArguments)
	require.NoError(t, err)
	require.JSONEq(t, `{"notes": []}`, text, "nothing was written")

	writing := signingIn(t, f.key(t, "notes:write"))
	_, err = mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(),
		&mcp.StreamableClientTransport{Endpoint: f.url + "/mcp", OAuthHandler: writing}, nil)
	require.ErrorContains(t, err, "invalid_scope", "the endpoint itself needs notes:read")
}

// token returns a token of ada's for an audience, or for the service if the audience is empty.
func (f *mcpFixture) token(t *testing.T, audience string, scopes ...string) string {
	t.Helper()
	token, err := f.svc.SignIn(t.Context(), f.ada.User.ID,
		auth.LoginOptions{Audience: audience, Scopes: auth.NewScopes(scopes...)})
	require.NoError(t, err)
	return token.Bearer.Reveal()
}

// post sends a message of JSON-RPC without the SDK.
func post(t *testing.T, target, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(text)
}

const addNote = `{"jsonrpc": "2.0", "id": 1, "method": "tools/call", ` +
	`"params": {"name": "add_note", "arguments": {"text": "x"}}}`

// The attack: a token for another service, or from another place than the header, opens the MCP server.
func TestTheMCPServerChallengesEveryOtherToken(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	metadata := `resource_metadata="` + f.url + `/.well-known/oauth-protected-resource/mcp"`
	limited, whole := f.token(t, "", "notes:read"), f.token(t, "", "notes:read", "notes:write")
	elsewhere := f.token(t, f.elsewhere+"/mcp", "notes:read", "notes:write")
	const forged = `Bearer error="invalid_token", scope="notes:read", `
	for name, test := range map[string]struct {
		query  string
		header []string
		status int
		want   string
	}{
		"no token":              {"", nil, 401, `Bearer scope="notes:read", ` + metadata},
		"a forged token":        {"", []string{"Authorization", "Bearer x"}, 401, forged + metadata},
		"for another service":   {"", []string{"Authorization", "Bearer " + elsewhere}, 401, forged + metadata},
		"a token in the query":  {"?access_token=" + whole, nil, 401, `Bearer scope="notes:read", ` + metadata},
		"two tokens":            {"", []string{"Authorization", "Bearer " + whole, "Authorization", "Bearer " + whole}, 401, forged + metadata},
		"the scope is missing":  {"", []string{"Authorization", "Bearer " + limited}, 403, `Bearer error="insufficient_scope", scope="notes:write", ` + metadata},
		"the token of the user": {"", []string{"Authorization", "Bearer " + whole}, 200, ""},
	} {
		response, text := post(t, f.url+"/mcp"+test.query, addNote, test.header...)
		require.Equal(t, test.status, response.StatusCode, "%s: %s", name, text)
		require.Equal(t, test.want, response.Header.Get("WWW-Authenticate"), name)
	}
	response, _ := post(t, f.url+"/mcp", strings.Repeat(" ", 1<<20)+addNote, "Authorization", "Bearer "+whole)
	require.Equal(t, http.StatusBadRequest, response.StatusCode, "a huge body")
}

// The attack: a message that the check of the scope reads in another way than the SDK does.
func TestNoSpellingOfACallAvoidsTheScopeOfATool(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	for name, body := range map[string]string{
		"as it is":              addNote,
		"two names":             strings.Replace(addNote, `"name": "add_note"`, `"name": "list_notes", "name": "add_note"`, 1),
		"two names, reversed":   strings.Replace(addNote, `"name": "add_note"`, `"name": "add_note", "name": "list_notes"`, 1),
		"another letter case":   strings.Replace(addNote, `"name": "add_note"`, `"name": "add_note", "Name": "list_notes"`, 1),
		"two methods":           strings.Replace(addNote, `"method"`, `"Method": "tools/list", "method"`, 1),
		"a list of messages":    "[" + addNote + "]",
		"an escaped name":       strings.Replace(addNote, "add_note", `add\u005fnote`, 1),
		"text after the object": addNote + addNote,
	} {
		token := "Bearer " + f.token(t, "", "notes:read")
		_, text := post(t, f.url+"/mcp", body, "Authorization", token)
		require.NotContains(t, text, `\"x\"`, name)
		_, text = post(t, f.url+"/mcp", strings.Replace(strings.Replace(addNote, "add_note", "list_notes", 1),
			`{"text": "x"}`, "{}", 1), "Authorization", token)
		require.Contains(t, text, `[]`, name)
		require.NotContains(t, text, `"x"`, name)
	}
}

// A revoked session ends at the next message, because each message proves its caller.
func TestARevokedSessionOpensNoTool(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	token := f.token(t, "", "notes:read", "notes:write")
	response, _ := post(t, f.url+"/mcp", addNote, "Authorization", "Bearer "+token)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), token))
	response, _ = post(t, f.url+"/mcp", addNote, "Authorization", "Bearer "+token)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
}

func TestAToolCallsAnotherServiceForItsCaller(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	session := connect(t, &mcp.StreamableClientTransport{Endpoint: f.url + "/mcp",
		OAuthHandler: signingIn(t, f.ada.Pair)})
	text, err := use(session, "read_report", noArguments)
	require.NoError(t, err)
	require.JSONEq(t, `{"text": "the report of ada"}`, text)
	require.Len(t, f.reportsGot, 1)
	require.Equal(t, f.ada.User.ID, f.reportsGot[0].UserID)
	require.Equal(t, f.agent.User.ID, f.reportsGot[0].Actor)
	require.Equal(t, "reports:read", f.reportsGot[0].Scope)
}

// An agent has a token of a user. It exchanges the token for one with which it calls an MCP server that runs
// in another service.
func TestAnAgentCallsAnotherMCPServerForAUser(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	ctx, userToken := t.Context(), f.token(t, "", "notes:read", "notes:write")
	exchange := clientcredentials.Config{
		ClientID:     f.agent.Pair.AccessKey,
		ClientSecret: f.agent.Pair.AccessSecret.Reveal(),
		TokenURL:     f.url + "/auth/token",
		AuthStyle:    oauth2.AuthStyleInHeader,
		Scopes:       []string{"notes:read"},
		EndpointParams: url.Values{
			"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token":      {userToken},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			"resource":           {f.elsewhere + "/mcp"},
		},
	}
	session := connect(t, &mcp.StreamableClientTransport{Endpoint: f.elsewhere + "/mcp",
		HTTPClient: exchange.Client(ctx), DisableStandaloneSSE: true})
	text, err := use(session, "list_notes", noArguments)
	require.NoError(t, err)
	require.JSONEq(t, `{"notes": []}`, text)
	_, err = use(session, "add_note", map[string]any{"text": "x"})
	require.ErrorContains(t, err, "Forbidden", "the token is limited to notes:read")

	token, err := exchange.Token(ctx)
	require.NoError(t, err)
	response, _ := post(t, f.url+"/mcp", addNote, "Authorization", "Bearer "+token.AccessToken)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode, "the token is for the other server alone")
	response, _ = post(t, f.elsewhere+"/mcp", addNote, "Authorization", "Bearer "+userToken)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode, "the user's own token is for the service")
	require.Contains(t, response.Header.Get("WWW-Authenticate"),
		`resource_metadata="`+f.elsewhere+`/.well-known/oauth-protected-resource/mcp"`)
}

// Without the gate, there is no caller, whose token would have no limit.
func TestAToolWithoutAGateIsRefused(t *testing.T) {
	t.Parallel()
	notes, server := &mcpauth.Notes{}, mcpauth.New(open{}, &mcp.Implementation{Name: "notes", Version: "1"})
	notes.AddTools(server)
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(addNote))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	server.Handler("notes:read").ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
}

// open is a gate that lets everybody pass.
type open struct{}

func (open) RequireScope(_ string, next http.Handler) http.Handler { return next }

// Clients compare the resource with the URL of the server, byte for byte (RFC 9728, section 3.3).
func TestTheMetadataNamesTheMCPServer(t *testing.T) {
	t.Parallel()
	f := newMCPFixture(t)
	for _, base := range []string{f.url, f.elsewhere} {
		response, err := http.Get(base + "/.well-known/oauth-protected-resource/mcp")
		require.NoError(t, err)
		var metadata map[string]any
		require.NoError(t, json.NewDecoder(response.Body).Decode(&metadata))
		require.NoError(t, response.Body.Close())
		require.Equal(t, base+"/mcp", metadata["resource"])
		require.Equal(t, []any{f.url}, metadata["authorization_servers"])
	}
}
