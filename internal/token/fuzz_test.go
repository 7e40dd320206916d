package token_test

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
	"github.com/stretchr/testify/require"
)

// FuzzVerify passes any text to Verify, which must accept only the tokens that were signed, byte
// for byte.
func FuzzVerify(f *testing.F) {
	var all []*fixture
	signed := map[string]bool{}
	for _, key := range newKeys(f) {
		fixture := newFixture(f, key)
		text := fixture.sign(f)
		who := delegated("a b")
		delegated, err := token.Sign(f.Context(), key, token.TypeBearer, token.NewPrefix(issuer, audience),
			&who, 7, false)
		require.NoError(f, err)
		signed[text], signed[delegated] = true, true
		all = append(all, fixture)
		f.Add(text)
		f.Add(delegated)
		f.Add(text[:len(text)-1])
		f.Add(text + "=")
		f.Add(strings.Replace(text, ".", "..", 1))
	}
	f.Add("..")
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, text string) {
		for _, fixture := range all {
			known, err := fixture.verify(text)
			if err == nil {
				require.True(t, signed[text])
				continue
			}
			require.ErrorIs(t, err, token.ErrRejected)
			require.Nil(t, known)
		}
	})
}

// FuzzTokenContent signs any header and claims with the right key. If Verify accepts the token,
// golang-jwt must accept it, too, and read the same claims.
func FuzzTokenContent(f *testing.F) {
	secret := make([]byte, 32)
	rand.Read(secret)
	key, err := signing.NewHS256Key("hs", secret)
	require.NoError(f, err)
	fixture := newFixture(f, key)
	header, claims := fixture.header(nil), fixture.claims(nil)
	f.Add(header, claims)
	limited := fixture.header(map[string]any{"typ": token.TypeLimited})
	delegated := `{"scope":"a b","client_id":"ak","sid":"s2","act":{"sub":"x"},"ext":{"b":[1]},` + claims[1:]
	f.Add(limited, delegated)
	f.Add(limited, strings.Replace(delegated, `"sub":"x"`, `"sub":"x","act":{"sub":"y"}`, 1))
	f.Add(limited, strings.Replace(delegated, `{"sub":"x"}`, `{"sub":"x"},"act":{"sub":"y"}`, 1))
	f.Add(limited, strings.Replace(delegated, `"sid"`, `"sid":"s3","\u0073id"`, 1))
	f.Add(limited, strings.Replace(delegated, `"sid"`, `"SID"`, 1))
	f.Add(header, delegated)
	f.Add(strings.Replace(header, "HS256", "none", 1), claims)
	f.Add(`{"crit":["exp"],`+header[1:], claims)
	f.Add(header, `{"sub":"u2",`+claims[1:])
	f.Add(header, `{"SUB":"u2",`+claims[1:])
	f.Add(header, strings.Replace(claims, `"exp":`, `"exp":1`, 1))
	f.Add(header, strings.Replace(claims, `"aud":"`+audience+`"`, `"aud":["`+audience+`"]`, 1))
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(func() time.Time { return time.Unix(now, 0) }))
	f.Fuzz(func(t *testing.T, header, claims string) {
		text := fixture.forge(t, header, claims)
		known, err := fixture.verify(text)
		if err != nil {
			require.ErrorIs(t, err, token.ErrRejected)
			return
		}
		var other struct {
			jwt.RegisteredClaims
			Username  string          `json:"username"`
			Scope     *string         `json:"scope"`
			ClientID  string          `json:"client_id"`
			Ext       json.RawMessage `json:"ext"`
			SessionID string          `json:"sid"`
			Actor     struct {
				Subject string `json:"sub"`
			} `json:"act"`
		}
		_, err = parser.ParseWithClaims(text, &other, func(*jwt.Token) (any, error) { return secret, nil })
		require.NoError(t, err)
		want := token.Identity{
			UserID: other.Subject, Username: other.Username, SessionID: cmp.Or(other.SessionID, other.ID),
			IssuedAt: other.IssuedAt.UTC(), ExpiresAt: other.ExpiresAt.UTC(),
			Claims: string(other.Ext), Audience: audience, Actor: other.Actor.Subject,
		}
		if other.Scope != nil {
			want.Limited, want.Scope, want.AccessKeyID = true, *other.Scope, other.ClientID
		}
		require.Equal(t, want, known.Identity)
	})
}
