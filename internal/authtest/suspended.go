package authtest

import (
	"time"
	"unsafe"
)

// Suspended returns t plus this number of seconds, as if the machine had been suspended for that
// time. During a suspension, the wall clock advances and the monotonic clock does not. Package time
// has no function that changes only the wall clock, so Suspended changes the memory of t. In a Time
// with a monotonic reading, the low 30 bits of the first word contain the nanoseconds, and the bits
// above them contain the seconds.
func Suspended(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}
