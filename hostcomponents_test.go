package auth_test

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// Without a Service: the verifier says whose key it is, and the issuer whether
// that is somebody.
func TestTheComponentsOverAHostsTable(t *testing.T) {
	t.Parallel()
	table, store, clock := newHostTable(), memstore.NewWithoutUsers(), newClock()
	credentials, err := auth.NewCredentialVerifier(store, auth.CredentialConfig{Now: clock.Now})
	require.NoError(t, err)
	tokens, err := auth.NewTokenIssuer(store, auth.TokenConfig{
		Issuer: issuer, SigningKeys: []auth.SigningKey{newSigners(t)["HS256"].key}, Users: table, Now: clock.Now,
	})
	require.NoError(t, err)
	pair, err := credentials.Issue(t.Context(), "u-alice", auth.KeyOptions{})
	require.NoError(t, err)

	credential, err := credentials.Verify(t.Context(), pair)
	require.NoError(t, err)
	require.Equal(t, auth.User{ID: "u-alice"}, credential.User)
	finds, _ := table.counts()
	require.Zero(t, finds)
	signIn := auth.IssueParams{UserID: credential.User.ID, Method: auth.MethodAccessKey, AccessKeyID: credential.Key.ID}
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

// A store of keys alone does not say whether it keeps users: then only who is
// called active is let in.
func TestAStoreThatDoesNotSayWhoIsActiveSignsNobodyIn(t *testing.T) {
	t.Parallel()
	store := struct{ auth.CredentialStore }{memstore.NewWithoutUsers()}
	credentials, err := auth.NewCredentialVerifier(store, auth.CredentialConfig{})
	require.NoError(t, err)
	pair, err := credentials.Issue(t.Context(), "u-alice", auth.KeyOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, second(credentials.Verify(t.Context(), pair)), auth.ErrInvalidCredentials)
}
