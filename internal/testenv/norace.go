//go:build !race

package testenv

// Race is whether the race detector is on, under which a test that does a lot, one
// thing after the other, takes minutes and finds nothing more.
const Race = false
