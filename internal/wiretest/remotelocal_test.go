package wiretest

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestWhichJWKSURLsMayBePlainHTTP(t *testing.T) {
	t.Parallel()
	for url, loopback := range map[string]bool{
		"http://localhost:8080/jwks.json":    true,
		"http://127.0.0.1:8080/jwks.json":    true,
		"http://[::1]/jwks.json":             true,
		"http://auth.default.svc/jwks.json":  false,
		"http://10.0.0.1/jwks.json":          false,
		"http://localhost.evil.example/jwks": false,
		"http://127.0.0.1.evil.example/jwks": false,
	} {
		cfg := auth.RemoteVerifierConfig{JWKSURL: url, Issuer: issuer, Audience: audience}
		_, err := auth.NewRemoteVerifier(cfg)
		if loopback {
			require.NoError(t, err, url)
		} else {
			require.ErrorContains(t, err, "auth: RemoteVerifierConfig.JWKSURL must be https", url)
			require.ErrorContains(t, err, "InsecureJWKSURL", url)
		}
		cfg.InsecureJWKSURL = true
		_, err = auth.NewRemoteVerifier(cfg)
		require.NoError(t, err, url)
	}
}

func TestARemoteVerifierFetchesKeysOverHTTPOnLoopback(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write(r.issuer.JWKS())
	}))
	t.Cleanup(server.Close)
	r.verifier = r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) {
		cfg.JWKSURL, cfg.HTTPClient = server.URL, nil
	})
	r.requireGood(t, r.token.Bearer.Reveal())
}

// fixed returns a verifier with the keys of the issuer, and with an HTTP client that no test may
// use.
func (r *remote) fixed(t *testing.T, edits ...func(*auth.RemoteVerifierConfig)) *auth.RemoteVerifier {
	return r.verifierWith(t, func(cfg *auth.RemoteVerifierConfig) {
		cfg.JWKSURL, cfg.JWKS = "", r.issuer.JWKS()
		cfg.HTTPClient = &http.Client{Transport: &panicking{times: 1 << 30}}
		for _, edit := range edits {
			edit(cfg)
		}
	})
}

func TestARemoteVerifierWithTheKeySetItselfCallsNoServer(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA"} {
		r := newRemote(t, alg)
		r.verifier = r.fixed(t)
		r.requireGood(t, r.token.Bearer.Reveal())
		other := newTokens(t, authtest.NewSigners(t)[alg], auth.TokenConfig{})
		r.requireRejected(t, other.token.Bearer.Reveal())
		r.clock.Advance(10 * time.Minute)
		r.requireGood(t, r.token.Bearer.Reveal())
		require.Zero(t, r.fetches.Load())
	}
}

func TestSetJWKSReplacesTheKeysAtOnce(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "ES256")
	var log authtest.Log
	r.verifier = r.fixed(t, func(cfg *auth.RemoteVerifierConfig) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	old := r.token.Bearer.Reveal()
	r.requireGood(t, old)
	require.NoError(t, r.issuer.SetKeys([]auth.SigningKey{authtest.NewSigners(t)["EdDSA"].Key, r.Key}))
	token := r.issue(t)
	r.requireRejected(t, token)
	require.NoError(t, r.verifier.SetJWKS(r.issuer.JWKS()))
	require.Contains(t, log.String(), `level=INFO msg="auth: signing_keys.replaced"`)
	require.Contains(t, log.String(), `event.by_host=auth.SetJWKS`)
	r.requireGood(t, token)
	r.requireGood(t, old)

	log.Reset()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(r.issuer.JWKS(), &set))
	set.Keys[1]["use"] = "enc"
	text, err := json.Marshal(set)
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, r.verifier.SetJWKS(text))
	}
	require.Equal(t, 1, strings.Count(log.String(), "are not used"), "the same set again changes nothing")
	require.Equal(t, 1, strings.Count(log.String(), `msg="auth: signing_keys.replaced"`))
	require.Contains(t, log.String(), `level=WARN msg="auth: the JWK set has keys that are not used" `+
		`keys="key 2, kid \"`+r.Key.ID()+`\": use is not \"sig\""`)
	r.requireGood(t, token)
	r.requireRejected(t, old) // although the cache has the token
}

// The host reads the file while another program writes it, or while it has the wrong content. The
// keys must stay as they were.
func TestAnInvalidKeySetLeavesTheKeysAsTheyWere(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	r.verifier = r.fixed(t)
	good := r.issuer.JWKS()
	for name, text := range map[string][]byte{
		"nothing":    nil,
		"half of it": good[:len(good)/2],
		"no keys":    []byte(`{"keys":[]}`),
		"a secret":   []byte(`{"keys":[{"kty":"oct","kid":"a","k":"AQ"}]}`),
		"no key set": []byte(`{}`),
	} {
		require.ErrorContains(t, r.verifier.SetJWKS(text), "auth: SetJWKS: ", name)
		r.requireGood(t, r.token.Bearer.Reveal())
	}
	fetching := r.verifierWith(t, func(*auth.RemoteVerifierConfig) {})
	require.EqualError(t, fetching.SetJWKS(good),
		"auth: SetJWKS needs a RemoteVerifier with RemoteVerifierConfig.JWKS, not JWKSURL")
}

// The host reads the file into the same buffer each time. If the verifier kept the buffer, every new
// set would look as if it were the present one.
func TestSetJWKSDoesNotKeepTheBufferOfTheHost(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	buffer := make([]byte, 4096)
	read := func(jwks []byte) []byte {
		n := copy(buffer, jwks)
		copy(buffer[n:], bytes.Repeat([]byte(" "), len(buffer)-n))
		return buffer
	}
	r.verifier = r.fixed(t, func(cfg *auth.RemoteVerifierConfig) { cfg.JWKS = read(r.issuer.JWKS()) })
	r.requireGood(t, r.token.Bearer.Reveal())
	other := newTokens(t, authtest.NewSigners(t)["ES256"], auth.TokenConfig{})
	require.NoError(t, r.verifier.SetJWKS(read(other.issuer.JWKS())))
	r.requireRejected(t, r.token.Bearer.Reveal())
}

func TestSetJWKSIsSafeDuringRequests(t *testing.T) {
	t.Parallel()
	r := newRemote(t, "EdDSA")
	r.verifier = r.fixed(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				if err := r.verifier.SetJWKS(r.issuer.JWKS()); err != nil {
					t.Error(err)
				}
				if _, err := r.verifier.Verify(t.Context(), r.token.Bearer.Reveal()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
