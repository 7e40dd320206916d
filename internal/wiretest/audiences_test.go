package wiretest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// otherAudience is the audience of a second service.
const otherAudience = "https://billing.example.com"

// twoAudiences configures two audiences, and the scopes of the host.
func twoAudiences(_ *fixture, cfg *auth.Config) {
	cfg.Tokens.Scopes = []string{reading, writing}
	cfg.Tokens.Audiences = []string{audience, otherAudience}
}

// requireOnlyFor fails the test unless the issuer accepts the token for exactly this audience. It asks in
// several orders, so that a cached token is also asked for the wrong audience.
func (f *fixture) requireOnlyFor(token, audience string) auth.Identity {
	f.t.Helper()
	var found auth.Identity
	all := []string{issuer, audience, otherAudience, "https://reports.example.com"}
	for range 2 {
		for _, asked := range all {
			identity, err := f.svc.Tokens().VerifyFor(f.t.Context(), asked, token)
			if asked != audience {
				require.ErrorIs(f.t, err, auth.ErrTokenRejected, asked)
				require.Zero(f.t, identity)
				continue
			}
			require.NoError(f.t, err, asked)
			require.Equal(f.t, audience, identity.Audience)
			found = identity
		}
		slices.Reverse(all)
	}
	_, err := f.svc.Tokens().Verify(f.t.Context(), token)
	require.Equal(f.t, audience == issuer, err == nil)
	return found
}

func TestATokenIsAcceptedOnlyByTheServiceForWhichItWasIssued(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]bool{"the feed": false, "the store": true} {
		f := newFixture(t, twoAudiences, func(_ *fixture, cfg *auth.Config) {
			cfg.Tokens.CheckSessionsInStore = check
		})
		for _, audience := range []string{audience, otherAudience} {
			login, err := f.svc.Login(t.Context(), f.userPair, auth.LoginOptions{Audience: audience})
			require.NoError(t, err, name)
			signIn, err := f.svc.SignIn(t.Context(), f.user.ID,
				auth.LoginOptions{Audience: audience, Scopes: auth.NewScopes(reading)})
			require.NoError(t, err, name)
			for _, token := range []auth.Token{login, signIn} {
				identity := f.requireOnlyFor(token.Bearer.Reveal(), audience)
				require.Equal(t, f.user.ID, identity.UserID)
				require.Equal(t, token.Session.ID, identity.SessionID)
				require.Empty(t, identity.Actor)
				require.Equal(t, audience, token.Session.Audience)
				stored, err := f.store.FindSession(t.Context(), token.Session.ID)
				require.NoError(t, err)
				require.Equal(t, audience, stored.Audience)
			}
			require.True(t, signIn.Session.Scopes.Equal(auth.NewScopes(reading)))
		}
		own := f.signIn(f.user)
		require.Equal(t, issuer, f.requireOnlyFor(own, issuer).Audience)
		token, ok := f.login(f.userPair).json(t)["token"].(string)
		require.True(t, ok)
		f.requireOnlyFor(token, issuer)
	}
}

// The calls of the service answer a token for another service like any other rejected token.
func TestATokenForAnotherServiceIsRejectedByEveryCall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, twoAudiences)
	forged := f.signIn(f.user) + "x"
	want := f.sendAs(forged, http.MethodGet, "/auth/user", "")
	require.Equal(t, http.StatusUnauthorized, want.status)
	other, err := f.svc.SignIn(t.Context(), f.admin.ID, auth.LoginOptions{Audience: audience})
	require.NoError(t, err)
	token := other.Bearer.Reveal()
	for range 2 {
		for call := range scopesOfCalls {
			method, path, _ := strings.Cut(call, " ")
			got := f.sendAs(token, method, strings.NewReplacer("{id}", f.user.ID, "{access_key}",
				f.userPair.AccessKey).Replace(path), "")
			if got.status == http.StatusServiceUnavailable { // GitHub is not configured
				continue
			}
			require.Equal(t, want.status, got.status, call)
			require.Equal(t, want.body, got.body, call)
			require.Equal(t, want.header.Values("WWW-Authenticate"), got.header.Values("WWW-Authenticate"))
		}
		served := 0
		for name, handler := range map[string]http.Handler{
			"Authenticate":     f.svc.Authenticate(reached(&served)),
			"RequireScope":     f.svc.RequireScope(reading, reached(&served)),
			"RequireSuperUser": f.svc.RequireSuperUser(reached(&served)),
		} {
			got := send(handler, http.MethodGet, "/", "", "Authorization", "Bearer "+token)
			require.Equal(t, want.status, got.status, name)
			require.Equal(t, want.body, got.body, name)
		}
		require.Zero(t, served)
		_, err = f.svc.Tokens().VerifyFor(t.Context(), audience, token) // in the cache from now on
		require.NoError(t, err)
	}
	sessions, err := f.store.ListSessions(t.Context(), f.admin.ID, f.clock.Now())
	require.NoError(t, err)
	require.Len(t, sessions, 1, "no call has changed anything")
}

func TestAnAudienceThatIsNotConfiguredIsInvalid(t *testing.T) {
	t.Parallel()
	f := newFixture(t, twoAudiences)
	token := f.signIn(f.user)
	for _, bad := range []string{
		issuer, audience + "/", audience + " ", strings.ToUpper(audience), audience[:len(audience)-1],
		"https://evil.example.com", "*", " ", audience + " " + otherAudience,
	} {
		_, err := f.svc.Login(t.Context(), f.userPair, auth.LoginOptions{Audience: bad})
		requireInvalid(t, err, "audience")
		_, err = f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{Audience: bad})
		requireInvalid(t, err, "audience")
		if bad != issuer {
			_, err = f.svc.Tokens().VerifyFor(t.Context(), bad, token)
			requireInvalid(t, err, "audience")
		}
	}
	_, err := f.svc.Tokens().VerifyFor(t.Context(), "", token)
	requireInvalid(t, err, "audience")
	require.Equal(t, 1, f.liveSessions(f.user))

	// The configuration is copied: a host that changes its slice changes nothing.
	list := []string{audience}
	g := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Tokens.Audiences = list })
	list[0] = otherAudience
	_, err = g.svc.SignIn(t.Context(), g.user.ID, auth.LoginOptions{Audience: otherAudience})
	requireInvalid(t, err, "audience")
	_, err = g.svc.SignIn(t.Context(), g.user.ID, auth.LoginOptions{Audience: audience})
	require.NoError(t, err)
}

func requireInvalid(t testing.TB, err error, field string) {
	t.Helper()
	var invalid *auth.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, field, invalid.Field)
}

// A login can take scopes away, and never add any.
func TestALoginOptionNarrowsTheScopesOfTheKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t, twoAudiences)
	pair := f.keyOf(f.user, auth.NewScopes(reading))
	for name, c := range map[string]struct {
		pair    auth.KeyPair
		scopes  *auth.ScopeSet
		want    *auth.ScopeSet
		refused bool
	}{
		"nil at a limited key":            {pair, nil, auth.NewScopes(reading), false},
		"the same":                        {pair, auth.NewScopes(reading), auth.NewScopes(reading), false},
		"none":                            {pair, auth.NewScopes(), auth.NewScopes(), false},
		"wider":                           {pair, auth.NewScopes(reading, writing), nil, true},
		"another":                         {pair, auth.NewScopes(writing), nil, true},
		"nil at a key without a limit":    {f.userPair, nil, nil, false},
		"a limit at a key without one":    {f.userPair, auth.NewScopes(writing), auth.NewScopes(writing), false},
		"none at a key without a limit":   {f.userPair, auth.NewScopes(), auth.NewScopes(), false},
		"one of the package":              {f.userPair, auth.NewScopes(auth.ScopeKeys), auth.NewScopes(auth.ScopeKeys), false},
		"one of the package, limited key": {pair, auth.NewScopes(auth.ScopeKeys), nil, true},
	} {
		for _, to := range []string{"", audience} {
			token, err := f.svc.Login(t.Context(), c.pair, auth.LoginOptions{Scopes: c.scopes, Audience: to})
			if c.refused {
				require.ErrorIs(t, err, auth.ErrInsufficientScope, name)
				continue
			}
			require.NoError(t, err, name)
			require.True(t, c.want.Equal(token.Session.Scopes), name)
			identity := f.requireOnlyFor(token.Bearer.Reveal(), cmp.Or(to, issuer))
			require.Equal(t, c.want != nil, identity.Limited, name)
			require.True(t, c.want.Equal(identity.Scopes()), name)
		}
	}
	_, err := f.svc.Login(t.Context(), f.userPair,
		auth.LoginOptions{Scopes: auth.NewScopes("reports:delete")})
	requireInvalid(t, err, "scopes")
}

// A wrong secret is rejected in the same way, whatever the options are.
func TestLoginOptionsDoNotTellWhetherASecretIsRight(t *testing.T) {
	t.Parallel()
	f := newFixture(t, twoAudiences)
	key := f.userPair.AccessKey
	wrong := auth.KeyPair{AccessKey: key, AccessSecret: authtest.WrongSecret(key)}
	for _, options := range []auth.LoginOptions{{}, {Audience: audience}, {Audience: "x"},
		{Scopes: auth.NewScopes("x")}, {Scopes: auth.NewScopes(reading)}} {
		require.ErrorIs(t, errorOf(f.svc.Login(t.Context(), wrong, options)), auth.ErrInvalidCredentials)
	}
}

func TestARevokedSessionIsRejectedForEveryAudience(t *testing.T) {
	t.Parallel()
	f := newFixture(t, twoAudiences)
	revoke := map[string]func(token auth.Token) error{
		"RevokeToken": func(token auth.Token) error {
			return f.svc.Tokens().RevokeToken(t.Context(), token.Bearer.Reveal())
		},
		"Revoke": func(token auth.Token) error {
			return f.svc.Tokens().Revoke(t.Context(), authtest.ByHost, token.Session.ID)
		},
		"RevokeUser": func(auth.Token) error {
			return errorOf(f.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, f.user.ID))
		},
	}
	for name, end := range revoke {
		token, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{Audience: audience})
		require.NoError(t, err)
		f.requireOnlyFor(token.Bearer.Reveal(), audience)
		require.NoError(t, end(token), name)
		_, err = f.svc.Tokens().VerifyFor(t.Context(), audience, token.Bearer.Reveal())
		require.ErrorIs(t, err, auth.ErrTokenRejected, name)
	}
}

// The authority of a session for another service changes nothing, even if the host passes it on.
func TestAnAuthorityForAnotherServiceChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, twoAudiences)
	token, err := f.svc.SignIn(t.Context(), f.user.ID, auth.LoginOptions{Audience: audience})
	require.NoError(t, err)
	caller, err := f.svc.Tokens().VerifyFor(t.Context(), audience, token.Bearer.Reveal())
	require.NoError(t, err)
	_, err = f.svc.Credentials().Issue(t.Context(), caller.Authority(), f.user.ID, auth.KeyOptions{})
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	keys, err := f.svc.Credentials().List(t.Context(), f.user.ID)
	require.NoError(t, err)
	require.Len(t, keys, 1)
}
