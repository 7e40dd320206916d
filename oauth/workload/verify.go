package workload

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/sallyport-go/auth"
)

const (
	maxAssertion = 8 << 10          // length of an assertion, in bytes
	maxName      = 256              // length of the claims sub and jti and of the header kid, in bytes
	maxLifetime  = time.Hour        // from iat to exp
	clockSkew    = 30 * time.Second // how far the clock of an issuer may be ahead
)

// VerifyAssertion verifies an assertion, and returns the session that it may open. It implements
// [oauth.AssertionVerifier].
//
// It returns an error that wraps [auth.ErrAssertionRejected] and says why, if it rejects the assertion. Any
// other error means that the keys of the issuer could not be read. If the signature is right, the result has
// the Issuer and the Subject even if there is an error.
func (v *Verifier) VerifyAssertion(ctx context.Context, assertion string) (auth.WorkloadSignIn, error) {
	header, err := readHeader(assertion)
	if err != nil {
		return auth.WorkloadSignIn{}, reject("%w", err)
	}
	from, err := v.issuerOf(assertion)
	if err != nil {
		return auth.WorkloadSignIn{}, reject("%w", err)
	}
	keys, err := from.keys.find(ctx, header.keyID, header.algorithm)
	if errors.Is(err, errKeyUnknown) {
		return auth.WorkloadSignIn{}, reject("%w", err)
	}
	if err != nil {
		return auth.WorkloadSignIn{}, err
	}
	claims, err := verifySignature(ctx, assertion, from.url, oidc.StaticKeySet{PublicKeys: keys})
	if err != nil {
		return auth.WorkloadSignIn{}, reject("%w", err)
	}
	return from.signIn(claims, v.now())
}

// reject returns an error that rejects an assertion.
func reject(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{auth.ErrAssertionRejected}, args...)...)
}

// header is what is used of the header of an assertion.
type header struct{ keyID, algorithm string }

// readHeader checks the form of an assertion, and returns its header. An assertion has one spelling only:
// three parts in base64url (RFC 7515, section 7.1).
func readHeader(assertion string) (header, error) {
	if len(assertion) > maxAssertion {
		return header{}, fmt.Errorf("it has more than %d bytes", maxAssertion)
	}
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 || slices.ContainsFunc(parts, func(part string) bool { return !isBase64(part) }) {
		return header{}, errors.New("it is not a signed JWT")
	}
	fields, err := readPart(parts[0])
	if err != nil {
		return header{}, fmt.Errorf("its header is not valid: %w", err)
	}
	for _, name := range []string{"crit", "b64", "jku", "jwk", "x5u", "x5c"} {
		if _, ok := fields[name]; ok { // RFC 8725, section 3.10: the message must not choose its key
			return header{}, fmt.Errorf("its header has %s", name)
		}
	}
	typ, given := fields["typ"]
	if name, _ := typ.(string); given && !strings.EqualFold(name, "JWT") {
		return header{}, errors.New("its type is not JWT") // such as an access token: RFC 8725, section 3.11
	}
	algorithm, _ := fields["alg"].(string)
	if !slices.Contains(algorithms, algorithm) {
		return header{}, errors.New("its algorithm is not accepted")
	}
	keyID, ok := fields["kid"].(string)
	if !ok || keyID == "" || len(keyID) > maxName {
		return header{}, errors.New("its header names no key")
	}
	return header{keyID, algorithm}, nil
}

func isBase64(part string) bool {
	_, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return part != "" && err == nil && !strings.ContainsAny(part, "\r\n") // which the decoder ignores
}

// readPart returns the object in a part of an assertion.
func readPart(part string) (map[string]any, error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, err
	}
	return readObject(text)
}

// issuerOf returns the issuer that the assertion names. Its signature is not verified yet.
func (v *Verifier) issuerOf(assertion string) (*issuer, error) {
	claims, err := readPart(strings.Split(assertion, ".")[1])
	if err != nil {
		return nil, fmt.Errorf("its claims are not valid: %w", err)
	}
	name, _ := claims["iss"].(string)
	from := v.issuers[name]
	if from == nil {
		return nil, errors.New("its issuer is not known")
	}
	return from, nil
}

// verifySignature verifies the signature and the issuer, and returns the claims.
func verifySignature(
	ctx context.Context, assertion, issuer string, keys oidc.StaticKeySet,
) (map[string]any, error) {
	verifier := oidc.NewVerifier(issuer, &keys, &oidc.Config{
		SupportedSigningAlgs: algorithms,
		SkipClientIDCheck:    true, // signIn checks the audience, and does not accept several
		SkipExpiryCheck:      true, // signIn checks the times, with less leeway
	})
	verified, err := verifier.Verify(ctx, assertion)
	if err != nil {
		return nil, errors.New("its signature is wrong, or a registered claim is of another type")
	}
	var payload json.RawMessage
	if err := verified.Claims(&payload); err != nil {
		return nil, errors.New("its claims are not valid")
	}
	return readObject(payload)
}

// signIn returns the session that an assertion of the issuer opens. The signature has been verified.
func (i *issuer) signIn(claims map[string]any, now time.Time) (auth.WorkloadSignIn, error) {
	subject, _ := claims["sub"].(string)
	signIn := auth.WorkloadSignIn{Issuer: i.url, Subject: readable(subject, maxName)}
	if subject == "" || len(subject) > maxName {
		return signIn, reject("the claim sub must be text of 1 to %d bytes", maxName)
	}
	expires, err := checkTimes(claims, now)
	if err != nil {
		return signIn, reject("%w", err)
	}
	w, err := i.match(claims)
	if err != nil {
		return signIn, reject("%w", err)
	}
	if !w.Reusable {
		signIn.AssertionID, _ = claims["jti"].(string)
		if signIn.AssertionID == "" || len(signIn.AssertionID) > maxName {
			return signIn, reject("the claim jti must be text of 1 to %d bytes, or the workload Reusable",
				maxName)
		}
	}
	signIn.UserID, signIn.Scopes, signIn.Lifetime = w.UserID, w.Scopes, w.Lifetime
	signIn.Reusable, signIn.ExpiresAt = w.Reusable, expires
	return signIn, nil
}

// checkTimes checks the claims exp, iat and nbf, and returns exp (RFC 7523, section 3, items 4 to 6). The
// claim iat is required, because without it an issuer could sign an assertion that is valid for years.
func checkTimes(claims map[string]any, now time.Time) (expires time.Time, err error) {
	exp, hasExp := integer(claims["exp"])
	iat, hasIat := integer(claims["iat"])
	nbf, hasNbf := integer(claims["nbf"])
	_, given := claims["nbf"]
	latest := now.Add(clockSkew).Unix()
	switch {
	case !hasExp || !hasIat || given && !hasNbf:
		return expires, errors.New("the claims exp and iat, and nbf if it is there, must be whole seconds")
	case iat > latest || nbf > latest:
		return expires, errors.New("it is not valid yet")
	case exp <= now.Unix():
		return expires, errors.New("it has expired")
	case exp-iat > int64(maxLifetime/time.Second):
		return expires, fmt.Errorf("it is valid for longer than %s", maxLifetime)
	}
	return time.Unix(exp, 0), nil
}

// match returns the first workload that accepts the claims, or an error that says why there is none.
func (i *issuer) match(claims map[string]any) (Workload, error) {
	why, candidates := errors.New("it is for another audience, or for several"), 0
	for _, w := range i.workloads {
		if !isOnly(claims["aud"], w.Audience) {
			continue
		}
		name := w.Claims.missing(claims)
		if name == "" {
			return w, nil
		}
		candidates++
		why = fmt.Errorf("its claim %q is not that of the workload", name)
	}
	if candidates > 1 {
		why = errors.New("its claims are those of no workload")
	}
	return Workload{}, why
}

// isOnly reports whether the claim aud names the audience and no other (RFC 7519, section 4.1.3).
func isOnly(aud any, audience string) bool {
	if list, ok := aud.([]any); ok && len(list) == 1 {
		aud = list[0]
	}
	return aud == audience
}

// readable returns the beginning of the text, without characters that change how a log shows it.
func readable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return -1
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), limit)], "")
}
