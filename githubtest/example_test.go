package githubtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sallyport-go/auth/githubtest"
)

// The example signs a user in and reads the user's profile, first without and then with faults. A
// real test would call the tested service instead of using an [http.Client].
func Example() {
	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
	if err != nil {
		panic(err)
	}
	defer fake.Close()
	id, secret := fake.Client()

	// The browser requests an authorization and is redirected to the app with a code.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	response, err := client.Get(fake.URL() + "/login/oauth/authorize?" + url.Values{
		"client_id": {id}, "redirect_uri": {"http://127.0.0.1:8080/callback"}, "scope": {"read:user"}, "state": {"xyz"},
	}.Encode())
	if err != nil {
		panic(err)
	}
	response.Body.Close()
	callback, err := response.Location()
	if err != nil {
		panic(err)
	}

	// The app exchanges the code for a token. Because the request has no Accept header, the
	// response is a form.
	response, err = client.PostForm(fake.URL()+"/login/oauth/access_token", url.Values{
		"client_id": {id}, "client_secret": {secret}, "code": {callback.Query().Get("code")},
	})
	if err != nil {
		panic(err)
	}
	response.Body.Close()
	token := fake.Tokens(583231)[0]
	fmt.Println("issued", token.Access[:4], token.Scopes)

	whoami := func() {
		request, err := http.NewRequest(http.MethodGet, fake.URL()+"/api/v3/user", nil)
		if err != nil {
			panic(err)
		}
		request.Header.Set("Authorization", "Bearer "+token.Access)
		response, err := client.Do(request)
		if err != nil {
			panic(err)
		}
		defer response.Body.Close()
		var user struct{ ID json.Number }
		if err := json.NewDecoder(response.Body).Decode(&user); err != nil {
			fmt.Println(response.Status, "without JSON")
			return
		}
		fmt.Println(response.Status, "for user", user.ID)
	}
	whoami()
	fake.InjectN(githubtest.EndpointUser, 1, githubtest.Status(http.StatusBadGateway))
	whoami()
	fake.InjectN(githubtest.EndpointUser, 1, githubtest.SetField("id", "9007199254740993"))
	whoami()
	fmt.Println("asked", fake.Count(githubtest.EndpointUser), "times")

	// Output:
	// issued gho_ [read:user]
	// 200 OK for user 583231
	// 502 Bad Gateway without JSON
	// 200 OK for user 9007199254740993
	// asked 3 times
}

// A test can try every fault at each of its endpoints.
func ExampleFaults() {
	kinds := make(map[githubtest.Endpoint]int)
	for _, fault := range githubtest.Faults() {
		for _, endpoint := range fault.Endpoints {
			kinds[endpoint]++
		}
	}
	fmt.Println(kinds[githubtest.EndpointAccessToken] > 80, kinds[githubtest.EndpointUser] > 70)
	// Output: true true
}
