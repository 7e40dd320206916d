package wiretest

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// A host that knows nothing of scopes has routes behind Authenticate alone, which refuses limited tokens. So
// its users must not be able to make a key with which they can do nothing.
func TestWithoutScopesInTheConfigurationNoKeyIsLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, by := t.Context(), authtest.ByHost
	bearer := f.signIn(f.user)
	for _, body := range []string{`{"scopes":["auth:keys"]}`, `{"scopes":["a"]}`, `{"scopes":[]}`} {
		made := f.sendAs(bearer, http.MethodPost, "/auth/keys", body)
		require.Equal(t, http.StatusUnprocessableEntity, made.status)
	}
	for _, scopes := range []*auth.ScopeSet{
		auth.NewScopes(), auth.NewScopes(auth.ScopeKeys), auth.NewScopes("a b"),
	} {
		options := auth.KeyOptions{Scopes: scopes}
		for name, err := range map[string]error{
			"Issue":    errorOf(f.svc.Credentials().Issue(ctx, by, f.user.ID, options)),
			"Register": errorOf(f.svc.Register(ctx, by, auth.UserParams{Username: "bob", Key: options})),
			"Regenerate": errorOf(
				f.svc.RegenerateCredentials(ctx, by, f.user.ID, options)),
			"Reinstate": errorOf(f.svc.ReinstateUser(ctx, by, f.user.ID, options)),
			"SetScopes": f.svc.Credentials().SetScopes(ctx, by, f.userPair.AccessKey, scopes),
			"sign-in": errorOf(f.svc.Tokens().Issue(ctx,
				auth.IssueParams{UserID: f.user.ID, Method: auth.MethodHost, Scopes: scopes})),
		} {
			require.ErrorIs(t, err, auth.ErrInvalid, name)
		}
	}
	require.Panics(t, func() { f.svc.RequireScope(auth.ScopeKeys, http.NotFoundHandler()) })
}

// If the host removes its scopes from the configuration, the keys and tokens that have some stay limited.
func TestALimitedKeyStaysLimitedWithoutScopesInTheConfiguration(t *testing.T) {
	t.Parallel()
	var cfg auth.Config
	f := newFixture(t, func(f *fixture, c *auth.Config) {
		c.SigningKeys = []auth.SigningKey{f.signer.Key}
		cfg = *c
		c.Tokens.Scopes = []string{"a"}
	})
	pair, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID,
		auth.KeyOptions{Scopes: auth.NewScopes("a"), ExpiresAt: f.clock.Now().Add(time.Hour)})
	require.NoError(t, err)
	earlier, err := f.svc.Login(t.Context(), pair, auth.LoginOptions{})
	require.NoError(t, err)
	f.svc, err = auth.New(f.store, cfg)
	require.NoError(t, err)
	later, err := f.svc.Login(t.Context(), pair, auth.LoginOptions{})
	require.NoError(t, err)
	for _, token := range []auth.Token{earlier, later} {
		identity, err := f.svc.Tokens().Verify(t.Context(), token.Bearer.Reveal())
		require.NoError(t, err)
		require.True(t, identity.Limited)
		require.Equal(t, "a", identity.Scope)
		list := f.sendAs(token.Bearer.Reveal(), http.MethodGet, "/auth/keys", "")
		require.Equal(t, http.StatusForbidden, list.status)
	}
}

// The attack: the host has forgotten that a route needs a scope, and a limited key finds it.
func TestARouteWithoutAScopeRefusesLimitedTokens(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	r := newRemote(t, "ES256")
	r.requireGood(t, r.token.Bearer.Reveal()) // fetches the keys
	elsewhere, err := r.issuer.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost,
		Scopes: auth.NewScopes(auth.ScopeEvents), Audience: audience})
	require.NoError(t, err)
	served := 0
	through := func(guarded http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { guarded.ServeHTTP(w, r) })
	}
	for name, test := range map[string]struct {
		guarded            http.Handler
		limited, unlimited string
	}{
		"Authenticate": {f.svc.Authenticate(reached(&served)), f.limited(f.user, reading), f.signIn(f.user)},
		"middleware between Authenticate and RequireScope": {
			f.svc.Authenticate(through(f.svc.RequireScope(reading, reached(&served)))),
			f.limited(f.user, reading), f.signIn(f.user)},
		"RequireSuperUser": {
			f.svc.RequireSuperUser(reached(&served)), f.limited(f.admin, allScopes[:2]...), f.signIn(f.admin)},
		"another service": {
			r.verifier.Authenticate(reached(&served)), elsewhere.Bearer.Reveal(), r.token.Bearer.Reveal()},
	} {
		served = 0
		answer := send(test.guarded, http.MethodGet, "/", "", "Authorization", "Bearer "+test.limited)
		require.Equal(t, http.StatusForbidden, answer.status, name)
		require.Contains(t, answer.header.Get("WWW-Authenticate"), `error="insufficient_scope"`, name)
		require.Zero(t, served, name)
		answer = send(test.guarded, http.MethodGet, "/", "", "Authorization", "Bearer "+test.unlimited)
		require.Equal(t, http.StatusNoContent, answer.status, name)
	}
}
