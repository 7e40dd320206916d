package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// devices contains the devices that wait for an approval, or for the redemption of one.
type devices struct {
	byCode     map[string]*device      // by the hash of the device code
	byUserCode map[string]*device      // by the hash of the user code
	approvedBy map[string]set[*device] // by the ID of the session
	byExpiry   queue[*device]
}

// device is the record of a device, with its entry in the queue of devices.
type device struct {
	record auth.DeviceAuthorization
	expiry *expiry[*device]
}

func newDevices() devices {
	return devices{byCode: make(map[string]*device), byUserCode: make(map[string]*device),
		approvedBy: make(map[string]set[*device])}
}

// remove removes the device from every index.
func (d *devices) remove(old *device) {
	d.byExpiry.remove(old.expiry)
	delete(d.byCode, old.record.CodeHash)
	delete(d.byUserCode, old.record.UserCodeHash)
	sessionID := old.record.SessionID
	if delete(d.approvedBy[sessionID], old); len(d.approvedBy[sessionID]) == 0 {
		delete(d.approvedBy, sessionID)
	}
}

// addApproved adds an approved device to the index of the sessions.
func (d *devices) addApproved(approved *device) {
	sessionID := approved.record.SessionID
	if d.approvedBy[sessionID] == nil {
		d.approvedBy[sessionID] = make(set[*device])
	}
	d.approvedBy[sessionID].add(approved)
}

// removeApproved removes the devices that the session has approved.
func (d *devices) removeApproved(sessionID string) {
	for approved := range d.approvedBy[sessionID] {
		d.remove(approved)
	}
}

// CreateDevice implements [auth.DeviceStore].
func (s *accounts) CreateDevice(ctx context.Context, record auth.DeviceAuthorization) error {
	if err := check(ctx, record); err != nil {
		return err
	}
	record.CreatedAt, record.ExpiresAt = storedTime(record.CreatedAt), storedTime(record.ExpiresAt)
	record.Interval = record.Interval.Truncate(time.Microsecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices.byCode[record.CodeHash] != nil || s.devices.byUserCode[record.UserCodeHash] != nil {
		return fmt.Errorf("memstore: code of a device: %w", auth.ErrExists)
	}
	added := &device{record: record}
	added.expiry = s.devices.byExpiry.add(added, record.ExpiresAt)
	s.devices.byCode[record.CodeHash] = added
	s.devices.byUserCode[record.UserCodeHash] = added
	return nil
}

// ClaimDevice implements [auth.DeviceStore].
func (s *accounts) ClaimDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	w.Event = auth.Event{}
	return s.decideDevice(ctx, w, userCodeHash, func(
		d auth.DeviceAuthorization, acting storekit.Acting,
	) (auth.DeviceAuthorization, error) {
		claimant := s.acting(auth.Write{By: auth.Authority{UserID: d.UserID, SessionID: d.SessionID}})
		claimant.Now = acting.Now
		return storekit.ClaimDevice(d, acting, claimant.Check() == nil)
	})
}

// ApproveDevice implements [auth.DeviceStore].
func (s *accounts) ApproveDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	return s.decideDevice(ctx, w, userCodeHash, storekit.ApproveDevice)
}

// DenyDevice implements [auth.DeviceStore].
func (s *accounts) DenyDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	return s.decideDevice(ctx, w, userCodeHash, storekit.DenyDevice)
}

// decideDevice stores the record that the function decide returns for the session of the authority.
func (s *accounts) decideDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
	decide func(auth.DeviceAuthorization, storekit.Acting) (auth.DeviceAuthorization, error),
) (auth.DeviceAuthorization, error) {
	if err := check(ctx, bySession{w}); err != nil {
		return auth.DeviceAuthorization{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, w.By.UserID)
	if err != nil {
		return auth.DeviceAuthorization{}, err
	}
	found := s.devices.byUserCode[userCodeHash]
	if found == nil {
		return auth.DeviceAuthorization{}, fmt.Errorf("memstore: device: %w", auth.ErrNotFound)
	}
	acting := s.acting(w)
	acting.Now = now
	decided, err := decide(found.record, acting)
	if err != nil {
		return auth.DeviceAuthorization{}, fmt.Errorf("memstore: device: %w", err)
	}
	if found.record = decided; !decided.ApprovedAt.IsZero() {
		s.devices.addApproved(found)
	}
	w.Event = storekit.DeviceEvent(w.Event, decided)
	s.addEvent(w, now, subject{userID: w.By.UserID})
	return decided, nil
}

// PollDevice implements [auth.DeviceStore].
func (s *accounts) PollDevice(ctx context.Context, codeHash string, now time.Time) error {
	if err := check(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.devices.byCode[codeHash]
	if found == nil {
		return fmt.Errorf("memstore: device: %w", auth.ErrNotFound)
	}
	var err error
	if found.record, err = storekit.PollDevice(found.record, storedTime(now)); err != nil {
		return fmt.Errorf("memstore: device: %w", err)
	}
	return nil
}

// RedeemDevice implements [auth.DeviceStore].
func (s *accounts) RedeemDevice(
	ctx context.Context, w auth.Write, codeHash string, record auth.Session, limit int,
) (auth.Session, auth.User, error) {
	if err := check(ctx, w); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	added, err := s.sessionOfDevice(w, codeHash, record)
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	s.devices.remove(s.devices.byCode[codeHash])
	s.revokeOldest(added, limit, record.ExpiresAt)
	s.addSession(added)
	return added.record, added.owner.record, nil
}

// sessionOfDevice returns the session that an approved device gets. It changes nothing. The caller holds the
// lock.
func (s *accounts) sessionOfDevice(w auth.Write, codeHash string, record auth.Session) (*session, error) {
	found := s.devices.byCode[codeHash]
	if found == nil || found.record.SessionID == "" {
		return nil, fmt.Errorf("memstore: device: %w", auth.ErrNotFound)
	}
	w.By = auth.Authority{SessionID: found.record.SessionID, UserID: found.record.UserID}
	now, err := s.authorize(w, found.record.UserID)
	if err != nil {
		return nil, err
	}
	approving := s.acting(w)
	approving.Now = now
	record, err = storekit.RedeemDevice(found.record, approving, record)
	if err == nil {
		err = record.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("memstore: device: %w", err)
	}
	return s.newSession(s.sessions[w.By.SessionID].owner, record)
}

// PruneDevices implements [auth.DeviceStore].
func (s *accounts) PruneDevices(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.devices.byExpiry.prune(expired, limit, s.devices.remove), nil
}
