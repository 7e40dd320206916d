// Package token makes and verifies session tokens, and caches verified tokens. A token is a JWT
// (RFC 7519) of one strict form, signed with a key of package signing.
//
// The package checks everything about a token that can be known without the store: form, key,
// signature, claims and times. The caller must check whether the token's session is revoked.
package token

import (
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-go/auth/internal/canonical"
	"github.com/sallyport-go/auth/internal/scope"
	"github.com/sallyport-go/auth/internal/signing"
	"github.com/sallyport-go/auth/internal/strictjson"
)

// The types of tokens. A [Verifier] accepts either both types of bearer tokens or only cookies.
//
// A token with scopes has a type of its own (RFC 9068, section 2.1). So a verifier that knows nothing of
// scopes rejects the token. Otherwise, it would accept the token for everything.
const (
	TypeBearer  = signing.TypeJWT // a token in the Authorization header
	TypeLimited = "at+jwt"        // a token in the Authorization header, with scopes
	TypeCookie  = "session+jwt"   // a token in a session cookie, with or without scopes
)

// ErrRejected means that a token is not valid.
var ErrRejected = errors.New("auth: token rejected")

// The reasons for which a token is rejected. Each error wraps ErrRejected. The texts are for the
// operator: for each of these errors, a client gets the same answer.
var (
	ErrMalformed  = fmt.Errorf("%w: malformed", ErrRejected)
	ErrUnknownKey = fmt.Errorf("%w: no such key", ErrRejected)
	ErrHeader     = fmt.Errorf("%w: header", ErrRejected)
	ErrSignature  = fmt.Errorf("%w: signature", ErrRejected)
	ErrClaims     = fmt.Errorf("%w: claims", ErrRejected)
	ErrIssuer     = fmt.Errorf("%w: from another issuer", ErrRejected)
	ErrAudience   = fmt.Errorf("%w: for another audience", ErrRejected)
	ErrLifetime   = fmt.Errorf("%w: lifetime", ErrRejected)
	ErrExpired    = fmt.Errorf("%w: expired", ErrRejected)
	ErrRetired    = fmt.Errorf("%w: issued after its key was retired", ErrRejected)
	ErrTooOld     = fmt.Errorf("%w: issued too long ago", ErrRejected)

	// The reasons that are about the session or the user of a token, which was valid earlier.
	ErrRevoked         = fmt.Errorf("%w: no such session", ErrRejected)
	ErrSessionExpired  = fmt.Errorf("%w: the session has expired", ErrRejected)
	ErrSessionAudience = fmt.Errorf("%w: the session is for another audience", ErrRejected)
	ErrUserDisabled    = fmt.Errorf("%w: the user does not exist or is disabled", ErrRejected)
)

// Identity is the user and the session that a token names. The root package has a type with the
// same fields in the same order, so that each type converts to the other.
type Identity struct {
	UserID    string
	Username  string
	SessionID string
	IssuedAt  time.Time
	ExpiresAt time.Time

	Limited     bool   // whether the token has scopes
	Scope       string // see package scope
	AccessKeyID string // set only if Limited is true

	Claims string // the host's claims, a JSON object of at most MaxClaims bytes; empty if there are none

	Audience string // the aud claim
	Actor    string // of a delegated token: the user to whom the token was given; otherwise empty
}

// MaxClaims is the maximum length of the host's claims, in bytes.
const MaxClaims = 1024

// Claims has the claims of a verified token. A Claims does not change.
type Claims struct {
	Identity   Identity
	Generation int64 // the Generation of the session
	times      times
}

// times has the times of a token, in seconds of Unix time.
type times struct {
	issuedAt, expiresAt int64
	notBefore           int64 // 0 for none
}

// The claims that this package reads, in the order of the constants below.
var claimNames = []string{"iss", "aud", "sub", "jti", "iat", "exp", "gen", "nbf", "username", "is_super_user",
	"scope", "client_id", "ext", "sid", "act",
	"cnf"}

const (
	claimIssuer = iota
	claimAudience
	claimSubject
	claimTokenID
	claimIssuedAt
	claimExpiresAt
	claimGeneration
	claimNotBefore
	claimUsername
	claimIsSuperUser
	claimScope
	claimClientID
	claimExt
	claimSessionID
	claimActor
	claimConfirmation
)

// claims parses and checks the claims of a token of the given type. It does not compare the times with
// the clock.
func (v *Verifier) claims(typ, segment string) (Claims, error) {
	var buffer [512]byte // holds most claims without an allocation
	text, err := canonical.Base64URL.AppendDecode(buffer[:0], []byte(segment))
	if err != nil {
		return Claims{}, ErrMalformed
	}
	claims, err := strictjson.Parse(text, claimNames)
	if err != nil {
		return Claims{}, ErrClaims
	}
	if !claims.Value(claimIssuer).Is(v.Issuer) {
		return Claims{}, ErrIssuer
	}
	if claims.Value(claimConfirmation).Kind() != strictjson.Absent {
		return Claims{}, ErrClaims // the token is bound to a key (RFC 7800), so it is no bearer token
	}
	audience := v.audience(claims.Value(claimAudience))
	if audience == "" {
		return Claims{}, ErrAudience
	}
	subject, ok1 := claims.Value(claimSubject).Text()
	tokenID, ok2 := claims.Value(claimTokenID).Text()
	username, ok3 := claims.Value(claimUsername).Text()
	_, ok4 := claims.Value(claimIsSuperUser).Bool() // required, but only the store says who is a super user
	generation, ok5 := claims.Value(claimGeneration).Int()
	times, ok6 := readTimes(&claims)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || subject == "" || tokenID == "" || generation < 0 {
		return Claims{}, ErrClaims
	}
	verified := Claims{
		Identity: Identity{
			UserID:    subject,
			Username:  username,
			SessionID: tokenID, // readActor replaces the ID in a delegated token
			IssuedAt:  time.Unix(times.issuedAt, 0).UTC(),
			ExpiresAt: time.Unix(times.expiresAt, 0).UTC(),
			Audience:  audience,
		},
		Generation: generation,
		times:      times,
	}
	ext := claims.Value(claimExt)
	switch {
	case ext.Kind() == strictjson.Absent:
	case ext.Kind() != strictjson.Nested || len(ext.Raw()) > MaxClaims:
		return Claims{}, ErrClaims
	default:
		verified.Identity.Claims = string(ext.Raw())
	}
	if err := readScope(typ, &claims, &verified.Identity); err != nil {
		return Claims{}, err
	}
	return verified, v.readActor(typ, &claims, &verified.Identity)
}

// audience returns the audience that the claim names, or "" if v does not know it. It returns a string of
// v, so that the identities of all tokens share the string.
func (v *Verifier) audience(claim strictjson.Value) string {
	if claim.Is(v.Audience) {
		return v.Audience
	}
	for _, audience := range v.Others {
		if claim.Is(audience) {
			return audience
		}
	}
	return ""
}

// readScope reads the scopes of a token into the identity, and the access key that opened the session.
// A token of the type TypeLimited must have both claims, and a token of the type TypeBearer must have
// neither. A cookie has either both or neither.
func readScope(typ string, claims *strictjson.Object, who *Identity) error {
	scopes, clientID := claims.Value(claimScope), claims.Value(claimClientID)
	if scopes.Kind() == strictjson.Absent && clientID.Kind() == strictjson.Absent {
		if typ == TypeLimited {
			return ErrClaims
		}
		return nil
	}
	text, ok1 := scopes.Text()
	id, ok2 := clientID.Text()
	if typ == TypeBearer || !ok1 || !ok2 || !scope.IsCanonical(text) {
		return ErrClaims
	}
	who.Limited, who.Scope, who.AccessKeyID = true, text, id
	return nil
}

// readActor reads the actor and the session of a delegated token into the identity (RFC 8693, section 4.1).
// The jti claim of a delegated token is its own ID, so the token has the session in the claim sid. A
// delegated token must have both claims, scopes and an audience other than the issuer. A token that is
// not delegated must have neither claim.
func (v *Verifier) readActor(typ string, claims *strictjson.Object, who *Identity) error {
	session, actor := claims.Value(claimSessionID), claims.Value(claimActor)
	if session.Kind() == strictjson.Absent && actor.Kind() == strictjson.Absent {
		return nil
	}
	sessionID, ok1 := session.Text()
	actorID, ok2 := readSubject(actor)
	if typ != TypeLimited || !ok1 || !ok2 || sessionID == "" || actorID == "" || who.Audience == v.Issuer {
		return ErrClaims
	}
	who.SessionID, who.Actor = sessionID, actorID
	return nil
}

// readSubject returns the sub of an act claim. An act claim has exactly this member: further members could
// name further actors (RFC 8693, section 4.1), whom nobody would check. So readSubject accepts only the
// text that [Sign] writes.
func readSubject(act strictjson.Value) (subject string, ok bool) {
	if act.Kind() != strictjson.Nested {
		return "", false
	}
	object, err := strictjson.Parse(act.Raw(), actorNames)
	if err != nil {
		return "", false
	}
	subject, ok = object.Value(0).Text()
	return subject, ok && string(act.Raw()) == string(appendActor(nil, subject))
}

var actorNames = []string{"sub"}

func readTimes(claims *strictjson.Object) (t times, ok bool) {
	issuedAt, ok1 := claims.Value(claimIssuedAt).Int()
	expiresAt, ok2 := claims.Value(claimExpiresAt).Int()
	notBefore, ok3 := int64(0), true
	if claims.Value(claimNotBefore).Kind() != strictjson.Absent {
		notBefore, ok3 = claims.Value(claimNotBefore).Int()
	}
	return times{issuedAt, expiresAt, notBefore}, ok1 && ok2 && ok3
}
