package token

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/sallyport-go/auth/internal/signing"
)

// Prefix is the JSON text with which the claims of every token of an issuer begin.
type Prefix string

// NewPrefix returns the prefix with the issuer and the audience.
func NewPrefix(issuer, audience string) Prefix {
	prefix := appendJSON([]byte(`{"iss":`), issuer)
	return Prefix(appendJSON(append(prefix, `,"aud":`...), audience))
}

// Sign returns a token of the given type, signed with the key. If the identity is limited, a token of the
// type TypeBearer gets the type TypeLimited. Sign truncates the times of the identity to whole seconds.
// The prefix must have the audience of the token, because Sign ignores the Audience of the identity.
// [signing.Key.Sign] says what it uses ctx for.
//
// If the identity has an Actor, the token is delegated, and gets a random ID of its own. Sign returns an
// error if a delegated token would have no scopes or would be for a cookie, or if the token would be
// longer than MaxLength.
//
// Sign encodes the claims like encoding/json, but without HTML escapes. An HTML escape replaces one
// byte by six. With such escapes, a token with the longest allowed names could be longer than
// MaxLength.
func Sign(
	ctx context.Context, key *signing.Key, typ string, prefix Prefix, who *Identity, generation int64,
	isSuperUser bool,
) (string, error) {
	if who.Actor != "" && (!who.Limited || typ != TypeBearer) {
		return "", errors.New("a delegated token must be a bearer token with scopes")
	}
	if typ == TypeBearer && who.Limited {
		typ = TypeLimited
	}
	claims := appendClaims(make([]byte, 0, 512), prefix, who, generation, isSuperUser)
	if length := textLength(len(key.Header(typ)), len(claims)); length > MaxLength {
		return "", fmt.Errorf("a token of %d bytes is too long; at most %d are allowed", length, MaxLength)
	}
	return SignText(ctx, key, typ, claims)
}

// SignText returns the claims with a header of the given type and the signature of the key, in the
// compact form of a JWS (RFC 7515, section 7.1). [OpenText] reads this form.
func SignText(ctx context.Context, key *signing.Key, typ string, claims []byte) (string, error) {
	header := key.Header(typ)
	text := make([]byte, 0, len(header)+1+base64.RawURLEncoding.EncodedLen(len(claims)))
	text = append(append(text, header...), '.')
	text = base64.RawURLEncoding.AppendEncode(text, claims)
	signature, err := key.Sign(ctx, string(text))
	if err != nil {
		return "", err
	}
	return string(base64.RawURLEncoding.AppendEncode(append(text, '.'), signature)), nil
}

// appendClaims appends the claims of a token.
func appendClaims(
	claims []byte, prefix Prefix, who *Identity, generation int64, isSuperUser bool,
) []byte {
	tokenID := who.SessionID
	if who.Actor != "" {
		tokenID = rand.Text()
	}
	claims = append(claims, prefix...)
	claims = appendJSON(append(claims, `,"sub":`...), who.UserID)
	claims = appendJSON(append(claims, `,"jti":`...), tokenID)
	claims = strconv.AppendInt(append(claims, `,"iat":`...), who.IssuedAt.Unix(), 10)
	claims = strconv.AppendInt(append(claims, `,"exp":`...), who.ExpiresAt.Unix(), 10)
	claims = strconv.AppendInt(append(claims, `,"gen":`...), generation, 10)
	claims = appendJSON(append(claims, `,"username":`...), who.Username)
	claims = strconv.AppendBool(append(claims, `,"is_super_user":`...), isSuperUser)
	if who.Limited {
		claims = appendJSON(append(claims, `,"scope":`...), who.Scope)
		claims = appendJSON(append(claims, `,"client_id":`...), who.AccessKeyID)
	}
	if who.Actor != "" {
		claims = appendJSON(append(claims, `,"sid":`...), who.SessionID)
		claims = appendActor(append(claims, `,"act":`...), who.Actor)
	}
	if who.Claims != "" {
		claims = append(append(claims, `,"ext":`...), who.Claims...)
	}
	return append(claims, '}')
}

// appendActor appends the act claim of a delegated token (RFC 8693, section 4.1).
func appendActor(b []byte, subject string) []byte {
	return append(appendJSON(append(b, `{"sub":`...), subject), '}')
}

// textLength returns the length of a token whose encoded header and whose claims have these lengths, with
// the longest signature.
func textLength(header, claims int) int {
	return header + 1 + base64.RawURLEncoding.EncodedLen(claims) + 1 +
		base64.RawURLEncoding.EncodedLen(maxSignature)
}

// maxSignature is the length of the longest signature, in bytes.
const maxSignature = 64

// maxHeader is the length of the longest header without its type, in bytes before the encoding.
const maxHeader = len(`{"alg":"EdDSA","kid":"","typ":""}`) + signing.MaxID

// LongestLength returns the greatest length of a token of this type with this prefix and this identity, for
// any key, generation and time. It is for checking a configuration before any token is signed.
func LongestLength(prefix Prefix, typ string, who *Identity) int {
	longest := *who
	longest.IssuedAt, longest.ExpiresAt = latest, latest
	claims := appendClaims(nil, prefix, &longest, math.MaxInt64, false) // "false" is longer than "true"
	return textLength(base64.RawURLEncoding.EncodedLen(maxHeader+len(typ)), len(claims))
}

// latest is the last second that a store can keep.
var latest = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// appendJSON appends the string s, encoded as JSON.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendEscapedJSON(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendEscapedJSON(b []byte, s string) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string can always be encoded
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}
