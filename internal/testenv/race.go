//go:build race

package testenv

// Race reports whether the race detector is enabled. If it is, long sequential tests skip
// themselves, because they would take minutes and the detector would find nothing in them.
const Race = true
