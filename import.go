package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/scope"
	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/sallyport-go/auth/internal/wire"
)

// ImportedKey is an access key that another system made. Exactly one of Hash, GeneratedSHA256 and
// Secret must be set.
type ImportedKey struct {
	UserID string

	// AccessKey is text of at most 128 bytes. It must not begin with the prefix of a generated key or
	// secret.
	//
	// AccessKey is public and must not be a secret. The user's calls show it. A token of the key that has
	// scopes, and the introspection of the token, show it to other services as client_id. If it is an
	// e-mail address, these services learn the address.
	AccessKey string

	// Hash is a bcrypt hash or an argon2id hash. A bcrypt hash begins with $2a$, $2b$ or $2y$ and
	// has cost 10 to 13. An argon2id hash has the PHC format, version 19, 8 to 64 MiB, and t and p
	// from 1 to 4. Its parameters m, t and p may be in any order, and are stored in this order.
	Hash string

	// GeneratedSHA256 is the SHA-256 of a secret, in hexadecimal. A host that sets GeneratedSHA256
	// vouches that the secret was generated with at least 112 random bits. Never set it for a
	// secret that a person chose, because an attacker can guess such a secret from a fast hash
	// (NIST SP 800-63B).
	GeneratedSHA256 string

	// Secret is the secret in clear text, 8 to 1024 bytes long. A person may have chosen it. The
	// store gets only an argon2id hash of the secret.
	Secret Secret

	CreatedAt time.Time // zero means now

	KeyOptions // MustRotate cannot be set, because an imported key cannot be rotated
}

// minChosenSecret is the minimum length of a secret that a person chose (NIST SP 800-63B).
const minChosenSecret = 8

// Import adds an access key that another system made. To add users together with their keys, use
// [Service.ImportUsers].
//
// Import returns ErrExists if the access key is taken, and never overwrites a key. It returns ErrNotFound
// if the user does not exist. It also returns the errors of an [Authority].
//
// Import rejects a key with an *[InvalidError] if [CredentialVerifier.Verify] would not accept the
// key. Without [CredentialConfig.AllowImported], Import therefore rejects every key. If Peppers are
// set without [NoPepper], Import rejects every key with Hash or GeneratedSHA256.
func (v *CredentialVerifier) Import(ctx context.Context, by Authority, imported ImportedKey) error {
	if err := v.tokens.checkAuthority(ctx, by); err != nil {
		return err
	}
	key, err := v.importedKey(ctx, imported)
	if err != nil {
		return err
	}
	if err := v.tokens.checkHostOwner(ctx, by, key.UserID); err != nil {
		return err
	}
	c := v.newChange(ctx, by,
		Event{Kind: eventkind.KeyImported, UserID: key.UserID, AccessKey: v.loggableName(key.ID)})
	if err := v.store.AddKey(ctx, c.write, key); err != nil {
		return fmt.Errorf("auth: importing an access key: %w", err)
	}
	c.recordEvent(ctx)
	return nil
}

// importedKey returns the record of the imported key, or an [InvalidError].
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
		Scopes:    imported.Scopes,
	}
	if key.CreatedAt.IsZero() {
		key.CreatedAt = now
	}
	switch {
	case imported.MustRotate:
		return AccessKey{}, invalidf("must_rotate", "must be left out: an imported key cannot be rotated")
	case key.ID == "." || key.ID == "..":
		return AccessKey{}, invalidf("access_key", "must not be a word that paths have in its place")
	case v.expired(key):
		return AccessKey{}, invalidf("expires_at", "must be in the future")
	case key.CreatedAt.After(now):
		return AccessKey{}, invalidf("created_at", "must not be in the future")
	}
	return key, v.tokens.checkScopes(key.Scopes)
}

// importedHash returns the stored hash of the imported secret, or an [InvalidError].
func (v *CredentialVerifier) importedHash(ctx context.Context, imported ImportedKey) (string, error) {
	secret := imported.Secret.Reveal()
	given := 0
	for _, form := range []string{imported.Hash, imported.GeneratedSHA256, secret} {
		if form != "" {
			given++
		}
	}
	switch {
	case v.slow == nil:
		return "", invalidf("access_key", "cannot be imported unless AllowImported is set")
	case v.format.Resembles(imported.AccessKey):
		return "", invalidf("access_key", "must not begin like a generated one")
	case given != 1:
		return "", invalidf("hash", "or the SHA-256 or the secret must be given, and only one of them")
	case secret != "":
		return v.hashChosen(ctx, imported)
	case !v.hasher.Unpeppered():
		return "", invalidf("hash",
			"has no pepper and cannot be imported unless NoPepper is among the Peppers")
	case imported.GeneratedSHA256 != "":
		return sha256Form(imported.GeneratedSHA256)
	}
	stored, err := secrethash.Imported(imported.Hash)
	if err != nil {
		return "", invalidf("hash", "%s", err)
	}
	return stored, nil
}

// sha256Form returns the stored form of a SHA-256 digest, which is given in hexadecimal.
func sha256Form(text string) (string, error) {
	digest, err := hex.DecodeString(text)
	if err != nil || len(digest) != sha256.Size {
		return "", invalidf("sha256", "must be 64 hexadecimal digits")
	}
	return secrethash.ImportedSHA256([sha256.Size]byte(digest)), nil
}

// hashChosen returns the stored hash of the imported key's Secret.
func (v *CredentialVerifier) hashChosen(ctx context.Context, imported ImportedKey) (string, error) {
	secret := imported.Secret.Reveal()
	if len(secret) < minChosenSecret || len(secret) > secrethash.MaxSecret {
		return "", invalidf("secret", "must be %d to %d bytes long", minChosenSecret, secrethash.MaxSecret)
	}
	release, err := v.waitForSlowHash(ctx, netip.Addr{}) // no client waits for this hash
	if err != nil {
		return "", err
	}
	defer release()
	return v.hasher.Slow.Hash(imported.UserID, imported.AccessKey, secret), nil
}

// importedUser is the user in a line of an import.
type importedUser struct {
	UserWithKeys
	hasID bool // the line contains the user's ID; if false, the import generated the ID
}

// importedUserFields names the fields that a line may have. importedKeyFields names the fields that
// each key in a line may have.
var (
	importedUserFields = []string{"username", "email", "user_id", "is_active", "is_super_user",
		"is_service", "audiences", "created_at", "keys"}
	importedKeyFields = []string{"access_key", "hash", "sha256", "label", "created_at", "expires_at",
		"scopes"}
)

// importedUser parses a line. It returns an [InvalidError] if the line cannot be imported. The
// vouched argument says whether the host vouches for SHA-256 hashes. If vouched is false, a line
// with a SHA-256 hash cannot be imported.
func (s *Service) importedUser(ctx context.Context, line []byte, vouched bool) (importedUser, error) {
	fields, err := wire.Parse(line, importedUserFields)
	if err != nil {
		return importedUser{}, invalidf("line", "%s", err)
	}
	user := s.importedRecord(fields)
	if fields.Err() != nil {
		return importedUser{}, lineError(fields.Err())
	}
	imported := importedUser{UserWithKeys{User: user}, user.ID != ""}
	if !imported.hasID {
		imported.User.ID = newImportedID(s.now())
	}
	elements, ok := fields.Value("keys").Elements()
	if !ok || len(elements) == 0 || len(elements) > MaxKeys {
		return importedUser{}, invalidf("keys", "must be an array of 1 to %d keys", MaxKeys)
	}
	for _, element := range elements {
		key, err := s.importedLineKey(ctx, imported.User.ID, element.Raw(), vouched)
		if err != nil {
			return importedUser{}, lineError(err)
		}
		for _, other := range imported.Keys {
			if other.ID == key.ID {
				return importedUser{}, invalidf("access_key", "must not be given twice")
			}
		}
		imported.Keys = append(imported.Keys, key)
	}
	return imported, imported.Validate()
}

// importedRecord returns the user of a line. If the line has no user_id, the ID of the user is
// empty. If a field is not valid, [wire.Fields.Err] reports the error afterwards.
func (s *Service) importedRecord(fields *wire.Fields) User {
	user := User{
		Username:  fields.Text("username"),
		Email:     fields.OptionalText("email"),
		ID:        fields.OptionalText("user_id"),
		IsActive:  true,
		CreatedAt: s.now(),
	}
	if active := fields.OptionalFlag("is_active"); active != nil {
		user.IsActive = *active
	}
	user.IsService = fields.Flag("is_service")
	audiences, hasAudiences := fields.Texts("audiences")
	user.Audiences = scope.Join(audiences)
	isSuperUser := fields.Flag("is_super_user")
	now := user.CreatedAt
	if createdAt := fields.Time("created_at"); !createdAt.IsZero() {
		user.CreatedAt = createdAt
	}
	switch {
	case isSuperUser:
		fields.Fail(invalidf("is_super_user", "must not be true: promote the user afterwards, knowingly"))
	case hasAudiences && !user.IsService:
		fields.Fail(invalidf("audiences", "can be given only to a service user"))
	case user.CreatedAt.After(now):
		fields.Fail(invalidf("created_at", "must not be in the future"))
	}
	if err := cmp.Or(user.checkNames(), checkImportedID(user.ID), checkAudiences(audiences)); err != nil {
		fields.Fail(err)
	}
	return user
}

// importedLineKey returns the record of one key of a line. The object argument is the JSON object
// of the key.
func (s *Service) importedLineKey(
	ctx context.Context, userID string, object []byte, vouched bool,
) (AccessKey, error) {
	fields, err := wire.Parse(object, importedKeyFields)
	if err != nil {
		return AccessKey{}, invalidf("keys", "%s", err)
	}
	key := ImportedKey{
		UserID:          userID,
		AccessKey:       fields.Text("access_key"),
		Hash:            fields.OptionalText("hash"),
		GeneratedSHA256: fields.OptionalText("sha256"),
		KeyOptions:      KeyOptions{Label: fields.OptionalText("label")},
	}
	key.CreatedAt = fields.Time("created_at")
	key.ExpiresAt = fields.Time("expires_at")
	if names, given := fields.Texts("scopes"); given {
		key.Scopes = NewScopes(names...)
	}
	switch {
	case fields.Err() != nil:
		return AccessKey{}, fields.Err()
	case (key.Hash == "") == (key.GeneratedSHA256 == ""):
		return AccessKey{}, invalidf("keys", "must have hash or sha256 each, and not both")
	case key.GeneratedSHA256 != "" && !vouched:
		return AccessKey{}, invalidf("sha256", "is taken only where VouchForSHA256 is set")
	}
	return s.credentials.importedKey(ctx, key)
}

// lineError converts the error of a field into an [InvalidError] for [ImportOptions.OnRejected].
func lineError(err error) error {
	if errors.Is(err, wire.ErrNull) {
		return invalidf("line", "must not have null for a field: leave the field out")
	}
	return readError(err)
}

// checkImportedID returns an [InvalidError] unless the ID can be an element of a URL path without
// escaping. It also refuses words that have a meaning of their own in a path, such as "..". The
// word "login" is refused because of the path /auth/users/login.
func checkImportedID(id string) error {
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || strings.IndexByte(`/\?#%`, c) >= 0 {
			return invalidf("user_id", `must be of visible ASCII characters without / \ ? # and %%`)
		}
	}
	switch id {
	case ".", "..", "login", "register":
		return invalidf("user_id", "must not be a word that paths have in its place")
	}
	return nil
}

// newImportedID returns a new ID that begins with the time. The users of one import are therefore
// adjacent in a database index. With random IDs, each user would change a different page of the
// index.
func newImportedID(now time.Time) string {
	var id [16]byte
	rand.Read(id[6:]) // never fails
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(now.UnixMilli()))
	copy(id[:6], millis[2:])
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:])
}
