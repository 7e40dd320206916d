//go:build race

package testenv

// Race is true if the race detector is enabled. Long sequential tests then skip themselves, because
// they would take minutes and the detector would find nothing in them.
const Race = true
