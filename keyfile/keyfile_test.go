package keyfile_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/stretchr/testify/require"
)

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "app.keys") }

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// fingerprints returns the fingerprints of all keys. Two keys have the same one only if they are equal.
func fingerprints(keys keyfile.Keys) (all []string) {
	for _, key := range keys.Signing {
		all = append(all, key.Info().Fingerprint)
	}
	for _, key := range append(keys.Sealing, keys.Peppers...) {
		all = append(all, key.Info().Fingerprint)
	}
	return all
}

func TestTheFirstCallMakesAKeyOfEachKindAndLaterCallsReadThem(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	made, err := keyfile.ReadOrCreate(path, nil)
	require.NoError(t, err)
	require.Len(t, made.Signing, 1)
	require.Equal(t, "EdDSA", made.Signing[0].Info().Algorithm)
	require.Len(t, made.Sealing, 1)
	require.Len(t, made.Peppers, 1)
	require.Len(t, distinct(fingerprints(made)), 3, "no secret may have two purposes")

	again, err := keyfile.ReadOrCreate(path, nil)
	require.NoError(t, err)
	require.Equal(t, fingerprints(made), fingerprints(again))
	read, err := keyfile.Read(path, nil)
	require.NoError(t, err)
	require.Equal(t, fingerprints(made), fingerprints(read))

	other, err := keyfile.ReadOrCreate(newPath(t), nil)
	require.NoError(t, err)
	require.Len(t, distinct(append(fingerprints(made), fingerprints(other)...)), 6, "the keys are random")
}

func distinct(texts []string) map[string]bool {
	set := map[string]bool{}
	for _, text := range texts {
		set[text] = true
	}
	return set
}

func TestANewFileIsReadableByItsOwnerOnlyAndLeavesNoOther(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	_, err := keyfile.ReadOrCreate(path, nil)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestTheFileTellsWhenItsKeysWereMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(90 * time.Minute) // of the bubble's clock
		keys, err := keyfile.ReadOrCreate(newPath(t), nil)
		require.NoError(t, err)
		for _, info := range []auth.KeyInfo{
			keys.Signing[0].Info(), keys.Sealing[0].Info(), keys.Peppers[0].Info(),
		} {
			require.Equal(t, time.Now().UTC(), keys.CreatedAt(info))
		}
		require.Zero(t, keys.CreatedAt(auth.KeyInfo{}))
		require.Zero(t, keyfile.Keys{}.CreatedAt(keys.Signing[0].Info()))
	})
}

func TestProcessesThatStartAtOnceShareTheirKeys(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	made := make(chan []string)
	for range 16 {
		go func() {
			keys, err := keyfile.ReadOrCreate(path, nil)
			if err != nil {
				t.Error(err)
			}
			made <- fingerprints(keys)
		}()
	}
	first := <-made
	require.Len(t, first, 3)
	for range 15 {
		require.Equal(t, first, <-made)
	}
}

func TestReadMakesNoFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	_, err := keyfile.Read(path, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoFileExists(t, path)
}

func TestAFileThatCannotBeMadeIsAnError(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		filepath.Join(t.TempDir(), "missing", "app.keys"), t.TempDir(), "/dev/null",
	} {
		_, err := keyfile.ReadOrCreate(path, nil)
		require.Error(t, err, path)
	}
	dangling := newPath(t)
	require.NoError(t, os.Symlink("nowhere", dangling))
	_, err := keyfile.ReadOrCreate(dangling, nil)
	require.ErrorIs(t, err, fs.ErrNotExist, "a link that leads nowhere must not be replaced")
}

func TestPermissionsThatExposeTheKeysAreReported(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	_, err := keyfile.ReadOrCreate(path, nil)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o644))
	var log bytes.Buffer
	_, err = keyfile.Read(path, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	require.Contains(t, log.String(), "every account of this machine can read the key file")
	require.NoError(t, os.Chmod(path, 0o666))
	_, err = keyfile.ReadOrCreate(path, nil)
	require.ErrorContains(t, err, "accounts other than its owner can write it")
}

func newSecret() string {
	secret := make([]byte, 32)
	rand.Read(secret)
	return base64.RawURLEncoding.EncodeToString(secret)
}

func TestAnEditedFileHoldsRingsOfKeys(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	write(t, path, fmt.Sprintf(`{"peppers": [], "sealing_keys": [{"kty": "oct", "kid": "new", "k": %q},
		{"kty": "oct", "kid": "old", "k": %q, "created_at": "2026-01-05T15:02:30+01:00"}],
		"signing_keys": [{"kty": "oct", "kid": "a", "k": %q},
		{"kty": "oct", "kid": "b", "k": %q, "sallyport_retired_at": 1795959634, "created_at": "2025-01-01T00:00:00Z"}]}`,
		newSecret(), newSecret(), newSecret(), newSecret()))
	keys, err := keyfile.Read(path, nil)
	require.NoError(t, err)
	require.Empty(t, keys.Peppers)
	require.Len(t, keys.Sealing, 2)
	require.Equal(t, "new", keys.Sealing[0].Info().ID)
	require.Equal(t, int64(1795959634), keys.Signing[1].Info().RetiredAt.Unix())
	made := keys.CreatedAt(keys.Sealing[1].Info())
	require.Equal(t, time.Date(2026, 1, 5, 14, 2, 30, 0, time.UTC), made.UTC())
	require.Zero(t, keys.CreatedAt(keys.Sealing[0].Info()), "the file does not tell")
}

// The messages of the errors must name the place, and must not quote the file.
func TestAWrongFileIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	secret := newSecret()
	good := `{"kty":"oct","k":"` + secret + `"}`
	with := func(signing, sealing, peppers string) string {
		return fmt.Sprintf(`{"signing_keys":[%s],"sealing_keys":[%s],"peppers":[%s]}`, signing, sealing, peppers)
	}
	for name, c := range map[string]struct{ text, problem string }{
		"not JSON":           {secret, "not one JSON object"},
		"cut off":            {with(good, good, good)[:100], "not one JSON object"},
		"empty":              {"", "it is empty"},
		"a ring is missing":  {`{"signing_keys":[` + good + `],"sealing_keys":[]}`, "peppers must be an array"},
		"an unknown member":  {`{"signing_keys":[],"sealing_keys":[],"peppers":[],"pepper":[]}`, `"pepper" is unknown`},
		"a member twice":     {`{"peppers":[],"peppers":[]}`, "given twice"},
		"no array":           {`{"signing_keys":` + good + `,"sealing_keys":[],"peppers":[]}`, "signing_keys must be an array"},
		"a set as a key":     {with(`{"keys":[`+good+`,{"kty":"oct","k":"`+newSecret()+`"}]}`, "", ""), "signing_keys[0]: it must be one key"},
		"a bad signing key":  {with(good+`,{"kty":"oct","k":"c2hvcnQ"}`, "", ""), "signing_keys[1]: "},
		"a short pepper":     {with(good, "", `{"kty":"oct","k":"c2hvcnQ"}`), "peppers[0]: auth: symmetric key"},
		"another kty":        {with(good, `{"kty":"OKP","k":"`+secret+`"}`, ""), "sealing_keys[0]: kty must be oct"},
		"not base64url":      {with(good, `{"kty":"oct","k":"`+secret+`="}`, ""), "k must be base64url"},
		"a kid of a number":  {with(good, `{"kty":"oct","kid":1,"k":"`+secret+`"}`, ""), "kid must be a string"},
		"a misspelled kid":   {with(good, `{"kty":"oct","id":"1","k":"`+secret+`"}`, ""), `"id" is unknown`},
		"no time":            {with(good, `{"kty":"oct","k":"`+secret+`","created_at":"yesterday"}`, ""), "created_at must be a time"},
		"a time of a number": {with(`{"kty":"oct","k":"`+secret+`","created_at":1795959634}`, "", ""), "created_at must be a time"},
		"an element of text": {with(good, `"`+secret+`"`, ""), "sealing_keys[0]: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			write(t, path, c.text)
			_, err := keyfile.ReadOrCreate(path, nil)
			require.ErrorContains(t, err, c.problem)
			require.NotContains(t, err.Error(), secret[:8])
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, c.text, string(content), "a file that exists must not be replaced")
		})
	}
}

func TestKeysDoNotPrintTheirSecrets(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	keys, err := keyfile.ReadOrCreate(path, nil)
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	printed := fmt.Sprintf("%v %+v %#v", keys, keys, keys)
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name == `"k"` || name == `"d"` {
			secret := strings.Trim(value, `",`)
			require.Len(t, secret, 43)
			require.NotContains(t, printed, secret)
		}
	}
}
