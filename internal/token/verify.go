package token

import (
	"fmt"
	"strings"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/strictjson"
)

// MaxLength is the maximum length of a token, in bytes.
const MaxLength = 4096

// MaxClockSkew is how far, in seconds, the clock of the instance that issued a token may be ahead
// of this instance's clock.
const MaxClockSkew = 30

// Verifier verifies tokens. Its fields say which tokens it accepts.
//
// golang-jwt verifies the signatures. This package checks everything else itself, because
// golang-jwt is not strict enough. Even with all of its strict options, it accepts the following:
//
//   - unknown critical headers, and any typ
//   - a claim that occurs twice, or whose name differs in letter case
//   - times that are null, fractions or text
//   - line breaks, and tokens of megabytes
//   - several spellings of the same signature
type Verifier struct {
	Type        string   // TypeBearer, which also stands for TypeLimited, or TypeCookie
	Issuer      string   // the only iss that is accepted
	Audience    string   // the only aud that Verify accepts
	Others      []string // further values of aud, which VerifyFor and VerifyAny accept
	MaxLifetime int64    // the longest lifetime that a token may claim, in seconds
}

// Verify does the same as VerifyFor, for the Audience of v.
func (v *Verifier) Verify(
	cache *Cache, ring *signing.Ring, token string, now int64,
) (known *Verified, cached bool, err error) {
	return v.VerifyFor(cache, ring, v.Audience, token, now)
}

// VerifyFor does the same as VerifyAny, but rejects a token for another audience than the given one. The
// cache has the tokens of all audiences, so VerifyFor compares the audience also if the token is in the
// cache. VerifyFor does not call VerifyAny, because most requests come here and a call costs time.
func (v *Verifier) VerifyFor(
	cache *Cache, ring *signing.Ring, audience, token string, now int64,
) (known *Verified, cached bool, err error) {
	known = cache.Find(token, ring)
	if cached = known != nil; cached {
		err = v.checkTimes(known.times, now)
	} else {
		known, err = v.verifyNew(cache, ring, token, now)
	}
	if err == nil && known.Identity.Audience != audience {
		return nil, cached, ErrAudience
	}
	return known, cached, err
}

// VerifyAny verifies that one of the ring's keys has signed the token, and that the token is valid at
// the given second of Unix time. It accepts the Audience of v and the Others. It returns the verified
// token. Its errors wrap ErrRejected.
//
// If the token is in the cache, VerifyAny checks only the times of the token. If not, VerifyAny checks
// everything and adds the token to the cache. The result cached reports whether the token was in
// the cache. The cache may be nil. Verifiers with different fields must not share a cache.
func (v *Verifier) VerifyAny(
	cache *Cache, ring *signing.Ring, token string, now int64,
) (known *Verified, cached bool, err error) {
	if known := cache.Find(token, ring); known != nil {
		return known, true, v.checkTimes(known.times, now)
	}
	known, err = v.verifyNew(cache, ring, token, now)
	return known, false, err
}

// verifyNew verifies a token that is not in the cache, and adds it to the cache.
func (v *Verifier) verifyNew(cache *Cache, ring *signing.Ring, token string, now int64) (*Verified, error) {
	claims, err := v.verify(ring, token, now)
	if err != nil {
		return nil, err
	}
	return cache.add(token, ring, claims, now), nil
}

// verify does the same as Verify, but without a cache.
func (v *Verifier) verify(ring *signing.Ring, token string, now int64) (Claims, error) {
	claims, key, typ, err := v.open(ring, token, MaxLength)
	if err != nil {
		return Claims{}, err
	}
	verified, err := v.claims(typ, claims)
	if err != nil {
		return Claims{}, err
	}
	if key.RetiredBefore(verified.times.issuedAt) {
		return Claims{}, ErrRetired
	}
	return verified, v.checkTimes(verified.times, now)
}

// open verifies the signature of a text of at most maxLength bytes. It returns the encoded claims, the
// key that signed the text, and the typ of the header.
func (v *Verifier) open(
	ring *signing.Ring, text string, maxLength int,
) (claims string, key *signing.Key, typ string, err error) {
	header, claims, signature, ok := split(text, maxLength)
	if !ok {
		return "", nil, "", ErrMalformed
	}
	if key, typ, err = v.keyOf(header, ring); err != nil {
		return "", nil, "", err
	}
	var buffer [64]byte // as long as any signature
	sig, err := canonical.Base64URL.AppendDecode(buffer[:0], []byte(signature))
	if err != nil {
		return "", nil, "", ErrMalformed
	}
	if !key.Verify(text[:len(header)+1+len(claims)], sig) {
		return "", nil, "", ErrSignature
	}
	return claims, key, typ, nil
}

// split splits the token at its two dots. It rejects a token longer than maxLength without reading it,
// and allocates nothing (CVE-2025-30204).
func split(token string, maxLength int) (header, claims, signature string, ok bool) {
	if len(token) > maxLength {
		return "", "", "", false
	}
	header, rest, _ := strings.Cut(token, ".")
	claims, signature, _ = strings.Cut(rest, ".")
	for _, segment := range [...]string{header, claims, signature} {
		if !canonical.IsBase64URL(segment) { // a third dot is no character of base64url
			return "", "", "", false
		}
	}
	return header, claims, signature, true
}

// headerNames are the header parameters that this package knows. The package reads the first three,
// and rejects a token with any of the others. The others would let the sender of a token choose a
// key, a compression or an extension that the reader must use (RFC 7515, RFC 7516, RFC 7797).
var headerNames = []string{
	"typ", "alg", "kid",
	"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256",
}

// keyOf returns the key that the header names, and the header's typ. It returns an error if v does not
// accept the typ, or if the header's alg is not the algorithm of the key.
func (v *Verifier) keyOf(segment string, ring *signing.Ring) (_ *signing.Key, typ string, err error) {
	if key := ring.ByHeader(segment); key != nil && v.Type == TypeBearer {
		return key, TypeBearer, nil
	}
	text, err := canonical.DecodeBase64URL(segment)
	if err != nil {
		return nil, "", ErrMalformed
	}
	header, err := strictjson.Parse(text, headerNames)
	if err != nil {
		return nil, "", ErrHeader
	}
	for i := 3; i < len(headerNames); i++ {
		if header.Value(i).Kind() != strictjson.Absent {
			return nil, "", ErrHeader
		}
	}
	typ, _ = header.Value(0).Text()
	alg, _ := header.Value(1).Text()
	kid, _ := header.Value(2).Text()
	key := ring.ByID(kid)
	switch {
	case typ != v.Type && !(v.Type == TypeBearer && typ == TypeLimited):
		return nil, "", ErrHeader
	case key == nil:
		return nil, "", unknownKey(kid)
	case alg != key.Algorithm():
		return nil, "", ErrHeader
	}
	return key, typ, nil
}

// unknownKey returns the error for a token whose header names no key of the ring. The signature of
// the token is not verified, so anyone can have chosen the kid. The error therefore contains the kid
// only if it has the form of a key ID, which limits its length and its characters.
func unknownKey(kid string) error {
	if signing.CheckID(kid, signing.MaxID) != nil {
		return fmt.Errorf("%w: kid is not a key ID", ErrUnknownKey)
	}
	return fmt.Errorf("%w: kid %q", ErrUnknownKey, kid)
}

// checkTimes returns an error unless the token is valid at the given second of Unix time. The token
// may have been issued up to MaxClockSkew in the future, by an instance whose clock is ahead. The
// expiry has no such tolerance.
func (v *Verifier) checkTimes(t times, now int64) error {
	switch {
	case t.issuedAt <= 0 || t.issuedAt > now+MaxClockSkew || t.notBefore > now:
		return ErrLifetime
	case t.expiresAt <= t.issuedAt || t.expiresAt-t.issuedAt > v.MaxLifetime:
		// The difference cannot overflow, because issuedAt is positive.
		return ErrLifetime
	case t.expiresAt <= now:
		return ErrExpired
	}
	return nil
}
