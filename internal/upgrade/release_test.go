package upgrade_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
)

// lastRelease returns the path of the test binary of this package in the last release.
func lastRelease(t *testing.T) string {
	t.Helper()
	tag := testenv.LastRelease(t)
	dir := testenv.TempDir(t)
	source, archive := filepath.Join(dir, "source"), filepath.Join(dir, "source.tar")
	binary := filepath.Join(dir, "instance")
	run(t, "", "mkdir", source)
	run(t, "../..", "git", "archive", "-o", archive, tag)
	run(t, source, "tar", "-xf", archive)
	run(t, source, "go", "test", "-c", "-o", binary, "./internal/upgrade")
	return binary
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %q: %s", name, args, out)
}
