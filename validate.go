package auth

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The longest values that a record may have, in bytes. A store must be able to
// keep every value up to its limit.
const (
	MaxIDLength        = 64  // a user's or a session's ID
	MaxAccessKeyLength = 128 // an access key's ID
	MaxHashLength      = 255 // an access key's Hash
	MaxUsernameLength  = 128
	MaxEmailLength     = 254
	MaxLabelLength     = 256
	MaxUserAgentLength = 256
	MaxAddressLength   = 64

	MaxGitHubHostLength = 253
	MaxGitHubTextLength = 512  // a link's Login, Name and AvatarURL, a token's Scopes
	MaxSealedLength     = 4096 // a token's Sealed
)

// Validate returns an [InvalidError] for the first field that no store may
// keep, and nil if there is none. A store calls it before it writes.
func (u User) Validate() error {
	return firstError(
		checkID("user_id", u.ID, MaxIDLength),
		checkName("username", u.Username, MaxUsernameLength),
		checkText("email", u.Email, MaxEmailLength),
		checkTime("created_at", u.CreatedAt),
		checkOptionalTime("last_login", u.LastLogin),
		checkOptionalTime("admitted_at", u.AdmittedAt),
	)
}

// Validate returns an [InvalidError] for the first field that no store may
// keep, and nil if there is none. A store calls it before it writes.
func (k AccessKey) Validate() error {
	return firstError(
		checkID("access_key", k.ID, MaxAccessKeyLength),
		checkID("user_id", k.UserID, MaxIDLength),
		ValidateHash(k.Hash),
		checkText("label", k.Label, MaxLabelLength),
		checkTime("created_at", k.CreatedAt),
		checkOptionalTime("expires_at", k.ExpiresAt),
		checkPrevious(k.PreviousHash, k.PreviousUntil),
		checkOptionalTime("last_used_at", k.LastUsedAt),
	)
}

// Validate returns an [InvalidError] for the first field that no store may
// keep, or not together, and nil if there is none. A store calls it before it writes.
func (u UserWithKeys) Validate() error {
	if err := u.User.Validate(); err != nil {
		return err
	}
	if len(u.Keys) == 0 || len(u.Keys) > MaxKeys {
		return invalidf("keys", "must be 1 to %d", MaxKeys)
	}
	for _, key := range u.Keys {
		if err := key.Validate(); err != nil {
			return err
		}
		if key.UserID != u.User.ID {
			return invalidf("user_id", "must be that of the user whom the key is for")
		}
	}
	return nil
}

// checkPrevious accepts a hash with a time, or neither.
func checkPrevious(hash string, until time.Time) error {
	switch {
	case hash == "" && until.IsZero():
		return nil
	case hash == "" || until.IsZero():
		return invalidf("previous_until", "and the previous hash must be given both or not at all")
	}
	return firstError(ValidateHash(hash), checkTime("previous_until", until))
}

// Validate returns an [InvalidError] for the first field that no store may
// keep, and nil if there is none. A store calls it before it writes.
func (r KeyRotation) Validate() error {
	return firstError(
		ValidateHash(r.Hash),
		checkTime("at", r.At),
		checkOptionalTime("previous_until", r.PreviousUntil),
	)
}

// Validate returns an [InvalidError] for the first field that no store may
// keep, and nil if there is none. A store calls it before it writes.
func (s Session) Validate() error {
	return firstError(
		checkID("session_id", s.ID, MaxIDLength),
		checkID("user_id", s.UserID, MaxIDLength),
		checkID("method", string(s.Method), MaxIDLength),
		checkText("access_key", s.AccessKeyID, MaxAccessKeyLength),
		checkTime("created_at", s.CreatedAt),
		checkTime("expires_at", s.ExpiresAt),
		checkText("user_agent", s.UserAgent, MaxUserAgentLength),
		checkText("ip", s.Address, MaxAddressLength),
	)
}

// ValidateHash returns an [InvalidError] if no store may keep the hash of an
// access key's secret: it must be 1 to MaxHashLength bytes of visible ASCII.
func ValidateHash(hash string) error {
	if hash == "" || len(hash) > MaxHashLength {
		return invalidf("hash", "must be 1 to %d bytes long", MaxHashLength)
	}
	for _, c := range []byte(hash) {
		if c <= ' ' || c > '~' {
			return invalidf("hash", "must be of visible ASCII characters")
		}
	}
	return nil
}

// ValidateState returns an [InvalidError] if no store may keep the state that
// [GitHubStore.ConsumeState] is to remember.
func ValidateState(id string, expiresAt time.Time) error {
	return firstError(checkID("state", id, MaxIDLength), checkTime("expires_at", expiresAt))
}

// FoldASCII returns s with the letters A to Z in lower case and every other
// byte as it is. Usernames and e-mails that are equal when folded are the same.
func FoldASCII(s string) string {
	folded := []byte(s)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + ('a' - 'A')
		}
	}
	return string(folded)
}

// checkID accepts text that is not empty.
func checkID(field, value string, limit int) error {
	if value == "" {
		return invalidf(field, "must be 1 to %d bytes long", limit)
	}
	return checkText(field, value, limit)
}

// checkName accepts text that a person can read and type back: not empty, and
// without space at either end.
func checkName(field, value string, limit int) error {
	if value == "" {
		return invalidf(field, "must be 1 to %d bytes long", limit)
	}
	if strings.TrimSpace(value) != value {
		return invalidf(field, "must not begin or end with a space")
	}
	return checkText(field, value, limit)
}

// checkText accepts up to limit bytes of UTF-8 in which nothing controls how
// the text around it is shown.
func checkText(field, value string, limit int) error {
	if len(value) > limit {
		return invalidf(field, "must be at most %d bytes long", limit)
	}
	if !utf8.ValidString(value) {
		return invalidf(field, "must be valid UTF-8")
	}
	if strings.ContainsFunc(value, controlsText) {
		return invalidf(field, "must not have control or bidirectional characters")
	}
	return nil
}

// controlsText reports whether r is a control character, a line or paragraph
// separator, or one of those with which text can be made to read otherwise than
// it is stored (Trojan Source, CVE-2021-42574).
func controlsText(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Times are kept as microseconds since 1970, of which zero means none.
var (
	earliestTime = time.UnixMicro(1)
	latestTime   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

func checkTime(field string, t time.Time) error {
	if t.Before(earliestTime) || t.After(latestTime) {
		return invalidf(field, "must be between the years 1970 and 9999")
	}
	return nil
}

func checkOptionalTime(field string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return checkTime(field, t)
}

func invalidf(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
