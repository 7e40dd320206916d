package authclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/regularfile"
)

// Source supplies the access key and the access secret of a [Client]. The Client calls the Source before each
// sign-in, so a secret that was replaced meanwhile is used from then on. A Source must be safe for concurrent
// use.
type Source interface {
	// KeyPair returns the access key and its secret. An error must not contain the secret.
	KeyPair(ctx context.Context) (auth.KeyPair, error)
}

// SourceFunc is a function that is a [Source], for example one that asks a secret manager.
type SourceFunc func(ctx context.Context) (auth.KeyPair, error)

// KeyPair calls the function.
func (f SourceFunc) KeyPair(ctx context.Context) (auth.KeyPair, error) { return f(ctx) }

// FromPair returns a Source with a fixed access key and secret.
func FromPair(accessKey, accessSecret string) Source {
	pair := auth.KeyPair{AccessKey: accessKey, AccessSecret: auth.NewSecret(accessSecret)}
	return SourceFunc(func(context.Context) (auth.KeyPair, error) { return pair, nil })
}

// FromEnv returns a Source that reads the access key and the secret from these environment variables.
// [Client] returns an error that names a variable that is missing or empty.
func FromEnv(accessKey, accessSecret string) Source {
	return SourceFunc(func(context.Context) (auth.KeyPair, error) {
		for _, name := range []string{accessKey, accessSecret} {
			if os.Getenv(name) == "" {
				return auth.KeyPair{}, fmt.Errorf("the environment variable %s is not set", name)
			}
		}
		return auth.KeyPair{AccessKey: os.Getenv(accessKey),
			AccessSecret: auth.NewSecret(os.Getenv(accessSecret))}, nil
	})
}

// maxFile is the maximum size of a file with a key, in bytes.
const maxFile = 64 << 10

// FromFile returns a Source that reads a JSON file with the fields access_key and access_secret. It ignores
// other fields, so the file can be the saved answer of a call that made or rotated the key. The file is read
// before each sign-in. A program that replaces the file must rename a complete file over it. The file must
// be a regular file of at most 64 KiB, or a link to one: reading a pipe would wait for a writer.
func FromFile(path string) Source {
	return SourceFunc(func(context.Context) (auth.KeyPair, error) { return readFile(path) })
}

func readFile(path string) (auth.KeyPair, error) {
	text, err := regularfile.Read(path, maxFile)
	if err != nil {
		return auth.KeyPair{}, err
	}
	var content struct {
		AccessKey    string `json:"access_key"`
		AccessSecret string `json:"access_secret"`
	}
	if json.Unmarshal(text, &content) != nil { // its error can contain a part of the text
		return auth.KeyPair{}, fmt.Errorf("%s is not a JSON object with access_key and access_secret", path)
	}
	return auth.KeyPair{AccessKey: content.AccessKey, AccessSecret: auth.NewSecret(content.AccessSecret)}, nil
}

// requirePair returns an error if the pair of a Source is not complete.
func requirePair(pair auth.KeyPair) error {
	switch {
	case pair.AccessKey == "":
		return errors.New("the access key is empty")
	case pair.AccessSecret.Reveal() == "":
		return errors.New("the access secret is empty")
	}
	return nil
}
