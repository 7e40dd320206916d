package wiretest

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
)

// Whoever has been told that a session has ended finds it ended: on the instance
// that said so at once, on another when its interval has passed.
func TestUnderLoadNoTokenIsAcceptedAfterItsRevocation(t *testing.T) {
	t.Parallel()
	rounds := testenv.Rounds(t, testenv.Counts{Small: 3, Moderate: 8, Full: 30})
	f := newFixture(t)
	var ahead atomic.Int64 // of the other instance's clock
	other, err := auth.New(f.store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key},
		Now: func() time.Time { return f.clock.Now().Add(time.Duration(ahead.Load())) },
	})
	require.NoError(t, err)
	passInterval := func() { ahead.Add(int64(time.Second)) } // a second of many is an interval soon

	var group errgroup.Group
	for i := range 256 {
		group.Go(func() error {
			made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: fmt.Sprint("user ", i)})
			if err != nil {
				return err
			}
			for round := range rounds {
				if err := revokeUnderLoad(t, f.svc, other, made, i+round, passInterval); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}

// revokeUnderLoad signs the user in, ends the session in one of the ways, and
// returns an error if either instance accepts it then, or refuses it before.
func revokeUnderLoad(t *testing.T, svc, other *auth.Service, made auth.Registration, way int, pass func()) error {
	ctx := t.Context()
	key, err := svc.Credentials().Issue(ctx, authtest.ByHost, made.User.ID, auth.KeyOptions{})
	if err != nil {
		return err
	}
	token, err := svc.Login(ctx, key)
	if err != nil {
		return err
	}
	bearer := token.Bearer.Reveal()
	for range 3 {
		if a, b := status(svc, bearer), status(other, bearer); a != http.StatusOK || b != http.StatusOK {
			return fmt.Errorf("way %d: a token that is good got %d and %d", way%4, a, b)
		}
	}
	switch way % 4 {
	case 0:
		err = svc.Tokens().Revoke(ctx, authtest.ByHost, token.Session.ID)
	case 1:
		err = svc.Credentials().Revoke(ctx, authtest.ByHost, key.AccessKey)
	case 2:
		_, err = svc.RevokeUser(ctx, authtest.ByHost, made.User.ID)
	default:
		if _, err = svc.UpdateUser(ctx, authtest.ByHost, made.User.ID, auth.UserChange{IsActive: new(false)}); err == nil {
			_, err = svc.UpdateUser(ctx, authtest.ByHost, made.User.ID, auth.UserChange{IsActive: new(true)})
		}
	}
	if err != nil {
		return err
	}
	if got := status(svc, bearer); got != http.StatusUnauthorized {
		return fmt.Errorf("way %d: a token whose end was acknowledged got %d here", way%4, got)
	}
	for range 5 {
		pass()
	}
	if got := status(other, bearer); got != http.StatusUnauthorized {
		return fmt.Errorf("way %d: a token whose end was acknowledged got %d on the other instance, an interval later", way%4, got)
	}
	return nil
}

// Power is not in a token: who has been demoted has none from then on, anywhere.
func TestUnderLoadADemotedSuperUserHasNoPower(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	guarded := func(svc *auth.Service) http.Handler {
		return svc.Authenticate(svc.RequireSuperUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	}
	here, there := guarded(in.svc), guarded(in.other)
	var group errgroup.Group
	for i := range 256 {
		group.Go(func() error {
			made, err := in.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: fmt.Sprint("user ", i), IsSuperUser: true})
			if err != nil {
				return err
			}
			token, err := in.svc.SignIn(t.Context(), made.User.ID)
			if err != nil {
				return err
			}
			ask := func(h http.Handler) int {
				return send(h, http.MethodGet, "/", "", "Authorization", "Bearer "+token.Bearer.Reveal()).status
			}
			if a, b := ask(here), ask(there); a != http.StatusOK || b != http.StatusOK {
				return fmt.Errorf("a super user got %d and %d", a, b)
			}
			if _, err := in.svc.UpdateUser(t.Context(), authtest.ByHost, made.User.ID, auth.UserChange{IsSuperUser: new(false)}); err != nil {
				return err
			}
			if a, b := ask(here), ask(there); a != http.StatusForbidden || b != http.StatusForbidden {
				return fmt.Errorf("who was demoted got %d and %d", a, b)
			}
			return in.svc.DeleteUser(t.Context(), authtest.ByHost, made.User.ID)
		})
	}
	require.NoError(t, group.Wait())
}

// An instance that cannot read the feed accepts nothing when MaxStaleness is over,
// however many ask.
func TestUnderLoadNoTokenIsAcceptedAfterMaxStaleness(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	token := in.signIn(in.user)
	require.Equal(t, http.StatusOK, status(in.other, token))
	in.fail(authtest.ErrStoreAway)
	_, err := in.svc.RevokeUser(t.Context(), authtest.ByHost, in.user.ID)
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

// The second instance finds no session, because the first has revoked it, and must not say that the
// token is no longer valid while it still accepts it.
func TestASecondLogoutOnAnotherInstanceRejectsTheTokenThere(t *testing.T) {
	t.Parallel()
	in := newInstances(t)
	token := in.signIn(in.user)
	require.Equal(t, http.StatusOK, status(in.other, token), "the other instance has read the feed")
	for _, svc := range []*auth.Service{in.svc, in.other} {
		answer := send(svc.Handler(), http.MethodPost, "/auth/logout", "", "Authorization", "Bearer "+token)
		require.Equal(t, http.StatusOK, answer.status, answer.body)
		require.Equal(t, http.StatusUnauthorized, status(svc, token))
	}
}
