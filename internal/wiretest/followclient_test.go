package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

// withTokens returns a verifier with another TokenSource.
func (f *following) withTokens(t testing.TB, source signingIn) *auth.RemoteVerifier {
	return f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.TokenSource = source })
}

// The issuer has revoked the session of the verifier. The verifier signs in again, once.
func TestARejectedAccessTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	f.require(accepted, token)
	revoke := func() {
		require.NoError(t, errorOf(f.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, f.service.ID)))
	}
	revoke()
	f.clock.Advance(interval)
	f.require(accepted, token)
	require.EqualValues(t, 2, f.signed.Load())
	require.NotContains(t, f.seen.String(), "cannot be read")
	revoke()
	f.clock.Advance(interval)
	f.require(accepted, token)
	require.EqualValues(t, 2, f.signed.Load(), "it is too early")
	f.clock.Advance(interval)
	f.require(accepted, token)
	require.EqualValues(t, 3, f.signed.Load())

	// A TokenSource that returns the same token again does not help.
	fixed := f.signIn(f.service)
	v := f.withTokens(t, func() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: fixed}, nil })
	require.Equal(t, accepted, statusAt(v, token))
	revoke()
	asked := f.asked.Load()
	for range 13 {
		f.clock.Advance(interval)
		statusAt(v, token)
	}
	require.Equal(t, unknown, statusAt(v, token))
	require.LessOrEqual(t, f.asked.Load()-asked, int64(20))
	require.Contains(t, f.seen.String(), "the TokenSource returned it again")
}

func TestAnAccessTokenIsReplacedBeforeItExpires(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token := f.issue(f.user)
	f.require(accepted, token)
	f.clock.Advance(6 * time.Hour)
	token = f.issue(f.user)
	f.require(accepted, token)
	require.EqualValues(t, 1, f.signed.Load())
	f.clock.Advance(6*time.Hour - time.Minute)
	f.require(accepted, token)
	require.Eventually(t, func() bool { return f.signed.Load() == 2 }, 10*time.Second, time.Millisecond)
	f.clock.Advance(55 * time.Second)
	f.require(accepted, token)
	require.EqualValues(t, 2, f.signed.Load())
	require.NotContains(t, f.seen.String(), "cannot be read")
}

// A TokenSource that fails is an outage. No error of it rejects a token or ends a process.
func TestATokenSourceThatFailsIsAnOutage(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	for name, source := range map[string]signingIn{
		"an error":           func() (*oauth2.Token, error) { return nil, errors.New("no connection") },
		"a rejection":        func() (*oauth2.Token, error) { return nil, fmt.Errorf("sign in: %w", auth.ErrTokenRejected) },
		"not found":          func() (*oauth2.Token, error) { return nil, auth.ErrNotFound },
		"a panic":            func() (*oauth2.Token, error) { panic("broken") },
		"an exit":            func() (*oauth2.Token, error) { runtime.Goexit(); return nil, nil },
		"nil":                func() (*oauth2.Token, error) { return nil, nil },
		"an empty token":     func() (*oauth2.Token, error) { return &oauth2.Token{}, nil },
		"not a header value": func() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: "a\nb: secret"}, nil },
		"a person's token":   func() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: f.signIn(f.user)}, nil },
		"rubbish":            func() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: "secret"}, nil },
	} {
		v := f.withTokens(t, source)
		_, err := v.Verify(t.Context(), f.issue(f.user).Bearer.Reveal())
		require.Error(t, err, name)
		status, _ := auth.ErrorStatus(err)
		require.Equal(t, unknown, status, name)
		require.NotContains(t, err.Error(), "secret", name)
		if name == "nil" || name == "an empty token" {
			require.ErrorContains(t, err, "the TokenSource returned no token", name)
		}
	}
	require.NotContains(t, f.seen.String(), "secret")
}

// While a TokenSource hangs, requests wait for at most a second each, and there is one call of it.
func TestATokenSourceThatHangsHoldsNoRequestForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, signedBy("EdDSA"), func(_ *fixture, cfg *auth.Config) {
			cfg.Now, cfg.Tokens.Audiences = time.Now, []string{audience}
		})
		free, calls := make(chan struct{}), 0
		admin, token := f.signIn(f.admin), f.signInFor(audience, f.user)
		v, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
			JWKS: f.svc.Tokens().JWKS(), Issuer: issuer, Audience: audience,
			RevocationsURL: "https://api.example.com/auth/revocations",
			TokenSource: signingIn(func() (*oauth2.Token, error) {
				calls++
				<-free
				return &oauth2.Token{AccessToken: admin}, nil
			}),
			HTTPClient: &http.Client{Transport: directTransport{f.svc.Handler(auth.GroupVerifiers)}},
		})
		require.NoError(t, err)
		for range 5 {
			began := time.Now()
			require.Error(t, errorOf(v.Verify(t.Context(), token)))
			require.LessOrEqual(t, time.Since(began), time.Second)
		}
		synctest.Wait()
		require.Equal(t, 1, calls)
		close(free)
		time.Sleep(time.Second)
		require.NoError(t, errorOf(v.Verify(t.Context(), token)))
		require.Equal(t, 1, calls)
	})
}

// Attack: the issuer answers so slowly that every request would wait. Requests that come meanwhile are
// decided with what the verifier knows.
func TestASlowIssuerHoldsNoRequestForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, signedBy("EdDSA"), func(_ *fixture, cfg *auth.Config) {
			cfg.Now, cfg.Tokens.Audiences = time.Now, []string{audience}
		})
		var slow atomic.Bool
		handler := f.svc.Handler(auth.GroupVerifiers)
		v, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
			JWKS: f.svc.Tokens().JWKS(), Issuer: issuer, Audience: audience,
			RevocationsURL: "https://api.example.com/auth/revocations",
			TokenSource:    oauth2.StaticTokenSource(&oauth2.Token{AccessToken: f.signIn(f.admin)}),
			HTTPClient:     &http.Client{Transport: slowTransport{handler, &slow}},
		})
		require.NoError(t, err)
		token := f.signInFor(audience, f.user)
		require.NoError(t, errorOf(v.Verify(t.Context(), token)))
		slow.Store(true)
		time.Sleep(interval)
		waited := 0
		for range 200 {
			began := time.Now()
			require.NoError(t, errorOf(v.Verify(t.Context(), token)))
			if took := time.Since(began); took > 0 {
				waited++
				require.LessOrEqual(t, took, time.Second)
			}
			time.Sleep(100 * time.Millisecond)
		}
		require.Less(t, waited, 50)
	})
}

// slowTransport calls the handler without a network. While slow is true, it waits until the context of the
// request is done.
type slowTransport struct {
	http.Handler
	slow *atomic.Bool
}

func (s slowTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.slow.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return directTransport{s.Handler}.RoundTrip(r)
}

// If the clock of the verifier jumps, the copy counts as too old, and the verifier reads the feed again.
func TestAFollowingVerifierSurvivesJumpsOfItsClock(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	own := authtest.NewClock()
	f.verifier = f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.Now = own.Now })
	token, revoked := f.issue(f.user), f.signOut(f.user)
	f.require(accepted, token)
	f.require(rejected, revoked)
	for _, jump := range []time.Duration{-20 * time.Second, 30 * time.Minute, -30 * time.Minute, time.Hour,
		-time.Hour} {
		own.Advance(jump)
		asked := f.asked.Load()
		f.require(accepted, token, jump)
		f.require(rejected, revoked, jump)
		require.Greater(t, f.asked.Load(), asked, jump)
		age, accepts := f.verifier.FeedAge()
		require.True(t, accepts, jump)
		require.Less(t, age, interval, jump)
	}
	// A clock that is far behind that of the issuer is a fault.
	own.Advance(-5 * time.Second)
	f.require(accepted, token)
	own.Advance(-time.Minute)
	require.NotEqual(t, accepted, f.status(token))
}

// A page is young because of its nonce, not because of its times. So a verifier whose clock is minutes
// ahead of the issuer's follows as well as others, and does not ask for each request.
func TestAFollowingVerifierMayHaveAnotherClock(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	own := authtest.NewClock()
	own.Advance(10 * time.Minute)
	f.verifier = f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.Now = own.Now })
	token := f.issue(f.user)
	f.require(accepted, token)
	asked := f.asked.Load()
	for range 10 {
		f.require(accepted, token)
	}
	require.Equal(t, asked, f.asked.Load())
	age, _ := f.verifier.FeedAge()
	require.Less(t, age, time.Second)
}

// Attack: clients send requests and cancel them. The read for them goes on, and serves the others.
func TestCanceledRequestsDoNotKeepAVerifierFromReading(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	token, revoked := f.issue(f.user), f.issue(f.user)
	f.require(accepted, token)
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), revoked.Bearer.Reveal()))
	f.clock.Advance(interval)
	f.answers(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.Context().Err())
		f.real(r).write(w)
	})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		_, _ = f.verifier.Verify(canceled, token.Bearer.Reveal())
	}
	f.require(rejected, revoked)
	f.require(accepted, token)
}

// The event and the log line of a following verifier say what a Service says.
func TestAFollowingVerifierReportsRevokedTokens(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFollowing(t)
	var verified []error
	events := auth.NewEventLog(auth.EventLogConfig{OnEvent: got.Add, Now: f.clock.Now, Hooks: auth.Hooks{
		Verify: func(_ context.Context, err error, _ bool, _ time.Duration) { verified = append(verified, err) },
	}})
	f.verifier = f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.Events = events })
	token := f.signOut(f.user)
	f.require(rejected, token)
	require.Len(t, verified, 1)
	require.ErrorIs(t, verified[0], auth.ErrTokenRejected)
	event := deliverOne(t, events, &got)
	require.Equal(t, eventkind.TokenRejected, event.Kind)
	require.Equal(t, token.Session.ID, event.SessionID)
	require.Equal(t, "no such session", event.Reason)
}

// Verifying a token that was seen before costs no hash while nothing is revoked, and never allocates.
func TestAFollowingVerifierDoesNotAllocate(t *testing.T) {
	if testenv.Race {
		t.Log("the race detector allocates too, so there is nothing to count")
		return
	}
	f := newFollowing(t)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+f.signInFor(audience, f.user))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, err := f.verifier.Identify(r); err != nil {
			t.Error(err)
		}
	}))
	require.False(t, strings.Contains(f.seen.String(), "ERROR"), f.seen)
}

// Many requests, a Run and revocations at the same time. After the last revocation has arrived, exactly the
// live sessions are accepted.
func TestAFollowingVerifierServesManyRequests(t *testing.T) {
	t.Parallel()
	f := newFollowing(t, func(_ *fixture, cfg *auth.Config) { cfg.Now = time.Now })
	f.verifier = f.another(t, func(cfg *auth.RemoteVerifierConfig) {
		cfg.Now, cfg.RevocationInterval = nil, time.Second
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = f.verifier.Run(ctx) })
	var live, revoked []auth.Token
	for i := range 40 {
		token := f.issue(f.user)
		if i%2 == 0 {
			live = append(live, token)
		} else {
			revoked = append(revoked, token)
		}
	}
	for range 4 {
		running.Go(func() {
			for ctx.Err() == nil {
				for _, token := range live {
					_, err := f.verifier.Verify(ctx, token.Bearer.Reveal())
					if err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
				for _, token := range revoked {
					_, _ = f.verifier.Verify(ctx, token.Bearer.Reveal())
				}
			}
		})
	}
	for _, token := range revoked {
		require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), token.Bearer.Reveal()))
	}
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(revoked, func(token auth.Token) bool {
			return f.status(token) != rejected
		})
	}, 10*time.Second, 10*time.Millisecond)
	stop()
	running.Wait()
	for _, token := range live {
		f.require(accepted, token)
	}
}
