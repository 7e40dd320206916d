package auth

import (
	"cmp"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/oauthstate"
	"github.com/sallyport-go/auth/internal/scope"
	"github.com/sallyport-go/auth/internal/text"
)

// Limits of a record. Lengths are in bytes. The maximum length of every other field of a record is in the
// comment of that field. Package storekit has the limits that only stores need.
const (
	MaxIDLength = limits.ID // the ID of a user or session, the Version of a GitHubToken

	// MaxKeys is the maximum number of access keys of one user.
	MaxKeys = 100
)

const (
	maxAccessKeyLength  = limits.AccessKey
	maxGitHubHostLength = limits.GitHubHost
	maxHashLength       = limits.Hash
	maxUsernameLength   = limits.Username
	maxEmailLength      = limits.Email
	maxLabelLength      = limits.Label
	maxUserAgentLength  = limits.UserAgent
	maxAddressLength    = limits.Address
	maxGitHubTextLength = limits.GitHubText
	maxSealedLength     = limits.Sealed
	maxReasonLength     = limits.Reason
)

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields are valid.
// A store calls Validate before it writes the record.
func (c SignInClient) Validate() error {
	if err := checkID("user_id", c.UserID, MaxIDLength); err != nil {
		return err
	}
	return checkID("client", c.Hash, MaxIDLength)
}

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it writes the record.
func (u User) Validate() error {
	return cmp.Or(
		checkID("user_id", u.ID, MaxIDLength),
		checkName("username", u.Username, maxUsernameLength),
		checkText("email", u.Email, maxEmailLength),
		checkTime("created_at", u.CreatedAt),
		checkOptionalTime("last_login", u.LastLogin),
		checkOptionalTime("admitted_at", u.AdmittedAt),
		u.checkService(),
	)
}

// Validate returns an [InvalidError] for the first name that is not valid, or nil. A store calls Validate
// before it changes a user.
func (c UserChange) Validate() error {
	if c.Username != nil {
		if err := checkName("username", *c.Username, maxUsernameLength); err != nil {
			return err
		}
	}
	if c.Email != nil {
		return checkText("email", *c.Email, maxEmailLength)
	}
	return nil
}

// checkNames checks the rules for new names that Validate does not check: see [User.checkNames].
func (c UserChange) checkNames() error {
	if c.Username != nil {
		if flaw := text.NameFlaw(*c.Username, maxUsernameLength); flaw != "" {
			return &InvalidError{Field: "username", Reason: flaw}
		}
	}
	if c.Email != nil && *c.Email != "" && !text.IsEmail(*c.Email) {
		return invalidf("email", "must be an e-mail address")
	}
	return nil
}

// maxAudiences is the maximum length of all audiences of a service user, in bytes.
const maxAudiences = limits.Audiences

// checkService checks the fields that only a service user has.
func (u User) checkService() error {
	switch {
	case u.IsService:
		return cmp.Or(checkText("created_by", u.CreatedBy, MaxIDLength), checkAudiencesText(u.Audiences))
	case u.CreatedBy != "":
		return invalidf("created_by", "can be given only to a service user")
	case u.Audiences != "":
		return invalidf("audiences", "can be given only to a service user")
	}
	return nil
}

// checkAudiencesText accepts a text that Audiences of [User] can have.
func checkAudiencesText(text string) error {
	switch {
	case len(text) > maxAudiences:
		return invalidf("audiences", "must be at most %d bytes long together", maxAudiences)
	case !scope.IsCanonicalAudiences(text):
		return invalidf("audiences", "must each be 1 to %d bytes of visible ASCII, without quotation marks "+
			"and backslashes, in ascending order and separated by single spaces", scope.MaxAudience)
	}
	return nil
}

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it writes the record.
func (k AccessKey) Validate() error {
	return cmp.Or(
		checkID("access_key", k.ID, maxAccessKeyLength),
		checkID("user_id", k.UserID, MaxIDLength),
		checkHash(k.Hash),
		checkText("label", k.Label, maxLabelLength),
		checkTime("created_at", k.CreatedAt),
		checkOptionalTime("expires_at", k.ExpiresAt),
		checkPrevious(k.PreviousHash, k.PreviousUntil),
		checkOptionalTime("last_used_at", k.LastUsedAt),
		k.Scopes.Validate(),
		checkOptionalTime("expiry_notice_at", k.ExpiryNoticeAt),
	)
}

// Validate returns an [InvalidError] for the first field of the user or of a key that is not valid.
// It also returns an [InvalidError] if the number of keys is not from 1 to [MaxKeys], or if a key
// belongs to another user. A store calls Validate before it writes the records.
func (u UserWithKeys) Validate() error {
	if err := u.User.Validate(); err != nil {
		return err
	}
	if len(u.Keys) == 0 || len(u.Keys) > MaxKeys {
		return invalidf("keys", "must be 1 to %d", MaxKeys)
	}
	for _, key := range u.Keys {
		if err := key.Validate(); err != nil {
			return err
		}
		if key.UserID != u.User.ID {
			return invalidf("user_id", "must be that of the user whom the key is for")
		}
	}
	return nil
}

// checkPrevious accepts a valid hash with a valid time, or neither a hash nor a time.
func checkPrevious(hash string, until time.Time) error {
	switch {
	case hash == "" && until.IsZero():
		return nil
	case hash == "" || until.IsZero():
		return invalidf("previous_until", "and the previous hash must be given both or not at all")
	}
	return cmp.Or(checkHash(hash), checkTime("previous_until", until))
}

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it rotates the key.
func (r KeyRotation) Validate() error {
	return cmp.Or(
		checkHash(r.Hash),
		checkOverlap(r.Overlap),
	)
}

func checkOverlap(overlap time.Duration) error {
	if overlap < 0 {
		return invalidf("overlap_seconds", "must not be negative")
	}
	return nil
}

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it revokes the session.
func (c SessionClaims) Validate() error {
	return cmp.Or(
		checkID("session_id", c.SessionID, MaxIDLength),
		checkID("user_id", c.UserID, MaxIDLength),
		checkTime("expires_at", c.ExpiresAt),
	)
}

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it writes the record.
func (s Session) Validate() error {
	return cmp.Or(
		checkID("session_id", s.ID, MaxIDLength),
		checkID("user_id", s.UserID, MaxIDLength),
		checkID("method", string(s.Method), MaxIDLength),
		checkText("access_key", s.AccessKeyID, maxAccessKeyLength),
		checkTime("created_at", s.CreatedAt),
		checkTime("expires_at", s.ExpiresAt),
		checkText("user_agent", s.UserAgent, maxUserAgentLength),
		checkText("ip", s.Address, maxAddressLength),
		s.Scopes.checkFlaw(),
		checkOptionalAudience(s.Audience),
	)
}

// checkHash returns an [InvalidError] unless the hash of an access secret has 1 to 255 bytes of
// visible ASCII.
func checkHash(hash string) error {
	if hash == "" || len(hash) > maxHashLength {
		return invalidf("hash", "must be 1 to %d bytes long", maxHashLength)
	}
	for _, c := range []byte(hash) {
		if c <= ' ' || c > '~' {
			return invalidf("hash", "must be of visible ASCII characters")
		}
	}
	return nil
}

// FoldASCII returns s with the letters A to Z in lower case and every other byte unchanged. Two
// usernames or e-mails are the same if FoldASCII returns the same text for both.
func FoldASCII(s string) string { return text.FoldASCII(s) }

// checkID accepts any text that checkText accepts, except the empty text.
func checkID(field, value string, limit int) error {
	if flaw := text.IDFlaw(value, limit); flaw != "" {
		return &InvalidError{Field: field, Reason: flaw}
	}
	return nil
}

// checkName accepts text that a person can read and type: not empty, and without space at either
// end.
func checkName(field, value string, limit int) error {
	if value == "" {
		return invalidf(field, "is required")
	}
	if strings.TrimSpace(value) != value {
		return invalidf(field, "must not begin or end with a space")
	}
	return checkText(field, value, limit)
}

// checkText accepts up to limit bytes of UTF-8 without characters that change how the text around
// them is shown.
func checkText(field, value string, limit int) error {
	if flaw := text.Flaw(value, limit); flaw != "" {
		return &InvalidError{Field: field, Reason: flaw}
	}
	return nil
}

// checkOptionalAudience accepts an empty text, which stands for the issuer itself, and the name of another
// audience.
func checkOptionalAudience(name string) error {
	if name == "" || scope.IsAudience(name) {
		return nil
	}
	return invalidf("audience", "must be at most %d bytes of visible ASCII, without quotation marks and "+
		"backslashes", scope.MaxAudience)
}

// checkNames checks the rules for new users that Validate does not check. Validate is for stores, which
// accept any text. checkNames refuses a username that looks like another one (see text.NameFlaw), and
// an Email that is not an address or looks like another address.
func (u User) checkNames() error {
	return UserChange{Username: &u.Username, Email: &u.Email}.checkNames()
}

// checkReturnTo accepts an empty text, or a path to which the service may send a browser: see
// oauthstate.IsReturnTo.
func checkReturnTo(path string) error {
	if len(path) > oauthstate.MaxReturnTo {
		return invalidf("return_to", "must be at most %d bytes", oauthstate.MaxReturnTo)
	}
	if !oauthstate.IsReturnTo(path) {
		return invalidf("return_to", "must be a path such as /settings?tab=github")
	}
	return nil
}

func checkTime(field string, t time.Time) error {
	if flaw := limits.TimeFlaw(t); flaw != "" {
		return &InvalidError{Field: field, Reason: flaw}
	}
	return nil
}

func checkOptionalTime(field string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return checkTime(field, t)
}

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it writes the record.
func (l GitHubLink) Validate() error {
	return cmp.Or(
		l.Account.validate(),
		checkID("user_id", l.UserID, MaxIDLength),
		checkID("login", l.Login, maxGitHubTextLength),
		checkText("name", l.Name, maxGitHubTextLength),
		checkText("avatar_url", l.AvatarURL, maxGitHubTextLength),
		checkTime("created_at", l.CreatedAt),
		checkTime("seen_at", l.SeenAt),
	)
}

// Validate returns an [InvalidError] for the first field that is not valid, or nil if all fields
// are valid. A store calls Validate before it writes the record.
func (t GitHubToken) Validate() error {
	if len(t.Sealed) == 0 || len(t.Sealed) > maxSealedLength {
		return invalidf("token", "must be 1 to %d bytes long when sealed", maxSealedLength)
	}
	return cmp.Or(
		t.Account.validate(),
		checkID("user_id", t.UserID, MaxIDLength),
		checkID("version", t.Version, MaxIDLength),
		checkText("scopes", t.Scopes, maxGitHubTextLength),
		checkTime("updated_at", t.UpdatedAt),
	)
}

func (a GitHubAccount) validate() error {
	if a.ID <= 0 {
		return invalidf("account_id", "must be more than zero")
	}
	return checkID("host", a.Host, maxGitHubHostLength)
}

// Validate returns an [InvalidError] for the first record that is not valid or does not match the
// Link. If there is no such record, it returns nil. Every record must belong to the user of the
// Link. A Token must also belong to the GitHub account of the Link.
func (w GitHubSignInWrite) Validate() error {
	err := cmp.Or(w.Link.Validate(), w.Session.Validate(), sameUser(w.Session.UserID, w.Link),
		checkText("email", w.Email, maxEmailLength))
	if err == nil && w.NewUser != nil {
		err = cmp.Or(w.NewUser.Validate(), sameUser(w.NewUser.ID, w.Link))
	}
	if err == nil && w.NewUser != nil && w.NewUser.IsService {
		err = invalidf("is_service", "must be false for a user who signs in with GitHub")
	}
	if err == nil && w.Token != nil {
		err = validateLinkedToken(*w.Token, w.Link)
	}
	return err
}

// Validate returns an [InvalidError] for the first record that is not valid or does not match the
// Link. If there is no such record, it returns nil. The Token must belong to the user and the
// GitHub account of the Link.
func (w GitHubConnectWrite) Validate() error {
	return cmp.Or(w.Link.Validate(), validateLinkedToken(w.Token, w.Link))
}

func validateLinkedToken(token GitHubToken, link GitHubLink) error {
	if err := cmp.Or(token.Validate(), sameUser(token.UserID, link)); err != nil {
		return err
	}
	if token.Account != link.Account {
		return invalidf("account_id", "must be the same in the token as in the link, on the same host")
	}
	return nil
}

func sameUser(userID string, link GitHubLink) error {
	if userID != link.UserID {
		return invalidf("user_id", "must be the same in all records of one call")
	}
	return nil
}
