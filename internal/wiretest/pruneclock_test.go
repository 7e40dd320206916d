package wiretest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// clockedStore is a store whose database has a clock.
type clockedStore struct {
	*memstore.Store
	clock func() (time.Time, error)
}

func (s clockedStore) DatabaseTime(context.Context) (time.Time, error) { return s.clock() }

// newClocked returns a service without a clock of its own on the store.
func newClocked(t *testing.T, store auth.Store) *auth.Service {
	svc, err := auth.New(store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key},
		Proxies: auth.NoProxies(),
	})
	require.NoError(t, err)
	return svc
}

// The attack: the clock of an instance is ahead. By this clock, all tokens and the revocations of these
// tokens have expired. If the instance removed the revocations, an instance that starts later would accept
// the revoked tokens.
func TestAnInstanceWhoseClockIsAheadRemovesNoRevocations(t *testing.T) {
	t.Parallel()
	ahead := time.Duration(0)
	store := clockedStore{memstore.New(), func() (time.Time, error) { return time.Now().Add(-ahead), nil }}
	f := newFixture(t, func(f *fixture, cfg *auth.Config) {
		f.store = store
		cfg.Now = func() time.Time { return time.Now().Add(-ahead) } // the clock of the other instances
	})
	ahead = 20 * time.Hour // the tokens of the others expire within 12 hours
	revoked := f.signIn(f.user)
	require.Equal(t, http.StatusOK, f.sendAs(revoked, http.MethodPost, "/auth/logout", "").status)
	for i := range 1001 { // the newest 1,000 revocations always stay
		require.NoError(t, store.RevokeToken(t.Context(), auth.SessionClaims{UserID: fmt.Sprint("u", i),
			SessionID: "s", ExpiresAt: time.Now().Add(-ahead + time.Hour)}))
	}
	live := f.signIn(f.user)

	removed, err := newClocked(t, store).Prune(t.Context())
	require.ErrorContains(t, err, "the clock of this machine is 20h0m0s ahead of the clock of the database")
	require.Zero(t, removed)
	started, err := auth.New(store, auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key},
		Proxies: auth.NoProxies(), Now: func() time.Time { return time.Now().Add(-ahead) }})
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, status(started, revoked))
	require.Equal(t, http.StatusOK, status(started, live))
}

func TestPruneComparesTheClocksIfItCan(t *testing.T) {
	t.Parallel()
	shows := func(ahead time.Duration) func() (time.Time, error) {
		return func() (time.Time, error) { return time.Now().Add(ahead), nil }
	}
	fails := func(err error) func() (time.Time, error) {
		return func() (time.Time, error) { return time.Time{}, err }
	}
	for name, test := range map[string]struct {
		clock   func() (time.Time, error)
		refused bool
	}{
		"the same time":     {shows(0), false},
		"behind":            {shows(time.Hour), false},
		"slightly ahead":    {shows(-20 * time.Second), false},
		"ahead":             {shows(-time.Minute), true},
		"the store fails":   {fails(authtest.ErrStoreAway), true},
		"the store panics":  {func() (time.Time, error) { panic("driver") }, true},
		"a wrapper":         {fails(errors.ErrUnsupported), false},
		"a wrapped wrapper": {fails(fmt.Errorf("no clock: %w", errors.ErrUnsupported)), false},
	} {
		_, err := newClocked(t, clockedStore{memstore.New(), test.clock}).Prune(t.Context())
		require.Equal(t, test.refused, err != nil, "%s: %v", name, err)
	}
}
