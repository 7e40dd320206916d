package auth

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"
)

// ImportedKey is an access key that was made elsewhere. It has one of Hash,
// GeneratedSHA256 and Secret.
type ImportedKey struct {
	UserID    string
	AccessKey string // any text up to MaxAccessKeyLength that could not be one of ours

	// Hash is a bcrypt hash ($2a$, $2b$ or $2y$, cost 10 to 13) or an argon2id
	// hash in the PHC format (version 19, 8 to 64 MiB, t and p 1 to 4).
	Hash string

	// GeneratedSHA256 is the SHA-256 of a secret, in hexadecimal. Whoever sets it
	// vouches that the secret was generated, with 112 random bits or more: what
	// somebody has chosen is found from such a hash by trying (NIST SP 800-63B).
	GeneratedSHA256 string

	// Secret is 8 to 1024 bytes that somebody chose, or that came in clear. It
	// is stored as an argon2id hash.
	Secret Secret

	CreatedAt time.Time // zero means now
	KeyOptions
}

// minChosenSecret is what NIST SP 800-63B asks of a secret that people choose.
const minChosenSecret = 8

// Import adds a key that was made elsewhere; for users with their keys there is
// [Service.ImportUsers]. It overwrites nothing: a name that is taken is ErrExists. It
// returns ErrNotFound if there is no such user, and an InvalidError for what Verify
// would not accept later: without AllowImported everything, and a hash where
// [NoPepper] is not in the ring.
func (v *CredentialVerifier) Import(ctx context.Context, imported ImportedKey) error {
	key, err := v.importedKey(ctx, imported)
	if err != nil {
		return err
	}
	if err := v.store.AddKey(ctx, key); err != nil {
		return fmt.Errorf("auth: importing an access key: %w", err)
	}
	v.events.emit(ctx, Event{Kind: EventKeyImported, UserID: key.UserID, AccessKey: v.nameOf(key.ID)})
	return nil
}

// importedKey returns the record of the imported key.
func (v *CredentialVerifier) importedKey(ctx context.Context, imported ImportedKey) (AccessKey, error) {
	hash, err := v.importedHash(ctx, imported)
	if err != nil {
		return AccessKey{}, err
	}
	now := v.now()
	key := AccessKey{
		ID:        imported.AccessKey,
		UserID:    imported.UserID,
		Hash:      hash,
		Label:     imported.Label,
		CreatedAt: imported.CreatedAt,
		ExpiresAt: imported.ExpiresAt,
	}
	if key.CreatedAt.IsZero() {
		key.CreatedAt = now
	}
	switch {
	case key.ID == "." || key.ID == "..":
		return AccessKey{}, invalidf("access_key", "must not be a word that paths have in its place")
	case v.expired(key):
		return AccessKey{}, invalidf("expires_at", "must be in the future")
	case key.CreatedAt.After(now):
		return AccessKey{}, invalidf("created_at", "must not be in the future")
	}
	return key, nil
}

// importedHash returns the stored form of the imported secret.
func (v *CredentialVerifier) importedHash(ctx context.Context, imported ImportedKey) (string, error) {
	secret := imported.Secret.Reveal()
	given := 0
	for _, form := range []string{imported.Hash, imported.GeneratedSHA256, secret} {
		if form != "" {
			given++
		}
	}
	_, unpeppered := v.hasher.pepper("")
	switch {
	case v.slow == nil:
		return "", invalidf("access_key", "cannot be imported unless AllowImported is set")
	case v.format.resembles(imported.AccessKey):
		return "", invalidf("access_key", "must not begin like a generated one")
	case given != 1:
		return "", invalidf("hash", "or the SHA-256 or the secret must be given, and only one of them")
	case secret != "":
		return v.hashChosen(ctx, imported)
	case !unpeppered:
		return "", invalidf("hash", "has no pepper and cannot be imported unless NoPepper is among the Peppers")
	case imported.GeneratedSHA256 != "":
		return sha256Form(imported.GeneratedSHA256)
	}
	s, err := parseHash(imported.Hash)
	if err != nil || s.form != formArgon && s.form != formBcrypt {
		return "", invalidf("hash", "must be bcrypt of cost 10 to 13 or argon2id of 8 to 64 MiB, t and p 1 to 4")
	}
	return imported.Hash, nil
}

// sha256Form returns the stored form of a digest in hexadecimal.
func sha256Form(text string) (string, error) {
	digest, err := hex.DecodeString(text)
	if err != nil || len(digest) != 32 {
		return "", invalidf("sha256", "must be 64 hexadecimal digits")
	}
	return "$" + formImportedSHA256 + "$v=1$" + base64.RawURLEncoding.EncodeToString(digest), nil
}

// hashChosen returns the stored form of a secret that came in clear.
func (v *CredentialVerifier) hashChosen(ctx context.Context, imported ImportedKey) (string, error) {
	secret := imported.Secret.Reveal()
	if len(secret) < minChosenSecret || len(secret) > maxSlowSecret {
		return "", invalidf("secret", "must be %d to %d bytes long", minChosenSecret, maxSlowSecret)
	}
	leave, err := v.slow.enter(ctx, netip.Addr{}) // for the host, and not for a client
	if err != nil {
		return "", err
	}
	defer leave()
	return v.hasher.slow(imported.UserID, imported.AccessKey, secret), nil
}
