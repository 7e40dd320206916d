package authtest

import (
	"time"
	"unsafe"
)

// Suspended returns the time t as a machine reads it that was suspended for so many seconds: the
// wall clock has gone on and the monotonic clock has not. Package time has no function for it. The
// first word of a Time with a monotonic reading has the seconds above 30 bits of nanoseconds.
func Suspended(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}
