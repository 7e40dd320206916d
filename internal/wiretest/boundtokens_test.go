package wiretest

import (
	"net/http"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// bindings are values of the claim cnf (RFC 7800). A token with the claim is for the holder of a key, who has
// to prove the possession of the key. No verifier of this module asks for a proof.
var bindings = map[string]any{
	"a JWK thumbprint": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	"a certificate":    map[string]any{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"},
	"an unknown one":   map[string]any{"future": 1},
	"an empty one":     map[string]any{},
	"text":             "key",
	"false":            false,
}

// Attack: somebody has stolen a token that is bound to a key, and uses it without the key.
func TestABoundTokenIsNoBearerToken(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["EdDSA"], auth.TokenConfig{Audiences: []string{audience}})
	f.requireAccepted(t, f.Forge(t, f.header(nil), f.claims(t, map[string]any{"aud": issuer})))
	r := newRemote(t, "EdDSA")
	r.requireGood(t, r.Forge(t, r.header(nil), r.claims(t, nil)))
	for name, binding := range bindings {
		bound := map[string]any{"cnf": binding, "aud": issuer}
		_, err := f.issuer.Verify(t.Context(), f.Forge(t, f.header(nil), f.claims(t, bound)))
		require.ErrorIs(t, err, auth.ErrTokenRejected, name)
		bound = map[string]any{"cnf": binding}
		_, err = f.issuer.VerifyFor(t.Context(), audience, f.Forge(t, f.header(nil), f.claims(t, bound)))
		require.ErrorIs(t, err, auth.ErrTokenRejected, name)
		r.requireRejected(t, r.Forge(t, r.header(nil), r.claims(t, bound)))
	}
}

func TestABoundTokenGetsTheAnswerOfARejectedOne(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	good := payload(t, f.signIn(f.user))
	header := `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`
	unbound := f.signer.Forge(t, header, jsonText(good))
	require.Equal(t, http.StatusOK, f.sendAs(unbound, "GET", "/auth/user", "").status)
	good["cnf"] = bindings["a JWK thumbprint"]
	bound := f.sendAs(f.signer.Forge(t, header, jsonText(good)), "GET", "/auth/user", "")
	require.Equal(t, f.sendAs("x", "GET", "/auth/user", ""), bound)
}
