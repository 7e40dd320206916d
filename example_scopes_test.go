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

// newScopedAPI returns a host's Service with two scopes, and a handler whose routes require them.
func newScopedAPI() (*auth.Service, http.Handler, error) {
	key, err := auth.NewHS256Key("2026-01", []byte(rand.Text()+rand.Text()))
	if err != nil {
		return nil, nil, err
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
		Tokens:      auth.TokenConfig{Scopes: []string{"reports:read", "reports:write"}},
		Proxies:     auth.NoProxies(),
	})
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	svc.Mount(mux)
	mux.Handle("GET /reports", svc.RequireScope("reports:read", http.HandlerFunc(reports)))
	mux.Handle("POST /reports", svc.RequireScope("reports:write", http.HandlerFunc(publish)))
	return svc, mux, nil
}

func publish(w http.ResponseWriter, r *http.Request) {
	caller, _ := auth.IdentityFromContext(r.Context())
	fmt.Fprintf(w, "published by %s", caller.Username)
}

// bearer signs in with the pair, and returns the value of the Authorization header.
func bearer(ctx context.Context, svc *auth.Service, pair auth.KeyPair) string {
	token, err := svc.Login(ctx, pair, auth.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return "Bearer " + token.Bearer.Reveal()
}

// send sends a request to the handler and returns the answer.
func send(api http.Handler, method, path, body, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", authorization)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w
}

// A build server gets a service user and a key of its own. The key is limited, so a thief of the key
// can publish reports and nothing else.
func ExampleNewScopes() {
	ctx := context.Background()
	svc, api, err := newScopedAPI()
	if err != nil {
		log.Fatal(err)
	}
	build, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{
		Username:  "build server",
		IsService: true,
		Key: auth.KeyOptions{
			Label:     "CI",
			ExpiresAt: time.Now().AddDate(0, 3, 0),
			Scopes:    auth.NewScopes("reports:write"),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ci := bearer(ctx, svc, build.Pair)
	fmt.Println(send(api, "POST", "/reports", "", ci).Body)
	fmt.Println(send(api, "GET", "/reports", "", ci).Code)
	fmt.Println(send(api, "POST", "/auth/keys", "", ci).Code) // needs auth.ScopeKeys
	// Output:
	// published by build server
	// 403
	// 403
}

// The user alice makes a key for a dashboard, which only reads reports.
func Example_limitedKey() {
	ctx := context.Background()
	svc, api, err := newScopedAPI()
	if err != nil {
		log.Fatal(err)
	}
	alice, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	made := send(api, "POST", "/auth/keys", `{"label": "dashboard", "scopes": ["reports:read"]}`,
		bearer(ctx, svc, alice.Pair))
	fmt.Println(made.Code)

	keys, err := svc.Credentials().List(ctx, alice.User.ID)
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range keys {
		fmt.Printf("%q: %v\n", key.Label, key.Scopes)
	}
	// Output:
	// 201
	// "": no limit
	// "dashboard": reports:read
}

// A route of the host requires a scope. A token without a limit passes, too.
func ExampleService_RequireScope() {
	ctx := context.Background()
	svc, api, err := newScopedAPI()
	if err != nil {
		log.Fatal(err)
	}
	alice, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	limited, err := svc.Credentials().Issue(ctx, auth.ByHost("setup"), alice.User.ID,
		auth.KeyOptions{Scopes: auth.NewScopes("reports:write")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(send(api, "GET", "/reports", "", bearer(ctx, svc, alice.Pair)).Code)
	refused := send(api, "GET", "/reports", "", bearer(ctx, svc, limited))
	fmt.Println(refused.Code, refused.Header().Get("WWW-Authenticate"))
	// Output:
	// 200
	// 403 Bearer error="insufficient_scope", scope="reports:read"
}

// A host changes the scopes of a key. The sessions that the key has opened are revoked, because their
// tokens have the earlier scopes. The next sign-in with the key opens a session with the new scopes.
func ExampleCredentialVerifier_SetScopes() {
	ctx := context.Background()
	svc, api, err := newScopedAPI()
	if err != nil {
		log.Fatal(err)
	}
	alice, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{
		Username: "alice", Key: auth.KeyOptions{Scopes: auth.NewScopes("reports:read")}})
	if err != nil {
		log.Fatal(err)
	}
	before := bearer(ctx, svc, alice.Pair)
	err = svc.Credentials().SetScopes(ctx, auth.ByHost("support desk"), alice.Pair.AccessKey,
		auth.NewScopes("reports:read", "reports:write"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(send(api, "POST", "/reports", "", before).Code)
	fmt.Println(send(api, "POST", "/reports", "", bearer(ctx, svc, alice.Pair)).Code)

	// A misspelled scope is an error: no route could ask for it.
	err = svc.Credentials().SetScopes(ctx, auth.ByHost("support desk"), alice.Pair.AccessKey,
		auth.NewScopes("report:read"))
	fmt.Println(errors.Is(err, auth.ErrInvalid))
	// Output:
	// 401
	// 200
	// true
}

// A host gives alice a first key, and so knows its secret. Alice must rotate the key before it works.
func Example_keyThatMustBeRotated() {
	ctx := context.Background()
	svc, api, err := newScopedAPI()
	if err != nil {
		log.Fatal(err)
	}
	alice, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{
		Username: "alice", Key: auth.KeyOptions{MustRotate: true}})
	if err != nil {
		log.Fatal(err)
	}
	first := bearer(ctx, svc, alice.Pair)
	refused := send(api, "GET", "/reports", "", first)
	fmt.Println(refused.Code, refused.Header().Get("WWW-Authenticate"))

	rotated := send(api, "POST", "/auth/keys/"+alice.Pair.AccessKey+"/rotate", "", first)
	var answer struct {
		AccessKey    string `json:"access_key"`
		AccessSecret string `json:"access_secret"`
	}
	if err := json.Unmarshal(rotated.Body.Bytes(), &answer); err != nil {
		log.Fatal(err)
	}
	second := auth.KeyPair{AccessKey: answer.AccessKey, AccessSecret: auth.NewSecret(answer.AccessSecret)}
	fmt.Println(send(api, "GET", "/reports", "", bearer(ctx, svc, second)).Code)
	// Output:
	// 403 Bearer error="insufficient_scope", scope="auth:rotate"
	// 200
}
