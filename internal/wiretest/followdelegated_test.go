package wiretest

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// A delegated token belongs to the session of its user, so a verifier that follows the revocations rejects
// it as soon as the session is revoked, although the token has an ID of its own.
func TestAFollowingVerifierRejectsDelegatedTokensOfARevokedSession(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	agent, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
		Username: "agent", IsService: true, Audiences: []string{audience}})
	require.NoError(t, err)
	delegate := func(token string) auth.Token {
		caller, err := f.svc.Tokens().Verify(t.Context(), token)
		require.NoError(t, err)
		made, err := f.svc.Tokens().Delegate(t.Context(), caller, auth.Delegation{
			For: agent.User.ID, Audience: audience, Scopes: auth.NewScopes()})
		require.NoError(t, err)
		return auth.Token{Bearer: made.Bearer}
	}
	session, other := f.signIn(f.user), f.signIn(f.user)
	delegated, kept := delegate(session), delegate(other)
	f.require(accepted, delegated)
	require.NoError(t, f.svc.Tokens().RevokeToken(t.Context(), session))
	f.clock.Advance(interval)
	f.require(rejected, delegated)
	f.require(accepted, kept)
	require.NoError(t, errorOf(f.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, f.user.ID)))
	f.clock.Advance(interval)
	f.require(rejected, kept)
}
