package benchmarks

import (
	"context"
	"log/slog"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// BenchmarkFirstSight measures the first verification of a token. This library also checks that the
// session is not revoked. golang-jwt only calls ParseWithClaims.
func BenchmarkFirstSight(b *testing.B) {
	k := newKeys(b)
	for _, alg := range algorithms {
		svc, err := auth.New(memstore.New(), auth.Config{
			Issuer: Issuer, SigningKeys: []auth.SigningKey{signingKey(b, k, alg)},
			Tokens: auth.TokenConfig{CacheSize: -1},
			Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(b, err)
		made, err := svc.Register(context.Background(), auth.ByHost("setup"),
			auth.UserParams{Username: "ada"})
		require.NoError(b, err)
		token, err := svc.SignIn(context.Background(), made.User.ID, auth.LoginOptions{})
		require.NoError(b, err)
		own := token.Bearer.Reveal()
		b.Run(alg+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := svc.Tokens().Verify(context.Background(), own); err != nil {
					b.Fatal(err)
				}
			}
		})
		parse := parseGolangJWT(k, alg)
		b.Run(alg+"/golang-jwt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parse(own); err != nil {
					b.Fatal(err)
				}
			}
		})
		c := claims{RegisteredClaims: jwt.RegisteredClaims{
			Issuer: Issuer, Audience: jwt.ClaimStrings{Audience}, Subject: made.User.ID,
			ID:        token.Session.ID,
			IssuedAt:  jwt.NewNumericDate(token.Session.CreatedAt),
			ExpiresAt: jwt.NewNumericDate(token.Session.ExpiresAt),
		}, Username: "ada"}
		b.Run(alg+"/golang-jwt signs", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jwt.NewWithClaims(jwt.GetSigningMethod(alg),
					c).SignedString(k.private(alg)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
