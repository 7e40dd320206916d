package wiretest

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// loseSession deletes the record of the stolen session. In a real service, the cause can be an
// instance whose clock is far ahead, or a restored backup that is older than the session.
func (s *stolen) loseSession() {
	s.t.Helper()
	_, err := s.store.PruneSessions(s.t.Context(), s.session.Session.ExpiresAt.Add(time.Hour), 1000)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, status(s.svc, s.bearer), "the feed has no entry for the session")
}

// A token whose session record was lost must be revocable in the same ways as every other token.
func TestATokenWhoseSessionWasLostCanBeRevokedInEveryWay(t *testing.T) {
	t.Parallel()
	bossID := func(s *stolen) string { return s.boss.User.ID }
	ways := map[string]func(t *testing.T, s *stolen){
		"logout": func(t *testing.T, s *stolen) {
			require.Equal(t, http.StatusOK, s.sendAs(s.bearer, http.MethodPost, "/auth/logout", "").status)
		},
		"revoke the user's sessions": func(t *testing.T, s *stolen) {
			_, err := s.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, bossID(s))
			require.NoError(t, err)
		},
		"disable": func(t *testing.T, s *stolen) {
			_, err := s.svc.UpdateUser(t.Context(), authtest.ByHost, bossID(s),
				auth.UserChange{IsActive: new(false)})
			require.NoError(t, err)
		},
		"reset": func(t *testing.T, s *stolen) {
			_, err := s.svc.RegenerateCredentials(t.Context(), authtest.ByHost, bossID(s), auth.KeyOptions{})
			require.NoError(t, err)
		},
		"delete": func(t *testing.T, s *stolen) {
			require.NoError(t, s.svc.DeleteUser(t.Context(), authtest.ByHost, bossID(s)))
		},
		"revoke everybody": func(t *testing.T, s *stolen) {
			require.NoError(t, s.svc.RevokeEverybody(t.Context(), authtest.ByHost))
		},
	}
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for name, revoke := range ways {
			t.Run(name, func(t *testing.T) {
				s := newStolen(t, open(t))
				s.loseSession()
				revoke(t, s)
				require.Equal(t, http.StatusUnauthorized, status(s.svc, s.bearer),
					"this instance rejects it at once")
				s.clock.Advance(6 * time.Second)
				require.Equal(t, http.StatusUnauthorized, status(s.other, s.bearer),
					"the other instance rejects it after the interval")
			})
		}
	})
}

// The store has lost the record of a session, and the generation of the session is not above the head of the
// feed. Calls that find the sessions by their records cannot revoke this session. Its token stays accepted,
// but leaves nothing behind, also not a token that lives longer.
func TestASessionWithoutARecordLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ways := map[string]func(t *testing.T, s *stolen){
		"nothing": func(*testing.T, *stolen) {},
		"revoking the key": func(t *testing.T, s *stolen) {
			require.NoError(t, s.svc.Credentials().Revoke(t.Context(), authtest.ByHost,
				s.boss.Pair.AccessKey))
		},
		"limiting the key": func(t *testing.T, s *stolen) {
			require.NoError(t, s.svc.Credentials().SetScopes(t.Context(), authtest.ByHost,
				s.boss.Pair.AccessKey, auth.NewScopes()))
		},
		"revoking the other sessions": func(t *testing.T, s *stolen) {
			r := s.sendAs(s.signIn(s.boss.User), http.MethodDelete, "/auth/sessions?except=current", "")
			require.Equal(t, http.StatusOK, r.status)
		},
	}
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for name, revoke := range ways {
			t.Run(name, func(t *testing.T) {
				s := newStolen(t, open(t), func(cfg *auth.Config) {
					cfg.Tokens.Scopes, cfg.Tokens.Audiences = []string{reading}, []string{audience}
				})
				agent, err := s.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
					Username: "agent", IsService: true, Audiences: []string{audience}})
				require.NoError(t, err)
				s.loseSession()
				revoke(t, s)
				s.clock.Advance(6 * time.Second)
				before := s.snapshot()
				for _, svc := range s.instances() {
					require.Equal(t, http.StatusOK, s.ask(svc), "the limit of such a revocation")
					for _, c := range lastingCalls {
						require.Equal(t, http.StatusUnauthorized, s.call(svc, c), c.name)
					}
					require.Equal(t, before, s.snapshot())
					caller, err := svc.Tokens().Verify(t.Context(), s.bearer)
					require.NoError(t, err)
					_, err = svc.Tokens().Delegate(t.Context(), caller, auth.Delegation{For: agent.User.ID,
						Audience: audience, Scopes: auth.NewScopes(reading)})
					require.ErrorIs(t, err, auth.ErrTokenRejected)
					ctx, err := svc.IdentifyContext(newBearer(s.bearer))
					require.NoError(t, err)
					require.ErrorIs(t, errorOf(svc.Recheck(ctx)), auth.ErrTokenRejected)
				}
				require.Equal(t, http.StatusUnauthorized, s.ask(s.checking))
				s.clock.Advance(12 * time.Hour)
				require.Equal(t, http.StatusUnauthorized, s.ask(s.svc), "it ends with its token")
			})
		}
	})
}

// A cookie of a session whose record was lost is not renewed.
func TestACookieWithoutARecordIsNotRenewed(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	cookie := f.signedInByKey(f.userPair)
	require.NoError(t, errorOf(f.store.PruneSessions(t.Context(), f.clock.Now().Add(24*time.Hour), 10)))
	f.clock.Advance(12*time.Hour - time.Second)
	r := f.ask(cookie, http.MethodGet, "/auth/user")
	require.Equal(t, http.StatusOK, r.status)
	require.Empty(t, sessionCookieOf(r))
	f.clock.Advance(time.Second)
	f.requireEnded(cookie)
}

// If all sessions of a user are revoked, the feed must keep the entry as long as any token of the
// user can be valid. This also holds if the only session in the store expires sooner.
func TestARevokedTokenStaysRejectedAfterItsUsersEntryExpires(t *testing.T) {
	t.Parallel()
	s := newStolen(t, testStores["memory"](t))
	short, err := s.svc.Credentials().Issue(t.Context(), authtest.ByHost, s.boss.User.ID,
		auth.KeyOptions{ExpiresAt: s.clock.Now().Add(time.Minute)})
	require.NoError(t, err)
	s.loseSession()
	// The store then has only this session, which expires after a minute.
	_, err = s.svc.Login(t.Context(), short, auth.LoginOptions{})
	require.NoError(t, err)
	_, err = s.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, s.boss.User.ID)
	require.NoError(t, err)
	for range 11 {
		s.clock.Advance(time.Hour)
		_, err := s.svc.Prune(t.Context())
		require.NoError(t, err)
		restarted, err := auth.New(s.store, auth.Config{
			Issuer: issuer, SigningKeys: []auth.SigningKey{s.signer.Key}, Now: s.clock.Now,
		})
		require.NoError(t, err)
		for _, svc := range []*auth.Service{s.svc, s.other, restarted} {
			require.Equal(t, http.StatusUnauthorized, status(svc, s.bearer))
		}
	}
}
