package storekit

import (
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/text"
)

// Limits of a store, beside [auth.MaxIDLength] and [auth.MaxKeys]. Lengths are in bytes. The maximum length
// of every other field of a record is in the comment of that field.
const (
	MaxAccessKeyLength  = limits.AccessKey  // an access key's ID
	MaxGitHubHostLength = limits.GitHubHost // a GitHub account's Host

	// MaxClients is the maximum number of clients of one user that a store remembers: see
	// [auth.SessionStore.RememberClient].
	MaxClients = 100

	// KeyUsePrecision is the minimum time between two recorded uses of a key. If a use comes sooner
	// after the last recorded use, a store does not record the new use.
	KeyUsePrecision = limits.KeyUsePrecision

	// MaxNamedRevocations is the maximum number of sessions of one user that the revocation feed
	// names one by one. Without this limit, a client that signs in and out in a loop could make the
	// feed grow without bound. See [FoldRevocations].
	MaxNamedRevocations = 1000

	// KeptRevocations is the number of entries at the end of the revocation feed that are never
	// pruned. A reader that has read one of these entries can continue from that entry.
	KeptRevocations = revocation.KeptEntries

	// SkippedPositions is the minimum number of Positions between the newest entry of the
	// revocation feed and an entry of [auth.SessionStore.RevokeEverybody].
	SkippedPositions = revocation.SkippedPositions
)

// ValidateHash returns an [auth.InvalidError] unless the hash of an access secret has 1 to 255 bytes of
// visible ASCII. [auth.CredentialStore.SwapHash] calls it. A record with a hash checks it in its Validate.
func ValidateHash(hash string) error { return auth.KeyRotation{Hash: hash}.Validate() }

// ValidateState returns an [auth.InvalidError] unless the arguments of [auth.GitHubStore.ConsumeState] are
// valid.
func ValidateState(id string, expiresAt time.Time) error {
	if flaw := text.IDFlaw(id, auth.MaxIDLength); flaw != "" {
		return &auth.InvalidError{Field: "state", Reason: flaw}
	}
	if flaw := limits.TimeFlaw(expiresAt); flaw != "" {
		return &auth.InvalidError{Field: "expires_at", Reason: flaw}
	}
	return nil
}

// ValidateBySession is [auth.Write.Validate] for a change that only a session can make, such as
// [auth.SessionStore.ExtendSession]. It also returns an [auth.InvalidError] if the authority has a Host.
func ValidateBySession(w auth.Write) error {
	if err := w.Validate(); err != nil {
		return err
	}
	if flaw := limits.SessionFlaw(w.By.SessionID); flaw != "" {
		return &auth.InvalidError{Field: "authority", Reason: flaw}
	}
	return nil
}
