package sqlstore

import (
	"cmp"
	"context"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

const (
	selectLastSession    = `SELECT MAX(expires_at) FROM auth_sessions`
	selectEverybodyEntry = `
SELECT MAX(expires_at), MAX(generation) FROM auth_revocations WHERE user_id = '' AND session_id = '' AND expires_at > 0`
	replaceEverybody = `UPDATE auth_revocations SET expires_at = 0 WHERE user_id = '' AND session_id = '' AND expires_at > 0`
	updateEverybody  = `UPDATE auth_everybody SET generation = ? WHERE id = 1`
)

// RevokeEverybody implements [auth.SessionStore]. It adds one entry, which revokes all sessions.
// PruneSessions deletes the sessions after they have expired.
func (s *core) RevokeEverybody(ctx context.Context, w auth.Write, above int64) error {
	if err := cmp.Or(ctx.Err(), w.Validate(), w.By.CheckOwner("")); err != nil {
		return err
	}
	return s.write(ctx, "revoke all sessions", func(ctx context.Context, t tx) error {
		a, err := hold(ctx, t, w, locks{exclusive: true})
		if err != nil {
			return err
		}
		if err := a.check(ctx); err != nil {
			return err
		}
		entry := auth.Revocation{ExpiresAt: storedTime(a.now.Add(w.MaxTokenLifetime))}
		var below int64
		var lastSession, lastOfEverybody time.Time
		newest := t.row(ctx, selectEverybodyEntry)
		if err := newest.Scan(micros{&lastOfEverybody}, orZero[int64]{&below}); err != nil {
			return err
		}
		if above > 0 && below > above {
			return auth.ErrChanged
		}
		if err := t.row(ctx, selectLastSession).Scan(micros{&lastSession}); err != nil {
			return err
		}
		entry.ExpiresAt = later(later(entry.ExpiresAt, lastSession), lastOfEverybody)
		head, err := holdHead(ctx, t)
		if err != nil {
			return err
		}
		head = max(max(head, above)+storekit.SkippedPositions, toMicros(a.now))
		return runInOrder(
			func() error { return a.addEvent(ctx, about{}) },
			func() error { return t.change(ctx, replaceEverybody) },
			func() error { return t.change(ctx, updateEverybody, head+1) },
			func() error { return addEntry(ctx, t, head, entry) },
		)
	})
}
