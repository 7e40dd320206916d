package auth

import (
	"cmp"
	"context"
	"net/http"
	"time"

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
	// It stores and returns the record that storekit.ClaimDevice returns, and no event. Of the concurrent
	// calls of sessions of several users, only those of one user succeed. The session that has claimed the
	// record can claim it again.
	//
	// ClaimDevice returns ErrNotFound if there is no such record, ErrInvalid if the authority has a Host,
	// and the errors of storekit.ClaimDevice.
	ClaimDevice(ctx context.Context, w Write, userCodeHash string) (DeviceAuthorization, error)

	// ApproveDevice stores and returns the record that storekit.ApproveDevice returns for the session of
	// the Write's authority, and stores the Event of the Write with the Reason of storekit.DeviceEvent. The
	// event is about the user of the session. Of the concurrent calls of ApproveDevice and DenyDevice, only
	// one succeeds.
	//
	// It returns ErrNotFound if there is no such record, ErrInvalid if the authority has a Host, and the
	// errors of storekit.ApproveDevice.
	ApproveDevice(ctx context.Context, w Write, userCodeHash string) (DeviceAuthorization, error)

	// DenyDevice does the same as ApproveDevice with storekit.DenyDevice.
	DenyDevice(ctx context.Context, w Write, userCodeHash string) (DeviceAuthorization, error)

	// PollDevice stores the record that storekit.PollDevice returns, and returns its error. The change is
	// also stored if there is an error. PollDevice returns ErrNotFound if there is no record with this hash
	// of a device code. If the device is approved, PollDevice changes nothing and returns nil, and the
	// caller calls RedeemDevice.
	PollDevice(ctx context.Context, codeHash string, now time.Time) error

	// RedeemDevice removes an approved record and creates the session that storekit.RedeemDevice returns,
	// as CreateSession does. Of several calls for one record, only one succeeds.
	//
	// RedeemDevice checks the authority of the session that has approved the device in place of the Write's
	// authority: its SessionID and UserID are those of the record, and nothing else is set. So the session
	// must still be live, and its user active. RedeemDevice locks the records of the user and of the key as
	// CreateSession does. So after a method that revokes the approving session has returned, the device gets
	// no session. It stores no event.
	//
	// RedeemDevice returns ErrNotFound if there is no such record, the errors of the check of the
	// authority, the errors of storekit.RedeemDevice, and those of CreateSession. If it returns an error,
	// the record stays.
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
		d.Scopes.Validate(),
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
