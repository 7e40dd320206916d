// Package regularfile opens files that another program can replace at any time.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

var errNotRegular = errors.New("it is not a regular file")

// Open opens a regular file for reading, and returns its size and mode. It returns an error for any other
// file. Opening a pipe, for example, would wait for a writer, whatever context the caller has.
func Open(path string) (*os.File, fs.FileInfo, error) {
	file, err := open(path) // follows links, because Kubernetes mounts a secret as a link to a link
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat() // of the open file, because another file can be at the path by now
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// Read returns the content of a regular file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	file, _, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}
