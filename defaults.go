package auth

import (
	"fmt"
	"log/slog"
	"reflect"
	"time"
)

func orNow(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

func orDefault(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		return slog.Default()
	}
	return logger
}

// isNil reports whether an interface value is nil or holds a nil pointer, which would
// otherwise fail only when the first user comes.
func isNil(v any) bool {
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

// recoverCallback converts a panic in the host's callback into an error. It must be deferred
// directly.
func recoverCallback(name string, fail func(error)) {
	if p := recover(); p != nil {
		fail(fmt.Errorf("auth: %s panicked: %v", name, p))
	}
}
