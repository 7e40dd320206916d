package upgrade_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
)

// releases matches the tags of releases of this module. Nested modules have tags with a path, such as
// otelauth/v0.1.0.
const releases = "v[0-9]*"

// lastTag returns the tag of the last release before this version, or "" if there is none.
var lastTag = sync.OnceValue(func() string {
	out, err := exec.Command("git", "describe", "--tags", "--abbrev=0", "--match", releases, "HEAD").Output()
	if err != nil {
		return "" // no tag, no history, or no git
	}
	return strings.TrimSpace(string(out))
})

// lastRelease returns the path of the test binary of this package in the last release.
func lastRelease(t *testing.T) string {
	t.Helper()
	tag := lastTag()
	if tag == "" {
		t.Skip("there is no earlier release: git describe finds no tag that matches " + releases)
	}
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
