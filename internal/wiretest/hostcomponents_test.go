package wiretest

import (
	"context"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// Without a Service: the verifier says whose key it is, and the issuer whether
// that is somebody.
func TestTheComponentsOverAHostsTable(t *testing.T) {
	t.Parallel()
	table, store, clock := newHostTable(), memstore.NewAccounts(), authtest.NewClock()
	tokens, err := auth.NewTokenIssuerWithUsers(store, table, issuer, []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
		auth.TokenConfig{Now: clock.Now})
	require.NoError(t, err)
	credentials, err := auth.NewCredentialVerifier(store, tokens, auth.CredentialConfig{Now: clock.Now})
	require.NoError(t, err)
	pair, err := credentials.Issue(t.Context(), "u-alice", auth.KeyOptions{})
	require.NoError(t, err)

	key, user, err := credentials.Verify(t.Context(), pair)
	require.NoError(t, err)
	require.Equal(t, auth.User{ID: "u-alice", IsActive: true}, user)
	finds, _ := table.counts()
	require.Zero(t, finds)
	signIn := auth.IssueParams{UserID: user.ID, Method: auth.MethodAccessKey, AccessKeyID: key.ID}
	token, err := tokens.Issue(t.Context(), signIn)
	require.NoError(t, err)
	require.Equal(t, "alice", token.User.Username)
	require.NoError(t, second(tokens.Verify(t.Context(), token.Bearer.Reveal())))

	table.setActive("u-alice", false)
	require.ErrorIs(t, second(tokens.Issue(t.Context(), signIn)), auth.ErrUserDisabled)
}

func TestVerifyRefusesAKeyOfADisabledUser(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	pair := c.issue(t)
	for _, active := range []bool{false, true} {
		_, err := c.store.UpdateUser(t.Context(), "u1", auth.UserChange{IsActive: &active})
		require.NoError(t, err)
		if active {
			c.requireGood(t, pair)
		} else {
			c.requireBad(t, pair)
		}
	}
}

// A store of keys alone that knows nothing of users must not let anybody in by its silence.
func TestAStoreThatDoesNotSayWhoIsActiveSignsNobodyIn(t *testing.T) {
	t.Parallel()
	store := silentStore{memstore.NewAccounts()}
	credentials, err := auth.NewCredentialVerifier(store, nil, auth.CredentialConfig{})
	require.NoError(t, err)
	pair, err := credentials.Issue(t.Context(), "u-alice", auth.KeyOptions{})
	require.NoError(t, err)
	_, _, err = credentials.Verify(t.Context(), pair)
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
}

type silentStore struct{ auth.CredentialStore }

func (s silentStore) FindKey(ctx context.Context, id string) (auth.AccessKey, auth.User, error) {
	key, user, err := s.CredentialStore.FindKey(ctx, id)
	return key, auth.User{ID: user.ID}, err
}
