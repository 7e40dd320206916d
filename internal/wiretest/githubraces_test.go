package wiretest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// crowd is the number of concurrent calls that atOnce makes.
const crowd = 256

func raceRounds(t testing.TB) int {
	return testenv.Rounds(t, testenv.Counts{Small: 1, Moderate: 3, Full: 200})
}

// atOnce calls the function do crowd times concurrently and returns the results. Each goroutine
// waits until all of them run, so that the calls of do begin at the same time.
func atOnce[T any](do func(i int) T) []T {
	results := make([]T, crowd)
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range results {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			results[i] = do(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return results
}

// pending is a flow that needs only the request of the callback URL.
type pending struct {
	callback string
	cookies  []*http.Cookie
}

func (g *githubFixture) pending() pending {
	g.t.Helper()
	r := g.send(http.MethodGet, signInCall, "")
	callback := g.browser().callbackURL(r.json(g.t)["auth_url"].(string))
	return pending{callback, (&http.Response{Header: r.header}).Cookies()}
}

func (g *githubFixture) sendCallback(p pending) response { return p.sendTo(g.svc) }

// sendTo sends the request of the callback to the service.
func (p pending) sendTo(svc *auth.Service) response {
	r := httptest.NewRequest(http.MethodGet, p.callback, nil)
	for _, c := range p.cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return serve(svc.Handler(), r)
}

func TestConcurrentCallbacksWithOneStateMakeOneExchange(t *testing.T) {
	t.Parallel()
	for range raceRounds(t) {
		g := newGitHub(t)
		p := g.pending()
		count := map[int]int{}
		for _, status := range atOnce(func(int) int { return g.sendCallback(p).status }) {
			count[status]++
		}
		require.Equal(t, 1, count[http.StatusOK])
		require.Equal(t, crowd-1, count[http.StatusBadRequest]+count[http.StatusTooManyRequests])
		require.Equal(t, 1, g.fake.Count(githubtest.EndpointAccessToken))
	}
}

func TestConcurrentFirstSignInsMakeOneUser(t *testing.T) {
	t.Parallel()
	const tabs = 8 // GitHub keeps at most ten tokens of an account
	for range raceRounds(t) {
		g := newGitHub(t)
		var flows [tabs]pending
		for i := range flows {
			flows[i] = g.pending()
		}
		made, users := 0, map[any]bool{}
		for _, r := range atOnce(func(i int) response {
			if i >= tabs {
				return response{}
			}
			return g.sendCallback(flows[i])
		})[:tabs] {
			require.Equal(t, http.StatusOK, r.status, r.body)
			answer := r.json(t)
			if answer["is_new_user"] == true {
				made++
			}
			user := g.sendAs(answer["token"].(string), http.MethodGet, "/auth/user", "")
			users[user.json(t)["user_id"]] = true
		}
		require.Len(t, users, 1)
		require.Equal(t, 1, made)
	}
}

func TestConcurrentUseOfAnExpiredTokenRefreshesOnce(t *testing.T) {
	t.Parallel()
	for range raceRounds(t) {
		g := newGitHub(t, withExpiringTokens)
		g.browser().connect(g.signIn(g.user))
		g.clock.Advance(9 * time.Hour)
		instances := []*auth.Service{g.svc, g.instance()}
		different := map[string]bool{}
		for _, token := range atOnce(func(i int) string {
			token, err := instances[i%2].GitHub().TokenSource(t.Context(), g.user.ID).Token()
			if err != nil {
				return err.Error()
			}
			return token.AccessToken
		}) {
			different[token] = true
			require.True(t, strings.HasPrefix(token, "gho_"), token)
		}
		require.Len(t, different, 1)
		require.Equal(t, 2, g.fake.Count(githubtest.EndpointAccessToken), "one exchange, one refresh")
		require.Equal(t, http.StatusOK, g.status(g.signIn(g.user)).status)
	}
}

// The GitHub token must not appear in a response or in the log, and the store must contain it only
// in sealed form.
func TestGitHubTokensAppearInNoOutput(t *testing.T) {
	t.Parallel()
	var stored strings.Builder
	g := newGitHub(t, withExpiringTokens,
		githubOptions{fake: withExpiringTokens.fake, configure: func(g *githubFixture, cfg *auth.Config) {
			cfg.GitHub.Logger = cfg.Logger
		}})
	token := g.signIn(g.user)
	var answers strings.Builder
	keep := func(body string) { answers.WriteString(body) }
	b := g.browser()
	callback := b.callbackURL(b.connectURL(token))
	code := queryOf(t, callback).Get("code")
	p := b.get(callback)
	keep(p.body)
	link, kept, err := g.store.FindGitHubConnection(t.Context(), g.user.ID, "githubtest.invalid")
	require.NoError(t, err)
	fmt.Fprintf(&stored, "%+v%+v", link, kept)
	stored.Write(kept.Sealed)
	secrets := []string{code}
	for _, live := range g.fake.Tokens(octocat) {
		secrets = append(secrets, live.Access, live.Refresh)
	}
	_, clientSecret := g.fake.Client()
	secrets = append(secrets, clientSecret)
	for _, fault := range githubtest.Faults() {
		for _, endpoint := range fault.Endpoints {
			ofToken := endpoint == githubtest.EndpointCheckToken || endpoint == githubtest.EndpointDeleteToken
			if !ofToken || strings.Contains(fault.Name, "time") {
				continue
			}
			g.fake.InjectN(endpoint, 1, fault.Fault)
			r := g.sendAs(token, http.MethodGet, verifyCall, "")
			keep(r.body)
			break
		}
		if g.status(token).status != http.StatusOK {
			break // GitHub has reported the token as revoked
		}
	}
	g.fake.Heal()
	r := g.sendAs(token, http.MethodPost, disconnectCall, "")
	keep(r.body)
	for _, secret := range secrets {
		require.NotEmpty(t, secret)
		require.NotContains(t, answers.String(), secret)
		require.NotContains(t, g.log.String(), secret)
		require.NotContains(t, stored.String(), secret)
	}
}

// A user signs in on two instances with the same database. At the same time, a call takes rights or
// access away from the user.
func TestSignInsDuringADemotionOrDeletionLeaveNoAccess(t *testing.T) {
	for _, kind := range []string{"PostgreSQL", "MariaDB", "SQLite", "memory"} {
		t.Run(kind, func(t *testing.T) {
			for _, action := range []string{
				"demote", "reset", "delete", "unlink", "disable", "demote listed later",
				"recover another user",
			} {
				t.Run(action, func(t *testing.T) {
					for range 8 {
						raceOnce(t, kind, action)
					}
				})
			}
		})
	}
}

// raceOnce makes six sign-ins at once. The action begins when a random one of them has come back
// from GitHub and calls the store.
func raceOnce(t *testing.T, kind, action string) {
	const tabs = 6
	var left atomic.Int32 // number of sign-ins that call the store before the action; 0 means none
	begin := make(chan struct{})
	store := authtest.FaultyStore(testStores[kind](t), func(method string) error {
		if method == "SignInGitHub" && left.Add(-1) == 0 {
			close(begin)
		}
		return nil
	})
	listed := []int64{octocat}
	if action == "demote listed later" {
		listed = nil
	}
	g := newGitHub(t, onStore(store, listed...))
	_, user, _ := g.signInOctocat()
	require.Equal(t, listed != nil, user.IsSuperUser)
	g.github.SuperUsers = []int64{octocat}
	services := []*auth.Service{g.svc, g.instance()}
	if listed == nil {
		services[0] = g.instance()
	}
	pair, err := g.svc.Credentials().Issue(t.Context(), authtest.ByHost, user.ID, auth.KeyOptions{})
	require.NoError(t, err)
	own, err := g.svc.Login(t.Context(), pair, auth.LoginOptions{})
	require.NoError(t, err)
	flows := make([]pending, tabs)
	for i := range flows {
		flows[i] = g.pending()
	}
	answers := make([]response, tabs)
	var recovered auth.KeyPair
	left.Store(1 + rand.Int32N(tabs))
	var all sync.WaitGroup
	start := make(chan struct{})
	for i, p := range flows {
		all.Go(func() {
			<-start
			answers[i] = p.sendTo(services[i%2])
		})
	}
	all.Go(func() {
		<-begin
		var err error
		switch action {
		case "demote", "demote listed later":
			_, err = services[1].UpdateUser(t.Context(), authtest.ByHost, user.ID,
				auth.UserChange{IsSuperUser: new(false)})
		case "reset":
			_, err = services[1].RegenerateCredentials(t.Context(), authtest.ByHost, user.ID,
				auth.KeyOptions{})
		case "delete":
			err = services[1].DeleteUser(t.Context(), authtest.ByHost, user.ID)
		case "unlink":
			err = services[1].GitHub().Unlink(t.Context(),
				auth.Authority{SessionID: own.Session.ID, UserID: user.ID}, user.ID)
		case "disable":
			_, err = services[1].UpdateUser(t.Context(), authtest.ByHost, user.ID,
				auth.UserChange{IsActive: new(false)})
		case "recover another user":
			recovered, err = services[1].RecoverSuperUser(t.Context(), g.user.ID)
		}
		if err != nil {
			t.Error(action, err)
		}
	})
	close(start)
	all.Wait()
	var statuses []int
	fresh := g.instance() // a new instance reads the whole feed
	live := 0
	for _, a := range answers {
		statuses = append(statuses, a.status)
		if a.status == http.StatusOK {
			token := a.json(t)["token"].(string)
			if id, err := fresh.Tokens().Verify(t.Context(), token); err == nil && id.UserID == user.ID {
				live++
			}
		}
	}
	t.Log(statuses, live)
	now, err := store.FindUser(t.Context(), user.ID)
	link, linkErr := g.link(octocat)
	_, token, _ := store.FindGitHubConnection(t.Context(), user.ID, "githubtest.invalid")
	switch action {
	case "demote", "demote listed later":
		require.NoError(t, err)
		require.False(t, now.IsSuperUser)
	case "reset":
		require.ErrorIs(t, linkErr, auth.ErrNotFound)
		require.Nil(t, token)
		require.Zero(t, live)
	case "delete":
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.Zero(t, live)
		if linkErr == nil {
			again, err := store.FindUser(t.Context(), link.UserID)
			require.NoError(t, err)
			require.False(t, again.IsSuperUser)
			require.NotEqual(t, user.ID, again.ID)
		}
	case "unlink":
		require.ErrorIs(t, linkErr, auth.ErrNotFound)
		require.Nil(t, token)
		require.Zero(t, live)
	case "disable":
		require.Zero(t, live)
	case "recover another user":
		g.requireRecovered(recovered)
		require.NoError(t, err)
		require.True(t, now.IsSuperUser, "octocat keeps the rights")
		require.Equal(t, user.ID, link.UserID)
		require.Equal(t, tabs, live, "each sign-in of octocat succeeds, and its session stays live")
		require.NoError(t, errorOf(fresh.Tokens().Verify(t.Context(), own.Bearer.Reveal())))
	}
}

// requireRecovered fails the test unless the ordinary user is a super user who can sign in only with
// the pair.
func (g *githubFixture) requireRecovered(pair auth.KeyPair) {
	g.t.Helper()
	user, err := g.store.FindUser(g.t.Context(), g.user.ID)
	require.NoError(g.t, err)
	require.True(g.t, user.IsSuperUser)
	require.Equal(g.t, http.StatusUnauthorized, g.login(g.userPair).status)
	require.Equal(g.t, http.StatusOK, g.login(pair).status)
}
