// Package clock measures time although clocks can jump. The wall clock can be set back or forward.
// The monotonic clock stops while the machine is suspended. Code that decides whether data is too
// old must therefore use both clocks.
package clock

import (
	"math"
	"time"
)

// Age returns how much time has passed between the two times. If both have a monotonic clock
// reading, Age returns the greater of two differences: by the wall clock and by the monotonic
// clock. If both differences are negative, the age is not known, and Age returns the greatest
// Duration.
func Age(now, then time.Time) time.Duration {
	passed := max(now.Sub(then), time.Duration(now.UnixNano()-then.UnixNano()))
	if passed < 0 {
		return math.MaxInt64
	}
	return passed
}
