package wiretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestARemovedKeyIsUsedForFiveMinutes(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "ES256")
	token := r.token.Bearer.Reveal()
	r.requireGood(t, token)
	require.NoError(t, r.issuer.SetKeys([]auth.SigningKey{authtest.NewSigners(t)["EdDSA"].Key}))
	r.requireGood(t, token)
	r.clock.Advance(5 * time.Minute)
	r.requireRejected(t, token)
}

func TestUnsupportedKeysInTheSetAreIgnored(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(r.issuer.JWKS(), &set))
	good := set.Keys[0]
	for name, edit := range map[string]map[string]any{
		"for encryption":    {"use": "enc"},
		"of another alg":    {"alg": "ES256"},
		"without an id":     {"kid": ""},
		"another curve":     {"crv": "X25519"},
		"a short key":       {"x": "AQ"},
		"an id too long":    {"kid": strings.Repeat("k", 65)},
		"a number for an x": {"x": 1},
		"to derive keys":    {"key_ops": []string{"deriveKey"}},
		"to encrypt":        {"key_ops": []string{"encrypt"}, "use": ""},
		"with its secret":   {"d": good["x"]},
		"in other letters":  {"KTY": "OKP"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := map[string]any{}
			for k, v := range good {
				bad[k] = v
			}
			for k, v := range edit {
				bad[k] = v
			}
			text, err := json.Marshal(map[string]any{
				"keys": []any{bad, map[string]string{"kty": "RSA", "kid": "r"}},
			})
			require.NoError(t, err)
			other := newRemote(t, "EdDSA")
			other.answers(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) })
			other.requireUnknown(t, r.token.Bearer.Reveal())
		})
	}
	twice, err := json.Marshal(map[string]any{"keys": []any{good, good}})
	require.NoError(t, err)
	r.answers(func(w http.ResponseWriter, _ *http.Request) { w.Write(twice) })
	r.requireGood(t, r.token.Bearer.Reveal())
}

// The issuer has removed a stolen key and now publishes other keys, or no keys. Forged tokens must
// be rejected after the next fetch, not a day later.
func TestAnEmptyKeySetDropsTheKeys(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"an empty set":        func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) },
		"keys of other kinds": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[{"kty":"RSA","kid":"r"}]}`) },
		"a published secret": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"keys":[{"kty":"oct","kid":"h","k":"AQ"}]}`)
		},
	} {
		r := newRemote(t, "ES256")
		r.requireGood(t, r.token.Bearer.Reveal())
		r.answers(answer)
		r.clock.Advance(5 * time.Minute)
		_, err := r.verify(t, r.token.Bearer.Reveal())
		require.ErrorIs(t, err, auth.ErrTokenRejected, name)

		r.answers(func(w http.ResponseWriter, _ *http.Request) { w.Write(r.issuer.JWKS()) })
		r.clock.Advance(10 * time.Second)
		r.requireGood(t, r.token.Bearer.Reveal())
	}
}

// A response can have a body that is not a key set, for example a maintenance page. Such a response
// says nothing about the keys, so the verifier keeps its keys.
func TestAResponseThatIsNotAKeySetKeepsTheKeys(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"{}", "null", `{"error":"maintenance"}`, `{"keys":null}`, `{"keys":{}}`, "[]", "<html>",
	} {
		r := newRemote(t, "ES256")
		r.requireGood(t, r.token.Bearer.Reveal())
		r.answers(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
		r.clock.Advance(5 * time.Minute)
		r.requireGood(t, r.token.Bearer.Reveal())
	}
}

// If an issuer has never published keys, the verifier cannot know whether a token is valid.
func TestAnIssuerThatNeverPublishedKeysIsA503(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "ES256")
	r.answers(http.NotFound)
	r.requireUnknown(t, r.token.Bearer.Reveal())
}

// newLongRemote returns a verifier that accepts tokens for a month, and a token that the verifier
// has verified.
func newLongRemote(t *testing.T) (r *remote, token string) {
	t.Helper()
	r = newRemote(t, "EdDSA")
	claims := r.claims(t, map[string]any{"exp": r.clock.Now().Add(29 * 24 * time.Hour).Unix()})
	token = r.Forge(t, r.header(nil), claims)
	r.verifier = r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) { cfg.MaxAge = 30 * 24 * time.Hour })
	r.requireGood(t, token)
	return r, token
}

// A key set with a duplicate key ID replaces the known keys, as every readable key set does. If it
// counted as an outage, a removed key would be used for another day.
func TestADroppedKeyIsNotKeptByAKeySetWithDuplicates(t *testing.T) {
	t.Parallel()
	r, token := newLongRemote(t)
	other := authtest.NewSigners(t)["ES256"]
	issuerOf := newTokens(t, other, auth.TokenConfig{})
	one := strings.TrimSuffix(strings.TrimPrefix(string(issuerOf.issuer.JWKS()), `{"keys":[`), `]}`)
	r.answers(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"keys":[%s,%s]}`, one, one) })
	r.clock.Advance(20 * time.Minute)
	r.requireForgotten(t, token, "the published set does not contain the key")
}

// A redirect means that the key set is not at its URL. So a redirect counts as a refusal and not as an
// outage, even if its Location header cannot be parsed.
func TestRedirectsWithAnInvalidLocationDropTheKeys(t *testing.T) {
	t.Parallel()
	r, token := newLongRemote(t)
	r.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{"https://[::1"}
		w.WriteHeader(http.StatusFound)
	})
	r.clock.Advance(20 * time.Minute)
	r.requireGood(t, token) // the first refusal
	r.clock.Advance(20 * time.Minute)
	require.Eventually(t, func() bool {
		r.clock.Advance(10 * time.Second) // until the next fetch may begin
		_, err := r.verifier.Verify(t.Context(), token)
		return errors.Is(err, auth.ErrTokenRejected)
	}, 10*time.Second, time.Millisecond)
}

func TestARemoteVerifierRejectsTokensIssuedAfterTheirKeyWasRetired(t *testing.T) {
	t.Parallel()
	for alg, other := range map[string]string{"ES256": "EdDSA", "EdDSA": "ES256"} {
		r := newRemote(t, alg)
		before := r.token.Bearer.Reveal()
		r.requireGood(t, before)
		retired := r.clock.Now()
		r.clock.Advance(2 * time.Second) // the attacker still signs tokens
		forged := r.issue(t)
		r.requireGood(t, forged)

		next := authtest.NewSigners(t)[other].Key
		require.NoError(t, r.issuer.SetKeys([]auth.SigningKey{next, r.Key.RetiredAt(retired)}))
		r.clock.Advance(5 * time.Minute)
		r.requireRejected(t, forged)
		r.requireGood(t, before)
		r.requireGood(t, r.issue(t))

		var set struct{ Keys []map[string]any }
		require.NoError(t, json.Unmarshal(r.issuer.JWKS(), &set))
		require.NotContains(t, set.Keys[0], "sallyport_retired_at")
		require.EqualValues(t, retired.Unix(), set.Keys[1]["sallyport_retired_at"])
	}
}

// If the retirement time of a key cannot be parsed, the key must not count as a key without a
// retirement time.
func TestAKeyWithAnInvalidRetirementTimeIsIgnored(t *testing.T) {
	t.Parallel()
	for _, value := range []any{"1", 1.5, true, []int{1}, 1e30} {
		r := newRemote(t, "EdDSA")
		var set struct{ Keys []map[string]any }
		require.NoError(t, json.Unmarshal(r.issuer.JWKS(), &set))
		set.Keys[0]["sallyport_retired_at"] = value
		text, err := json.Marshal(map[string]any{"keys": set.Keys})
		require.NoError(t, err)
		r.answers(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) })
		r.requireUnknown(t, r.token.Bearer.Reveal())
	}
}
