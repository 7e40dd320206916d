// Package callback guards calls of functions that the host has supplied.
package callback

import "fmt"

// Recover converts a panic into an error, and calls fail with the error. The name is that of the
// host's function that may panic. Recover must be deferred directly, because recover works only in
// a deferred function itself.
func Recover(name string, fail func(error)) {
	if p := recover(); p != nil {
		fail(fmt.Errorf("auth: %s panicked: %v", name, p))
	}
}
