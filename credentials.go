package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// CredentialConfig says how access keys look and how their secrets are kept.
// The zero value is a good choice, to which Peppers may be added.
type CredentialConfig struct {
	// AccessKeyPrefix and AccessSecretPrefix begin the text of every pair, with
	// an underscore behind them: "ak_live" and "as_live" unless set. A service
	// knows only pairs with the prefixes it is configured with.
	AccessKeyPrefix    string
	AccessSecretPrefix string

	// Peppers are keys that the hashes of secrets need and that the store does
	// not have: with them, whoever can write to the store still cannot make a
	// key that signs in. The first is for new hashes, all verify. A hash made
	// with another than the first is made anew when its key next signs in, so
	// an instance that does not know the first yet refuses that key from then
	// on: append a new pepper on every instance before it comes to the front of
	// any.
	//
	// [NoPepper] is an element like the others: at the front while the first
	// pepper is appended, behind it until every key has signed in. While it is in
	// the ring, the peppers protect nothing from whoever can write to the store.
	// Imported hashes have no pepper. An empty ring is NoPepper alone.
	Peppers []SymmetricKey

	// AllowImported accepts keys whose names or secrets were made elsewhere, and
	// whose slow hashes an unknown client can make this service compute. An
	// unknown name costs an argon2id hash of ours; an imported hash that costs
	// more or less tells, until its key has signed in once, that the name exists.
	AllowImported bool

	// MaxSlowHashes is how many slow hashes, of 8 to 64 MiB each, run at once:
	// half of GOMAXPROCS, but at least one, unless set. Up to 32 times as many
	// wait, for up to 3 seconds; for the others there is a *ThrottledError.
	MaxSlowHashes int

	// Now is the clock, time.Now unless set.
	Now func() time.Time

	// Logger gets what goes wrong without making a call fail, slog.Default()
	// unless set.
	Logger *slog.Logger
}

// CredentialVerifier issues, verifies and revokes access keys. It is safe for
// concurrent use.
type CredentialVerifier struct {
	store  CredentialStore
	users  bool // whether the store keeps users, and says who is active
	format pairFormat
	hasher *hasher
	slow   *slowQueue // nil unless imported keys are allowed
	events *eventLog  // nil but in a Service
	now    func() time.Time
	log    *slog.Logger
}

// NewCredentialVerifier returns a verifier of the keys in the store, or an error
// that says what to change in the configuration.
func NewCredentialVerifier(store CredentialStore, cfg CredentialConfig) (*CredentialVerifier, error) {
	if isNil(store) {
		return nil, errors.New("auth: NewCredentialVerifier needs a store")
	}
	format, err := newPairFormat(cfg.AccessKeyPrefix, cfg.AccessSecretPrefix)
	if err != nil {
		return nil, err
	}
	hasher, err := newHasher(cfg.Peppers)
	if err != nil {
		return nil, err
	}
	if cfg.MaxSlowHashes < 0 {
		return nil, errors.New("auth: MaxSlowHashes must not be negative")
	}
	v := &CredentialVerifier{
		store:  store,
		users:  keepsUsers(store),
		format: format,
		hasher: hasher,
		now:    orNow(cfg.Now),
		log:    orDefault(cfg.Logger),
	}
	if cfg.AllowImported {
		slots := cfg.MaxSlowHashes
		if slots == 0 {
			slots = max(1, runtime.GOMAXPROCS(0)/2)
		}
		v.slow = newSlowQueue(slots)
	}
	return v, nil
}

// KeyOptions are what may be said of a new key.
type KeyOptions struct {
	Label     string    // the owner's words for it, at most MaxLabelLength bytes
	ExpiresAt time.Time // zero means never
}

// The reasons for which a pair is refused. They are for the operator: whoever sent the
// pair sees one and the same answer.
var (
	errPairForm      = fmt.Errorf("%w: not of the form of a pair", ErrInvalidCredentials)
	errKeyUnknown    = fmt.Errorf("%w: no such key", ErrInvalidCredentials)
	errSecretWrong   = fmt.Errorf("%w: wrong secret", ErrInvalidCredentials)
	errKeyExpired    = fmt.Errorf("%w: the key has expired", ErrInvalidCredentials)
	errOwnerDisabled = fmt.Errorf("%w: the user is disabled", ErrInvalidCredentials)
)

// GeneratePair makes a pair that opens nothing yet. It is for [Service.Bootstrap].
func (v *CredentialVerifier) GeneratePair() KeyPair {
	return v.format.generate()
}

// Issue gives the user a new key and returns the pair, whose secret nobody can
// find out again. It returns ErrNotFound if the store keeps users and there is no
// such one, ErrTooManyKeys if the user has MaxKeys already, and an *InvalidError for
// options that cannot be.
func (v *CredentialVerifier) Issue(ctx context.Context, userID string, options KeyOptions) (KeyPair, error) {
	pair, _, err := v.issue(ctx, userID, options)
	return pair, err
}

func (v *CredentialVerifier) issue(ctx context.Context, userID string, options KeyOptions) (KeyPair, AccessKey, error) {
	pair := v.format.generate()
	key, err := v.newKey(userID, pair, options)
	if err != nil {
		return KeyPair{}, AccessKey{}, err
	}
	if err := v.store.AddKey(ctx, key); err != nil {
		return KeyPair{}, AccessKey{}, fmt.Errorf("auth: issuing an access key: %w", err)
	}
	v.events.emit(ctx, Event{Kind: EventKeyIssued, UserID: userID, AccessKey: key.ID})
	return pair, key, nil
}

// newKey returns the record of a generated pair.
func (v *CredentialVerifier) newKey(userID string, pair KeyPair, options KeyOptions) (AccessKey, error) {
	if !v.format.belongTogether(pair.AccessKey, pair.AccessSecret.Reveal()) {
		return AccessKey{}, invalidf("access_key", "and its secret must be a pair made by GeneratePair")
	}
	key := AccessKey{
		ID:        pair.AccessKey,
		UserID:    userID,
		Hash:      v.hasher.fast(userID, pair.AccessKey, pair.AccessSecret.Reveal()),
		Label:     options.Label,
		CreatedAt: v.now(),
		ExpiresAt: options.ExpiresAt,
	}
	if v.expired(key) {
		return AccessKey{}, invalidf("expires_at", "must be in the future")
	}
	return key, key.Validate()
}

// Verify returns the key and its owner if the pair signs somebody in now, and
// ErrInvalidCredentials if it does not, for whatever reason. With AllowImported
// it returns a [ThrottledError] when too many slow hashes wait. Any other error
// means that the store could not answer.
//
// A pair of this package's form costs one read of the store and one fast hash,
// whether the key is known or not. Any other costs nothing, or with
// AllowImported one read and one slow hash, and a second one with a write where it
// signs in and its hash is made anew. A key that signs in is written to once a minute,
// with the time.
//
// Verify says who the pair's owner is; it opens no session. To sign in, use
// [Service.Login]. Where users are the host's own, the Credential has the ID of
// one and nothing else, not even whether the user is there and active: that is
// asked when the session has been opened.
func (v *CredentialVerifier) Verify(ctx context.Context, pair KeyPair) (Credential, error) {
	credential, err := v.check(ctx, pair, v.formOf(pair))
	if err != nil {
		return Credential{}, err
	}
	now := v.now()
	if now.Before(credential.Key.LastUsedAt.Add(KeyUsePrecision)) {
		return credential, nil
	}
	err = v.store.TouchKey(ctx, credential.Key.ID, now)
	switch {
	case errors.Is(err, ErrNotFound): // revoked since it was read
		return Credential{}, ErrInvalidCredentials
	case err != nil:
		return Credential{}, fmt.Errorf("auth: noting the use of an access key: %w", err)
	}
	credential.Key.LastUsedAt = now
	return credential, nil
}

// check is Verify without a note that the key was used.
func (v *CredentialVerifier) check(ctx context.Context, pair KeyPair, form pairForm) (Credential, error) {
	secret := pair.AccessSecret.Reveal()
	switch form {
	case generatedPair:
		return v.verify(ctx, pair.AccessKey, secret, v.hasher.fastScheme())
	case noPair:
		return Credential{}, errPairForm
	}
	leave, err := v.slow.enter(ctx, networkOf(clientOf(ctx).Address))
	if err != nil {
		return Credential{}, err
	}
	defer leave()
	return v.verify(ctx, pair.AccessKey, secret, v.hasher.slowScheme())
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
	case v.format.isKey(pair.AccessKey) && v.format.isSecret(secret):
		return generatedPair
	case v.slow != nil && !v.format.resembles(pair.AccessKey) &&
		len(pair.AccessKey) <= MaxAccessKeyLength && len(secret) <= maxSlowSecret:
		return importedPair
	}
	return noPair
}

// verify looks the key up and does the same work whether it is there or not.
func (v *CredentialVerifier) verify(ctx context.Context, accessKey, secret string, scheme hashScheme) (Credential, error) {
	credential, err := v.store.FindKey(ctx, accessKey)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Credential{}, fmt.Errorf("auth: verifying an access key: %w", err)
	}
	found, owner := err == nil, credential.Key.UserID
	if !found {
		credential, owner = Credential{Key: scheme.decoy}, ""
	}
	key := credential.Key
	matches, stale := v.matchKey(scheme, key, accessKey, secret)
	active := credential.User.IsActive || !v.users
	var refusal error
	switch {
	case !found:
		refusal = errKeyUnknown
	case !matches || credential.User.ID != key.UserID:
		refusal = errSecretWrong
	case v.expired(key):
		refusal = errKeyExpired
	case !active:
		refusal = errOwnerDisabled
	}
	if refusal != nil {
		return Credential{}, refusedTo(owner, "", refusal) // nobody's too, which takes as long
	}
	if stale {
		// The secret is here now and will not be again: a good moment, but not
		// one for which the sign-in should fail.
		err := v.store.SwapHash(ctx, accessKey, key.Hash, scheme.make(key.UserID, accessKey, secret))
		if err != nil && !errors.Is(err, ErrNotFound) {
			v.log.WarnContext(ctx, "auth: the hash of an access key was not renewed", "access_key", v.nameOf(accessKey), "error", err)
		}
	}
	return credential, nil
}

// matchKey reports whether the secret is one that the key has now, and whether its
// hash ought to be made anew: not that of a secret that is on its way out.
func (v *CredentialVerifier) matchKey(scheme hashScheme, key AccessKey, accessKey, secret string) (matches, stale bool) {
	matches, stale = scheme.match(key.Hash, key.UserID, accessKey, secret)
	if !matches && key.PreviousUntil.After(v.now()) {
		matches, _ = scheme.match(key.PreviousHash, key.UserID, accessKey, secret)
		return matches, false
	}
	return matches, stale
}

// Revoke ends the key, and the sessions that it opened, from now on. It returns
// ErrNotFound if there is no such key.
func (v *CredentialVerifier) Revoke(ctx context.Context, accessKey string) error {
	return v.revoke(ctx, accessKey, "", EventKeyRevoked)
}

// revoke is Revoke, of a key of the user, where that is known.
func (v *CredentialVerifier) revoke(ctx context.Context, accessKey, userID string, kind EventKind) error {
	if err := v.store.RevokeKey(ctx, accessKey); err != nil {
		return fmt.Errorf("auth: revoking an access key: %w", err)
	}
	v.events.emit(ctx, Event{Kind: kind, UserID: userID, AccessKey: v.nameOf(accessKey)})
	return nil
}

// nameOf returns the key as it may be written down.
func (v *CredentialVerifier) nameOf(accessKey string) string {
	if !v.format.isKey(accessKey) {
		return "imported" // people paste secrets into the wrong field
	}
	return accessKey
}

// expired reports whether the key has an end that has come.
func (v *CredentialVerifier) expired(key AccessKey) bool {
	return !key.ExpiresAt.IsZero() && !v.now().Before(key.ExpiresAt)
}
