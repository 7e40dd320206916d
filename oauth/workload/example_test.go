package workload_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
	"github.com/sallyport-go/auth/oauth/workload"
	"github.com/sallyport-go/auth/oauth/workload/workloadtest"
)

// A job in GitHub Actions uploads a report. A fake issuer takes the place of GitHub.
func Example() {
	github := workloadtest.Start(nil)
	defer github.Close()
	server, svc, deployer := newHost()
	defer server.Close()

	deploy := workload.GitHubActions(65, 74, workload.GitHubActionsOptions{Issuer: github.URL()})
	deploy.UserID, deploy.Scopes = deployer.ID, auth.NewScopes("reports:write")
	verifier, err := workload.New(svc, workload.Config{
		Workloads: []workload.Workload{deploy},
		Issuers:   []workload.Issuer{github.Settings()}, // only because the fake listens on loopback
	})
	if err != nil {
		log.Fatal(err)
	}
	mount(server, svc, verifier)

	job := workloadtest.GitHubActions(65, 74, server.URL)
	stranger := workloadtest.GitHubActions(65, 75, server.URL)
	for _, claims := range []map[string]any{job, stranger} {
		status := upload(server.URL, func() (string, error) { return github.Sign(claims), nil })
		fmt.Println(claims["repository_id"], status)
	}
	// Output:
	// 74 201 Created
	// 75 oauth2: "invalid_grant"
}

// A pod signs in with the token that Kubernetes keeps in a file.
func ExampleKubernetes() {
	cluster := workloadtest.Start(nil)
	defer cluster.Close()
	server, svc, reporter := newHost()
	defer server.Close()

	const uid = "2b9c1a4e-7d0f-4c55-9a3e-5d2f8c1b6a70"
	pods := workload.Kubernetes(cluster.URL(), "prod", uid)
	pods.UserID, pods.Scopes = reporter.ID, auth.NewScopes("reports:write")
	verifier, err := workload.New(svc, workload.Config{
		Workloads: []workload.Workload{pods},
		Issuers:   []workload.Issuer{cluster.Settings()},
	})
	if err != nil {
		log.Fatal(err)
	}
	mount(server, svc, verifier)

	dir, err := os.MkdirTemp("", "pod")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "token")
	token := cluster.Sign(workloadtest.Kubernetes("prod", uid, server.URL))
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		log.Fatal(err)
	}
	fmt.Println(upload(server.URL, func() (string, error) {
		text, err := os.ReadFile(file)
		return string(text), err
	}))
	// Output: 201 Created
}

// newHost returns a server that has no routes yet, its service, and a service user.
func newHost() (*httptest.Server, *auth.Service, auth.User) {
	server := httptest.NewServer(http.NewServeMux())
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	signing, err := auth.NewEdDSAKey("", private)
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer: server.URL, SigningKeys: []auth.SigningKey{signing}, Proxies: auth.NoProxies(),
		Tokens: auth.TokenConfig{Scopes: []string{"reports:write"}}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	robot, err := svc.Register(context.Background(), auth.ByHost("setup"),
		auth.UserParams{Username: "robot", IsService: true})
	if err != nil {
		log.Fatal(err)
	}
	return server, svc, robot.User
}

// mount registers the routes of the host.
func mount(server *httptest.Server, svc *auth.Service, verifier *workload.Verifier) {
	mux := server.Config.Handler.(*http.ServeMux)
	oauthServer, err := oauth.New(svc, oauth.Config{Workloads: verifier})
	if err != nil {
		log.Fatal(err)
	}
	oauthServer.Mount(mux)
	mux.Handle("POST /reports", svc.RequireScope("reports:write", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })))
}

// assertionSource signs in with an assertion. Package oauth2 calls Token again when the token has expired.
type assertionSource struct {
	service   string                 // such as "https://api.example.com"
	assertion func() (string, error) // returns the present assertion, which the platform replaces
}

// Token returns a new token of the service.
func (s assertionSource) Token() (*oauth2.Token, error) {
	assertion, err := s.assertion()
	if err != nil {
		return nil, err
	}
	cfg := clientcredentials.Config{
		TokenURL:  s.service + "/auth/token",
		AuthStyle: oauth2.AuthStyleInParams, // the program has no client ID and no secret
		EndpointParams: url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
			"assertion":  {strings.TrimSpace(assertion)},
		},
	}
	return cfg.Token(context.Background())
}

// upload sends a report, and returns the status of the answer or the error of the sign-in.
func upload(service string, assertion func() (string, error)) string {
	defer http.DefaultClient.CloseIdleConnections()
	source := oauth2.ReuseTokenSource(nil, assertionSource{service, assertion})
	client := oauth2.NewClient(context.Background(), source)
	response, err := client.Post(service+"/reports", "application/json", strings.NewReader("{}"))
	if err != nil {
		_, reason, _ := strings.Cut(err.Error(), "oauth2: ")
		reason, _, _ = strings.Cut(reason, " \"The")
		return "oauth2: " + reason
	}
	defer response.Body.Close()
	return response.Status
}

// The jobs of one repository that deploy to production sign in as a service user.
func ExampleGitHubActions() {
	server, svc, deployer := newHost()
	defer server.Close()
	_, err := gitHubVerifier(svc, deployer)
	fmt.Println(err)
	// Output: <nil>
}

func gitHubVerifier(svc *auth.Service, deployer auth.User) (*workload.Verifier, error) {
	deploy := workload.GitHubActions(65, 74, workload.GitHubActionsOptions{Environment: "production"})
	deploy.UserID, deploy.Scopes = deployer.ID, auth.NewScopes("reports:write")
	return workload.New(svc, workload.Config{Workloads: []workload.Workload{deploy}})
}

// The keys of a cluster are on its API server only.
func ExampleInCluster() {
	server, svc, reporter := newHost()
	defer server.Close()
	_, err := clusterVerifier(svc, reporter)
	fmt.Println(errors.Is(err, fs.ErrNotExist)) // this example runs in no pod
	// Output: true
}

func clusterVerifier(svc *auth.Service, reporter auth.User) (*workload.Verifier, error) {
	const issuer = "https://kubernetes.default.svc.cluster.local"
	pods := workload.Kubernetes(issuer, "prod", "2b9c1a4e-7d0f-4c55-9a3e-5d2f8c1b6a70")
	pods.UserID, pods.Scopes = reporter.ID, auth.NewScopes("reports:write")
	cluster, err := workload.InCluster(issuer, netip.MustParsePrefix("10.96.0.0/12"))
	if err != nil {
		return nil, err
	}
	return workload.New(svc, workload.Config{
		Workloads: []workload.Workload{pods}, Issuers: []workload.Issuer{cluster}})
}
