package wiretest

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// The client gets the answer that it gets for a wrong secret. Only the operator learns that the
// configuration is wrong.
func TestASignInThatNeedsAMissingPepperIsRejectedForThatReason(t *testing.T) {
	t.Parallel()
	p1, p2 := authtest.SymmetricKey(t, "p1"), authtest.SymmetricKey(t, "p2")
	for name, test := range map[string]struct {
		before, after []auth.SymmetricKey
		reason        string
	}{
		"another pepper": {[]auth.SymmetricKey{p1}, []auth.SymmetricKey{p2},
			`unknown pepper: CredentialConfig.Peppers has no pepper with the ID "p1"`},
		"no pepper": {nil, []auth.SymmetricKey{p2},
			"unknown pepper: the hash has no pepper, and CredentialConfig.Peppers does not contain NoPepper()"},
	} {
		var got recordedEvents
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Credentials.Peppers = test.before })
		other := newFixture(t, func(other *fixture, cfg *auth.Config) {
			cfg.Credentials.Peppers, cfg.OnEvent = test.after, got.Add
		})
		key, _, err := f.store.FindKey(t.Context(), f.userPair.AccessKey)
		require.NoError(t, err)
		key.UserID = other.user.ID
		require.NoError(t, other.store.AddKey(t.Context(), authtest.HostWrite, key))
		wrong := other.userPair
		wrong.AccessSecret = authtest.WrongSecret(wrong.AccessKey)
		want, answer := other.login(wrong), other.login(f.userPair)
		require.Equal(t, 401, answer.status, name)
		require.Equal(t, want.body, answer.body, name)
		require.Equal(t, want.header, answer.header, name)

		var reasons []string
		for _, e := range got.deliver(t, other.svc) {
			if e.Kind == auth.EventSignInRejected {
				reasons = append(reasons, e.Reason)
				require.Equal(t, other.user.ID, e.UserID)
			}
		}
		require.Equal(t, []string{"wrong secret", test.reason}, reasons, name)
	}
}
