package auth

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport-go/auth/internal/devicecode"
	"github.com/sallyport-go/auth/internal/wire"
)

// These errors answer a device that asks for its token (RFC 8628, section 3.5).
var (
	// ErrDevicePending means that nobody has approved or denied the device yet.
	ErrDevicePending error = &wire.RequestError{Status: http.StatusBadRequest,
		Detail: "Nobody has decided about this device yet: ask again later"}

	// ErrDeviceSlowDown means that the device asks too often. The device must wait five seconds longer
	// between two attempts from now on.
	ErrDeviceSlowDown error = &wire.RequestError{Status: http.StatusBadRequest,
		Detail: "The device asks too often: wait five seconds longer each time"}

	// ErrDeviceDenied means that a person has denied the device.
	ErrDeviceDenied error = &wire.RequestError{Status: http.StatusBadRequest,
		Detail: "The person has denied this device"}

	// ErrDeviceExpired means that the codes of the device have expired.
	ErrDeviceExpired error = &wire.RequestError{Status: http.StatusBadRequest,
		Detail: "The codes of this device have expired: begin again"}
)

// DeviceAuthorization is the record of a device that waits until a person approves it in a browser: see
// [Service.StartDevice]. A store keeps only hashes of its two codes.
type DeviceAuthorization struct {
	// CodeHash is the hash of the device code, and UserCodeHash is the hash of the user code. No two records
	// have the same CodeHash or the same UserCodeHash. Each hash has at most [MaxIDLength] bytes.
	CodeHash     string
	UserCodeHash string

	ClientID string // the program on the device; at most [MaxIDLength] bytes

	// Scopes are the scopes that the device gets. Until the approval, they are the requested ones. It is
	// never nil, so a session of a device always has a limit.
	Scopes *ScopeSet

	// Address and UserAgent describe the client that started the authorization, as in [Session].
	Address   string
	UserAgent string

	CreatedAt time.Time
	ExpiresAt time.Time // the codes work until then; at most an hour after CreatedAt

	// Interval is the least time between two polls, and PolledAt is the time of the last poll, or zero.
	Interval time.Duration
	PolledAt time.Time

	// SessionID is the session that claimed the user code, and UserID is the user of this session. Both are
	// empty if no session has claimed the code. Only this session can decide about the device.
	SessionID string
	UserID    string

	ApprovedAt time.Time // zero if the device is not approved
	DeniedAt   time.Time // zero if the device is not denied
}

// DeviceStore has the methods of a store for the device authorization grant (RFC 8628). It is not part of
// [Store]: a [Service] can serve the grant if its store also has these methods. See [AccountStore] for the
// rules that all methods follow. A store that locks records locks a DeviceAuthorization after the record of
// the user and before keys.
type DeviceStore interface {
	// CreateDevice adds a record. It returns ErrExists if one of its hashes is taken.
	CreateDevice(ctx context.Context, device DeviceAuthorization) error

	// ClaimDevice lets the session of the Write's authority claim the record with this hash of a user code.
	// It stores and returns the record that [DeviceAuthorization.ClaimedBy] returns, and no event. Of the
	// concurrent calls of sessions of several users, only those of one user succeed. The session that has
	// claimed the record can claim it again.
	//
	// ClaimDevice returns ErrNotFound if there is no such record, ErrInvalid if the authority has a Host, and
	// the errors of ClaimedBy.
	ClaimDevice(ctx context.Context, w Write, userCodeHash string) (DeviceAuthorization, error)

	// ApproveDevice stores and returns the record that [DeviceAuthorization.ApprovedBy] returns for the
	// session of the Write's authority, and stores the Event of the Write. The event is about the user of the
	// session. Of the concurrent calls of ApproveDevice and DenyDevice, only one succeeds.
	//
	// It returns ErrNotFound if there is no such record, ErrInvalid if the authority has a Host, and the
	// errors of ApprovedBy.
	ApproveDevice(ctx context.Context, w Write, userCodeHash string) (DeviceAuthorization, error)

	// DenyDevice does the same as ApproveDevice with [DeviceAuthorization.DeniedBy].
	DenyDevice(ctx context.Context, w Write, userCodeHash string) (DeviceAuthorization, error)

	// PollDevice stores the record that [DeviceAuthorization.PolledAgain] returns, and returns the error of
	// PolledAgain. The change is also stored if there is an error. PollDevice returns ErrNotFound if there is
	// no record with this hash of a device code. If the device is approved, PollDevice changes nothing and
	// returns nil, and the caller calls RedeemDevice.
	PollDevice(ctx context.Context, codeHash string, now time.Time) error

	// RedeemDevice removes an approved record and creates the session that [DeviceAuthorization.Redeemed]
	// returns, as CreateSession does. Of several calls for one record, only one succeeds.
	//
	// RedeemDevice checks the authority of the session that has approved the device in place of the Write's
	// authority: its SessionID and UserID are those of the record, and nothing else is set. So the session
	// must still be live, and its user active. RedeemDevice locks the records of the user and of the key as
	// CreateSession does. So after a method that revokes the approving session has returned, the device gets
	// no session. It stores no event.
	//
	// RedeemDevice returns ErrNotFound if there is no such record, the errors of the check of the authority,
	// the errors of Redeemed, and those of CreateSession. If it returns an error, the record stays.
	RedeemDevice(ctx context.Context, w Write, codeHash string, session Session, limit int) (
		Session, User, error)

	// PruneDevices removes at most limit records that had expired at the given time. It returns the number
	// of removed records, as PruneKeys does.
	PruneDevices(ctx context.Context, expired time.Time, limit int) (int, error)
}

// maxDeviceLifetime limits ExpiresAt of a [DeviceAuthorization].
const maxDeviceLifetime = time.Hour

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields are valid. A
// store calls Validate before it writes a new record.
func (d DeviceAuthorization) Validate() error {
	err := cmp.Or(
		checkID("device_code", d.CodeHash, MaxIDLength),
		checkID("user_code", d.UserCodeHash, MaxIDLength),
		checkID("client_id", d.ClientID, MaxIDLength),
		checkText("ip", d.Address, maxAddressLength),
		checkText("user_agent", d.UserAgent, maxUserAgentLength),
		checkTime("created_at", d.CreatedAt),
		checkTime("expires_at", d.ExpiresAt),
		d.Scopes.validateForKey(),
	)
	lifetime := d.ExpiresAt.Sub(d.CreatedAt)
	switch {
	case err != nil:
		return err
	case d.Scopes == nil:
		return invalidf("scopes", "is required")
	case lifetime <= 0 || lifetime > maxDeviceLifetime:
		return invalidf("expires_at", "must be after created_at, by at most an hour")
	case d.Interval <= 0 || d.Interval > maxDeviceLifetime:
		return invalidf("interval", "must be positive, and at most an hour")
	case d.PolledAt != time.Time{} || d.SessionID != "" || d.UserID != "" ||
		d.ApprovedAt != time.Time{} || d.DeniedAt != time.Time{}:
		return invalidf("device_code", "must be new: nobody has polled, claimed or decided")
	}
	return nil
}

// isLive reports whether the codes work at the given time.
func (d DeviceAuthorization) isLive(now time.Time) bool {
	return devicecode.IsLive(d.CreatedAt, d.ExpiresAt, now)
}

// ClaimedBy returns the record after the session has claimed it. A store calls it in
// [DeviceStore.ClaimDevice], after it has checked the authority and locked the record. The user argument is
// the user of the session. A store that keeps no users passes User{ID: session.UserID}.
//
// The claimantLives argument says whether the session that has claimed the record is in the store, has not
// expired, and is not revoked. The store must find this out only if the record has the UserID of the session
// and another SessionID. If the session that has claimed the record is not live, another session of its user
// can claim the record. So a person whose session has become too old to approve can sign out and sign in
// again. While it is live, no other session can take the claim from it.
//
// ClaimedBy returns ErrNotFound if the codes have expired, if another session has claimed the record, or if
// somebody has decided. A person cannot tell these cases from a wrong code. It returns ErrServiceUser if the
// user is a service user, and an *[InsufficientScopeError] if the session is that of a device, or if it has
// none of the scopes.
func (d DeviceAuthorization) ClaimedBy(session Session, user User, claimantLives bool, now time.Time) (
	DeviceAuthorization, error) {
	if d.SessionID == "" || d.UserID == session.UserID && !claimantLives {
		d.SessionID, d.UserID = session.ID, session.UserID
	}
	if err := d.checkDecision(session, now); err != nil {
		return d, err
	}
	_, err := d.grantedBy(session, user)
	return d, err
}

// checkDecision returns ErrNotFound unless the session can decide about the device now.
func (d DeviceAuthorization) checkDecision(session Session, now time.Time) error {
	if !d.isLive(now) || d.SessionID != session.ID || d.UserID != session.UserID ||
		!d.ApprovedAt.IsZero() || !d.DeniedAt.IsZero() {
		return ErrNotFound
	}
	return nil
}

// grantedBy returns the scopes that the session can give to the device: the scopes that both have.
func (d DeviceAuthorization) grantedBy(session Session, user User) (*ScopeSet, error) {
	switch {
	case user.IsService:
		return nil, ErrServiceUser
	case session.Method == MethodDevice:
		return nil, &InsufficientScopeError{}
	}
	wanted := d.Scopes.List()
	granted := slices.DeleteFunc(slices.Clone(wanted), func(name string) bool {
		return !session.Scopes.Allows(name)
	})
	if len(granted) == 0 && len(wanted) > 0 {
		return nil, &InsufficientScopeError{Scope: wanted[0]}
	}
	return NewScopes(granted...), nil
}

// ApprovedBy returns the record after the session has approved it. Its Scopes are those that the session has,
// too. A store calls it in [DeviceStore.ApproveDevice], as it calls ClaimedBy in ClaimDevice. ApprovedBy
// returns ErrNotFound if the session has not claimed the record, and the errors of
// [DeviceAuthorization.ClaimedBy].
func (d DeviceAuthorization) ApprovedBy(session Session, user User, now time.Time) (
	DeviceAuthorization, error) {
	if err := d.checkDecision(session, now); err != nil {
		return d, err
	}
	granted, err := d.grantedBy(session, user)
	if err != nil {
		return d, err
	}
	d.Scopes, d.ApprovedAt = granted, now
	return d, nil
}

// DeniedBy returns the record after the session has denied it. A store calls it in [DeviceStore.DenyDevice],
// as it calls ApprovedBy in ApproveDevice. DeniedBy returns ErrNotFound in the same cases as ApprovedBy.
func (d DeviceAuthorization) DeniedBy(session Session, now time.Time) (DeviceAuthorization, error) {
	if err := d.checkDecision(session, now); err != nil {
		return d, err
	}
	d.DeniedAt = now
	return d, nil
}

// PolledAgain returns the record after a poll, and the answer to the poll: ErrDeviceExpired, ErrDeviceDenied,
// ErrDeviceSlowDown or ErrDevicePending. The answer is nil if the device is approved. A store calls it in
// [DeviceStore.PollDevice], after it has locked the record. Only PolledAt and Interval of the returned record
// differ.
func (d DeviceAuthorization) PolledAgain(now time.Time) (DeviceAuthorization, error) {
	switch {
	case !d.isLive(now):
		return d, ErrDeviceExpired
	case !d.DeniedAt.IsZero():
		return d, ErrDeviceDenied
	case !d.ApprovedAt.IsZero():
		return d, nil
	}
	interval, tooSoon := devicecode.NextPoll(d.PolledAt, d.Interval, now)
	d.PolledAt, d.Interval = now, interval
	if tooSoon {
		return d, ErrDeviceSlowDown
	}
	return d, ErrDevicePending
}

// Redeemed returns the session that the device gets: the given session with the user and the Scopes of the
// record, [MethodDevice], and without an Audience. A store calls it in [DeviceStore.RedeemDevice], after it
// has checked the authority of the approving session and locked the record.
//
// If an access key opened the approving session, the session of the device has the same AccessKeyID. So it
// ends with the key, and a revocation of the key revokes it. Redeemed returns ErrNotFound if the device is
// not approved, if its codes have expired, or if another session has approved it.
func (d DeviceAuthorization) Redeemed(approving, session Session, now time.Time) (Session, error) {
	if !d.isLive(now) || d.ApprovedAt.IsZero() || !d.DeniedAt.IsZero() || d.SessionID != approving.ID ||
		d.UserID != approving.UserID || !d.Scopes.Within(approving.Scopes) {
		return session, ErrNotFound
	}
	session.UserID, session.Method, session.Scopes = d.UserID, MethodDevice, d.Scopes
	session.AccessKeyID, session.Audience = approving.AccessKeyID, ""
	return session, nil
}
