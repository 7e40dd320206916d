package token

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strconv"

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
// [signing.Key.Sign] says what it uses ctx for.
//
// Sign encodes the claims like encoding/json, but without HTML escapes. An HTML escape replaces one
// byte by six. With such escapes, a token with the longest allowed names could be longer than
// MaxLength.
func Sign(
	ctx context.Context, key *signing.Key, typ string, prefix Prefix, who *Identity, generation int64,
	isSuperUser bool,
) (string, error) {
	claims := make([]byte, 0, 512)
	claims = append(claims, prefix...)
	claims = appendJSON(append(claims, `,"sub":`...), who.UserID)
	claims = appendJSON(append(claims, `,"jti":`...), who.SessionID)
	claims = strconv.AppendInt(append(claims, `,"iat":`...), who.IssuedAt.Unix(), 10)
	claims = strconv.AppendInt(append(claims, `,"exp":`...), who.ExpiresAt.Unix(), 10)
	claims = strconv.AppendInt(append(claims, `,"gen":`...), generation, 10)
	claims = appendJSON(append(claims, `,"username":`...), who.Username)
	claims = strconv.AppendBool(append(claims, `,"is_super_user":`...), isSuperUser)
	if who.Limited {
		claims = appendJSON(append(claims, `,"scope":`...), who.Scope)
		claims = appendJSON(append(claims, `,"client_id":`...), who.AccessKeyID)
		if typ == TypeBearer {
			typ = TypeLimited
		}
	}
	if who.Claims != "" {
		claims = append(append(claims, `,"ext":`...), who.Claims...)
	}
	claims = append(claims, '}')

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
