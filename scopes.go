package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-go/auth/internal/scope"
)

// The scopes of the calls of this package: see [ScopeSet]. A limited session can make a call only if it has
// the scope of the call. It can change its user's records through the methods of this package, such as
// [CredentialVerifier.Issue], only if it has the scope of the corresponding call.
//
// The comments say what a session can do with the scope. GET /auth/user and POST /auth/logout need no scope,
// but a session with ScopeRotate cannot call GET /auth/user.
const (
	ScopeKeys     = "auth:keys"     // list, add, rotate and revoke the access keys of its user
	ScopeSessions = "auth:sessions" // list and revoke the sessions of its user
	ScopeGitHub   = "auth:github"   // see, disconnect and unlink the GitHub account of its user
	ScopeUsers    = "auth:users"    // administer all users, if its user is a super user
	ScopeEvents   = "auth:events"   // read the audit trail, if its user is a super user

	// ScopeRevocations lets a limited session read the revocation feed for a service that has no store, if
	// its user is a service user or a super user: see GET /auth/revocations.
	ScopeRevocations = "auth:revocations"

	// ScopeIntrospect lets a service user ask whether a token is valid: see package oauth.
	ScopeIntrospect = "auth:introspect"

	// ScopeSuperUser lets a limited session of a super user pass [Service.RequireSuperUser] and
	// [Service.SuperUser], which protect routes of the host. The calls of this package need ScopeUsers or
	// ScopeEvents instead.
	ScopeSuperUser = "auth:super_user"

	// ScopeRotate lets a session rotate the access key that opened it, if [AccessKey.MustRotate] is set.
	// Such a session has no other scope, and apart from the rotation it can only sign out. No key can have
	// ScopeRotate.
	ScopeRotate = scope.Rotate
)

// ownScopes are the scopes of this package.
var ownScopes = []string{ScopeKeys, ScopeSessions, ScopeGitHub, ScopeUsers, ScopeEvents, ScopeRevocations,
	ScopeIntrospect, ScopeSuperUser, ScopeRotate}

// rotateOnly are the scopes of a session that a key opened which must be rotated.
var rotateOnly = NewScopes(ScopeRotate)

// maxHostScopes is the maximum length of all scopes of the host, in bytes. It leaves room for the scopes of
// this package in a set of scope.MaxText bytes.
const maxHostScopes = 900

// reservedScopePrefix is the beginning of the scopes of this package.
const reservedScopePrefix = "auth:"

// ScopeSet is a set of scopes, which limits what an access key, a session or a token may do. A scope is a
// name that the host has listed in [TokenConfig.Scopes], such as "reports:read", or one of the constants of
// this package, such as [ScopeKeys].
//
// A nil *ScopeSet means no limit: the key, session or token may do everything that its user may do. Every
// other ScopeSet allows its scopes and nothing else, and the empty set allows nothing. A key, session or
// token with a ScopeSet is called limited. A scope never gives a user more power than the user has.
//
// A ScopeSet does not change after it was made, so goroutines can share it. The exception is
// [ScopeSet.UnmarshalJSON].
type ScopeSet struct {
	text string // see package scope
	flaw string // why the set is not valid, or empty; such a set allows nothing
	made bool   // true unless the set is a zero value, which only UnmarshalJSON changes
}

// NewScopes returns the set of these scopes. It never returns nil. So if a program removes all scopes from
// a list and passes the list, the result is the empty set, which allows nothing.
//
// A scope has 1 to 64 bytes of visible ASCII, without quotation marks and backslashes (RFC 6749, section
// 3.3). All scopes of a set together have at most 1024 bytes, with one space between two scopes. If the
// arguments break these rules, the set allows nothing, and a method that would store the set returns an
// *[InvalidError].
func NewScopes(scopes ...string) *ScopeSet {
	if !slices.ContainsFunc(scopes, func(name string) bool { return !scope.IsName(name) }) {
		if text := scope.Join(scopes); len(text) <= scope.MaxText {
			return &ScopeSet{text: text, made: true}
		}
		return &ScopeSet{made: true,
			flaw: fmt.Sprintf("must be at most %d bytes long together", scope.MaxText)}
	}
	return &ScopeSet{made: true, flaw: fmt.Sprintf("must each be 1 to %d bytes of visible ASCII, without "+
		"quotation marks and backslashes", scope.MaxName)}
}

// ParseScopes returns the set for which [ScopeSet.String] has returned the text. It returns an
// *[InvalidError] for a text that is not the text of a set. It is for stores that keep a set as text. Such
// a store must keep a nil set in another form, such as NULL, because the empty text is the empty set.
func ParseScopes(text string) (*ScopeSet, error) {
	if !scope.IsCanonical(text) {
		return nil, invalidf("scopes", "must be in ascending order and separated by single spaces")
	}
	return &ScopeSet{text: text, made: true}, nil
}

// Allows reports whether the set contains the scope. A nil set allows every scope.
func (s *ScopeSet) Allows(name string) bool { return s == nil || scope.Contains(s.text, name) }

// Within reports whether limit allows everything that the set allows. Every set is within nil, and nil is
// within no other set.
func (s *ScopeSet) Within(limit *ScopeSet) bool {
	return limit == nil || s != nil && scope.Missing(s.text, limit.text) == ""
}

// CheckWithin returns an *[InsufficientScopeError] unless the set is within the limit: see [ScopeSet.Within].
// The error names the first scope that is not in the limit. It names none if the set is nil, because no scope
// gives everything.
func (s *ScopeSet) CheckWithin(limit *ScopeSet) error {
	switch {
	case s.Within(limit):
		return nil
	case s == nil:
		return &InsufficientScopeError{}
	}
	return &InsufficientScopeError{Scope: scope.Missing(s.text, limit.text)}
}

// List returns the scopes in ascending order. It returns nil for a nil set, and an empty slice that is not
// nil for the empty set.
func (s *ScopeSet) List() []string {
	if s == nil {
		return nil
	}
	return scope.Split(s.text)
}

// String returns the scopes in ascending order, separated by single spaces, as in the scope claim of a
// token. For a nil set, it returns "no limit", which [ParseScopes] does not accept, because the two words
// are not in ascending order.
func (s *ScopeSet) String() string {
	if s == nil {
		return "no limit"
	}
	return s.text
}

// Equal reports whether the two sets have the same scopes, or are both nil.
func (s *ScopeSet) Equal(other *ScopeSet) bool {
	return s == other || s != nil && other != nil && s.text == other.text && s.flaw == other.flaw
}

// MarshalJSON returns the scopes as an array of strings in ascending order. A nil *ScopeSet becomes null.
func (s *ScopeSet) MarshalJSON() ([]byte, error) { return json.Marshal(s.List()) }

// UnmarshalJSON reads an array of strings. A field that is null stays nil. UnmarshalJSON returns an
// *[InvalidError] if the array is not a valid set. If a field has a set already, decoding into the field
// returns an error, because others may use the same set. So set the field to nil first.
func (s *ScopeSet) UnmarshalJSON(text []byte) error {
	if s.made {
		return errors.New("auth: a ScopeSet cannot be changed: decode the JSON into a nil *ScopeSet")
	}
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return err
	}
	set := NewScopes(names...)
	*s = *set
	return set.checkFlaw()
}

// checkFlaw returns an *InvalidError if the set breaks a rule of NewScopes.
func (s *ScopeSet) checkFlaw() error {
	if s == nil || s.flaw == "" {
		return nil
	}
	return invalidf("scopes", "%s", s.flaw)
}

// Validate returns an *[InvalidError] if no access key can have the set: if the set breaks a rule of
// [NewScopes], or contains [ScopeRotate]. It returns nil for a nil set.
func (s *ScopeSet) Validate() error {
	// A key that had ScopeRotate would open a session that looks like one of a key that must be rotated.
	if s != nil && s.Allows(ScopeRotate) {
		return invalidf("scopes", "must not contain %s: set MustRotate instead", ScopeRotate)
	}
	return s.checkFlaw()
}

// checkKnown returns an *InvalidError if the set has a scope that is neither one of this package nor one
// of the host's scopes. If known is nil, there are no scopes.
func (s *ScopeSet) checkKnown(known *ScopeSet) error {
	switch {
	case s == nil || s.flaw != "":
		return s.checkFlaw()
	case known == nil:
		return invalidf("scopes", "must be left out, because the service has no scopes")
	case !s.Within(known):
		return invalidf("scopes", "must be scopes that the service knows")
	}
	return nil
}

// knownScopes returns the scopes of this package and those of the host, or an error that says what to
// change in the configuration. It returns nil if the host has not set its scopes, even to none.
func knownScopes(setting string, host []string) (*ScopeSet, error) {
	if host == nil {
		return nil, nil
	}
	for i, name := range host {
		switch {
		case !scope.IsName(name):
			return nil, fmt.Errorf("auth: %s[%d] must be 1 to %d bytes of visible ASCII, without quotation "+
				"marks and backslashes", setting, i, scope.MaxName)
		case strings.HasPrefix(name, reservedScopePrefix):
			return nil, fmt.Errorf("auth: %s[%d] must not begin with %q, which is for the scopes of package "+
				"auth", setting, i, reservedScopePrefix)
		}
	}
	if length := len(scope.Join(host)); length > maxHostScopes {
		return nil, fmt.Errorf("auth: %s has %d bytes, counting a space between two scopes; at most %d are "+
			"allowed", setting, length, maxHostScopes)
	}
	return NewScopes(slices.Concat(ownScopes, host)...), nil
}

// maxTokenAudiences is the maximum number of elements of TokenConfig.Audiences.
const maxTokenAudiences = 64

// checkTokenAudiences returns an error that says what to change in TokenConfig.Audiences.
func checkTokenAudiences(issuer string, audiences []string) error {
	if len(audiences) > maxTokenAudiences {
		return fmt.Errorf("auth: TokenConfig.Audiences has %d elements; at most %d are allowed",
			len(audiences), maxTokenAudiences)
	}
	for i, name := range audiences {
		setting := fmt.Sprintf("TokenConfig.Audiences[%d]", i)
		if err := checkAudienceName(setting, name); err != nil {
			return err
		}
		switch {
		case name == issuer:
			return fmt.Errorf("auth: %s must not be the issuer, for which tokens are issued anyway", setting)
		case slices.Contains(audiences[:i], name):
			return fmt.Errorf("auth: %s is in the list twice", setting)
		}
	}
	return nil
}

// checkAudienceName returns an error that names the setting if its value cannot be an audience.
func checkAudienceName(setting, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("auth: %s is required", setting)
	case !scope.IsAudience(name):
		return fmt.Errorf("auth: %s must be 1 to %d bytes of visible ASCII, without quotation marks and "+
			"backslashes", setting, scope.MaxAudience)
	}
	return nil
}
