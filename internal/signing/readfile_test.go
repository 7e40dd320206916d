package signing_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/stretchr/testify/require"
)

// readWithMode writes a file with the given mode and reads it. It also returns what ReadFile logged.
func readWithMode(t *testing.T, mode os.FileMode) (content []byte, lines string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "signing.pem")
	require.NoError(t, os.WriteFile(path, []byte("canary"), 0o600))
	require.NoError(t, os.Chmod(path, mode))
	var log bytes.Buffer
	content, err = signing.ReadFile(path, slog.New(slog.NewTextHandler(&log, nil)))
	return content, log.String(), err
}

func TestTheModeOfAKeyFileDecidesWhetherItIsRead(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Log("the mode of a file says nothing on Windows")
		return
	}
	for mode, warns := range map[os.FileMode]bool{
		0o600: false, 0o400: false, 0o440: false, 0o640: false, 0o700: false,
		0o644: true, 0o444: true, 0o604: true, 0o755: true,
	} {
		content, lines, err := readWithMode(t, mode)
		require.NoError(t, err, "%o", mode)
		require.Equal(t, "canary", string(content))
		require.Equal(t, warns, strings.Contains(lines, "level=WARN"), "%o", mode)
		require.Equal(t, warns, strings.Contains(lines, "chmod 600"), "%o", mode)
		require.NotContains(t, lines, "canary")
	}
	for _, mode := range []os.FileMode{0o666, 0o660, 0o620, 0o622, 0o602, 0o777} {
		content, _, err := readWithMode(t, mode)
		require.ErrorContains(t, err, "signing.pem: accounts other than its owner can write it (mode 0")
		require.NotContains(t, err.Error(), "canary")
		require.Nil(t, content)
	}
}

// Kubernetes mounts a secret as links: signing.pem → ..data/signing.pem, and ..data → ..2026_11_29. A
// link itself has mode 0777. The mode of the file behind the links decides.
func TestAKeyFileBehindLinksIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "..2026_11_29", "signing.pem")
	require.NoError(t, os.Mkdir(filepath.Dir(target), 0o700))
	require.NoError(t, os.WriteFile(target, []byte("key"), 0o400))
	require.NoError(t, os.Symlink("..2026_11_29", filepath.Join(dir, "..data")))
	path := filepath.Join(dir, "signing.pem")
	require.NoError(t, os.Symlink(filepath.Join("..data", "signing.pem"), path))
	content, err := signing.ReadFile(path, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Equal(t, "key", string(content))

	require.NoError(t, os.Chmod(target, 0o666))
	_, err = signing.ReadFile(path, slog.New(slog.DiscardHandler))
	if runtime.GOOS != "windows" {
		require.ErrorContains(t, err, "can write it")
	}
}

// If ReadFile opened the pipe, it would wait forever, because no program writes to the pipe.
func TestAPipeIsNoKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	if !authtest.MakePipe(t, path) {
		return
	}
	_, err := signing.ReadFile(path, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "it is not a regular file")
}

func TestAPathWithoutAUsableKeyFileIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty, long := filepath.Join(dir, "empty"), filepath.Join(dir, "long")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.NoError(t, os.WriteFile(long, make([]byte, 1<<20+1), 0o600))
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"): "no such file",
		dir:                           "it is not a regular file",
		empty:                         "it is empty",
		long:                          "it is longer than 1048576 bytes",
	} {
		_, err := signing.ReadFile(path, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "auth: key file")
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, want)
	}
	_, err := signing.ReadFile(filepath.Join(dir, "missing"), slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, os.ErrNotExist)
}
