package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// manyContenders is the number of goroutines in the races about devices.
const manyContenders = 256

// redemptionWaits makes a redemption and a revocation of the approving session at the same time, in both
// orders. In neither order is a session of the device left.
func redemptionWaits(t *testing.T, store deviceStore) {
	grace := graceOf(t, store)
	revokeAll := func(ctx context.Context, w auth.Write, a account) error {
		_, err := store.RevokeUserSessions(ctx, w, a.user.ID)
		return err
	}
	a := newAccount(t, store)
	device, session := approveDevice(t, store, a.session), newDeviceSession()
	h := callBehind(t, t.Context(), grace, now,
		func(ctx context.Context, hold func(auth.Write) auth.Write) error {
			return revokeAll(ctx, hold(byHost(now)), a)
		},
		func(ctx context.Context) error {
			_, _, err := store.RedeemDevice(ctx, byHost(now), device.CodeHash, session, 0)
			return err
		})
	require.NoError(t, h.firstErr)
	require.ErrorIs(t, h.secondErr, auth.ErrTokenRejected)
	requireNoSession(t, store, session.ID)

	a = newAccount(t, store)
	device, session = approveDevice(t, store, a.session), newDeviceSession()
	h = callBehind(t, t.Context(), grace, now,
		func(ctx context.Context, hold func(auth.Write) auth.Write) error {
			_, _, err := store.RedeemDevice(ctx, hold(byHost(now)), device.CodeHash, session, 0)
			return err
		},
		func(ctx context.Context) error { return revokeAll(ctx, byHost(now), a) })
	require.NoError(t, h.firstErr)
	require.NoError(t, h.secondErr)
	require.False(t, h.overtook, "the revocation must wait for the redemption")
	requireNoSession(t, store, session.ID)
	require.True(t, isDead(readFeed(t, store), session) || len(entriesOf(t, store, a.user)) > 0)
}

func approvalWaits(t *testing.T, store deviceStore) {
	grace := graceOf(t, store)
	a := newAccount(t, store)
	device := startDevice(t, store)
	claimDevice(t, store, a.session, device)
	h := callBehind(t, t.Context(), grace, now,
		func(ctx context.Context, hold func(auth.Write) auth.Write) error {
			return store.RevokeSession(ctx, hold(byHost(now)), a.session.ID)
		},
		func(ctx context.Context) error {
			_, err := store.ApproveDevice(ctx, bySession(a.session, now), device.UserCodeHash)
			return err
		})
	require.NoError(t, h.firstErr)
	require.ErrorIs(t, h.secondErr, auth.ErrTokenRejected)
	require.ErrorIs(t, store.PollDevice(t.Context(), device.CodeHash, now), auth.ErrDevicePending)

	a = newAccount(t, store)
	device = startDevice(t, store)
	claimDevice(t, store, a.session, device)
	h = callBehind(t, t.Context(), grace, now,
		func(ctx context.Context, hold func(auth.Write) auth.Write) error {
			_, err := store.ApproveDevice(ctx, hold(bySession(a.session, now)), device.UserCodeHash)
			return err
		},
		func(ctx context.Context) error { return store.RevokeSession(ctx, byHost(now), a.session.ID) })
	require.NoError(t, h.firstErr)
	require.NoError(t, h.secondErr)
	require.False(t, h.overtook, "the revocation must wait for the approval")
	requireNotRedeemed(t, store, device, auth.ErrTokenRejected)
}

func racingDeviceClaims(t *testing.T, store deviceStore) {
	accounts := make([]account, contenders)
	for i := range accounts {
		accounts[i] = newAccount(t, store)
	}
	for range rounds(t) {
		device := startDevice(t, store)
		winners := map[string]bool{}
		errs := race(manyContenders, func(i int) error {
			_, err := store.ClaimDevice(t.Context(), bySession(accounts[i%contenders].session, now),
				device.UserCodeHash)
			return err
		})
		for i, err := range errs {
			if err == nil {
				winners[accounts[i%contenders].session.ID] = true
				continue
			}
			require.ErrorIs(t, err, auth.ErrNotFound)
		}
		require.Len(t, winners, 1)
	}
}

func racingDeviceDecisions(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	for range rounds(t) {
		device := startDevice(t, store)
		claimDevice(t, store, a.session, device)
		write := withEvent(bySession(a.session, now))
		errs := race(manyContenders, func(i int) error {
			decide := store.ApproveDevice
			if i%2 == 1 {
				decide = store.DenyDevice
			}
			_, err := decide(t.Context(), write, device.UserCodeHash)
			return err
		})
		winner := requireOneWinner(t, errs, auth.ErrNotFound)
		err := store.PollDevice(t.Context(), device.CodeHash, now)
		if winner%2 == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, auth.ErrDeviceDenied)
		}
		if trail, ok := store.(auth.EventStore); ok {
			require.Len(t, eventsOf(t, trail, write), 1)
		}
	}
}

func racingDeviceRedemptions(t *testing.T, store deviceStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		device := approveDevice(t, store, a.session)
		sessions := make([]auth.Session, manyContenders)
		errs := race(manyContenders, func(i int) (err error) {
			sessions[i], err = redeem(t.Context(), store, device)
			return err
		})
		winner := requireOneWinner(t, errs, auth.ErrNotFound)
		open, err := store.ListSessions(t.Context(), a.user.ID, now)
		require.NoError(t, err)
		require.Len(t, open, 2)
		require.Contains(t, open, sessions[winner])
	}
}

// racingDevice makes all calls about a device at the same time. At most one session opens, and only if the
// device was approved.
func racingDevice(t *testing.T, store deviceStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		device := startDevice(t, store)
		claimDevice(t, store, a.session, device)
		errs := race(manyContenders, func(i int) error {
			switch i % 4 {
			case 0:
				_, err := store.ApproveDevice(t.Context(), bySession(a.session, now), device.UserCodeHash)
				return err
			case 1:
				_, err := store.DenyDevice(t.Context(), bySession(a.session, now), device.UserCodeHash)
				return err
			case 2:
				return store.PollDevice(t.Context(), device.CodeHash, now)
			default:
				_, err := redeem(t.Context(), store, device)
				return err
			}
		})
		succeeded := [4]int{}
		for i, err := range errs {
			if err == nil {
				succeeded[i%4]++
				continue
			}
			requireOneOf(t, err, auth.ErrNotFound, auth.ErrDevicePending, auth.ErrDeviceSlowDown,
				auth.ErrDeviceDenied)
		}
		require.Equal(t, 1, succeeded[0]+succeeded[1], "one decision")
		require.LessOrEqual(t, succeeded[3], succeeded[0], "a redemption needs an approval")
		open, err := store.ListSessions(t.Context(), a.user.ID, now)
		require.NoError(t, err)
		require.Len(t, open, 1+succeeded[3])
	}
}
