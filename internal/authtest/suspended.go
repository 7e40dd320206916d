package authtest

import (
	"time"
	"unsafe"
)

// Suspended returns the time t as a machine reads it after it was suspended for this number of
// seconds: the wall clock has advanced and the monotonic clock has not. Package time has no
// function that changes only the wall clock, so Suspended changes the memory of t. If a Time has a
// monotonic reading, the first word of the Time contains the seconds in the bits above the 30 bits
// of the nanoseconds.
func Suspended(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}
