package wiretest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// storedToken returns the record of the user's GitHub token, or nil if there is none.
func (g *githubFixture) storedToken(user auth.User) *auth.GitHubToken {
	g.t.Helper()
	_, token, err := g.store.FindGitHubConnection(g.t.Context(), user.ID, "githubtest.invalid")
	require.NoError(g.t, err)
	return token
}

// withSealingKeys returns another instance, with these sealing keys.
func (g *githubFixture) withSealingKeys(keys ...auth.SymmetricKey) *auth.Service {
	return g.instance(func(cfg *auth.Config) { cfg.SealingKeys = keys })
}

const lostKey = `the GitHub token is encrypted with the sealing key "seal-1", which is not in ` +
	`Config.SealingKeys`

// droppedKey is an instance that has lost the sealing key of a user's GitHub token.
type droppedKey struct {
	*githubFixture
	other  *auth.Service
	token  string // a bearer token of the user
	log    authtest.Log
	events authtest.EventRecord
}

func newDroppedKey(t *testing.T) *droppedKey {
	d := &droppedKey{githubFixture: newGitHub(t)}
	d.token = d.signIn(d.user)
	require.Equal(t, http.StatusOK, d.browser().connect(d.token).status)
	d.other = d.instance(func(cfg *auth.Config) {
		cfg.SealingKeys = []auth.SymmetricKey{authtest.SymmetricKey(t, "seal-2")}
		cfg.OnEvent, cfg.Logger = d.events.Add, slog.New(slog.NewTextHandler(&d.log, nil))
	})
	d.events.Deliver(t, d.other)
	return d
}

func (d *droppedKey) send(method, path string) response {
	return send(d.other.Handler(), method, path, "", "Authorization", "Bearer "+d.token)
}

// lostEvents returns the reasons of the events about lost GitHub tokens.
func (d *droppedKey) lostEvents() (reasons []string) {
	for _, e := range d.events.Deliver(d.t, d.other) {
		if e.Kind == eventkind.GitHubLost {
			require.Equal(d.t, d.user.ID, e.UserID)
			require.EqualValues(d.t, octocat, e.GitHub.ID)
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

func TestATokenUnderADroppedSealingKeyIsNotConnectedAndStays(t *testing.T) {
	t.Parallel()
	d := newDroppedKey(t)
	stored := d.storedToken(d.user)
	for _, path := range []string{statusCall, verifyCall, statusCall, verifyCall} {
		answer := d.send(http.MethodGet, path)
		require.Equal(t, http.StatusNotFound, answer.status)
		require.JSONEq(t, `{"detail": "No GitHub credentials found for user"}`, answer.body)
	}
	_, err := d.other.GitHub().TokenSource(t.Context(), d.user.ID).Token()
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.EqualError(t, err, "auth: looking for a GitHub token: auth: not found: "+lostKey)
	_, err = d.other.GitHub().Client(t.Context(), d.user.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)

	require.Equal(t, []string{lostKey}, d.lostEvents(), "once, although clients asked six times")
	require.Equal(t, 1, strings.Count(d.log.String(), "level=ERROR"))
	require.Contains(t, d.log.String(), "seal-1")
	require.NotContains(t, d.log.String(), d.fake.Tokens(octocat)[0].Access)
	d.clock.Advance(time.Hour)
	d.token = d.signIn(d.user)
	d.send(http.MethodGet, statusCall)
	require.Len(t, d.lostEvents(), 1)

	// An instance that still has the key must find the token unchanged.
	require.Equal(t, stored, d.storedToken(d.user))
	require.Equal(t, http.StatusOK, d.sendAs(d.token, http.MethodGet, verifyCall, "").status)
}

func TestDisconnectingATokenUnderADroppedSealingKeyLogsThatItStaysValid(t *testing.T) {
	t.Parallel()
	d := newDroppedKey(t)
	answer := d.send(http.MethodPost, disconnectCall)
	require.Equal(t, http.StatusOK, answer.status)
	require.JSONEq(t, `{"success": true, "message": "GitHub credentials removed successfully"}`, answer.body)
	require.Nil(t, d.storedToken(d.user))
	require.Len(t, d.fake.Tokens(octocat), 1, "only the user can revoke the token, at GitHub")
	require.Equal(t, []string{"removed, but not revoked at GitHub: " + lostKey}, d.lostEvents())
	require.Contains(t, d.log.String(), "its user must revoke the app's access there")
}

// The sign-in asks for fewer scopes than connecting did. Another instance may open the stored token.
func TestASignInDoesNotReplaceAWiderTokenThatItCannotDecrypt(t *testing.T) {
	t.Parallel()
	d := newDroppedKey(t)
	d.server.Config.Handler = d.other.Handler()
	stored := d.storedToken(d.user)
	d.browser().signIn()
	require.Equal(t, stored, d.storedToken(d.user))

	require.Equal(t, http.StatusOK, d.browser().connect(d.token).status, "connecting again replaces it")
	require.NotEqual(t, stored, d.storedToken(d.user))
	require.Equal(t, http.StatusOK, d.send(http.MethodGet, verifyCall).status)
}

func TestResealMovesEveryTokenToTheFirstKeyAndCountsTheOthers(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.browser().connect(g.signIn(g.user))
	require.NoError(t, g.fake.SignInAs(hubotLogin))
	g.browser().connect(g.signIn(g.admin))
	lost := *g.storedToken(g.admin)
	seal2 := authtest.SymmetricKey(t, "seal-2")

	changed := g.withSealingKeys(seal2, g.sealing[0])
	report, err := changed.GitHub().Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, auth.ResealReport{Resealed: 2, Unopened: map[string]int{}}, report)
	report, err = changed.GitHub().Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, auth.ResealReport{Current: 2, Unopened: map[string]int{}}, report)

	// The record of the other user comes back from a backup, under the old key.
	require.NoError(t, g.store.ReplaceGitHubToken(t.Context(), lost, g.storedToken(g.admin).Version))
	dropped := g.withSealingKeys(seal2)
	report, err = dropped.GitHub().Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, auth.ResealReport{Current: 1, Unopened: map[string]int{"seal-1": 1}}, report)
	require.Equal(t, &lost, g.storedToken(g.admin))
	_, err = dropped.GitHub().Verify(t.Context(), g.user.ID)
	require.NoError(t, err, "the old key is no longer needed")
	_, err = changed.GitHub().Verify(t.Context(), g.admin.ID)
	require.NoError(t, err)
}

// If Reseal replaced the record during a refresh, the refreshed token could not be stored. GitHub
// would accept neither the old token nor its refresh token any more.
func TestResealDoesNotLoseATokenThatIsBeingRefreshed(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withExpiringTokens)
	g.browser().connect(g.signIn(g.user))
	g.clock.Advance(9 * time.Hour)
	changed := g.withSealingKeys(authtest.SymmetricKey(t, "seal-2"), g.sealing[0])
	g.fake.InjectN(githubtest.EndpointAccessToken, 1, func(endpoint http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 300*time.Millisecond)
			defer cancel()
			report, err := changed.GitHub().Reseal(ctx) // waits for the lease
			if !errors.Is(err, context.DeadlineExceeded) || report.Resealed != 0 {
				t.Error(report, err)
			}
			endpoint.ServeHTTP(w, r)
		})
	})
	refreshed, err := g.accessToken()
	require.NoError(t, err)
	report, err := changed.GitHub().Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Resealed)
	token, err := changed.GitHub().TokenSource(t.Context(), g.user.ID).Token()
	require.NoError(t, err)
	require.Equal(t, refreshed, token.AccessToken)
	require.Equal(t, 2, g.fake.Count(githubtest.EndpointAccessToken))
}

func TestResealContinuesAfterAFailureAndBesideAnotherInstance(t *testing.T) {
	t.Parallel()
	const users = 12
	var replaced, failAfter atomic.Int64
	failAfter.Store(1000)
	g := newGitHub(t, githubOptions{configure: func(g *githubFixture, _ *auth.Config) {
		g.fixture.injectFaults(func(method string) error {
			if method == "ReplaceGitHubToken" && replaced.Add(1) > failAfter.Load() {
				return authtest.ErrStoreAway
			}
			return nil
		})
	}})
	owners := make([]auth.User, users)
	for i := range owners {
		id := int64(1000 + i)
		login := "user-" + string(rune('a'+i))
		require.NoError(t, g.fake.SetUser(githubtest.User{ID: id, Login: login}))
		require.NoError(t, g.fake.SignInAs(login))
		signedIn := g.browser().signIn()
		owners[i].ID = g.sendAs(signedIn["token"].(string), http.MethodGet, "/auth/user", "").
			json(t)["user_id"].(string)
	}
	seal2 := authtest.SymmetricKey(t, "seal-2")
	var instances [2]*auth.Service
	for i := range instances {
		instances[i] = g.withSealingKeys(seal2, g.sealing[0])
	}

	failAfter.Store(replaced.Load() + 5)
	report, err := instances[0].GitHub().Reseal(t.Context())
	require.ErrorIs(t, err, authtest.ErrStoreAway)
	require.Equal(t, 5, report.Resealed)
	failAfter.Store(1000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err = instances[0].GitHub().Reseal(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, report.Resealed)
	g.clock.Advance(time.Minute) // the lease of the failed write has expired

	var all sync.WaitGroup
	reports := make([]auth.ResealReport, len(instances))
	for i, svc := range instances {
		all.Go(func() {
			var err error
			if reports[i], err = svc.GitHub().Reseal(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, users-5, reports[0].Resealed+reports[1].Resealed, "each token once")
	only := g.withSealingKeys(seal2)
	for _, owner := range owners {
		_, err := only.GitHub().Verify(t.Context(), owner.ID)
		require.NoError(t, err)
	}
}

// During a change of keys, some instances still have the old key first. If each use sealed the token
// again, all instances would ask GitHub with each call, and write to the store.
func TestInstancesWithDifferentFirstKeysDoNotResealATokenInTurns(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.browser().connect(g.signIn(g.user))
	seal2 := authtest.SymmetricKey(t, "seal-2")
	instances := []*auth.Service{
		g.withSealingKeys(g.sealing[0], seal2), g.withSealingKeys(seal2, g.sealing[0]),
	}
	for _, wait := range []time.Duration{time.Hour - 1, 1, time.Hour} {
		g.clock.Advance(wait)
		asked, versions := g.fake.Count(githubtest.EndpointCheckToken), map[string]bool{}
		for range 10 {
			for _, svc := range instances {
				_, err := svc.GitHub().Verify(t.Context(), g.user.ID)
				require.NoError(t, err)
				versions[g.storedToken(g.user).Version] = true
			}
		}
		require.LessOrEqual(t, g.fake.Count(githubtest.EndpointCheckToken)-asked, 3)
		require.LessOrEqual(t, len(versions), 2)
	}
	require.Contains(t, string(g.storedToken(g.user).Sealed), "seal-1", "two hours after the connection")
}
