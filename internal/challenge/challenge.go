// Package challenge builds the value of the header WWW-Authenticate for bearer tokens (RFC 6750, section 3,
// and RFC 9728, section 5.1). An error can carry what the challenge names beside its own code.
package challenge

import (
	"errors"
	"strings"
)

// Bearer is a challenge for a bearer token. The zero value asks for any token.
type Bearer struct {
	Error    string // the error code, such as invalid_token
	Scope    string // the scopes that the token needs, separated by spaces
	Metadata string // the URL of the metadata of the protected resource
}

// String returns the value of the header. It has only the fields that are not empty, and that fit between
// quotation marks as they are. A host can build a scope from a request, which could otherwise add a field.
func (b Bearer) String() string {
	text, separator := "Bearer", " "
	for _, field := range [...]struct{ name, value string }{
		{"error", b.Error}, {"scope", b.Scope}, {"resource_metadata", b.Metadata},
	} {
		if field.value != "" && !strings.ContainsFunc(field.value, isUnquotable) {
			text += separator + field.name + `="` + field.value + `"`
			separator = ", "
		}
	}
	return text
}

// isUnquotable reports whether a field of a challenge cannot contain the character (RFC 6750, section 3).
func isUnquotable(r rune) bool { return r < ' ' || r >= 0x7f || r == '"' || r == '\\' }

// Hint is an error with the fields of the challenge that the error itself does not know.
type Hint struct {
	Err             error
	Scope, Metadata string
}

// Error returns the text of the error without the hint.
func (h *Hint) Error() string { return h.Err.Error() }

// Unwrap returns the error without the hint.
func (h *Hint) Unwrap() error { return h.Err }

// HintOf returns the first hint of the error, or an empty one.
func HintOf(err error) Hint {
	var hint *Hint
	if errors.As(err, &hint) {
		return *hint
	}
	return Hint{}
}

// WithMetadata returns the error with a hint that has the URL of the metadata. It returns the error as it is
// if the URL is empty, or if the error has such a hint already.
func WithMetadata(err error, url string) error {
	hint := HintOf(err)
	if url == "" || hint.Metadata != "" {
		return err
	}
	return &Hint{Err: err, Scope: hint.Scope, Metadata: url}
}

// WithScope returns the error with a hint that has the scope. It returns the error as it is if the scope is
// empty.
func WithScope(err error, scope string) error {
	if scope == "" {
		return err
	}
	return &Hint{Err: err, Scope: scope, Metadata: HintOf(err).Metadata}
}
