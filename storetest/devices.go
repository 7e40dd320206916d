package storetest

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// devicePromises hold for every [auth.DeviceStore]. They need one store each, because they prune the devices
// and revoke the sessions of everybody.
var devicePromises = []promise[auth.AccountStore]{
	{"a device is kept as it was created", ofDevices(deviceKept)},
	{"invalid devices are refused", ofDevices(invalidDevices)},
	{"two devices have different codes", ofDevices(deviceCodesDiffer)},
	{"one session claims a device, and only this session decides", ofDevices(claimingSessionDecides)},
	{"after the claiming session, another one of its user can claim", ofDevices(deadClaimIsFree)},
	{"a decision is final", ofDevices(decisionIsFinal)},
	{"a device gets the scopes that it and the session both have", ofDevices(deviceScopes)},
	{"only a live and recent session decides about a device", ofDevices(deadDecidesNothing)},
	{"the session of a device approves no further device", ofDevices(deviceApprovesNone)},
	{"an approved device gets one session, which the store keeps", ofDevices(deviceRedeemed)},
	{"a device that is not approved gets no session", ofDevices(unapprovedNotRedeemed)},
	{"codes work until they expire, and not if a clock that was ahead made them", ofDevices(deviceExpires)},
	{"polls that come too soon make the interval longer", ofDevices(devicePolled)},
	{"the session of a device ends with the user's sessions and with the key", ofDevices(deviceSessionEnds)},
	{"revoking the other sessions withdraws what the session approved", ofDevices(approvalWithdrawn)},
	{"unlinking GitHub ends the sessions of devices that it may have approved", ofDevices(deviceUnlinked)},
	{"the limit of sessions holds for devices", ofDevices(deviceSessionCapped)},
	{"expired devices are pruned", ofDevices(devicesPruned)},
	{"a canceled call changes nothing about a device", ofDevices(canceledDevice)},
	{"a device approved by a session that is revoked gets no session", ofDevices(revokedApprovalOpensNothing)},
	{"a redemption waits for a revocation, and a revocation for a redemption", ofDevices(redemptionWaits)},
	{"an approval waits for a revocation, and a revocation for an approval", ofDevices(approvalWaits)},
	{"of many concurrent claims by different sessions, one succeeds", ofDevices(racingDeviceClaims)},
	{"of many concurrent decisions, one succeeds", ofDevices(racingDeviceDecisions)},
	{"of many concurrent redemptions, one succeeds", ofDevices(racingDeviceRedemptions)},
	{"of concurrent polls, approvals and redemptions, one opens a session", ofDevices(racingDevice)},
	{"the decision about a device has an event, and nothing else has", ofDevices(deviceEvents)},
}

var devicePromisesOfUsers = []promise[auth.Store]{
	{"a service user approves no device", func(t *testing.T, store auth.Store) {
		ofDevices(serviceApprovesNone)(t, store)
	}},
}

// deviceStore is a store that can keep devices.
type deviceStore interface {
	auth.AccountStore
	auth.DeviceStore
}

// ofDevices turns a test that needs an [auth.DeviceStore] into a test of every store. If a store is no
// DeviceStore, the returned test does nothing.
func ofDevices(test func(t *testing.T, store deviceStore)) func(t *testing.T, store auth.AccountStore) {
	return func(t *testing.T, store auth.AccountStore) {
		if devices, ok := store.(deviceStore); ok {
			test(t, devices)
		}
	}
}

// newDevice returns a new device with the scopes a and b, which began a minute ago. It is not stored.
func newDevice() auth.DeviceAuthorization {
	return auth.DeviceAuthorization{
		CodeHash: unique("device"), UserCodeHash: unique("user"), ClientID: "cli",
		Scopes: auth.NewScopes("a", "b"), Address: "192.0.2.7", UserAgent: "cli/1.0",
		CreatedAt: now.Add(-time.Minute), ExpiresAt: now.Add(9 * time.Minute), Interval: 5 * time.Second,
	}
}

// startDevice adds a new device.
func startDevice(t *testing.T, store deviceStore) auth.DeviceAuthorization {
	t.Helper()
	device := newDevice()
	require.NoError(t, store.CreateDevice(t.Context(), device))
	return device
}

// claimDevice claims the device with the session.
func claimDevice(t *testing.T, store deviceStore, by auth.Session, device auth.DeviceAuthorization) {
	t.Helper()
	_, err := store.ClaimDevice(t.Context(), bySession(by, now), device.UserCodeHash)
	require.NoError(t, err)
}

// approveDevice adds a new device, and approves it with the session.
func approveDevice(t *testing.T, store deviceStore, by auth.Session) auth.DeviceAuthorization {
	t.Helper()
	device := startDevice(t, store)
	claimDevice(t, store, by, device)
	approved, err := store.ApproveDevice(t.Context(), bySession(by, now), device.UserCodeHash)
	require.NoError(t, err)
	return approved
}

// newDeviceSession returns the session that a device asks for.
func newDeviceSession() auth.Session {
	session := newHostSession(auth.User{})
	session.Method, session.UserAgent, session.Address = auth.MethodDevice, "cli/1.0", "192.0.2.7"
	return session
}

// redeem redeems the device.
func redeem(ctx context.Context, store deviceStore, device auth.DeviceAuthorization) (auth.Session, error) {
	session, _, err := store.RedeemDevice(ctx, byHost(now), device.CodeHash, newDeviceSession(), 0)
	return session, err
}

// requireNotRedeemed fails the test unless the store gives the device no session.
func requireNotRedeemed(t *testing.T, store deviceStore, device auth.DeviceAuthorization, want ...error) {
	t.Helper()
	session := newDeviceSession()
	_, _, err := store.RedeemDevice(t.Context(), byHost(now), device.CodeHash, session, 0)
	requireOneOf(t, err, want...)
	requireNoSession(t, store, session.ID)
}

func deviceKept(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	for _, scopes := range []*auth.ScopeSet{auth.NewScopes(), auth.NewScopes("a"), auth.NewScopes("a", "b")} {
		device := newDevice()
		device.Scopes, device.Address, device.UserAgent = scopes, "", ""
		device.CreatedAt = now.Add(-time.Minute + 999).In(time.FixedZone("east", 3600))
		require.NoError(t, store.CreateDevice(t.Context(), device))
		device.CreatedAt = now.Add(-time.Minute)
		device.SessionID, device.UserID = a.session.ID, a.user.ID
		for range 2 { // the same session may claim it again
			got, err := store.ClaimDevice(t.Context(), bySession(a.session, now), device.UserCodeHash)
			require.NoError(t, err)
			require.Equal(t, device, got)
		}
		device.ApprovedAt = now
		got, err := store.ApproveDevice(t.Context(), bySession(a.session, now), device.UserCodeHash)
		require.NoError(t, err)
		require.Equal(t, device, got)
	}
	for _, unknown := range []string{"", "\x00", "\xff", unique("none"), strings.Repeat("x", 65)} {
		_, err := store.ClaimDevice(t.Context(), bySession(a.session, now), unknown)
		require.ErrorIs(t, err, auth.ErrNotFound)
		require.ErrorIs(t, store.PollDevice(t.Context(), unknown, now), auth.ErrNotFound)
		_, err = redeem(t.Context(), store, auth.DeviceAuthorization{CodeHash: unknown})
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
}

func invalidDevices(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	tooLong := strings.Repeat("x", 300)
	for name, change := range map[string]func(*auth.DeviceAuthorization){
		"no device code":        func(d *auth.DeviceAuthorization) { d.CodeHash = "" },
		"a long device code":    func(d *auth.DeviceAuthorization) { d.CodeHash = tooLong },
		"NUL in a device code":  func(d *auth.DeviceAuthorization) { d.CodeHash = "a\x00b" },
		"no user code":          func(d *auth.DeviceAuthorization) { d.UserCodeHash = "" },
		"a line in a user code": func(d *auth.DeviceAuthorization) { d.UserCodeHash = "a\nb" },
		"no client":             func(d *auth.DeviceAuthorization) { d.ClientID = "" },
		"a long client":         func(d *auth.DeviceAuthorization) { d.ClientID = tooLong },
		"no limit":              func(d *auth.DeviceAuthorization) { d.Scopes = nil },
		"an invalid scope":      func(d *auth.DeviceAuthorization) { d.Scopes = auth.NewScopes("a b") },
		"the scope of a rotation": func(d *auth.DeviceAuthorization) {
			d.Scopes = auth.NewScopes(auth.ScopeRotate)
		},
		"a long address":    func(d *auth.DeviceAuthorization) { d.Address = tooLong },
		"a long user agent": func(d *auth.DeviceAuthorization) { d.UserAgent = tooLong },
		"no beginning":      func(d *auth.DeviceAuthorization) { d.CreatedAt = time.Time{} },
		"no end":            func(d *auth.DeviceAuthorization) { d.ExpiresAt = time.Time{} },
		"no time":           func(d *auth.DeviceAuthorization) { d.ExpiresAt = d.CreatedAt },
		"too much time":     func(d *auth.DeviceAuthorization) { d.ExpiresAt = now.Add(2 * time.Hour) },
		"no interval":       func(d *auth.DeviceAuthorization) { d.Interval = 0 },
		"a poll":            func(d *auth.DeviceAuthorization) { d.PolledAt = now },
		"a session":         func(d *auth.DeviceAuthorization) { d.SessionID = a.session.ID },
		"a user":            func(d *auth.DeviceAuthorization) { d.UserID = a.user.ID },
		"an approval":       func(d *auth.DeviceAuthorization) { d.ApprovedAt = now },
		"a denial":          func(d *auth.DeviceAuthorization) { d.DeniedAt = now },
	} {
		device := newDevice()
		change(&device)
		require.ErrorIs(t, store.CreateDevice(t.Context(), device), auth.ErrInvalid, name)
		require.Error(t, store.PollDevice(t.Context(), device.CodeHash, now), name)
	}
	device := startDevice(t, store)
	for _, write := range []auth.Write{{}, byHost(now)} {
		_, err := store.ClaimDevice(t.Context(), write, device.UserCodeHash)
		requireInvalid(t, err)
		_, err = store.ApproveDevice(t.Context(), write, device.UserCodeHash)
		requireInvalid(t, err)
		_, err = store.DenyDevice(t.Context(), write, device.UserCodeHash)
		requireInvalid(t, err)
	}
	approved := approveDevice(t, store, a.session)
	_, _, err := store.RedeemDevice(t.Context(), auth.Write{}, approved.CodeHash, newDeviceSession(), 0)
	requireInvalid(t, err)
	session := newDeviceSession()
	session.ID = ""
	_, _, err = store.RedeemDevice(t.Context(), byHost(now), approved.CodeHash, session, 0)
	requireInvalid(t, err)
	_, err = redeem(t.Context(), store, approved)
	require.NoError(t, err, "the device was not used up")
}

func deviceCodesDiffer(t *testing.T, store deviceStore) {
	first := startDevice(t, store)
	second := newDevice()
	second.CodeHash = first.CodeHash
	require.ErrorIs(t, store.CreateDevice(t.Context(), second), auth.ErrExists)
	third := newDevice()
	third.UserCodeHash = first.UserCodeHash
	require.ErrorIs(t, store.CreateDevice(t.Context(), third), auth.ErrExists)
	a := newAccount(t, store)
	for _, hash := range []string{second.UserCodeHash, strings.ToUpper(first.UserCodeHash)} {
		_, err := store.ClaimDevice(t.Context(), bySession(a.session, now), hash)
		require.ErrorIs(t, err, auth.ErrNotFound)
	}
}

func decisionIsFinal(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	approved, denied := approveDevice(t, store, a.session), startDevice(t, store)
	claimDevice(t, store, a.session, denied)
	got, err := store.DenyDevice(t.Context(), bySession(a.session, now), denied.UserCodeHash)
	require.NoError(t, err)
	require.Equal(t, now, got.DeniedAt)
	require.Zero(t, got.ApprovedAt)
	for _, device := range []auth.DeviceAuthorization{approved, denied} {
		for _, verb := range []func(context.Context, auth.Write, string) (auth.DeviceAuthorization, error){
			store.ClaimDevice, store.ApproveDevice, store.DenyDevice,
		} {
			_, err := verb(t.Context(), bySession(a.session, now), device.UserCodeHash)
			require.ErrorIs(t, err, auth.ErrNotFound)
		}
	}
	for range 2 {
		require.NoError(t, store.PollDevice(t.Context(), approved.CodeHash, now))
		require.ErrorIs(t, store.PollDevice(t.Context(), denied.CodeHash, now), auth.ErrDeviceDenied)
	}
	requireNotRedeemed(t, store, denied, auth.ErrNotFound)
	_, err = redeem(t.Context(), store, approved)
	require.NoError(t, err)
}

func deviceScopes(t *testing.T, store deviceStore) {
	user, _ := register(t, store, newUser())
	for name, test := range map[string]struct{ session, want *auth.ScopeSet }{
		"no limit": {nil, auth.NewScopes("a", "b")},
		"more":     {auth.NewScopes("a", "b", "c"), auth.NewScopes("a", "b")},
		"the same": {auth.NewScopes("a", "b"), auth.NewScopes("a", "b")},
		"fewer":    {auth.NewScopes("b", "c"), auth.NewScopes("b")},
		"others":   {auth.NewScopes("c"), nil},
		"none":     {auth.NewScopes(), nil},
	} {
		session := newHostSession(user)
		session.Scopes = test.session
		session = openSession(t, store, session)
		device := startDevice(t, store)
		_, err := store.ClaimDevice(t.Context(), bySession(session, now), device.UserCodeHash)
		if test.want == nil {
			requireInsufficient(t, err, "a")
			_, err = store.ApproveDevice(t.Context(), bySession(session, now), device.UserCodeHash)
			require.ErrorIs(t, err, auth.ErrNotFound, name)
			continue
		}
		require.NoError(t, err, name)
		approved, err := store.ApproveDevice(t.Context(), bySession(session, now), device.UserCodeHash)
		require.NoError(t, err)
		require.Equal(t, test.want, approved.Scopes, name)
		opened, err := redeem(t.Context(), store, device)
		require.NoError(t, err)
		require.Equal(t, test.want, opened.Scopes, name)
		requireSessionRead(t, store, opened)
	}
}

func deadDecidesNothing(t *testing.T, store deviceStore) {
	verbs := map[string]func(context.Context, auth.Write, string) (auth.DeviceAuthorization, error){
		"claim": store.ClaimDevice, "approve": store.ApproveDevice, "deny": store.DenyDevice,
	}
	a := newAccount(t, store)
	device := startDevice(t, store)
	claimDevice(t, store, a.session, device)
	old := bySession(a.session, now.Add(time.Minute))
	old.By.MaxAge = time.Minute
	elsewhere := newHostSession(a.user)
	elsewhere.Audience = "https://reports.example.com"
	delegated := bySession(a.session, now)
	delegated.By.Actor = "service"
	limited := bySession(openSession(t, store, newHostSession(a.user)), now)
	limited.By.SessionID = unique("none")
	for name, test := range map[string]struct {
		write auth.Write
		want  error
	}{
		"too old":              {old, auth.ErrSessionTooOld},
		"for another audience": {bySession(openSession(t, store, elsewhere), now), auth.ErrTokenRejected},
		"delegated":            {delegated, auth.ErrDelegated},
		"unknown":              {limited, auth.ErrTokenRejected},
	} {
		for verb, call := range verbs {
			_, err := call(t.Context(), test.write, device.UserCodeHash)
			require.ErrorIs(t, err, test.want, "%s: %s", name, verb)
		}
	}
	for _, e := range endingsOf(store) {
		if e.demotes {
			continue
		}
		a, device := e.newActor(t, store), startDevice(t, store)
		claimDevice(t, store, a.session, device)
		require.NoError(t, e.end(t.Context(), store, byHost(now), a), e.name)
		for verb, call := range verbs {
			_, err := call(t.Context(), bySession(a.session, now), device.UserCodeHash)
			require.ErrorIs(t, err, auth.ErrTokenRejected, "%s: %s", e.name, verb)
		}
		require.ErrorIs(t, store.PollDevice(t.Context(), device.CodeHash, now), auth.ErrDevicePending)
	}
}

func deviceApprovesNone(t *testing.T, store deviceStore) {
	a := newAccount(t, store)
	opened, err := redeem(t.Context(), store, approveDevice(t, store, a.session))
	require.NoError(t, err)
	device := startDevice(t, store)
	_, err = store.ClaimDevice(t.Context(), bySession(opened, now), device.UserCodeHash)
	requireInsufficient(t, err, "")
	claimDevice(t, store, a.session, device) // the refused claim has not claimed it
}

func serviceApprovesNone(t *testing.T, store deviceStore) {
	a, device := newAccountOf(t, store, newService()), startDevice(t, store)
	_, err := store.ClaimDevice(t.Context(), bySession(a.session, now), device.UserCodeHash)
	require.ErrorIs(t, err, auth.ErrServiceUser)
	claimDevice(t, store, newAccount(t, store).session, device)
}

func devicesPruned(t *testing.T, store deviceStore) {
	prune := func(expired time.Time, limit, want int) {
		t.Helper()
		n, err := store.PruneDevices(t.Context(), expired, limit)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	a := newAccount(t, store)
	end := newDevice().ExpiresAt
	for range 3 {
		startDevice(t, store)
	}
	approved := approveDevice(t, store, a.session)
	later := newDevice()
	later.ExpiresAt = end.Add(time.Microsecond)
	require.NoError(t, store.CreateDevice(t.Context(), later))

	prune(end.Add(-time.Microsecond), math.MaxInt32, 0)
	prune(end, 0, 0)
	prune(end, -1, 0)
	prune(end, 1, 1)
	prune(end, math.MaxInt32, 3)
	prune(end, math.MaxInt32, 0)
	require.ErrorIs(t, store.PollDevice(t.Context(), approved.CodeHash, now), auth.ErrNotFound)
	requireNotRedeemed(t, store, approved, auth.ErrNotFound)
	require.ErrorIs(t, store.PollDevice(t.Context(), later.CodeHash, now), auth.ErrDevicePending)
	approved.SessionID, approved.UserID, approved.ApprovedAt = "", "", time.Time{}
	require.NoError(t, store.CreateDevice(t.Context(), approved), "its codes are free again")
	a.requireUnchanged(t, store)
}
