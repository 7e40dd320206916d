package wiretest

import (
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestACachedTokenIsRejectedAsSoonAsItIsInvalid(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*tokens){
		"expired":                 func(f *tokens) { f.clock.Advance(12 * time.Hour) },
		"the clock is set back":   func(f *tokens) { f.clock.Advance(-time.Hour) },
		"its session was revoked": func(f *tokens) { require.NoError(t, f.issuer.Revoke(t.Context(), authtest.ByHost, f.token.Session.ID)) },
		"its key was removed": func(f *tokens) {
			require.NoError(t, f.issuer.SetKeys([]auth.SigningKey{authtest.NewSigners(t)["EdDSA"].Key}))
		},
		"its user was deleted": func(f *tokens) {
			_, err := f.store.DeleteUser(t.Context(), authtest.HostWrite, "u1")
			require.NoError(t, err)
			// The test deletes the record directly in the store, so the issuer learns of it only
			// from the feed.
			f.clock.Advance(5 * time.Second)
		},
		"its key was retired earlier": func(f *tokens) {
			require.NoError(t, f.issuer.SetKeys([]auth.SigningKey{
				authtest.NewSigners(t)["EdDSA"].Key, f.Key.RetiredAt(f.clock.Now().Add(-time.Hour)),
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
			token := f.token.Bearer.Reveal()
			f.requireAccepted(t, token)
			f.requireAccepted(t, token)
			spoil(f)
			_, err := f.issuer.Verify(t.Context(), token)
			require.ErrorIs(t, err, auth.ErrTokenRejected)
		})
	}
}

func TestTokensAreVerifiedWithoutACache(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{CacheSize: -1})
	f.requireAccepted(t, f.token.Bearer.Reveal())
	for _, size := range []int{-2, 1<<24 + 1} {
		_, err := auth.NewTokenIssuer(f.store, issuer, []auth.SigningKey{f.Key},
			auth.TokenConfig{CacheSize: size})
		require.ErrorContains(t, err, "CacheSize")
	}
}
