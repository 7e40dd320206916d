package sqlstore

import (
	"database/sql"
	"errors"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport-go/auth"
)

// These constants list the columns of each kind of record. The functions below return the
// destinations for Scan in the order of the columns.
const (
	userColumns = `u.id, u.username, u.email, u.is_super_user, u.is_active, u.created_at, u.last_login, u.admitted_at,
	u.is_service, u.created_by, u.audiences`
	keyColumns = `k.id, k.user_id, k.hash, k.label, k.created_at, k.expires_at, k.previous_hash, k.previous_until,
	k.last_used_at, k.scopes, k.must_rotate, k.expiry_notice_at`
	sessionColumns = `s.id, s.user_id, s.method, s.access_key_id, s.created_at, s.expires_at, s.user_agent, s.address,
	s.generation, s.scopes, s.audience`
	revocationColumns = `r.position, r.id, r.user_id, r.session_id, r.generation, r.expires_at`
	linkColumns       = `l.host, l.account_id, l.user_id, l.login, l.name, l.avatar_url, l.created_at, l.seen_at`
	tokenColumns      = `t.host, t.account_id, t.user_id, t.version, t.scopes, t.sealed, t.updated_at`
)

func userFields(u *auth.User) []any {
	return []any{&u.ID, &u.Username, &u.Email, &u.IsSuperUser, &u.IsActive,
		micros{&u.CreatedAt}, micros{&u.LastLogin}, micros{&u.AdmittedAt},
		&u.IsService, &u.CreatedBy, &u.Audiences}
}

func keyFields(k *auth.AccessKey) []any {
	return []any{&k.ID, &k.UserID, &k.Hash, &k.Label, micros{&k.CreatedAt}, micros{&k.ExpiresAt},
		&k.PreviousHash, micros{&k.PreviousUntil}, micros{&k.LastUsedAt}, scopes{&k.Scopes},
		&k.MustRotate, micros{&k.ExpiryNoticeAt}}
}

func sessionFields(s *auth.Session) []any {
	return []any{&s.ID, &s.UserID, &s.Method, &s.AccessKeyID, micros{&s.CreatedAt},
		micros{&s.ExpiresAt},
		&s.UserAgent, &s.Address, &s.Generation, scopes{&s.Scopes}, &s.Audience}
}

func revocationFields(r *auth.Revocation) []any {
	return []any{&r.Position, &r.ID, &r.UserID, &r.SessionID, &r.Generation, micros{&r.ExpiresAt}}
}

func linkFields(l *auth.GitHubLink) []any {
	return []any{&l.Account.Host, &l.Account.ID, &l.UserID, &l.Login, &l.Name, &l.AvatarURL,
		micros{&l.CreatedAt}, micros{&l.SeenAt}}
}

// tokenFields accepts NULL in every column, because a left join may find no token.
func tokenFields(t *auth.GitHubToken) []any {
	return []any{orZero[string]{&t.Account.Host}, orZero[int64]{&t.Account.ID},
		orZero[string]{&t.UserID},
		orZero[string]{&t.Version}, orZero[string]{&t.Scopes}, &t.Sealed, micros{&t.UpdatedAt}}
}

// scan reads the only row, or returns [auth.ErrNotFound] if there is none.
func scan(row *sql.Row, fields ...any) error {
	err := row.Scan(fields...)
	if errors.Is(err, sql.ErrNoRows) {
		return auth.ErrNotFound
	}
	return err
}

// zeroIfNone returns nil if err is [auth.ErrNotFound], and returns every other error unchanged.
func zeroIfNone(err error) error {
	if errors.Is(err, auth.ErrNotFound) {
		return nil
	}
	return err
}

// storable reports whether an ID can be in the database. If storable returns false, do not use the
// ID in a query. For example, some databases truncate an ID at a NUL byte, and others refuse the
// query.
func storable(id string, limit int) bool {
	return id != "" && len(id) <= limit && utf8.ValidString(id) && !strings.Contains(id, "\x00")
}

// orZero scans NULL as the zero value.
type orZero[T any] struct{ into *T }

// Scan implements [sql.Scanner].
func (o orZero[T]) Scan(value any) error {
	var v sql.Null[T]
	err := v.Scan(value)
	*o.into = v.V
	return err
}

// scopes scans the text of a set of scopes, and NULL as no limit.
type scopes struct{ into **auth.ScopeSet }

// Scan implements [sql.Scanner].
func (s scopes) Scan(value any) (err error) {
	var text sql.Null[string]
	if err := text.Scan(value); err != nil {
		return err
	}
	*s.into = nil
	if text.Valid {
		*s.into, err = auth.ParseScopes(text.V)
	}
	return err
}

// scopesValue returns the value of a column that [scopes] scans.
func scopesValue(s *auth.ScopeSet) any {
	if s == nil {
		return nil
	}
	return s.String()
}

// flag returns the integer that stands for the boolean in the tables.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// micros scans a number of microseconds into a time.
type micros struct{ into *time.Time }

// Scan implements [sql.Scanner].
func (m micros) Scan(value any) error {
	var n sql.Null[int64]
	if err := n.Scan(value); err != nil {
		return err
	}
	*m.into = fromMicros(n.V)
	return nil
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func toMicros(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	// UnixMicro might overflow for such a late time. The times of all records are earlier.
	case t.UTC().Year() > 9999:
		return math.MaxInt64
	default:
		return t.UnixMicro()
	}
}

// toLaterMicros does the same as toMicros, but rounds up. An event at a whole microsecond is at t or later if
// and only if it is at the result or later.
func toLaterMicros(t time.Time) int64 { return toMicros(t.Add(time.Microsecond - 1)) }

// latestEnd returns the latest end of a claim or a lease that can exclude another from now to until. If
// one ends later, a clock that was ahead took it, and it excludes nobody.
func latestEnd(now, until time.Time) int64 { return toMicros(until.Add(until.Sub(now))) }

// storedTime returns the time as the database returns it: in UTC, truncated to the microsecond.
func storedTime(t time.Time) time.Time { return fromMicros(toMicros(t)) }
