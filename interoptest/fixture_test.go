package interoptest

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

// resource is a service that accepts tokens of the issuer.
const resource = "https://reports.example.com"

var byHost = auth.ByHost("test")

// importedPair has every character that a client must encode in the Authorization header (RFC 6749, section
// 2.3.1), and a colon, which ends the name there.
var importedPair = auth.KeyPair{AccessKey: "team/ada:laptop@example.com",
	AccessSecret: auth.NewSecret("p:a+s s%w&r=d?#\"'~*()!é")}

// fixture is a service with OAuth calls and a route of its own, over TLS. The user ada has a key of the
// library and an imported one. The service user agent may ask for tokens for the resource.
type fixture struct {
	svc        *auth.Service
	server     *httptest.Server
	ada, agent auth.Registration
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{}
	key, err := auth.NewEdDSAKey("", ed25519.NewKeyFromSeed([]byte(strings.Repeat("interop!", 4))))
	require.NoError(t, err)
	sealing, err := auth.NewSymmetricKey("s1", []byte("0123456789abcdef-sealing-interop"))
	require.NoError(t, err)
	mux := http.NewServeMux()
	f.server = httptest.NewTLSServer(mux)
	t.Cleanup(f.server.Close)
	f.svc, err = auth.New(memstore.New(), auth.Config{
		Issuer: f.server.URL, PublicURL: f.server.URL, SigningKeys: []auth.SigningKey{key},
		SealingKeys: []auth.SymmetricKey{sealing}, BrowserSessions: &auth.BrowserSessions{},
		Proxies: auth.NoProxies(),
		Tokens: auth.TokenConfig{Scopes: []string{"reports:read", "reports:write"},
			Audiences: []string{resource}},
		Credentials:         auth.CredentialConfig{AllowImported: true},
		ResourceMetadataURL: f.server.URL + "/.well-known/oauth-protected-resource",
		Logger:              slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	oauthServer, err := oauth.New(f.svc, oauth.Config{
		DeviceClients: []oauth.DeviceClient{
			{ID: "cli", Name: "The command line", Scopes: []string{"reports:read"}},
		},
		DevicePage: f.server.URL + "/device",
	})
	require.NoError(t, err)
	f.svc.Mount(mux)
	oauthServer.Mount(mux)
	mux.Handle("GET /reports", f.svc.RequireScope("reports:read", http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			caller, _ := auth.IdentityFromContext(r.Context())
			fmt.Fprint(w, "the reports of ", caller.Username)
		})))
	mux.HandleFunc("GET /device", f.approve) // without a page
	f.ada = f.register(t, auth.UserParams{Username: "ada"})
	f.agent = f.register(t,
		auth.UserParams{Username: "agent", IsService: true, Audiences: []string{resource}})
	require.NoError(t, f.svc.Credentials().Import(t.Context(), byHost, auth.ImportedKey{
		UserID: f.ada.User.ID, AccessKey: importedPair.AccessKey, Secret: importedPair.AccessSecret}))
	return f
}

// approve approves the device with the user code in the URL, for ada.
func (f *fixture) approve(w http.ResponseWriter, r *http.Request) {
	ctx, code := r.Context(), r.FormValue("user_code")
	session, err := f.svc.SignIn(ctx, f.ada.User.ID, auth.LoginOptions{})
	by := auth.Authority{SessionID: session.Session.ID, UserID: f.ada.User.ID}
	if err == nil {
		_, err = f.svc.ClaimDevice(ctx, by, code)
	}
	if err == nil {
		_, err = f.svc.ApproveDevice(ctx, by, code)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (f *fixture) register(t *testing.T, params auth.UserParams) auth.Registration {
	t.Helper()
	made, err := f.svc.Register(t.Context(), byHost, params)
	require.NoError(t, err)
	return made
}

// clientContext returns a context with which x/oauth2 and go-oidc trust the certificate of the server.
func (f *fixture) clientContext(t *testing.T) context.Context {
	t.Helper()
	return context.WithValue(t.Context(), oauth2.HTTPClient, f.server.Client())
}
