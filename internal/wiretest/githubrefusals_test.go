package wiretest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// forbidden returns a fault that answers 403 with the message. The headers alternate between names
// and values.
func forbidden(message string, headers ...string) githubtest.Fault {
	body := fmt.Sprintf(`{"message":%q,"documentation_url":"https://docs.github.com/rest","status":"403"}`,
		message)
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			githubtest.Answer(http.StatusForbidden, "application/json", body)(nil).ServeHTTP(w, r)
		})
	}
}

// withoutSSO returns a fault that answers with an empty list. The header X-GitHub-SSO says that the
// list lacks an organization that requires single sign-on.
func withoutSSO(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-GitHub-SSO", "partial-results; organizations=77")
		githubtest.Answer(http.StatusOK, "application/json", "[]")(nil).ServeHTTP(w, r)
	})
}

const memberships, profile = githubtest.EndpointMemberships, githubtest.EndpointUser

// refusals are answers that stay the same until somebody changes something at GitHub.
var refusals = map[string]struct {
	endpoint githubtest.Endpoint
	fault    githubtest.Fault
	logged   string
}{
	"single sign-on": {memberships, forbidden("Resource protected by organization SAML enforcement. You "+
		"must grant your OAuth token access to this organization.", "X-GitHub-SSO",
		"required; url=https://github.com/orgs/acme/sso?authorization_request=AZSCK"),
		"403 to GET /user/memberships/orgs, X-GitHub-SSO: required"},
	"single sign-on, part of the list": {memberships, withoutSSO,
		"200 to GET /user/memberships/orgs, X-GitHub-SSO: partial-results"},
	"app restrictions": {memberships, forbidden("Although you appear to have the correct authorization " +
		"credentials, the `acme` organization has enabled OAuth App access restrictions"),
		"403 to GET /user/memberships/orgs"},
	"integration": {memberships, forbidden("Resource not accessible by integration"),
		"403 to GET /user/memberships/orgs"},
	"suspended account": {profile, forbidden("Sorry. Your account was suspended."), "403 to GET /user"},
}

func TestACallThatGitHubRefusesMeansNotAllowed(t *testing.T) {
	t.Parallel()
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMember(t)
			m.fake.Inject(refusal.endpoint, refusal.fault)
			b := m.browser()
			p := b.get(b.authURL(signInCall))
			require.Equal(t, http.StatusForbidden, p.status, p.body)
			require.JSONEq(t, `{"detail": "This GitHub account is not allowed to sign in"}`, p.body)

			m.clock.Advance(recheckAfter)
			m.requireRejected()
			m.requireRejected()
			require.Contains(t, m.log.String(), `msg="auth: a GitHub account is not allowed, because GitHub `+
				`refused a call" error="auth: GitHub answered with status `+refusal.logged+`"`)
			require.Contains(t, m.log.String(), `reason="GitHub answered with status `+refusal.logged+`"`)
			require.NotContains(t, m.log.String(), "AZSCK", "a one-time code")

			m.fake.Heal()
			m.requireSignsIn() // the refusal was not remembered
		})
	}
}

// The team of the account is listed, and GitHub names the team. GitHub's refusal to name the
// organizations does not matter.
func TestOneRefusedListDoesNotHideTheOther(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"single sign-on": 200, "app restrictions": 200,
		"single sign-on, part of the list": 200, "suspended account": 403} {
		g := newGitHub(t, calling(githubtest.EndpointTeams), githubOptions{
			fake: calling(githubtest.EndpointTeams).fake,
			configure: func(_ *githubFixture, cfg *auth.Config) {
				cfg.GitHub.AllowedOrganizations = []int64{78}
			},
		})
		g.fake.Inject(refusals[name].endpoint, refusals[name].fault)
		b := g.browser()
		require.Equal(t, want, b.get(b.authURL(signInCall)).status, name)
	}
}

func TestOnlyAccessDeniedAtGitHubIsADenial(t *testing.T) {
	t.Parallel()
	const failed = "auth: GitHub sent the browser back with an error: "
	for code, want := range map[string]struct{ answer, logged string }{
		"access_denied":             {"denied", "Access was denied at GitHub"},
		"application_suspended":     {"unavailable", failed + "application_suspended"},
		"redirect_uri_mismatch":     {"unavailable", failed + "redirect_uri_mismatch"},
		"invalid_request":           {"unavailable", failed + "invalid_request"},
		"invalid_scope":             {"unavailable", failed + "invalid_scope"},
		"unauthorized_client":       {"unavailable", failed + "unauthorized_client"},
		"unsupported_response_type": {"unavailable", failed + "unsupported_response_type"},
		"server_error":              {"unavailable", failed + "server_error"},
		"temporarily_unavailable":   {"unavailable", failed + "temporarily_unavailable"},
		"Access_Denied":             {"unavailable", failed + "unknown error"},
		"out_of_cheese":             {"unavailable", failed + "unknown error"},
		"":                          {"unavailable", failed + "unknown error"},
	} {
		for _, sessions := range []bool{true, false} {
			g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
				if sessions {
					cfg.BrowserSessions = &auth.BrowserSessions{LandingPath: "/account"}
				}
			}})
			b := g.browser().stay()
			state := queryOf(t, b.authURL(signInCall)).Get("state")
			p := b.get(callbackCall + "?" + url.Values{"error": {code}, "state": {state}}.Encode())
			switch {
			case sessions:
				require.Equal(t, g.server.URL+"/account?error="+want.answer, p.header.Get("Location"), code)
			case want.answer == "denied":
				require.Equal(t, http.StatusForbidden, p.status, code)
			default:
				require.Equal(t, http.StatusServiceUnavailable, p.status, code)
			}
			require.Contains(t, g.log.String(), want.logged)
			require.NotContains(t, g.log.String(), "cheese")
		}
	}
}

// emailOf returns the e-mail address of the user who has signed in, or nil.
func (g *githubFixture) emailOf(signedIn map[string]any) any {
	return g.sendAs(signedIn["token"].(string), http.MethodGet, "/auth/user", "").json(g.t)["email"]
}

func TestARateLimitAtTheFirstSignInLosesNoEmailAddress(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]githubtest.Fault{
		"secondary":      forbidden("You have exceeded a secondary rate limit. Please wait a few minutes."),
		"abuse":          forbidden("You have triggered an abuse detection mechanism."),
		"primary":        githubtest.Status(http.StatusForbidden),
		"a proxy's page": githubtest.Answer(http.StatusForbidden, "text/html", "<html>Blocked</html>"),
	} {
		g := newGitHub(t)
		b := g.browser()
		callback := b.callbackURL(b.authURL(signInCall))
		g.fake.Inject(githubtest.EndpointEmails, fault)
		require.Equal(t, http.StatusServiceUnavailable, b.get(callback).status, name)
		g.requireNothingLeft(githubtest.EndpointEmails)

		g.fake.Heal()
		require.Equal(t, "octocat@example.com", g.emailOf(b.signIn()), name)
	}
}

func TestALaterSignInFillsInAMissingEmailAddress(t *testing.T) {
	t.Parallel()
	const address = "octocat@example.com"
	refused := forbidden("Resource not accessible by integration")
	for name, c := range map[string]struct {
		prepare func(*githubFixture)
		want    any
	}{
		"an address": {func(*githubFixture) {}, address},
		"refused again": {func(g *githubFixture) {
			g.fake.Inject(githubtest.EndpointEmails, refused)
		}, nil},
		"GitHub fails": {func(g *githubFixture) {
			g.fake.Inject(githubtest.EndpointEmails, githubtest.Status(http.StatusBadGateway))
		}, nil},
		"a taken address": {func(g *githubFixture) {
			_, err := g.svc.Register(t.Context(), authtest.ByHost,
				auth.UserParams{Username: "first", Email: strings.ToUpper(address)})
			require.NoError(t, err)
		}, nil},
		"an address that is not verified": {func(g *githubFixture) {
			require.NoError(t, g.fake.SetUser(githubtest.User{ID: octocat, Login: octocatLogin,
				Emails: []githubtest.Email{{Address: address, Primary: true}}}))
		}, nil},
	} {
		g := newGitHub(t)
		g.fake.Inject(githubtest.EndpointEmails, refused)
		b := g.browser()
		require.Nil(t, g.emailOf(b.signIn()), name)
		g.fake.Heal()

		c.prepare(g)
		asked := g.fake.Count(githubtest.EndpointEmails)
		require.Equal(t, c.want, g.emailOf(b.signIn()), name)
		require.Equal(t, asked+1, g.fake.Count(githubtest.EndpointEmails), name)
	}
}

// The address of a user who has one stays, and a user whom no GitHub sign-in created gets none.
// GitHub is not asked.
func TestOnlyAMissingAddressOfAGitHubUserIsFilledIn(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	b := g.browser()
	b.signIn()
	require.NoError(t, g.fake.SetUser(githubtest.User{ID: octocat, Login: octocatLogin,
		Emails: []githubtest.Email{{Address: "new@example.com", Primary: true, Verified: true}}}))
	asked := g.fake.Count(githubtest.EndpointEmails)
	require.Equal(t, "octocat@example.com", g.emailOf(b.signIn()))

	require.NoError(t, g.fake.SignInAs(hubotLogin))
	registered, err := g.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "machine"})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, b.connect(g.fixture.signIn(registered.User)).status)
	require.Nil(t, g.emailOf(b.signIn()))
	require.Equal(t, asked, g.fake.Count(githubtest.EndpointEmails))
}
