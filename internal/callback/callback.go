// Package callback guards calls of functions that the host has supplied.
package callback

import "fmt"

// Recover converts a panic into an error, and passes the error to the callback fail. The parameter
// name is the name of the host's function. Recover must be deferred directly, because the built-in
// function recover works only in a deferred function.
func Recover(name string, fail func(error)) {
	if p := recover(); p != nil {
		fail(fmt.Errorf("auth: %s panicked: %v", name, p))
	}
}
