package wiretest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestEventsAreInTheLogOnceRunHasEndedAlsoIfTheHostsFunctionHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
			cfg.Now = time.Now
			cfg.OnEvent = func(auth.Event) { <-release }
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.svc.Run(ctx) }()
		synctest.Wait() // OnEvent hangs with the fixture's first event
		stop()
		began := time.Now()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Equal(t, 5*time.Second, time.Since(began))
		f.signIn(f.user)
		require.Contains(t, f.log.String(), "auth: sign_in.accepted")
		close(release)
		synctest.Wait()
	})
}

func TestAnEventLogRunsOnceAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events := auth.NewEventLog(auth.EventLogConfig{OnEvent: func(auth.Event) {}})
		for range 2 { // it can be run again
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- events.Run(ctx) }()
			synctest.Wait()
			require.ErrorContains(t, events.Run(ctx), "running already")
			stop()
			require.ErrorIs(t, <-ended, context.Canceled)
		}
	})
}

func TestAPanicInAHookHarmsNoRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Hooks = auth.Hooks{
			SignIn: func(context.Context, auth.SignInMethod, error, time.Duration) { panic("the host's mistake") },
			Verify: func(context.Context, error, bool, time.Duration) { panic("the host's mistake") },
		}
	})
	answer := f.login(f.userPair)
	require.Equal(t, http.StatusOK, answer.status)
	require.Contains(t, f.log.String(), "auth: sign_in.accepted", "the event is there")
	token := answer.json(t)["token"].(string)
	require.Equal(t, http.StatusOK, f.sendAs(token, http.MethodGet, "/auth/user", "").status)
	require.Equal(t, 2, bytes.Count(f.log.Bytes(), []byte("a function of Hooks panicked")))
}

// An operator must see why a sign-in was rejected, and whose it was, for users of the host too.
func TestARejectedSignInSaysWhyAndWhose(t *testing.T) {
	t.Parallel()
	var got recorded
	h := newHosted(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	h.table.setActive("u-alice", false)
	h.login(h.pair)
	h.table.delete("u-alice")
	h.login(h.pair)
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.OnEvent, cfg.GitHub.AllowedUsers = got.Add, []int64{hubot}
	}})
	b := g.browser()
	require.Equal(t, http.StatusForbidden, b.get(b.authURL("/api/v1/auth/github/login-user")).status)

	var rejected []string
	for _, svc := range []*auth.Service{h.svc, g.svc} {
		for _, e := range got.deliver(t, svc) {
			if e.Kind == auth.EventSignInRejected {
				rejected = append(rejected, e.UserID+": "+e.Reason)
			}
		}
	}
	require.Equal(t, []string{
		"u-alice: the user is disabled", "u-alice: no such key", ": This GitHub account is not allowed to sign in",
	}, rejected)
}

func TestComponentsWithoutAnEventLogWork(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	f.requireRejected(t, "x")
	require.NoError(t, f.issuer.Revoke(t.Context(), f.token.Session.ID))
	credentials, err := auth.NewCredentialVerifier(f.store, f.issuer, auth.CredentialConfig{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, _, err = credentials.Verify(t.Context(), auth.KeyPair{})
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
}
