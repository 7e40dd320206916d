package wiretest

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// After a revocation has returned, the instance that made it rejects the token at once. The other
// instance rejects the token after its next read of the feed.
func TestUnderLoadNoTokenIsAcceptedAfterItsRevocation(t *testing.T) {
	t.Parallel()
	rounds := testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 8, Full: 30})
	f := newFixture(t)
	var ahead atomic.Int64 // by how much the other clock is ahead
	other, err := auth.New(f.store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key},
		Now: func() time.Time { return f.clock.Now().Add(time.Duration(ahead.Load())) },
	})
	require.NoError(t, err)
	// Many goroutines advance the clock of the other instance, so its interval passes quickly.
	advance := func() { ahead.Add(int64(time.Second)) }

	var group errgroup.Group
	for i := range 256 {
		group.Go(func() error {
			made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
				Username: fmt.Sprint("user ", i),
			})
			if err != nil {
				return err
			}
			for round := range rounds {
				if err := revokeUnderLoad(t, f.svc, other, made, i+round, advance); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}

// revokeUnderLoad signs the user in and revokes the session in one of four ways. It returns an
// error if an instance rejects the token before the revocation or accepts it afterwards.
func revokeUnderLoad(
	t *testing.T, svc, other *auth.Service, made auth.Registration, way int, advance func(),
) error {
	ctx := t.Context()
	key, err := svc.Credentials().Issue(ctx, authtest.ByHost, made.User.ID, auth.KeyOptions{})
	if err != nil {
		return err
	}
	token, err := svc.Login(ctx, key, auth.LoginOptions{})
	if err != nil {
		return err
	}
	bearer := token.Bearer.Reveal()
	for range 3 {
		if a, b := status(svc, bearer), status(other, bearer); a != http.StatusOK || b != http.StatusOK {
			return fmt.Errorf("way %d: a valid token got %d and %d", way%4, a, b)
		}
	}
	switch way % 4 {
	case 0:
		err = svc.Tokens().Revoke(ctx, authtest.ByHost, token.Session.ID)
	case 1:
		err = svc.Credentials().Revoke(ctx, authtest.ByHost, key.AccessKey)
	case 2:
		_, err = svc.Tokens().RevokeUser(ctx, authtest.ByHost, made.User.ID)
	default:
		_, err = svc.UpdateUser(ctx, authtest.ByHost, made.User.ID, auth.UserChange{IsActive: new(false)})
		if err == nil {
			_, err = svc.UpdateUser(ctx, authtest.ByHost, made.User.ID, auth.UserChange{IsActive: new(true)})
		}
	}
	if err != nil {
		return err
	}
	if got := status(svc, bearer); got != http.StatusUnauthorized {
		return fmt.Errorf("way %d: a revoked token got %d", way%4, got)
	}
	for range 5 {
		advance()
	}
	if got := status(other, bearer); got != http.StatusUnauthorized {
		return fmt.Errorf("way %d: a revoked token got %d on the other instance after the interval",
			way%4, got)
	}
	return nil
}

// The service reads the rights of a user from the store, not from the token. So a demotion takes
// effect at once on every instance.
func TestUnderLoadADemotedSuperUserHasNoPower(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	guarded := func(svc *auth.Service) http.Handler {
		return svc.Authenticate(svc.RequireSuperUser(nothing))
	}
	here, there := guarded(in.svc), guarded(in.other)
	var group errgroup.Group
	for i := range 256 {
		group.Go(func() error {
			made, err := in.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
				Username: fmt.Sprint("user ", i), IsSuperUser: true,
			})
			if err != nil {
				return err
			}
			token, err := in.svc.SignIn(t.Context(), made.User.ID, auth.LoginOptions{})
			if err != nil {
				return err
			}
			ask := func(h http.Handler) int {
				return send(h, http.MethodGet, "/", "",
					"Authorization", "Bearer "+token.Bearer.Reveal()).status
			}
			if a, b := ask(here), ask(there); a != http.StatusOK || b != http.StatusOK {
				return fmt.Errorf("a super user got %d and %d", a, b)
			}
			_, err = in.svc.UpdateUser(t.Context(), authtest.ByHost, made.User.ID,
				auth.UserChange{IsSuperUser: new(false)})
			if err != nil {
				return err
			}
			if a, b := ask(here), ask(there); a != http.StatusForbidden || b != http.StatusForbidden {
				return fmt.Errorf("a demoted super user got %d and %d", a, b)
			}
			return in.svc.DeleteUser(t.Context(), authtest.ByHost, made.User.ID)
		})
	}
	require.NoError(t, group.Wait())
}

// If an instance has not read the feed for MaxStaleness, it accepts no token, even if many requests
// arrive at the same time.
func TestUnderLoadNoTokenIsAcceptedAfterMaxStaleness(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	token := in.signIn(in.user)
	require.Equal(t, http.StatusOK, status(in.other, token))
	in.fail(authtest.ErrStoreAway)
	_, err := in.svc.Tokens().RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
	require.NoError(t, err)
	in.clock.Advance(time.Minute)
	var group errgroup.Group
	for range 256 {
		group.Go(func() error {
			if got := status(in.other, token); got != http.StatusServiceUnavailable {
				return fmt.Errorf("got %d", got)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}

// The second logout finds no session, because the first one has revoked it. The second logout must
// not succeed while its instance still accepts the token.
func TestASecondLogoutOnAnotherInstanceRejectsTheTokenThere(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t))
		for _, svc := range s.instances() {
			answer := send(svc.Handler(), http.MethodPost, "/auth/logout", "", s.header...)
			require.Equal(t, http.StatusOK, answer.status, answer.body)
			require.Equal(t, http.StatusUnauthorized, status(svc, s.bearer))
		}
	})
}

// Both instances accept the token. The second request of a logout arrives while the first one has
// not yet called the store.
func TestALogoutThatIsOvertakenByAnotherOneRejectsTheTokenOnBothInstances(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for i, slow := range []string{"the same instance", "another instance"} {
			t.Run(slow, func(t *testing.T) {
				s := newStolen(t, open(t))
				h := s.hold(s.instances()[i], lastingCall{
					"log out", http.MethodPost, "", fixed("/auth/logout"), false, "RevokeToken",
				})
				require.Equal(t, http.StatusOK,
					send(s.svc.Handler(), http.MethodPost, "/auth/logout", "", s.header...).status)
				require.Equal(t, http.StatusOK, h.release())
				require.Equal(t, http.StatusUnauthorized, status(s.svc, s.bearer))
				require.Equal(t, http.StatusUnauthorized, status(s.instances()[i], s.bearer))
			})
		}
	})
}

// The second instance finds no session, because the first has revoked it.
func TestRevokingASessionThatAnotherInstanceHasRevokedRejectsItsTokenAtOnce(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		s := newStolen(t, open(t))
		id := s.session.Session.ID
		require.NoError(t, s.svc.Tokens().Revoke(t.Context(), authtest.ByHost, id))
		require.ErrorIs(t, s.other.Tokens().Revoke(t.Context(), authtest.ByHost, id), auth.ErrNotFound)
		require.Equal(t, http.StatusUnauthorized, status(s.other, s.bearer))
	})
}
