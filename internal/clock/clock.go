// Package clock measures time although clocks can jump. The wall clock can be set back or forward.
// The monotonic clock stops while the machine is suspended. Code that decides whether data is too
// old must therefore use both clocks.
package clock

import (
	"context"
	"math"
	"time"
)

// Age returns the time from the parameter then to the parameter now. If both have a monotonic clock
// reading, Age measures by the monotonic clock and by the wall clock, and returns the greater
// difference. If every difference is negative, the age is not known, and Age returns the greatest
// Duration.
func Age(now, then time.Time) time.Duration {
	passed := max(now.Sub(then), time.Duration(now.UnixNano()-then.UnixNano()))
	if passed < 0 {
		return math.MaxInt64
	}
	return passed
}

// AgeOfStored does the same as [Age] for a time that goroutines share. A caller reads its clock before it
// takes the lock: another goroutine may have taken the lock first, and stored a slightly later time. If the
// stored time is later than now by less than a second, AgeOfStored therefore returns zero. If it is later by
// more, the clock was set back.
func AgeOfStored(now, stored time.Time) time.Duration {
	if ahead := stored.Sub(now); 0 < ahead && ahead < time.Second {
		return 0
	}
	return Age(now, stored)
}

// Sleep waits for d, or returns ctx's error if ctx is done first. If d is not positive, Sleep returns ctx's
// error at once.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
