package auth

import (
	"fmt"
	"github.com/sallyport-go/auth/internal/canonical"
	"strings"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/strictjson"
)

// The types of tokens.
const (
	tokenType       = signing.TypeJWT // the typ of a bearer token
	cookieTokenType = "session+jwt"   // the typ of the token in a session cookie
)

// What a token may be at the most.
const (
	maxTokenLength = 4096
	maxClockSkew   = 30 // seconds that the clock of another instance may be ahead
)

// The reasons for which a token is refused. They are for the operator: whoever
// sent the token sees one and the same answer.
var (
	errMalformed  = fmt.Errorf("%w: malformed", ErrTokenRejected)
	errUnknownKey = fmt.Errorf("%w: no such key", ErrTokenRejected)
	errTooOld     = fmt.Errorf("%w: issued too long ago", ErrTokenRejected)
	errHeader     = fmt.Errorf("%w: header", ErrTokenRejected)
	errSignature  = fmt.Errorf("%w: signature", ErrTokenRejected)
	errClaims     = fmt.Errorf("%w: claims", ErrTokenRejected)
	errForeign    = fmt.Errorf("%w: issuer or audience", ErrTokenRejected)
	errLifetime   = fmt.Errorf("%w: lifetime", ErrTokenRejected)
	errExpired    = fmt.Errorf("%w: expired", ErrTokenRejected)
	errRetired    = fmt.Errorf("%w: issued after its key was retired", ErrTokenRejected)
)

// tokenVerifier checks everything about a token that can be known without the
// store. golang-jwt checks the signatures; the rest is ours, because that
// library, with every option for strictness on, still accepts unknown critical
// headers, any typ, claims given twice or in other letters, null, fractional
// and textual times, line breaks, tokens of megabytes and several spellings of
// one signature.
type tokenVerifier struct {
	typ              string // the only type that is accepted
	issuer, audience string
	maxLifetime      int64 // seconds
}

// tokenClaims is what a token says that was signed with one of the keys. It does
// not change.
type tokenClaims struct {
	identity   Identity
	generation int64 // of the session
	times      tokenTimes
}

// tokenTimes are in whole seconds of Unix time.
type tokenTimes struct {
	issuedAt, expiresAt int64
	notBefore           int64 // 0 for none
}

// verify checks the token, which must be of one of the ring's keys.
func (v *tokenVerifier) verify(ring *signing.Ring, token string, now int64) (tokenClaims, error) {
	header, claims, signature, ok := splitToken(token)
	if !ok {
		return tokenClaims{}, errMalformed
	}
	key, err := v.keyOf(header, ring)
	if err != nil {
		return tokenClaims{}, err
	}
	var buffer [64]byte // as long as any signature
	sig, err := canonical.Base64URL.AppendDecode(buffer[:0], []byte(signature))
	if err != nil {
		return tokenClaims{}, errMalformed
	}
	if !key.Verify(token[:len(header)+1+len(claims)], sig) {
		return tokenClaims{}, errSignature
	}
	verified, err := v.claims(claims)
	if err != nil {
		return tokenClaims{}, err
	}
	if key.RetiredBefore(verified.times.issuedAt) {
		return tokenClaims{}, errRetired
	}
	return verified, v.checkTimes(verified.times, now)
}

// splitToken cuts the token at its two dots. It looks at no more than the
// greatest length a token may have, and allocates nothing (CVE-2025-30204).
func splitToken(token string) (header, claims, signature string, ok bool) {
	if len(token) > maxTokenLength {
		return "", "", "", false
	}
	header, rest, _ := strings.Cut(token, ".")
	claims, signature, _ = strings.Cut(rest, ".")
	for _, segment := range [...]string{header, claims, signature} {
		if !canonical.IsBase64URL(segment) { // no further dot either
			return "", "", "", false
		}
	}
	return header, claims, signature, true
}

// The header parameters that mean something: the first three to us, the others
// to a reader who would take a key, a compression or an extension from the
// sender (RFC 7515, RFC 7516, RFC 7797).
var headerNames = []string{
	"typ", "alg", "kid",
	"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256",
}

// keyOf returns the key that the header names, if the header is one that we could
// have written.
func (v *tokenVerifier) keyOf(segment string, ring *signing.Ring) (*signing.Key, error) {
	if key := ring.ByHeader(segment); key != nil && v.typ == tokenType {
		return key, nil
	}
	text, err := canonical.DecodeBase64URL(segment)
	if err != nil {
		return nil, errMalformed
	}
	header, err := strictjson.Parse(text, headerNames)
	if err != nil {
		return nil, errHeader
	}
	for i := 3; i < len(headerNames); i++ {
		if header.Value(i).Kind() != strictjson.Absent {
			return nil, errHeader
		}
	}
	typ, _ := header.Value(0).Text()
	alg, _ := header.Value(1).Text()
	kid, _ := header.Value(2).Text()
	key := ring.ByID(kid)
	switch {
	case typ != v.typ:
		return nil, errHeader
	case key == nil:
		return nil, errUnknownKey
	case alg != key.Algorithm():
		return nil, errHeader
	}
	return key, nil
}

// The claims, in the order of the constants below.
var claimNames = []string{"iss", "aud", "sub", "jti", "iat", "exp", "gen", "nbf", "username", "is_super_user"}

const (
	claimIssuer = iota
	claimAudience
	claimSubject
	claimSessionID
	claimIssuedAt
	claimExpiresAt
	claimGeneration
	claimNotBefore
	claimUsername
	claimIsSuperUser
)

// claims reads the claims, whose times are still to be checked.
func (v *tokenVerifier) claims(segment string) (tokenClaims, error) {
	var buffer [512]byte // as long as most
	text, err := canonical.Base64URL.AppendDecode(buffer[:0], []byte(segment))
	if err != nil {
		return tokenClaims{}, errMalformed
	}
	claims, err := strictjson.Parse(text, claimNames)
	if err != nil {
		return tokenClaims{}, errClaims
	}
	if !claims.Value(claimIssuer).Is(v.issuer) || !claims.Value(claimAudience).Is(v.audience) {
		return tokenClaims{}, errForeign
	}
	subject, ok1 := claims.Value(claimSubject).Text()
	sessionID, ok2 := claims.Value(claimSessionID).Text()
	username, ok3 := claims.Value(claimUsername).Text()
	_, ok4 := claims.Value(claimIsSuperUser).Bool() // says nothing that we would believe, but must be one
	generation, ok5 := claims.Value(claimGeneration).Int()
	times, ok6 := readTimes(&claims)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || subject == "" || sessionID == "" || generation < 0 {
		return tokenClaims{}, errClaims
	}
	return tokenClaims{
		identity: Identity{
			UserID:    subject,
			Username:  username,
			SessionID: sessionID,
			IssuedAt:  time.Unix(times.issuedAt, 0).UTC(),
			ExpiresAt: time.Unix(times.expiresAt, 0).UTC(),
		},
		generation: generation,
		times:      times,
	}, nil
}

func readTimes(claims *strictjson.Object) (times tokenTimes, ok bool) {
	issuedAt, ok1 := claims.Value(claimIssuedAt).Int()
	expiresAt, ok2 := claims.Value(claimExpiresAt).Int()
	notBefore, ok3 := int64(0), true
	if claims.Value(claimNotBefore).Kind() != strictjson.Absent {
		notBefore, ok3 = claims.Value(claimNotBefore).Int()
	}
	return tokenTimes{issuedAt, expiresAt, notBefore}, ok1 && ok2 && ok3
}

// checkTimes checks whether the token is good now. An expired token gets no
// leeway; one from an instance whose clock is ahead gets a little.
func (v *tokenVerifier) checkTimes(t tokenTimes, now int64) error {
	switch {
	case t.issuedAt <= 0 || t.issuedAt > now+maxClockSkew || t.notBefore > now:
		return errLifetime
	case t.expiresAt <= t.issuedAt || t.expiresAt-t.issuedAt > v.maxLifetime: // no overflow: issuedAt is small and positive
		return errLifetime
	case t.expiresAt <= now:
		return errExpired
	}
	return nil
}
