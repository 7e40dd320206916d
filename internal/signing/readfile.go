package signing

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"github.com/sallyport-go/auth/internal/regularfile"
)

const (
	readableByAll    = 0o004
	writableByOthers = 0o022 // by the group, or by all
)

// ReadFile returns the content of a file with keys or secrets. It returns an error if accounts other
// than the owner of the file can write it, and logs a warning if all accounts can read it. On
// Windows, it does not check this, because the mode of a file says nothing about other accounts.
func ReadFile(path string, log *slog.Logger) ([]byte, error) {
	file, info, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("auth: key file: %w", err)
	}
	defer file.Close()
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" {
		if mode&writableByOthers != 0 {
			return nil, fmt.Errorf("auth: key file %s: accounts other than its owner can write it "+
				"(mode %04o): allow only the owner, with chmod 600, and replace its keys if another "+
				"account may have changed them", path, mode)
		}
		if mode&readableByAll != 0 {
			log.Warn("auth: every account of this machine can read the key file: allow only the account of "+
				"this service, with chmod 600", "path", path, "mode", fmt.Sprintf("%04o", mode))
		}
	}
	content, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("auth: key file: %w", err)
	case len(content) > maxKeyFile:
		return nil, fmt.Errorf("auth: key file %s: it is longer than %d bytes", path, maxKeyFile)
	case len(content) == 0:
		return nil, errors.New("auth: key file " + path + ": it is empty")
	}
	return content, nil
}
