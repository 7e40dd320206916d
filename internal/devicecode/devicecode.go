// Package devicecode makes and reads the two codes of the device authorization grant (RFC 8628), and decides
// how often a device may ask for its token.
//
// A device has no browser, or no keyboard. It shows the short user code to a person, and keeps the long
// device code. The person types the user code into a browser. The device sends the device code again and
// again, until the person has decided.
package devicecode

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/canonical"
)

const (
	// Lifetime is how long both codes work. A shorter time would not let everybody sign in at the browser
	// first. A longer time would give an attacker longer to talk a person into the approval.
	Lifetime = 10 * time.Minute

	// Interval is the least time between two polls of a device.
	Interval = 5 * time.Second

	// maxInterval limits how far slow_down raises the interval.
	maxInterval = time.Minute

	// tolerance is how much too soon a poll may arrive. The network delays some polls longer than others.
	tolerance = time.Second
)

// letters are the letters of user codes: the consonants, so that a code does not spell a word (RFC 8628,
// section 6.1).
const letters = "BCDFGHJKLMNPQRSTVWXZ"

// userCodeLength is the number of letters of a user code. There are 20^8, or 25.6 thousand million, codes.
const userCodeLength = 8

// New returns a new device code of 256 random bits.
func New() string {
	var random [32]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// NewUserCode returns a new user code, without a hyphen.
func NewUserCode() string {
	code := make([]byte, 0, userCodeLength)
	for len(code) < userCodeLength {
		var random [userCodeLength]byte
		rand.Read(random[:])
		for _, b := range random {
			// 240 is the greatest multiple of 20 in a byte. Without this limit, the first letters of the
			// alphabet would be more frequent than the others.
			if b < 240 && len(code) < userCodeLength {
				code = append(code, letters[int(b)%len(letters)])
			}
		}
	}
	return string(code)
}

// Format returns a user code as people read it: XXXX-XXXX.
func Format(userCode string) string {
	return userCode[:userCodeLength/2] + "-" + userCode[userCodeLength/2:]
}

// Normalize returns the user code that a person has typed: without spaces and hyphens, and in upper case
// (RFC 8628, section 6.1). It returns false for a text that is no user code.
func Normalize(typed string) (userCode string, ok bool) {
	if len(typed) > 4*userCodeLength {
		return "", false
	}
	code := make([]byte, 0, userCodeLength)
	for _, b := range []byte(typed) {
		if b == ' ' || b == '-' {
			continue
		}
		if 'a' <= b && b <= 'z' {
			b -= 'a' - 'A'
		}
		if strings.IndexByte(letters, b) < 0 || len(code) == userCodeLength {
			return "", false
		}
		code = append(code, b)
	}
	return string(code), len(code) == userCodeLength
}

// Hash returns the hash of a device code of a client, as a store keeps it. The hash also names the issuer and
// the client, so the code of another client is unknown. A fast hash is enough, because the code has 256
// random bits.
func Hash(issuer, clientID, code string) string {
	return hash("sallyport device code", issuer, clientID, code)
}

// HashUserCode returns the hash of a user code, as a store keeps it. It does not hide the code from anybody
// who reads the store, because a computer can try all codes in a minute.
func HashUserCode(issuer, userCode string) string {
	return hash("sallyport user code", issuer, userCode)
}

func hash(parts ...string) string {
	sum := sha256.Sum256(canonical.Frame(parts...))
	return hex.EncodeToString(sum[:])
}

// NextPoll says whether a poll comes too soon after the last one, and returns the interval for the next
// poll. After each poll that comes too soon, the interval is five seconds longer (RFC 8628, section 3.5).
// Before the first poll, the last one is zero. If the clock has gone back since the last poll, the poll is
// not too soon.
func NextPoll(last time.Time, interval time.Duration, now time.Time) (next time.Duration, tooSoon bool) {
	since := now.Sub(last)
	if last.IsZero() || since < 0 || since >= interval-tolerance {
		return interval, false
	}
	return min(interval+5*time.Second, max(interval, maxInterval)), true
}

// IsLive reports whether codes that were made for the time from created to expires work now. If the codes
// would still work for more than twice this time, a clock that was ahead made them, and they do not work.
func IsLive(created, expires, now time.Time) bool {
	return now.Before(expires) && expires.Sub(now) <= 2*expires.Sub(created)
}
