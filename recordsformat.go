package auth

import (
	"fmt"
	"log/slog"
	"time"
)

// The records below print without the hashes and sealed bytes that are in them, so that a host which
// logs a record gives nothing away. They have no MarshalJSON, because a store may keep them as JSON.

// hidden returns what is printed of a hash.
func hidden(hash string) string {
	if hash == "" {
		return ""
	}
	return redactedText
}

type printedAccessKey AccessKey

func (k AccessKey) printed() printedAccessKey {
	k.Hash, k.PreviousHash = hidden(k.Hash), hidden(k.PreviousHash)
	return printedAccessKey(k)
}

// Format prints the record with "[redacted]" for its hashes, for every verb. Package fmt does not
// call it for a record in an unexported field, and encoding/json writes the hashes, because stores
// may keep records as JSON.
func (k AccessKey) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), k.printed())
}

// LogValue returns the record with "[redacted]" for its hashes, for package log/slog. A
// slog.JSONHandler asks for it only where the record itself is the value, and not a slice or a
// struct that has it.
func (k AccessKey) LogValue() slog.Value { return slog.AnyValue(k.printed()) }

type printedKeyRotation KeyRotation

func (r KeyRotation) printed() printedKeyRotation {
	r.Hash = hidden(r.Hash)
	return printedKeyRotation(r)
}

// Format is [AccessKey.Format] for a rotation.
func (r KeyRotation) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), r.printed())
}

// LogValue is [AccessKey.LogValue] for a rotation.
func (r KeyRotation) LogValue() slog.Value { return slog.AnyValue(r.printed()) }

// printedGitHubToken is a GitHubToken whose sealed bytes are text.
type printedGitHubToken struct {
	Account   GitHubAccount
	UserID    string
	Version   string
	Scopes    string
	Sealed    string
	UpdatedAt time.Time
}

func (t GitHubToken) printed() printedGitHubToken {
	return printedGitHubToken{t.Account, t.UserID, t.Version, t.Scopes, hidden(string(t.Sealed)), t.UpdatedAt}
}

// Format prints the record with "[redacted]" for Sealed, as [AccessKey.Format] does.
func (t GitHubToken) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), t.printed())
}

// LogValue returns the record with "[redacted]" for Sealed, as [AccessKey.LogValue] does.
func (t GitHubToken) LogValue() slog.Value { return slog.AnyValue(t.printed()) }
