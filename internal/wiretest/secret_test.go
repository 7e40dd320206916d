package wiretest

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/secrethash"
	"github.com/stretchr/testify/require"
)

const canary = "canary-5f2c0e-that-nobody-may-see"

// printed returns the value as text, in every way in which Go code may print it by accident.
func printed(t testing.TB, v any) string {
	t.Helper()
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%08v"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", &v)
	}
	fmt.Fprintln(&out, v)
	text, err := json.Marshal(v)
	require.NoError(t, err)
	out.Write(text)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	fmt.Fprint(&out, fmt.Errorf("wrapped: %v", v))
	return out.String()
}

// hexes returns the forms in which the bytes of a secret could be printed.
func hexes(secret []byte) []string {
	return []string{
		string(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret),
		strings.Trim(fmt.Sprint(secret), "[]"),
		strings.ReplaceAll(fmt.Sprintf("%#v", secret), "[]byte", "")[1:],
		rawStd(secret),
	}
}

func TestTypesWithSecretsPrintRedacted(t *testing.T) {
	t.Parallel()
	secret := []byte(canary + strings.Repeat("x", 32))
	symmetric, err := auth.NewSymmetricKey("id", secret)
	require.NoError(t, err)
	signing, err := auth.NewHS256Key("id", secret)
	require.NoError(t, err)
	token := auth.Token{Bearer: auth.NewSecret(canary)}

	type host struct{ exported, unexported any }
	type deep struct {
		pair   auth.KeyPair
		key    auth.SymmetricKey
		signer auth.SigningKey
		keys   []auth.SigningKey
		secret auth.Secret
		token  auth.Token
	}
	pair := auth.KeyPair{AccessKey: "public", AccessSecret: auth.NewSecret(canary)}
	for name, v := range map[string]any{
		"Secret":            auth.NewSecret(canary),
		"KeyPair":           pair,
		"SymmetricKey":      symmetric,
		"SigningKey":        signing,
		"Token":             token,
		"ImportedKey":       auth.ImportedKey{Secret: auth.NewSecret(canary)},
		"Registration":      auth.Registration{Pair: pair},
		"CredentialConfig":  auth.CredentialConfig{Peppers: []auth.SymmetricKey{symmetric}}.Peppers,
		"Config":            auth.Config{SigningKeys: []auth.SigningKey{signing}}.SigningKeys,
		"a map of them":     map[string]any{"a": pair, "b": symmetric},
		"a struct":          host{pair, symmetric},
		"unexported fields": deep{pair, symmetric, signing, []auth.SigningKey{signing}, pair.AccessSecret, token},
	} {
		out := printed(t, v)
		for _, spelling := range append(hexes(secret), hexes([]byte(canary))...) {
			require.NotContains(t, out, spelling, name)
		}
	}
	require.Equal(t, "[redacted]", fmt.Sprint(auth.NewSecret(canary)))
	require.Equal(t, "[redacted]", fmt.Sprintf("%x", signing))
	require.Equal(t, canary, auth.NewSecret(canary).Reveal())
	require.Empty(t, auth.Secret{}.Reveal())
}

func TestInvalidSymmetricKeysAreRejected(t *testing.T) {
	t.Parallel()
	good := authtest.Random(32)
	for name, test := range map[string]struct {
		id     string
		secret []byte
	}{
		"no secret":           {"id", nil},
		"an empty secret":     {"id", []byte{}},
		"31 bytes":            {"id", good[:31]},
		"a repeated byte":     {"id", bytes.Repeat([]byte{7}, 64)},
		"zeros":               {"id", make([]byte, 32)},
		"an ID of 65 bytes":   {strings.Repeat("x", 65), good},
		"an ID with a dollar": {"a$b", good},
		"an ID with a comma":  {"a,b", good},
		"an ID with a space":  {"a b", good},
		"an ID beyond ASCII":  {"é", good},
	} {
		_, err := auth.NewSymmetricKey(test.id, test.secret)
		require.Error(t, err, name)
		_, err = auth.NewHS256Key(test.id, test.secret)
		require.Error(t, err, name)
	}
	_, err := auth.NewSymmetricKey(strings.Repeat("x", 33), good)
	require.Error(t, err, "an ID that would make hashes too long")
	_, err = auth.NewSymmetricKey("A-z_0.9", good)
	require.NoError(t, err)
}

func TestAKeyWithoutAnIDGetsOneFromItsSecret(t *testing.T) {
	t.Parallel()
	secret, other := authtest.Random(32), authtest.Random(32)
	pepper := func(secret []byte) auth.SymmetricKey {
		key, err := auth.NewSymmetricKey("", secret)
		require.NoError(t, err)
		return key
	}
	signing, err := auth.NewHS256Key("", secret)
	require.NoError(t, err)
	c := newCredentials(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{pepper(secret)}})
	pair := c.issue(t)
	require.Contains(t, c.hash(t, pair.AccessKey), "$k="+signing.ID()+"$", "one rule for both kinds of keys")
	c.configure(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{pepper(other), pepper(secret)}})
	c.requireGood(t, pair)

	_, err = auth.NewCredentialVerifier(c.store, nil, auth.CredentialConfig{
		Peppers: []auth.SymmetricKey{pepper(secret), {}}})
	require.EqualError(t, err, "auth: CredentialConfig.Peppers[1] is empty: make it with NewSymmetricKey")
	_, err = auth.NewCredentialVerifier(c.store, nil, auth.CredentialConfig{
		Peppers: []auth.SymmetricKey{pepper(secret), pepper(other), pepper(secret)}})
	require.EqualError(t, err, `auth: Peppers[2] has the id "`+signing.ID()+`" of an earlier pepper: give each its own`)
}

// For each purpose, SymmetricKey derives a key from the configured secret: HKDF-SHA-256 (RFC 5869)
// with the purpose as info. If the derivation changed, no stored hash could be verified.
func TestAPepperIsDerivedForItsPurpose(t *testing.T) {
	t.Parallel()
	secret := authtest.Random(32)
	key, err := auth.NewSymmetricKey("p1", secret)
	require.NoError(t, err)
	c := newCredentials(t, auth.CredentialConfig{Peppers: []auth.SymmetricKey{key}})
	pair := c.issue(t)
	hashUnder := func(key []byte) string {
		h, err := secrethash.New([]secrethash.Pepper{{ID: "p1", Key: key}})
		require.NoError(t, err)
		return h.Fast.Hash("u1", pair.AccessKey, pair.AccessSecret.Reveal())
	}
	require.Equal(t, hashUnder(derived(t, secret, "access secret pepper")), c.hash(t, pair.AccessKey))
	require.NotEqual(t, hashUnder(secret), c.hash(t, pair.AccessKey))
}

// derived returns the key that SymmetricKey derives from the secret for the purpose.
func derived(t testing.TB, secret []byte, purpose string) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, secret, nil, "sallyport "+purpose, 32)
	require.NoError(t, err)
	return key
}

// The test makes many calls, some of which fail. It then searches all logs and responses for the
// secrets of the service.
func TestSecretsAppearInNoOutput(t *testing.T) {
	t.Parallel()
	var failing bool
	pepper := authtest.Random(32)
	f := newFixture(t, withFaults(func(method string) error {
		if failing || method == "SwapHash" {
			return fmt.Errorf("store is down in %s", method)
		}
		return nil
	}), func(_ *fixture, cfg *auth.Config) {
		key, err := auth.NewSymmetricKey("p1", pepper)
		require.NoError(t, err)
		cfg.Credentials.Peppers = []auth.SymmetricKey{key, auth.NoPepper()}
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	})
	token := f.signIn(f.admin)
	secrets := []string{token, f.userPair.AccessSecret.Reveal(), f.adminPair.AccessSecret.Reveal(), canary}
	secrets = append(secrets, hexes(pepper)...)
	secrets = append(secrets, hexes(f.signer.Secret.([]byte))...)
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
		UserID: f.user.ID, AccessKey: "as_other_pasted_secret", Hash: phc("correct horse", 8192, 1, 1)}))
	secrets = append(secrets, "as_other_pasted_secret", "correct horse")
	var answers strings.Builder
	record := func(r response) { fmt.Fprintln(&answers, r.status, r.header, r.body) }

	for range 2 {
		record(f.login(auth.KeyPair{AccessKey: f.userPair.AccessKey, AccessSecret: auth.NewSecret(canary)}))
		record(f.login(auth.KeyPair{AccessKey: canary, AccessSecret: f.userPair.AccessSecret}))
		record(f.login(auth.KeyPair{
			AccessKey: f.userPair.AccessSecret.Reveal(), AccessSecret: f.userPair.AccessSecret,
		}))
		record(f.send(http.MethodPost, "/auth/users/login", `{"access_key":"`+canary))
		record(f.send(http.MethodPost, "/auth/users/login", `{"access_secret":"`+canary+`","access_key":7}`))
		record(f.send(http.MethodPost, "/auth/users/login", `{"`+canary+`":1,"`+canary+`":2}`))
		record(f.sendAs(token, http.MethodGet, "/auth/user", ""))
		legacy := f.login(auth.KeyPair{
			AccessKey: "as_other_pasted_secret", AccessSecret: auth.NewSecret("correct horse"),
		})
		// The response to a successful sign-in contains a token, so it is not searched.
		if legacy.status != http.StatusOK {
			record(legacy)
		}
		record(f.sendAs(token+canary, http.MethodGet, "/auth/user", ""))
		record(f.send(http.MethodGet, "/auth/user", "", "Authorization", "Basic "+canary))
		record(f.sendAs(token, http.MethodPost, "/api/v1/user/register",
			`{"username":"`+canary+`\u0007","email":"x@example.com"}`))
		record(f.sendAs(token, http.MethodPost, "/api/v1/user/register",
			`{"username":"root","email":"`+canary+`"}`))
		record(f.sendAs(token, http.MethodDelete, "/"+canary, ""))
		failing = true // all calls are repeated with a failing store
		record(f.login(f.userPair))
	}
	require.Contains(t, f.log.String(), "store is down")
	for _, secret := range secrets {
		require.NotContains(t, answers.String(), secret)
		require.NotContains(t, f.log.String(), secret)
	}
}

func TestErrorsContainNoSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, err := range []error{
		errorOf(auth.NewSymmetricKey("id", []byte(canary[:20]))),
		errorOf(auth.NewHS256Key("id", []byte(canary[:20]))),
		errorOf(f.svc.Login(t.Context(), auth.KeyPair{
			AccessKey: canary, AccessSecret: auth.NewSecret(canary),
		}, auth.LoginOptions{})),
		errorOf(f.svc.Tokens().Verify(t.Context(), canary)),
		errorOf(f.svc.Bootstrap(t.Context(), auth.UserParams{Username: "x"}, auth.KeyPair{
			AccessKey: canary, AccessSecret: auth.NewSecret(canary),
		})),
		f.svc.Credentials().Import(t.Context(), authtest.ByHost, auth.ImportedKey{
			AccessKey: canary, Secret: auth.NewSecret(canary), Hash: canary,
		}),
		errorOf(f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID,
			auth.KeyOptions{Label: canary + "\x00"})),
		errorOf(f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID,
			auth.KeyOptions{ExpiresAt: time.Unix(1, 0)})),
	} {
		require.Error(t, err)
		require.NotContains(t, fmt.Sprintf("%+v", err), canary[:20])
	}
}
