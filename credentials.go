package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/sallyport-go/auth/internal/accesskey"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/secrethash"
)

// CredentialVerifier issues, verifies and revokes access keys. It is safe for concurrent use.
type CredentialVerifier struct {
	store  CredentialStore
	tokens *TokenIssuer // nil if no sessions are opened with the keys
	format accesskey.Format
	hasher *secrethash.Hasher
	slow   *secrethash.Queue // nil unless imported keys are allowed
	events *EventLog
	now    func() time.Time
	log    *slog.Logger

	hostUsers bool // a UserSource says who is active, and the store does not
}

// NewCredentialVerifier returns a verifier of the keys in the store, or an error that says
// what to change in the configuration. Revoking a key revokes the sessions that it opened, and
// their tokens are rejected at once by the given issuer, over the same store. A host that
// opens no sessions with the keys passes nil.
func NewCredentialVerifier(
	store CredentialStore, tokens *TokenIssuer, cfg CredentialConfig,
) (*CredentialVerifier, error) {
	if defaults.IsNil(store) {
		return nil, errors.New("auth: NewCredentialVerifier needs a store")
	}
	if tokens != nil {
		if err := tokens.checkStore(store); err != nil {
			return nil, err
		}
	}
	format, err := accesskey.NewFormat(cfg.AccessKeyPrefix, cfg.AccessSecretPrefix)
	if err != nil {
		return nil, err
	}
	peppers, err := derivePeppers(cfg.Peppers)
	if err != nil {
		return nil, err
	}
	hasher, err := secrethash.New(peppers)
	if err != nil {
		return nil, err
	}
	if cfg.MaxSlowHashes < 0 {
		return nil, errors.New("auth: CredentialConfig.MaxSlowHashes must not be negative")
	}
	var slow *secrethash.Queue
	if cfg.AllowImported {
		slow = secrethash.NewQueue(cmp.Or(cfg.MaxSlowHashes, max(1, runtime.GOMAXPROCS(0)/2)))
	}
	return &CredentialVerifier{
		store:  guardedCredentials{store},
		tokens: tokens,
		format: format,
		hasher: hasher,
		slow:   slow,
		events: cfg.Events,
		now:    defaults.Now(cfg.Now),
		log:    defaults.Logger(cfg.Logger),

		hostUsers: keepsNoUsers(store) || tokens != nil && tokens.users != nil,
	}, nil
}

// KeyOptions are the choices for a new key.
type KeyOptions struct {
	Label     string    // the owner's name for it, at most 256 bytes
	ExpiresAt time.Time // zero means never
}

// The reasons for which a pair is rejected. They are for the operator: the client gets one
// answer for all of them.
var (
	errPairForm      = fmt.Errorf("%w: not of the form of a pair", ErrInvalidCredentials)
	errKeyUnknown    = fmt.Errorf("%w: no such key", ErrInvalidCredentials)
	errSecretWrong   = fmt.Errorf("%w: wrong secret", ErrInvalidCredentials)
	errKeyExpired    = fmt.Errorf("%w: the key has expired", ErrInvalidCredentials)
	errOwnerDisabled = fmt.Errorf("%w: the user is disabled", ErrInvalidCredentials)
	errMembership    = fmt.Errorf("%w: the user must sign in with GitHub first", ErrInvalidCredentials)
)

// GeneratePair makes a pair that opens nothing yet. It is for [Service.Bootstrap].
func (v *CredentialVerifier) GeneratePair() KeyPair {
	key, secret := v.format.Generate()
	return KeyPair{AccessKey: key, AccessSecret: NewSecret(secret)}
}

// Issue gives the user a new key and returns the pair, whose secret cannot be read again. It
// returns ErrNotFound if the store keeps users and there is no such user, ErrTooManyKeys if
// the user has [MaxKeys] already, an *InvalidError for options that are not valid, and the errors
// of [Authority.Check]. A session without SuperUser issues keys only to its own user.
func (v *CredentialVerifier) Issue(
	ctx context.Context, by Authority, userID string, options KeyOptions,
) (KeyPair, error) {
	if err := v.tokens.admit(ctx, by); err != nil {
		return KeyPair{}, err
	}
	pair, _, err := v.issue(ctx, by, userID, options)
	return pair, err
}

func (v *CredentialVerifier) issue(
	ctx context.Context, by Authority, userID string, options KeyOptions,
) (KeyPair, AccessKey, error) {
	pair := v.GeneratePair()
	key, err := v.newKey(userID, pair, options)
	if err != nil {
		return KeyPair{}, AccessKey{}, err
	}
	c := v.newChange(ctx, by, Event{Kind: EventKeyIssued, UserID: userID, AccessKey: key.ID})
	if err := v.store.AddKey(ctx, c.write, key); err != nil {
		return KeyPair{}, AccessKey{}, fmt.Errorf("auth: issuing an access key: %w", err)
	}
	c.recordEvent(ctx)
	return pair, key, nil
}

// newChange prepares a change of the verifier's store.
func (v *CredentialVerifier) newChange(ctx context.Context, by Authority, e Event) change {
	var lifetime time.Duration
	if v.tokens != nil {
		lifetime = v.tokens.cfg.MaxLifetime
	}
	return v.events.newChange(ctx, by, e, v.now, lifetime)
}

// newKey returns the record of a generated pair.
func (v *CredentialVerifier) newKey(userID string, pair KeyPair, options KeyOptions) (AccessKey, error) {
	if !v.format.IsPair(pair.AccessKey, pair.AccessSecret.Reveal()) {
		return AccessKey{}, invalidf("access_key", "and its secret must be a pair made by GeneratePair")
	}
	key := AccessKey{
		ID:        pair.AccessKey,
		UserID:    userID,
		Hash:      v.hasher.Fast.Hash(userID, pair.AccessKey, pair.AccessSecret.Reveal()),
		Label:     options.Label,
		CreatedAt: v.now(),
		ExpiresAt: options.ExpiresAt,
	}
	if v.expired(key) {
		return AccessKey{}, invalidf("expires_at", "must be in the future")
	}
	return key, key.Validate()
}

// Verify returns the key and its owner if the pair signs in now, and ErrInvalidCredentials if
// it does not, for whatever reason. With AllowImported it returns a [ThrottledError] if too
// many slow hashes wait. Any other error means that the store could not answer.
//
// A pair of this package's form costs one read of the store and one fast hash, whether the key
// exists or not. Any other pair costs nothing, or with AllowImported one read and one slow
// hash, and a second one with a write if it signs in and its hash is made anew. The time of the
// last use is written once a minute.
//
// Verify says who the pair's owner is; it opens no session. To sign in, use [Service.Login]. If
// the host has a users table of its own, the User has only an ID, and IsActive is false: the table
// is asked when the session has been opened.
//
// A pair that is rejected is an attempt to sign in for the events and hooks. A pair that is
// accepted becomes one when [TokenIssuer.Issue] opens a session.
func (v *CredentialVerifier) Verify(ctx context.Context, pair KeyPair) (AccessKey, User, error) {
	began := time.Now()
	key, user, err := v.verifyAndTouch(ctx, pair)
	if err != nil {
		v.events.recordSignIn(ctx, began, v.signInEvent(pair, err), err)
	}
	return key, user, err
}

// signInEvent returns the event of an attempt to sign in with the pair, which ended with err.
func (v *CredentialVerifier) signInEvent(pair KeyPair, err error) Event {
	e := Event{Method: MethodAccessKey}
	if err == nil || v.format.IsKey(pair.AccessKey) { // a text that is only claimed may be a secret
		e.AccessKey = v.loggableName(pair.AccessKey)
	}
	return e
}

// verifyPair is Verify without an event.
func (v *CredentialVerifier) verifyAndTouch(ctx context.Context, pair KeyPair) (AccessKey, User, error) {
	key, user, err := v.checkPair(ctx, pair, v.formOf(pair), nil)
	if err != nil {
		return AccessKey{}, User{}, err
	}
	now := v.now()
	if now.Before(key.LastUsedAt.Add(KeyUsePrecision)) {
		return key, user, nil
	}
	err = v.store.TouchKey(ctx, key.ID, now)
	switch {
	case errors.Is(err, ErrNotFound): // revoked since it was read
		return AccessKey{}, User{}, ErrInvalidCredentials
	case err != nil:
		return AccessKey{}, User{}, fmt.Errorf("auth: noting the use of an access key: %w", err)
	}
	key.LastUsedAt = now
	return key, user, nil
}

// check is Verify without noting the use of the key. If an imported key is tried, countAttempt is
// called when nothing but the slow hash is left to do, and its error is returned. It may be nil.
func (v *CredentialVerifier) checkPair(
	ctx context.Context, pair KeyPair, form pairForm, countAttempt func() error,
) (AccessKey, User, error) {
	secret := pair.AccessSecret.Reveal()
	switch form {
	case generatedPair:
		return v.matchStored(ctx, pair.AccessKey, secret, v.hasher.Fast, nil)
	case noPair:
		return AccessKey{}, User{}, errPairForm
	}
	leave, err := v.waitForSlowHash(ctx, clientOf(ctx).network())
	if err != nil {
		return AccessKey{}, User{}, err
	}
	defer leave()
	return v.matchStored(ctx, pair.AccessKey, secret, v.hasher.Slow, countAttempt)
}

// waitForSlowHash waits for a turn of the client to compute a slow hash, and returns the function
// that ends the turn. It returns a [ThrottledError] if too many wait.
func (v *CredentialVerifier) waitForSlowHash(
	ctx context.Context, client netip.Addr,
) (leave func(), err error) {
	leave, err = v.slow.Enter(ctx, client)
	if busy, ok := errors.AsType[*secrethash.BusyError](err); ok {
		return nil, &ThrottledError{RetryAfter: busy.RetryAfter}
	}
	return leave, err
}

// pairForm says how a pair is verified.
type pairForm int

const (
	noPair        pairForm = iota // not at all: no key has this form
	generatedPair                 // by a fast hash: it is of this package's form
	importedPair                  // by a slow hash
)

func (v *CredentialVerifier) formOf(pair KeyPair) pairForm {
	secret := pair.AccessSecret.Reveal()
	switch {
	case v.format.IsKey(pair.AccessKey) && v.format.IsSecret(secret):
		return generatedPair
	case v.slow != nil && !v.format.Resembles(pair.AccessKey) &&
		len(pair.AccessKey) <= MaxAccessKeyLength && len(secret) <= secrethash.MaxSecret:
		return importedPair
	}
	return noPair
}

// decoyUserID is as long as the IDs that this package makes, and equal to none of them.
const decoyUserID = "--------------------------"

// verify looks the key up and does the same work whether it exists or not. Between the two it calls
// countAttempt, which may be nil.
func (v *CredentialVerifier) matchStored(
	ctx context.Context, accessKey, secret string, scheme secrethash.Scheme, countAttempt func() error,
) (AccessKey, User, error) {
	key, owner, err := v.store.FindKey(ctx, accessKey)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return AccessKey{}, User{}, fmt.Errorf("auth: verifying an access key: %w", err)
	}
	if countAttempt != nil { // an attempt that the store has failed compares nothing, and does not count
		if err := countAttempt(); err != nil {
			return AccessKey{}, User{}, err
		}
	}
	found, subject := err == nil, key.UserID
	if !found {
		key, owner, subject = AccessKey{UserID: decoyUserID, Hash: scheme.Decoy}, User{}, ""
	}
	matches, stale := v.matchSecret(scheme, key, accessKey, secret)
	var rejected error
	switch {
	case !found:
		rejected = errKeyUnknown
	case !matches || owner.ID != key.UserID:
		rejected = errSecretWrong
	case v.expired(key):
		rejected = errKeyExpired
	case !owner.IsActive && !(v.hostUsers && owner == User{ID: owner.ID}): // the record of a user is whole
		rejected = errOwnerDisabled
	}
	if rejected != nil {
		// also without a subject, which takes as long
		return AccessKey{}, User{}, rejectionOf(subject, "", rejected)
	}
	if stale {
		// The secret is here now and not later: a good moment to renew the hash, but a
		// failure of that must not fail the sign-in.
		err := v.store.SwapHash(ctx, accessKey, key.Hash, scheme.Hash(key.UserID, accessKey, secret))
		if err != nil && !errors.Is(err, ErrNotFound) {
			v.log.WarnContext(ctx, "auth: the hash of an access key was not renewed",
				"access_key", v.loggableName(accessKey), "error", err)
		}
	}
	return key, owner, nil
}

// matchSecret reports whether the secret is one that the key has now, and whether its
// hash ought to be made anew: not that of a secret that is on its way out.
func (v *CredentialVerifier) matchSecret(
	scheme secrethash.Scheme, key AccessKey, accessKey, secret string,
) (matches, stale bool) {
	matches, stale = scheme.Match(key.Hash, key.UserID, accessKey, secret)
	if !matches && key.PreviousUntil.After(v.now()) {
		matches, _ = scheme.Match(key.PreviousHash, key.UserID, accessKey, secret)
		return matches, false
	}
	return matches, stale
}

// Revoke revokes the key and the sessions that it opened. It returns ErrNotFound if there is no
// such key, or if the key belongs to another user than the authority's session and SuperUser is
// not set, and the errors of [Authority.Check].
func (v *CredentialVerifier) Revoke(ctx context.Context, by Authority, accessKey string) error {
	if err := v.tokens.admit(ctx, by); err != nil {
		return err
	}
	return v.revoke(ctx, by, accessKey, "", EventKeyRevoked)
}

// revoke is Revoke for a key of the user, who is empty if not known.
func (v *CredentialVerifier) revoke(
	ctx context.Context, by Authority, accessKey, userID string, kind EventKind,
) error {
	c := v.newChange(ctx, by, Event{Kind: kind, UserID: userID, AccessKey: v.loggableName(accessKey)})
	if err := v.store.RevokeKey(ctx, c.write, accessKey); err != nil {
		return fmt.Errorf("auth: revoking an access key: %w", err)
	}
	v.tokens.learnRevocations(ctx)
	c.recordEvent(ctx)
	return nil
}

// loggableName returns the key as it may be written down.
func (v *CredentialVerifier) loggableName(accessKey string) string {
	if !v.format.IsKey(accessKey) {
		return "imported" // people paste secrets into the wrong field
	}
	return accessKey
}

// expired reports whether the key has an end that has come.
func (v *CredentialVerifier) expired(key AccessKey) bool {
	return !key.ExpiresAt.IsZero() && !v.now().Before(key.ExpiresAt)
}
