package auth_test

import (
	"io"
	"log"
	"net/http"

	"github.com/sallyport-go/auth"
)

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
