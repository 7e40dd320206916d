package wiretest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// Attack: a stranger sends many junk tokens to fill the disk with log lines, or to hide other events.
func TestJunkTokensDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	revoked, live := f.signIn(f.user), f.signIn(f.user)
	require.Equal(t, http.StatusOK, f.sendAs(revoked, "POST", "/auth/logout", "").status)
	lines := func(text string) int { return strings.Count(f.log.String(), text) }
	f.log.Reset()
	junk := func() {
		for range 500 {
			_, err := f.svc.Identify(newBearer("x"))
			require.ErrorIs(t, err, auth.ErrTokenRejected)
		}
	}
	junk()
	require.Equal(t, 10, lines("auth: token.rejected"))
	require.Equal(t, 1, lines("are only counted for up to a minute"))
	require.Equal(t, 11, lines("\n"))

	f.log.Reset()
	_, err := f.svc.Identify(newBearer(revoked))
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	require.Equal(t, 1, lines("auth: token.rejected"), "the token of a known user has its line")
	f.login(f.wrong())
	require.Equal(t, 1, lines("auth: sign_in.rejected"), "another kind has its own lines")
	for range 15 {
		require.Equal(t, http.StatusCreated, f.sendAs(live, "POST", "/auth/keys", "").status)
	}
	require.Equal(t, 15, lines("auth: key.issued"), "each change has its line")

	f.clock.Advance(time.Minute)
	f.log.Reset()
	f.signIn(f.user)
	require.Contains(t, f.log.String(),
		`"auth: further refusals had no line of their own" kind=token.rejected has_user=false events=490`)
	junk()
	require.Equal(t, 10, lines("auth: token.rejected"), "in the next minute")
}

// Attack: the same, on a service whose OnEvent logs the events.
func TestLogEventLimitsTheLinesOfRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	composed := auth.NewEventLog(auth.EventLogConfig{Now: f.clock.Now,
		Logger: slog.New(slog.NewTextHandler(f.log, nil))})
	for _, logEvent := range []func(auth.Event){f.svc.LogEvent, composed.LogEvent} {
		f.log.Reset()
		for range 500 {
			logEvent(auth.Event{Kind: eventkind.TokenRejected})
			logEvent(auth.Event{Kind: eventkind.TokenRejected, UserID: "ada"})
		}
		for range 15 {
			logEvent(auth.Event{Kind: eventkind.KeyIssued, UserID: "ada"})
		}
		require.Len(t, f.logLines("auth: token.rejected"), 20)
		require.Len(t, f.logLines("are only counted for up to a minute"), 2)
		require.Len(t, f.logLines("auth: key.issued"), 15)
		require.Equal(t, 37, strings.Count(f.log.String(), "\n"))
	}
}

// Attack: a request in which a callback of the host panics is repeated to fill the disk with stacks.
func TestAPanicInEachRequestHasALineNowAndThen(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Hooks.Verify = func(context.Context, error, bool, time.Duration) { panic("a bug") }
		cfg.WriteError = func(http.ResponseWriter, *http.Request, error) { panic("another bug") }
	})
	for _, panics := range []int{1, 50} { // in the second round, the line counts those of the first
		f.log.Reset()
		for range 50 {
			require.Equal(t, http.StatusUnauthorized, f.sendAs("x", http.MethodGet, "/auth/user", "").status)
		}
		log := f.log.String()
		for _, text := range []string{
			fmt.Sprintf(`msg="auth: Hooks.Verify panicked" panics=%d panic="a bug" stack=`, panics),
			fmt.Sprintf(`msg="auth: Config.WriteError panicked" panics=%d panic="another bug" stack=`, panics),
			"logbudget_test.go", // in the stacks
		} {
			require.Contains(t, log, text)
		}
		require.Equal(t, 2, strings.Count(log, "stack="), log)
		f.clock.Advance(30 * time.Second)
	}
}

func TestAHashThatIsNotRenewedHasALineNowAndThen(t *testing.T) {
	t.Parallel()
	var log authtest.Log
	c := newCredentials(t, auth.CredentialConfig{})
	pair, failing := c.issue(t), true
	c.store = authtest.FaultyStore(c.store, func(method string) error {
		if failing && method == "SwapHash" {
			return errors.New("read-only")
		}
		return nil
	})
	c.configure(t, auth.CredentialConfig{
		Peppers: []auth.SymmetricKey{authtest.SymmetricKey(t, "p1"), auth.NoPepper()},
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
	})
	for _, failures := range []string{"failures=1 ", "failures=50 "} {
		log.Reset()
		for range 50 {
			c.requireGood(t, pair)
		}
		require.Equal(t, 1, strings.Count(log.String(), "was not renewed"))
		require.Contains(t, log.String(), failures)
		c.clock.Advance(30 * time.Second)
	}
	failing = false
	c.requireGood(t, pair)
	require.Contains(t, log.String(), `"auth: hashes of access keys are renewed again" failures=100`)
}
