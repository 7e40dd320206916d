package wiretest

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// If a host has not configured GitHub and calls GitHub for a user, the error names the setting. A panic
// because of a nil pointer in the host's handler would not.
func TestWithoutGitHubEachMethodOfTheConnectorSaysWhatToSet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	g := f.svc.GitHub()
	require.Nil(t, g)
	ctx, r := t.Context(), httptest.NewRequest(http.MethodGet, "/?code=x&state=y", nil)
	token, err := f.svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	by := auth.Authority{UserID: f.user.ID, SessionID: token.Session.ID}
	account := auth.GitHubAccount{Host: "github.com", ID: 1}
	calls := map[string]func() error{
		"Client":             func() error { return errorOf(g.Client(ctx, f.user.ID)) },
		"TokenSource":        func() error { return errorOf(g.TokenSource(ctx, f.user.ID).Token()) },
		"Status":             func() error { return errorOf(g.Status(ctx, f.user.ID)) },
		"Verify":             func() error { return errorOf(g.Verify(ctx, f.user.ID)) },
		"Disconnect":         func() error { return g.Disconnect(ctx, authtest.ByHost, f.user.ID) },
		"Unlink":             func() error { return g.Unlink(ctx, authtest.ByHost, f.user.ID) },
		"Forget":             func() error { return g.Forget(ctx, authtest.ByHost, account) },
		"BeginSignIn":        func() error { _, _, err := g.BeginSignIn(r, "/"); return err },
		"BeginConnect":       func() error { _, _, err := g.BeginConnect(r, by, "/"); return err },
		"BeginUnboundSignIn": func() error { return errorOf(g.BeginUnboundSignIn()) },
		"Complete":           func() error { return errorOf(g.Complete(r, auth.Identity{})) },
		"StillAdmitted":      func() error { return g.StillAdmitted(ctx, f.user) },
		"Reseal":             func() error { return errorOf(g.Reseal(ctx)) },
	}
	for method := range reflect.TypeOf(g).Methods() {
		require.Contains(t, calls, method.Name, "a method of a later version")
	}
	for name, call := range calls {
		err := call()
		require.ErrorIs(t, err, auth.ErrGitHubNotConfigured, name)
		require.ErrorContains(t, err, "set Config.GitHub", name)
		status, detail := auth.ErrorStatus(err)
		require.Equal(t, http.StatusServiceUnavailable, status, name)
		require.Equal(t, "GitHub sign-in is not configured", detail, "%s: the client cannot set it", name)
	}
	for _, target := range []string{startCall, signInCall, connectCall, callbackCall, statusCall} {
		require.Equal(t, http.StatusServiceUnavailable, f.send(http.MethodGet, target, "").status, target)
	}
	require.NotContains(t, f.log.String(), "level=ERROR", "the store and GitHub have not failed")
}
