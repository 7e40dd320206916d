package oauth_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// The attack: a program fills the store with codes.
func TestDevicesOfOneAddressAreLimited(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	for range 30 {
		d.codes()
	}
	a := d.begin()
	require.Equal(t, 429, a.status)
	require.Equal(t, "temporarily_unavailable", a.code())
	require.NotEmpty(t, a.header.Get("Retry-After"))
	d.clock.Advance(2 * time.Second)
	d.codes()
}

// The attack: programs at many addresses fill the store with codes.
func TestDevicesOfAllAddressesTogetherAreLimited(t *testing.T) {
	t.Parallel()
	d := newDevices(t)
	start := func(n int) error {
		address := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{Address: address})
		_, err := d.svc.StartDevice(ctx, "cli", auth.NewScopes("reports:read"))
		return err
	}
	for n := range 25_000 {
		require.NoError(t, start(n))
	}
	require.Zero(t, d.svc.Stats().DevicesRefused)
	throttled := new(auth.ThrottledError)
	require.ErrorAs(t, start(25_000), &throttled)
	a := d.begin()
	require.Equal(t, 429, a.status)
	require.Equal(t, "temporarily_unavailable", a.code())
	require.Equal(t, "1", a.header.Get("Retry-After"))
	require.Equal(t, int64(2), d.svc.Stats().DevicesRefused)
	require.Contains(t, d.log.String(), "all clients together have exceeded a limit of the device grant")
	d.clock.Advance(time.Second)
	d.codes()
}
