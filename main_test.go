package auth_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run if a goroutine still runs after all tests.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}
