package console_test

import (
	"crypto/rand"
	"log"
	"net/http"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/console"
	"github.com/sallyport-go/auth/memstore"
)

// A host mounts the pages at /console, on the origin of its API. Users sign in with an access key.
func ExampleHandler() {
	signing, err := auth.NewHS256Key("2026-01", []byte(rand.Text()+rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	sealing, err := auth.NewSymmetricKey("2026-01", []byte(rand.Text()+rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer:          "https://notes.example.com",
		PublicURL:       "https://notes.example.com",
		SigningKeys:     []auth.SigningKey{signing},
		SealingKeys:     []auth.SymmetricKey{sealing},
		Proxies:         auth.NoProxies(),
		Tokens:          auth.TokenConfig{Scopes: []string{"notes:read", "notes:write"}},
		BrowserSessions: &auth.BrowserSessions{LandingPath: "/console/"},
	})
	if err != nil {
		log.Fatal(err)
	}
	pages, err := console.Handler(svc, console.Config{
		Path:   "/console",
		Name:   "Notes",
		Accent: "#0f766e",
		Scopes: []console.Scope{
			{Name: "notes:read", Description: "Read notes"},
			{Name: "notes:write", Description: "Write notes"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	svc.Mount(mux)
	svc.Mount(mux, auth.GroupBrowser)
	mux.Handle("/console/", pages)
	// Output:
}
