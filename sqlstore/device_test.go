package sqlstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/sqlstore"
)

// newDevice returns a device with the codes "d-" and "u-" and the name.
func newDevice(name string) auth.DeviceAuthorization {
	return auth.DeviceAuthorization{
		CodeHash: "d-" + name, UserCodeHash: "u-" + name, ClientID: "cli", Scopes: auth.NewScopes("a"),
		CreatedAt: now, ExpiresAt: now.Add(10 * time.Minute), Interval: 5 * time.Second,
	}
}

// seedDevices adds the devices "new", "claimed" and "approved". The session "s-ada" has claimed the second,
// and approved the third.
func seedDevices(t testing.TB, store *sqlstore.Store) {
	ctx := context.Background()
	for _, name := range []string{"new", "claimed", "approved"} {
		require.NoError(t, store.CreateDevice(ctx, newDevice(name)))
	}
	w := bySession("s-ada", "ada")
	w.Event = auth.Event{}
	for _, name := range []string{"claimed", "approved"} {
		_, err := store.ClaimDevice(ctx, w, "u-"+name)
		require.NoError(t, err)
	}
	_, err := store.ApproveDevice(ctx, w, "u-approved")
	require.NoError(t, err)
}

// deviceVerbs are calls about devices.
func deviceVerbs() []verb {
	return []verb{
		{"CreateDevice", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.CreateDevice(ctx, newDevice("another"))
		}},
		{"ClaimDevice", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ClaimDevice(ctx, bySession("s-ada", "ada"), "u-new")
			return err
		}},
		{"ApproveDevice", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.ApproveDevice(ctx, bySession("s-ada", "ada"), "u-claimed")
			return err
		}},
		{"DenyDevice", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.DenyDevice(ctx, bySession("s-ada", "ada"), "u-claimed")
			return err
		}},
		{"PollDevice", true, func(ctx context.Context, s *sqlstore.Store) error {
			if err := s.PollDevice(ctx, "d-new", now); !errors.Is(err, auth.ErrDevicePending) {
				return err
			}
			return nil
		}},
		{"RedeemDevice", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.RedeemDevice(ctx, byHost, "d-approved", newSession("s-device", "", ""), 0)
			return err
		}},
		{"PruneDevices", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(3)(s.PruneDevices(ctx, now.Add(10*time.Minute), 10))
		}},
	}
}
