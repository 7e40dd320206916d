// Package scope implements the text form of a set of scopes: the names in ascending order, separated by
// single spaces. The text is the value of the scope claim of a token (RFC 9068, section 2.2.3).
package scope

import (
	"slices"
	"strings"
)

const (
	MaxName     = 64   // maximum length of a scope, in bytes
	MaxText     = 1024 // maximum length of the text of a set, in bytes
	MaxAudience = 256  // maximum length of an audience, in bytes
)

// Rotate is the only scope of a session that an access key opened which must be rotated.
const Rotate = "auth:rotate"

// IsName reports whether the text is the name of a scope: 1 to MaxName bytes of visible ASCII, without
// quotation marks and backslashes (RFC 6749, section 3.3).
func IsName(name string) bool { return isName(name, MaxName) }

// IsAudience reports whether the text is an audience: 1 to MaxAudience bytes of the characters of a scope.
// So Join and Split work for a set of audiences, too.
func IsAudience(name string) bool { return isName(name, MaxAudience) }

func isName(name string, limit int) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return name != "" && len(name) <= limit
}

// Join returns the text of the set of these names. Each of them must be a name of a scope.
func Join(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// Split returns the names of the set in ascending order. The result is empty, but not nil, for the empty
// set.
func Split(text string) []string {
	if text == "" {
		return []string{}
	}
	return strings.Split(text, " ")
}

// IsCanonical reports whether Join can have returned the text, and the text is not longer than MaxText.
func IsCanonical(text string) bool {
	return len(text) <= MaxText && isCanonical(text, IsName)
}

// IsCanonicalAudiences reports whether the text consists of audiences in ascending order, separated by
// single spaces. The empty text is the empty set.
func IsCanonicalAudiences(text string) bool { return isCanonical(text, IsAudience) }

func isCanonical(text string, isName func(string) bool) bool {
	if text == "" {
		return true
	}
	last := ""
	for name := range strings.SplitSeq(text, " ") {
		if name <= last || !isName(name) {
			return false
		}
		last = name
	}
	return true
}

// Contains reports whether the set with this text contains the scope. It allocates nothing.
func Contains(text, name string) bool {
	for text != "" {
		first, rest, _ := strings.Cut(text, " ")
		if first == name {
			return true
		}
		text = rest
	}
	return false
}

// Missing returns the first scope of the set with this text that the other set does not contain. It
// returns "" if the other set contains all of them.
func Missing(text, other string) string {
	if text == "" {
		return ""
	}
	for name := range strings.SplitSeq(text, " ") {
		if !Contains(other, name) {
			return name
		}
	}
	return ""
}

// GivesDelegation reports whether a key of a user with these audiences gives the user with the ID byID more
// power than the scopes of the key: with the key, that user could get delegated tokens for the audiences.
// The owner of the key has this power already.
func GivesDelegation(audiences, ownerID, byID string) bool { return audiences != "" && ownerID != byID }
