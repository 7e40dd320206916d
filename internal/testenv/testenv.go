// Package testenv is how the tests of this module read the environment: whether
// a test may be skipped, and how long a long one runs.
package testenv

import (
	"os"
	"testing"
)

// Skip skips the test and says why in one line. It fails the test instead when
// AUTH_TEST_REQUIRE is 1: what CI is to cover must not go missing unnoticed.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("AUTH_TEST_REQUIRE") == "1" {
		t.Fatalf("AUTH_TEST_REQUIRE is 1, so this may not be skipped: %s", reason)
	}
	t.Skip(reason)
}

// Counts says how many rounds a long test runs: Small for everybody's `go test`,
// Moderate in CI, Full by hand before a release.
type Counts struct {
	Small, Moderate, Full int
}

// Rounds returns the count that AUTH_TEST_ROUNDS names: small (also when it is
// not set), moderate or full. Any other value fails the test, since a misspelled
// "full" would otherwise pass for a long run.
func Rounds(t testing.TB, counts Counts) int {
	t.Helper()
	switch size := os.Getenv("AUTH_TEST_ROUNDS"); size {
	case "", "small":
		return counts.Small
	case "moderate":
		return counts.Moderate
	case "full":
		return counts.Full
	default:
		t.Fatalf("AUTH_TEST_ROUNDS is %q; set it to small, moderate or full", size)
		return 0
	}
}
