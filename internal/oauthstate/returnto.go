package oauthstate

import (
	"strings"

	"github.com/sallyport-go/auth/internal/text"
)

const maxReturnTo = 256

// IsReturnTo reports whether the browser may be sent to the path after a flow. The path must belong
// to the host, in a spelling that no browser and no redirect reads as another URL. It may have a
// query and a fragment. An empty path means that there is no path, and is allowed.
func IsReturnTo(path string) bool {
	if path == "" {
		return true
	}
	if path[0] != '/' || len(path) > maxReturnTo ||
		strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return false
	}
	// Browsers read a backslash as a slash, and some servers decode a path before they compare it.
	// After a second slash at the front, the next segment is read as a host, and dots can bring a
	// second slash to the front.
	lower := text.FoldASCII(path)
	for _, trick := range []string{"//", `\`, "%5c", "%2f", "%2e", "%00"} {
		if strings.Contains(lower, trick) {
			return false
		}
	}
	clean, _, _ := strings.Cut(path, "?")
	clean, _, _ = strings.Cut(clean, "#")
	for segment := range strings.SplitSeq(clean, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
