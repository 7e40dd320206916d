package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// keyFile is the content of the file that holds the keys of the service. The file is next to the
// database. Keep the file as long as the database: without the pepper in the file, no access secret
// can be verified.
type keyFile struct {
	Signing []byte `json:"signing"` // HS256
	Sealing []byte `json:"sealing"`
	Pepper  []byte `json:"pepper"`

	// FirstKey and FirstSecret are the access key and secret of the first super user. The file
	// keeps both until Printed is true. So if a start is interrupted after it has created the user,
	// the next start can still print both.
	FirstKey    string `json:"first_access_key,omitempty"`
	FirstSecret string `json:"first_access_secret,omitempty"`
	Printed     bool   `json:"printed"`
}

// newKeys returns new random keys.
func newKeys() *keyFile {
	random := func() []byte {
		key := make([]byte, 32)
		rand.Read(key)
		return key
	}
	keys := &keyFile{Signing: random(), Sealing: random(), Pepper: random()}
	keys.newFirst()
	return keys
}

// newFirst creates a new access key and secret for the first super user.
func (k *keyFile) newFirst() {
	verifier, err := auth.NewCredentialVerifier(memstore.New(), nil, auth.CredentialConfig{})
	if err != nil {
		panic(err) // these arguments are always valid
	}
	pair := verifier.GeneratePair()
	k.FirstKey, k.FirstSecret, k.Printed = pair.AccessKey, pair.AccessSecret.Reveal(), false
}

// loadKeys reads the key file. If the file does not exist, found is false and err is nil.
func loadKeys(path string) (keys *keyFile, found bool, err error) {
	text, err := auth.ReadKeyFile(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	keys = new(keyFile)
	if json.Unmarshal(text, keys) != nil { // the error message could quote a key
		return nil, false, fmt.Errorf("%s is damaged: restore it from a backup", path)
	}
	return keys, true, nil
}

// save writes the file atomically: if the machine stops during the write, the file has either the
// complete old content or the complete new content.
func (k *keyFile) save(path string) error {
	return k.write(path, os.Rename)
}

// create writes the file atomically, like the method save. If the file exists already, create
// returns fs.ErrExist. So if several processes call create at the same time, only one succeeds.
func (k *keyFile) create(path string) error {
	return k.write(path, func(temporary, path string) error {
		if err := os.Link(temporary, path); err != nil {
			return err
		}
		return os.Remove(temporary)
	})
}

func (k *keyFile) write(path string, place func(temporary, path string) error) (err error) {
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	temporary, err := os.CreateTemp(dir, filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(append(text, '\n'))
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	if err := place(temporary.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir flushes the directory to disk, so that a rename in it survives a power failure.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// config returns the configuration for these keys.
func (k *keyFile) config() (auth.Config, error) {
	signing, err1 := auth.NewHS256Key("", k.Signing)
	sealing, err2 := auth.NewSymmetricKey("1", k.Sealing)
	pepper, err3 := auth.NewSymmetricKey("1", k.Pepper)
	if err := errors.Join(err1, err2, err3); err != nil {
		return auth.Config{}, err
	}
	return auth.Config{
		Issuer:      "https://quickstart.example",
		SigningKeys: []auth.SigningKey{signing},
		SealingKeys: []auth.SymmetricKey{sealing},
		Credentials: auth.CredentialConfig{Peppers: []auth.SymmetricKey{pepper}},
		Proxies:     auth.NoProxies(), // browsers connect to the service directly
	}, nil
}
