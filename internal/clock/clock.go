// Package clock measures time although clocks can jump. The wall clock can be set back or forward.
// The monotonic clock stops while the machine is suspended. Code that decides whether data is too
// old must therefore use both clocks.
package clock

import (
	"math"
	"time"
)

// Age returns the time that has passed from then to now. If both times have a monotonic clock
// reading, Age takes the difference by the wall clock and the difference by the monotonic clock,
// and returns the greater one. If that is negative, the age is not known, and Age returns the
// greatest Duration.
func Age(now, then time.Time) time.Duration {
	passed := max(now.Sub(then), time.Duration(now.UnixNano()-then.UnixNano()))
	if passed < 0 {
		return math.MaxInt64
	}
	return passed
}
