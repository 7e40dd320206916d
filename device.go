package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/devicecode"
)

// DeviceCodes are the codes of a device that waits for its approval: see [Service.StartDevice].
type DeviceCodes struct {
	// DeviceCode is the code that the device keeps and passes to [Service.RedeemDevice].
	DeviceCode Secret

	// UserCode is the code that the device shows to a person, such as "WDJB-MJHT". It has eight letters.
	UserCode string

	ExpiresIn time.Duration // how long both codes work: 10 minutes
	Interval  time.Duration // the least time between two calls of RedeemDevice: 5 seconds
}

// The methods below are for a package that serves the device authorization grant (RFC 8628), such as package
// oauth. A device calls StartDevice and shows the user code. A person who has signed in at a browser types
// the code, and the page calls ClaimDevice, and then ApproveDevice or DenyDevice. Meanwhile, the device calls
// RedeemDevice until it gets a token.

// deviceMaxAge is the maximum age of a session that approves a device, unless Config.ReauthAfter is set.
const deviceMaxAge = 10 * time.Minute

// CheckDevices returns nil if the service can approve devices, and otherwise an error that says what to
// change. The store must be a [DeviceStore], [Config.BrowserSessions] must be set, because people approve
// devices in a browser, and [TokenConfig.Scopes] must be set, because a device always gets a limited session.
func (s *Service) CheckDevices() error {
	switch {
	case s.devices == nil:
		return errors.New("auth: the store must be a DeviceStore, such as those of memstore and sqlstore")
	case s.browser == nil:
		return errors.New("auth: Config.BrowserSessions must be set: people approve devices in a browser")
	case s.tokens.scopes == nil:
		return errors.New("auth: TokenConfig.Scopes must be set: a device always gets a limited session")
	}
	return nil
}

// StartDevice makes the codes of a device. The clientID argument names the program on the device. The caller
// must know the program, and the scopes must be within those of the program. The scopes must not be nil. Put
// the client address into ctx with [Service.ClientContext] or [WithClientInfo].
//
// StartDevice returns an *[InvalidError] if the client ID or a scope is not valid, and a *[ThrottledError] if
// the client address asks for too many codes: 30 a minute, and 300 an hour. It also returns a
// *[ThrottledError] if all addresses of an IPv6 network of 48 bits ask for five times as many, or if all
// clients together ask for too many, so that they cannot fill the store: docs/throttling.md has the limits.
// [Stats.DevicesRefused] counts the errors for all clients together.
func (s *Service) StartDevice(ctx context.Context, clientID string, scopes *ScopeSet) (DeviceCodes, error) {
	if err := cmp.Or(s.CheckDevices(), s.tokens.checkScopes(scopes)); err != nil {
		return DeviceCodes{}, err
	}
	client := clientOf(ctx)
	err := s.throttle.CountAttempt(ctx, client.throttleClient())
	if err == nil {
		err = s.throttle.CountDeviceStart(ctx, client.throttleClient())
	}
	if err != nil {
		return DeviceCodes{}, asThrottled(err)
	}
	now := s.now()
	device := DeviceAuthorization{
		ClientID: clientID, Scopes: scopes, Address: client.address(), UserAgent: client.UserAgent,
		CreatedAt: now, ExpiresAt: now.Add(devicecode.Lifetime), Interval: devicecode.Interval,
	}
	const attempts = 3 // if two user codes are equal, a third is very unlikely to be, too
	for range attempts {
		code, userCode := devicecode.New(), devicecode.NewUserCode()
		device.CodeHash = devicecode.Hash(s.tokens.Issuer(), clientID, code)
		device.UserCodeHash = devicecode.HashUserCode(s.tokens.Issuer(), userCode)
		if err = s.devices.CreateDevice(ctx, device); err == nil {
			return DeviceCodes{DeviceCode: NewSecret(code), UserCode: devicecode.Format(userCode),
				ExpiresIn: devicecode.Lifetime, Interval: devicecode.Interval}, nil
		}
		if !errors.Is(err, ErrExists) {
			break
		}
	}
	return DeviceCodes{}, fmt.Errorf("auth: creating the codes of a device: %w", err)
}

// ClaimDevice returns the device with the user code that a person has typed. From then on, only the session
// of the authority can decide about the device. After this session has been revoked or has expired, another
// session of the same user can claim the device. So a person whose session has become too old to approve can
// sign out and sign in again. Upper and lower case, spaces and hyphens in the code make no difference. Show
// the person the program, the scopes, and when and from which address the device began.
//
// Each call is an attempt to guess a code, and counts for the user of the session: at most 10 a minute and 50
// an hour. Beyond that, ClaimDevice returns a *[ThrottledError], and also if all users together have made too
// many attempts. The first 5 attempts of each user in an hour have a budget of their own, so users who guess
// all the time do not stop the others (docs/throttling.md).
//
// ClaimDevice returns ErrNotFound if the code is wrong, has expired or was used, or if a session of another
// user, or another live session of this user, has claimed the device. It returns ErrSessionTooOld if the
// session is older than Config.ReauthAfter, or than ten minutes if ReauthAfter is not set. It returns
// ErrServiceUser if the user is a service user, and an *[InsufficientScopeError] if the session is that of a
// device or has none of the scopes. It also returns the errors of an [Authority].
func (s *Service) ClaimDevice(ctx context.Context, by Authority, userCode string) (
	DeviceAuthorization, error) {
	if err := s.checkDecider(ctx, by); err != nil {
		return DeviceAuthorization{}, err
	}
	if err := s.throttle.CountDeviceGuess(ctx, by.UserID); err != nil {
		s.events.emit(ctx, Event{Kind: eventkind.SignInThrottled, Method: MethodDevice, UserID: by.UserID,
			ActorID: by.UserID, SessionID: by.SessionID, Reason: "too many user codes"})
		return DeviceAuthorization{}, asThrottled(err)
	}
	return s.decideDevice(ctx, s.recently(by), Event{}, userCode, s.devices.ClaimDevice)
}

// ApproveDevice lets the device with the user code have a session of the user of the authority, with those of
// the device's scopes that the session of the authority has. The session must have claimed the device with
// [Service.ClaimDevice], and must be recent, as for ClaimDevice. ApproveDevice emits an
// [eventkind.DeviceApproved], and returns the device.
//
// It returns ErrNotFound if the session has not claimed the device, if the code has expired, or if somebody
// has decided already. It also returns the other errors of ClaimDevice.
func (s *Service) ApproveDevice(ctx context.Context, by Authority, userCode string) (
	DeviceAuthorization, error) {
	if err := s.checkDecider(ctx, by); err != nil {
		return DeviceAuthorization{}, err
	}
	e := Event{Kind: eventkind.DeviceApproved, UserID: by.UserID}
	return s.decideDevice(ctx, s.recently(by), e, userCode, s.devices.ApproveDevice)
}

// DenyDevice refuses the device with the user code. It is like [Service.ApproveDevice], but a session of any
// age can deny a device. It emits an [eventkind.DeviceDenied].
func (s *Service) DenyDevice(ctx context.Context, by Authority, userCode string) (
	DeviceAuthorization, error) {
	if err := s.checkDecider(ctx, by); err != nil {
		return DeviceAuthorization{}, err
	}
	e := Event{Kind: eventkind.DeviceDenied, UserID: by.UserID}
	return s.decideDevice(ctx, by, e, userCode, s.devices.DenyDevice)
}

// checkDecider returns an error unless the authority is that of a session.
func (s *Service) checkDecider(ctx context.Context, by Authority) error {
	if err := cmp.Or(s.CheckDevices(), s.tokens.checkAuthority(ctx, by)); err != nil {
		return err
	}
	return by.requireSession()
}

// recently returns the authority with the maximum age of a session that may approve a device.
func (s *Service) recently(by Authority) Authority {
	by.MaxAge = cmp.Or(by.MaxAge, s.reauthAfter, deviceMaxAge)
	return by
}

// decideDevice calls a method of the store for the device with the user code.
func (s *Service) decideDevice(
	ctx context.Context, by Authority, e Event, userCode string,
	decide func(context.Context, Write, string) (DeviceAuthorization, error),
) (DeviceAuthorization, error) {
	normal, ok := devicecode.Normalize(userCode)
	if !ok {
		return DeviceAuthorization{}, fmt.Errorf("auth: this is no user code: %w", ErrNotFound)
	}
	c := s.tokens.newChange(ctx, by, e)
	c.write.By.Scope = by.Scope // a limited session needs no scope: it gives only scopes that it has
	device, err := decide(ctx, c.write, devicecode.HashUserCode(s.tokens.Issuer(), normal))
	if err != nil {
		return DeviceAuthorization{}, fmt.Errorf("auth: deciding about a device: %w", err)
	}
	c.event.Reason = devicecode.EventReason(device.ClientID, device.Scopes.List()) // as the store did
	c.recordEvent(ctx)
	return device, nil
}

// RedeemDevice returns the token of a device after a person has approved it. A device calls it again and
// again, with the pauses of [DeviceCodes].
//
// RedeemDevice returns ErrDevicePending until a person has decided, ErrDeviceSlowDown if the device calls too
// often, ErrDeviceDenied if the person has denied the device, and ErrDeviceExpired after the codes have
// expired. It returns ErrNotFound if the code is unknown, was redeemed, or belongs to another client.
//
// Of several calls for an approved device, one gets the token. The token belongs to a new session, whose
// Method is [MethodDevice]. The session that approved the device must still be live: if it was revoked, or
// has expired, RedeemDevice returns ErrTokenRejected. RedeemDevice also returns the errors of
// [TokenIssuer.Issue], and a *[ThrottledError] if the client address exceeds Throttling.Flood.
func (s *Service) RedeemDevice(ctx context.Context, clientID, deviceCode string) (Token, error) {
	if err := s.CheckDevices(); err != nil {
		return Token{}, err
	}
	if err := s.throttle.CountAttempt(ctx, clientOf(ctx).throttleClient()); err != nil {
		return Token{}, asThrottled(err)
	}
	began, hash := time.Now(), devicecode.Hash(s.tokens.Issuer(), clientID, deviceCode)
	if s.throttle.CheckDevicePoll(hash) != nil {
		return Token{}, ErrDeviceSlowDown // without asking the store
	}
	if err := s.devices.PollDevice(ctx, hash, s.now()); err != nil {
		if errors.Is(err, ErrDeviceSlowDown) {
			s.throttle.BarDevicePolls(hash)
		}
		return Token{}, fmt.Errorf("auth: polling for a device: %w", err)
	}
	token, err := s.tokens.issueToDevice(ctx, s.devices, hash)
	s.events.recordSignIn(ctx, began, Event{Method: MethodDevice, UserID: token.User.ID,
		SessionID: token.Session.ID, Reason: devicecode.EventReason(clientID, token.Session.Scopes.List())}, err)
	return token, err
}

// issueToDevice creates the session of an approved device, and returns its token.
func (t *TokenIssuer) issueToDevice(ctx context.Context, devices DeviceStore, hash string) (Token, error) {
	session := t.newSession(ctx, IssueParams{Method: MethodDevice})
	// The store sets the user of the session, and checks the session that has approved the device.
	c := t.newChange(ctx, ByHost("auth.RedeemDevice"), Event{})
	session, user, err := devices.RedeemDevice(ctx, c.write, hash, session, t.cfg.MaxSessions)
	if err != nil {
		return Token{}, fmt.Errorf("auth: creating the session of a device: %w", err)
	}
	if session.Method != MethodDevice || session.Scopes == nil || session.Audience != "" {
		return Token{}, t.discardSession(ctx, session, errors.New("auth: the store has not created the "+
			"session of a device as storekit.RedeemDevice says"))
	}
	return t.issueFor(ctx, session, user)
}
