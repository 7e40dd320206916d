package benchmarks

import (
	"context"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// BenchmarkFirstSight is a token that was not seen before: ours with the strict
// parser and the session, golang-jwt's ParseWithClaims alone.
func BenchmarkFirstSight(b *testing.B) {
	k := newKeys(b)
	for _, alg := range algorithms {
		key := map[string]func() (auth.SigningKey, error){
			"HS256": func() (auth.SigningKey, error) { return auth.NewHS256Key("k", k.HS256) },
			"ES256": func() (auth.SigningKey, error) { return auth.NewES256Key("k", k.ES256) },
			"EdDSA": func() (auth.SigningKey, error) { return auth.NewEdDSAKey("k", k.EdDSA) },
		}[alg]
		signing, err := key()
		require.NoError(b, err)
		svc, err := auth.New(memstore.New(), auth.Config{
			Issuer: issuer, Audience: audience, SigningKeys: []auth.SigningKey{signing}, TokenCacheSize: -1,
		})
		require.NoError(b, err)
		made, err := svc.Register(context.Background(), auth.NewUser{Username: "ada"})
		require.NoError(b, err)
		token, err := svc.SignIn(context.Background(), made.User.ID)
		require.NoError(b, err)
		own := token.Bearer.Reveal()
		b.Run(alg+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := svc.Tokens().Verify(context.Background(), own)
				require.NoError(b, err)
			}
		})
		parse := parseGolangJWT(k, alg)
		b.Run(alg+"/golang-jwt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := parse(own)
				require.NoError(b, err)
			}
		})
		c := claims{RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: made.User.ID, ID: token.Session.ID,
			IssuedAt: jwt.NewNumericDate(token.Session.CreatedAt), ExpiresAt: jwt.NewNumericDate(token.Session.ExpiresAt),
		}, Username: "ada"}
		b.Run(alg+"/golang-jwt signs", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := jwt.NewWithClaims(jwt.GetSigningMethod(alg), c).SignedString(k.private(alg))
				require.NoError(b, err)
			}
		})
	}
}
