package keyfile

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// file is the content of a new file.
type file struct {
	SigningKeys []jwk `json:"signing_keys"`
	SealingKeys []jwk `json:"sealing_keys"`
	Peppers     []jwk `json:"peppers"`
}

// jwk is a private key of kty "OKP" (RFC 8037) or "oct" (RFC 7518, section 6.4).
type jwk struct {
	KeyType   string    `json:"kty"`
	Curve     string    `json:"crv,omitempty"`
	X         string    `json:"x,omitempty"`
	D         string    `json:"d,omitempty"`
	K         string    `json:"k,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

// create writes a new key of each kind to a new file. If the file exists, the error matches fs.ErrExist.
func create(path string) error {
	now, encode := time.Now().UTC().Truncate(time.Second), base64.RawURLEncoding.EncodeToString
	symmetric := func() []jwk {
		secret := make([]byte, 32)
		rand.Read(secret)
		return []jwk{{KeyType: "oct", K: encode(secret), CreatedAt: now}}
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	signing := jwk{KeyType: "OKP", Curve: "Ed25519", X: encode(public), D: encode(private.Seed()),
		CreatedAt: now}
	text, err := json.MarshalIndent(file{[]jwk{signing}, symmetric(), symmetric()}, "", "  ")
	if err != nil {
		return err
	}
	return writeNew(path, append(text, '\n'))
}

// writeNew writes a complete new file or none: it writes a temporary file, and then links it to the path,
// which fails if the path exists.
func writeNew(path string, content []byte) error {
	dir := filepath.Dir(path)
	temporary, err := os.CreateTemp(dir, filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(content)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir flushes a directory to disk, so that a new file in it survives a power failure. Windows cannot
// flush a directory.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
