package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/oauth2"
)

// tokenFile keeps the token of the person in a directory.
type tokenFile struct{ directory string }

// savedToken is the content of the file. It names the service, so that the token never goes to another one.
type savedToken struct {
	Service string        `json:"service"`
	Token   *oauth2.Token `json:"token"`
}

func (f tokenFile) path() string { return filepath.Join(f.directory, "token.json") }

// save replaces the file. Only the user can read the new file, whatever the mode of the old one was. If the
// program is killed meanwhile, the old file stays.
func (f tokenFile) save(service string, token *oauth2.Token) error {
	text, err := json.Marshal(savedToken{service, token})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.directory, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(f.directory, "token-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails after the rename
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), f.path())
}

// load returns the token for the service, or errSignedOut if there is none.
func (f tokenFile) load(service string) (*oauth2.Token, error) {
	info, err := os.Stat(f.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errSignedOut
	case err != nil:
		return nil, err
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("other users can read %s: sign in again, and find out why its mode changed",
			f.path())
	}
	text, err := os.ReadFile(f.path())
	if err != nil {
		return nil, err
	}
	var saved savedToken
	if err := json.Unmarshal(text, &saved); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(), err)
	}
	if saved.Service != service || !saved.Token.Valid() {
		return nil, errSignedOut
	}
	return saved.Token, nil
}

// remove removes the file, if there is one.
func (f tokenFile) remove() error {
	if err := os.Remove(f.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
