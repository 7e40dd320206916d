package auth

import (
	"cmp"
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/accesskey"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/secrethash"
)

// CredentialVerifier issues, verifies and revokes access keys. It is safe for concurrent use.
type CredentialVerifier struct {
	store  CredentialStore
	tokens *TokenIssuer // nil if no sessions are opened with the keys
	format accesskey.Format
	hasher *secrethash.Hasher
	slow   *secrethash.Queue // nil without AllowImported
	events *EventLog
	now    func() time.Time
	log    *slog.Logger

	renewals  *outage.Tracker // of hashes
	hostUsers bool            // a UserSource keeps the users, so the store does not know which are active
}

// NewCredentialVerifier returns a verifier of the access keys in the store, or an error that says
// what to change in the configuration.
//
// The parameter tokens is the issuer that opens sessions with these keys. The issuer must use the same store.
// Revoking a key also revokes the sessions that the key opened. The issuer then rejects the tokens of these
// sessions at once. A host that opens no sessions with the keys passes nil.
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
	if cfg.AllowImported && fips140.Enforced() {
		return nil, errors.New("auth: CredentialConfig.AllowImported cannot be set with " +
			"GODEBUG=fips140=only, which does not approve argon2id and bcrypt: issue new keys instead")
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

		renewals:  outage.New(defaults.Now(cfg.Now)),
		hostUsers: keepsNoUsers(store) || tokens != nil && tokens.users != nil,
	}, nil
}

// These errors say why a pair, which is an access key and its secret, was rejected. The reason goes only into
// events. The client gets the same answer for all reasons.
var (
	errPairForm      = fmt.Errorf("%w: not of the form of a pair", ErrInvalidCredentials)
	errKeyUnknown    = fmt.Errorf("%w: no such key", ErrInvalidCredentials)
	errSecretWrong   = fmt.Errorf("%w: wrong secret", ErrInvalidCredentials)
	errKeyExpired    = fmt.Errorf("%w: the key has expired", ErrInvalidCredentials)
	errOwnerDisabled = fmt.Errorf("%w: the user is disabled", ErrInvalidCredentials)
	errMembership    = fmt.Errorf("%w: the user must sign in with GitHub first", ErrInvalidCredentials)
)

// GeneratePair returns a new random pair for [Service.Bootstrap]. It does not store the pair, so the pair
// works only after the call of Bootstrap.
func (v *CredentialVerifier) GeneratePair() KeyPair {
	key, secret := v.format.Generate()
	return KeyPair{AccessKey: key, AccessSecret: NewSecret(secret)}
}

// Issue adds a new access key for the user and returns the pair. The secret cannot be read again
// later. A session without SuperUser can issue keys only for its own user: for another user, Issue
// returns ErrNotFound.
//
// Issue also returns ErrNotFound if the store keeps users and the user does not exist. It returns
// ErrTooManyKeys if the user has [MaxKeys] keys already, and an *[InvalidError] if an option is not valid
// or a scope is unknown: see [TokenConfig]. It also returns the errors of an [Authority].
func (v *CredentialVerifier) Issue(
	ctx context.Context, by Authority, userID string, options KeyOptions,
) (KeyPair, error) {
	if err := v.tokens.checkAuthority(ctx, by); err != nil {
		return KeyPair{}, err
	}
	pair, _, err := v.issue(ctx, by, userID, options)
	return pair, err
}

// issue is Issue without the check of the authority. It also returns the record of the key.
func (v *CredentialVerifier) issue(
	ctx context.Context, by Authority, userID string, options KeyOptions,
) (KeyPair, AccessKey, error) {
	pair := v.GeneratePair()
	key, err := v.newKey(userID, pair, options)
	if err != nil {
		return KeyPair{}, AccessKey{}, err
	}
	if err := v.tokens.checkHostOwner(ctx, by, userID); err != nil {
		return KeyPair{}, AccessKey{}, err
	}
	c := v.newChange(ctx, by, Event{Kind: eventkind.KeyIssued, UserID: userID, AccessKey: key.ID})
	if err := v.store.AddKey(ctx, c.write, key); err != nil {
		return KeyPair{}, AccessKey{}, fmt.Errorf("auth: issuing an access key: %w", err)
	}
	c.recordEvent(ctx)
	return pair, key, nil
}

// newChange prepares a change of the verifier's store. The change includes the given event.
func (v *CredentialVerifier) newChange(ctx context.Context, by Authority, e Event) change {
	var lifetime time.Duration
	if v.tokens != nil {
		lifetime = v.tokens.cfg.MaxLifetime
	}
	return v.events.newChange(ctx, by, e, v.now, lifetime)
}

// newKey returns the record of a generated pair, or an [InvalidError].
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
		Scopes:    options.Scopes,

		MustRotate: options.MustRotate,
	}
	if v.expired(key) {
		return AccessKey{}, invalidf("expires_at", "must be in the future")
	}
	return key, cmp.Or(v.tokens.checkScopes(key.Scopes), v.tokens.checkMustRotate(key), key.Validate())
}

// Verify checks the pair and returns the access key and its owner. It opens no session. To sign a
// user in, use [Service.Login]. Unlike Login, Verify does not limit the attempts of a client.
//
// White space around a generated key and around its secret is ignored.
//
// It returns ErrInvalidCredentials if it rejects the pair, whatever the reason. With AllowImported, it
// returns a *[ThrottledError] if too many attempts wait for a slow hash. Any other error means that the store
// could not answer.
//
// If the host has a users table of its own, the returned User has only an ID, and IsActive is false. The
// host's table is read later, when the session is opened.
//
// A generated pair costs one read of the store and one fast hash, whether the key exists or not. If
// AllowImported is not set, any other pair costs no read and no hash. If AllowImported is set, any other pair
// costs one read and one slow hash. If Verify accepts an imported pair whose hash must be renewed, the
// renewal costs a second slow hash and a write. The time of last use is written at most once a minute.
//
// Pass the Scopes of the returned key to [TokenIssuer.Issue]. If the key must be rotated, they are only
// [ScopeRotate], so that a rotation between Verify and Issue gives the session no other scopes.
//
// If Verify rejects the pair, Verify emits the event of a rejected sign-in and calls the SignIn hook. If
// Verify accepts the pair, [TokenIssuer.Issue] later opens the session. Issue then emits the event of the
// sign-in and calls the SignIn hook.
func (v *CredentialVerifier) Verify(ctx context.Context, pair KeyPair) (AccessKey, User, error) {
	began, pair := time.Now(), v.trim(pair)
	key, user, err := v.verifyAndTouch(ctx, pair)
	if err != nil {
		v.events.recordSignIn(ctx, began, v.signInEvent(pair, err), err)
	}
	key.Scopes = key.SessionScopes()
	return key, user, err
}

// signInEvent returns the event of a sign-in attempt with this pair. The err argument is the result
// of the attempt.
func (v *CredentialVerifier) signInEvent(pair KeyPair, err error) Event {
	e := Event{Method: MethodAccessKey}
	if err == nil || v.format.IsKey(pair.AccessKey) { // other unverified text may be a secret
		e.AccessKey = v.loggableName(pair.AccessKey)
	}
	return e
}

// verifyAndTouch is Verify without its event.
func (v *CredentialVerifier) verifyAndTouch(ctx context.Context, pair KeyPair) (AccessKey, User, error) {
	key, user, err := v.checkPair(ctx, pair, v.formOf(pair), nil)
	if err != nil {
		return AccessKey{}, User{}, err
	}
	now := v.now()
	if now.Before(key.LastUsedAt.Add(limits.KeyUsePrecision)) {
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

// checkPair does what Verify does, but emits no event and does not record the use of the key. If the pair is
// imported and countAttempt is not nil, checkPair calls countAttempt right before the slow hash. If
// countAttempt returns an error, checkPair returns this error and computes no hash.
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
	release, err := v.waitForSlowHash(ctx, clientOf(ctx).network())
	if err != nil {
		return AccessKey{}, User{}, err
	}
	defer release()
	return v.matchStored(ctx, pair.AccessKey, secret, v.hasher.Slow, countAttempt)
}

// waitForSlowHash waits until a slow hash for the client can begin. After the hash, the caller must
// call release, so that another slow hash can begin. waitForSlowHash returns a [ThrottledError] if
// too many attempts wait.
func (v *CredentialVerifier) waitForSlowHash(
	ctx context.Context, client netip.Addr,
) (release func(), err error) {
	release, err = v.slow.Enter(ctx, client)
	if busy, ok := errors.AsType[*secrethash.BusyError](err); ok {
		return nil, &ThrottledError{RetryAfter: busy.RetryAfter}
	}
	return release, err
}

// trim returns the pair without white space around the key and the secret if both are then of the
// generated form. People paste white space with a secret, most often a line break. A generated pair
// contains none, so a pair that is trimmed stands for no other pair. White space may be a part of
// an imported pair, which trim therefore returns unchanged.
func (v *CredentialVerifier) trim(pair KeyPair) KeyPair {
	given := pair.AccessSecret.Reveal()
	key, secret := strings.TrimSpace(pair.AccessKey), strings.TrimSpace(given)
	trimmed := key != pair.AccessKey || secret != given
	if trimmed && v.format.IsKey(key) && v.format.IsSecret(secret) {
		return KeyPair{key, NewSecret(secret)}
	}
	return pair
}

// pairForm is the form of a pair, which determines how it is verified.
type pairForm int

const (
	noPair        pairForm = iota // rejected without a look-up, because no key has this form
	generatedPair                 // verified with a fast hash
	importedPair                  // verified with a slow hash
)

func (v *CredentialVerifier) formOf(pair KeyPair) pairForm {
	secret := pair.AccessSecret.Reveal()
	switch {
	case v.format.IsKey(pair.AccessKey) && v.format.IsSecret(secret):
		return generatedPair
	case v.slow != nil && !v.format.Resembles(pair.AccessKey) &&
		len(pair.AccessKey) <= maxAccessKeyLength && len(secret) <= secrethash.MaxSecret:
		return importedPair
	}
	return noPair
}

// decoyUserID stands for the owner of a key that does not exist. Its length is the length of the
// user IDs that this package makes. Hashing the decoy therefore takes as much time as hashing the
// ID of a real user. This package never gives the decoy to a user.
const decoyUserID = "--------------------------"

// matchStored looks up the access key and compares the secret with the stored hash. If the key does not
// exist, matchStored does the same work. The duration of the call therefore does not reveal which keys exist.
// If countAttempt is not nil, matchStored calls countAttempt after the look-up and before the hash.
func (v *CredentialVerifier) matchStored(
	ctx context.Context, accessKey, secret string, scheme secrethash.Scheme, countAttempt func() error,
) (AccessKey, User, error) {
	key, owner, err := v.store.FindKey(ctx, accessKey)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return AccessKey{}, User{}, fmt.Errorf("auth: verifying an access key: %w", err)
	}
	if countAttempt != nil { // not earlier: an attempt that fails in the store must not count
		if err := countAttempt(); err != nil {
			return AccessKey{}, User{}, err
		}
	}
	found, subject := err == nil, key.UserID
	if !found {
		key, owner, subject = AccessKey{UserID: decoyUserID, Hash: scheme.Decoy}, User{}, ""
	}
	stale, wrong := v.matchSecret(scheme, key, accessKey, secret)
	var rejected error
	switch {
	case !found:
		rejected = errKeyUnknown
	case wrong != nil:
		rejected = wrong
	case owner.ID != key.UserID:
		rejected = errSecretWrong
	case v.expired(key):
		rejected = errKeyExpired
	case !owner.IsActive && !(v.hostUsers && owner == User{ID: owner.ID}):
		// If the owner has only an ID, the host keeps the user, and the store does not know whether
		// the user is active.
		rejected = errOwnerDisabled
	}
	if rejected != nil {
		// rejectionOf is called even if subject is empty, so that rejecting an unknown key takes as
		// long as rejecting a wrong secret.
		return AccessKey{}, User{}, rejectionOf(subject, "", rejected)
	}
	if stale {
		// The hash can be renewed only while the secret is known. If the renewal fails, the failure
		// is only logged, because the pair is correct.
		err := v.store.SwapHash(ctx, accessKey, key.Hash, scheme.Hash(key.UserID, accessKey, secret))
		v.logRenewal(ctx, accessKey, err)
	}
	return key, owner, nil
}

// logRenewal records whether the store renewed the hash of an access key. If a log line is due,
// logRenewal writes it: while the store fails, there is not a line for each sign-in.
func (v *CredentialVerifier) logRenewal(ctx context.Context, accessKey string, err error) {
	const operation = "renew"
	if err != nil && !errors.Is(err, ErrNotFound) {
		if r, due := v.renewals.Fail(operation, 1); due {
			v.log.WarnContext(ctx, "auth: the hash of an access key was not renewed",
				"access_key", v.loggableName(accessKey), "failures", r.Failures, "since", r.Since,
				"error", err)
		}
	} else if r, due := v.renewals.Succeed(operation); due {
		v.log.InfoContext(ctx, "auth: hashes of access keys are renewed again", "failures", r.Failures,
			"lasted", r.Lasted)
	}
}

// matchSecret returns a nil error if the secret is the current secret of the key, or a previous
// secret that still works. If the secret cannot be checked because a pepper is missing, the error is
// a [pepperRejection]. The result stale reports whether the hash should be renewed. For a previous
// secret, stale is always false.
func (v *CredentialVerifier) matchSecret(
	scheme secrethash.Scheme, key AccessKey, accessKey, secret string,
) (stale bool, err error) {
	matches, stale := scheme.Match(key.Hash, key.UserID, accessKey, secret)
	// This call is made even if the secret matches, so that all answers take equally long.
	pepper, missing := v.hasher.MissingPepper(key.Hash)
	if !matches && key.PreviousUntil.After(v.now()) {
		matches, _ = scheme.Match(key.PreviousHash, key.UserID, accessKey, secret)
		stale = false
		if !missing {
			pepper, missing = v.hasher.MissingPepper(key.PreviousHash)
		}
	}
	switch {
	case matches:
		return stale, nil
	case missing:
		return false, &pepperRejection{unknownPepperError{pepper}}
	}
	return false, errSecretWrong
}

// loggableName returns the text that stands for the access key in logs and events.
func (v *CredentialVerifier) loggableName(accessKey string) string {
	if !v.format.IsKey(accessKey) {
		return "imported" // the text may be a secret that a person has pasted into the wrong field
	}
	return accessKey
}

// expired reports whether the key has expired.
func (v *CredentialVerifier) expired(key AccessKey) bool {
	return !key.ExpiresAt.IsZero() && !v.now().Before(key.ExpiresAt)
}
