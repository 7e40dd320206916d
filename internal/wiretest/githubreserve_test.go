package wiretest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// slowGitHub is a transport to a GitHub that issues a token and then hangs. It answers the request to
// revoke the token after the given time.
type slowGitHub struct {
	revokeAfter     time.Duration
	asked, answered bool // the request to revoke
}

func (s *slowGitHub) RoundTrip(r *http.Request) (*http.Response, error) {
	wait, status, body := time.Hour, http.StatusOK, "{}"
	switch {
	case strings.HasSuffix(r.URL.Path, "/access_token"):
		wait, body = 0, `{"access_token":"gho_x","token_type":"bearer","scope":"read:user,user:email"}`
	case r.Method == http.MethodDelete:
		s.asked, wait, status, body = true, s.revokeAfter, http.StatusNoContent, ""
	}
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	s.answered = s.answered || r.Method == http.MethodDelete
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// GitHub hangs after it has issued a token. GitHubConfig.Timeout limits the whole wait, so the service
// must reserve a part of this time to revoke the token. Otherwise, the token would stay valid, and no
// record of it would exist.
func TestAHangingGitHubLeavesTimeToRevokeTheToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout, revokeAfter, took time.Duration
		revoked                    bool
	}{
		"by default":          {0, 2 * time.Second, 9500 * time.Millisecond, true},
		"at the last moment":  {0, 2500*time.Millisecond - 1, 10*time.Second - 1, true},
		"too late":            {0, 3 * time.Second, 10 * time.Second, false},
		"GitHub hangs on":     {0, time.Hour, 10 * time.Second, false},
		"a configured time":   {4 * time.Second, 500 * time.Millisecond, 3500 * time.Millisecond, true},
		"that is too short":   {4 * time.Second, 2 * time.Second, 4 * time.Second, false},
		"GitHub answers then": {20 * time.Second, 0, 15 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				github := &slowGitHub{revokeAfter: c.revokeAfter}
				f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
					cfg.Timeout = time.Minute
					cfg.SealingKeys = []auth.SymmetricKey{authtest.SymmetricKey(t, "seal-1")}
					cfg.GitHub = &auth.GitHubConfig{ClientID: "id", ClientSecret: auth.NewSecret("secret"),
						CallbackURL: "https://api.example.com" + callbackCall, Timeout: c.timeout,
						HTTPClient: &http.Client{Transport: github}}
				})
				begun := f.send(http.MethodGet, signInCall, "")
				flow, err := http.ParseSetCookie(begun.header.Get("Set-Cookie"))
				require.NoError(t, err)
				state := queryOf(t, begun.json(t)["auth_url"].(string)).Get("state")

				began := time.Now()
				answer := f.send(http.MethodGet, callbackCall+"?code=abc&state="+state, "",
					"Cookie", flow.Name+"="+flow.Value)
				require.Equal(t, http.StatusServiceUnavailable, answer.status, answer.body)
				require.Equal(t, c.took, time.Since(began))
				require.True(t, github.asked)
				require.Equal(t, c.revoked, github.answered)
				require.Equal(t, !c.revoked,
					strings.Contains(f.log.String(), "a GitHub token was not revoked"),
					"the log says that the token is still valid")
			})
		})
	}
}
