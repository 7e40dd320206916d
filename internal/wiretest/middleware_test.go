package wiretest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
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
}

func TestRequireSuperUserWithoutAuthenticateIdentifiesTheCaller(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	inner := func(w http.ResponseWriter, r *http.Request) {
		identity, ok := auth.IdentityFromContext(r.Context())
		require.True(t, ok)
		require.Equal(t, f.admin.ID, identity.UserID)
		for _, read := range []func(context.Context) (auth.User, error){
			f.svc.User, f.svc.SuperUser, f.svc.Recheck,
		} {
			user, err := read(r.Context())
			require.NoError(t, err)
			require.Equal(t, f.admin.ID, user.ID)
		}
		w.WriteHeader(http.StatusNoContent)
	}
	alone := f.svc.RequireSuperUser(http.HandlerFunc(inner))
	inside := f.svc.Authenticate(alone)
	admin, revoked := f.signIn(f.admin), f.signIn(f.admin)
	require.Equal(t, http.StatusOK, f.sendAs(revoked, http.MethodPost, "/auth/logout", "").status)
	for name, header := range map[string][]string{
		"no token":              {},
		"a super user":          {"Authorization", "Bearer " + admin},
		"another scheme":        {"Authorization", "Basic " + admin},
		"a user":                {"Authorization", "Bearer " + f.signIn(f.user)},
		"a token that is wrong": {"Authorization", "Bearer " + flipCase(admin, 40)},
		"a revoked session":     {"Authorization", "Bearer " + revoked},
		"two tokens":            {"Authorization", "Bearer " + admin, "Authorization", "Bearer " + admin},
	} {
		got := send(alone, http.MethodGet, "/", "", header...)
		require.Equal(t, send(inside, http.MethodGet, "/", "", header...), got, name)
		require.Equal(t, name == "a super user", got.status == http.StatusNoContent, name)
	}
}

// Each wrapper puts an identity with the user ID of a super user of f into the context. None of
// these identities comes from a token that f has verified.
func TestOnlyACallerOfTheSameServicePassesRequireSuperUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	table := newHostTable()
	table.change(f.admin.ID, func(u *auth.User) {
		*u = auth.User{ID: f.admin.ID, Username: "root", IsActive: true, IsSuperUser: true}
	})
	other := newFixture(t, func(o *fixture, cfg *auth.Config) {
		o.accounts, o.source = memstore.NewAccounts(), table
		cfg.Issuer = "https://other.example.com"
		cfg.SigningKeys = []auth.SigningKey{f.signer.Key} // even with the same key
	})
	remote := newRemote(t, "ES256")
	stolen, err := other.svc.SignIn(t.Context(), f.admin.ID, auth.LoginOptions{})
	require.NoError(t, err)
	_, err = remote.verify(t, remote.token.Bearer.Reveal()) // fetches the keys
	require.NoError(t, err)
	var entered, reached int
	guarded := f.svc.RequireSuperUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		reached++
	}))
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered++
		guarded.ServeHTTP(w, r)
	})
	for name, test := range map[string]struct {
		handler http.Handler
		token   string
	}{
		"another service":  {other.svc.Authenticate(inner), stolen.Bearer.Reveal()},
		"its super user":   {other.svc.RequireSuperUser(inner), stolen.Bearer.Reveal()},
		"a RemoteVerifier": {remote.verifier.Authenticate(inner), remote.token.Bearer.Reveal()},
		"WithIdentity": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := auth.WithIdentity(r.Context(), auth.Identity{UserID: f.admin.ID})
			inner.ServeHTTP(w, r.WithContext(ctx))
		}), stolen.Bearer.Reveal()},
	} {
		entered = 0
		r := send(test.handler, http.MethodGet, "/", "", "Authorization", "Bearer "+test.token)
		require.Equal(t, 1, entered, "the other middleware accepts the token")
		require.Equal(t, http.StatusUnauthorized, r.status, name)
		require.Equal(t, `Bearer error="invalid_token"`, r.header.Get("WWW-Authenticate"), name)
	}
	require.Zero(t, reached)

	// The caller of f passes, even inside a middleware of another service that f does not trust.
	inside := f.svc.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := auth.WithIdentity(r.Context(), auth.Identity{UserID: "nobody"})
		guarded.ServeHTTP(w, r.WithContext(ctx))
	}))
	r := send(inside, http.MethodGet, "/", "", "Authorization", "Bearer "+f.signIn(f.admin))
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, 1, reached)
}

// If the host has not wrapped its handler in the middleware, the text of the error must say so.
func TestTheErrorForAMissingCallerSaysWhatToDo(t *testing.T) {
	t.Parallel()
	f, other := newFixture(t), newFixture(t)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+other.signIn(other.admin))
	foreign, err := other.svc.IdentifyContext(r)
	require.NoError(t, err)
	for _, read := range []func(context.Context) (auth.User, error){
		f.svc.User, f.svc.SuperUser, f.svc.Recheck,
	} {
		require.EqualError(t, errorOf(read(t.Context())), "auth: the context has no caller: wrap "+
			"the handler in Authenticate, or pass the context of IdentifyContext")
		_, err := read(foreign)
		require.ErrorIs(t, err, auth.ErrTokenMissing)
		require.EqualError(t, err, "auth: the caller in the context was not identified by this "+
			"Service: wrap the handler in Authenticate of this Service")
	}
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
