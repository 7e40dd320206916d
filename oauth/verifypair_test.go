package oauth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
)

func TestVerifyPairReturnsNoHashAndOpensNoSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pair := f.ada.Pair
	padded := auth.KeyPair{AccessKey: " " + pair.AccessKey,
		AccessSecret: auth.NewSecret(pair.AccessSecret.Reveal() + "\n")}
	for _, given := range []auth.KeyPair{pair, padded} {
		key, user, err := f.svc.VerifyPair(t.Context(), given)
		require.NoError(t, err)
		require.Equal(t, pair.AccessKey, key.ID)
		require.Equal(t, f.ada.User.ID, user.ID)
		require.Empty(t, key.Hash)
		require.Empty(t, key.PreviousHash)
	}
	key, user, err := f.svc.VerifyPair(t.Context(), auth.KeyPair{AccessKey: pair.AccessKey,
		AccessSecret: f.agent.Pair.AccessSecret})
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
	require.Zero(t, key)
	require.Zero(t, user)
	live, err := f.svc.Tokens().RevokeUser(t.Context(), byHost, f.ada.User.ID)
	require.NoError(t, err)
	require.Zero(t, live)
}

// The attack: secrets are guessed at a call that opens no session, where nothing counts or records the
// guesses.
func TestGuessesAtEveryCallAreCountedAndRecorded(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/auth/token", "/auth/revoke", "/auth/introspect"} {
		attempts := 0
		f := newFixture(t, func(cfg *auth.Config) {
			cfg.Hooks.SignIn = func(_ context.Context, _ auth.SignInMethod, err error, _ time.Duration) {
				if errors.Is(err, auth.ErrInvalidCredentials) {
					attempts++
				}
			}
		})
		statuses := map[int]int{}
		for range 30 {
			form := client(f.ada.Pair, "grant_type", "client_credentials", "token", "x")
			form.Set("client_secret", "as_live_"+rand.Text())
			statuses[f.post(path, form).status]++
		}
		require.Equal(t, map[int]int{401: 20, 429: 10}, statuses, path)
		require.Equal(t, 20, attempts)
		right := client(f.ada.Pair, "grant_type", "client_credentials", "token", "x")
		require.Equal(t, 200, f.post(path, right).status, "the right secret works all the time")
	}
}

// formerMember is a store in which each user was admitted by GitHub long ago, and has no token of GitHub.
type formerMember struct{ auth.Store }

func (s formerMember) FindKey(ctx context.Context, id string) (auth.AccessKey, auth.User, error) {
	key, user, err := s.Store.FindKey(ctx, id)
	user.AdmittedAt = time.Now().Add(-48 * time.Hour)
	return key, user, err
}

// The attack: a user whom GitHub no longer admits uses an access key at a call that opens no session.
func TestVerifyPairRefusesFormerMembers(t *testing.T) {
	t.Parallel()
	key, err := auth.NewHS256Key("", []byte("0123456789abcdef0123456789abcdef-oauth"))
	require.NoError(t, err)
	svc, err := auth.New(formerMember{memstore.New()}, auth.Config{Issuer: "https://example.com",
		SigningKeys: []auth.SigningKey{key}, Proxies: auth.NoProxies(),
		SealingKeys: []auth.SymmetricKey{authtest.SymmetricKey(t, "1")},
		GitHub: &auth.GitHubConfig{ClientID: "x", ClientSecret: auth.NewSecret("y"), AllowedUsers: []int64{1},
			CallbackURL: "https://example.com/callback", MembershipMaxAge: time.Hour}})
	require.NoError(t, err)
	made, err := svc.Register(t.Context(), byHost, auth.UserParams{Username: "ada"})
	require.NoError(t, err)
	_, _, err = svc.VerifyPair(t.Context(), made.Pair)
	require.ErrorIs(t, err, auth.ErrInvalidCredentials)
}

func TestTheContextOfAClientHasItsAddressAndADeadline(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *auth.Config) { cfg.Timeout = time.Minute })
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.RemoteAddr = "192.0.2.7:1"
	ctx, cancel := f.svc.ClientContext(r)
	defer cancel()
	deadline, ok := ctx.Deadline()
	require.True(t, ok)
	require.WithinDuration(t, time.Now().Add(time.Minute), deadline, 10*time.Second)
	token, err := f.svc.Login(ctx, f.ada.Pair, auth.LoginOptions{})
	require.NoError(t, err)
	require.Equal(t, "192.0.2.7", token.Session.Address)
}
