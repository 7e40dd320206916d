package authclient_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authclient"
)

// A service passes the error of its own call on to auth.WriteError. The caller of the service is signed in,
// so the answer must not send the caller back to the sign-in.
func TestA401ForTheServiceIsNo401ForItsCaller(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]transport{
		"the token is rejected": func(r *http.Request) *http.Response {
			if r.URL.Path == "/auth/users/login" {
				return issue("token", 3600e9)
			}
			return rejection()
		},
		"the sign-in is rejected": func(*http.Request) *http.Response { return rejection() },
	} {
		_, err := newClient(t, answer).CurrentUser(t.Context())
		var failed *authclient.Error
		require.ErrorAs(t, err, &failed, name)
		require.Equal(t, http.StatusUnauthorized, failed.StatusCode, name)
		for _, refusal := range []error{auth.ErrTokenRejected, auth.ErrTokenMissing,
			auth.ErrInvalidCredentials} {
			require.NotErrorIs(t, err, refusal, name)
		}
		status, _ := auth.ErrorStatus(fmt.Errorf("reports: %w", err))
		require.Equal(t, http.StatusServiceUnavailable, status, name)
	}
}
