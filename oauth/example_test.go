package oauth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

// A standard OAuth client signs in with an access key.
func Example() {
	ctx := context.Background()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	signing, err := auth.NewEdDSAKey("", private)
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer: server.URL, SigningKeys: []auth.SigningKey{signing}, Proxies: auth.NoProxies(),
		Tokens: auth.TokenConfig{Scopes: []string{"reports:read"}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	oauthServer, err := oauth.New(svc, oauth.Config{})
	if err != nil {
		log.Fatal(err)
	}
	svc.Mount(mux)
	oauthServer.Mount(mux)
	mux.Handle("GET /reports", svc.RequireScope("reports:read", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the reports") })))

	ada, err := svc.Register(ctx, auth.ByHost("example"), auth.UserParams{Username: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	cfg := clientcredentials.Config{
		ClientID:     ada.Pair.AccessKey,
		ClientSecret: ada.Pair.AccessSecret.Reveal(),
		TokenURL:     server.URL + "/auth/token",
		Scopes:       []string{"reports:read"},
	}
	response, err := cfg.Client(ctx).Get(server.URL + "/reports")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	fmt.Println(response.StatusCode)
	// Output: 200
}
