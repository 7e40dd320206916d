package auth_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run if a goroutine is left when all tests have ended: this
// package starts none, whatever GitHub or a store does to it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(listNeverMet{m})
}

// listNeverMet prints, with AUTH_TEST_OPENAPI=1, which of the answers in openapi.json no
// test has seen.
type listNeverMet struct{ m *testing.M }

func (l listNeverMet) Run() int {
	code := l.m.Run()
	if os.Getenv("AUTH_TEST_OPENAPI") == "1" {
		for _, answer := range openAPI().neverMet() {
			fmt.Println("never met:", answer)
		}
	}
	return code
}
