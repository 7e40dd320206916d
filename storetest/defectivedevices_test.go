package storetest_test

import (
	"context"
	"errors"
	"sync"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// trustingDevices is a store that opens the session of an approved device although the approving session was
// revoked.
type trustingDevices struct {
	*memstore.Store
	mu       sync.Mutex
	approved map[string]auth.DeviceAuthorization // by the hash of the device code
}

func trustsApprovals() auth.Store {
	return &trustingDevices{Store: memstore.New(), approved: map[string]auth.DeviceAuthorization{}}
}

func (s *trustingDevices) ApproveDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	device, err := s.Store.ApproveDevice(ctx, w, userCodeHash)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.approved[device.CodeHash] = device
	}
	return device, err
}

func (s *trustingDevices) RedeemDevice(
	ctx context.Context, w auth.Write, codeHash string, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	opened, user, err := s.Store.RedeemDevice(ctx, w, codeHash, session, limit)
	if !errors.Is(err, auth.ErrTokenRejected) {
		return opened, user, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	session.UserID, session.Scopes = s.approved[codeHash].UserID, s.approved[codeHash].Scopes
	return s.Store.CreateSession(ctx, session, limit)
}

// hastyDevices is a store that creates the session of a device in a transaction of its own, before it removes
// the device. So several concurrent redemptions can succeed.
type hastyDevices struct{ trustingDevices }

func redeemsInTwoSteps() auth.Store {
	return &hastyDevices{trustingDevices{Store: memstore.New(),
		approved: map[string]auth.DeviceAuthorization{}}}
}

func (s *hastyDevices) RedeemDevice(
	ctx context.Context, w auth.Write, codeHash string, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	s.mu.Lock()
	device, found := s.approved[codeHash]
	s.mu.Unlock()
	if !found {
		return s.Store.RedeemDevice(ctx, w, codeHash, session, limit)
	}
	session.UserID, session.Scopes = device.UserID, device.Scopes
	opened, user, err := s.Store.CreateSession(ctx, session, limit)
	if err != nil {
		return opened, user, err
	}
	s.mu.Lock()
	delete(s.approved, codeHash)
	s.mu.Unlock()
	session.ID += "-2"
	_, _, err = s.Store.RedeemDevice(ctx, w, codeHash, session, limit)
	if errors.Is(err, auth.ErrNotFound) { // another call has removed the device
		err = nil
	}
	return opened, user, err
}

// lastDecisionWins is a store in which a session can change its decision about a device.
type lastDecisionWins struct{ *memstore.Store }

func (s lastDecisionWins) DenyDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	device, err := s.Store.DenyDevice(ctx, w, userCodeHash)
	if errors.Is(err, auth.ErrNotFound) {
		return device, nil
	}
	return device, err
}

// keepsApprovals is a store in which a session can revoke the other sessions one by one, and its approvals
// stay.
type keepsApprovals struct{ *memstore.Store }

func (s keepsApprovals) RevokeOtherSessions(ctx context.Context, w auth.Write) (live int, err error) {
	sessions, err := s.ListSessions(ctx, w.By.UserID, w.Now())
	for _, session := range sessions {
		if err == nil && session.ID != w.By.SessionID {
			err = s.RevokeSession(ctx, w, session.ID)
			live++
		}
	}
	return live, err
}
