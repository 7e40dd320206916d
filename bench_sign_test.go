package auth_test

import (
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// BenchmarkSign signs a token, beside golang-jwt's SignedString of the same claims, and beside
// the bare signature, the least that any token costs.
func BenchmarkSign(b *testing.B) {
	for alg, signer := range authtest.NewSigners(b) {
		issuer, err := auth.NewTokenIssuer(withUser("u1", "alice"), authtest.Issuer, []auth.SigningKey{signer.Key}, auth.TokenConfig{})
		require.NoError(b, err)
		token, err := issuer.Issue(b.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
		require.NoError(b, err)
		b.Run(alg+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := issuer.Sign(token)
				require.NoError(b, err)
			}
		})
		claims := struct {
			jwt.RegisteredClaims
			Username    string `json:"username"`
			IsSuperUser bool   `json:"is_super_user"`
		}{jwt.RegisteredClaims{
			Issuer: authtest.Issuer, Audience: jwt.ClaimStrings{authtest.Issuer}, Subject: token.User.ID, ID: token.Session.ID,
			IssuedAt: jwt.NewNumericDate(token.Session.CreatedAt), ExpiresAt: jwt.NewNumericDate(token.Session.ExpiresAt),
		}, token.User.Username, token.User.IsSuperUser}
		b.Run(alg+"/golang-jwt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := jwt.NewWithClaims(signer.Method, claims).SignedString(signer.Secret)
				require.NoError(b, err)
			}
		})
		text := token.Bearer.Reveal()
		text = text[:strings.LastIndex(text, ".")]
		b.Run(alg+"/bare-signature", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := signer.Method.Sign(text, signer.Secret)
				require.NoError(b, err)
			}
		})
	}
}
