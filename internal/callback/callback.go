// Package callback guards calls of functions that the host has supplied.
package callback

import "fmt"

// Recover converts a panic in the host's function of this name into an error, which it passes to
// fail. It must be deferred directly, because recover works only in a deferred function itself.
func Recover(name string, fail func(error)) {
	if p := recover(); p != nil {
		fail(fmt.Errorf("auth: %s panicked: %v", name, p))
	}
}
