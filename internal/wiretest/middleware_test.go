package wiretest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestAuthenticatePutsTheCallerInTheContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	type key struct{}
	var got auth.Identity
	var user auth.User
	inner := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		require.Equal(t, "kept", r.Context().Value(key{}), "the host's context values are kept")
		got, _ = auth.IdentityFromContext(r.Context())
		var err error
		user, err = f.svc.User(r.Context())
		require.NoError(t, err)
	})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), key{}, "kept"))
	r.Header.Set("Authorization", "Bearer "+f.signIn(f.user))
	require.Equal(t, http.StatusOK, serve(f.svc.Authenticate(inner), r).status)
	require.Equal(t, f.user.ID, got.UserID)
	require.Equal(t, "alice", user.Username)

	_, ok := auth.IdentityFromContext(t.Context())
	require.False(t, ok)
	_, err := f.svc.User(t.Context())
	require.ErrorIs(t, err, auth.ErrTokenMissing)
}

func TestRequireSuperUserReadsTheStoreOnceAndIgnoresTheToken(t *testing.T) {
	t.Parallel()
	var calls []string
	f := newFixture(t, withFaults(func(method string) error { calls = append(calls, method); return nil }))
	inner := func(w http.ResponseWriter, r *http.Request) {
		user, err := f.svc.User(r.Context())
		require.NoError(t, err)
		identity, ok := auth.IdentityFromContext(r.Context())
		require.True(t, ok)
		require.Equal(t, identity.UserID, user.ID)
		w.WriteHeader(http.StatusNoContent)
	}
	guarded := f.svc.Authenticate(f.svc.RequireSuperUser(http.HandlerFunc(inner)))
	ask := func(token string) int {
		return send(guarded, http.MethodGet, "/", "", "Authorization", "Bearer "+token).status
	}
	admin, user := f.signIn(f.admin), f.signIn(f.user)
	calls = nil
	require.Equal(t, http.StatusNoContent, ask(admin))
	require.Equal(t, []string{"ListRevocations", "FindUser"}, calls)
	require.Equal(t, http.StatusForbidden, ask(user))
	yes := true
	_, err := f.store.UpdateUser(t.Context(), authtest.HostWrite, f.user.ID,
		auth.UserChange{IsSuperUser: &yes})
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, ask(user), "the user was promoted after the token was issued")

	// RequireSuperUser alone, without Authenticate, rejects every request.
	alone := f.svc.RequireSuperUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the handler was reached")
	}))
	require.Equal(t, http.StatusUnauthorized,
		send(alone, http.MethodGet, "/", "", "Authorization", "Bearer "+admin).status)
}

func TestIdentifyContextAndSuperUserMatchTheMiddleware(t *testing.T) {
	t.Parallel()
	f, other := newFixture(t), newFixture(t)
	passed := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	disabled, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
		Username: "disabled", IsSuperUser: true,
	})
	require.NoError(t, err)
	revoked := f.signIn(disabled.User)
	f.setActive(disabled.User, false)
	for name, header := range map[string][]string{
		"no token":               {},
		"a super user":           {"Authorization", "Bearer " + f.signIn(f.admin)},
		"a user":                 {"Authorization", "Bearer " + f.signIn(f.user)},
		"a disabled user":        {"Authorization", "Bearer " + revoked},
		"another service's user": {"Authorization", "Bearer " + other.signIn(other.admin)},
		"two tokens":             {"Authorization", "Bearer " + f.signIn(f.admin), "Authorization", "Bearer " + f.signIn(f.admin)},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		statusOf := func(err error) int {
			if err == nil {
				return http.StatusOK
			}
			status, _ := auth.ErrorStatus(err)
			return status
		}
		ctx, err := f.svc.IdentifyContext(r)
		require.Equal(t, serve(f.svc.Authenticate(passed), r).status, statusOf(err), name)
		if err == nil {
			var user auth.User
			user, err = f.svc.SuperUser(ctx)
			identity, _ := auth.IdentityFromContext(ctx)
			want, _ := f.svc.Identify(r)
			require.Equal(t, want, identity)
			if err == nil {
				require.Equal(t, identity.UserID, user.ID)
			} else {
				require.Zero(t, user)
			}
			_, byOther := other.svc.SuperUser(ctx)
			require.ErrorIs(t, byOther, auth.ErrTokenMissing, "another service's caller is ignored")
		} else {
			require.Nil(t, ctx)
		}
		require.Equal(t, serve(f.svc.Authenticate(f.svc.RequireSuperUser(passed)), r).status,
			statusOf(err), name)
	}
}

// A handler for super users may identify another request, for instance to check a token that it got
// from elsewhere. The record of the super user must not stand for the other caller.
func TestACallerIdentifiedInsideRequireSuperUserIsNotTheSuperUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.signIn(f.user)
	inner := func(w http.ResponseWriter, r *http.Request) {
		other := r.Clone(r.Context())
		other.Header.Set("Authorization", "Bearer "+alice)
		ctx, err := f.svc.IdentifyContext(other)
		require.NoError(t, err)
		user, err := f.svc.User(ctx)
		require.NoError(t, err)
		require.Equal(t, f.user.ID, user.ID)
		require.ErrorIs(t, errorOf(f.svc.SuperUser(ctx)), auth.ErrSuperUserRequired)
		w.WriteHeader(http.StatusNoContent)
	}
	guarded := f.svc.Authenticate(f.svc.RequireSuperUser(http.HandlerFunc(inner)))
	r := send(guarded, http.MethodGet, "/", "", "Authorization", "Bearer "+f.signIn(f.admin))
	require.Equal(t, http.StatusNoContent, r.status)
}

func TestTheTokenOfADeletedUserIsRejected(t *testing.T) {
	t.Parallel()
	deleted := false
	f := newFixture(t, withFaults(func(method string) error {
		if deleted && method == "FindUser" {
			return fmt.Errorf("wrapped: %w", auth.ErrNotFound)
		}
		return nil
	}))
	token := f.signIn(f.admin)
	deleted = true
	r := f.sendAs(token, http.MethodGet, "/auth/user", "")
	require.Equal(t, f.sendAs("x", http.MethodGet, "/auth/user", ""), r)
	require.Equal(t, http.StatusUnauthorized,
		f.sendAs(token, http.MethodPost, "/api/v1/user/register", "{}").status)
}

func TestAServiceIgnoresTheCallerOfAnotherService(t *testing.T) {
	t.Parallel()
	a, b := newFixture(t), newFixture(t)
	reached := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the handler was reached")
	})
	handler := a.svc.Authenticate(a.svc.RequireSuperUser(b.svc.RequireSuperUser(reached)))
	r := send(handler, http.MethodGet, "/", "", "Authorization", "Bearer "+a.signIn(a.admin))
	require.Equal(t, http.StatusUnauthorized, r.status)
}

func TestTheTokenOfAUserDisabledInTheStoreIsRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = disabledUsers{f.store} })
	require.Equal(t, http.StatusUnauthorized,
		f.sendAs(f.signIn(f.admin), http.MethodGet, "/auth/user", "").status)
}

type disabledUsers struct{ auth.Store }

func (s disabledUsers) FindUser(ctx context.Context, id string) (auth.User, error) {
	user, err := s.Store.FindUser(ctx, id)
	user.IsActive = false
	return user, err
}
