package storekit

import (
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/devicecode"
)

// ClaimDevice returns the record after the session has claimed it. A store calls it in
// [auth.DeviceStore.ClaimDevice], after [Acting.Check], and after it has locked the record.
//
// The claimantLives argument says whether the session that has claimed the record is in the store, has not
// expired, and is not revoked. The store must find this out only if the record has the UserID of the session
// and another SessionID. If the session that has claimed the record is not live, another session of its user
// can claim the record. So a person whose session has become too old to approve can sign out and sign in
// again. While it is live, no other session can take the claim from it.
//
// ClaimDevice returns ErrNotFound if the codes have expired, if another session has claimed the record, or if
// somebody has decided. A person cannot tell these cases from a wrong code. It returns ErrServiceUser if the
// user is a service user, and an *[auth.InsufficientScopeError] if the session is that of a device, or if it
// has none of the scopes.
func ClaimDevice(
	device auth.DeviceAuthorization, acting Acting, claimantLives bool,
) (auth.DeviceAuthorization, error) {
	session := acting.Session
	if device.SessionID == "" || device.UserID == session.UserID && !claimantLives {
		device.SessionID, device.UserID = session.ID, session.UserID
	}
	if err := checkDecision(device, acting); err != nil {
		return device, err
	}
	_, err := grantedToDevice(device, acting)
	return device, err
}

// ApproveDevice returns the record after the session has approved it. Its Scopes are those that the session
// has, too. A store calls it in [auth.DeviceStore.ApproveDevice], as it calls [ClaimDevice] in ClaimDevice.
//
// ApproveDevice returns ErrNotFound if the session has not claimed the record, and the errors of ClaimDevice.
func ApproveDevice(device auth.DeviceAuthorization, acting Acting) (auth.DeviceAuthorization, error) {
	if err := checkDecision(device, acting); err != nil {
		return device, err
	}
	granted, err := grantedToDevice(device, acting)
	if err != nil {
		return device, err
	}
	device.Scopes, device.ApprovedAt = granted, acting.Now
	return device, nil
}

// DenyDevice returns the record after the session has denied it. A store calls it in
// [auth.DeviceStore.DenyDevice], as it calls [ApproveDevice] in ApproveDevice. DenyDevice returns ErrNotFound
// in the same cases as ApproveDevice.
func DenyDevice(device auth.DeviceAuthorization, acting Acting) (auth.DeviceAuthorization, error) {
	if err := checkDecision(device, acting); err != nil {
		return device, err
	}
	device.DeniedAt = acting.Now
	return device, nil
}

// DeviceEvent returns the event of a decision about a device, with a Reason that names the program and the
// scopes. A store calls it in [auth.DeviceStore.ApproveDevice] and DenyDevice, with the Event of the Write
// and the record after the decision.
func DeviceEvent(event auth.Event, device auth.DeviceAuthorization) auth.Event {
	event.Reason = devicecode.EventReason(device.ClientID, device.Scopes.List())
	return event
}

// checkDecision returns ErrNotFound unless the session can decide about the device now.
func checkDecision(device auth.DeviceAuthorization, acting Acting) error {
	if !isLive(device, acting.Now) || device.SessionID != acting.Session.ID ||
		device.UserID != acting.Session.UserID || !device.ApprovedAt.IsZero() || !device.DeniedAt.IsZero() {
		return auth.ErrNotFound
	}
	return nil
}

// isLive reports whether the codes work at the given time.
func isLive(device auth.DeviceAuthorization, now time.Time) bool {
	return devicecode.IsLive(device.CreatedAt, device.ExpiresAt, now)
}

// grantedToDevice returns the scopes that the session can give to the device: the scopes that both have.
func grantedToDevice(device auth.DeviceAuthorization, acting Acting) (*auth.ScopeSet, error) {
	switch {
	case acting.User.IsService:
		return nil, auth.ErrServiceUser
	case acting.Session.Method == auth.MethodDevice:
		return nil, &auth.InsufficientScopeError{}
	}
	wanted := device.Scopes.List()
	granted := slices.DeleteFunc(slices.Clone(wanted), func(name string) bool {
		return !acting.Session.Scopes.Allows(name)
	})
	if len(granted) == 0 && len(wanted) > 0 {
		return nil, &auth.InsufficientScopeError{Scope: wanted[0]}
	}
	return auth.NewScopes(granted...), nil
}

// PollDevice returns the record after a poll, and the answer to the poll: ErrDeviceExpired, ErrDeviceDenied,
// ErrDeviceSlowDown or ErrDevicePending. The answer is nil if the device is approved. A store calls it in
// [auth.DeviceStore.PollDevice], after it has locked the record. Only PolledAt and Interval of the returned
// record differ.
func PollDevice(device auth.DeviceAuthorization, now time.Time) (auth.DeviceAuthorization, error) {
	switch {
	case !isLive(device, now):
		return device, auth.ErrDeviceExpired
	case !device.DeniedAt.IsZero():
		return device, auth.ErrDeviceDenied
	case !device.ApprovedAt.IsZero():
		return device, nil
	}
	interval, tooSoon := devicecode.NextPoll(device.PolledAt, device.Interval, now)
	device.PolledAt, device.Interval = now, interval
	if tooSoon {
		return device, auth.ErrDeviceSlowDown
	}
	return device, auth.ErrDevicePending
}

// RedeemDevice returns the session that the device gets: the given session with the user and the Scopes of
// the record, [auth.MethodDevice], and without an Audience. The approving argument is about the session that
// has approved the device: its By has the SessionID and the UserID of the record, and nothing else. A store
// calls RedeemDevice in [auth.DeviceStore.RedeemDevice], after [Acting.Check] of approving, and after it has
// locked the record.
//
// If an access key opened the approving session, the session of the device has the same AccessKeyID. So it
// ends with the key, and a revocation of the key revokes it. RedeemDevice returns ErrNotFound if the device
// is not approved, if its codes have expired, or if another session has approved it.
func RedeemDevice(
	device auth.DeviceAuthorization, approving Acting, session auth.Session,
) (auth.Session, error) {
	if !isLive(device, approving.Now) || device.ApprovedAt.IsZero() || !device.DeniedAt.IsZero() ||
		device.SessionID != approving.Session.ID || device.UserID != approving.Session.UserID ||
		!device.Scopes.Within(approving.Session.Scopes) {
		return session, auth.ErrNotFound
	}
	session.UserID, session.Method, session.Scopes = device.UserID, auth.MethodDevice, device.Scopes
	session.AccessKeyID, session.Audience = approving.Session.AccessKeyID, ""
	return session, nil
}
