package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// people is the host's own users table.
type people struct {
	mu   sync.Mutex
	byID map[string]auth.User
}

// FindUser returns the user with this ID, or auth.ErrNotFound. With a database, it would be a
// SELECT.
func (p *people) FindUser(_ context.Context, id string) (auth.User, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user, ok := p.byID[id]
	if !ok {
		return auth.User{}, auth.ErrNotFound
	}
	return user, nil
}

// ResolveGitHub refuses every GitHub account that is not linked to a user. A user who wants to sign
// in with GitHub must first sign in by other means and connect the account.
func (p *people) ResolveGitHub(context.Context, auth.GitHubProfile, string) (string, error) {
	return "", auth.ErrNotFound
}

func (p *people) disable(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user := p.byID[id]
	user.IsActive = false
	p.byID[id] = user
}

// A super user disables another user. Wrap the handler in [auth.Service.RequireSuperUser].
func (p *people) disableHandler(svc *auth.Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.disable(r.PathValue("id")) // before the sessions are revoked
		caller, _ := auth.IdentityFromContext(r.Context())
		by := caller.Authority()
		by.SuperUser = true // because the caller changes another user
		if _, err := svc.Tokens().RevokeUser(r.Context(), by, r.PathValue("id")); err != nil {
			auth.WriteError(w, r, err)
		}
	}
}

// newHost returns a service whose users are in the host's table. In production, open the store with
// sqlstore.OpenAccounts, and read the key from a file.
func newHost(table *people) (*auth.Service, error) {
	key, err := auth.NewHS256Key("2026-01", []byte(rand.Text()+rand.Text()))
	if err != nil {
		return nil, err
	}
	return auth.NewWithUsers(memstore.NewAccounts(), table, auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: []auth.SigningKey{key},
	})
}

// A super user of the host's table disables another user, whose token is rejected from then on.
func ExampleTokenIssuer_RevokeUser() {
	table := &people{byID: map[string]auth.User{
		"1":  {ID: "1", Username: "boss", IsActive: true, IsSuperUser: true},
		"42": {ID: "42", Username: "alice", IsActive: true},
	}}
	svc, err := newHost(table)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	svc.Mount(mux)
	mux.Handle("POST /people/{id}/disable",
		svc.Authenticate(svc.RequireSuperUser(table.disableHandler(svc))))

	boss, err1 := svc.SignIn(context.Background(), "1", auth.LoginOptions{})
	alice, err2 := svc.SignIn(context.Background(), "42", auth.LoginOptions{})
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	call := func(token auth.Token, method, path string) {
		request := httptest.NewRequest(method, path, nil)
		request.Header.Set("Authorization", "Bearer "+token.Bearer.Reveal())
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, request)
		fmt.Println(token.User.Username, method, path, answer.Code)
	}
	call(alice, "POST", "/people/1/disable")
	call(alice, "GET", "/auth/keys")
	call(boss, "POST", "/people/42/disable")
	call(alice, "GET", "/auth/keys")
	// Output:
	// alice POST /people/1/disable 403
	// alice GET /auth/keys 200
	// boss POST /people/42/disable 200
	// alice GET /auth/keys 401
}

// A host already has a users table. The store keeps only access keys and sessions. The host's table
// says who the users are and whether they are active.
func ExampleNewWithUsers() {
	table := &people{byID: map[string]auth.User{"42": {ID: "42", Username: "alice", IsActive: true}}}
	svc, err := newHost(table)
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	pair, err := svc.Credentials().Issue(ctx, auth.ByHost("setup"), "42",
		auth.KeyOptions{Label: "her laptop"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.Login(ctx, pair, auth.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in:", token.User.Username)

	table.disable("42") // first disable the user, then revoke the sessions
	revoked, err := svc.Tokens().RevokeUser(ctx, auth.ByHost("staff office"), "42")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sessions revoked:", revoked)
	_, err = svc.Login(ctx, pair, auth.LoginOptions{})
	fmt.Println("signs in again:", !errors.Is(err, auth.ErrInvalidCredentials))
	// Output:
	// signed in: alice
	// sessions revoked: 1
	// signs in again: false
}

// hosts serves each tenant at a host name of its own.
type hosts map[string]http.Handler

func (h hosts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tenant, ok := h[r.Host]
	if !ok {
		http.NotFound(w, r)
		return
	}
	tenant.ServeHTTP(w, r)
}

// newTenant returns the service of one tenant. In production, the store is
//
//	sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.Postgres, Prefix: name + "_"})
//
// and the signing key comes from a file of this tenant.
func newTenant(host string) (*auth.Service, http.Handler, error) {
	key, err := auth.NewHS256Key("2026-01", []byte(rand.Text()+rand.Text()))
	if err != nil {
		return nil, nil, err
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer:      "https://" + host,
		SigningKeys: []auth.SigningKey{key},
		Proxies:     auth.NoProxies(),
	})
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	svc.Mount(mux)
	return svc, mux, nil
}

// A host has one service for each tenant. Each has its own users, keys and tokens, and a token of one
// tenant is rejected by all others.
func Example_tenants() {
	ctx := context.Background()
	acme, acmeAPI, err1 := newTenant("acme.example.com")
	_, globexAPI, err2 := newTenant("globex.example.com")
	if err1 != nil || err2 != nil {
		log.Fatal(err1, err2)
	}
	api := hosts{"acme.example.com": acmeAPI, "globex.example.com": globexAPI}

	made, err := acme.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	token := bearer(ctx, acme, made.Pair)
	for _, host := range []string{"acme.example.com", "globex.example.com"} {
		r := httptest.NewRequest("GET", "https://"+host+"/auth/user", nil)
		r.Header.Set("Authorization", token)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		fmt.Println(host, w.Code)
	}
	// Output:
	// acme.example.com 200
	// globex.example.com 401
}

// members is a table of the host: the organizations to which a user belongs.
type members map[string][]string

// only lets a request pass if the user belongs to the organization in the path.
func (m members) only(svc *auth.Service, next http.Handler) http.Handler {
	return svc.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := auth.IdentityFromContext(r.Context())
		if !slices.Contains(m[caller.UserID], r.PathValue("org")) {
			http.NotFound(w, r) // the caller does not learn which organizations exist
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// A host with one service keeps the organizations of each user itself, and asks its own table in each
// request. So a user who is removed from an organization loses access at once.
func Example_organizations() {
	ctx := context.Background()
	svc, _, err := newAPI([]byte(rand.Text() + rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	made, err := svc.Register(ctx, auth.ByHost("setup"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	table := members{made.User.ID: {"acme"}}
	mux := http.NewServeMux()
	svc.Mount(mux)
	mux.Handle("GET /orgs/{org}/reports", table.only(svc, http.HandlerFunc(reports)))

	token := bearer(ctx, svc, made.Pair)
	fmt.Println(send(mux, "GET", "/orgs/acme/reports", "", token).Code)
	fmt.Println(send(mux, "GET", "/orgs/globex/reports", "", token).Code)
	delete(table, made.User.ID)
	fmt.Println(send(mux, "GET", "/orgs/acme/reports", "", token).Code)
	// Output:
	// 200
	// 404
	// 404
}
