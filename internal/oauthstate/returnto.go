package oauthstate

import (
	"slices"
	"strings"

	"github.com/sallyport-go/auth/internal/text"
)

// MaxReturnTo is the maximum length of a path in bytes.
const MaxReturnTo = 256

// IsReturnTo reports whether the service may send a browser to the path at the end of an OAuth
// flow. The path must begin with a slash, and no browser or server may read it as a URL of another
// host. The path may have a query and a fragment. An empty path is allowed, and means that the
// caller has not named a path to return to.
func IsReturnTo(path string) bool {
	if path == "" {
		return true
	}
	if path[0] != '/' || len(path) > MaxReturnTo ||
		strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return false
	}
	// If a path begins with two slashes, browsers read the next segment as a host. Dot segments can
	// bring two slashes to the front. Browsers also read a backslash as a slash. Some servers
	// decode a path before they compare it.
	lower := text.FoldASCII(path)
	clean := lower
	if end := strings.IndexAny(lower, "?#"); end >= 0 {
		clean = lower[:end]
	}
	// An escaped slash or dot in the query or the fragment is data, for instance ?next=%2Freports.
	if containsAny(lower, "//", `\`, "%5c", "%00") || containsAny(clean, "%2f", "%2e") {
		return false
	}
	for segment := range strings.SplitSeq(clean, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

func containsAny(s string, tricks ...string) bool {
	return slices.ContainsFunc(tricks, func(trick string) bool { return strings.Contains(s, trick) })
}
