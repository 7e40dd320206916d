// Package clock measures time with clocks that jump. The wall clock can be set back or forward, and
// the monotonic clock stands still while the machine is suspended. Whether knowledge is too old to
// act on must not depend on either of them alone.
package clock

import (
	"math"
	"time"
)

// Age returns how long before now something was read at the time then: the greater of the
// differences that the wall clock and the monotonic clock show, if both times have a monotonic
// reading. If each clock says that now is before then, the age is not known, and Age returns the
// greatest Duration.
func Age(now, then time.Time) time.Duration {
	passed := max(now.Sub(then), time.Duration(now.UnixNano()-then.UnixNano()))
	if passed < 0 {
		return math.MaxInt64
	}
	return passed
}
