package wiretest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if a goroutine is left after all tests: the library must leave none, even if
// GitHub or a store fails. It also fails if a response differs from openapi.json. With -v, it lists
// the documented responses that no test has received.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(documentedRun{m})
}

type documentedRun struct{ *testing.M }

func (r documentedRun) Run() int {
	code := r.M.Run()
	for _, s := range []*server{postgres, mariadb} {
		if err := s.removeSchema(); err != nil {
			fmt.Fprintf(os.Stderr, "the schema %s was not removed: %v\n", s.schema, err)
			code = 1
		}
	}
	for _, problem := range wire.problems {
		fmt.Fprintln(os.Stderr, "not as in openapi.json:", problem)
		code = max(code, 1)
	}
	if testing.Verbose() {
		pairs, documented := wire.neverMet()
		fmt.Printf("met %d of the %d documented pairs of a call and a status\n",
			documented-len(pairs), documented)
		for _, pair := range pairs {
			fmt.Println("never met:", pair)
		}
	}
	return code
}
