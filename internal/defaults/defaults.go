// Package defaults sets the defaults of a configuration, and finds nil values that a configuration
// must not contain.
package defaults

import (
	"log/slog"
	"reflect"
	"time"
)

// Now returns the function now, or time.Now if now is nil.
func Now(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// Logger returns logger, or slog.Default() if logger is nil.
func Logger(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.Default()
	}
	return logger
}

// IsNil reports whether an interface value is nil, or holds a nil pointer, map, function, slice or
// channel. A configuration with such a value would otherwise fail only when a request uses the
// value.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Interface, reflect.Slice, reflect.Chan:
		return r.IsNil()
	default:
		return false
	}
}
