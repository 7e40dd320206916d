package wiretest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// A host with its own users table has the same scopes. Its service has no calls for administration.
func TestEachCallNeedsItsScopeFromALimitedTokenOfAHostUser(t *testing.T) {
	t.Parallel()
	for _, o := range wire.calls {
		scope := scopesOfCalls[o.String()]
		administration := scope == auth.ScopeUsers || scope == auth.ScopeEvents
		if !protected(o) || administration || strings.Contains(o.path, "github") {
			continue
		}
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			h := newHostFixture(t, hostScopes)
			h.admin, h.user = h.table.users["u-boss"], h.table.users["u-alice"]
			allowed := max(allowedStatuses[o.String()], http.StatusOK)
			for name, scopes := range map[string]*auth.ScopeSet{
				"every other scope": without(scope), "the empty set": auth.NewScopes(),
			} {
				if answer := h.makeCall(o, scopes); scope == "" {
					require.Equal(t, allowed, answer.status, name)
				} else {
					requireLacks(t, scope, answer, name)
				}
			}
			if scope != "" {
				require.Equal(t, allowed, h.makeCall(o, auth.NewScopes(scope)).status, "only its scope")
			}
			require.Equal(t, allowed, h.makeCall(o, nil).status, "no limit")
		})
	}
}

func TestALimitedSessionOfAHostUserGivesNoPower(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t, hostScopes)
	ctx, keys, boss := t.Context(), h.svc.Credentials(), h.table.users["u-boss"]
	narrow := auth.NewScopes(auth.ScopeKeys, auth.ScopeUsers, reading)
	token := h.open(h.keyOf(boss, narrow))
	identity, err := h.svc.Tokens().Verify(ctx, token.Bearer.Reveal())
	require.NoError(t, err)
	require.True(t, identity.Scopes().Equal(narrow))
	by := identity.Authority()
	by.SuperUser = true
	for _, owner := range []string{"u-boss", "u-alice"} {
		wider := []*auth.ScopeSet{nil, auth.NewScopes(writing), auth.NewScopes(reading, writing)}
		for _, scopes := range wider {
			_, err := keys.Issue(ctx, by, owner, auth.KeyOptions{Scopes: scopes})
			require.ErrorIs(t, err, auth.ErrInsufficientScope, "%s: %v", owner, scopes)
		}
		pair, err := keys.Issue(ctx, by, owner, auth.KeyOptions{Scopes: auth.NewScopes(reading)})
		require.NoError(t, err)
		require.True(t, h.scopesOf(pair).Equal(auth.NewScopes(reading)), owner)
		require.ErrorIs(t, keys.SetScopes(ctx, by, pair.AccessKey, nil), auth.ErrInsufficientScope, owner)
	}
	// Rotating the other key would show its new secret to the limited session.
	_, err = keys.Rotate(ctx, by, h.pair.AccessKey, 0)
	require.ErrorIs(t, err, auth.ErrInsufficientScope)
	require.Equal(t, http.StatusOK, h.login(h.pair).status)

	served := 0
	guarded := h.svc.Authenticate(h.svc.RequireSuperUser(reached(&served)))
	ask := func(bearer string) response {
		return send(guarded, http.MethodGet, "/", "", "Authorization", "Bearer "+bearer)
	}
	requireLacks(t, auth.ScopeSuperUser, ask(token.Bearer.Reveal()))
	super := h.limited(boss, auth.ScopeSuperUser)
	require.Equal(t, http.StatusNoContent, ask(super).status)
	h.table.change("u-boss", func(u *auth.User) { u.IsSuperUser = false })
	require.Equal(t, http.StatusForbidden, ask(super).status, "the scope does not replace the role")
	require.Equal(t, 1, served)
}
