package authtest

import (
	"time"
	"unsafe"
)

// Suspended returns the time t as it is after a machine was suspended for this number of seconds.
// During the suspension, the wall clock has advanced and the monotonic clock has not. Package time
// has no function that changes only the wall clock, so Suspended changes the memory of t. In a Time
// with a monotonic reading, the low 30 bits of the first word contain the nanoseconds, and the bits
// above them contain the seconds.
func Suspended(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}
