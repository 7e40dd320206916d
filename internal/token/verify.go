package token

import (
	"strings"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/strictjson"
)

// MaxLength is the greatest length of a token, in bytes.
const MaxLength = 4096

// maxClockSkew is how many seconds the clock of the instance that issued a token may be ahead.
const maxClockSkew = 30

// Verifier says which tokens are accepted.
//
// golang-jwt verifies the signatures. This package checks everything else, because golang-jwt, with
// all its options for strictness, still accepts all of these:
//
//   - unknown critical headers, and any typ
//   - a claim that is given twice, or whose name has other letters in upper case
//   - times that are null, fractions or text
//   - line breaks, and tokens of megabytes
//   - several spellings of one signature
type Verifier struct {
	Type             string // the only typ that is accepted
	Issuer, Audience string // the only iss and aud that are accepted
	MaxLifetime      int64  // the longest lifetime that a token may claim, in seconds
}

// Verify returns the content of a token that one of the ring's keys has signed and that is valid at
// the given second of Unix time. Its errors wrap ErrRejected.
//
// Verify looks the token up in the cache, which may be nil. If the token is in the cache, Verify
// checks only its times. If not, Verify checks everything and adds the token to the cache. The
// result cached reports whether the token was in the cache. Verifiers that accept different tokens
// must not share a cache.
func (v *Verifier) Verify(
	cache *Cache, ring *signing.Ring, token string, now int64,
) (known *Verified, cached bool, err error) {
	if known := cache.Find(token, ring); known != nil {
		return known, true, v.checkTimes(known.times, now)
	}
	claims, err := v.verify(ring, token, now)
	if err != nil {
		return nil, false, err
	}
	return cache.add(token, ring, claims, now), false, nil
}

// verify is Verify without a cache.
func (v *Verifier) verify(ring *signing.Ring, token string, now int64) (Claims, error) {
	header, claims, signature, ok := splitToken(token)
	if !ok {
		return Claims{}, ErrMalformed
	}
	key, err := v.keyOf(header, ring)
	if err != nil {
		return Claims{}, err
	}
	var buffer [64]byte // as long as any signature
	sig, err := canonical.Base64URL.AppendDecode(buffer[:0], []byte(signature))
	if err != nil {
		return Claims{}, ErrMalformed
	}
	if !key.Verify(token[:len(header)+1+len(claims)], sig) {
		return Claims{}, ErrSignature
	}
	verified, err := v.claims(claims)
	if err != nil {
		return Claims{}, err
	}
	if key.RetiredBefore(verified.times.issuedAt) {
		return Claims{}, ErrRetired
	}
	return verified, v.checkTimes(verified.times, now)
}

// splitToken cuts the token at its two dots. It reads no token longer than MaxLength and allocates
// nothing (CVE-2025-30204).
func splitToken(token string) (header, claims, signature string, ok bool) {
	if len(token) > MaxLength {
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

// The header parameters that have a meaning. This package reads the first three. With each of the
// others, a sender can give a reader a key, a compression or an extension (RFC 7515, RFC 7516, RFC
// 7797). A token that has one of those is rejected.
var headerNames = []string{
	"typ", "alg", "kid",
	"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256",
}

// keyOf returns the key that the header names. It returns an error if the header's typ is not the
// accepted one, or if its alg is not the algorithm of the key.
func (v *Verifier) keyOf(segment string, ring *signing.Ring) (*signing.Key, error) {
	if key := ring.ByHeader(segment); key != nil && v.Type == TypeBearer {
		return key, nil
	}
	text, err := canonical.DecodeBase64URL(segment)
	if err != nil {
		return nil, ErrMalformed
	}
	header, err := strictjson.Parse(text, headerNames)
	if err != nil {
		return nil, ErrHeader
	}
	for i := 3; i < len(headerNames); i++ {
		if header.Value(i).Kind() != strictjson.Absent {
			return nil, ErrHeader
		}
	}
	typ, _ := header.Value(0).Text()
	alg, _ := header.Value(1).Text()
	kid, _ := header.Value(2).Text()
	key := ring.ByID(kid)
	switch {
	case typ != v.Type:
		return nil, ErrHeader
	case key == nil:
		return nil, ErrUnknownKey
	case alg != key.Algorithm():
		return nil, ErrHeader
	}
	return key, nil
}

// checkTimes returns an error unless the token is valid now. An expired token gets no leeway. A
// token from an instance whose clock is ahead gets a leeway of maxClockSkew.
func (v *Verifier) checkTimes(t times, now int64) error {
	switch {
	case t.issuedAt <= 0 || t.issuedAt > now+maxClockSkew || t.notBefore > now:
		return ErrLifetime
	case t.expiresAt <= t.issuedAt || t.expiresAt-t.issuedAt > v.MaxLifetime:
		// no overflow: issuedAt is positive
		return ErrLifetime
	case t.expiresAt <= now:
		return ErrExpired
	}
	return nil
}
