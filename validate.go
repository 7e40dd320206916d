package auth

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/oauthstate"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/text"
)

// Limits that the authors of a store need. Lengths are in bytes. The comments of the records state
// the maximum lengths of their other fields.
const (
	MaxIDLength         = limits.ID         // a user's or a session's ID, a token's Version
	MaxAccessKeyLength  = limits.AccessKey  // an access key's ID
	MaxGitHubHostLength = limits.GitHubHost // a GitHub account's Host

	// MaxKeys is the maximum number of access keys of one user.
	MaxKeys = 100

	// KeyUsePrecision is the minimum time between two recorded uses of a key. A store does not
	// record a use that comes sooner than this after the last recorded use.
	KeyUsePrecision = time.Minute

	// MaxNamedRevocations is the maximum number of sessions of one user that a feed names one by
	// one. This limit keeps the feed from growing without bound if a client signs in and out in a
	// loop.
	MaxNamedRevocations = 1000

	// KeptRevocations is the number of entries at the end of a feed that are never pruned. A reader
	// that has read one of these entries can continue from that entry.
	KeptRevocations = revocation.KeptEntries
)

const (
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

// Validate returns an [InvalidError] for the first field that no store may keep, or nil. A store
// calls it before it writes the record.
func (u User) Validate() error {
	return cmp.Or(
		checkID("user_id", u.ID, MaxIDLength),
		checkName("username", u.Username, maxUsernameLength),
		checkText("email", u.Email, maxEmailLength),
		checkTime("created_at", u.CreatedAt),
		checkOptionalTime("last_login", u.LastLogin),
		checkOptionalTime("admitted_at", u.AdmittedAt),
	)
}

// Validate returns an [InvalidError] for the first field that no store may keep, or nil. A store
// calls it before it writes the record.
func (k AccessKey) Validate() error {
	return cmp.Or(
		checkID("access_key", k.ID, MaxAccessKeyLength),
		checkID("user_id", k.UserID, MaxIDLength),
		ValidateHash(k.Hash),
		checkText("label", k.Label, maxLabelLength),
		checkTime("created_at", k.CreatedAt),
		checkOptionalTime("expires_at", k.ExpiresAt),
		checkPrevious(k.PreviousHash, k.PreviousUntil),
		checkOptionalTime("last_used_at", k.LastUsedAt),
	)
}

// Validate returns an [InvalidError] for the first field of the user or of a key that no store may
// keep. It also returns one for a wrong number of keys and for a key of another user. It returns
// nil if there is no such error. A store calls it before it writes the records.
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

// checkPrevious accepts a hash with a time, or neither.
func checkPrevious(hash string, until time.Time) error {
	switch {
	case hash == "" && until.IsZero():
		return nil
	case hash == "" || until.IsZero():
		return invalidf("previous_until", "and the previous hash must be given both or not at all")
	}
	return cmp.Or(ValidateHash(hash), checkTime("previous_until", until))
}

// Validate returns an [InvalidError] for the first field that no store may keep, or nil. A store
// calls it before it rotates the key.
func (r KeyRotation) Validate() error {
	return cmp.Or(
		ValidateHash(r.Hash),
		checkOverlap(r.Overlap),
	)
}

func checkOverlap(overlap time.Duration) error {
	if overlap < 0 {
		return invalidf("overlap_seconds", "must not be negative")
	}
	return nil
}

// Validate returns an [InvalidError] for the first field that no store may keep, or nil. A store
// calls it before it revokes the session.
func (c SessionClaims) Validate() error {
	return cmp.Or(
		checkID("session_id", c.SessionID, MaxIDLength),
		checkID("user_id", c.UserID, MaxIDLength),
		checkTime("expires_at", c.ExpiresAt),
	)
}

// Validate returns an [InvalidError] for the first field that no store may keep, or nil. A store
// calls it before it writes the record.
func (s Session) Validate() error {
	return cmp.Or(
		checkID("session_id", s.ID, MaxIDLength),
		checkID("user_id", s.UserID, MaxIDLength),
		checkID("method", string(s.Method), MaxIDLength),
		checkText("access_key", s.AccessKeyID, MaxAccessKeyLength),
		checkTime("created_at", s.CreatedAt),
		checkTime("expires_at", s.ExpiresAt),
		checkText("user_agent", s.UserAgent, maxUserAgentLength),
		checkText("ip", s.Address, maxAddressLength),
	)
}

// Validate returns an [InvalidError] for the first field that no store may keep, or nil. A store
// calls it before it writes the record.
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

// Validate returns an [InvalidError] for the first field that no store may keep, or nil. A store
// calls it before it writes the record.
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
	return checkID("host", a.Host, MaxGitHubHostLength)
}

// Validate returns an [InvalidError] for the first record that no store may keep or whose user or
// account differs from the link's. It returns nil if there is no such record.
func (w GitHubSignInWrite) Validate() error {
	err := cmp.Or(w.Link.Validate(), w.Session.Validate(), sameUser(w.Session.UserID, w.Link))
	if err == nil && w.NewUser != nil {
		err = cmp.Or(w.NewUser.Validate(), sameUser(w.NewUser.ID, w.Link))
	}
	if err == nil && w.Token != nil {
		err = validateLinkedToken(*w.Token, w.Link)
	}
	return err
}

// Validate returns an [InvalidError] for the first record that no store may keep or whose user or
// account differs from the link's. It returns nil if there is no such record.
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

// Check returns an error unless a store with the given state may write the sign-in. hasUsers says
// whether the store keeps users.
//
// It returns ErrGitHubNotAllowed if the account is remembered for a user to whom the account is no
// longer linked. It returns ErrChanged in these cases, in which the caller must read the link and
// the token again:
//
//   - The account is linked to another user.
//   - The account is linked, and there is a NewUser.
//   - The account is not linked, there is no NewUser, and the store keeps users.
//   - The account is not linked, and the user of the Link has another account of the GitHub host.
//   - There is a Token, and the stored token has another Version than TokenVersion.
func (w GitHubSignInWrite) Check(state GitHubAccountState, hasUsers bool) error {
	switch {
	case state.LinkedTo == "" && state.RememberedFor != "":
		return fmt.Errorf("auth: the GitHub account was unlinked: %w", ErrGitHubNotAllowed)
	case w.NewUser != nil && state.LinkedTo != "",
		w.NewUser == nil && hasUsers && state.LinkedTo == "",
		state.LinkedTo != "" && state.LinkedTo != w.Link.UserID,
		state.LinkedTo == "" && state.UserAccount != GitHubAccount{}:
		return fmt.Errorf("auth: link of the GitHub account: %w", ErrChanged)
	case w.Token != nil && w.TokenVersion != state.TokenVersion:
		return fmt.Errorf("auth: GitHub token: %w", ErrChanged)
	}
	return nil
}

// Check returns an error unless a store with the given state may write the connection. It returns
// ErrExists if the account is linked to or remembered for another user, or if the user is linked to
// another account of the GitHub host. It returns ErrChanged if the token's Version differs from the
// Version that the caller read.
func (w GitHubConnectWrite) Check(state GitHubAccountState) error {
	isAnother := func(userID string) bool { return userID != "" && userID != w.Link.UserID }
	switch {
	case isAnother(state.LinkedTo), isAnother(state.RememberedFor),
		state.UserAccount != GitHubAccount{} && state.UserAccount != w.Link.Account:
		return fmt.Errorf("auth: link of the GitHub account, or of the user: %w", ErrExists)
	case w.TokenVersion != state.TokenVersion:
		return fmt.Errorf("auth: GitHub token: %w", ErrChanged)
	}
	return nil
}

// ValidateHash returns an [InvalidError] unless a store may keep the hash of an access secret: 1 to
// 255 bytes of visible ASCII.
func ValidateHash(hash string) error {
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

// ValidateState returns an [InvalidError] unless a store may keep the state that is passed to
// [GitHubStore.ConsumeState].
func ValidateState(id string, expiresAt time.Time) error {
	return cmp.Or(checkID("state", id, MaxIDLength), checkTime("expires_at", expiresAt))
}

// FoldASCII returns s with the letters A to Z in lower case and every other byte unchanged. Two
// usernames or e-mails are the same if FoldASCII returns equal text for them.
func FoldASCII(s string) string { return text.FoldASCII(s) }

// checkID accepts text that checkText accepts and that is not empty.
func checkID(field, value string, limit int) error {
	if value == "" {
		return invalidf(field, "must be 1 to %d bytes long", limit)
	}
	return checkText(field, value, limit)
}

// checkName accepts text that a person can read and type: not empty, and without space at either
// end.
func checkName(field, value string, limit int) error {
	if value == "" {
		return invalidf(field, "must be 1 to %d bytes long", limit)
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

// checkEmail accepts a bare address (RFC 5322, section 3.4.1), or none.
func checkEmail(email string) error {
	if email != "" && !text.IsEmail(email) {
		return invalidf("email", "must be an e-mail address")
	}
	return nil
}

// checkReturnTo accepts a path of the host, or an empty one: see oauthstate.IsReturnTo.
func checkReturnTo(path string) error {
	if !oauthstate.IsReturnTo(path) {
		return invalidf("return_to", "must be a path such as /settings?tab=github")
	}
	return nil
}

// Stores keep times as microseconds since 1970. Zero means no time, so the earliest time is one
// microsecond.
var (
	earliestTime = time.UnixMicro(1)
	latestTime   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

func checkTime(field string, t time.Time) error {
	if t.Before(earliestTime) || t.After(latestTime) {
		return invalidf(field, "must be between the years 1970 and 9999")
	}
	return nil
}

func checkOptionalTime(field string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return checkTime(field, t)
}

// FoldRevocations returns the entry that replaces the older named entries of a user, if the feed
// names too many sessions of the user one by one. The argument contains the entries that name
// sessions of this one user and are in force, which means that no newer entry has replaced them.
// They may be in any order. FoldRevocations returns false if there are at most
// [MaxNamedRevocations] of these entries, not counting [Revocation.Capped] entries.
//
// If there are more, at most half of MaxNamedRevocations entries stay, which are those with the
// newest Generations. The returned entry replaces all other named entries that are not capped. The
// store then does the following in its transaction:
//
//   - It sets a zero ExpiresAt on each named entry that is not capped and whose Generation is below
//     the returned entry's.
//   - It sets a zero ExpiresAt on the entry in force for the whole user, unless that entry's
//     Generation is greater than the returned entry's.
//   - It removes the user's sessions whose Generations are below the returned entry's.
//   - It raises the ExpiresAt of the returned entry to the latest of the removed sessions and the
//     replaced entries.
//   - It adds the returned entry with the next Position.
func FoldRevocations(named []Revocation) (folded Revocation, ok bool) {
	named = slices.DeleteFunc(slices.Clone(named), Revocation.Capped)
	if len(named) <= MaxNamedRevocations {
		return Revocation{}, false
	}
	generations := make([]int64, len(named))
	for i, entry := range named {
		generations[i] = entry.Generation
	}
	slices.Sort(generations)
	folded.UserID = named[0].UserID
	folded.Generation = generations[len(generations)-1-MaxNamedRevocations/2] + 1
	for _, entry := range named {
		if entry.Generation < folded.Generation {
			folded.ExpiresAt = laterTime(folded.ExpiresAt, entry.ExpiresAt)
		}
	}
	return folded, true
}

func laterTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
