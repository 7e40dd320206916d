//go:build race

package testenv

// Race reports whether the race detector is enabled. Long sequential tests skip themselves then,
// because they would take minutes and find nothing more.
const Race = true
