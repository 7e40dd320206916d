package wiretest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// composed contains the components of the library. They belong to a Service, or the test has
// created them without a Service.
type composed struct {
	tokens      *auth.TokenIssuer
	credentials *auth.CredentialVerifier
	github      *auth.GitHubConnector
	login       func(context.Context, auth.KeyPair) (auth.Token, error)
	run         func(context.Context) error
}

// compositions contains two functions that create the components, each in a different way.
var compositions = map[string]func(t *testing.T, store auth.Store, cfg auth.Config) composed{
	"a Service": func(t *testing.T, store auth.Store, cfg auth.Config) composed {
		svc, err := auth.New(store, cfg)
		require.NoError(t, err)
		login := func(ctx context.Context, pair auth.KeyPair) (auth.Token, error) {
			return svc.Login(ctx, pair, auth.LoginOptions{})
		}
		return composed{svc.Tokens(), svc.Credentials(), svc.GitHub(), login, svc.Run}
	},
	"by hand": func(t *testing.T, store auth.Store, cfg auth.Config) composed {
		events := auth.NewEventLog(auth.EventLogConfig{
			OnEvent: cfg.OnEvent, Hooks: cfg.Hooks, Trail: store.(auth.EventStore), Now: cfg.Now,
			Logger: cfg.Logger,
		})
		tokens, err := auth.NewTokenIssuer(store, cfg.Issuer, cfg.SigningKeys,
			auth.TokenConfig{Events: events, Now: cfg.Now})
		require.NoError(t, err)
		credentials, err := auth.NewCredentialVerifier(store, tokens,
			auth.CredentialConfig{Events: events, Now: cfg.Now})
		require.NoError(t, err)
		github := *cfg.GitHub
		github.Events, github.Now = events, cfg.Now
		connector, err := auth.NewGitHubConnector(store, tokens, cfg.SealingKeys, github)
		require.NoError(t, err)
		login := func(ctx context.Context, pair auth.KeyPair) (auth.Token, error) {
			key, user, err := credentials.Verify(ctx, pair)
			if err != nil {
				return auth.Token{}, err
			}
			return tokens.Issue(ctx, auth.IssueParams{
				UserID: user.ID, Method: auth.MethodAccessKey, AccessKeyID: key.ID,
			})
		}
		return composed{tokens, credentials, connector, login, events.Run}
	},
}

// A host may create the components itself, without a Service. The host must then get the same
// events and the same calls of its hooks. All components must reject a revoked session at once.
func TestComponentsComposedByHandBehaveLikeAService(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{}
	for name, compose := range compositions {
		var report authtest.Record[string]
		clock := authtest.NewClock()
		store := memstore.New()
		register(t, store, clock, "u1", "alice")
		c := compose(t, store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
			SealingKeys: []auth.SymmetricKey{authtest.SymmetricKey(t, "s1")},
			GitHub: &auth.GitHubConfig{
				ClientID: "id", ClientSecret: auth.NewSecret("secret"),
				CallbackURL: "https://api.example.com/callback",
			},
			Throttling: auth.Throttling{Off: true}, Logger: slog.New(slog.DiscardHandler), Now: clock.Now,
			OnEvent: func(e auth.Event) {
				report.Add(fmt.Sprint("event ", e.Kind, " of ", e.UserID, " by ", e.Method, ": ", e.Reason))
			},
			Hooks: auth.Hooks{
				SignIn: func(_ context.Context, method auth.SignInMethod, err error, _ time.Duration) {
					report.Add(fmt.Sprint("sign-in by ", method, ": ", err))
				},
				Verify: func(_ context.Context, err error, cached bool, _ time.Duration) {
					report.Add(fmt.Sprint("token, cached ", cached, ": ", err))
				},
			},
		})
		ctx := t.Context()
		pair, err := c.credentials.Issue(ctx, authtest.ByHost, "u1", auth.KeyOptions{})
		require.NoError(t, err)
		wrong := auth.KeyPair{AccessKey: pair.AccessKey, AccessSecret: authtest.WrongSecret(pair.AccessKey)}
		for _, bad := range []auth.KeyPair{wrong, c.credentials.GeneratePair(), {AccessKey: "x"}} {
			_, err = c.login(ctx, bad)
			require.ErrorIs(t, err, auth.ErrInvalidCredentials, name)
		}
		revoke := []func(auth.Token) error{
			func(token auth.Token) error { return c.tokens.Revoke(ctx, authtest.ByHost, token.Session.ID) },
			func(auth.Token) error { return errorOf(c.tokens.RevokeUser(ctx, authtest.ByHost, "u1")) },
			func(auth.Token) error { return c.credentials.Revoke(ctx, authtest.ByHost, pair.AccessKey) },
		}
		for _, end := range revoke {
			token, err := c.login(ctx, pair)
			require.NoError(t, err, name)
			for range 2 {
				_, err = c.tokens.Verify(ctx, token.Bearer.Reveal())
				require.NoError(t, err, name)
			}
			require.NoError(t, end(token), name)
			_, err = c.tokens.Verify(ctx, token.Bearer.Reveal())
			require.ErrorIs(t, err, auth.ErrTokenRejected, name)
		}
		_, err = c.tokens.Issue(ctx, auth.IssueParams{UserID: "nobody", Method: auth.MethodHost})
		require.ErrorIs(t, err, auth.ErrNotFound, name)

		stopped, stop := context.WithCancel(ctx)
		stop()
		require.ErrorIs(t, c.run(stopped), context.Canceled)
		seen[name] = report.Take()
	}
	require.NotEmpty(t, seen["a Service"])
	require.Equal(t, seen["a Service"], seen["by hand"])
}

// RevokeLeaked revokes a key and the sessions that the key has opened. The issuer must reject the
// tokens of these sessions at once, not at its next read of the revocation feed.
func TestRevokeLeakedRejectsTheKeysTokensAtOnceInComposedComponents(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["HS256"], auth.TokenConfig{})
	credentials, err := auth.NewCredentialVerifier(f.store, f.issuer, auth.CredentialConfig{Now: f.clock.Now})
	require.NoError(t, err)
	pair, err := credentials.Issue(t.Context(), authtest.ByHost, "u1", auth.KeyOptions{})
	require.NoError(t, err)
	token, err := f.issuer.Issue(t.Context(), auth.IssueParams{
		UserID: "u1", Method: auth.MethodAccessKey, AccessKeyID: pair.AccessKey,
	})
	require.NoError(t, err)
	f.requireAccepted(t, token.Bearer.Reveal())
	_, err = credentials.RevokeLeaked(t.Context(), pair.AccessSecret)
	require.NoError(t, err)
	f.requireRejected(t, token.Bearer.Reveal())
}

// The host has its own users table and uses only the token issuer. It disables a user and calls
// RevokeUser.
func TestRevokeUserRejectsTheUsersTokensAtOnceInComposedComponents(t *testing.T) {
	t.Parallel()
	table, store, clock := newHostTable(), memstore.NewAccounts(), authtest.NewClock()
	var got authtest.EventRecord
	events := auth.NewEventLog(auth.EventLogConfig{OnEvent: got.Add, Now: clock.Now})
	keys := []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}
	tokens, err := auth.NewTokenIssuer(store, issuer, keys,
		auth.TokenConfig{Users: table, Events: events, Now: clock.Now})
	require.NoError(t, err)
	token, err := tokens.Issue(t.Context(), auth.IssueParams{UserID: "u-alice", Method: auth.MethodHost})
	require.NoError(t, err)
	identity, err := tokens.Verify(t.Context(), token.Bearer.Reveal())
	require.NoError(t, err)

	table.setActive("u-alice", false)
	ctx := auth.WithIdentity(t.Context(), auth.Identity{UserID: "u-boss"})
	live, err := tokens.RevokeUser(ctx, authtest.ByHost, "u-alice")
	require.NoError(t, err)
	require.Equal(t, 1, live)
	require.ErrorIs(t, errorOf(tokens.Verify(t.Context(), token.Bearer.Reveal())), auth.ErrTokenRejected)

	stopped, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, events.Run(stopped), context.Canceled)
	list := got.Take()
	require.Len(t, list, 3)
	require.Equal(t, auth.Event{
		Kind: eventkind.UserSessionsRevoked, At: clock.Now(), UserID: "u-alice", ActorID: "u-boss",
		Host: "test",
	}, list[1])
	require.Equal(t, eventkind.TokenRejected, list[2].Kind)
	require.Equal(t, identity.SessionID, list[2].SessionID)
}

// A Service accepts the identity of a caller only from its own middleware.
func TestAServiceIgnoresAnIdentityThatTheHostPutInTheContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := auth.WithIdentity(t.Context(), auth.Identity{UserID: f.admin.ID})
	identity, ok := auth.IdentityFromContext(ctx)
	require.True(t, ok)
	require.Equal(t, f.admin.ID, identity.UserID)
	require.ErrorIs(t, errorOf(f.svc.User(ctx)), auth.ErrTokenMissing)
	require.ErrorIs(t, errorOf(f.svc.SuperUser(ctx)), auth.ErrTokenMissing)

	reached := false
	handler := f.svc.RequireSuperUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		reached = true
	}))
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	handler = f.svc.Route("GET /auth/users").Handler
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.False(t, reached)
}

func TestAccessKeyIDIsRequiredExactlyForTheMethodAccessKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, params := range map[string]auth.IssueParams{
		"no key":                    {UserID: f.user.ID, Method: auth.MethodAccessKey},
		"a key with another method": {UserID: f.user.ID, Method: auth.MethodHost, AccessKeyID: f.userPair.AccessKey},
	} {
		require.ErrorContains(t, errorOf(f.svc.Tokens().Issue(t.Context(), params)),
			"AccessKeyID must be set", name)
	}
	f.requireNoSession(f.user.ID)
}

func TestComponentsOverDifferentKindsOfStoreAreRejected(t *testing.T) {
	t.Parallel()
	keys := []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}
	own, err := auth.NewTokenIssuer(memstore.New(), issuer, keys, auth.TokenConfig{})
	require.NoError(t, err)
	hosts, err := auth.NewTokenIssuer(memstore.NewAccounts(), issuer, keys,
		auth.TokenConfig{Users: newHostTable()})
	require.NoError(t, err)
	for name, err := range map[string]error{
		"accounts":        errorOf(auth.NewCredentialVerifier(memstore.NewAccounts(), own, auth.CredentialConfig{})),
		"a store":         errorOf(auth.NewCredentialVerifier(memstore.New(), hosts, auth.CredentialConfig{})),
		"an empty issuer": errorOf(auth.NewCredentialVerifier(memstore.New(), &auth.TokenIssuer{}, auth.CredentialConfig{})),
	} {
		require.Error(t, err, name)
	}
	require.NoError(t, errorOf(auth.NewCredentialVerifier(memstore.NewAccounts(), hosts,
		auth.CredentialConfig{})))
}
