package auth

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/strictjson"
)

// importedUser is what a line of an import says.
type importedUser struct {
	UserWithKeys
	hasID bool // from the line, and not made here
}

// The fields of a line, and of each of its keys.
var (
	importedUserFields = []string{"username", "email", "user_id", "is_active", "is_super_user", "created_at", "keys"}
	importedKeyFields  = []string{"access_key", "hash", "sha256", "label", "created_at", "expires_at"}
)

// importedUser reads a line. It returns an [InvalidError] for what cannot be imported.
func (s *Service) importedUser(ctx context.Context, line []byte, vouched bool) (importedUser, error) {
	fields, err := parseLine(line, "line", importedUserFields)
	if err != nil {
		return importedUser{}, err
	}
	user, err := s.importedRecord(fields)
	if err != nil {
		return importedUser{}, noNull(err)
	}
	imported := importedUser{UserWithKeys{User: user}, user.ID != ""}
	if !imported.hasID {
		imported.User.ID = newImportedID(s.now())
	}
	elements, ok := fields.object.Value(6).Elements()
	if !ok || len(elements) == 0 || len(elements) > MaxKeys {
		return importedUser{}, invalidf("keys", "must be an array of 1 to %d keys", MaxKeys)
	}
	for _, element := range elements {
		key, err := s.importedLineKey(ctx, imported.User.ID, element.Raw(), vouched)
		if err != nil {
			return importedUser{}, noNull(err)
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

// importedRecord returns the user of a line, with an ID if the line has one.
func (s *Service) importedRecord(fields jsonFields) (User, error) {
	username, err1 := fields.text(0)
	email, err2 := fields.optionalText(1)
	id, err3 := fields.optionalText(2)
	isActive, err4 := fields.optionalFlag(3)
	isSuperUser, err5 := fields.flag(4)
	createdAt, err6 := fields.time(5)
	now := s.now()
	if createdAt.IsZero() {
		createdAt = now
	}
	var err7 error
	switch {
	case isSuperUser:
		err7 = invalidf("is_super_user", "must not be true: promote the user afterwards, knowingly")
	case createdAt.After(now):
		err7 = invalidf("created_at", "must not be in the future")
	}
	return User{
		ID:        id,
		Username:  username,
		Email:     email,
		IsActive:  isActive == nil || *isActive,
		CreatedAt: createdAt,
	}, firstError(err1, err2, err3, err4, err5, err6, err7, checkEmail(email), checkImportedID(id))
}

func (s *Service) importedLineKey(ctx context.Context, userID string, object []byte, vouched bool) (AccessKey, error) {
	fields, err := parseLine(object, "keys", importedKeyFields)
	if err != nil {
		return AccessKey{}, err
	}
	accessKey, err1 := fields.text(0)
	hash, err2 := fields.optionalText(1)
	digest, err3 := fields.optionalText(2)
	label, err4 := fields.optionalText(3)
	createdAt, err5 := fields.time(4)
	expiresAt, err6 := fields.time(5)
	if err := firstError(err1, err2, err3, err4, err5, err6); err != nil {
		return AccessKey{}, err
	}
	switch {
	case (hash == "") == (digest == ""):
		return AccessKey{}, invalidf("keys", "must have hash or sha256 each, and not both")
	case digest != "" && !vouched:
		return AccessKey{}, invalidf("sha256", "is taken only where VouchForSHA256 is set")
	}
	return s.credentials.importedKey(ctx, ImportedKey{
		UserID: userID, AccessKey: accessKey, Hash: hash, GeneratedSHA256: digest, CreatedAt: createdAt,
		KeyOptions: KeyOptions{Label: label, ExpiresAt: expiresAt},
	})
}

// parseLine reads an object that may have these fields and no others: one that is
// misspelt would be taken for one that is not there.
func parseLine(text []byte, what string, names []string) (jsonFields, error) {
	object, err := strictjson.Parse(text, names)
	switch {
	case err != nil:
		return jsonFields{}, invalidf(what, "%s", jsonFault(err))
	case len(object.Unknown()) > 0:
		return jsonFields{}, invalidf(what, "must have no fields but %s", strings.Join(names, ", "))
	}
	return jsonFields{object, names}, nil
}

// noNull returns the error as it is for a line.
func noNull(err error) error {
	if errors.Is(err, errNull) {
		return invalidf("line", "must not have null for a field: leave the field out")
	}
	return err
}

// checkImportedID accepts what can stand in a path as it is, and no ID that another
// path has in its place.
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

// newImportedID returns a new ID that begins with the time: what is added in one
// import lies together in an index, where IDs at random would each go to another page.
func newImportedID(now time.Time) string {
	var id [16]byte
	rand.Read(id[6:])
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(now.UnixMilli()))
	copy(id[:6], millis[2:])
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:])
}
