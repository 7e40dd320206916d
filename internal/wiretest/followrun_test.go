package wiretest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

func TestOnlyAFollowingVerifierRuns(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	v := f.another(t, func(cfg *auth.RemoteVerifierConfig) { cfg.RevocationsURL, cfg.TokenSource = "", nil })
	require.ErrorContains(t, v.Run(t.Context()), "needs RemoteVerifierConfig.RevocationsURL")
	age, accepts := v.FeedAge()
	require.Zero(t, age)
	require.True(t, accepts)
	token := f.issue(f.user)
	require.Equal(t, accepted, statusAt(v, token))
	f.clock.Advance(15*time.Minute + time.Second)
	require.Equal(t, rejected, statusAt(v, token), "MaxAge")

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.verifier.Run(ctx) }()
	require.Eventually(t, func() bool {
		_, accepts := f.verifier.FeedAge()
		return accepts
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestTheConfigurationOfAFollowingVerifierIsChecked(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	for name, c := range map[string]struct {
		edit func(*auth.RemoteVerifierConfig)
		want string // empty if the configuration is valid
	}{
		"as it is":       {func(*auth.RemoteVerifierConfig) {}, ""},
		"no TokenSource": {func(c *auth.RemoteVerifierConfig) { c.TokenSource = nil }, "needs a TokenSource"},
		"no URL":         {func(c *auth.RemoteVerifierConfig) { c.RevocationsURL = "" }, "need RevocationsURL"},
		"no URL, interval": {func(c *auth.RemoteVerifierConfig) {
			c.RevocationsURL, c.TokenSource, c.RevocationInterval = "", nil, time.Second
		}, "need RevocationsURL"},
		"no URL, staleness": {func(c *auth.RemoteVerifierConfig) {
			c.RevocationsURL, c.TokenSource, c.MaxStaleness = "", nil, time.Second
		}, "need RevocationsURL"},
		"plain http": {func(c *auth.RemoteVerifierConfig) { c.RevocationsURL = "http://api.example.com/auth/revocations" }, "must be https"},
		"plain http, allowed": {func(c *auth.RemoteVerifierConfig) {
			c.RevocationsURL, c.InsecureRevocationsURL = "http://api.example.com/auth/revocations", true
		}, ""},
		"InsecureJWKSURL": {func(c *auth.RemoteVerifierConfig) {
			c.RevocationsURL, c.InsecureJWKSURL = "http://api.example.com/", true
		}, "must be https"},
		"https":              {func(c *auth.RemoteVerifierConfig) { c.RevocationsURL = "https://api.example.com/auth/revocations" }, ""},
		"a query":            {func(c *auth.RemoteVerifierConfig) { c.RevocationsURL += "?from=1" }, "must not have a query"},
		"an empty query":     {func(c *auth.RemoteVerifierConfig) { c.RevocationsURL += "?" }, "must not have a query"},
		"a user":             {func(c *auth.RemoteVerifierConfig) { c.RevocationsURL = "https://a:b@api.example.com/" }, "without a user"},
		"another scheme":     {func(c *auth.RemoteVerifierConfig) { c.RevocationsURL = "ftp://api.example.com/" }, "must be a URL"},
		"no host":            {func(c *auth.RemoteVerifierConfig) { c.RevocationsURL = "https:///auth" }, "must be a URL"},
		"a short interval":   {func(c *auth.RemoteVerifierConfig) { c.RevocationInterval = time.Second - 1 }, "RevocationInterval must be from 1 to 5 seconds"},
		"a long interval":    {func(c *auth.RemoteVerifierConfig) { c.RevocationInterval = 5*time.Second + 1 }, "RevocationInterval must be from 1 to 5 seconds"},
		"a short staleness":  {func(c *auth.RemoteVerifierConfig) { c.MaxStaleness = 4 * time.Second }, "MaxStaleness must be from RevocationInterval to a minute"},
		"a long staleness":   {func(c *auth.RemoteVerifierConfig) { c.MaxStaleness = time.Minute + 1 }, "MaxStaleness must be from RevocationInterval to a minute"},
		"the shortest times": {func(c *auth.RemoteVerifierConfig) { c.RevocationInterval, c.MaxStaleness = time.Second, time.Second }, ""},
	} {
		cfg := f.cfg
		c.edit(&cfg)
		_, err := auth.NewRemoteVerifier(cfg)
		if c.want == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.want, name)
		}
	}
}

// directTransport calls the handler without a network, so that it can be used with a fake time.
type directTransport struct{ http.Handler }

func (d directTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// A verifier that runs rejects a token soon after another instance has revoked it. The revocations come
// at all times between the reads of the three parties.
func TestAVerifierThatRunsRejectsATokenWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, signedBy("EdDSA"), func(_ *fixture, cfg *auth.Config) {
			cfg.Now, cfg.Tokens.Audiences = time.Now, []string{audience}
		})
		other, err := auth.New(f.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key},
			Tokens: auth.TokenConfig{Audiences: []string{audience}}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		admin := f.signIn(f.admin)
		v, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
			JWKS: f.svc.Tokens().JWKS(), Issuer: issuer, Audience: audience,
			RevocationsURL: "https://api.example.com/auth/revocations",
			TokenSource:    oauth2.StaticTokenSource(&oauth2.Token{AccessToken: admin}),
			HTTPClient:     &http.Client{Transport: directTransport{f.svc.Handler(auth.GroupVerifiers)}},
			Logger:         slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- v.Run(ctx) }()
		go func() { done <- f.svc.Run(ctx) }()
		live := f.signInFor(audience, f.user)
		var delays []time.Duration
		for i := range 300 {
			time.Sleep(time.Second + time.Duration(i*37)*time.Millisecond%time.Second)
			token := f.signInFor(audience, f.user)
			require.NoError(t, errorOf(v.Verify(t.Context(), token)))
			began := time.Now()
			require.NoError(t, other.Tokens().RevokeToken(t.Context(), token))
			for {
				_, err := v.Verify(t.Context(), token)
				if errors.Is(err, auth.ErrTokenRejected) {
					break
				}
				require.NoError(t, err)
				time.Sleep(10 * time.Millisecond)
			}
			delays = append(delays, time.Since(began))
			require.NoError(t, errorOf(v.Verify(t.Context(), live)))
		}
		slices.Sort(delays)
		require.Less(t, delays[len(delays)*99/100], 2*time.Second)
		require.Less(t, delays[len(delays)-1], 5*time.Second)
		t.Logf("half of the tokens after %v, 99 %% after %v, all after %v", delays[len(delays)/2],
			delays[len(delays)*99/100], delays[len(delays)-1])
		cancel()
		<-done
		<-done
	})
}
