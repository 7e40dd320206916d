package wiretest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// hostClaims is a function for [auth.TokenConfig].
type hostClaims func(context.Context, auth.Session, auth.User) (map[string]any, error)

// withClaims sets TokenConfig.Claims to the function to which the parameter points when it is called.
func withClaims(claims *hostClaims) func(*fixture, *auth.Config) {
	return func(_ *fixture, cfg *auth.Config) {
		cfg.Tokens.Claims = func(ctx context.Context, s auth.Session, u auth.User) (map[string]any, error) {
			return (*claims)(ctx, s, u)
		}
	}
}

// identify returns the identity of the token at the service.
func (f *fixture) identify(token string) auth.Identity {
	f.t.Helper()
	r := httptest.NewRequestWithContext(f.t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	identity, err := f.svc.Identify(r)
	require.NoError(f.t, err)
	return identity
}

func TestClaimsOfTheHostComeBackAsTextAndGiveNoPower(t *testing.T) {
	t.Parallel()
	var claims hostClaims
	f := newFixture(t, withClaims(&claims))
	for name, c := range map[string]struct {
		object map[string]any
		text   string
	}{
		"none":      {nil, ""},
		"empty":     {map[string]any{}, ""},
		"values":    {map[string]any{"b": []int{1, 2}, "a": "é<", "c": nil}, `{"a":"é\u003c","b":[1,2],"c":null}`},
		"a pretend": {map[string]any{"sub": "x", "is_super_user": true, "scope": "auth:users"}, `{"is_super_user":true,"scope":"auth:users","sub":"x"}`},
		"long":      {map[string]any{"a": strings.Repeat("x", 1024-8)}, `{"a":"` + strings.Repeat("x", 1024-8) + `"}`},
	} {
		claims = func(_ context.Context, session auth.Session, user auth.User) (map[string]any, error) {
			require.Equal(t, f.user.ID, user.ID)
			require.Equal(t, f.user.ID, session.UserID)
			return c.object, nil
		}
		token := f.signIn(f.user)
		for range 2 { // the second time, the token is in the cache
			identity := f.identify(token)
			require.Equal(t, c.text, identity.Claims, name)
			require.Equal(t, f.user.ID, identity.UserID, name)
			require.False(t, identity.Limited, name)
			users := f.sendAs(token, http.MethodGet, "/auth/users", "")
			require.Equal(t, http.StatusForbidden, users.status, name)
		}
	}
}

// failingJSON is a value whose encoding fails. Without an error, it panics.
type failingJSON struct{ err error }

func (f failingJSON) MarshalJSON() ([]byte, error) {
	if f.err == nil {
		panic("broken")
	}
	return nil, f.err
}

// A failure of the host's function must not look like a wrong secret or a rejected token, and leaves no
// session behind.
func TestAFailureOfTheHostsClaimsFailsTheSignInAndLeavesNoSession(t *testing.T) {
	t.Parallel()
	var claims hostClaims
	f := newFixture(t, withClaims(&claims))
	for name, failing := range map[string]hostClaims{
		"an error": func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return nil, errors.New("the directory does not answer")
		},
		"an error of this package": func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return nil, auth.ErrNotFound
		},
		"a rejection elsewhere": func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return nil, auth.ErrTokenRejected
		},
		"a panic": func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			panic("broken")
		},
		"an error of this package in a value": func(
			context.Context, auth.Session, auth.User,
		) (map[string]any, error) {
			return map[string]any{"a": failingJSON{auth.ErrNotFound}}, nil
		},
		"a rejection in a value": func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return map[string]any{"a": failingJSON{auth.ErrTokenRejected}}, nil
		},
		"a panic in a value": func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return map[string]any{"a": failingJSON{}}, nil
		},
		"no JSON": func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return map[string]any{"a": make(chan int)}, nil
		},
		"too long": func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return map[string]any{"a": strings.Repeat("x", 1024-7)}, nil
		},
	} {
		claims = failing
		require.Equal(t, http.StatusServiceUnavailable, f.login(f.userPair).status, name)
		sessions, err := f.store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
		require.NoError(t, err)
		require.Empty(t, sessions, name)
	}
}

func TestARemoteVerifierReadsTheClaimsOfTheHost(t *testing.T) {
	t.Parallel()
	signer := authtest.NewSigners(t)["ES256"]
	f := newTokens(t, signer, auth.TokenConfig{Audiences: []string{audience},
		Claims: func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return map[string]any{"team": 7}, nil
		}})
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		JWKS: f.issuer.JWKS(), Issuer: issuer, Audience: audience, Now: f.clock.Now})
	require.NoError(t, err)
	identity, err := verifier.Verify(t.Context(), f.token.Bearer.Reveal())
	require.NoError(t, err)
	require.Equal(t, `{"team":7}`, identity.Claims)
}

func TestACookieHasTheClaimsOfTheHostIfTheyFit(t *testing.T) {
	t.Parallel()
	length := 10
	options := withBrowserSessions
	configure := options.configure
	options.configure = func(g *githubFixture, cfg *auth.Config) {
		configure(g, cfg)
		cfg.Issuer = "https://" + strings.Repeat("i", 248)
		cfg.Tokens.Claims = func(context.Context, auth.Session, auth.User) (map[string]any, error) {
			return map[string]any{"a": strings.Repeat("x", length)}, nil
		}
	}
	g := newGitHub(t, options)
	b := g.browser()
	b.signInByCookie("")
	require.Equal(t, http.StatusOK, b.get("/auth/user").status)

	length = 1000
	b = g.browser()
	require.Contains(t, b.signInByCookie(""), "error=unavailable")
	require.Equal(t, http.StatusUnauthorized, b.get("/auth/user").status)
}
