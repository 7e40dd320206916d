// Package keyfile keeps the keys of a service in one file: the signing keys, the sealing keys and the
// peppers. [ReadOrCreate] makes the file at the first start of a service. So nobody needs to make keys by
// hand before that.
//
// Keep the file as long as the database. Without the peppers, no access secret can be verified. Back the
// file up apart from the database: anyone who has both can sign in as any user.
//
// If the instances of a service run on several machines, make the file once, and give all instances a copy.
// Otherwise, each instance rejects the tokens of the others.
//
// # Format
//
// The file is a JSON object with three arrays. Each array is a ring, whose first key makes new signatures,
// ciphertexts or hashes:
//
//	{
//	  "signing_keys": [
//	    {"kty": "OKP", "crv": "Ed25519", "x": "…", "d": "…", "created_at": "2026-01-05T14:02:30Z"}
//	  ],
//	  "sealing_keys": [{"kty": "oct", "k": "…", "created_at": "2026-01-05T14:02:30Z"}],
//	  "peppers": [{"kty": "oct", "k": "…", "created_at": "2026-01-05T14:02:30Z"}]
//	}
//
// Each key is a private JWK (RFC 7517). A signing key may be any that [auth.ParseSigningKeys] accepts, with
// the member sallyport_retired_at if it is retired. The other keys have the kty "oct" and at least 32 bytes
// in base64url. The members kid and created_at are optional. Without kid, the ID is derived from the key.
// To replace a key, edit the file: docs/replace-keys.md says in which steps.
package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/strictjson"
)

// Keys are the keys in a file.
type Keys struct {
	Signing []auth.SigningKey   // for Config.SigningKeys
	Sealing []auth.SymmetricKey // for Config.SealingKeys
	Peppers []auth.SymmetricKey // for CredentialConfig.Peppers

	created map[string]time.Time // by KeyInfo.Fingerprint
}

// CreatedAt returns the time at which a key of the file was made, or the zero time if the file does not say.
// It is a value for authcmd.Host.KeyCreatedAt.
func (k Keys) CreatedAt(key auth.KeyInfo) time.Time {
	return k.created[key.Fingerprint]
}

// ReadOrCreate returns the keys in the file. If the file does not exist, ReadOrCreate creates it with a new
// key of each kind, which only the owner of the file can read. The new signing key is an EdDSA key. If
// several processes call ReadOrCreate at the same time, all of them get the same keys. If the process ends
// meanwhile, the file is complete or does not exist. Its name with a number after it can then be the name of
// another file, which contains the same keys or keys that nothing uses: delete this file. The file system
// must have hard links.
//
// Do not call ReadOrCreate for a service that has a database but has lost the file: with new peppers, no
// user can sign in. Call [Read], whose error then says that the file is missing.
func ReadOrCreate(path string, log *slog.Logger) (Keys, error) {
	keys, err := Read(path, log)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	// ErrExist means that another process has created the file since it was read.
	if err := create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return Keys{}, fmt.Errorf("keyfile: %w", err)
	}
	return Read(path, log)
}

// Read returns the keys in the file. If the file does not exist, the error matches fs.ErrNotExist. The
// permissions of the file are checked as [auth.ReadKeyFile] says: if all accounts can read the file, Read
// logs a warning. If log is nil, Read uses slog.Default().
//
// If anything in the file is wrong, Read returns no keys, and an error that says what is wrong. The error
// contains no part of a key.
func Read(path string, log *slog.Logger) (Keys, error) {
	text, err := auth.ReadKeyFile(path, log)
	if errors.Is(err, fs.ErrNotExist) {
		return Keys{}, fmt.Errorf("keyfile: the keys are missing: restore their file from a backup: %w", err)
	}
	if err != nil {
		return Keys{}, err
	}
	keys, err := parse(text)
	clear(text)
	if err != nil {
		return Keys{}, fmt.Errorf("keyfile: %s: %w: correct the file, or restore it from a backup", path,
			err)
	}
	return keys, nil
}

// rings are the members of the file.
var rings = []string{"signing_keys", "sealing_keys", "peppers"}

func parse(text []byte) (Keys, error) {
	keys := Keys{created: map[string]time.Time{}}
	object, err := strictjson.Parse(text, rings)
	if err != nil {
		return Keys{}, err
	}
	if unknown := object.Unknown(); len(unknown) > 0 {
		return Keys{}, fmt.Errorf("the member %q is unknown", unknown[0])
	}
	for i, add := range []func(jwk []byte) (auth.KeyInfo, error){
		keys.addSigning, addSymmetric(&keys.Sealing), addSymmetric(&keys.Peppers),
	} {
		elements, ok := object.Value(i).Elements()
		if !ok {
			return Keys{}, fmt.Errorf("%s must be an array of keys", rings[i])
		}
		for j, element := range elements {
			info, err := add(element.Raw())
			if err == nil {
				err = keys.addTime(info, element.Raw())
			}
			if err != nil {
				return Keys{}, fmt.Errorf("%s[%d]: %w", rings[i], j, err)
			}
		}
	}
	return keys, nil
}

func (k *Keys) addSigning(jwk []byte) (auth.KeyInfo, error) {
	parsed, err := auth.ParseSigningKeys(jwk)
	if err != nil {
		return auth.KeyInfo{}, err
	}
	if len(parsed) != 1 {
		return auth.KeyInfo{}, errors.New("it must be one key, not a set")
	}
	k.Signing = append(k.Signing, parsed[0])
	return parsed[0].Info(), nil
}

// addSymmetric returns a function that appends a key to the ring.
func addSymmetric(ring *[]auth.SymmetricKey) func(jwk []byte) (auth.KeyInfo, error) {
	return func(jwk []byte) (auth.KeyInfo, error) {
		object, err := strictjson.Parse(jwk, []string{"kty", "k", "kid", "created_at"})
		if err != nil {
			return auth.KeyInfo{}, err
		}
		if unknown := object.Unknown(); len(unknown) > 0 {
			return auth.KeyInfo{}, fmt.Errorf("the member %q is unknown", unknown[0])
		}
		if !object.Value(0).Is("oct") { // RFC 7518, section 6.4
			return auth.KeyInfo{}, errors.New("kty must be oct")
		}
		text, _ := object.Value(1).Text()
		secret, err := canonical.DecodeBase64URL(text)
		if err != nil {
			return auth.KeyInfo{}, errors.New("k must be base64url without padding")
		}
		id, ok := object.Value(2).Text()
		if !ok && object.Value(2).Kind() != strictjson.Absent {
			return auth.KeyInfo{}, errors.New("kid must be a string")
		}
		key, err := auth.NewSymmetricKey(id, secret)
		if err != nil {
			return auth.KeyInfo{}, err
		}
		*ring = append(*ring, key)
		return key.Info(), nil
	}
}

// addTime keeps the time at which the key was made.
func (k *Keys) addTime(info auth.KeyInfo, jwk []byte) error {
	object, err := strictjson.Parse(jwk, []string{"created_at"})
	if err != nil || object.Value(0).Kind() == strictjson.Absent {
		return err
	}
	text, _ := object.Value(0).Text()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return errors.New("created_at must be a time such as 2026-01-05T14:02:30Z")
	}
	k.created[info.Fingerprint] = at
	return nil
}
