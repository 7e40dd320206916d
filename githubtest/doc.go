// Package githubtest is a fake GitHub. It implements enough of github.com and of its REST API to
// sign users in and to read their profiles, and it can fail in every way in which GitHub might
// fail.
//
// The test of a host that lets users sign in with GitHub starts a fake, sets its base URL and API
// URL to the fake, and runs the flow as a browser would:
//
//	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
//	…
//	defer fake.Close()
//	id, secret := fake.Client()
//	// authorize at fake.URL()+"/login/oauth/authorize", API at fake.URL()+"/api/v3"
//
// With AutoApprove no page asks for consent: octocat agrees at once. The next call renames octocat
// to "monalisa". After the next sign-in, the host must recognize the same account:
//
//	fake.SetUser(githubtest.User{ID: 583231, Login: "monalisa"})
//
// GitHub may fail. Here, the next call that reads the user's profile never gets a response:
//
//	fake.InjectN(githubtest.EndpointUser, 1, githubtest.TimeOut)
//
// [Faults] lists more than a hundred faults, so that a test can try each of them. At its end, a
// test can check the requests that the fake received with [Server.Calls], and the tokens that are
// still valid with [Server.Tokens]. Without Config.AutoApprove, a person picks a user on a page, so
// a demonstration can run without GitHub.
//
// # Any client can sign in as any user
//
// The fake therefore serves loopback only. [Start] refuses other addresses. A request whose Host
// header names another machine gets status 421, because a web page could otherwise reach the fake
// by DNS rebinding. An identity of the fake must never be mistaken for an identity of GitHub. So
// configure a GitHub host name for the fake that is not that of the real GitHub.
//
// # Differences from GitHub
//
// The fake implements:
//
//   - the web flow of OAuth apps with PKCE, and refresh tokens;
//   - scopes, and the scopes that a scope includes;
//   - the limit of ten tokens for each user and set of scopes;
//   - errors with status 200;
//   - the fields and types of REST responses, pagination, and rate-limit headers;
//   - checking and revoking tokens.
//
// The fake shows rate limits but never enforces them. It has no GitHub Apps, no device flow, no
// sudo mode, no organization that restricts apps, no ETags, no other media types or API versions,
// and no remembered consent: the page asks every time. GitHub refuses a token to a user without a
// verified primary e-mail address (unverified_user_email). The fake issues a token to such a user,
// because GitHub Enterprise may do so, and offers the error as a fault.
package githubtest
