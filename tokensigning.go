package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/sallyport-go/auth/internal/signing"
)

// signToken returns the token of the session, of this type. Its claims begin with the prefix and are
// what encoding/json would make of them without HTML escapes, which make six bytes of one: a
// token must never be longer than the verifier accepts.
func signToken(signer *signing.Key, typ, prefix string, session Session, user User) (string, error) {
	claims := make([]byte, 0, 512)
	claims = append(claims, prefix...)
	claims = appendJSON(append(claims, `,"sub":`...), user.ID)
	claims = appendJSON(append(claims, `,"jti":`...), session.ID)
	claims = strconv.AppendInt(append(claims, `,"iat":`...), session.CreatedAt.Unix(), 10)
	claims = strconv.AppendInt(append(claims, `,"exp":`...), session.ExpiresAt.Unix(), 10)
	claims = strconv.AppendInt(append(claims, `,"gen":`...), session.Generation, 10)
	claims = appendJSON(append(claims, `,"username":`...), user.Username)
	claims = strconv.AppendBool(append(claims, `,"is_super_user":`...), user.IsSuperUser)
	claims = append(claims, '}')

	header := signer.Header(typ)
	text := make([]byte, 0, len(header)+1+base64.RawURLEncoding.EncodedLen(len(claims)))
	text = append(append(text, header...), '.')
	text = base64.RawURLEncoding.AppendEncode(text, claims)
	signature, err := signer.Sign(string(text))
	if err != nil {
		return "", fmt.Errorf("auth: signing a token: %w", err)
	}
	return string(base64.RawURLEncoding.AppendEncode(append(text, '.'), signature)), nil
}

// encodeClaimsPrefix returns how the claims of every token begin.
func encodeClaimsPrefix(issuer, audience string) string {
	prefix := appendJSON([]byte(`{"iss":`), issuer)
	return string(appendJSON(append(prefix, `,"aud":`...), audience))
}

// appendJSON appends a string as JSON.
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
