package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/memstore"
)

// newIssuer returns a service whose tokens another service can verify.
func newIssuer(store auth.Store, keyFile string) (*auth.Service, error) {
	pemFile, err := auth.ReadKeyFile(keyFile, nil)
	if err != nil {
		return nil, err
	}
	keys, err := auth.ParseSigningKeys(pemFile)
	if err != nil {
		return nil, err
	}
	return auth.New(store, auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: keys,
		Tokens:      auth.TokenConfig{Audiences: []string{"https://reports.example.com"}},
		Proxies:     auth.NoProxies(),
	})
}

// A service publishes its public key, so that other services can verify its tokens.
func Example_publicKeys() {
	_, private, _ := ed25519.GenerateKey(nil)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// In production, "openssl genpkey -algorithm ed25519 -out signing.pem" writes the file.
	keyFile := filepath.Join(dir, "signing.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(keyFile, text, 0o600); err != nil {
		log.Fatal(err)
	}
	svc, err := newIssuer(memstore.New(), keyFile)
	if err != nil {
		log.Fatal(err)
	}
	answer := httptest.NewRecorder()
	svc.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil))
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `"crv":"Ed25519"`))
	// Output: 200 true
}

// Another service, which has no access to the store, verifies tokens with the public keys of the
// issuer.
func ExampleRemoteVerifier() {
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKSURL:  "https://api.example.com/.well-known/jwks.json",
		Issuer:   "https://api.example.com",
		Audience: "https://reports.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: "127.0.0.1:8081", Handler: newReports(verifier)}
	fmt.Println(server.Addr)
}

// newReports returns the handler of a service that verifies tokens of another service.
func newReports(verifier *auth.RemoteVerifier) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /reports",
		verifier.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, _ := auth.IdentityFromContext(r.Context())
			io.WriteString(w, "the reports of "+caller.UserID)
		})))
	return mux
}

// A test of the other service makes an issuer in memory, and passes the issuer's keys to the verifier.
func ExampleRemoteVerifier_test() {
	ctx := context.Background()
	_, private, err1 := ed25519.GenerateKey(nil)
	key, err2 := auth.NewEdDSAKey("", private)
	issuer, err3 := auth.New(memstore.New(), auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Tokens:      auth.TokenConfig{Audiences: []string{"https://reports.example.com"}},
		Proxies:     auth.NoProxies(),
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err := errors.Join(err1, err2, err3); err != nil {
		log.Fatal(err)
	}
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKS:     issuer.Tokens().JWKS(),
		Issuer:   "https://api.example.com",
		Audience: "https://reports.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	alice, err := issuer.Register(ctx, auth.ByHost("test"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := issuer.SignIn(ctx, alice.User.ID,
		auth.LoginOptions{Audience: "https://reports.example.com"})
	if err != nil {
		log.Fatal(err)
	}

	request := httptest.NewRequest(http.MethodGet, "/reports", nil)
	request.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())
	answer := httptest.NewRecorder()
	newReports(verifier).ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Body.String() == "the reports of "+alice.User.ID)
	// Output: 200 true
}

// A route of the other service needs a scope. The key of the build server does not have it.
func ExampleRemoteVerifier_RequireScope() {
	ctx := context.Background()
	_, private, err1 := ed25519.GenerateKey(nil)
	key, err2 := auth.NewEdDSAKey("", private)
	issuer, err3 := auth.New(memstore.New(), auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Tokens: auth.TokenConfig{
			Audiences: []string{"https://reports.example.com"},
			Scopes:    []string{"reports:read", "reports:write"},
		},
		Proxies: auth.NoProxies(),
	})
	if err := errors.Join(err1, err2, err3); err != nil {
		log.Fatal(err)
	}
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKS:     issuer.Tokens().JWKS(),
		Issuer:   "https://api.example.com",
		Audience: "https://reports.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	list := http.HandlerFunc(reports)
	mux := http.NewServeMux()
	mux.Handle("GET /reports", verifier.RequireScope("reports:read", list))

	for name, scopes := range map[string]*auth.ScopeSet{
		"dashboard":    auth.NewScopes("reports:read"),
		"build server": auth.NewScopes("reports:write"),
	} {
		made, err := issuer.Register(ctx, auth.ByHost("setup"),
			auth.UserParams{Username: name, Key: auth.KeyOptions{Scopes: scopes}})
		if err != nil {
			log.Fatal(err)
		}
		token, err := issuer.Login(ctx, made.Pair, auth.LoginOptions{Audience: "https://reports.example.com"})
		if err != nil {
			log.Fatal(err)
		}
		bearer := "Bearer " + token.Bearer.Reveal()
		fmt.Println(name, send(mux, "GET", "/reports", "", bearer).Code)
	}
	// Unordered output:
	// dashboard 200
	// build server 403
}

// This service cannot connect to the issuer. It verifies tokens with a key set from a mounted file,
// and reads the file again each minute.
func ExampleRemoteVerifier_SetJWKS() {
	const file = "/etc/auth/jwks.json"
	jwks, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKS:     jwks,
		Issuer:   "https://api.example.com",
		Audience: "https://reports.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for range time.Tick(time.Minute) {
			jwks, err := os.ReadFile(file)
			if err == nil {
				err = verifier.SetJWKS(jwks)
			}
			if err != nil {
				log.Print(err) // the verifier uses the keys that it has
			}
		}
	}()
}

// newPublishingIssuer returns an issuer whose revocations other services can follow, its server, and the
// access key of a service user for one of these services.
func newPublishingIssuer(ctx context.Context) (*auth.Service, *httptest.Server, auth.KeyPair, error) {
	_, private, err1 := ed25519.GenerateKey(nil)
	key, err2 := auth.NewEdDSAKey("", private)
	issuer, err3 := auth.New(memstore.New(), auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Tokens: auth.TokenConfig{
			Audiences: []string{"https://reports.example.com"},
			Scopes:    []string{},
		},
		Proxies: auth.NoProxies(),
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, auth.KeyPair{}, err
	}
	mux := http.NewServeMux()
	issuer.Mount(mux, auth.GroupSignIn, auth.GroupVerifiers)

	reports, err := issuer.Register(ctx, auth.ByHost("setup"), auth.UserParams{
		Username:  "reports",
		IsService: true,
		Key:       auth.KeyOptions{Scopes: auth.NewScopes(auth.ScopeRevocations)},
	})
	if err != nil {
		return nil, nil, auth.KeyPair{}, err
	}
	return issuer, httptest.NewServer(mux), reports.Pair, nil
}

// Another service follows the revocations of the issuer. It accepts a token for the token's whole lifetime,
// and rejects the token soon after its session was revoked.
func ExampleRemoteVerifier_Run() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	issuer, server, pair, err := newPublishingIssuer(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := authclient.New(server.URL,
		authclient.FromPair(pair.AccessKey, pair.AccessSecret.Reveal()))
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKSURL:        server.URL + "/.well-known/jwks.json",
		Issuer:         "https://api.example.com",
		Audience:       "https://reports.example.com",
		RevocationsURL: server.URL + "/auth/revocations",
		TokenSource:    client.SignInSource(ctx),
	})
	if err != nil {
		log.Fatal(err)
	}
	go verifier.Run(ctx)

	alice, err := issuer.Register(ctx, auth.ByHost("test"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := issuer.SignIn(ctx, alice.User.ID,
		auth.LoginOptions{Audience: "https://reports.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = verifier.Verify(ctx, token.Bearer.Reveal())
	fmt.Println("before:", err)
	if err := issuer.Tokens().RevokeToken(ctx, token.Bearer.Reveal()); err != nil {
		log.Fatal(err)
	}
	for range time.Tick(10 * time.Millisecond) { // for about a second
		if _, err = verifier.Verify(ctx, token.Bearer.Reveal()); err != nil {
			break
		}
	}
	fmt.Println("after:", errors.Is(err, auth.ErrTokenRejected))
	// Output:
	// before: <nil>
	// after: true
}
