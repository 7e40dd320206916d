//go:build !unix

package regularfile

import "os"

// open opens a file. On these systems, no pipe is at a path of the file system.
func open(path string) (*os.File, error) { return os.Open(path) }
