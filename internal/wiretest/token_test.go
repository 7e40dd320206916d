package wiretest

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// tokens is a token issuer with one session, and a signer that can forge tokens of this issuer.
type tokens struct {
	authtest.Signer
	issuer *auth.TokenIssuer
	clock  *authtest.Clock
	store  auth.Store
	token  auth.Token
}

// newTokens creates an issuer with the keys in ring. If ring is empty, the issuer has only the key
// of the signer. If the configuration has Audiences, the token is for the first of them, otherwise for the
// issuer.
func newTokens(t testing.TB, s authtest.Signer, cfg auth.TokenConfig, ring ...auth.SigningKey) *tokens {
	t.Helper()
	if len(ring) == 0 {
		ring = []auth.SigningKey{s.Key}
	}
	f := &tokens{Signer: s, clock: authtest.NewClock(), store: memstore.New()}
	cfg.Now = f.clock.Now
	var err error
	f.issuer, err = auth.NewTokenIssuer(f.store, issuer, ring, cfg)
	require.NoError(t, err)
	register(t, f.store, f.clock, "u1", "alice")
	params := auth.IssueParams{UserID: "u1", Method: auth.MethodHost}
	if len(cfg.Audiences) > 0 {
		params.Audience = cfg.Audiences[0]
	}
	f.token, err = f.issuer.Issue(t.Context(), params)
	require.NoError(t, err)
	return f
}

// register stores a user with an access key that no secret matches.
func register(t testing.TB, store auth.Store, c *authtest.Clock, id, username string) {
	t.Helper()
	require.NoError(t, store.Register(t.Context(), authtest.HostWrite,
		auth.User{ID: id, Username: username, IsActive: true, CreatedAt: c.Now()},
		auth.AccessKey{ID: "key of " + id, UserID: id, Hash: "$none", CreatedAt: c.Now()}))
}

// header returns the header of the issuer's tokens, with these changes.
func (f *tokens) header(changes map[string]any) string {
	header := map[string]any{"alg": f.Method.Alg(), "kid": f.Key.ID(), "typ": "JWT"}
	return encode(header, changes)
}

// claims returns the claims of the session's token, with these changes. A nil value removes a
// claim.
func (f *tokens) claims(t testing.TB, changes map[string]any) string {
	t.Helper()
	parts := strings.Split(f.token.Bearer.Reveal(), ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var claims map[string]any
	require.NoError(t, decoder.Decode(&claims))
	return encode(claims, changes)
}

func encode(object, changes map[string]any) string {
	maps.Copy(object, changes)
	maps.DeleteFunc(object, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (f *tokens) requireAccepted(t testing.TB, token string) auth.Identity {
	t.Helper()
	identity, err := f.issuer.Verify(t.Context(), token)
	require.NoError(t, err)
	return identity
}

func (f *tokens) requireRejected(t testing.TB, token string) {
	t.Helper()
	identity, err := f.issuer.Verify(t.Context(), token)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	require.Zero(t, identity)
}

// eachAlgorithm runs the test with a signing key of each algorithm.
func eachAlgorithm(t *testing.T, test func(t *testing.T, f *tokens)) {
	for name, s := range authtest.NewSigners(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newTokens(t, s, auth.TokenConfig{}))
		})
	}
}

func TestAnIssuedTokenHasTheDocumentedClaims(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		claims := jwt.MapClaims{}
		parser := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{f.Method.Alg()}))
		keyOf := func(*jwt.Token) (any, error) { return verifyingKey(f.Signer), nil }
		parsed, err := parser.ParseWithClaims(f.token.Bearer.Reveal(), claims, keyOf)
		require.NoError(t, err, "golang-jwt verifies the token")
		require.Equal(t, map[string]any{"alg": f.Method.Alg(), "kid": f.Key.ID(), "typ": "JWT"},
			parsed.Header)
		issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix()
		require.Equal(t, jwt.MapClaims{
			"iss": issuer, "aud": issuer, "sub": "u1", "jti": f.token.Session.ID,
			"iat": float64(issued), "exp": float64(issued + 43200), "gen": float64(0),
			"username": "alice", "is_super_user": false,
		}, claims)
	})
}

// verifyingKey returns the key with which golang-jwt verifies the tokens of the signer.
func verifyingKey(s authtest.Signer) any {
	if private, ok := s.Secret.(crypto.Signer); ok {
		return private.Public()
	}
	return s.Secret
}

func TestVerifyReturnsTheIdentity(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		require.Equal(t, auth.Identity{
			UserID: "u1", Username: "alice", SessionID: f.token.Session.ID,
			IssuedAt: issued, ExpiresAt: issued.Add(12 * time.Hour), Audience: issuer,
		}, f.requireAccepted(t, f.token.Bearer.Reveal()))
		require.Equal(t, 12*time.Hour, f.token.ExpiresIn())
		require.Equal(t, "alice", f.token.User.Username)
	})
}

// A forged token without changes is accepted. So if a test below changes a forged token and the
// token is rejected, the change is the reason.
func TestTheForgerCanMakeAGoodToken(t *testing.T) {
	t.Parallel()
	eachAlgorithm(t, func(t *testing.T, f *tokens) {
		if f.Method.Alg() == "ES256" {
			f.requireAccepted(t, f.lowS(t, f.header(nil), f.claims(t, nil)))
			return
		}
		f.requireAccepted(t, f.Forge(t, f.header(nil), f.claims(t, nil)))
		f.requireAccepted(t, f.Forge(t, f.header(map[string]any{"future": 1}),
			f.claims(t, map[string]any{"future": []int{1}})))
	})
}

// lowS forges tokens until the signature has the smaller of the two possible values of s.
func (f *tokens) lowS(t testing.TB, header, claims string) string {
	for {
		token := f.Forge(t, header, claims)
		if isLowS(t, token) {
			return token
		}
	}
}

func isLowS(t testing.TB, token string) bool {
	_, s := ecdsaSignature(t, token)
	return s.Cmp(new(big.Int).Rsh(elliptic.P256().Params().N, 1)) <= 0
}

func ecdsaSignature(t testing.TB, token string) (r, s *big.Int) {
	t.Helper()
	signature, err := base64.RawURLEncoding.DecodeString(token[strings.LastIndex(token, ".")+1:])
	require.NoError(t, err)
	require.Len(t, signature, 64)
	return new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
}

func TestTokensOfEveryKeyOfTheRingVerify(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	old := newTokens(t, signers["HS256"], auth.TokenConfig{})
	ring := []auth.SigningKey{signers["ES256"].Key, signers["HS256"].Key}
	rotated, err := auth.NewTokenIssuer(old.store, issuer, ring, auth.TokenConfig{Now: old.clock.Now})
	require.NoError(t, err)
	_, err = rotated.Verify(t.Context(), old.token.Bearer.Reveal())
	require.NoError(t, err)

	token, err := rotated.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
	require.NoError(t, err)
	old.requireRejected(t, token.Bearer.Reveal())

	after, err := auth.NewTokenIssuer(old.store, issuer, []auth.SigningKey{signers["ES256"].Key},
		auth.TokenConfig{Now: old.clock.Now})
	require.NoError(t, err)
	_, err = after.Verify(t.Context(), old.token.Bearer.Reveal())
	require.ErrorIs(t, err, auth.ErrTokenRejected, "tokens of a removed key are rejected")
}

func TestRevokingASessionRejectsItsToken(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	require.NoError(t, f.issuer.Revoke(t.Context(), authtest.ByHost, f.token.Session.ID))
	f.requireRejected(t, f.token.Bearer.Reveal())
	require.ErrorIs(t, f.issuer.Revoke(t.Context(), authtest.ByHost, f.token.Session.ID), auth.ErrNotFound)
}

func TestATokenExpiresWithItsAccessKey(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	addKey := func(id string, life time.Duration) {
		require.NoError(t, f.store.AddKey(t.Context(), authtest.HostWrite, auth.AccessKey{
			ID: id, UserID: "u1", Hash: "$none", CreatedAt: f.clock.Now(), ExpiresAt: f.clock.Now().Add(life),
		}))
	}
	addKey("short", 90*time.Second) // counts as 90 whole seconds in the token
	token, err := f.issuer.Issue(t.Context(), auth.IssueParams{
		UserID: "u1", Method: auth.MethodAccessKey, AccessKeyID: "short",
	})
	require.NoError(t, err)
	require.Equal(t, 90*time.Second, token.ExpiresIn())
	f.requireAccepted(t, token.Bearer.Reveal())
	f.clock.Advance(90 * time.Second)
	f.requireRejected(t, token.Bearer.Reveal())

	addKey("within the second", 100*time.Millisecond)
	_, err = f.issuer.Issue(t.Context(), auth.IssueParams{
		UserID: "u1", Method: auth.MethodAccessKey, AccessKeyID: "within the second",
	})
	require.ErrorIs(t, err, auth.ErrNotFound)
	removed, err := f.store.PruneSessions(t.Context(), f.clock.Now().Add(time.Second), 100)
	require.NoError(t, err)
	require.Equal(t, 1, removed, "only the session of the first key was stored")
}

// Every rejected token gets the same answer. In CVE-2024-51744, a forged token that had also
// expired got the error of an expired token, and an application could accept it.
func TestRejectedTokensAllGetTheSame401_CVE_2024_51744(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	expired := f.signIn(f.user)
	f.clock.Advance(13 * time.Hour)
	revoked := f.signIn(f.user)
	require.Equal(t, http.StatusOK, f.sendAs(revoked, http.MethodPost, "/auth/logout", "").status)
	good := f.signIn(f.user)
	disabled := f.signIn(f.admin)
	made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
		Username: "second", IsSuperUser: true,
	})
	require.NoError(t, err)
	f.setActive(f.admin, false)
	orphan := f.signIn(made.User)
	require.NoError(t, f.svc.Credentials().Revoke(t.Context(), authtest.ByHost, made.Pair.AccessKey))

	parts := strings.Split(good, ".")
	want := f.sendAs("rubbish", http.MethodGet, "/auth/user", "")
	require.Equal(t, http.StatusUnauthorized, want.status)
	require.Equal(t, `Bearer error="invalid_token"`, want.header.Get("WWW-Authenticate"))
	for name, got := range map[string]response{
		"expired":       f.sendAs(expired, http.MethodGet, "/auth/user", ""),
		"revoked":       f.sendAs(revoked, http.MethodGet, "/auth/user", ""),
		"disabled user": f.sendAs(disabled, http.MethodGet, "/auth/user", ""),
		"forged":        f.sendAs(parts[0]+"."+parts[1]+"."+authtest.Segment(strings.Repeat("x", 32)), http.MethodGet, "/auth/user", ""),
		"truncated":     f.sendAs(good[:len(good)-1], http.MethodGet, "/auth/user", ""),
		"huge":          f.sendAs(good+strings.Repeat("A", 5000), http.MethodGet, "/auth/user", ""),
		"two headers":   f.send(http.MethodGet, "/auth/user", "", "Authorization", "Bearer "+good, "Authorization", "Bearer "+good),
	} {
		require.Equal(t, want, got, name)
	}
	require.Equal(t, http.StatusOK, f.sendAs(orphan, http.MethodGet, "/auth/user", "").status,
		"a session that the host opened does not depend on a key")
	require.Equal(t, http.StatusOK, f.sendAs(good, http.MethodGet, "/auth/user", "").status)
}

func TestASessionExpiredInTheStoreIsRejected(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	shortened, err := auth.NewTokenIssuer(expiredSessions{f.store, f.clock}, issuer, []auth.SigningKey{f.Key},
		auth.TokenConfig{Now: f.clock.Now, CheckSessionsInStore: true})
	require.NoError(t, err)
	_, err = shortened.Verify(t.Context(), f.token.Bearer.Reveal())
	require.ErrorIs(t, err, auth.ErrTokenRejected)
}

// expiredSessions is a store in which every session expires at the current time.
type expiredSessions struct {
	auth.Store
	clock *authtest.Clock
}

func (s expiredSessions) FindSession(ctx context.Context, id string) (auth.Session, error) {
	session, err := s.Store.FindSession(ctx, id)
	session.ExpiresAt = s.clock.Now()
	return session, err
}

func TestASignInWithAClockBefore1970IsA503(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.clock.Advance(-60 * 365 * 24 * time.Hour) // as on a machine without a clock
	require.Equal(t, http.StatusServiceUnavailable, f.login(f.userPair).status)
}

func TestATokenExpiresExactlyWithItsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		keys := []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}
		issuer, err := auth.NewTokenIssuer(store, issuer, keys, auth.TokenConfig{Lifetime: 13 * time.Second})
		require.NoError(t, err)
		register(t, store, authtest.NewClock(), "u1", "alice")
		token, err := issuer.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
		require.NoError(t, err)
		for time.Now().Before(token.Session.ExpiresAt) {
			_, err := issuer.Verify(t.Context(), token.Bearer.Reveal())
			require.NoError(t, err, time.Now())
			time.Sleep(100 * time.Millisecond)
		}
		_, err = issuer.Verify(t.Context(), token.Bearer.Reveal())
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	})
}
