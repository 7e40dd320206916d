package wiretest

import (
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha256"
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/seal"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"
)

// sealOlder returns the record with the same grant in the older sealed form.
func sealOlder(t *testing.T, secret []byte, token auth.GitHubToken) auth.GitHubToken {
	t.Helper()
	derived, err := hkdf.Key(sha256.New, secret, nil, "sallyport seal github token", 32)
	require.NoError(t, err)
	sealer, err := seal.New([]seal.Key{{ID: "k1", Bytes: derived}}, "github token")
	require.NoError(t, err)
	plain, _, err := sealer.Open(token.Sealed, token.UserID, token.Account.Host)
	require.NoError(t, err)
	nonce := authtest.Random(chacha20poly1305.NonceSizeX)
	fips140.WithoutEnforcement(func() {
		aead, err := chacha20poly1305.NewX(derived)
		require.NoError(t, err)
		token.Sealed = aead.Seal(append([]byte("\x01\x02k1"), nonce...), nonce, plain,
			canonical.Frame("github token", "k1", token.UserID, token.Account.Host))
	})
	token.Version = "older"
	return token
}

func TestResealMovesTokensToTheNewCipher(t *testing.T) {
	t.Parallel()
	secret := authtest.Random(32)
	key, err := auth.NewSymmetricKey("k1", secret)
	require.NoError(t, err)
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.SealingKeys = []auth.SymmetricKey{key}
	}})
	bearer := g.signIn(g.user)
	require.Equal(t, http.StatusOK, g.browser().connect(bearer).status)
	stored := *g.storedToken(g.user)
	older := sealOlder(t, secret, stored)
	require.NoError(t, g.store.ReplaceGitHubToken(t.Context(), older, stored.Version))

	report, err := g.svc.GitHub().Reseal(t.Context())
	require.NoError(t, err)
	if fips140.Enforced() {
		require.Equal(t, auth.ResealReport{Unopened: map[string]int{"k1": 1}}, report)
		require.Equal(t, http.StatusNotFound, g.status(bearer).status)
		require.Equal(t, &older, g.storedToken(g.user))
		return
	}
	require.Equal(t, auth.ResealReport{Resealed: 1, Unopened: map[string]int{}}, report)
	require.Equal(t, byte(2), g.storedToken(g.user).Sealed[0])
	require.Equal(t, http.StatusOK, g.sendAs(bearer, http.MethodGet, verifyCall, "").status)
	report, err = g.svc.GitHub().Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, auth.ResealReport{Current: 1, Unopened: map[string]int{}}, report)
}
