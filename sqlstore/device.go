package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

const (
	deviceColumns = `d.code_hash, d.user_code_hash, d.client_id, d.scopes, d.address, d.user_agent, d.created_at,
	d.expires_at, d.poll_interval, d.polled_at, d.session_id, d.user_id, d.approved_at, d.denied_at`

	insertDevice = `
INSERT INTO auth_device_codes (code_hash, user_code_hash, client_id, scopes, address, user_agent, created_at,
	expires_at, poll_interval, polled_at, session_id, user_id, approved_at, denied_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', '', 0, 0)`

	selectDevice   = `SELECT ` + deviceColumns + ` FROM auth_device_codes d WHERE d.code_hash = ?`
	lockDevice     = selectDevice + ` FOR UPDATE`
	lockByUserCode = `SELECT ` + deviceColumns + ` FROM auth_device_codes d WHERE d.user_code_hash = ? FOR UPDATE`

	updateDecision = `
UPDATE auth_device_codes SET scopes = ?, session_id = ?, user_id = ?, approved_at = ?, denied_at = ? WHERE code_hash = ?`
	updatePoll   = `UPDATE auth_device_codes SET poll_interval = ?, polled_at = ? WHERE code_hash = ?`
	deleteDevice = `DELETE FROM auth_device_codes WHERE code_hash = ?`
)

func deviceFields(d *auth.DeviceAuthorization) []any {
	return []any{&d.CodeHash, &d.UserCodeHash, &d.ClientID, scopes{&d.Scopes}, &d.Address, &d.UserAgent,
		micros{&d.CreatedAt}, micros{&d.ExpiresAt}, duration{&d.Interval}, micros{&d.PolledAt},
		&d.SessionID, &d.UserID, micros{&d.ApprovedAt}, micros{&d.DeniedAt}}
}

// duration scans a number of microseconds into a duration.
type duration struct{ into *time.Duration }

// Scan implements [sql.Scanner].
func (d duration) Scan(value any) error {
	var n sql.Null[int64]
	err := n.Scan(value)
	*d.into = time.Duration(n.V) * time.Microsecond
	return err
}

// findDevice finds the device with the query selectDevice, lockDevice or lockByUserCode.
func findDevice(
	ctx context.Context, q querier, query, hash string,
) (device auth.DeviceAuthorization, err error) {
	err = scan(q.row(ctx, query, hash), deviceFields(&device)...)
	return device, err
}

// CreateDevice implements [auth.DeviceStore].
func (s *core) CreateDevice(ctx context.Context, d auth.DeviceAuthorization) error {
	if err := cmp.Or(ctx.Err(), d.Validate()); err != nil {
		return err
	}
	return s.write(ctx, "create device", func(ctx context.Context, t tx) error {
		return t.insert(ctx, insertDevice, d.CodeHash, d.UserCodeHash, d.ClientID, d.Scopes.String(),
			d.Address, d.UserAgent, toMicros(d.CreatedAt), toMicros(d.ExpiresAt), d.Interval.Microseconds())
	})
}

// ClaimDevice implements [auth.DeviceStore].
func (s *core) ClaimDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	w.Event = auth.Event{}
	return s.decideDevice(ctx, "claim device", w, userCodeHash, func(
		ctx context.Context, a acting, d auth.DeviceAuthorization,
	) (auth.DeviceAuthorization, error) {
		claimantLives := true
		if d.UserID == w.By.UserID && d.SessionID != w.By.SessionID {
			claimant := a.facts()
			claimant.By = auth.Authority{UserID: d.UserID, SessionID: d.SessionID}
			session, revokedBelow, err := findActing(ctx, a.querier, selectActing, claimant.By)
			if err != nil {
				return d, err
			}
			claimant.Session, claimant.RevokedBelow = session, max(revokedBelow, a.everybody)
			claimantLives = claimant.Check() == nil
		}
		return storekit.ClaimDevice(d, a.facts(), claimantLives)
	})
}

// ApproveDevice implements [auth.DeviceStore].
func (s *core) ApproveDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	return s.decideDevice(ctx, "approve device", w, userCodeHash, func(
		_ context.Context, a acting, d auth.DeviceAuthorization,
	) (auth.DeviceAuthorization, error) {
		return storekit.ApproveDevice(d, a.facts())
	})
}

// DenyDevice implements [auth.DeviceStore].
func (s *core) DenyDevice(
	ctx context.Context, w auth.Write, userCodeHash string,
) (auth.DeviceAuthorization, error) {
	return s.decideDevice(ctx, "deny device", w, userCodeHash, func(
		_ context.Context, a acting, d auth.DeviceAuthorization,
	) (auth.DeviceAuthorization, error) {
		return storekit.DenyDevice(d, a.facts())
	})
}

// decideDevice stores the record that the function decide returns for the device.
func (s *core) decideDevice(
	ctx context.Context, verb string, w auth.Write, userCodeHash string, decide func(
		context.Context, acting, auth.DeviceAuthorization) (auth.DeviceAuthorization, error),
) (auth.DeviceAuthorization, error) {
	if err := cmp.Or(ctx.Err(), storekit.ValidateBySession(w)); err != nil {
		return auth.DeviceAuthorization{}, err
	}
	return writeFor(ctx, s, verb, func(ctx context.Context, t tx) (d auth.DeviceAuthorization, err error) {
		a, err := holdOwner(ctx, t, w, w.By.UserID)
		if err != nil {
			return d, err
		}
		if !storable(userCodeHash, auth.MaxIDLength) {
			return d, auth.ErrNotFound
		}
		d, err = findDevice(ctx, t.querier, lockByUserCode, userCodeHash)
		if err == nil {
			d, err = decide(ctx, a, d)
		}
		if err != nil {
			return d, err
		}
		a.w.Event = storekit.DeviceEvent(a.w.Event, d)
		return d, runInOrder(
			func() error {
				return t.change(ctx, updateDecision, d.Scopes.String(), d.SessionID, d.UserID,
					toMicros(d.ApprovedAt), toMicros(d.DeniedAt), d.CodeHash)
			},
			func() error { return a.addEvent(ctx, about{userID: w.By.UserID}) },
		)
	})
}

// PollDevice implements [auth.DeviceStore]. It writes only while nobody has decided. So a flood of polls with
// unknown codes makes only reads.
func (s *core) PollDevice(ctx context.Context, codeHash string, now time.Time) error {
	now = storedTime(now)
	d, err := read(ctx, s, "find device", func(
		ctx context.Context, q querier,
	) (d auth.DeviceAuthorization, err error) {
		if !storable(codeHash, auth.MaxIDLength) {
			return d, cmp.Or(ctx.Err(), auth.ErrNotFound)
		}
		return findDevice(ctx, q, selectDevice, codeHash)
	})
	if err != nil {
		return err
	}
	if _, answer := storekit.PollDevice(d, now); !isUndecided(answer) {
		return answer
	}
	var answer error
	err = s.write(ctx, "poll for device", func(ctx context.Context, t tx) error {
		d, err := findDevice(ctx, t.querier, lockDevice, codeHash)
		if err != nil {
			return err
		}
		if d, answer = storekit.PollDevice(d, now); !isUndecided(answer) {
			return nil
		}
		return t.change(ctx, updatePoll, d.Interval.Microseconds(), toMicros(d.PolledAt), codeHash)
	})
	return cmp.Or(err, answer)
}

// isUndecided reports whether the answer to a poll means that nobody has decided about the device.
func isUndecided(answer error) bool {
	return errors.Is(answer, auth.ErrDevicePending) || errors.Is(answer, auth.ErrDeviceSlowDown)
}

// RedeemDevice implements [auth.DeviceStore]. The record is read before it is locked, because the user must
// be locked first.
func (s *core) RedeemDevice(
	ctx context.Context, w auth.Write, codeHash string, session auth.Session, limit int,
) (auth.Session, auth.User, error) {
	if err := cmp.Or(ctx.Err(), w.Validate()); err != nil {
		return auth.Session{}, auth.User{}, err
	}
	if !storable(codeHash, auth.MaxIDLength) {
		return auth.Session{}, auth.User{}, auth.ErrNotFound
	}
	done, err := writeFor(ctx, s, "redeem device", func(ctx context.Context, t tx) (signedIn, error) {
		d, err := findDevice(ctx, t.querier, selectDevice, codeHash)
		if err == nil && d.SessionID == "" {
			err = auth.ErrNotFound
		}
		if err != nil {
			return signedIn{}, err
		}
		w := w
		w.By = auth.Authority{SessionID: d.SessionID, UserID: d.UserID}
		a, err := holdOwner(ctx, t, w, d.UserID)
		if err != nil {
			return signedIn{}, err
		}
		return a.redeem(ctx, codeHash, session, limit)
	})
	if err != nil {
		return auth.Session{}, auth.User{}, err
	}
	return done.session, done.user, nil
}

// redeem is the rest of RedeemDevice, after the approving session was checked.
func (a acting) redeem(
	ctx context.Context, codeHash string, session auth.Session, limit int,
) (done signedIn, err error) {
	d, err := findDevice(ctx, a.querier, lockDevice, codeHash)
	if err != nil {
		return done, err
	}
	if done.session, err = storekit.RedeemDevice(d, a.facts(), session); err != nil {
		return done, err
	}
	err = runInOrder(
		done.session.Validate,
		func() error { return a.remove(ctx, deleteDevice, codeHash) },
		func() error {
			done.user, err = addSession(ctx, a.tx, &done.session, limit, a.users[d.UserID], time.Time{})
			return err
		},
	)
	return done, err
}

const (
	expiredDevices = `
SELECT code_hash FROM auth_device_codes WHERE expires_at <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED`
	deleteDevices = `DELETE FROM auth_device_codes WHERE code_hash `
)

const devicesOfSession = `SELECT code_hash FROM auth_device_codes WHERE session_id = ? AND approved_at > 0`

// withdrawDevices removes the devices that the session has approved and that are not redeemed. The caller
// has locked the user of the session, so no device is approved or redeemed meanwhile.
//
// The statement that finds the devices locks nothing. On MariaDB it would lock the index of the sessions
// before the records, and PruneDevices locks them in the opposite order.
func withdrawDevices(ctx context.Context, t tx, sessionID string) error {
	approved, err := collect(ctx, t.querier, func(hash *string) []any { return []any{hash} },
		devicesOfSession, sessionID)
	if err != nil {
		return err
	}
	return changeListed(ctx, t, deleteDevices, approved)
}

// PruneDevices implements [auth.DeviceStore].
func (s *core) PruneDevices(ctx context.Context, expired time.Time, limit int) (int, error) {
	return prune[string](ctx, s, "prune devices", limit, dueBy(expiredDevices, expired), deleteDevices)
}
