// Package limits defines the limits of the values that a store keeps in its records, and the rules about
// the other arguments of a store. Package auth and package storekit validate against them. Package storetest
// tests that a store keeps values of the maximum length.
package limits

import "time"

// The maximum lengths of the fields of records, in bytes.
const (
	ID         = 64  // a user's or a session's ID, a token's Version, a used state
	AccessKey  = 128 // an access key's ID
	Hash       = 255 // an access key's Hash and PreviousHash
	Username   = 128
	Email      = 254
	Label      = 256
	UserAgent  = 256
	Address    = 64
	GitHubHost = 253
	GitHubText = 512  // a link's Login, Name and AvatarURL, a token's Scopes
	Sealed     = 4096 // a token's Sealed
	Reason     = 512  // an event's Reason
	Audiences  = 900  // all audiences of a service user
)

// KeyUsePrecision is the minimum time between two recorded uses of an access key.
const KeyUsePrecision = time.Minute

// Stores keep times as microseconds since 1970. Zero means no time, so EarliestTime is one microsecond after
// the beginning of 1970.
var (
	EarliestTime = time.UnixMicro(1)
	latestTime   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// TimeFlaw returns the rule that a time in a record breaks, or "" if it breaks none.
func TimeFlaw(t time.Time) string {
	if t.Before(EarliestTime) || t.After(latestTime) {
		return "must be between the years 1970 and 9999"
	}
	return ""
}

// SessionFlaw returns the rule that the authority of a change breaks if only a session can make the change,
// or "" if it breaks none. The argument is the SessionID of the authority.
func SessionFlaw(sessionID string) string {
	if sessionID == "" {
		return "must be that of a session"
	}
	return ""
}
