package wiretest

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

const (
	revocationsPath = "/auth/revocations"
	keysPath        = "/.well-known/jwks.json"
)

// following is an issuer, and a RemoteVerifier that follows its revocations over HTTP. The issuer and the
// verifier have the same clock.
type following struct {
	*fixture
	server   *httptest.Server
	service  auth.User // of the verifier
	verifier *auth.RemoteVerifier
	cfg      auth.RemoteVerifierConfig
	seen     *authtest.Log // the verifier's log

	asked  atomic.Int64                     // requests for a page
	signed atomic.Int64                     // calls of the TokenSource
	serve  atomic.Pointer[http.HandlerFunc] // answers the requests for a page, if set
}

// signingIn is the function Token of a TokenSource.
type signingIn func() (*oauth2.Token, error)

func (s signingIn) Token() (*oauth2.Token, error) { return s() }

func newFollowing(t testing.TB, change ...func(*fixture, *auth.Config)) *following {
	t.Helper()
	change = append([]func(*fixture, *auth.Config){signedBy("EdDSA"), func(_ *fixture, cfg *auth.Config) {
		cfg.Tokens.Audiences, cfg.Tokens.Scopes = []string{audience}, []string{}
	}}, change...)
	f := &following{fixture: newFixture(t, change...), seen: new(authtest.Log)}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := f.svc.Handler(allGroups...)
		if r.URL.Path == revocationsPath {
			f.asked.Add(1)
			if serve := f.serve.Load(); serve != nil {
				handler = *serve
			}
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(f.server.Close)
	made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "reports",
		IsService: true, Key: auth.KeyOptions{Scopes: auth.NewScopes(auth.ScopeRevocations)}})
	require.NoError(t, err)
	f.service = made.User
	f.cfg = auth.RemoteVerifierConfig{
		JWKSURL: f.server.URL + keysPath, Issuer: issuer, Audience: audience,
		RevocationsURL: f.server.URL + revocationsPath,
		TokenSource: signingIn(func() (*oauth2.Token, error) {
			f.signed.Add(1)
			token, err := f.svc.Login(context.Background(), made.Pair, auth.LoginOptions{})
			return &oauth2.Token{AccessToken: token.Bearer.Reveal(), Expiry: token.Session.ExpiresAt}, err
		}),
		HTTPClient: f.server.Client(), Now: f.clock.Now,
		Logger: slog.New(slog.NewTextHandler(f.seen, nil)),
	}
	f.verifier = f.another(t)
	return f
}

// another returns another verifier of the same issuer.
func (f *following) another(t testing.TB, edit ...func(*auth.RemoteVerifierConfig)) *auth.RemoteVerifier {
	t.Helper()
	cfg := f.cfg
	for _, edit := range edit {
		edit(&cfg)
	}
	v, err := auth.NewRemoteVerifier(cfg)
	require.NoError(t, err)
	return v
}

// answers makes the handler answer the requests for a page. nil means the issuer itself.
func (f *following) answers(handler http.HandlerFunc) {
	if handler == nil {
		f.serve.Store(nil)
		return
	}
	f.serve.Store(&handler)
}

func (f *following) issue(user auth.User) auth.Token {
	f.t.Helper()
	token, err := f.svc.SignIn(f.t.Context(), user.ID, auth.LoginOptions{Audience: audience})
	require.NoError(f.t, err)
	return token
}

// signOut opens a session for the service of the verifier, and revokes it.
func (f *following) signOut(user auth.User) auth.Token {
	f.t.Helper()
	token := f.issue(user)
	require.NoError(f.t, f.svc.Tokens().RevokeToken(f.t.Context(), token.Bearer.Reveal()))
	return token
}

// signInFor signs in and returns the token for another service.
func (f *fixture) signInFor(audience string, user auth.User) string {
	f.t.Helper()
	token, err := f.svc.SignIn(f.t.Context(), user.ID, auth.LoginOptions{Audience: audience})
	require.NoError(f.t, err)
	return token.Bearer.Reveal()
}

// status returns the status of a request with the token to the service of the verifier.
func (f *following) status(token auth.Token) int { return statusAt(f.verifier, token) }

func statusAt(v *auth.RemoteVerifier, token auth.Token) int {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := v.Identify(r); err != nil {
			auth.WriteError(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return send(handler, http.MethodGet, "/", "", "Authorization", "Bearer "+token.Bearer.Reveal()).status
}

const (
	accepted = http.StatusNoContent
	rejected = http.StatusUnauthorized
	unknown  = http.StatusServiceUnavailable
)

func (f *following) require(want int, token auth.Token, message ...any) {
	f.t.Helper()
	require.Equal(f.t, want, f.status(token), message...)
}

// interval is the default RevocationInterval.
const interval = 5 * time.Second

func TestAFollowingVerifierRejectsRevokedTokens(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(f *following, token auth.Token) error{
		"signed out": func(f *following, token auth.Token) error {
			return f.svc.Tokens().RevokeToken(f.t.Context(), token.Bearer.Reveal())
		},
		"the session revoked": func(f *following, token auth.Token) error {
			return f.svc.Tokens().Revoke(f.t.Context(), authtest.ByHost, token.Session.ID)
		},
		"the user's sessions revoked": func(f *following, token auth.Token) error {
			return errorOf(f.svc.Tokens().RevokeUser(f.t.Context(), authtest.ByHost, token.User.ID))
		},
		"disabled": func(f *following, token auth.Token) error {
			f.setActive(token.User, false)
			return nil
		},
		"deleted": func(f *following, token auth.Token) error {
			return f.svc.DeleteUser(f.t.Context(), authtest.ByHost, token.User.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFollowing(t)
			token, other := f.issue(f.user), f.issue(f.admin)
			f.require(accepted, token)
			require.NoError(t, revoke(f, token))
			f.require(accepted, other)
			f.clock.Advance(interval)
			f.require(rejected, token)
			f.require(accepted, other)
			f.require(accepted, f.issue(f.admin))
			answer := send(f.verifier.Authenticate(http.NotFoundHandler()), http.MethodGet, "/", "",
				"Authorization", "Bearer "+token.Bearer.Reveal())
			require.Equal(t, send(f.verifier.Authenticate(http.NotFoundHandler()), http.MethodGet, "/", "",
				"Authorization", "Bearer x"), answer, "the answer is that for every rejected token")
		})
	}
}

func TestRevokingEverybodyReachesAFollowingVerifier(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	f.require(accepted, token)
	require.NoError(t, f.svc.RevokeEverybody(t.Context(), authtest.ByHost))
	f.clock.Advance(interval)
	// The issuer has also revoked the session of the verifier, which signs in again.
	f.require(rejected, token)
	f.require(accepted, f.issue(f.user))
	require.EqualValues(t, 2, f.signed.Load())
}

// A verifier that sees revocations accepts a token for the whole lifetime of the token.
func TestAFollowingVerifierAcceptsTokensForTheirLifetime(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	f.clock.Advance(12*time.Hour - time.Second)
	f.require(accepted, token)
	limited := f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.MaxAge = time.Hour })
	require.Equal(t, rejected, statusAt(limited, token))
	f.clock.Advance(time.Second)
	f.require(rejected, token)
}

func TestAFollowingVerifierReadsTheWholeFeedAtFirst(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	revoked := f.signOut(f.user)
	for i := range 4500 {
		f.revokeUnknown(i)
	}
	last := f.signOut(f.user)
	for f.status(revoked) == unknown { // reading takes longer than a request waits if the machine is busy
		f.clock.Advance(time.Second)
	}
	f.require(rejected, revoked)
	f.require(rejected, last)
	f.require(accepted, f.issue(f.user))
}

// The session of a token can be newer than the copy of the verifier. The verifier then reads the feed
// before it decides.
func TestATokenThatIsNewerThanTheCopyIsChecked(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.require(accepted, f.issue(f.user))
	for range 3 {
		f.signOut(f.user)
	}
	token := f.issue(f.user)
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), token.Bearer.Reveal()))
	asked := f.asked.Load()
	f.require(rejected, token, "the clock stands still, so the copy is recent")
	require.EqualValues(t, 1, f.asked.Load()-asked)
	f.require(accepted, f.issue(f.user))
	asked = f.asked.Load()
	for range 10 {
		f.require(accepted, f.issue(f.user))
	}
	require.EqualValues(t, 0, f.asked.Load()-asked)
}

func TestAFollowingVerifierThatIsCutOffAnswers503(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token, revoked := f.issue(f.user), f.signOut(f.user)
	f.require(accepted, token)
	f.require(rejected, revoked)
	f.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for range 11 {
		f.clock.Advance(interval)
		f.require(accepted, token)
		f.require(rejected, revoked)
		age, accepts := f.verifier.FeedAge()
		require.True(t, accepts)
		require.Less(t, age, time.Minute)
	}
	f.clock.Advance(interval)
	f.require(unknown, token)
	f.require(unknown, revoked)
	_, accepts := f.verifier.FeedAge()
	require.False(t, accepts)
	require.Contains(t, f.seen.String(), "the revocation feed cannot be read: soon no token will be accepted")
	require.Contains(t, f.seen.String(), "no token is accepted now, because the revocation feed")
	require.Contains(t, f.seen.String(), "the issuer answers with status 502")
	f.answers(nil)
	f.clock.Advance(time.Second)
	f.require(accepted, token)
	f.require(rejected, revoked)
	require.Contains(t, f.seen.String(), "tokens are accepted again")
}

// The issuer answers, but cannot read its store. The age counts from when the issuer has read its copy.
func TestAFollowingVerifierCountsTheAgeOfTheIssuersCopy(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	f := newFollowing(t, withFaults(func(method string) error {
		if down.Load() && method == "ListRevocations" {
			return errors.New("the store is down")
		}
		return nil
	}))
	token := f.issue(f.user)
	f.require(accepted, token)
	down.Store(true)
	f.clock.Advance(50 * time.Second)
	f.require(accepted, token)
	asked := f.asked.Load()
	for range 10 {
		f.require(accepted, token)
	}
	require.LessOrEqual(t, f.asked.Load()-asked, int64(1), "an old copy is not asked for on each request")
	age, _ := f.verifier.FeedAge()
	require.Equal(t, 50*time.Second, age.Round(time.Millisecond))
	late := f.another(t)
	require.Equal(t, accepted, statusAt(late, token), "a verifier that begins with an old copy")
	f.clock.Advance(10 * time.Second)
	f.require(unknown, token)
	require.Equal(t, unknown, statusAt(late, token))
	down.Store(false)
	f.clock.Advance(time.Second)
	f.require(accepted, token)
}

func TestAFollowingVerifierHasReadNothingAtFirst(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	age, accepts := f.verifier.FeedAge()
	require.EqualValues(t, math.MaxInt64, age)
	require.False(t, accepts)
	f.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	token := f.issue(f.user)
	f.require(unknown, token)
	f.answers(nil)
	f.clock.Advance(time.Second)
	f.require(accepted, token)
}
