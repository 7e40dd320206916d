// Package githubtest is a fake GitHub: enough of github.com and of its REST API
// to sign somebody in, to look at who they are, and to go wrong in every way
// that GitHub might.
//
// Say a host lets people sign in with GitHub. Its test starts a fake, points its
// base URL and its API URL there, and drives the flow as a browser would:
//
//	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
//	…
//	defer fake.Close()
//	id, secret := fake.Client()
//	// authorize at fake.URL()+"/login/oauth/authorize", API at fake.URL()+"/api/v3"
//
// Nobody is asked: octocat agrees at once. Later octocat becomes "monalisa" at
// GitHub, and still has to be the same account of the host:
//
//	fake.SetUser(githubtest.User{ID: 583231, Login: "monalisa"})
//
// GitHub may have a bad day: the next time that the host asks who this is, it
// waits in vain.
//
//	fake.InjectN(githubtest.EndpointUser, 1, githubtest.TimeOut)
//
// [Faults] lists more than a hundred such days, for a test to try each of them.
// In the end the test looks at what GitHub has seen: [Server.Calls], and
// [Server.Tokens] that are still alive. Without Config.AutoApprove a person picks
// a user on a page, which is how a demonstration runs without GitHub.
//
// # It lets anybody in as anybody
//
// So it serves loopback only: [Start] refuses other addresses, and any request
// whose Host header names another machine is answered with 421, or a web page
// could reach it by DNS rebinding. What it vouches for must never be taken for
// what GitHub vouches for: give its identities a host of their own.
//
// # What is as at GitHub, and what is not
//
// The web flow of OAuth apps with PKCE, refresh tokens, the limit of ten tokens
// for a user and a set of scopes, scopes and what they imply, errors with status
// 200, the fields and types of REST answers, pagination, rate-limit headers, and
// checking and revoking tokens. Rate limits are shown, never enforced. There are
// no GitHub Apps, no device flow, no sudo mode, no organization that restricts
// apps, no ETags, no other media types or API versions, and no consent that is
// remembered: the page asks every time. GitHub does not give a token to somebody
// without a verified primary e-mail address (unverified_user_email); the fake
// does, because GitHub Enterprise may, and leaves the error to a fault.
package githubtest
