package auth

import (
	"fmt"
	"log/slog"
	"time"
)

// AccessKey is the record of one access key. It contains the hash of the secret, never the secret. Do not
// answer a client with it as JSON: encoding/json writes the hash, so that a store can keep records as JSON.
type AccessKey struct {
	// ID is the public half of the pair, which a client sends as access_key. It has at most 128 bytes.
	ID string

	// UserID is the ID of the user who signs in with the key.
	UserID string

	// Hash is the stored hash of the secret. Its text also names the hash algorithm and the
	// parameters of the algorithm. Hash has 1 to 255 bytes of visible ASCII. A hash that this
	// package made also depends on ID and UserID. Therefore, a row that is copied to another user
	// does not let anyone sign in as that user.
	Hash string

	// Label is the owner's own name for the key, at most 256 bytes. It may be empty.
	Label string

	CreatedAt time.Time

	// ExpiresAt is when the key stops working. Zero means never.
	ExpiresAt time.Time

	// PreviousHash is the hash of the previous secret, which keeps working until PreviousUntil.
	// Both are zero if there is no previous secret.
	PreviousHash  string
	PreviousUntil time.Time

	// LastUsedAt is when a user last signed in with the key. Zero means never. A store does not record
	// every use, so LastUsedAt can be too early by up to a minute.
	LastUsedAt time.Time

	// Scopes limits the sessions that the key opens: see [ScopeSet]. nil means no limit. A key cannot have
	// [ScopeRotate].
	Scopes *ScopeSet

	// MustRotate means that the owner must rotate the key before the key works as usual, because another
	// person knows the secret. Until then, a session that the key opens has only [ScopeRotate].
	MustRotate bool

	// ExpiryNoticeAt is the time of the newest [eventkind.KeyExpiring] of the key. It is zero if there was
	// none.
	ExpiryNoticeAt time.Time
}

// KeyOptions are the options of a new access key.
type KeyOptions struct {
	Label     string    // the owner's name for the key, at most 256 bytes
	ExpiresAt time.Time // zero means never

	// Scopes limits the sessions that the key opens: see [ScopeSet]. nil means no limit, which a limited
	// session cannot give. To give a key the scopes of a caller, pass the result of [Identity.Scopes].
	Scopes *ScopeSet

	// MustRotate makes the owner of the key rotate it first, because the host or a super user has seen the
	// secret: see [AccessKey.MustRotate]. Without [TokenConfig.Scopes], MustRotate cannot be set, because
	// the routes of the host might then accept a token that may only rotate the key.
	MustRotate bool
}

// KeyRotation describes how to replace the secret of an access key.
type KeyRotation struct {
	Hash string // the hash of the new secret

	// Overlap is how long the previous secret keeps working. Zero means that it stops working at
	// once.
	Overlap time.Duration
}

// SessionScopes returns the Scopes of the sessions that the key opens, if a sign-in asks for no others: those
// of the key or, if MustRotate is set, only [ScopeRotate].
func (k AccessKey) SessionScopes() *ScopeSet {
	if k.MustRotate {
		return rotateOnly
	}
	return k.Scopes
}

func (k AccessKey) withoutHashes() AccessKey {
	k.Hash, k.PreviousHash = "", ""
	return k
}

// The types below print without their hashes and sealed bytes, so that a host can log them safely.
// They have no MarshalJSON method, because a store may keep records as JSON, including these
// fields.

// redactHash returns the text to print in place of a hash.
func redactHash(hash string) string {
	if hash == "" {
		return ""
	}
	return redactedText
}

// printedAccessKey is an AccessKey without methods, so that package fmt prints its fields.
type printedAccessKey AccessKey

func (k AccessKey) printed() printedAccessKey {
	k.Hash, k.PreviousHash = redactHash(k.Hash), redactHash(k.PreviousHash)
	return printedAccessKey(k)
}

// Format prints the record for every verb, with "[redacted]" in place of its hashes. Package fmt
// does not call Format for a record in an unexported field. Package encoding/json does not use
// Format and writes the hashes.
func (k AccessKey) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), k.printed())
}

// LogValue returns the record for package log/slog, with "[redacted]" in place of its hashes. A
// slog.JSONHandler calls LogValue only if the record itself is the value of an attribute. It does
// not call LogValue for a record inside a slice or a struct.
func (k AccessKey) LogValue() slog.Value { return slog.AnyValue(k.printed()) }

type printedKeyRotation KeyRotation

func (r KeyRotation) printed() printedKeyRotation {
	r.Hash = redactHash(r.Hash)
	return printedKeyRotation(r)
}

// Format prints the rotation with "[redacted]" in place of Hash, as [AccessKey.Format] does.
func (r KeyRotation) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), r.printed())
}

// LogValue returns the rotation with "[redacted]" in place of Hash, as [AccessKey.LogValue] does.
func (r KeyRotation) LogValue() slog.Value { return slog.AnyValue(r.printed()) }
