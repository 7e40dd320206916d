package auth_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// newIssuer returns a service whose tokens another service can verify.
func newIssuer(store auth.Store, pemFile []byte) (*auth.Service, error) {
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
func ExampleService_JWKSHandler() {
	_, private, _ := ed25519.GenerateKey(nil)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		log.Fatal(err)
	}
	// In production, the file is the output of "openssl genpkey -algorithm ed25519".
	svc, err := newIssuer(memstore.New(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		log.Fatal(err)
	}
	answer := httptest.NewRecorder()
	svc.JWKSHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil))
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
	mux := http.NewServeMux()
	mux.Handle("GET /reports",
		verifier.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, _ := auth.IdentityFromContext(r.Context())
			io.WriteString(w, "the reports of "+caller.UserID)
		})))
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
