package wiretest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

func issue(t testing.TB, issuer *auth.TokenIssuer) string {
	t.Helper()
	token, err := issuer.Issue(t.Context(), auth.IssueParams{UserID: "u1", Method: auth.MethodHost})
	require.NoError(t, err)
	return token.Bearer.Reveal()
}

func TestReplacingSigningKeysRejectsNoValidToken(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	old, next := signers["HS256"].Key, signers["ES256"].Key
	f := newTokens(t, signers["HS256"], auth.TokenConfig{})
	first := f.token.Bearer.Reveal()

	require.NoError(t, f.issuer.SetKeys([]auth.SigningKey{old, next}))
	f.requireAccepted(t, first)
	second := issue(t, f.issuer)
	require.Equal(t, strings.Split(first, ".")[0], strings.Split(second, ".")[0], "the old key still signs")

	require.NoError(t, f.issuer.SetKeys([]auth.SigningKey{next, old.RetiredAt(f.clock.Now())}))
	third := issue(t, f.issuer)
	require.NotEqual(t, strings.Split(first, ".")[0], strings.Split(third, ".")[0])
	for _, token := range []string{first, second, third} {
		f.requireAccepted(t, token)
	}

	require.NoError(t, f.issuer.SetKeys([]auth.SigningKey{next}))
	f.requireAccepted(t, third)
	for _, token := range []string{first, second} {
		_, err := f.issuer.Verify(t.Context(), token)
		require.ErrorIs(t, err, auth.ErrTokenRejected, "a token of a removed key")
	}
}

func TestATokenIssuedAfterItsKeyWasRetiredIsRejected(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	// The forged tokens need a key of another algorithm than ES256, because this package rejects
	// half of the ECDSA signatures that golang-jwt makes.
	next := signers["ES256"].Key
	for _, name := range []string{"HS256", "EdDSA"} {
		s := signers[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTokens(t, s, auth.TokenConfig{})
			retired := f.clock.Now()
			f.clock.Advance(time.Minute)
			require.NoError(t, f.issuer.SetKeys([]auth.SigningKey{next, s.Key.RetiredAt(retired)}))
			f.requireAccepted(t, f.token.Bearer.Reveal())
			for issued, accepted := range map[int64]bool{
				retired.Unix() - 1: true, retired.Unix(): true, retired.Unix() + 1: false,
				f.clock.Now().Unix(): false,
			} {
				forged := f.Forge(t, f.header(nil), f.claims(t, map[string]any{
					"iat": issued, "exp": issued + 3600,
				}))
				_, err := f.issuer.Verify(t.Context(), forged)
				if accepted {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, auth.ErrTokenRejected)
				}
			}
		})
	}
}

func TestAnInvalidKeyRingLeavesTheKeysUnchanged(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	good := signers["HS256"].Key
	f := newTokens(t, signers["HS256"], auth.TokenConfig{})
	for name, keys := range map[string][]auth.SigningKey{
		"no keys":             nil,
		"a zero key last":     {good, {}},
		"a zero key":          {{}},
		"a duplicate ID":      {good, good},
		"a retired key first": {good.RetiredAt(f.clock.Now().Add(time.Hour)), signers["ES256"].Key},
		"a retired zero key":  {auth.SigningKey{}.RetiredAt(f.clock.Now())},
	} {
		require.Error(t, f.issuer.SetKeys(keys), name)
		f.requireAccepted(t, f.token.Bearer.Reveal())
		_, err := auth.NewTokenIssuer(f.store, issuer, keys, auth.TokenConfig{})
		require.Error(t, err, name)
	}
}

func TestTheRingIsACopyOfTheCallersSlice(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	keys := []auth.SigningKey{signers["HS256"].Key}
	f := newTokens(t, signers["HS256"], auth.TokenConfig{}, keys...)
	keys[0] = signers["ES256"].Key
	f.requireAccepted(t, issue(t, f.issuer))
	require.JSONEq(t, `{"keys":[]}`, string(f.issuer.JWKS()))
}

// Here, golang-jwt takes the place of another service that has only the key set (JWKS).
func TestOtherLibrariesVerifyTokensWithTheJWKS(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	f := newFixture(t, func(f *fixture, cfg *auth.Config) {
		cfg.SigningKeys = []auth.SigningKey{
			signers["ES256"].Key, signers["EdDSA"].Key.RetiredAt(f.clock.Now()), signers["HS256"].Key,
		}
	})
	r := f.send(http.MethodGet, "/.well-known/jwks.json", "")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Equal(t, "public, max-age=300", r.header.Get("Cache-Control"))
	require.Equal(t, string(f.svc.Tokens().JWKS())+"\n", r.body)

	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(r.body), &set))
	require.Len(t, set.Keys, 2, "HS256 keys are never published")
	for i, name := range []string{"ES256", "EdDSA"} {
		key := map[string]string{}
		for member, value := range set.Keys[i] {
			key[member] = fmt.Sprint(value)
		}
		require.Equal(t, name, key["alg"])
		require.Equal(t, "sig", key["use"])
		require.Equal(t, signers[name].Key.ID(), key["kid"])
		require.NotContains(t, key, "d")
		require.NotContains(t, key, "k")

		token := newTokens(t, signers[name], auth.TokenConfig{}).token.Bearer.Reveal()
		_, err := jwt.Parse(token, func(token *jwt.Token) (any, error) {
			require.Equal(t, key["kid"], token.Header["kid"])
			return publicKey(t, key), nil
		}, jwt.WithValidMethods([]string{key["alg"]}), jwt.WithTimeFunc(f.clock.Now))
		require.NoError(t, err)
	}
}

// publicKey returns the public key in a JWK (RFC 7518, RFC 8037).
func publicKey(t *testing.T, key map[string]string) any {
	t.Helper()
	x, err := base64.RawURLEncoding.DecodeString(key["x"])
	require.NoError(t, err)
	if key["kty"] == "OKP" {
		require.Equal(t, "Ed25519", key["crv"])
		return ed25519.PublicKey(x)
	}
	require.Equal(t, "EC", key["kty"])
	require.Equal(t, "P-256", key["crv"])
	y, err := base64.RawURLEncoding.DecodeString(key["y"])
	require.NoError(t, err)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	require.NoError(t, err)
	return public
}

func TestTheJWKSAnswersAMatchingETagWith304(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) {
		cfg.SigningKeys = []auth.SigningKey{signers["ES256"].Key}
	})
	first := f.send(http.MethodGet, "/.well-known/jwks.json", "")
	etag := first.header.Get("ETag")
	require.NotEmpty(t, etag)
	again := f.send(http.MethodGet, "/.well-known/jwks.json", "", "If-None-Match", etag)
	require.Equal(t, http.StatusNotModified, again.status)
	require.Empty(t, again.body)

	require.NoError(t, f.svc.Tokens().SetKeys([]auth.SigningKey{signers["EdDSA"].Key}))
	changed := f.send(http.MethodGet, "/.well-known/jwks.json", "", "If-None-Match", etag)
	require.Equal(t, http.StatusOK, changed.status)
	require.NotEqual(t, first.body, changed.body)
	require.Equal(t, http.StatusMethodNotAllowed,
		f.send(http.MethodPost, "/.well-known/jwks.json", "").status)
}

func TestTheJWKSIgnoresRangeAndIfMatch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, header := range [][2]string{
		{"Range", "bytes=0-3"}, {"Range", "bytes=100000-"}, {"Range", "x"}, {"If-Match", `"x"`},
	} {
		r := f.send(http.MethodGet, "/.well-known/jwks.json", "", header[0], header[1])
		require.Equal(t, http.StatusOK, r.status, header)
		require.JSONEq(t, `{"keys": []}`, r.body)
	}
}

func TestReplacingKeysOnTwoInstancesUnderLoadRejectsNoToken(t *testing.T) {
	t.Parallel()
	old, next := authtest.NewSigners(t)["HS256"].Key, authtest.NewSigners(t)["ES256"].Key
	f := newTokens(t, authtest.Signer{Key: old}, auth.TokenConfig{})
	second, err := auth.NewTokenIssuer(f.store, issuer, []auth.SigningKey{old},
		auth.TokenConfig{Now: f.clock.Now})
	require.NoError(t, err)
	instances := []*auth.TokenIssuer{f.issuer, second}

	var stop atomic.Bool
	// Before the next step, the operator waits until requests in progress have ended. The test
	// simulates this wait with Lock.
	var step sync.RWMutex
	var users sync.WaitGroup
	for i := range 16 {
		id := fmt.Sprintf("user-%d", i)
		register(t, f.store, f.clock, id, id)
		users.Go(func() {
			var mine []string
			for n := 0; !stop.Load(); n++ {
				if len(mine) < 900 { // with more sessions, the oldest are revoked
					step.RLock()
					token, err := instances[(i+n)%2].Issue(t.Context(), auth.IssueParams{
						UserID: id, Method: auth.MethodHost,
					})
					step.RUnlock()
					if err != nil {
						t.Error(err)
						return
					}
					mine = append(mine, token.Bearer.Reveal())
				}
				for _, token := range mine[max(0, len(mine)-3):] {
					if _, err := instances[(i+n+1)%2].Verify(t.Context(), token); err != nil {
						t.Error("a valid token was rejected:", err)
					}
				}
			}
			for _, token := range mine { // these tokens were signed with either key
				if _, err := instances[i%2].Verify(t.Context(), token); err != nil {
					t.Error("a valid token was rejected:", err)
				}
			}
		})
	}
	for _, ring := range [][]auth.SigningKey{{old, next}, {next, old}} {
		for _, instance := range instances {
			require.NoError(t, instance.SetKeys(ring))
			issue(t, instance)
		}
	}
	step.Lock()
	f.clock.Advance(time.Second)
	step.Unlock()
	for _, instance := range instances {
		require.NoError(t, instance.SetKeys([]auth.SigningKey{next, old.RetiredAt(f.clock.Now())}))
		issue(t, instance)
	}
	stop.Store(true)
	users.Wait()
}

func TestReplacingKeysUnderLoadRejectsExactlyTheTokensOfRemovedKeys(t *testing.T) {
	t.Parallel()
	signers := authtest.NewSigners(t)
	a, b, leaked := signers["HS256"].Key, signers["ES256"].Key, signers["EdDSA"]
	f := newTokens(t, leaked, auth.TokenConfig{})
	stolen := f.token.Bearer.Reveal()
	require.NoError(t, f.issuer.SetKeys([]auth.SigningKey{a, b, leaked.Key}))
	valid := issue(t, f.issuer)

	var removed atomic.Bool
	var stop atomic.Bool
	var users sync.WaitGroup
	for range 16 {
		users.Go(func() {
			for !stop.Load() {
				gone := removed.Load() // must be read before Verify is called
				_, err := f.issuer.Verify(t.Context(), stolen)
				if gone && err == nil {
					t.Error("a token of a removed key was accepted")
				}
				if _, err := f.issuer.Verify(t.Context(), valid); err != nil {
					t.Error("a valid token was rejected:", err)
				}
			}
		})
	}
	for i := range 200 {
		ring := []auth.SigningKey{a, b}
		if i%2 == 1 {
			ring = []auth.SigningKey{b, a}
		}
		if i < 100 {
			ring = append(ring, leaked.Key)
		}
		require.NoError(t, f.issuer.SetKeys(ring))
		if i == 100 {
			removed.Store(true)
		}
		f.requireAccepted(t, issue(t, f.issuer))
	}
	stop.Store(true)
	users.Wait()
}

// A restart reads the keys of the file again. The retirement of a key must not move with the restart.
func TestTheRetirementOfAKeyInAFileDoesNotMove(t *testing.T) {
	t.Parallel()
	f := newTokens(t, authtest.NewSigners(t)["EdDSA"], auth.TokenConfig{})
	secret := func() string { return authtest.Segment(string(authtest.Random(32))) }
	oldSecret, newSecret := secret(), secret()
	start := func(file string) *auth.TokenIssuer {
		path := filepath.Join(t.TempDir(), "signing.jwks")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		text, err := auth.ReadKeyFile(path, nil)
		require.NoError(t, err)
		keys, err := auth.ParseSigningKeys(text)
		require.NoError(t, err)
		issuer, err := auth.NewTokenIssuer(f.store, issuer, keys, auth.TokenConfig{Now: f.clock.Now})
		require.NoError(t, err)
		return issuer
	}
	old := start(`{"kty":"oct","kid":"old","k":"` + oldSecret + `"}`)
	before := issue(t, old)
	retired := f.clock.Now().Unix()
	f.clock.Advance(time.Hour)
	forged := issue(t, old) // by an attacker who has obtained the old key
	ring := fmt.Sprintf(`{"keys":[{"kty":"oct","kid":"new","k":"%s"},
		{"kty":"oct","kid":"old","k":"%s","sallyport_retired_at":%d}]}`, newSecret, oldSecret, retired)
	for range 3 {
		f.clock.Advance(time.Minute)
		restarted := start(ring)
		_, err := restarted.Verify(t.Context(), before)
		require.NoError(t, err)
		_, err = restarted.Verify(t.Context(), forged)
		require.ErrorIs(t, err, auth.ErrTokenRejected)
		require.ErrorContains(t, err, "issued after its key was retired")
	}
}

func TestReplacingSigningKeysEmitsAnEventThatNamesThem(t *testing.T) {
	t.Parallel()
	var got authtest.EventRecord
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.OnEvent = got.Add })
	signers := authtest.NewSigners(t)
	old, next := signers["ES256"].Key, signers["EdDSA"].Key
	got.Deliver(t, f.svc)
	retired := old.RetiredAt(time.Unix(1764417600, 0))
	require.NoError(t, f.svc.Tokens().SetKeys([]auth.SigningKey{next, retired}))
	events := got.Deliver(t, f.svc)
	require.Len(t, events, 1)
	require.Equal(t, auth.Event{
		Kind: eventkind.SigningKeysReplaced, At: f.clock.Now().UTC(), Host: "auth.SetKeys",
		Reason: fmt.Sprintf("%q signs; %q verifies tokens issued until 2025-11-29T12:00:00Z",
			next.ID(), old.ID()),
	}, events[0])
	require.Error(t, f.svc.Tokens().SetKeys(nil))
	require.Empty(t, got.Deliver(t, f.svc), "nothing has changed")
	retired = old.RetiredAt(time.Unix(1764417600, 0))
	require.NoError(t, f.svc.Tokens().SetKeys([]auth.SigningKey{next, retired}))
	require.Empty(t, got.Deliver(t, f.svc), "the same keys again")
	stored, err := f.svc.Events(t.Context(), auth.EventFilter{Kind: eventkind.SigningKeysReplaced}, 10)
	require.NoError(t, err)
	require.Empty(t, stored, "the keys of an instance are not in the store")
}

// TestTheCommandsForKeysMakeARingAsPrinted runs the commands of docs/replace-keys.md that are marked
// with "run: replace-keys", and puts their secrets into the ring that the page shows.
func TestTheCommandsForKeysMakeARingAsPrinted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		testenv.Skip(t, "openssl is not installed")
	}
	page, err := os.ReadFile("../../docs/replace-keys.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)<!-- run: replace-keys -->\n```[a-z]+\n(.*?)```").
		FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 3)
	var made []string
	for i, algorithm := range []string{"HS256", "EdDSA"} {
		shell := exec.CommandContext(t.Context(), "sh", "-ec", blocks[i][1])
		shell.Dir = t.TempDir()
		out, err := shell.Output()
		require.NoError(t, err, blocks[i][1])
		left, err := os.ReadDir(shell.Dir)
		require.NoError(t, err)
		require.Empty(t, left, "a file with a key")
		keys, err := auth.ParseSigningKeys(out)
		require.NoError(t, err, algorithm)
		require.Len(t, keys, 1, algorithm)
		made = append(made, string(out))
	}
	require.Regexp(t, `"kid":"\d{4}-\d\d-\d\dT\d{6}"`, made[0], "two keys of one month need two IDs")
	secret := regexp.MustCompile(`"k":"([^"]+)"`).FindStringSubmatch(made[0])[1]
	ring, err := auth.ParseSigningKeys([]byte(strings.ReplaceAll(blocks[2][1], "…", secret)))
	require.NoError(t, err)
	require.Len(t, ring, 2)
	_, err = auth.NewTokenIssuer(memstore.New(), issuer, ring, auth.TokenConfig{})
	require.NoError(t, err)
}
