package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/browser"
	"github.com/sallyport-go/auth/internal/defaults"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/token"
)

// TokenIssuer issues and verifies session tokens. It is safe for concurrent use.
//
// A token is a JWT (RFC 7519) that is signed with one of the signing keys. Each token names a
// session in the store, and is accepted only while that session is live.
type TokenIssuer struct {
	sessions SessionStore
	users    *hostUsers // nil if the store keeps users
	scopes   *ScopeSet  // those that exist
	cfg      TokenConfig
	verifier token.Verifier
	now      func() time.Time // the clock for verifying a token

	directory userFinder              // users, or the store; nil if the store has no users
	prefixes  map[string]token.Prefix // of the claims, by audience

	events   *EventLog
	clients  *clientMemory // nil if no event would reach the host
	onVerify func(ctx context.Context, err error, cached bool, took time.Duration)

	ring  atomic.Pointer[signing.Ring]
	cache *token.Cache     // nil if caching is off
	feed  *revocation.Feed // nil with CheckSessionsInStore

	unknownKeys atomic.Int64 // tokens that named a key that is not in the ring
}

// NewTokenIssuer returns an issuer of tokens whose sessions are in the store. If the configuration
// is not valid, it returns an error that names the setting to change.
//
// The issuer argument is the iss claim of the tokens: see [Config.Issuer].
//
// The first key signs, and all keys verify. To replace a key, first append the new key on every
// instance. Then move the new key to the front. When no instance signs with the old key any longer,
// replace the old key with the copy that [SigningKey.RetiredAt] returns. Remove this copy when its
// last token has expired. If a key may have leaked, remove it from every instance at once.
// [TokenIssuer.SetKeys] makes each of these changes without a restart.
func NewTokenIssuer(
	store SessionStore, issuer string, keys []SigningKey, cfg TokenConfig,
) (*TokenIssuer, error) {
	if defaults.IsNil(store) {
		return nil, errors.New("auth: NewTokenIssuer needs a store")
	}
	if err := checkUserSource(store, cfg.Users); err != nil {
		return nil, err
	}
	ownClock := cfg.Now == nil
	cfg, err := cfg.withDefaults(issuer)
	if err != nil {
		return nil, err
	}
	scopes, err := knownScopes("TokenConfig.Scopes", cfg.Scopes)
	if err != nil {
		return nil, err
	}
	cache, err := token.NewCache(cfg.CacheSize)
	if err != nil {
		return nil, err
	}
	ring, err := newRing(keys)
	if err != nil {
		return nil, err
	}
	prefixes, err := newPrefixes(issuer, cfg.Audiences, scopes, cfg.Claims != nil)
	if err != nil {
		return nil, err
	}
	users, directory := findersOf(store, cfg.Users)
	t := &TokenIssuer{
		cache:    cache,
		users:    users,
		scopes:   scopes,
		sessions: guardedSessions{store},
		cfg:      cfg,
		now:      cfg.Now,
		events:   cfg.Events,
		onVerify: cfg.Events.verifyHook(),

		directory: directory,
		prefixes:  prefixes,

		verifier: token.Verifier{
			Type:        token.TypeBearer,
			Issuer:      issuer,
			Audience:    issuer,
			Others:      cfg.Audiences,
			MaxLifetime: int64(cfg.MaxLifetime / time.Second),
		},
	}
	t.ring.Store(ring)
	t.clients = newClientMemory(t.sessions, cfg.Events, cfg.Now)
	if !cfg.CheckSessionsInStore {
		t.feed = t.newFeed()
		if ownClock {
			t.now = t.feed.Now
		}
	}
	return t, nil
}

// newPrefixes returns the prefixes of the claims by audience. It returns an error if the longest token that
// the configuration allows is too long for a verifier.
func newPrefixes(
	issuer string, audiences []string, scopes *ScopeSet, hostClaims bool,
) (map[string]token.Prefix, error) {
	who := longestIdentity(scopes)
	advice := "the issuer, TokenConfig.Audiences or TokenConfig.Scopes"
	if hostClaims {
		who.Claims = strings.Repeat(" ", token.MaxClaims)
		advice += fmt.Sprintf(" (TokenConfig.Claims takes up to %d bytes)", token.MaxClaims)
	}
	prefixes := map[string]token.Prefix{}
	for _, audience := range append([]string{issuer}, audiences...) {
		prefixes[audience] = token.NewPrefix(issuer, audience)
		if audience != issuer && who.Limited {
			who.Actor = who.UserID
		}
		length := token.LongestLength(prefixes[audience], token.TypeLimited, &who)
		if length > token.MaxLength {
			return nil, fmt.Errorf("auth: a token for %s could have %d bytes; at most %d are allowed: "+
				"shorten %s", audience, length, token.MaxLength, advice)
		}
	}
	return prefixes, nil
}

// longestIdentity returns an identity with all scopes whose names and IDs take as many bytes in a token as
// possible.
func longestIdentity(scopes *ScopeSet) token.Identity {
	// In JSON, a quotation mark takes two bytes, which is the maximum for an allowed character.
	longest := func(length int) string { return strings.Repeat(`"`, length) }
	who := token.Identity{UserID: longest(MaxIDLength), Username: longest(maxUsernameLength),
		SessionID: rand.Text()}
	if scopes != nil {
		who.Limited, who.Scope, who.AccessKeyID = true, scopes.text, longest(maxAccessKeyLength)
	}
	return who
}

// checkCookieLength returns an error if a token with all scopes could be too long for a session cookie. It
// does not count the claims of the host. They usually take few bytes, and a sign-in fails if they take too
// many.
func (t *TokenIssuer) checkCookieLength() error {
	who := longestIdentity(t.scopes)
	length := token.LongestLength(t.prefixes[t.verifier.Issuer], token.TypeCookie, &who)
	if length > browser.MaxToken {
		return fmt.Errorf("auth: a token in a session cookie could have %d bytes; at most %d fit into a "+
			"cookie: shorten Config.Issuer (%d bytes) or TokenConfig.Scopes, or do not set "+
			"Config.BrowserSessions", length, browser.MaxToken, len(t.verifier.Issuer))
	}
	return nil
}

// findersOf returns where the users are found. The first result is nil unless there is a source. The second
// is nil if neither the source nor the store has users.
func findersOf(store SessionStore, source UserSource) (*hostUsers, userFinder) {
	if source != nil {
		users := &hostUsers{source}
		return users, users
	}
	if users, ok := store.(UserStore); ok {
		return nil, guardUsers(users)
	}
	return nil, nil
}

// newFeed returns a reader of the store's revocation feed that has read nothing.
func (t *TokenIssuer) newFeed() *revocation.Feed {
	return revocation.NewFeed(revocation.Source{
		Read:   listEntries(t.sessions),
		Head:   func(ctx context.Context, _ int64) (int64, error) { return t.sessions.RevocationHead(ctx) },
		Repair: t.repairFeed,
		Report: func(r revocation.Report) { logFeed(t.events.logger(), r) },
	}, t.cfg.RevocationInterval, t.cfg.MaxStaleness, t.cfg.Now)
}

// checkStore checks the store of a component that uses this issuer. If the issuer has a UserSource,
// the store must keep no users. Otherwise, the store must keep users.
func (t *TokenIssuer) checkStore(store any) error {
	switch {
	case t.sessions == nil:
		return errors.New("auth: the TokenIssuer is empty: create it with NewTokenIssuer")
	case t.users != nil && hasUsers(store), t.users == nil && keepsNoUsers(store):
		return errors.New("auth: the components must have the same store: either it keeps users, or the " +
			"issuer has a UserSource")
	}
	return nil
}

// SetKeys replaces the signing keys. It can be called while requests are served. After SetKeys has
// returned nil, a token is accepted only if the key that signed it is in the new set. If SetKeys
// returns an error, the keys stay as they were, and the error says what to change. [NewTokenIssuer]
// says in which order to change keys on several instances. SetKeys emits an
// [eventkind.SigningKeysReplaced], with the IDs of the keys in its Reason. If the keys are the present
// ones, in the same order, it changes nothing and emits no event, so a host may pass its keys at
// intervals.
//
// SetKeys stores nothing. After a restart, the instance uses the keys of its configuration, so put the
// new keys there first.
func (t *TokenIssuer) SetKeys(keys []SigningKey) error {
	ring, err := newRing(keys)
	if err != nil {
		return err
	}
	if ring.Equal(t.ring.Load()) {
		return nil // another ring with the same keys would empty the caches
	}
	t.ring.Store(ring)
	t.events.emit(context.Background(),
		Event{Kind: eventkind.SigningKeysReplaced, Host: "auth.SetKeys", Reason: ring.Summary()})
	return nil
}

// Issuer returns the issuer of the tokens: see [Config.Issuer].
func (t *TokenIssuer) Issuer() string { return t.verifier.Issuer }

// Scopes returns the scopes that an access key can have: those of [TokenConfig.Scopes] and of this package,
// except [ScopeRotate]. It returns the empty set if keys cannot be limited.
func (t *TokenIssuer) Scopes() *ScopeSet {
	if t.scopes == nil {
		return NewScopes()
	}
	isRotate := func(name string) bool { return name == ScopeRotate }
	return NewScopes(slices.DeleteFunc(t.scopes.List(), isRotate)...)
}

// JWKS returns the public keys with which other services can verify the tokens, as a JWK set (RFC
// 7517). The set contains the ES256 and EdDSA keys, including retired ones. It never contains an
// HS256 key, because an HS256 key can also sign. GET /.well-known/jwks.json serves the set.
func (t *TokenIssuer) JWKS() []byte {
	return bytes.Clone(t.ring.Load().JWKS())
}

// checkScopes returns an *InvalidError if the set has a scope that does not exist. If t is nil, the host's
// scopes are not known, and checkScopes accepts every valid scope. It always accepts rotateOnly.
func (t *TokenIssuer) checkScopes(scopes *ScopeSet) error {
	if t == nil || scopes == rotateOnly {
		return scopes.checkFlaw()
	}
	return scopes.checkKnown(t.scopes)
}

// checkMustRotate returns an *InvalidError if the key must be rotated and the service has no scopes. Routes
// that require no scope would accept the token of a session that may only rotate the key.
func (t *TokenIssuer) checkMustRotate(key AccessKey) error {
	if key.MustRotate && t != nil && t.scopes == nil {
		return invalidf("must_rotate", "must be left out, because the service has no scopes")
	}
	return nil
}

// checkAudience returns an *InvalidError unless tokens can be issued for the audience. Empty means the
// issuer itself.
func (t *TokenIssuer) checkAudience(name string) error {
	if name != "" && !slices.Contains(t.cfg.Audiences, name) {
		return invalidf("audience", "must be an audience that the service knows")
	}
	return nil
}

// newChange returns a change that the given authority makes, with the given event.
func (t *TokenIssuer) newChange(ctx context.Context, by Authority, e Event) change {
	return t.events.newChange(ctx, by, e, t.cfg.Now, t.cfg.MaxLifetime)
}

// repairFeed revokes all sessions, because the store has lost commits. For the parameter above, see
// [SessionStore.RevokeEverybody].
func (t *TokenIssuer) repairFeed(ctx context.Context, above int64) error {
	c := t.newChange(ctx, ByHost("auth.Repair"),
		Event{Kind: eventkind.CommitsLost, Reason: "the revocation feed is behind what was read from it"})
	err := t.sessions.RevokeEverybody(ctx, c.write, above)
	switch {
	case errors.Is(err, ErrChanged):
		t.events.logger().WarnContext(ctx,
			"auth: the store has lost commits; another instance has revoked all sessions already")
		return nil
	case err != nil:
		return fmt.Errorf("revoking everybody after lost commits: %w", err)
	}
	t.events.logger().ErrorContext(ctx,
		"auth: the store has lost commits, after a restored backup or a fail-over: "+
			"all sessions are revoked, because revocations may have been lost too; "+
			"repeat the other lost changes, such as revoked access keys")
	c.recordEvent(ctx)
	return nil
}
