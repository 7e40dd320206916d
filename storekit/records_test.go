package storekit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
	"github.com/stretchr/testify/require"
)

func TestASessionGetsNoMoreThanItsKeyHas(t *testing.T) {
	t.Parallel()
	now := time.Unix(10_000, 0)
	limit := auth.NewScopes("a", "b")
	for name, test := range map[string]struct {
		change func(*auth.Session, *auth.AccessKey)
		want   error
		scopes *auth.ScopeSet
	}{
		"the scopes of the key":     {func(*auth.Session, *auth.AccessKey) {}, nil, limit},
		"fewer scopes":              {func(s *auth.Session, _ *auth.AccessKey) { s.Scopes = auth.NewScopes("b") }, nil, auth.NewScopes("b")},
		"a further scope":           {func(s *auth.Session, _ *auth.AccessKey) { s.Scopes = auth.NewScopes("b", "c") }, auth.ErrInsufficientScope, nil},
		"a key without a limit":     {func(_ *auth.Session, k *auth.AccessKey) { k.Scopes = nil }, nil, nil},
		"the key of another user":   {func(_ *auth.Session, k *auth.AccessKey) { k.UserID = "u2" }, auth.ErrNotFound, nil},
		"a key that expires now":    {func(_ *auth.Session, k *auth.AccessKey) { k.ExpiresAt = now }, auth.ErrNotFound, nil},
		"a key that must rotate":    {func(_ *auth.Session, k *auth.AccessKey) { k.MustRotate = true }, nil, auth.NewScopes(auth.ScopeRotate)},
		"scopes before a rotation":  {func(s *auth.Session, k *auth.AccessKey) { s.Scopes, k.MustRotate = limit, true }, auth.ErrInsufficientScope, nil},
		"a rotation that was done":  {func(s *auth.Session, _ *auth.AccessKey) { s.Scopes = auth.NewScopes(auth.ScopeRotate) }, auth.ErrInsufficientScope, nil},
		"done, and no limit at all": {func(s *auth.Session, k *auth.AccessKey) { s.Scopes, k.Scopes = auth.NewScopes(auth.ScopeRotate), nil }, auth.ErrInsufficientScope, nil},
	} {
		session := auth.Session{UserID: "u1", CreatedAt: now, ExpiresAt: now.Add(2 * time.Hour)}
		key := auth.AccessKey{UserID: "u1", ExpiresAt: now.Add(time.Hour), Scopes: limit}
		test.change(&session, &key)
		opened, err := storekit.OpenSession(session, key)
		require.ErrorIs(t, err, test.want, name)
		if test.want == nil {
			require.Equal(t, key.ExpiresAt, opened.ExpiresAt, name)
			require.Truef(t, test.scopes.Equal(opened.Scopes), "%s: %s", name, opened.Scopes)
		}
	}
}

func TestOnlyTheClaimantDecidesAboutADevice(t *testing.T) {
	t.Parallel()
	now := time.Unix(10_000, 0)
	device := auth.DeviceAuthorization{CreatedAt: now, ExpiresAt: now.Add(time.Minute), Interval: time.Second,
		Scopes: auth.NewScopes("a", "b")}
	acting := storekit.Acting{Now: now, User: auth.User{ID: "u1", IsActive: true},
		Session: auth.Session{ID: "s1", UserID: "u1", Scopes: auth.NewScopes("b", "c")}}
	again, stranger := acting, acting
	again.Session.ID = "s2"
	stranger.Session.ID, stranger.Session.UserID = "s3", "u2"

	_, err := storekit.ApproveDevice(device, acting)
	require.ErrorIs(t, err, auth.ErrNotFound, "before a claim")
	claimed, err := storekit.ClaimDevice(device, acting, false)
	require.NoError(t, err)
	for name, other := range map[string]storekit.Acting{"again": again, "stranger": stranger} {
		_, err = storekit.ClaimDevice(claimed, other, true)
		require.ErrorIs(t, err, auth.ErrNotFound, name)
		_, err = storekit.ApproveDevice(claimed, other)
		require.ErrorIs(t, err, auth.ErrNotFound, name)
		_, err = storekit.DenyDevice(claimed, other)
		require.ErrorIs(t, err, auth.ErrNotFound, name)
	}
	_, err = storekit.ClaimDevice(claimed, stranger, false)
	require.ErrorIs(t, err, auth.ErrNotFound, "the claimant is gone, but a stranger is no successor")
	_, err = storekit.ClaimDevice(claimed, again, false)
	require.NoError(t, err, "the claimant is gone")

	approved, err := storekit.ApproveDevice(claimed, acting)
	require.NoError(t, err)
	require.Equal(t, "b", approved.Scopes.String(), "what both have")
	_, err = storekit.DenyDevice(approved, acting)
	require.ErrorIs(t, err, auth.ErrNotFound, "a decision is final")
	_, err = storekit.PollDevice(claimed, now)
	require.ErrorIs(t, err, auth.ErrDevicePending)
	_, err = storekit.PollDevice(approved, now)
	require.NoError(t, err)
	_, err = storekit.PollDevice(approved, device.ExpiresAt)
	require.ErrorIs(t, err, auth.ErrDeviceExpired)

	asked := auth.Session{ID: "s4", Audience: "elsewhere", Method: auth.MethodHost}
	_, err = storekit.RedeemDevice(claimed, acting, asked)
	require.ErrorIs(t, err, auth.ErrNotFound, "not approved")
	_, err = storekit.RedeemDevice(approved, again, asked)
	require.ErrorIs(t, err, auth.ErrNotFound, "approved by another session")
	got, err := storekit.RedeemDevice(approved, acting, asked)
	require.NoError(t, err)
	require.Equal(t, auth.Session{ID: "s4", UserID: "u1", Method: auth.MethodDevice,
		Scopes: approved.Scopes}, got)
}

func TestServiceUsersAndDevicesApproveNoDevice(t *testing.T) {
	t.Parallel()
	now := time.Unix(10_000, 0)
	device := auth.DeviceAuthorization{CreatedAt: now, ExpiresAt: now.Add(time.Minute),
		Scopes: auth.NewScopes("a")}
	for name, test := range map[string]struct {
		change func(*storekit.Acting)
		want   error
	}{
		"a person":                       {func(*storekit.Acting) {}, nil},
		"a service user":                 {func(a *storekit.Acting) { a.User.IsService = true }, auth.ErrServiceUser},
		"a device":                       {func(a *storekit.Acting) { a.Session.Method = auth.MethodDevice }, auth.ErrInsufficientScope},
		"a session without these scopes": {func(a *storekit.Acting) { a.Session.Scopes = auth.NewScopes("b") }, auth.ErrInsufficientScope},
	} {
		acting := storekit.Acting{Now: now, Session: auth.Session{ID: "s1", UserID: "u1"}}
		test.change(&acting)
		_, err := storekit.ClaimDevice(device, acting, false)
		require.ErrorIs(t, err, test.want, name)
	}
}

func TestValuesThatAreNoRecordAreValidated(t *testing.T) {
	t.Parallel()
	now := time.Unix(10_000, 0)
	require.NoError(t, storekit.ValidateHash("hash"))
	for _, hash := range []string{"", "a b", "é", strings.Repeat("x", 256)} {
		require.ErrorIs(t, storekit.ValidateHash(hash), auth.ErrInvalid, "%q", hash)
	}
	require.NoError(t, storekit.ValidateState("state", now))
	require.EqualError(t, storekit.ValidateState("", now), "auth: state is required")
	require.ErrorIs(t, storekit.ValidateState(strings.Repeat("x", auth.MaxIDLength+1), now), auth.ErrInvalid)
	require.ErrorIs(t, storekit.ValidateState("state", time.Time{}), auth.ErrInvalid)

	clock := func() time.Time { return now }
	bySession := auth.Write{Now: clock, By: auth.Authority{SessionID: "s1", UserID: "u1"}}
	require.NoError(t, storekit.ValidateBySession(bySession))
	byHost := auth.Write{Now: clock, By: auth.ByHost("h")}
	require.ErrorIs(t, storekit.ValidateBySession(byHost), auth.ErrInvalid)
	require.ErrorIs(t, storekit.ValidateBySession(auth.Write{By: bySession.By}), auth.ErrInvalid, "no clock")
}
