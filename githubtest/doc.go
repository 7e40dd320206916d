// Package githubtest provides a fake GitHub for tests. The fake implements enough of github.com and
// of its REST API to sign users in and to read their profiles. It can also simulate failures of
// GitHub.
//
// To test a service that lets users sign in with GitHub, start a fake, configure the service with
// the URLs of the fake, and run the sign-in as a browser would:
//
//	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
//	…
//	defer fake.Close()
//	id, secret := fake.Client()
//	github := auth.GitHubConfig{
//		ClientID: id, ClientSecret: auth.NewSecret(secret),
//		BaseURL: fake.URL(), Host: "githubtest.invalid", CallbackURL: …
//	}
//
// Other clients find the pages at fake.URL()+"/login/oauth/authorize" and the API at
// fake.URL()+"/api/v3".
//
// Because of AutoApprove, the fake shows no page that asks for consent: octocat agrees at once.
//
// SetUser replaces the user with the same ID. The ID of octocat is 583231, so the following call
// renames octocat:
//
//	fake.SetUser(githubtest.User{ID: 583231, Login: "monalisa"})
//
// At the next sign-in, the service must recognize the account, although its login has changed.
//
// To test how the service handles a failure of GitHub, inject a fault. After this call, the next
// request for a user's profile never gets a response:
//
//	fake.InjectN(githubtest.EndpointUser, 1, githubtest.TimeOut)
//
// [Faults] lists more than a hundred faults, so that a test can try each of them. At its end, a
// test can inspect the requests that the fake received ([Server.Calls]) and the tokens that are
// still valid ([Server.Tokens]).
//
// The fake can also replace GitHub in a demonstration of sign-in. If Config.AutoApprove is empty, a
// person picks a user on a page.
//
// # Any client can sign in as any user
//
// The fake asks for no password, so it accepts only requests from the same machine. [Start] refuses
// an address that is not a loopback address. A request whose Host header names another machine gets
// status 421. If the fake did not check the Host header, a web page could reach the fake by DNS
// rebinding.
//
// In the configuration of the service, do not give the fake the host name of the real GitHub. With
// the same name, the service could mistake an identity of the fake for an identity of GitHub. If the
// store is used longer than the fake, set GitHubConfig.Host, because the default is the address of the
// fake. If the next fake has another port, the service takes octocat for a new account, and creates a
// new user.
//
// # Differences from GitHub
//
// The fake implements:
//
//   - the web flow of OAuth apps with PKCE, and refresh tokens;
//   - scopes, some of which include other scopes;
//   - the limit of ten tokens for each user and set of scopes;
//   - errors of the token endpoint with status 200;
//   - the fields and types of REST responses, pagination, and rate-limit headers;
//   - conditional requests (ETag and If-None-Match, but not Last-Modified);
//   - checking, resetting and revoking tokens;
//   - tokens that a GitHub App gets for users, with permissions instead of scopes
//     (Config.AppPermissions).
//
// The fake sends the rate-limit headers but never enforces a limit. The page asks for consent every
// time, even if the user has agreed before. The fake does not implement the installation of GitHub
// Apps and their other tokens, the device flow, sudo mode, organizations that restrict apps, or a
// choice of media types and API versions. At GitHub, the token of a GitHub App only reaches
// organizations and private repositories in which the app is installed.
//
// If a user has no verified primary e-mail address, GitHub issues no token and responds with the
// error unverified_user_email. The fake issues a token, because GitHub Enterprise may do so. A test
// can inject the error as a fault.
package githubtest
