package regularfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/regularfile"
)

func TestOnlyRegularFilesUpToTheLimitAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, []byte("12345"), 0o600))
	require.NoError(t, os.Symlink("file", link))
	for _, path := range []string{file, link} {
		text, err := regularfile.Read(path, 5)
		require.NoError(t, err)
		require.Equal(t, "12345", string(text))
		_, err = regularfile.Read(path, 4)
		require.EqualError(t, err, path+" has more than 4 bytes")
	}
	_, err := regularfile.Read(filepath.Join(dir, "none"), 5)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, path := range []string{dir, os.DevNull} {
		_, err = regularfile.Read(path, 5)
		require.ErrorContains(t, err, path+": it is not a regular file")
	}
}

// The attack: another account replaces the file by a pipe, also between a check and the opening. A pipe
// without a writer would block the caller forever.
func TestAPipeNeverBlocksTheCaller(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if !authtest.MakePipe(t, pipe) {
		return
	}
	_, _, err := regularfile.Open(pipe)
	require.ErrorContains(t, err, pipe+": it is not a regular file")
}

// The attack of the test above, with a race.
func TestAFileThatIsReplacedByAPipeAllTheTimeIsReadOrRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, spare := filepath.Join(dir, "file"), filepath.Join(dir, "spare")
	if !authtest.MakePipe(t, spare) {
		return
	}
	require.NoError(t, os.WriteFile(path, []byte("12345"), 0o600))
	var stop atomic.Bool
	swapped := make(chan error, 1)
	go func() {
		var err error
		for err == nil && !stop.Load() {
			aside := filepath.Join(dir, "aside")
			err = errors.Join(os.Rename(path, aside), os.Rename(spare, path), os.Rename(aside, spare))
		}
		swapped <- err
	}()
	for range 5000 {
		if text, err := regularfile.Read(path, 5); err == nil {
			require.Equal(t, "12345", string(text))
		}
	}
	stop.Store(true)
	require.NoError(t, <-swapped)
}
