// Package testenv has what the tests of this module need from their environment: whether a test may
// be skipped, how long a long test runs, and where a test keeps its files.
package testenv

import (
	"os"
	"testing"
)

// Skip skips the test with a one-line reason. If AUTH_TEST_REQUIRE is 1, Skip fails the test
// instead, so that CI notices a test that did not run.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("AUTH_TEST_REQUIRE") == "1" {
		t.Fatalf("AUTH_TEST_REQUIRE is 1, so this may not be skipped: %s", reason)
	}
	t.Skip(reason)
}

// Counts has the number of rounds of a long test. Small is the default, and CI uses Moderate.
// Before a release, a person runs the test with Full.
type Counts struct {
	Small, Moderate, Full int
}

// Rounds returns the number that AUTH_TEST_ROUNDS selects: small (the default), moderate or full.
// Any other value fails the test, because a misspelled "full" must not look like a long run.
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

// TempDir returns a new directory that is removed when the test ends. The path of the directory
// does not contain the name of the test, but a path from t.TempDir does. The name of a test can
// contain a "#", which ends the path in a SQLite URI. So with t.TempDir, two tests could share one
// database file.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "authtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
