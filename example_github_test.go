package auth_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/memstore"
)

// newGitHubAPI returns a service whose users sign in with GitHub. The user of account number 583231
// becomes a super user.
func newGitHubAPI(origin string, github auth.GitHubConfig) (*auth.Service, error) {
	signing, err1 := auth.NewHS256Key("2026-01", []byte(rand.Text()+rand.Text()))
	sealing, err2 := auth.NewSymmetricKey("2026-01", []byte(rand.Text()+rand.Text()))
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("keys: %v, %v", err1, err2)
	}
	github.CallbackURL = origin + "/api/v1/auth/github/callback"
	github.SuperUsers = []int64{583231}
	return auth.New(memstore.New(), auth.Config{
		Issuer:      origin,
		SigningKeys: []auth.SigningKey{signing},
		SealingKeys: []auth.SymmetricKey{sealing},
		GitHub:      &github,
	})
}

// A host tests its GitHub sign-in against a fake GitHub, which signs in as octocat without asking.
// In production, the configuration does not set BaseURL, APIURL or Host.
func ExampleGitHubConnector() {
	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS() // as in production; on loopback, plain http works too
	defer server.Close()

	id, secret := fake.Client()
	svc, err := newGitHubAPI(server.URL, auth.GitHubConfig{
		ClientID: id, ClientSecret: auth.NewSecret(secret),
		BaseURL: fake.URL(), APIURL: fake.URL() + "/api/v3", Host: "githubtest.invalid",
	})
	if err != nil {
		log.Fatal(err)
	}
	server.Config.Handler = svc.Handler()

	browser := server.Client()
	browser.Jar, _ = cookiejar.New(nil)
	answer, err := browser.Get(server.URL + "/api/v1/auth/github/start")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	var signedIn struct {
		Username    string `json:"username"`
		IsNewUser   bool   `json:"is_new_user"`
		IsSuperUser bool   `json:"is_super_user"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&signedIn); err != nil {
		log.Fatal(err)
	}
	fmt.Println(signedIn.Username, signedIn.IsNewUser, signedIn.IsSuperUser)
	// Output: octocat true true
}

// The host lists the repositories of a user who has connected a GitHub account.
func ExampleGitHubConnector_Client() {
	listRepositories := func(ctx context.Context, svc *auth.Service) error {
		user, err := svc.User(ctx)
		if err != nil {
			return err
		}
		client, err := svc.GitHub().Client(ctx, user.ID)
		if err != nil {
			return err // auth.ErrNotFound: ask the user to connect GitHub
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.github.com/user/repos",
			nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	_ = listRepositories
}

// After a change of sealing keys, a program encrypts the stored GitHub tokens with the new key.
func ExampleGitHubConnector_Reseal() {
	ctx := context.Background()
	svc, err := newGitHubAPI("https://api.example.com", auth.GitHubConfig{
		ClientID: "Iv1.0123456789abcdef", ClientSecret: auth.NewSecret("from the environment"),
	})
	if err != nil {
		log.Fatal(err)
	}

	report, err := svc.GitHub().Reseal(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Resealed, "tokens were encrypted again")
	for id, count := range report.Unopened {
		fmt.Printf("%d tokens need the sealing key %q, which is missing\n", count, id)
	}
	// Output: 0 tokens were encrypted again
}

// A host tests its sign-in with a GitHub App. The token of a GitHub App has no scopes, and expires after
// eight hours. The service refreshes it when the host calls GitHub.
func ExampleGitHubConfig_gitHubApp() {
	now := time.Now()
	clock := func() time.Time { return now }
	fake, err := githubtest.Start("", githubtest.Config{
		AutoApprove:    "octocat",
		AppPermissions: []string{"email_addresses"},
		TokenLifetime:  8 * time.Hour,
		Now:            clock,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	id, secret := fake.Client()
	svc, err := newGitHubAPI(server.URL, auth.GitHubConfig{
		ClientID: id, ClientSecret: auth.NewSecret(secret),
		BaseURL: fake.URL(), APIURL: fake.URL() + "/api/v3", Host: "githubtest.invalid",
		Now: clock,
	})
	if err != nil {
		log.Fatal(err)
	}
	server.Config.Handler = svc.Handler()

	browser := server.Client()
	browser.Jar, _ = cookiejar.New(nil)
	answer, err := browser.Get(server.URL + "/api/v1/auth/github/start")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	var signedIn struct{ Token string }
	if err := json.NewDecoder(answer.Body).Decode(&signedIn); err != nil {
		log.Fatal(err)
	}
	caller, err := svc.Tokens().Verify(context.Background(), signedIn.Token)
	if err != nil {
		log.Fatal(err)
	}

	now = now.Add(9 * time.Hour)
	client, err := svc.GitHub().Client(context.Background(), caller.UserID)
	if err != nil {
		log.Fatal(err)
	}
	response, err := client.Get(fake.URL() + "/api/v3/user")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	fmt.Println(caller.Username, response.StatusCode == http.StatusOK)
	fmt.Println(fake.Count(githubtest.EndpointAccessToken), "tokens were issued")
	// Output:
	// octocat true
	// 2 tokens were issued
}
