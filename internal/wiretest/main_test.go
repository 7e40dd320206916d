package wiretest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run if a goroutine is left when all tests have ended: this
// package starts none, whatever GitHub or a store does to it. It also fails it if an
// answer was not as openapi.json has it, and with -v says which that are documented no
// test has met.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(documentedRun{m})
}

type documentedRun struct{ *testing.M }

func (r documentedRun) Run() int {
	code := r.M.Run()
	for _, problem := range wire.problems {
		fmt.Fprintln(os.Stderr, "not as in openapi.json:", problem)
		code = max(code, 1)
	}
	if testing.Verbose() {
		pairs, documented := wire.neverMet()
		fmt.Printf("met %d of the %d documented pairs of a call and a status\n", documented-len(pairs), documented)
		for _, pair := range pairs {
			fmt.Println("never met:", pair)
		}
	}
	return code
}
