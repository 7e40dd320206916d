package auth_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// newAPI returns a host's Service, and a handler for the calls of the Service and for the host's
// own routes.
func newAPI(signingSecret []byte) (*auth.Service, http.Handler, error) {
	key, err := auth.NewHS256Key("2026-01", signingSecret)
	if err != nil {
		return nil, nil, err
	}
	svc, err := auth.New(memstore.New(), auth.Config{ // for a database, use sqlstore.Open
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
	})
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	svc.Mount(mux)
	mux.Handle("GET /reports", svc.Authenticate(http.HandlerFunc(reports)))
	mux.Handle("DELETE /reports", svc.Authenticate(svc.RequireSuperUser(http.HandlerFunc(purge))))
	return svc, mux, nil
}

func reports(w http.ResponseWriter, r *http.Request) {
	caller, _ := auth.IdentityFromContext(r.Context())
	fmt.Fprintf(w, "the reports of %s", caller.Username)
}

func purge(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "all gone")
}

// A host makes its first super user. This user signs in over HTTP and calls a route of the host
// with the token.
func Example() {
	svc, api, err := newAPI([]byte(rand.Text() + rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	pair := svc.Credentials().GeneratePair()
	if _, err := svc.Bootstrap(context.Background(), auth.UserParams{Username: "admin"}, pair); err != nil {
		log.Fatal(err)
	}

	server := httptest.NewServer(api)
	defer server.Close()
	body := fmt.Sprintf(`{"access_key": %q, "access_secret": %q}`, pair.AccessKey, pair.AccessSecret.Reveal())
	response, err := http.Post(server.URL+"/auth/users/login", "application/json", strings.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	var signedIn struct {
		Token     string `json:"token"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.NewDecoder(response.Body).Decode(&signedIn); err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in for", signedIn.ExpiresIn, "seconds")

	request, err := http.NewRequest(http.MethodGet, server.URL+"/reports", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+signedIn.Token)
	answer := httptest.NewRecorder()
	api.ServeHTTP(answer, request)
	fmt.Println(answer.Body)
	// Output:
	// signed in for 43200 seconds
	// the reports of admin
}

// A person asks for the data about them. The host checks who asks, and writes the export.
func ExampleService_ExportUser() {
	ctx := context.Background()
	svc, _, err := newAPI([]byte(rand.Text() + rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	alice, err := svc.Register(ctx, auth.ByHost("setup"),
		auth.UserParams{Username: "alice", Email: "alice@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	var export strings.Builder
	if err := svc.ExportUser(ctx, &export, alice.User.ID); err != nil {
		log.Fatal(err)
	}
	var object struct {
		User       auth.User
		AccessKeys []json.RawMessage `json:"access_keys"`
		Events     []auth.Event      `json:"events_about"`
	}
	if err := json.Unmarshal([]byte(export.String()), &object); err != nil {
		log.Fatal(err)
	}
	fmt.Println(object.User.Email, len(object.AccessKeys), object.Events[0].Kind)
	fmt.Println("has the secret:", strings.Contains(export.String(), alice.Pair.AccessSecret.Reveal()))
	// Output:
	// alice@example.com 1 user.created
	// has the secret: false
}

// A host serves the sign-in at a path of its own.
func ExampleService_Route() {
	svc, _, err := newAPI([]byte(rand.Text() + rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	alice, err := svc.Register(context.Background(), auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /sign-in", svc.Route("POST /auth/users/login").Handler)

	pair := alice.Pair
	body := fmt.Sprintf(`{"access_key": %q, "access_secret": %q}`, pair.AccessKey, pair.AccessSecret.Reveal())
	request := httptest.NewRequest(http.MethodPost, "/sign-in", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, request)
	fmt.Println(answer.Code)
	// Output: 200
}

// newFrugalAPI returns a service that keeps data for a shorter time than by default, and sessions of browsers
// for longer.
func newFrugalAPI() (*auth.Service, error) {
	signing, err1 := auth.NewHS256Key("2026-01", []byte(rand.Text()+rand.Text()))
	sealing, err2 := auth.NewSymmetricKey("2026-01", []byte(rand.Text()+rand.Text()))
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("keys: %v, %v", err1, err2)
	}
	return auth.New(memstore.New(), auth.Config{
		Issuer:          "https://api.example.com",
		PublicURL:       "https://api.example.com",
		SigningKeys:     []auth.SigningKey{signing},
		SealingKeys:     []auth.SymmetricKey{sealing},
		Proxies:         auth.NoProxies(),
		AuditRetention:  90 * 24 * time.Hour,                                     // default 365 days
		NameRetention:   30 * 24 * time.Hour,                                     // zero means forever
		BrowserSessions: &auth.BrowserSessions{MaxLifetime: 14 * 24 * time.Hour}, // default 7 days
	})
}

// A person gets a copy of their data, and is then deleted.
func ExampleService_DeleteUser() {
	ctx := context.Background()
	svc, err := newFrugalAPI()
	if err != nil {
		log.Fatal(err)
	}
	alice, err := svc.Register(ctx, auth.ByHost("sign-up page"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}

	var export strings.Builder
	if err := svc.ExportUser(ctx, &export, alice.User.ID); err != nil {
		log.Fatal(err)
	}
	if err := svc.DeleteUser(ctx, auth.ByHost("privacy desk"), alice.User.ID); err != nil {
		log.Fatal(err)
	}

	_, err = svc.Register(ctx, auth.ByHost("sign-up page"), auth.UserParams{Username: "Alice"})
	fmt.Println(strings.Contains(export.String(), `"alice"`), errors.Is(err, auth.ErrExists))
	// Output: true true
}
