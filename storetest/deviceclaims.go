package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

func claimingSessionDecides(t *testing.T, store deviceStore) {
	a, other := newAccount(t, store), newAccount(t, store)
	device := startDevice(t, store)
	earlier, later := newSession(a.key), newSession(a.key)
	earlier.CreatedAt, later.CreatedAt = device.CreatedAt, now.Add(time.Second)
	earlier, later = openSession(t, store, earlier), openSession(t, store, later)
	decide := map[string]func(context.Context, auth.Write, string) (auth.DeviceAuthorization, error){
		"claim": store.ClaimDevice, "approve": store.ApproveDevice, "deny": store.DenyDevice,
	}
	for _, session := range []auth.Session{a.session, other.session} {
		for _, verb := range []string{"approve", "deny"} {
			_, err := decide[verb](t.Context(), bySession(session, now), device.UserCodeHash)
			require.ErrorIs(t, err, auth.ErrNotFound, "%s before a claim", verb)
		}
	}
	claimDevice(t, store, a.session, device)
	refused := func(sessions ...auth.Session) {
		t.Helper()
		for _, session := range sessions {
			for name, verb := range decide {
				_, err := verb(t.Context(), bySession(session, now), device.UserCodeHash)
				require.ErrorIs(t, err, auth.ErrNotFound, name)
			}
		}
	}
	refused(other.session, earlier, later)
	stranger := bySession(a.session, now)
	stranger.By.UserID = other.user.ID
	_, err := store.ApproveDevice(t.Context(), stranger, device.UserCodeHash)
	require.ErrorIs(t, err, auth.ErrTokenRejected)
	_, err = store.ApproveDevice(t.Context(), bySession(a.session, now), device.UserCodeHash)
	require.NoError(t, err)
}

// deadClaimIsFree tests that a user can go on with a new session after the one that has claimed the device.
func deadClaimIsFree(t *testing.T, store deviceStore) {
	for name, end := range map[string]func(a account) (now time.Time){
		"revoked": func(a account) time.Time {
			require.NoError(t, store.RevokeSession(t.Context(), byHost(now), a.session.ID))
			return now
		},
		"revoked with all of the user's": func(a account) time.Time {
			_, err := store.RevokeUserSessions(t.Context(), byHost(now), a.user.ID)
			require.NoError(t, err)
			return now
		},
		"revoked with everybody's": func(account) time.Time {
			require.NoError(t, store.RevokeEverybody(t.Context(), byHost(now), 0))
			return now
		},
		"expired": func(a account) time.Time { return a.session.ExpiresAt },
	} {
		a := newAccount(t, store)
		a.session = newSession(a.key)
		a.session.ExpiresAt = now.Add(time.Minute)
		a.session = openSession(t, store, a.session)
		device := startDevice(t, store)
		claimDevice(t, store, a.session, device)
		at := end(a)
		again, other := openSession(t, store, newSession(a.key)), newAccount(t, store).session
		second := openSession(t, store, newSession(a.key))
		_, err := store.ClaimDevice(t.Context(), bySession(other, at), device.UserCodeHash)
		require.ErrorIs(t, err, auth.ErrNotFound, "%s: another user", name)
		_, err = store.ApproveDevice(t.Context(), bySession(again, at), device.UserCodeHash)
		require.ErrorIs(t, err, auth.ErrNotFound, "%s: before a claim of its own", name)
		claimed, err := store.ClaimDevice(t.Context(), bySession(again, at), device.UserCodeHash)
		require.NoError(t, err, name)
		require.Equal(t, again.ID, claimed.SessionID)
		_, err = store.ClaimDevice(t.Context(), bySession(second, at), device.UserCodeHash)
		require.ErrorIs(t, err, auth.ErrNotFound, "%s: the new claim is as firm as the first", name)
		_, err = store.ApproveDevice(t.Context(), bySession(again, at), device.UserCodeHash)
		require.NoError(t, err, name)
	}
}
