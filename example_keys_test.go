package auth_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
)

// An access key gets a new secret. The previous secret works for one more day, so that clients can
// switch to the new secret.
func ExampleCredentialVerifier_Rotate() {
	ctx := context.Background()
	keys, err := auth.NewCredentialVerifier(withUser("u1", "alice"), nil, auth.CredentialConfig{})
	if err != nil {
		log.Fatal(err)
	}
	pair, err := keys.Issue(ctx, auth.ByHost("setup"), "u1", auth.KeyOptions{Label: "build server"})
	if err != nil {
		log.Fatal(err)
	}
	next, err := keys.Rotate(ctx, auth.ByHost("setup"), pair.AccessKey, 24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	_, _, errOld := keys.Verify(ctx, pair)
	_, _, errNew := keys.Verify(ctx, next)
	fmt.Println(errOld, errNew)
	// Output: <nil> <nil>
}

// A program searches a published text for access secrets of this service, and revokes their access
// keys.
func ExampleCredentialVerifier_RevokeLeaked() {
	ctx := context.Background()
	secret := make([]byte, 32) // a real service reads it from the environment
	rand.Read(secret)
	pepper, err := auth.NewSymmetricKey("p1", secret)
	if err != nil {
		log.Fatal(err)
	}
	cfg := auth.Config{Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{newSigningKey()}}
	store := withUser("u1", "alice")
	withoutPeppers, err1 := auth.New(store, cfg)
	cfg.Credentials.Peppers = []auth.SymmetricKey{pepper}
	svc, err2 := auth.New(store, cfg)
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	keys, setup := svc.Credentials(), auth.ByHost("setup")
	pair, err := keys.Issue(ctx, setup, "u1", auth.KeyOptions{Label: "build server"})
	if err != nil {
		log.Fatal(err)
	}
	published := "export SECRET=" + pair.AccessSecret.Reveal() + " # TODO: remove"

	err = revokeLeaked(ctx, withoutPeppers, store, published) // the peppers were forgotten
	fmt.Println(errors.Is(err, auth.ErrUnknownPepper))

	if err := revokeLeaked(ctx, svc, store, published); err != nil {
		log.Fatal(err)
	}
	_, err = svc.Login(ctx, pair, auth.LoginOptions{})
	fmt.Println(err)
	events, err := svc.Events(ctx, auth.EventFilter{UserID: "u1"}, 1) // a restore repeats this change
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(events[0].Kind)

	fmt.Println(revokeLeaked(ctx, svc, store, "export SECRET=my_live_1")) // the prefix of another service
	// Output:
	// true
	// revoked the key "build server" of alice
	// auth: invalid access key or secret: no such key
	// key.leaked
	// the text has no match of the pattern \bas_live_[0-9A-Za-z]{69}\b
}

// A program counts the access keys that need each pepper, and lists the keys that need another pepper
// than p2.
func ExampleCredentialVerifier_CountByPepper() {
	ctx := context.Background()
	store := withUser("u1", "alice")
	svc, err := newService(store, newSigningKey())
	if err != nil {
		log.Fatal(err)
	}
	setup := auth.ByHost("setup")
	_, err1 := svc.Credentials().Issue(ctx, setup, "u1", auth.KeyOptions{Label: "build"})
	rotated, err2 := svc.Credentials().Issue(ctx, setup, "u1", auth.KeyOptions{Label: "rotated"})
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	pepper, err := auth.NewSymmetricKey("p2", []byte(rand.Text()+rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	withPepper, err := auth.NewCredentialVerifier(store, nil, auth.CredentialConfig{
		Peppers: []auth.SymmetricKey{pepper, auth.NoPepper()}})
	if err != nil {
		log.Fatal(err)
	}
	_, err1 = withPepper.Issue(ctx, setup, "u1", auth.KeyOptions{})
	_, err2 = withPepper.Rotate(ctx, setup, rotated.AccessKey, time.Hour)
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}

	counts, err := svc.Credentials().CountByPepper(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for id, count := range counts.ByPepper {
		fmt.Printf("%d keys need the pepper %q\n", count, id)
	}
	fmt.Println(counts.Imported, "keys have an imported hash, which needs NoPepper")

	var old []auth.AccessKey
	for page, after := []auth.AccessKey(nil), ""; ; after = page[len(page)-1].ID {
		if page, err = store.ListAllKeys(ctx, after, 200); err != nil {
			log.Fatal(err)
		}
		for _, key := range page {
			rotating := key.PreviousUntil.After(time.Now()) // the previous secret still works
			if !strings.Contains(key.Hash, "k=p2$") ||
				rotating && !strings.Contains(key.PreviousHash, "k=p2$") {
				fmt.Fprintln(os.Stderr, key.UserID, key.ID, key.Label, "last used:", key.LastUsedAt)
				old = append(old, key)
			}
		}
		if len(page) < 200 {
			break
		}
	}
	for _, key := range old {
		fmt.Printf("%s %q\n", key.UserID, key.Label)
	}
	// Unordered output:
	// 2 keys need the pepper ""
	// 2 keys need the pepper "p2"
	// 0 keys have an imported hash, which needs NoPepper
	// u1 ""
	// u1 "build"
	// u1 "rotated"
}

// revokeLeaked revokes the access keys of the secrets in the text. It returns an error if it could
// not check or revoke one of them, because that secret may still work. It also returns an error if
// the text has no secret, because the secret may have the prefix of another configuration.
func revokeLeaked(ctx context.Context, svc *auth.Service, store auth.Store, text string) error {
	keys := svc.Credentials()
	found := regexp.MustCompile(keys.SecretPattern()).FindAllString(text, -1)
	if len(found) == 0 {
		return fmt.Errorf("the text has no match of the pattern %s", keys.SecretPattern())
	}
	var failures []error
	for _, secret := range found {
		key, err := keys.RevokeLeaked(ctx, auth.NewSecret(secret))
		switch {
		case errors.Is(err, auth.ErrInvalidCredentials):
			fmt.Println("a match is not a secret, or a secret that no longer works")
			continue
		case err != nil: // for example auth.ErrUnknownPepper
			failures = append(failures, err)
			continue
		}
		owner, err := store.FindUser(ctx, key.UserID)
		if err != nil {
			failures = append(failures, err)
		}
		fmt.Printf("revoked the key %q of %s\n", key.Label, cmp.Or(owner.Username, key.UserID))
	}
	return errors.Join(failures...)
}

// A service reads its signing keys and its pepper from files, such as those that a secret manager
// mounts.
func ExampleReadKeyFile() {
	file, err := auth.ReadKeyFile("/run/secrets/signing.jwks", nil)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := auth.ParseSigningKeys(file)
	if err != nil {
		log.Fatal(err)
	}
	secret, err := auth.ReadKeyFile("/run/secrets/pepper", nil)
	if err != nil {
		log.Fatal(err)
	}
	pepper, err := auth.NewSymmetricKey("1", bytes.TrimSpace(secret)) // without the line break at the end
	if err != nil {
		log.Fatal(err)
	}
	cfg := auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: keys,
		Credentials: auth.CredentialConfig{Peppers: []auth.SymmetricKey{pepper}},
		Proxies:     auth.NoProxies(),
	}
	fmt.Println(cfg.Issuer)
}

// loadRing makes the service sign and verify with the keys in the file.
func loadRing(svc *auth.Service, path string) error {
	file, err := auth.ReadKeyFile(path, nil)
	if err != nil {
		return err
	}
	keys, err := auth.ParseSigningKeys(file)
	if err != nil {
		return err
	}
	return svc.Tokens().SetKeys(keys)
}

// A host replaces its signing key. In each step, the host writes the new ring to the file that it reads
// at its start, and then reads the file.
func ExampleTokenIssuer_SetKeys() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "signing.jwks")
	jwk := func(id string) string {
		secret := make([]byte, 32)
		rand.Read(secret)
		return fmt.Sprintf(`{"kty":"oct","kid":%q,"k":%q}`, id, base64.RawURLEncoding.EncodeToString(secret))
	}
	old, next := jwk("2026-05"), jwk("2026-11")
	retired := strings.TrimSuffix(old, "}") + `,"sallyport_retired_at":1764417600}`

	key, err := auth.ParseSigningKeys([]byte(old))
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer:      "https://api.example.com",
		SigningKeys: key,
		Proxies:     auth.NoProxies(),
		Logger:      slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: reasonOnly})),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, ring := range []string{old + "," + next, next + "," + old, next + "," + retired, next} {
		if err := os.WriteFile(path, []byte(`{"keys":[`+ring+`]}`), 0o600); err != nil {
			log.Fatal(err)
		}
		if err := loadRing(svc, path); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// event.reason="\"2026-05\" signs; \"2026-11\" verifies"
	// event.reason="\"2026-11\" signs; \"2026-05\" verifies"
	// event.reason="\"2026-11\" signs; \"2026-05\" verifies tokens issued until 2025-11-29T12:00:00Z"
	// event.reason="\"2026-11\" signs"
}

// reasonOnly removes all attributes from a line of the log, except the reason of an event.
func reasonOnly(_ []string, attr slog.Attr) slog.Attr {
	if attr.Key != "reason" {
		return slog.Attr{}
	}
	return attr
}
