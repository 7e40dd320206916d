package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// AddKey implements [auth.CredentialStore].
func (s *accounts) AddKey(ctx context.Context, w auth.Write, key auth.AccessKey) error {
	if err := check(ctx, w, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.authorize(w, key.UserID)
	if err != nil {
		return err
	}
	owner, err := s.user(key.UserID)
	if err != nil {
		return err
	}
	if err := cmp.Or(s.checkKeyGrant(w, owner, key.Scopes), s.checkKeyIsNew(key.ID)); err != nil {
		return err
	}
	if len(owner.keys) >= auth.MaxKeys {
		return fmt.Errorf("memstore: %w", auth.ErrTooManyKeys)
	}
	s.addKey(owner, key)
	s.addEvent(w, now, subject{userID: key.UserID})
	return nil
}

// FindKey implements [auth.CredentialStore].
func (s *accounts) FindKey(ctx context.Context, id string) (auth.AccessKey, auth.User, error) {
	if err := check(ctx); err != nil {
		return auth.AccessKey{}, auth.User{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	key, err := s.key(id)
	if err != nil {
		return auth.AccessKey{}, auth.User{}, err
	}
	return key.record, key.owner.record, nil
}

// ListKeys implements [auth.CredentialStore].
func (s *accounts) ListKeys(ctx context.Context, userID string) ([]auth.AccessKey, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	owner := s.users[userID]
	if owner == nil {
		return nil, nil
	}
	var keys []auth.AccessKey
	for key := range owner.keys {
		keys = append(keys, key.record)
	}
	slices.SortFunc(keys, func(a, b auth.AccessKey) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return keys, nil
}

// ListAllKeys implements [auth.CredentialStore]. It finds the first key in logarithmic time, and
// holds the lock while it copies up to limit keys.
func (s *accounts) ListAllKeys(ctx context.Context, after string, limit int) ([]auth.AccessKey, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var page []auth.AccessKey
	for key := range s.keysByID.after(after) {
		if len(page) >= limit {
			break
		}
		page = append(page, key.record)
	}
	return page, nil
}

// SwapHash implements [auth.CredentialStore].
func (s *accounts) SwapHash(ctx context.Context, id, old, new string) error {
	if err := check(ctx); err != nil {
		return err
	}
	if err := storekit.ValidateHash(new); err != nil {
		return fmt.Errorf("memstore: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.key(id)
	if err != nil {
		return err
	}
	if key.record.Hash != old {
		return fmt.Errorf("memstore: access key with this hash: %w", auth.ErrNotFound)
	}
	key.record.Hash = new
	return nil
}

// RotateKey implements [auth.CredentialStore].
func (s *accounts) RotateKey(
	ctx context.Context, w auth.Write, id string, rotation auth.KeyRotation,
) (auth.AccessKey, error) {
	if err := check(ctx, w, rotation); err != nil {
		return auth.AccessKey{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, now, err := s.findKeyToChange(w, id)
	if err != nil {
		return auth.AccessKey{}, err
	}
	err = s.acting(w).CheckRotation(key.owner.record, key.record)
	rotated, errApply := storekit.RotateKey(key.record, rotation, now)
	if err = cmp.Or(err, errApply); err != nil {
		return auth.AccessKey{}, fmt.Errorf("memstore: %w", err)
	}
	rotated.PreviousUntil = storedTime(rotated.PreviousUntil)
	if key.record.MustRotate {
		s.revokeOpenedBy(w, now, key)
	}
	key.record = rotated
	s.scheduleOverlapEnd(key)
	s.addEvent(w, now, subject{userID: key.record.UserID})
	return key.record, nil
}

// SetKeyScopes implements [auth.CredentialStore].
func (s *accounts) SetKeyScopes(
	ctx context.Context, w auth.Write, id string, scopes *auth.ScopeSet,
) (auth.AccessKey, error) {
	if err := check(ctx, w); err != nil {
		return auth.AccessKey{}, err
	}
	if err := scopes.Validate(); err != nil {
		return auth.AccessKey{}, fmt.Errorf("memstore: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, now, err := s.keyToChange(w, id)
	if err == nil {
		err = s.checkKeyGrant(w, key.owner, scopes)
	}
	if err != nil {
		return auth.AccessKey{}, err
	}
	s.revokeOpenedBy(w, now, key)
	key.record.Scopes = scopes
	s.addEvent(w, now, subject{userID: key.record.UserID})
	return key.record, nil
}

// TouchKey implements [auth.CredentialStore].
func (s *accounts) TouchKey(ctx context.Context, id string, at time.Time) error {
	if err := check(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.key(id)
	if err != nil {
		return err
	}
	key.recordUse(storedTime(at))
	return nil
}

// recordUse sets LastUsedAt to the given time if at least storekit.KeyUsePrecision has passed since the
// last recorded use. The caller holds the lock.
func (k *accessKey) recordUse(at time.Time) {
	if !at.Before(k.record.LastUsedAt.Add(storekit.KeyUsePrecision)) {
		k.record.LastUsedAt = at
	}
}

// RevokeKey implements [auth.CredentialStore].
func (s *accounts) RevokeKey(ctx context.Context, w auth.Write, id string) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, now, err := s.keyToChange(w, id)
	if err != nil {
		return err
	}
	s.revokeOpenedBy(w, now, key)
	s.removeKey(key)
	s.addEvent(w, now, subject{userID: key.record.UserID})
	return nil
}

// PruneKeys implements [auth.CredentialStore]. It holds the lock while it removes up to limit keys
// and the sessions that these keys opened.
func (s *accounts) PruneKeys(ctx context.Context, expired time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keysByExpiry.prune(expired, limit, s.removeKey), nil
}

// PrunePreviousHashes implements [auth.CredentialStore].
func (s *accounts) PrunePreviousHashes(ctx context.Context, ended time.Time, limit int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keysByOverlap.prune(ended, limit, func(key *accessKey) {
		key.record.PreviousHash, key.record.PreviousUntil = "", time.Time{}
		s.scheduleOverlapEnd(key)
	}), nil
}

// ListExpiringKeys implements [auth.CredentialStore]. It looks only at keys that expire within lead or have
// expired.
func (s *accounts) ListExpiringKeys(
	ctx context.Context, now time.Time, lead time.Duration, limit int,
) ([]auth.AccessKey, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var due []auth.AccessKey
	for key := range s.keysByExpiry.until(now.Add(lead)) {
		if storekit.ExpiryNoticeDue(key.record, storedTime(now), lead) {
			due = append(due, key.record)
		}
	}
	slices.SortFunc(due, func(a, b auth.AccessKey) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	return due[:min(len(due), max(limit, 0))], nil
}

// RecordExpiryNotice implements [auth.CredentialStore].
func (s *accounts) RecordExpiryNotice(
	ctx context.Context, w auth.Write, id string, lead time.Duration,
) error {
	if err := check(ctx, w); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, now, err := s.keyToChange(w, id)
	if err != nil {
		return err
	}
	if !storekit.ExpiryNoticeDue(key.record, now, lead) {
		return fmt.Errorf("memstore: notice of the expiry: %w", auth.ErrChanged)
	}
	key.record.ExpiryNoticeAt = now
	s.addEvent(w, now, subject{userID: key.record.UserID})
	return nil
}

// scheduleOverlapEnd updates the position of the key in keysByOverlap after a change of PreviousUntil.
// The caller holds the lock.
func (s *accounts) scheduleOverlapEnd(key *accessKey) {
	if key.overlap != nil {
		s.keysByOverlap.remove(key.overlap)
		key.overlap = nil
	}
	if !key.record.PreviousUntil.IsZero() {
		key.overlap = s.keysByOverlap.add(key, key.record.PreviousUntil)
	}
}

// key returns the key with this ID, or ErrNotFound. The caller holds the lock.
func (s *accounts) key(id string) (*accessKey, error) {
	key := s.keys[id]
	if key == nil {
		return nil, errNoKey
	}
	return key, nil
}

// keyToChange returns the key with this ID and the time of the change. It returns an error if there
// is no such key, or if w.By is not allowed to change the key. The caller holds the lock from
// before this call until the change is made.
func (s *accounts) keyToChange(w auth.Write, id string) (*accessKey, time.Time, error) {
	key, now, err := s.findKeyToChange(w, id)
	if err == nil {
		err = s.checkGrant(w, key.record.Scopes)
	}
	return key, now, err
}

// findKeyToChange is keyToChange without the check of the key's scopes.
func (s *accounts) findKeyToChange(w auth.Write, id string) (*accessKey, time.Time, error) {
	ownerID := ""
	if key := s.keys[id]; key != nil {
		ownerID = key.record.UserID
	}
	now, err := s.authorize(w, ownerID)
	if err != nil {
		return nil, time.Time{}, err
	}
	key, err := s.key(id)
	return key, now, err
}

// errNoKey is created in advance. A call that had to create an error would take longer than a call
// that finds a key. An attacker could measure this difference and learn whether a key exists.
var errNoKey = fmt.Errorf("memstore: access key: %w", auth.ErrNotFound)

// validAt reports whether the key never expires or expires after the given time.
func (k *accessKey) validAt(at time.Time) bool {
	return k.expiry == nil || k.expiry.at.After(at)
}

// checkKeyIsNew returns ErrExists if a key with this ID exists. The caller holds the lock.
func (s *accounts) checkKeyIsNew(id string) error {
	if s.keys[id] != nil {
		return taken("access_key")
	}
	return nil
}

// addKey adds a key that the caller has checked. The caller holds the lock.
func (s *accounts) addKey(owner *user, record auth.AccessKey) {
	record.CreatedAt = storedTime(record.CreatedAt)
	record.ExpiresAt = storedTime(record.ExpiresAt)
	record.PreviousUntil = storedTime(record.PreviousUntil)
	record.LastUsedAt = storedTime(record.LastUsedAt)
	record.ExpiryNoticeAt = storedTime(record.ExpiryNoticeAt)
	key := &accessKey{record: record, owner: owner, sessions: make(set[*session])}
	if !record.ExpiresAt.IsZero() {
		key.expiry = s.keysByExpiry.add(key, record.ExpiresAt)
	}
	s.scheduleOverlapEnd(key)
	s.keys[record.ID] = key
	s.keysByID.add(key)
	owner.keys.add(key)
	s.ownerGained(owner)
}

// removeKey removes the key and the sessions that it opened. It adds no feed entry. The caller
// holds the lock.
func (s *accounts) removeKey(key *accessKey) {
	for old := range key.sessions {
		s.removeSession(old)
	}
	if key.expiry != nil {
		s.keysByExpiry.remove(key.expiry)
	}
	if key.overlap != nil {
		s.keysByOverlap.remove(key.overlap)
	}
	s.keysByID.remove(key)
	delete(s.keys, key.record.ID)
	delete(key.owner.keys, key)
	s.ownerLost(key.owner)
}
