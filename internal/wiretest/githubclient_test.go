package wiretest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestTheHostCanCallGitHubAsTheUser(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	_, err := g.svc.GitHub().Client(t.Context(), g.user.ID)
	require.ErrorIs(t, err, auth.ErrNotFound)
	g.browser().connect(g.signIn(g.user))

	client, err := g.svc.GitHub().Client(t.Context(), g.user.ID)
	require.NoError(t, err)
	response, err := client.Get(g.fake.URL() + "/api/v3/user/repos")
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, response.Header.Get("X-Oauth-Scopes"), "repo")

	token, err := g.svc.GitHub().TokenSource(t.Context(), g.user.ID).Token()
	require.NoError(t, err)
	require.Equal(t, "Bearer", token.TokenType)

	require.NoError(t, g.svc.GitHub().Disconnect(t.Context(), authtest.ByHost, g.user.ID))
	_, err = client.Get(g.fake.URL() + "/api/v3/user/repos")
	require.ErrorIs(t, err, auth.ErrNotFound)
	_, err = g.svc.GitHub().TokenSource(t.Context(), g.user.ID).Token()
	require.ErrorIs(t, err, auth.ErrNotFound)
}

// If GitHub redirected to another host, the transport of golang.org/x/oauth2 would send the token
// to that host too.
func TestTheClientSendsTheTokenOnlyToTheAPI(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.browser().connect(g.signIn(g.user))
	seen := make(chan string, 10)
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization")
	}))
	defer evil.Close()
	client, err := g.svc.GitHub().Client(t.Context(), g.user.ID)
	require.NoError(t, err)

	g.fake.Inject(githubtest.EndpointRepos, githubtest.Redirect(http.StatusTemporaryRedirect, evil.URL))
	response, err := client.Get(g.fake.URL() + "/api/v3/user/repos")
	require.NoError(t, err)
	response.Body.Close()
	require.Empty(t, <-seen)

	response, err = client.Get(evil.URL)
	require.NoError(t, err)
	response.Body.Close()
	require.Empty(t, <-seen)

	r, err := http.NewRequest(http.MethodGet, evil.URL, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer from the host")
	response, err = client.Do(r)
	require.NoError(t, err)
	response.Body.Close()
	require.Empty(t, <-seen, "an Authorization header of the host is not sent to other hosts either")
}

// withExpiringTokens makes the tokens of GitHub expire after 8 hours. The real GitHub does this for
// apps that have opted in.
var withExpiringTokens = githubOptions{fake: githubtest.Config{TokenLifetime: 8 * time.Hour}}

func (g *githubFixture) accessToken() (string, error) {
	token, err := g.svc.GitHub().TokenSource(g.t.Context(), g.user.ID).Token()
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

func TestATokenIsRefreshedBeforeItExpires(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withExpiringTokens)
	g.browser().connect(g.signIn(g.user))
	first, err := g.accessToken()
	require.NoError(t, err)
	g.clock.Advance(8*time.Hour - 6*time.Minute)
	same, err := g.accessToken()
	require.NoError(t, err)
	require.Equal(t, first, same)
	g.clock.Advance(2 * time.Minute)
	second, err := g.accessToken()
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	require.Equal(t, 2, g.fake.Count(githubtest.EndpointAccessToken), "one exchange, one refresh")
	g.clock.Advance(8 * time.Hour)
	third, err := g.accessToken()
	require.NoError(t, err)
	require.NotEqual(t, second, third, "refreshed with the refresh token of the second")
}

// instance returns another instance of the service with the same store.
func (g *githubFixture) instance(change ...func(*auth.Config)) *auth.Service {
	github := g.github
	cfg := auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{g.signer.Key}, SealingKeys: g.sealing,
		GitHub: &github, Now: g.clock.Now,
	}
	for _, change := range change {
		change(&cfg)
	}
	svc, err := auth.New(g.store, cfg)
	require.NoError(g.t, err)
	return svc
}

func TestARevokedRefreshTokenDisconnects(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withExpiringTokens)
	g.browser().connect(g.signIn(g.user))
	g.clock.Advance(9 * time.Hour)
	g.fake.Revoke(octocat)
	_, err := g.accessToken()
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Equal(t, http.StatusNotFound, g.status(g.signIn(g.user)).status)
}

func TestATemporaryRefreshFailureDoesNotDisconnect(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withExpiringTokens)
	g.browser().connect(g.signIn(g.user))
	g.clock.Advance(9 * time.Hour)
	g.fake.InjectN(githubtest.EndpointAccessToken, 1, githubtest.Status(http.StatusBadGateway))
	_, err := g.accessToken()
	require.Error(t, err)
	require.NotErrorIs(t, err, auth.ErrNotFound)
	g.clock.Advance(31 * time.Second) // until the lease of the failed refresh has expired
	_, err = g.accessToken()
	require.NoError(t, err)
}

// The request of the caller is canceled while GitHub responds. The old token is then already
// revoked, so the library must store the new one.
func TestARefreshContinuesAfterItsCallerIsCanceled(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withExpiringTokens)
	g.browser().connect(g.signIn(g.user))
	g.clock.Advance(9 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	g.fake.InjectN(githubtest.EndpointAccessToken, 1, func(endpoint http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cancel()
			endpoint.ServeHTTP(w, r)
		})
	})
	g.svc.GitHub().TokenSource(ctx, g.user.ID).Token()
	_, err := g.accessToken()
	require.NoError(t, err)
	require.Equal(t, 2, g.fake.Count(githubtest.EndpointAccessToken))
}

func TestARefreshDuringADisconnectRevokesTheNewToken(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, withExpiringTokens)
	g.browser().connect(g.signIn(g.user))
	g.clock.Advance(9 * time.Hour)
	g.fake.InjectN(githubtest.EndpointAccessToken, 1, func(endpoint http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			err := g.svc.GitHub().Disconnect(context.Background(), authtest.ByHost, g.user.ID)
			if err != nil {
				t.Error(err)
			}
			endpoint.ServeHTTP(w, r)
		})
	})
	_, err := g.accessToken()
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Empty(t, g.fake.Tokens(octocat))
}

func TestTokensAreResealedWithTheNewKeyOnRead(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.browser().connect(g.signIn(g.user))
	sealed := func() []byte {
		_, token, err := g.store.FindGitHubConnection(t.Context(), g.user.ID, "githubtest.invalid")
		require.NoError(t, err)
		return token.Sealed
	}
	require.Contains(t, string(sealed()), "seal-1")
	old := g.sealing
	g.sealing = append([]auth.SymmetricKey{authtest.SymmetricKey(t, "seal-2")}, old...)
	g.clock.Advance(time.Hour)
	_, err := g.instance().GitHub().TokenSource(t.Context(), g.user.ID).Token()
	require.NoError(t, err)
	require.Contains(t, string(sealed()), "seal-2")
	g.sealing = g.sealing[:1]
	_, err = g.instance().GitHub().TokenSource(t.Context(), g.user.ID).Token()
	require.NoError(t, err, "the old key is no longer needed")
	g.sealing = old
	_, err = g.instance().GitHub().TokenSource(t.Context(), g.user.ID).Token()
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Contains(t, string(sealed()), "seal-2", "a missing key does not disconnect the user")
}

// Attack: the stored token of one user is copied to the row of another user.
func TestATokenCopiedToAnotherUsersRowIsRejected(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	store := g.store
	g.browser().connect(g.signIn(g.user))
	require.NoError(t, g.fake.SignInAs(hubotLogin))
	g.browser().connect(g.signIn(g.admin))
	_, stolen, err := store.FindGitHubConnection(t.Context(), g.user.ID, "githubtest.invalid")
	require.NoError(t, err)
	_, own, err := store.FindGitHubConnection(t.Context(), g.admin.ID, "githubtest.invalid")
	require.NoError(t, err)
	swapped := *own
	swapped.Sealed, swapped.Version = stolen.Sealed, "swapped"
	require.NoError(t, store.ReplaceGitHubToken(t.Context(), swapped, own.Version))
	_, err = g.svc.GitHub().TokenSource(t.Context(), g.admin.ID).Token()
	require.ErrorContains(t, err, `the sealing key "seal-1" does not decrypt the GitHub token`)
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.Equal(t, &swapped, g.storedToken(g.admin))
}

func TestARequestBodyIsClosedIfThereIsNoToken(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	g.browser().connect(g.signIn(g.user))
	client, err := g.svc.GitHub().Client(t.Context(), g.user.ID)
	require.NoError(t, err)
	require.NoError(t, g.svc.GitHub().Disconnect(t.Context(), authtest.ByHost, g.user.ID))
	body := &closeRecorder{}
	r, err := http.NewRequest(http.MethodPost, g.fake.URL()+"/api/v3/user/repos", body)
	require.NoError(t, err)
	_, err = client.Do(r)
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.True(t, body.closed)
}

type closeRecorder struct{ closed bool }

func (*closeRecorder) Read([]byte) (int, error) { return 0, io.EOF }
func (c *closeRecorder) Close() error           { c.closed = true; return nil }

// leasingStore is a store that records the duration of the last lease.
type leasingStore struct {
	auth.Store
	lease time.Duration
}

func (s *leasingStore) LeaseGitHubToken(
	ctx context.Context, userID, host, version string, now, until time.Time,
) (bool, error) {
	s.lease = until.Sub(now)
	return s.Store.LeaseGitHubToken(ctx, userID, host, version, now, until)
}

// Only the instance that holds the lease refreshes a token. If the lease ended before the refresh,
// another instance would use the same refresh token. The refresh of one instance would then fail,
// and this instance would disconnect the user.
func TestALeaseIsLongerThanARefresh(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[time.Duration]time.Duration{
		0: 30 * time.Second, time.Minute: 65 * time.Second,
	} {
		var store *leasingStore
		g := newGitHub(t, githubOptions{
			fake: githubtest.Config{TokenLifetime: time.Hour},
			configure: func(g *githubFixture, cfg *auth.Config) {
				store = &leasingStore{Store: g.fixture.store}
				g.fixture.store = store
				cfg.GitHub.Timeout = timeout
			},
		})
		g.browser().connect(g.signIn(g.user))
		g.clock.Advance(time.Hour)
		_, err := g.svc.GitHub().TokenSource(t.Context(), g.user.ID).Token()
		require.NoError(t, err)
		require.Equal(t, want, store.lease)
	}
}

// After a failed refresh, other requests wait for up to half a minute until the lease of the
// refresh ends. If these requests polled the store ten times a second, each would cause hundreds of
// transactions.
func TestWaitingForATokenRefreshDoesNotFloodTheStore(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	g := newGitHub(t, githubOptions{fake: withExpiringTokens.fake,
		configure: func(g *githubFixture, _ *auth.Config) {
			g.fixture.injectFaults(func(method string) error {
				if method == "LeaseGitHubToken" {
					writes.Add(1)
				}
				return nil
			})
		}})
	token := g.signIn(g.user)
	require.Equal(t, http.StatusOK, g.browser().connect(token).status)
	g.clock.Advance(9 * time.Hour)
	g.fake.Inject(githubtest.EndpointAccessToken, githubtest.Status(http.StatusBadGateway))
	g.svc.GitHub().Verify(t.Context(), g.user.ID)
	writes.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	const requests = 50
	var all sync.WaitGroup
	for range requests {
		all.Go(func() { g.svc.GitHub().Verify(ctx, g.user.ID) })
	}
	all.Wait()
	require.LessOrEqual(t, writes.Load(), int64(2*requests),
		"write transactions of %d requests in 3 seconds", requests)
}

// Attack: somebody has a copy of the store and the sealing key. The user disconnects GitHub or is
// deleted hours after the access token has expired, but the refresh token works for months.
func TestRemovingAnExpiredTokenRevokesItsRefreshToken(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(g *githubFixture) error{
		"disconnect": func(g *githubFixture) error {
			return g.svc.GitHub().Disconnect(t.Context(), authtest.ByHost, g.user.ID)
		},
		"unlink": func(g *githubFixture) error {
			return g.svc.GitHub().Unlink(t.Context(), authtest.ByHost, g.user.ID)
		},
		"reset": func(g *githubFixture) error {
			_, err := g.svc.RegenerateCredentials(t.Context(), authtest.ByHost, g.user.ID, auth.KeyOptions{})
			return err
		},
		"delete": func(g *githubFixture) error {
			return g.svc.DeleteUser(t.Context(), authtest.ByHost, g.user.ID)
		},
		"disconnect during a refresh": func(g *githubFixture) error {
			other := g.instance()
			g.fake.InjectN(githubtest.EndpointAccessToken, 1, func(endpoint http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if err := other.GitHub().Disconnect(r.Context(), authtest.ByHost, g.user.ID); err != nil {
						t.Error(err)
					}
					endpoint.ServeHTTP(w, r)
				})
			})
			_, err := g.accessToken()
			require.ErrorIs(t, err, auth.ErrNotFound)
			return nil
		},
	} {
		for _, age := range []time.Duration{time.Hour, 9 * time.Hour} {
			g := newGitHub(t, withExpiringTokens)
			g.browser().connect(g.signIn(g.user))
			g.clock.Advance(age)
			if age == time.Hour && name == "disconnect during a refresh" {
				continue // there is no refresh
			}
			require.Len(t, g.fake.Tokens(octocat), 1)
			require.NoError(t, remove(g), name)
			require.Empty(t, g.fake.Tokens(octocat), "%s after %s", name, age)
			require.Equal(t, age > 8*time.Hour, g.fake.Count(githubtest.EndpointAccessToken) > 1,
				"a token that GitHub still knows is not refreshed")
		}
	}
}
