//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
)

// repository is a Git repository on a branch named main.
type repository struct {
	*testing.T
	dir string
}

func newRepository(t *testing.T) repository {
	r := repository{t, testenv.TempDir(t)}
	r.git("init", "--quiet", "--initial-branch=main")
	return r
}

func (r repository) git(args ...string) string {
	r.Helper()
	user := []string{"-c", "user.name=test", "-c", "user.email=test@example.com"}
	out, err := git(r.dir, append(user, args...)...)
	require.NoError(r, err)
	return out
}

func (r repository) commit(message string) (hash string) {
	r.Helper()
	r.git("commit", "--quiet", "--allow-empty", "-m", message)
	return r.git("rev-parse", "HEAD")
}

func TestTheBaseIsWhereTheChangeBegan(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	_, why := baseOf(r.dir)
	require.Equal(t, "this is no clone with a commit", why)
	first := r.commit("first")
	_, why = baseOf(r.dir)
	require.Equal(t, "the clone has no earlier commit", why)
	second := r.commit("second")
	base, why := baseOf(r.dir)
	require.Equal(t, first, base)
	require.Empty(t, why)

	r.git("update-ref", "refs/remotes/origin/main", second)
	base, _ = baseOf(r.dir)
	require.Equal(t, first, base, "a commit on the main branch is compared with its parent")
	r.commit("third")
	r.commit("fourth")
	base, _ = baseOf(r.dir)
	require.Equal(t, second, base, "a branch is compared with the commit where it began")
}

func TestWithoutABaseOneLineSaysWhy(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.commit("first")
	for _, want := range []string{"the clone has no earlier commit", "has no benchmarks"} {
		var log strings.Builder
		slower, err := run(r.dir, &log)
		require.NoError(t, err)
		require.Empty(t, slower)
		require.Regexp(t, `^speed is not compared: .*`+want+`\n$`, log.String())
		r.commit("second")
	}
}

func TestAFailedBuildIsReported(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	file := filepath.Join(r.dir, "internal", "speed", "bench_test.go")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(t, os.WriteFile(file, []byte("package speed\n"), 0o600))
	r.git("add", ".")
	r.commit("first")
	r.commit("second")
	_, err := run(r.dir, new(strings.Builder))
	require.ErrorContains(t, err, "go test -c")
}

func TestACommitAnnouncesThatABenchmarkBecomesSlower(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"Write the client\n\nSlower: SignIn, because it writes more": true,
		"Slower: Revoke and SignIn":                                  true,
		"Slower: Revoke":                                             false,
		"Slower: SignIns":                                            false,
		"Make SignIn slower":                                         false,
		"It is not Slower: SignIn":                                   false,
	} {
		require.Equal(t, want, announced(message, "SignIn"), message)
	}
}

func TestEveryBenchmarkReportsItsTimes(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	for _, b := range benchmarks {
		times, err := measureOnce(self, b.name, "300x")
		require.NoError(t, err, b.name)
		require.Positive(t, times.elapsed, b.name)
	}
}
