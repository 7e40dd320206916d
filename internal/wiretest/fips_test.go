package wiretest

import (
	"crypto/fips140"
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// The script .ci/run runs the tests in this file and some others with GODEBUG=fips140=only too. In
// that mode, an algorithm that is not approved panics or returns an error.

// Without this error, imported keys would be checked with algorithms that are not approved.
func TestFIPSOnlyModeRefusesImportedKeys(t *testing.T) {
	t.Parallel()
	_, err := auth.NewCredentialVerifier(memstore.New(), nil, auth.CredentialConfig{AllowImported: true})
	if !fips140.Enforced() {
		require.NoError(t, err)
		return
	}
	require.EqualError(t, err, "auth: CredentialConfig.AllowImported cannot be set with "+
		"GODEBUG=fips140=only, which does not approve argon2id and bcrypt: issue new keys instead")
}

func TestFIPSOnlyModeServesKeysAndGitHub(t *testing.T) {
	t.Parallel()
	for name, signer := range authtest.NewSigners(t) {
		g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
			cfg.SigningKeys = []auth.SigningKey{signer.Key}
			cfg.Credentials.Peppers = []auth.SymmetricKey{authtest.SymmetricKey(t, "p1")}
		}})
		answer := g.login(g.userPair)
		require.Equal(t, http.StatusOK, answer.status, name)
		token := answer.json(t)["token"].(string)
		require.Equal(t, http.StatusOK, g.sendAs(token, http.MethodGet, "/auth/user", "").status, name)
		require.Equal(t, http.StatusOK, g.browser().connect(token).status, name)
		require.Equal(t, http.StatusOK, g.sendAs(token, http.MethodGet, verifyCall, "").status, name)
		require.Equal(t, "alice", g.browser().signIn()["username"], name)
		_, err := g.svc.GitHub().Reseal(t.Context())
		require.NoError(t, err)
	}
}
