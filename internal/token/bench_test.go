package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
)

// BenchmarkTokenCache measures finding a token in a Cache. For comparison, it measures the same in
// maps without a limit on their size. Each look-up uses a copy of the token, so that strings with
// the same address are never compared.
func BenchmarkTokenCache(b *testing.B) {
	for _, live := range []int{1, 10_000, 1_000_000} {
		c := newCached(b, 2*live)
		tokens, asked := make([]string, live), make([]string, live)
		locked := struct {
			sync.RWMutex
			tokens map[string]string
		}{tokens: map[string]string{}}
		var unlocked sync.Map
		for i := range tokens {
			tokens[i] = c.token(b, now+60)
			asked[i] = strings.Clone(tokens[i])
			c.add(b, tokens[i], c.ring, now)
			locked.tokens[tokens[i]] = tokens[i]
			unlocked.Store(tokens[i], tokens[i])
		}
		for name, find := range map[string]func(string){
			"ours": func(token string) { c.cache.Find(token, c.ring) },
			"map under RWMutex": func(token string) {
				locked.RLock()
				defer locked.RUnlock()
				_ = locked.tokens[token]
			},
			"sync.Map": func(token string) { unlocked.Load(token) },
		} {
			b.Run(fmt.Sprintf("%s/live=%d", name, live), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						find(asked[i*7919%live])
					}
				})
			})
		}
	}
}

// BenchmarkSign measures Sign. For comparison, it measures golang-jwt's SignedString with the same
// claims, and the signature alone.
func BenchmarkSign(b *testing.B) {
	secret := make([]byte, 32)
	rand.Read(secret)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	_, seed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(b, err)
	hs, err := signing.NewHS256Key("hs", secret)
	require.NoError(b, err)
	es, err := signing.NewES256Key("es", private)
	require.NoError(b, err)
	ed, err := signing.NewEdDSAKey("ed", seed)
	require.NoError(b, err)
	who, prefix := alice(), token.NewPrefix(issuer, audience)
	claims := struct {
		jwt.RegisteredClaims
		Username    string `json:"username"`
		IsSuperUser bool   `json:"is_super_user"`
	}{jwt.RegisteredClaims{
		Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: who.UserID, ID: who.SessionID,
		IssuedAt: jwt.NewNumericDate(who.IssuedAt), ExpiresAt: jwt.NewNumericDate(who.ExpiresAt),
	}, who.Username, false}
	for _, test := range []struct {
		key    *signing.Key
		secret any
	}{{hs, secret}, {es, private}, {ed, seed}} {
		alg := test.key.Algorithm()
		method := jwt.GetSigningMethod(alg)
		b.Run(alg+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := token.Sign(b.Context(), test.key, token.TypeBearer, prefix, &who, 7, false)
				require.NoError(b, err)
			}
		})
		b.Run(alg+"/golang-jwt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := jwt.NewWithClaims(method, claims).SignedString(test.secret)
				require.NoError(b, err)
			}
		})
		text := strings.Repeat("x", 300)
		b.Run(alg+"/bare-signature", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := method.Sign(text, test.secret)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkVerify measures Verify for a token that is not in the cache.
func BenchmarkVerify(b *testing.B) {
	for alg, key := range newKeys(b) {
		f := newFixture(b, key)
		text := f.sign(b)
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := f.verify(text)
				require.NoError(b, err)
			}
		})
	}
}
