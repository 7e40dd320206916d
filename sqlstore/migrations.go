package sqlstore

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"
)

//go:embed migrations
var embedded embed.FS

// Migrations returns the migrations of the dialect, for tables whose names begin with the prefix.
// An empty prefix means "auth_". The migrations are files for github.com/pressly/goose in the root
// of the returned file system, one file for each version.
//
// Most hosts do not call Migrations, because [Open] applies the migrations. A host with its own
// migration process applies these files and sets Config.SkipMigrations. The name of goose's version
// table must be the prefix and "schema_version", such as auth_schema_version. The table must be used for
// no other files. Then the host's goose, Open, and the next version of the host agree on which files
// were applied.
//
// A migration cannot be reverted: the Down part of each file is a statement that fails. To go back to
// an earlier version, restore a backup.
//
// A released file never changes. Later versions of this package only add files.
func Migrations(dialect Dialect, prefix string) (fs.FS, error) {
	if _, err := knownDialect(dialect); err != nil {
		return nil, err
	}
	prefix, err := checkedPrefix(prefix)
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(embedded, "migrations/"+string(dialect))
	if err != nil || prefix == defaultPrefix {
		return files, err
	}
	return renamedFiles{files, prefix}, nil
}

// validPrefix matches at most 24 characters. With a longer prefix, the names of some tables and
// indexes would exceed the 63 bytes that PostgreSQL allows.
var validPrefix = regexp.MustCompile(`^[a-z][a-z0-9_]{0,23}$`)

func checkedPrefix(prefix string) (string, error) {
	if prefix == "" {
		return defaultPrefix, nil
	}
	if !validPrefix.MatchString(prefix) {
		return "",
			errors.New("sqlstore: Prefix must be 1 to 24 lower-case letters, digits and underscores, a " +
				"letter first")
	}
	return prefix, nil
}

func knownDialect(name Dialect) (dialect, error) {
	d, ok := dialects[name]
	if !ok {
		return d,
			fmt.Errorf("sqlstore: unknown dialect %q: use sqlstore.SQLite, sqlstore.Postgres or "+
				"sqlstore.MySQL", name)
	}
	return d, nil
}

// renamedFiles is the file system of the embedded files, but with another prefix in the table
// names.
type renamedFiles struct {
	fs.FS
	prefix string
}

// Open implements [fs.FS].
func (r renamedFiles) Open(name string) (fs.File, error) {
	file, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || info.IsDir() {
		return file, err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	text = []byte(strings.ReplaceAll(string(text), defaultPrefix, r.prefix))
	return &renamedFile{File: file, size: int64(len(text)), Reader: bytes.NewReader(text)}, nil
}

// renamedFile is an open file of [renamedFiles]. Its rewritten content is in memory.
type renamedFile struct {
	fs.File
	size int64
	*bytes.Reader
}

func (f *renamedFile) Read(b []byte) (int, error) { return f.Reader.Read(b) }

func (f *renamedFile) Close() error { return nil }

func (f *renamedFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return renamedInfo{info, f.size}, err
}

type renamedInfo struct {
	fs.FileInfo
	size int64
}

func (i renamedInfo) Size() int64 { return i.size }
