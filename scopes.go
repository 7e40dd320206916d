package auth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-go/auth/internal/scope"
)

// The scopes of the calls of this package. A limited session needs the scope of a call to make the call.
// The host's own scopes must not begin with "auth:".
const (
	ScopeKeys     = "auth:keys"     // list, add, rotate and revoke the user's access keys
	ScopeSessions = "auth:sessions" // list and revoke the user's sessions
	ScopeGitHub   = "auth:github"   // see, disconnect and unlink the user's GitHub account
	ScopeUsers    = "auth:users"    // administer users, if the user is a super user
	ScopeEvents   = "auth:events"   // read the audit trail, if the user is a super user

	// ScopeSuperUser lets the limited sessions of a super user pass [Service.RequireSuperUser] and
	// [Service.SuperUser]. The calls of this package need ScopeUsers or ScopeEvents instead.
	ScopeSuperUser = "auth:super_user"
)

// ownScopes are the scopes of this package.
var ownScopes = []string{ScopeKeys, ScopeSessions, ScopeGitHub, ScopeUsers, ScopeEvents, ScopeSuperUser}

// reservedScopePrefix is the beginning of the scopes of this package.
const reservedScopePrefix = "auth:"

// ScopeSet limits what an access key, a session or a token may do. A scope is a name that the host
// chooses, such as "reports:read", or one of the constants of this package.
//
// A nil *ScopeSet is no limit: the key, session or token may do everything that its user may do. Every
// other ScopeSet allows its scopes and nothing else, so the empty set allows nothing. A key, session or
// token with a ScopeSet is called limited.
//
// A ScopeSet never changes, so it is safe for concurrent use and can be shared.
type ScopeSet struct {
	text string // see package scope
	flaw string // why the set is not valid, or empty; such a set allows nothing
}

// NewScopes returns the set of the scopes. It never returns nil. So if a program removes all elements from
// a list of scopes, the result is the empty set, which allows nothing.
//
// A scope has 1 to 64 bytes of visible ASCII without quotation marks and backslashes (RFC 6749, section
// 3.3). A set has at most 1024 bytes, counting a space between two scopes. If the arguments break these
// rules, the set allows nothing, and every call that would store it returns an *[InvalidError].
func NewScopes(scopes ...string) *ScopeSet {
	if !slices.ContainsFunc(scopes, func(name string) bool { return !scope.IsName(name) }) {
		if text := scope.Join(scopes); len(text) <= scope.MaxText {
			return &ScopeSet{text: text}
		}
		return &ScopeSet{flaw: fmt.Sprintf("must be at most %d bytes long together", scope.MaxText)}
	}
	return &ScopeSet{flaw: fmt.Sprintf("must each be 1 to %d bytes of visible ASCII, without quotation marks "+
		"and backslashes", scope.MaxName)}
}

// ParseScopes returns the set with the given text, which [ScopeSet.String] has returned. It returns an
// *[InvalidError] for any other text. Stores can keep a set as this text, and must keep nil apart from the
// empty text.
func ParseScopes(text string) (*ScopeSet, error) {
	if !scope.IsCanonical(text) {
		return nil, invalidf("scopes", "must be in ascending order and separated by single spaces")
	}
	return &ScopeSet{text: text}, nil
}

// Allows reports whether the set contains the scope. A nil set allows every scope.
func (s *ScopeSet) Allows(name string) bool { return s == nil || scope.Contains(s.text, name) }

// Within reports whether limit allows everything that the set allows. A nil set is only within nil.
func (s *ScopeSet) Within(limit *ScopeSet) bool {
	return limit == nil || s != nil && scope.Missing(s.text, limit.text) == ""
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
// token. It returns "(no limit)" for a nil set, which is not the text of any other set.
func (s *ScopeSet) String() string {
	if s == nil {
		return "(no limit)"
	}
	return s.text
}

// Equal reports whether both sets allow the same scopes.
func (s *ScopeSet) Equal(other *ScopeSet) bool {
	return s == other || s != nil && other != nil && *s == *other
}

// MarshalJSON returns the scopes as an array of strings. A nil pointer in a struct is written as null.
func (s *ScopeSet) MarshalJSON() ([]byte, error) { return json.Marshal(s.List()) }

// UnmarshalJSON reads an array of strings. A field that is null stays nil. UnmarshalJSON returns an
// *[InvalidError] if the array is not a valid set.
func (s *ScopeSet) UnmarshalJSON(text []byte) error {
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return err
	}
	set := NewScopes(names...)
	*s = *set
	return set.validate()
}

func (s *ScopeSet) validate() error {
	if s == nil || s.flaw == "" {
		return nil
	}
	return invalidf("scopes", "%s", s.flaw)
}

// checkKnown returns an *InvalidError if the set has a scope that is neither one of this package nor one
// of the host's scopes.
func (s *ScopeSet) checkKnown(known *ScopeSet) error {
	if s == nil || s.flaw != "" {
		return s.validate()
	}
	if !s.Within(known) {
		return invalidf("scopes", "must be scopes that the service knows")
	}
	return nil
}

// knownScopes returns the scopes of this package and those of the host, or an error that says what to
// change in the configuration.
func knownScopes(setting string, host []string) (*ScopeSet, error) {
	for i, name := range host {
		switch {
		case !scope.IsName(name):
			return nil, fmt.Errorf("auth: %s[%d] must be 1 to %d bytes of visible ASCII, without quotation "+
				"marks and backslashes", setting, i, scope.MaxName)
		case strings.HasPrefix(name, reservedScopePrefix):
			return nil, fmt.Errorf("auth: %s[%d] must not begin with %q, which is for the scopes of package auth",
				setting, i, reservedScopePrefix)
		}
	}
	known := NewScopes(slices.Concat(ownScopes, host)...)
	if known.flaw != "" {
		return nil, fmt.Errorf("auth: %s and the scopes of package auth %s", setting, known.flaw)
	}
	return known, nil
}

// InsufficientScopeError means that a limited session or token may not do something. It matches
// [ErrInsufficientScope] with errors.Is.
type InsufficientScopeError struct {
	// Scope is the scope that the session lacks. It is empty if only a session without a limit may do
	// this.
	Scope string
}

// Error returns a message with the scope.
func (e *InsufficientScopeError) Error() string {
	return "auth: " + cmp.Or(e.Scope, "a session without a limit") + " is needed"
}

// challenge returns the value of the header WWW-Authenticate (RFC 6750, section 3.1).
func (e *InsufficientScopeError) challenge() string {
	challenge := `Bearer error="insufficient_scope"`
	if e.Scope != "" {
		challenge += `, scope="` + e.Scope + `"` // a scope contains no quotation marks
	}
	return challenge
}

// Unwrap returns ErrInsufficientScope.
func (e *InsufficientScopeError) Unwrap() error { return ErrInsufficientScope }
