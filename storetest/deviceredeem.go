package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

func deviceRedeemed(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	byHostSession := openSession(t, store, newHostSession(a.user))
	for _, approving := range []auth.Session{a.session, byHostSession} {
		device := approveDevice(t, store, approving)
		asked := newDeviceSession()
		asked.UserID, asked.Method = "somebody else", auth.MethodHost
		asked.Audience = "https://other.example.com"
		asked.Scopes, asked.AccessKeyID = nil, unique("key")
		session, user, err := store.RedeemDevice(t.Context(), byHost(now), device.CodeHash, asked, 0)
		require.NoError(t, err)
		want := asked
		want.UserID, want.Method, want.Audience = a.user.ID, auth.MethodDevice, ""
		want.Scopes, want.AccessKeyID = device.Scopes, approving.AccessKeyID
		requireSameSession(t, want, session)
		requireSession(t, store, session)
		require.Equal(t, a.user.ID, user.ID)
		require.ErrorIs(t, store.PollDevice(t.Context(), device.CodeHash, now), auth.ErrNotFound)
		requireNotRedeemed(t, store, device, auth.ErrNotFound)
		requireSession(t, store, approving)
		require.Empty(t, entriesOf(t, store, a.user))
	}
}

func unapprovedNotRedeemed(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	device := startDevice(t, store)
	requireNotRedeemed(t, store, device, auth.ErrNotFound)
	claimDevice(t, store, a.session, device)
	requireNotRedeemed(t, store, device, auth.ErrNotFound)

	approved := approveDevice(t, store, a.session)
	taken := newDeviceSession()
	taken.ID = a.session.ID
	_, _, err := store.RedeemDevice(t.Context(), byHost(now), approved.CodeHash, taken, 0)
	require.ErrorIs(t, err, auth.ErrExists)
	_, err = redeem(t.Context(), store, approved)
	require.NoError(t, err, "a refused redemption leaves the device")
}

func deviceExpires(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	end := newDevice().ExpiresAt
	lifetime := end.Sub(newDevice().CreatedAt)
	last, earliest := end.Add(-time.Microsecond), newDevice().CreatedAt.Add(-lifetime)
	for at, works := range map[time.Time]bool{
		last: true, end: false, end.Add(time.Minute): false,
		// An instance whose clock was ahead by more than the lifetime of a code has made it.
		earliest: true, earliest.Add(-time.Microsecond): false, earliest.Add(-24 * time.Hour): false,
	} {
		undecided, claimed := startDevice(t, store), startDevice(t, store)
		approved := approveDevice(t, store, a.session)
		claimDevice(t, store, a.session, claimed)
		_, claimErr := store.ClaimDevice(t.Context(), bySession(a.session, at), undecided.UserCodeHash)
		_, approveErr := store.ApproveDevice(t.Context(), bySession(a.session, at), claimed.UserCodeHash)
		pollErr := store.PollDevice(t.Context(), approved.CodeHash, at)
		_, _, redeemErr := store.RedeemDevice(t.Context(), byHost(at), approved.CodeHash,
			newDeviceSession(), 0)
		if works {
			require.NoError(t, errors.Join(claimErr, approveErr, pollErr, redeemErr), at)
			continue
		}
		for _, err := range []error{claimErr, approveErr, redeemErr} {
			require.ErrorIs(t, err, auth.ErrNotFound, at)
		}
		require.ErrorIs(t, pollErr, auth.ErrDeviceExpired, at)
	}
}

func devicePolled(t *testing.T, store deviceStore) {
	device, other := startDevice(t, store), startDevice(t, store)
	for i, step := range []struct {
		at   time.Duration
		want error
	}{
		{0, auth.ErrDevicePending}, // the first poll
		{5 * time.Second, auth.ErrDevicePending},
		{6 * time.Second, auth.ErrDeviceSlowDown},                   // the interval is 10 seconds now
		{12 * time.Second, auth.ErrDeviceSlowDown},                  // 15 seconds
		{27 * time.Second, auth.ErrDevicePending},                   // after 15 seconds
		{27*time.Second + time.Millisecond, auth.ErrDeviceSlowDown}, // 20 seconds
		{0, auth.ErrDevicePending},                                  // a clock has gone back
		{20 * time.Second, auth.ErrDevicePending},
	} {
		require.ErrorIs(t, store.PollDevice(t.Context(), device.CodeHash, now.Add(step.at)), step.want, i)
	}
	require.ErrorIs(t, store.PollDevice(t.Context(), other.CodeHash, now), auth.ErrDevicePending)
	got, err := store.ClaimDevice(t.Context(), bySession(newAccount(t, store).session, now),
		device.UserCodeHash)
	require.NoError(t, err)
	require.Equal(t, now.Add(20*time.Second), got.PolledAt)
	require.Equal(t, 20*time.Second, got.Interval)
}

func deviceSessionEnds(t *testing.T, store deviceStore) {
	for name, revoke := range map[string]func(a account) error{
		"RevokeUserSessions": func(a account) error {
			_, err := store.RevokeUserSessions(t.Context(), byHost(now), a.user.ID)
			return err
		},
		"RevokeOtherSessions": func(a account) error {
			_, err := store.RevokeOtherSessions(t.Context(), bySession(a.session, now))
			return err
		},
		"RevokeKey": func(a account) error { return store.RevokeKey(t.Context(), byHost(now), a.key.ID) },
		"SetKeyScopes": func(a account) error {
			_, err := store.SetKeyScopes(t.Context(), byHost(now), a.key.ID, auth.NewScopes("a"))
			return err
		},
		"RevokeEverybody": func(account) error { return store.RevokeEverybody(t.Context(), byHost(now), 0) },
	} {
		a := newAccount(t, store)
		opened, err := redeem(t.Context(), store, approveDevice(t, store, a.session))
		require.NoError(t, err)
		require.NoError(t, revoke(a), name)
		requireNoSession(t, store, opened.ID)
		require.True(t, isDead(readFeed(t, store), opened), name)
	}

	user, _ := register(t, store, newUser())
	key := addKey(t, store, user, now.Add(time.Minute))
	approving := openSession(t, store, newSession(key))
	opened, err := redeem(t.Context(), store, approveDevice(t, store, approving))
	require.NoError(t, err)
	require.Equal(t, key.ExpiresAt, opened.ExpiresAt, "the end of the key")

	a := newAccount(t, store)
	opened, err = redeem(t.Context(), store, approveDevice(t, store, a.session))
	require.NoError(t, err)
	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), a.session.ID))
	requireSession(t, store, opened) // signing out of the browser does not sign the device out
}

// approvalWithdrawn tests that RevokeOtherSessions leaves nothing that opens a session later.
func approvalWithdrawn(t *testing.T, store deviceStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	first, second := approveDevice(t, store, a.session), approveDevice(t, store, a.session)
	elsewhere := approveDevice(t, store, other.session)
	claimed, denied := startDevice(t, store), startDevice(t, store)
	claimDevice(t, store, a.session, claimed)
	claimDevice(t, store, a.session, denied)
	_, err := store.DenyDevice(t.Context(), bySession(a.session, now), denied.UserCodeHash)
	require.NoError(t, err)

	live, err := store.RevokeOtherSessions(t.Context(), bySession(a.session, now))
	require.NoError(t, err)
	require.Zero(t, live)
	for _, device := range []auth.DeviceAuthorization{first, second} {
		requireNotRedeemed(t, store, device, auth.ErrNotFound)
		require.ErrorIs(t, store.PollDevice(t.Context(), device.CodeHash, now), auth.ErrNotFound)
	}
	_, err = redeem(t.Context(), store, elsewhere)
	require.NoError(t, err, "the device of another user")
	require.ErrorIs(t, store.PollDevice(t.Context(), denied.CodeHash, now), auth.ErrDeviceDenied)
	require.ErrorIs(t, store.PollDevice(t.Context(), claimed.CodeHash, now), auth.ErrDevicePending)
	_, err = store.ApproveDevice(t.Context(), bySession(a.session, now), claimed.UserCodeHash)
	require.NoError(t, err)
	_, err = redeem(t.Context(), store, claimed)
	require.NoError(t, err, "it was approved after the revocation")
}

func deviceUnlinked(t *testing.T, store deviceStore) {
	key := newAccount(t, store)
	byGitHub := signedInWithGitHub(t, store, key)
	lost, err := redeem(t.Context(), store, approveDevice(t, store, byGitHub.session))
	require.NoError(t, err)
	kept, err := redeem(t.Context(), store, approveDevice(t, store, key.session))
	require.NoError(t, err)
	_, _, err = store.UnlinkGitHub(t.Context(), byHost(now), key.user.ID, githubHost)
	require.NoError(t, err)
	requireNoSession(t, store, lost.ID)
	require.True(t, isDead(readFeed(t, store), lost))
	requireSession(t, store, kept)
}

func deviceSessionCapped(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	oldest := newHostSession(a.user)
	oldest.CreatedAt = now.Add(-time.Minute)
	oldest = openSession(t, store, oldest)
	device := approveDevice(t, store, a.session)
	opened, _, err := store.RedeemDevice(t.Context(), byHost(now), device.CodeHash, newDeviceSession(), 2)
	require.NoError(t, err)
	requireNoSession(t, store, oldest.ID)
	requireSession(t, store, a.session)
	requireSession(t, store, opened)
	require.Len(t, entriesOf(t, store, a.user), 1)
}

func canceledDevice(t *testing.T, store deviceStore) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	a := newAccount(t, store)
	device, approved := startDevice(t, store), approveDevice(t, store, a.session)
	another := newDevice()
	write := bySession(a.session, now)
	for name, call := range map[string]func() error{
		"CreateDevice": func() error { return store.CreateDevice(canceled, another) },
		"ClaimDevice": func() error {
			_, err := store.ClaimDevice(canceled, write, device.UserCodeHash)
			return err
		},
		"ApproveDevice": func() error {
			_, err := store.ApproveDevice(canceled, write, device.UserCodeHash)
			return err
		},
		"DenyDevice":   func() error { _, err := store.DenyDevice(canceled, write, device.UserCodeHash); return err },
		"PollDevice":   func() error { return store.PollDevice(canceled, device.CodeHash, now) },
		"RedeemDevice": func() error { _, err := redeem(canceled, store, approved); return err },
		"PruneDevices": func() error { _, err := store.PruneDevices(canceled, now.Add(time.Hour), 10); return err },
	} {
		require.ErrorIs(t, call(), context.Canceled, name)
	}
	require.ErrorIs(t, store.PollDevice(t.Context(), another.CodeHash, now), auth.ErrNotFound)
	claimDevice(t, store, newAccount(t, store).session, device)
	_, err := redeem(t.Context(), store, approved)
	require.NoError(t, err)
}

// deviceEvents tests that the approval and the denial have an event of their user.
func deviceEvents(t *testing.T, store deviceStore) {
	trail, ok := store.(auth.EventStore)
	if !ok {
		return
	}
	a, other := newAccount(t, store), newAccount(t, store)
	for _, decide := range []func(context.Context, auth.Write, string) (auth.DeviceAuthorization, error){
		store.ApproveDevice, store.DenyDevice,
	} {
		device := startDevice(t, store)
		write, refused := withEvent(bySession(a.session, now)), withEvent(bySession(other.session, now))
		_, err := store.ClaimDevice(t.Context(), write, device.UserCodeHash)
		require.NoError(t, err)
		require.Empty(t, eventsOf(t, trail, write), "a claim has no event")
		_, err = decide(t.Context(), refused, device.UserCodeHash)
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.Empty(t, eventsOf(t, trail, refused))
		_, err = decide(t.Context(), write, device.UserCodeHash)
		require.NoError(t, err)
		_, err = decide(t.Context(), write, device.UserCodeHash)
		require.Error(t, err)
		events := eventsOf(t, trail, write)
		require.Len(t, events, 1)
		require.Equal(t, a.user.ID, events[0].UserID)
		require.Equal(t, "client: "+device.ClientID+"; scopes: "+device.Scopes.String(), events[0].Reason)
	}
	approved := approveDevice(t, store, a.session)
	write := withEvent(byHost(now))
	_, _, err := store.RedeemDevice(t.Context(), write, approved.CodeHash, newDeviceSession(), 0)
	require.NoError(t, err)
	require.Empty(t, eventsOf(t, trail, write), "a sign-in has no event in the trail")
}

// revokedApprovalOpensNothing revokes the approving session in every way before the device redeems the
// approval. Of all endings, only the loss of the power of a super user leaves the session alive.
func revokedApprovalOpensNothing(t *testing.T, store deviceStore) {
	for _, e := range endingsOf(store) {
		a := e.newActor(t, store)
		device := approveDevice(t, store, a.session)
		require.NoError(t, e.end(t.Context(), store, byHost(now), a), e.name)
		if e.demotes {
			_, err := redeem(t.Context(), store, device)
			require.NoError(t, err, e.name)
			continue
		}
		for range 2 {
			requireNotRedeemed(t, store, device, auth.ErrTokenRejected, auth.ErrNotFound)
		}
	}
	expired := newAccount(t, store)
	device := newDevice()
	device.ExpiresAt = now.Add(59 * time.Minute) // it would work longer than the session
	require.NoError(t, store.CreateDevice(t.Context(), device))
	claimDevice(t, store, expired.session, device)
	_, err := store.ApproveDevice(t.Context(), bySession(expired.session, now), device.UserCodeHash)
	require.NoError(t, err)
	_, err = store.PruneSessions(t.Context(), expired.session.ExpiresAt, 1000)
	require.NoError(t, err)
	requireNotRedeemed(t, store, device, auth.ErrTokenRejected)
}
