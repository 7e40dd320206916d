package githubtest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/githubtest"
)

// maxRead is the maximum number of bytes of a response that the tests read, as a careful client
// would do.
const maxRead = 1 << 20

// outcome is the part of a response that a client received, and the error that ended the response.
type outcome struct {
	reply
	err error
}

func (c *client) outcomeOf(r *http.Request) outcome {
	response, err := c.http.Do(r)
	if err != nil {
		return outcome{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxRead))
	return outcome{reply{response.StatusCode, response.Header, string(body)}, err}
}

// call returns a request to the endpoint that succeeds if there is no fault.
func (c *client) call(endpoint githubtest.Endpoint) *http.Request {
	c.t.Helper()
	if endpoint == githubtest.EndpointAuthorize {
		return c.request(http.MethodGet, "/login/oauth/authorize?"+c.authorizeQuery().Encode(), nil)
	}
	if endpoint == githubtest.EndpointAccessToken {
		return c.request(http.MethodPost, "/login/oauth/access_token",
			c.tokenForm("code", c.authorize("scope", "repo").Get("code")))
	}
	token := c.signIn("user repo read:org")
	method, path, _ := strings.Cut(string(endpoint), " ")
	id, secret := c.Client()
	r := c.request(method, "/api/v3"+strings.Replace(path, "{client_id}", id, 1), nil)
	if method == http.MethodGet {
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}
	r.SetBasicAuth(id, secret)
	r.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"access_token":%q}`, token)))
	return r
}

func TestEveryFaultHasItsNamedEffect(t *testing.T) {
	faults := githubtest.Faults()
	checks := faultChecks()
	names := make(map[string]bool)
	c := startWith(t, githubtest.Config{AutoApprove: "octocat",
		Users: []githubtest.User{userWithEverything()}})
	for _, fault := range faults {
		require.False(t, names[fault.Name], "the name %s is not unique", fault.Name)
		names[fault.Name] = true
		require.Contains(t, checks, fault.Name)
		require.NotEmpty(t, fault.Endpoints, fault.Name)
		if waits[fault.Name] {
			// TestFaultsThatWaitEndWithTheServer tests these faults.
			continue
		}
		for _, endpoint := range fault.Endpoints {
			t.Run(fault.Name+"/"+string(endpoint), func(t *testing.T) {
				r := c.call(endpoint)
				c.Inject(endpoint, fault.Fault)
				checks[fault.Name](t, c.outcomeOf(r))
				c.Heal()

				healthy := c.outcomeOf(c.call(endpoint))
				require.NoError(t, healthy.err)
				require.Less(t, healthy.status, 400, healthy.body)
			})
		}
	}
	require.GreaterOrEqual(t, len(faults), 100)
	require.Len(t, checks, len(faults), "a check has no fault")
}

func userWithEverything() githubtest.User {
	org := githubtest.Org{ID: 6811672, Login: "octo-org"}
	return githubtest.User{
		ID: octocat, Login: "octocat", Name: "The Octocat",
		Emails: []githubtest.Email{{Address: "octocat@example.com", Primary: true,
			Verified: true}},
		Memberships: []githubtest.Membership{{Org: org}},
		Teams:       []githubtest.Team{{ID: 2001, Slug: "justice-league", Org: org}},
		Repos:       []githubtest.Repo{{ID: 1, Name: "Hello-World"}},
	}
}

// waits contains the faults that last until the client disconnects or the server is closed.
var waits = map[string]bool{
	"time-out": true, "time-out after the headers": true, "slow drip": true,
}

func TestFaultsThatWaitEndWithTheServer(t *testing.T) {
	for _, fault := range githubtest.Faults() {
		if !waits[fault.Name] {
			continue
		}
		for _, endpoint := range fault.Endpoints {
			t.Run(fault.Name+"/"+string(endpoint), func(t *testing.T) {
				c := start(t)
				r := c.call(endpoint)
				c.Inject(endpoint, arrived(fault.Fault, func() { go c.Close() }))
				faultChecks()[fault.Name](t, c.outcomeOf(r))
				require.NoError(t, c.Close())
				requireNoRequestsLeft(t)
			})
		}
	}
}

func TestFaultsThatWaitEndWithTheClient(t *testing.T) {
	for _, fault := range githubtest.Faults() {
		if !waits[fault.Name] {
			continue
		}
		for _, endpoint := range fault.Endpoints {
			t.Run(fault.Name+"/"+string(endpoint), func(t *testing.T) {
				c := start(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r := c.call(endpoint).WithContext(ctx)
				c.Inject(endpoint, arrived(fault.Fault, cancel))
				require.Error(t, c.outcomeOf(r).err)
				requireNoRequestsLeft(t) // although Close was not called
			})
		}
	}
}

// A host may serve the fake with its own http.Server. Then only Server.Close of the fake ends the
// handlers of faults.
func TestCloseEndsFaultsBehindAnotherServer(t *testing.T) {
	for _, name := range []string{"time-out", "slow drip", "endless body", "endless headers",
		"gzip bomb", "a million e-mails"} {
		t.Run(name, func(t *testing.T) {
			fake, err := githubtest.New(githubtest.Config{})
			require.NoError(t, err)
			server := httptest.NewServer(fake)
			defer server.Close()
			client := server.Client()
			arrival, done := make(chan struct{}), make(chan struct{})
			fake.Inject(githubtest.EndpointEmails, arrived(faultNamed(t, name), func() {
				close(arrival)
			}))

			go func() {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
					server.URL+"/user/emails", nil)
				if err != nil {
					return
				}
				if response, err := client.Do(r); err == nil {
					<-done // although the client has not read the body
					response.Body.Close()
				}
			}()
			<-arrival
			require.NoError(t, fake.Close())
			close(done)
		})
	}
}

// arrived wraps a fault. It calls the function tell when a request reaches the fault.
func arrived(fault githubtest.Fault, tell func()) githubtest.Fault {
	return func(endpoint http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tell()
			fault(endpoint).ServeHTTP(w, r)
		})
	}
}

func faultNamed(t *testing.T, name string) githubtest.Fault {
	t.Helper()
	for _, fault := range githubtest.Faults() {
		if fault.Name == name {
			return fault.Fault
		}
	}
	require.Fail(t, "no such fault", name)
	return nil
}

// requireNoRequestsLeft waits until no goroutine handles a request. If a handler never ends, the
// test fails at the time limit of the test binary.
func requireNoRequestsLeft(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 4<<20)
	for {
		all := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(all, "githubtest.(*Server).ServeHTTP") {
			return
		}
		runtime.Gosched()
	}
}

func TestInjectNLimitsTheNumberOfCalls(t *testing.T) {
	c := start(t)
	token := c.signIn("")
	status := func() int { return c.get("/user", token).status }
	c.InjectN(githubtest.EndpointUser, 2, githubtest.Status(502))
	require.Equal(t, []int{502, 502, 200}, []int{status(), status(), status()})
	require.Equal(t, http.StatusNotFound, c.get("/user/emails", token).status,
		"other endpoints must be unchanged")

	c.Inject(githubtest.EndpointUser, githubtest.Status(500))
	for range 20 {
		require.Equal(t, 500, status())
	}
	c.Inject(githubtest.EndpointUser, githubtest.Status(503))
	require.Equal(t, 503, status())
	c.Heal()
	require.Equal(t, 200, status())
	c.InjectN(githubtest.EndpointUser, 0, githubtest.Status(503))
	require.Equal(t, 200, status())
}

func TestRedirectFaultLeadsToItsLocation(t *testing.T) {
	c := start(t)
	c.Inject(githubtest.EndpointAccessToken,
		githubtest.Redirect(http.StatusTemporaryRedirect, "http://127.0.0.1:1/steal"))
	got := c.outcomeOf(c.call(githubtest.EndpointAccessToken))
	require.NoError(t, got.err)
	require.Equal(t, http.StatusTemporaryRedirect, got.status)
	require.Equal(t, "http://127.0.0.1:1/steal", got.header.Get("Location"))
}

func TestResponseFaultsLeaveErrorsUnchanged(t *testing.T) {
	c := start(t)
	c.Inject(githubtest.EndpointUser, githubtest.SetField("id", "0"))
	got := c.get("/user", "gho_unknown")
	require.Equal(t, http.StatusUnauthorized, got.status)
	require.NotContains(t, got.object(t), "id")
}

func TestCallbackFaultsLeaveThePageUnchanged(t *testing.T) {
	c := startWith(t, githubtest.Config{})
	c.Inject(githubtest.EndpointAuthorize, faultNamed(t, "state wrong"))
	got := c.press(c.page(), url.Values{"user": {"583231"}, "decision": {"authorize"}})
	require.Equal(t, strings.Repeat("0", 20), brought(t, got).Get("state"))
}

func TestSetFieldPanicsUnlessJSON(t *testing.T) {
	require.Panics(t, func() { githubtest.SetField("id", "{") })
}
