package authtest

import (
	"os/exec"
	"testing"
)

// MakePipe makes a named pipe at the path. It returns false if the system has no named pipes.
func MakePipe(t testing.TB, path string) bool {
	t.Helper()
	if err := exec.Command("mkfifo", path).Run(); err != nil {
		t.Log("this system has no named pipes:", err)
		return false
	}
	return true
}
