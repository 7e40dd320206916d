package oauth_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
)

func TestTheDecisionsAboutDevicesAreInTheAuditTrail(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]bool{"in the trail": false, "without a trail": true} {
		var got authtest.EventRecord
		d := newDevices(t, func(cfg *auth.Config) { cfg.OnEvent, cfg.DisableAuditTrail = got.Add, off })
		b := d.signIn(d.ada.Pair)
		_, approved := d.codes()
		_, denied := d.codes()
		b.approve(approved)
		require.Equal(t, 200, b.call("lookup", denied).status)
		require.Equal(t, 204, b.call("deny", denied).status)
		events := got.Deliver(t, d.svc)
		for _, kind := range []eventkind.Kind{eventkind.DeviceApproved, eventkind.DeviceDenied} {
			e := only(t, events, kind)
			require.Equal(t, []string{d.ada.User.ID, d.ada.User.ID}, []string{e.UserID, e.ActorID}, name)
			require.NotEmpty(t, e.SessionID)
			require.Equal(t, "127.0.0.1", e.Client.Address.String())
			require.Equal(t, "client: cli; scopes: reports:read reports:write", e.Reason, name)
			if !off {
				stored, err := d.svc.Events(t.Context(), auth.EventFilter{Kind: kind}, 10)
				require.NoError(t, err)
				require.Equal(t, []auth.Event{e}, stored)
			}
		}
	}
}

// An operator who looks for the sessions of a program needs its name.
func TestTheSignInOfADeviceNamesItsClient(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	d := newDevices(t, func(cfg *auth.Config) { cfg.OnEvent = got.Add })
	b := d.signIn(d.ada.Pair)
	code, userCode := d.codes()
	b.approve(userCode)
	got.Deliver(t, d.svc)
	require.Equal(t, 200, d.poll(code).status)
	e := only(t, got.Deliver(t, d.svc), eventkind.SignedIn)
	require.Equal(t, auth.MethodDevice, e.Method)
	require.Equal(t, "client: cli; scopes: reports:read reports:write", e.Reason)
}

// The attack: somebody guesses user codes with a session of another person. The operator sees whose session.
func TestTooManyGuessesOfUserCodesEmitAnEvent(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	d := newDevices(t, func(cfg *auth.Config) { cfg.OnEvent = got.Add })
	b := d.signIn(d.ada.Pair)
	for i := range 10 {
		require.Equal(t, 404, b.call("lookup", "BCDF-GHJ"+string("KLMNPQRSTV"[i])).status)
	}
	got.Deliver(t, d.svc)
	require.Equal(t, 429, b.call("lookup", "BCDF-GHJK").status)
	e := only(t, got.Deliver(t, d.svc), eventkind.SignInThrottled)
	require.Equal(t, []string{d.ada.User.ID, d.ada.User.ID, string(auth.MethodDevice), "too many user codes"},
		[]string{e.UserID, e.ActorID, string(e.Method), e.Reason})
	sessions, err := d.store.ListSessions(t.Context(), d.ada.User.ID, d.clock.Now())
	require.NoError(t, err)
	require.Equal(t, sessions[0].ID, e.SessionID)
}

// only returns the one event of the kind.
func only(t *testing.T, events []auth.Event, kind eventkind.Kind) auth.Event {
	t.Helper()
	events = slices.DeleteFunc(slices.Clone(events), func(e auth.Event) bool { return e.Kind != kind })
	require.Len(t, events, 1, kind)
	return events[0]
}
