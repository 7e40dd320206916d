package workload_test

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/oauth/workload"
	"github.com/sallyport-go/auth/oauth/workload/workloadtest"
)

func TestAnAssertionOfEachAlgorithmIsVerified(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		f.issuer.UseKey(algorithm)
		f.clock.Advance(time.Minute)
		signIn, err := f.verify(f.sign("jti", "1"))
		require.NoError(t, err, algorithm)
		require.Equal(t, auth.WorkloadSignIn{UserID: f.deployer.ID, Scopes: f.workload.Scopes,
			Issuer: f.issuer.URL(), Subject: "repo:octo-org/octo-repo:ref:refs/heads/main",
			AssertionID: "1", ExpiresAt: time.Unix(f.clock.Now().Unix()+300, 0)}, signIn)
	}
}

// An ECDSA signature (r, s) has a second form (r, n-s). Both are valid, and both are the same assertion,
// because its jti and not its text is used once.
func TestBothFormsOfAnECDSASignatureAreOneAssertion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.issuer.UseKey("ES256")
	first := f.sign()
	end := strings.LastIndex(first, ".") + 1
	signature, err := base64.RawURLEncoding.DecodeString(first[end:])
	require.NoError(t, err)
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	second := first[:end] + base64.RawURLEncoding.EncodeToString(signature)
	require.NotEqual(t, first, second)
	require.Equal(t, 200, f.post(second).status)
	f.requireError(400, "invalid_grant", f.post(first))
}

func TestAnAssertionWithAnotherClaimIsRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	now := f.clock.Now().Unix()
	for _, test := range []struct {
		name   string
		value  any
		reason string
	}{
		{"iss", nil, "issuer is not known"},
		{"iss", f.issuer.URL() + "/", "issuer is not known"},
		{"iss", strings.ToUpper(f.issuer.URL()), "issuer is not known"},
		{"iss", []string{f.issuer.URL()}, "issuer is not known"},
		{"iss", "https://issuer.example.com", "issuer is not known"},
		{"iss", f.url, "issuer is not known"},
		{"sub", nil, "claim sub"},
		{"sub", "", "claim sub"},
		{"sub", 1, "another type"},
		{"sub", strings.Repeat("x", 257), "claim sub"},
		{"aud", nil, "another audience"},
		{"aud", "", "another audience"},
		{"aud", "https://other.example.com", "another audience"},
		{"aud", f.url + "/", "another audience"},
		{"aud", []string{}, "another audience"},
		{"aud", []string{f.url, "https://other.example.com"}, "another audience"},
		{"aud", []string{"https://other.example.com", f.url}, "another audience"},
		{"aud", []string{f.url, f.url}, "another audience"},
		{"aud", [][]string{{f.url}}, "another type"},
		{"aud", map[string]any{f.url: f.url}, "another type"},
		{"exp", nil, "exp and iat"},
		{"exp", fmt.Sprint(now + 60), "exp and iat"},
		{"exp", float64(now) + 60.5, "exp and iat"},
		{"exp", now, "has expired"},
		{"exp", now - 1, "has expired"},
		{"exp", -1, "exp and iat"},
		{"exp", now + 3601, "valid for longer"},
		{"exp", int64(1) << 62, "valid for longer"},
		{"iat", nil, "exp and iat"},
		{"iat", now + 31, "not valid yet"},
		{"iat", 0, "exp and iat"},
		{"iat", 1, "valid for longer"},
		{"nbf", now + 31, "not valid yet"},
		{"nbf", "0", "exp and iat"},
		{"jti", nil, "claim jti"},
		{"jti", "", "claim jti"},
		{"jti", 7, "claim jti"},
		{"jti", strings.Repeat("x", 257), "claim jti"},
		{"repository_id", "75", `"repository_id"`},
		{"repository_id", repository, `"repository_id"`}, // a number, not a string
		{"repository_id", []string{"74"}, `"repository_id"`},
		{"repository_id", "74 ", `"repository_id"`},
		{"repository_id", "074", `"repository_id"`},
		{"repository_id", nil, `"repository_id"`},
		{"repository_id", map[string]any{"": "74"}, `"repository_id"`},
		{"repository_owner_id", "66", `"repository_owner_id"`},
	} {
		assertion := f.sign(test.name, test.value)
		_, err := f.verify(assertion)
		require.ErrorIs(t, err, auth.ErrAssertionRejected, "%s %v", test.name, test.value)
		require.ErrorContains(t, err, test.reason, "%s %v", test.name, test.value)
	}
	for name, value := range map[string]any{"aud": []string{f.url}, "iat": now + 30, "nbf": now + 30,
		"exp": now + 3600, "jti": strings.Repeat("x", 256), "extra": map[string]any{"a": []any{1, nil}}} {
		_, err := f.verify(f.sign(name, value))
		require.NoError(t, err, "%s %v", name, value)
	}
}

// The attacks are on readers that understand a text in different ways: one checks what another does not see.
func TestAnAssertionHasOneMeaning(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text, err := json.Marshal(f.claims("iss", f.issuer.URL(), "jti", "1", "iat", f.clock.Now().Unix(),
		"exp", f.clock.Now().Unix()+300))
	require.NoError(t, err)
	valid := string(text)
	signed := f.issuer.SignText(nil, valid)
	_, err = f.verify(signed)
	require.NoError(t, err)
	parts := strings.Split(signed, ".")
	with := func(members string) string { return f.issuer.SignText(nil, "{"+members+","+valid[1:]) }
	for name, assertion := range map[string]string{
		"issuer twice":          with(`"iss":"https://issuer.example.com"`),
		"claim twice":           with(`"repository_id":"75"`),
		"claim twice, escaped":  with(`"repository\u005fid":"75"`),
		"twice in an object":    with(`"x":{"a":1,"a":2}`),
		"twice, deeply":         with(`"x":[{"y":{"a":1,"a":2}}]`),
		"trailing object":       f.issuer.SignText(nil, valid+"{}"),
		"trailing text":         f.issuer.SignText(nil, valid+"x"),
		"array":                 f.issuer.SignText(nil, "["+valid+"]"),
		"null":                  f.issuer.SignText(nil, "null"),
		"nothing":               f.issuer.SignText(nil, " "),
		"not UTF-8":             with("\"x\":\"\xff\""),
		"spaces around":         " " + signed + " ",
		"trailing newline":      signed + "\n",
		"newline inside":        signed[:len(signed)-3] + "\n" + signed[len(signed)-3:],
		"padding":               signed + "=",
		"four parts":            signed + ".",
		"two parts":             parts[0] + "." + parts[1],
		"no payload":            parts[0] + ".." + parts[2],
		"no signature":          parts[0] + "." + parts[1] + ".",
		"other signature":       parts[0] + "." + parts[1] + "." + parts[0],
		"cut signature":         signed[:len(signed)-2],
		"other payload":         parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(valid+" ")) + "." + parts[2],
		"JSON serialization":    `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"standard alphabet":     strings.NewReplacer("-", "+", "_", "/").Replace(signed) + "+",
		"empty":                 "",
		"dots":                  strings.Repeat(".", 8000),
		"huge":                  with(`"x":"` + strings.Repeat("x", 9000) + `"`),
		"deeply nested":         with(`"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000)),
		"header with two algs":  base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","alg":"EdDSA","kid":"x"}`)) + "." + parts[1] + "." + parts[2],
		"header that is a list": base64.RawURLEncoding.EncodeToString([]byte(`[]`)) + "." + parts[1] + "." + parts[2],
	} {
		_, err := f.verify(assertion)
		if name == "deeply nested" { // it has one meaning
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, auth.ErrAssertionRejected, name)
	}
	// The names of claims are compared byte for byte, so this is another claim.
	_, err = f.verify(with(`"REPOSITORY_ID":"75","Sub":"x"`))
	require.NoError(t, err)
}

func TestTheHeaderOfAnAssertionChoosesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.issuer.UseKey("RS256")
	payload := strings.Split(f.sign(), ".")[1]
	text, err := base64.RawURLEncoding.DecodeString(payload)
	require.NoError(t, err)
	jwk := publishedKey(t, f.issuer)
	tls := httptest.NewTLSServer(nil)
	defer tls.Close()
	certificate := base64.StdEncoding.EncodeToString(tls.Certificate().Raw)
	for name, fields := range map[string]map[string]any{
		"none":              {"alg": "none"},
		"None":              {"alg": "None"},
		"HS256":             {"alg": "HS256"},
		"RS512":             {"alg": "RS512"},
		"PS256":             {"alg": "PS256"},
		"another kind":      {"alg": "ES256"},
		"and another":       {"alg": "EdDSA"},
		"no algorithm":      {"alg": nil},
		"lower case":        {"alg": "rs256"},
		"no key":            {"kid": nil},
		"empty key":         {"kid": ""},
		"unknown key":       {"kid": "other"},
		"key as a number":   {"kid": 1},
		"path as key":       {"kid": "../../dev/null"},
		"long key":          {"kid": strings.Repeat("x", 300)},
		"critical":          {"crit": []string{"exp"}},
		"not base64":        {"b64": false},
		"own key":           {"jwk": jwk},
		"URL of keys":       {"jku": f.issuer.URL() + "/keys"},
		"no certificate":    {"x5c": []string{""}},
		"a certificate":     {"x5c": []string{certificate}},
		"URL of a chain":    {"x5u": f.issuer.URL() + "/keys"},
		"access token":      {"typ": "at+jwt"},
		"logout token":      {"typ": "logout+jwt"},
		"type that is null": {"typ": nil, "cty": nil, "alg": "none"},
	} {
		_, err := f.verify(f.issuer.SignText(fields, string(text)))
		require.ErrorIs(t, err, auth.ErrAssertionRejected, name)
	}
	for _, typ := range []any{nil, "JWT", "jwt"} { // Kubernetes sends none
		_, err := f.verify(f.issuer.SignText(map[string]any{"typ": typ, "x5t": "x"}, string(text)))
		require.NoError(t, err)
	}
}

// publishedKey returns the key that the issuer publishes.
func publishedKey(t *testing.T, issuer *workloadtest.Issuer) map[string]any {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(issuer.URL() + "/keys")
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(text, &set))
	return set.Keys[0]
}

// The attack: the public key of the issuer is known to everybody, and so could be used as an HMAC secret.
func TestThePublicKeyIsNoHMACSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.issuer.UseKey("RS256")
	jwk := publishedKey(t, f.issuer)
	modulus, err := base64.RawURLEncoding.DecodeString(jwk["n"].(string))
	require.NoError(t, err)
	whole, err := json.Marshal(jwk)
	require.NoError(t, err)
	payload := strings.Split(f.sign(), ".")[1]
	for _, kid := range []any{jwk["kid"], nil} {
		header, err := json.Marshal(map[string]any{"alg": "HS256", "kid": kid})
		require.NoError(t, err)
		signed := base64.RawURLEncoding.EncodeToString(header) + "." + payload
		for _, secret := range [][]byte{modulus, whole, []byte(jwk["n"].(string)), nil} {
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(signed))
			f.requireRejected("algorithm",
				signed+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
		}
	}
}

// The attack: an issuer that the host trusts for one program speaks for the program of another issuer.
func TestAnIssuerSpeaksOnlyForItself(t *testing.T) {
	t.Parallel()
	var other *workloadtest.Issuer
	f := newFixture(t, func(f *fixture, cfg *workload.Config) {
		other = f.startIssuer()
		second := f.workload
		second.Issuer = other.URL()
		second.Claims = workload.Claims{"project": "7"}
		cfg.Workloads = []workload.Workload{f.workload, second}
		cfg.Issuers = append(cfg.Issuers, other.Settings())
	})
	kid := map[string]any{"kid": publishedKey(t, f.issuer)["kid"]}
	claims := f.claims("iss", f.issuer.URL(), "jti", "1", "iat", f.clock.Now().Unix(),
		"exp", f.clock.Now().Unix()+300)
	text, err := json.Marshal(claims)
	require.NoError(t, err)
	f.requireRejected("no such key", other.SignText(nil, string(text)))
	f.requireRejected("signature", other.SignText(kid, string(text)))
	f.requireRejected(`"project"`, other.Sign(f.claims()))
	f.requireRejected(`"event_name"`, f.issuer.Sign(map[string]any{"aud": f.url, "project": "7"}))
	_, err = f.verify(other.Sign(map[string]any{"aud": f.url, "project": "7"}))
	require.NoError(t, err)
}

// The attack: a token of the service, which ends with its session, is made into a session of its own.
func TestATokenOfTheServiceIsNoAssertion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token, err := f.svc.SignIn(t.Context(), f.deployer.ID, auth.LoginOptions{})
	require.NoError(t, err)
	f.requireRejected("issuer is not known", token.Bearer.Reveal())
	for _, own := range []string{f.url, f.url + "/", strings.ToUpper(f.url)} {
		w := f.workload
		w.Issuer = own
		_, err := workload.New(f.svc, workload.Config{Workloads: []workload.Workload{w}})
		require.ErrorContains(t, err, "Workloads[0].Issuer must not be the service itself")
	}
}

func TestTheFirstWorkloadThatAcceptsAnAssertionCounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture, cfg *workload.Config) {
		production := workload.GitHubActions(owner, repository, workload.GitHubActionsOptions{
			Issuer: f.issuer.URL(), Environment: "production"})
		production.UserID, production.Scopes = "production", f.workload.Scopes
		elsewhere := f.workload
		elsewhere.Audience, elsewhere.UserID = "https://other.example.com", "elsewhere"
		cfg.Workloads = []workload.Workload{production, f.workload, elsewhere}
	})
	for want, assertion := range map[string]string{
		"production":  f.sign("environment", "production"),
		f.deployer.ID: f.sign("environment", "staging"),
		"elsewhere":   f.sign("aud", "https://other.example.com"),
	} {
		signIn, err := f.verify(assertion)
		require.NoError(t, err)
		require.Equal(t, want, signIn.UserID)
	}
	f.requireRejected("no workload", f.sign("repository_id", "75"))
}

// A host could fill the maps again for the next workload.
func TestAConditionDoesNotChangeAfterNew(t *testing.T) {
	t.Parallel()
	inner, events := workload.Claims{"id": "x"}, []string{"push"}
	claims := workload.Claims{"object": inner, "event_name": events}
	var networks []netip.Prefix
	f := newFixture(t, func(f *fixture, cfg *workload.Config) {
		f.workload.Claims, networks = claims, cfg.Issuers[0].Networks
	})
	networks[0] = netip.MustParsePrefix("192.0.2.0/24")
	delete(inner, "id")
	delete(claims, "object")
	events[0] = "schedule"
	_, err := f.verify(f.sign("object", map[string]any{"id": "x"}))
	require.NoError(t, err)
	f.requireRejected(`"object"`, f.sign("object", map[string]any{"id": "y"}))
	f.requireRejected(`"event_name"`, f.sign("object", map[string]any{"id": "x"}, "event_name", "schedule"))
}

func TestClaimsHaveTypes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(f *fixture, _ *workload.Config) {
		f.workload.Claims = workload.Claims{"text": "1", "number": 1, "long": int64(1) << 60, "flag": true,
			"choice": []string{"a", "1"},
			"object": workload.Claims{"inner": workload.Claims{"id": "x"}}}
	})
	right := []any{"text", "1", "number", 1, "long", int64(1) << 60, "flag", true, "choice", "1",
		"object", map[string]any{"inner": map[string]any{"id": "x", "more": 1}, "more": 1}}
	_, err := f.verify(f.sign(right...))
	require.NoError(t, err)
	for _, wrong := range [][]any{
		{"text", 1}, {"text", true}, {"number", "1"}, {"number", 1.5}, {"number", json.RawMessage("1.0")},
		{"number", json.RawMessage("1e0")}, {"number", true}, {"long", float64(1 << 60)}, {"flag", "true"},
		{"choice", 1}, {"choice", "b"}, {"choice", []string{"a"}}, {"choice", []string{"a", "1"}}, {"choice", nil},
		{"flag", 1}, {"flag", false}, {"object", "x"}, {"object", map[string]any{"id": "x"}},
		{"object", []any{map[string]any{"inner": map[string]any{"id": "x"}}}},
		{"object", map[string]any{"inner": map[string]any{"id": 1}}}, {"object", nil},
	} {
		f.requireRejected(fmt.Sprintf("%q", wrong[0]), f.sign(append(right, wrong...)...))
	}
}
