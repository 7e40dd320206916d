package wiretest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
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
