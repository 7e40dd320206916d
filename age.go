package auth

import (
	"math"
	"time"
)

// age returns how old something is that was read at the given time: the greater of what the wall
// clock and the monotonic clock say, where both are known. The monotonic clock stands still while
// the machine is suspended, and the wall clock can be set back. If each clock says that now is
// before then, the age is not known, and the greatest Duration is returned.
func age(now, then time.Time) time.Duration {
	passed := max(now.Sub(then), time.Duration(now.UnixNano()-then.UnixNano()))
	if passed < 0 {
		return math.MaxInt64
	}
	return passed
}
