package histories_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storetest/histories"
)

// A test of a store calls Run once. The test function of this example would be
// TestHistoriesAreLinearizable(t *testing.T).
func ExampleRun() {
	var t *testing.T // the argument of the test function
	histories.Run(t, func(*testing.T) auth.Store { return memstore.New() }, histories.Config{})
}

// Several processes can use a store in a database. The test starts its own program again as such a
// process. Its function TestMain opens the store and calls Serve if the variable is set.
func ExampleRun_processes() {
	var t *testing.T                                              // the argument of the test function
	open := func(*testing.T) auth.Store { return memstore.New() } // opens the database
	histories.Run(t, open, histories.Config{Worker: func() *exec.Cmd {
		worker := exec.Command(os.Args[0])
		worker.Env = append(os.Environ(), "MYSTORE_WORKER=1")
		return worker
	}})
}
