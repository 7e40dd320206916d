package regularfile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

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
