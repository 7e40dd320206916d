package workload_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/oauth/workload"
)

// eventsOf runs the service until its events are delivered, and returns those of the kind.
func (f *fixture) eventsOf(kind eventkind.Kind) (found []auth.Event) {
	f.t.Helper()
	authtest.DeliverEvents(f.t, f.svc)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func (f *fixture) prune() {
	f.t.Helper()
	_, err := f.svc.Prune(f.t.Context())
	require.NoError(f.t, err)
}

func TestAJobGetsAShortTokenWithTheScopesOfItsWorkload(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture, _ *workload.Config) { f.workload.Lifetime = 5 * time.Minute })
	a := f.post(f.sign())
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "Bearer", a.body["token_type"])
	require.EqualValues(t, 300, a.body["expires_in"])
	require.Equal(t, "reports:read reports:write", a.body["scope"])
	identity, err := f.svc.Tokens().Verify(t.Context(), a.body["access_token"].(string))
	require.NoError(t, err)
	require.Equal(t, f.deployer.ID, identity.UserID)
	sessions, err := f.store.ListSessions(t.Context(), f.deployer.ID, f.clock.Now())
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	require.Equal(t, auth.MethodWorkload, sessions[0].Method)
	accepted := f.eventsOf(eventkind.SignedIn)
	require.Len(t, accepted, 1)
	require.Equal(t, auth.MethodWorkload, accepted[0].Method)
	require.Equal(t, f.deployer.ID, accepted[0].UserID)
	require.Equal(t, f.issuer.URL()+", repo:octo-org/octo-repo:ref:refs/heads/main", accepted[0].Reason)
	require.Equal(t, "127.0.0.1", accepted[0].Client.Address.String())
}

func TestScopeAndResourceNarrowTheTokenOfAJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := f.post(f.sign(), "scope", "reports:read", "resource", reports)
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "reports:read", a.body["scope"])
	identity, err := f.svc.Tokens().VerifyFor(t.Context(), reports, a.body["access_token"].(string))
	require.NoError(t, err)
	require.Equal(t, "reports:read", identity.Scope)

	// A request with a mistake uses up no assertion.
	assertion := f.sign()
	for _, test := range []struct{ name, value, code string }{
		{"scope", "auth:keys", "invalid_scope"},
		{"scope", "unknown", "invalid_scope"},
		{"scope", "reports:read auth:users", "invalid_scope"},
		{"resource", "https://unknown.example.com", "invalid_target"},
		{"client_secret", "as_x", "invalid_request"},
		{"client_assertion", "x", "invalid_request"},
	} {
		f.requireError(400, test.code, f.post(assertion, test.name, test.value))
	}
	require.Equal(t, 200, f.post(assertion, "client_id", "ignored", "x", "1").status)
}

func TestARejectedAssertionSaysWhyInItsEventOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := f.post(f.sign("repository_id", "75", "sub", "repo:\x1b[31mmallory/x"+strings.Repeat("y", 200)))
	f.requireError(400, "invalid_grant", a)
	require.Equal(t, "The assertion is not valid here, has expired or was used already",
		a.body["error_description"])
	forged := f.sign("sub", "repo:mallory/x")
	f.requireError(400, "invalid_grant", f.post(forged[:len(forged)-8]+"AAAAAAAA"))
	rejected := f.eventsOf(eventkind.SignInRejected)
	require.Len(t, rejected, 2)
	require.Equal(t, auth.MethodWorkload, rejected[0].Method)
	require.Empty(t, rejected[0].UserID)
	require.True(t, strings.HasPrefix(rejected[0].Reason,
		`its claim "repository_id" is not that of the workload; `+f.issuer.URL()+", repo:[31mmallory/xy"),
		rejected[0].Reason)
	require.NotContains(t, rejected[1].Reason, "mallory", "the subject is not verified")
	require.NotContains(t, rejected[1].Reason, forged)
}

func TestAnAssertionOpensOneSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	assertion := f.sign("jti", "once", "exp", f.clock.Now().Unix()+3600)
	require.Equal(t, 200, f.post(assertion).status)
	f.requireError(400, "invalid_grant", f.post(assertion))
	f.requireError(400, "invalid_grant", f.post(f.sign("jti", "once")))
	require.Equal(t, 200, f.post(f.sign("jti", "twice")).status)

	f.clock.Advance(time.Hour - time.Second)
	f.prune()
	f.requireError(400, "invalid_grant", f.post(assertion))
	rejected := f.eventsOf(eventkind.SignInRejected)
	require.Contains(t, rejected[len(rejected)-1].Reason, "it was used already; "+f.issuer.URL())
}

// The attack: an instance whose clock is ahead removes the record of a used assertion, and another instance
// accepts the assertion again.
func TestAnInstanceWhoseClockIsAheadDoesNotReviveAnAssertion(t *testing.T) {
	t.Parallel()
	for ahead, kept := range map[time.Duration]bool{
		11 * time.Minute: true, time.Hour: true, 2*time.Hour + 5*time.Minute - time.Second: true,
		2*time.Hour + 5*time.Minute: false, // the record does not stay forever
	} {
		f := newFixture(t)
		other := f.newService(f.store, func(cfg *auth.Config) {
			cfg.Now = func() time.Time { return f.clock.Now().Add(ahead) }
		})
		assertion := f.sign("exp", f.clock.Now().Unix()+5*60)
		require.Equal(t, 200, f.post(assertion).status)
		_, err := other.Prune(t.Context())
		require.NoError(t, err)
		if kept {
			f.requireError(400, "invalid_grant", f.post(assertion))
			continue
		}
		require.Equal(t, 200, f.post(assertion).status)
	}
}

func TestAReusableAssertionOpensASessionEachTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture, _ *workload.Config) { f.workload.Reusable = true })
	for _, assertion := range []string{f.sign("jti", nil), f.sign("jti", "once")} {
		for range 2 {
			require.Equal(t, 200, f.post(assertion).status)
		}
	}
	sessions, err := f.store.ListSessions(t.Context(), f.deployer.ID, f.clock.Now())
	require.NoError(t, err)
	require.Len(t, sessions, 4)
}

// The attack: a stolen assertion is sent to two instances at the same moment.
func TestOneOfManyConcurrentUsesOfAnAssertionWins(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var urls []string
	for range 2 {
		svc := f.newService(f.store)
		mux := http.NewServeMux()
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		f.mount(mux, svc, f.newVerifier(svc, workload.Config{
			Workloads: []workload.Workload{f.workload},
			Issuers:   []workload.Issuer{f.issuer.Settings()},
			Now:       f.clock.Now, Logger: slog.New(slog.DiscardHandler)}))
		urls = append(urls, server.URL)
	}
	for range 3 {
		form := url.Values{"grant_type": {grant}, "assertion": {f.sign()}}
		statuses := make([]int, 16)
		var all sync.WaitGroup
		for i := range statuses {
			all.Go(func() { statuses[i] = postTo(t, urls[i%2], form).status })
		}
		all.Wait()
		won := 0
		for _, status := range statuses {
			require.Contains(t, []int{200, 400, 429}, status, "429 after 20 failures")
			if status == 200 {
				won++
			}
		}
		require.Equal(t, 1, won, fmt.Sprint(statuses))
	}
	sessions, err := f.store.ListSessions(t.Context(), f.deployer.ID, f.clock.Now())
	require.NoError(t, err)
	require.Len(t, sessions, 3)
}

func TestOnlyAnActiveServiceUserSignsInAsAWorkload(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	assertion := f.sign()
	inactive := false
	change := func(change auth.UserChange) {
		_, err := f.svc.UpdateUser(t.Context(), auth.ByHost("test"), f.deployer.ID, change)
		require.NoError(t, err)
	}
	change(auth.UserChange{IsActive: &inactive})
	f.requireError(400, "invalid_grant", f.post(assertion))
	active := true
	change(auth.UserChange{IsActive: &active})
	a := f.post(assertion)
	require.Equal(t, 200, a.status, "a refused user has used up no assertion")

	change(auth.UserChange{IsActive: &inactive})
	_, err := f.svc.Tokens().Verify(t.Context(), a.body["access_token"].(string))
	require.ErrorIs(t, err, auth.ErrTokenRejected, "the sessions end with the user")

	rejected := f.eventsOf(eventkind.SignInRejected)
	require.Len(t, rejected, 1)
	require.Contains(t, rejected[0].Reason, "the user is disabled; ")
	require.Equal(t, f.deployer.ID, rejected[0].UserID)
}

// The attack would be an accident: the assertion of a CI job signs in as a person.
func TestAPersonDoesNotSignInAsAWorkload(t *testing.T) {
	t.Parallel()
	for name, userID := range map[string]func(*fixture) string{
		"person":  func(f *fixture) string { return f.register("ada", false).ID },
		"nobody":  func(*fixture) string { return "nobody" },
		"no text": func(*fixture) string { return "\n" },
	} {
		f := newFixture(t, func(f *fixture, _ *workload.Config) { f.workload.UserID = userID(f) })
		a := f.post(f.sign())
		require.NotEqual(t, 200, a.status, name)
		if name == "person" {
			f.requireError(400, "invalid_grant", a)
			sessions, err := f.store.ListSessions(t.Context(), f.workload.UserID, f.clock.Now())
			require.NoError(t, err)
			require.Empty(t, sessions)
			require.Contains(t, f.eventsOf(eventkind.SignInRejected)[0].Reason, "not a service user")
		}
	}
}

// Other jobs share the address of a machine. So failures of one job do not keep a right assertion out.
func TestBadAssertionsAreLimitedPerAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 20 {
		f.requireError(400, "invalid_grant", f.post(f.sign("repository_id", "75")))
	}
	f.requireError(429, "temporarily_unavailable", f.post(f.sign("repository_id", "75")))
	f.requireError(429, "temporarily_unavailable", f.post("x"))
	require.Equal(t, 200, f.post(f.sign()).status)
}

// A CI service runs each job on another machine, so "new client" would say nothing.
func TestAJobOnAnotherMachineIsNoNewClient(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, agent := range []string{"curl", "go", "python"} {
		ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{UserAgent: agent})
		_, err := f.svc.SignInWorkload(ctx, func(ctx context.Context) (auth.WorkloadSignIn, error) {
			return f.verifier.VerifyAssertion(ctx, f.sign())
		})
		require.NoError(t, err)
	}
	require.Empty(t, f.eventsOf(eventkind.NewClient))
}
