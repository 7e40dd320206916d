// Package clock measures time with clocks that jump. The wall clock can be set back or forward, and
// the monotonic clock stops while the machine is suspended. Code that decides whether data is too
// old must therefore use both clocks.
package clock

import (
	"math"
	"time"
)

// Age returns how long before now something was read at the time then: the greater of the
// differences that the wall clock and the monotonic clock show, if both times have a monotonic
// reading. If the differences of both clocks are negative, the age is not known, and Age returns
// the greatest Duration.
func Age(now, then time.Time) time.Duration {
	passed := max(now.Sub(then), time.Duration(now.UnixNano()-then.UnixNano()))
	if passed < 0 {
		return math.MaxInt64
	}
	return passed
}
