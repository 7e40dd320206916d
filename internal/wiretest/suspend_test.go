package wiretest

import (
	"time"
	"unsafe"
)

// suspended returns t as a machine reads it after a suspend of the given seconds: the wall clock
// has advanced and the monotonic clock has not. Package time has no function for that. The first
// word of a Time with a monotonic reading holds the wall seconds above 30 bits of nanoseconds.
func suspended(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}
