//go:build !unix

package histories

import (
	"errors"
	"os"
)

// stopProcess returns an error, because package os cannot stop a process on this system.
func stopProcess(*os.Process) error { return errors.ErrUnsupported }

func continueProcess(*os.Process) error { return errors.ErrUnsupported }
