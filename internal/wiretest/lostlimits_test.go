package wiretest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// forgetfulStore is a store that changes a session before it keeps it.
type forgetfulStore struct {
	*memstore.Store
	forget func(*auth.Session)
}

func (s *forgetfulStore) CreateSession(
	ctx context.Context, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	s.forget(&session)
	return s.Store.CreateSession(ctx, session, limit)
}

// The attack: a store that was written before sessions had limits loses the limit of a session. Its token
// would then be one without a limit, or one for the issuer.
func TestNoTokenIsIssuedIfTheStoreLosesALimitOfTheSession(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		forget  func(*auth.Session)
		options auth.LoginOptions
	}{
		"the audience": {func(s *auth.Session) { s.Audience = "" }, auth.LoginOptions{Audience: audience}},
		"another audience": {func(s *auth.Session) { s.Audience = otherAudience },
			auth.LoginOptions{Audience: audience}},
		"the scopes": {func(s *auth.Session) { s.Scopes = nil },
			auth.LoginOptions{Scopes: auth.NewScopes(reading)}},
		"more scopes": {func(s *auth.Session) { s.Scopes = auth.NewScopes(reading, writing) },
			auth.LoginOptions{Scopes: auth.NewScopes(reading)}},
		"the empty set": {func(s *auth.Session) { s.Scopes = nil }, auth.LoginOptions{Scopes: auth.NewScopes()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &forgetfulStore{memstore.New(), func(*auth.Session) {}}
			f := newFixture(t, func(f *fixture, _ *auth.Config) { f.store = store }, twoAudiences)
			_, err := f.svc.SignIn(t.Context(), f.user.ID, test.options)
			require.NoError(t, err)
			before, err := store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
			require.NoError(t, err)

			store.forget = test.forget
			token, err := f.svc.SignIn(t.Context(), f.user.ID, test.options)
			require.ErrorContains(t, err, "the store has not kept")
			require.Zero(t, token)
			after, err := store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
			require.NoError(t, err)
			require.Equal(t, before, after, "the session is revoked")
		})
	}
}
