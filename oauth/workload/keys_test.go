package workload_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/oauth/workload"
	"github.com/sallyport-go/auth/oauth/workload/workloadtest"
)

func TestAnIssuerThatFailsMakesAssertionsUnavailable(t *testing.T) {
	t.Parallel()
	for fault, reason := range map[workloadtest.Fault]string{
		workloadtest.Down:        "status 503",
		workloadtest.Gone:        "status 404",
		workloadtest.Forbidden:   "status 403",
		workloadtest.Huge:        "more than 262144 bytes",
		workloadtest.Redirect:    "status 302",
		workloadtest.Garbage:     "failed to decode",
		workloadtest.OtherIssuer: "issuer",
	} {
		f := newFixture(t)
		f.issuer.SetFault(fault)
		f.requireUnavailable(reason, f.sign())
		require.Equal(t, 1, f.issuer.Requests(), "the redirect is not followed")
		f.requireError(503, "temporarily_unavailable", f.post(f.sign()))

		f.issuer.SetFault(workloadtest.Healthy)
		f.clock.Advance(10 * time.Second)
		_, err := f.verify(f.sign())
		require.NoError(t, err)
	}
}

func TestAnIssuerThatHangsHoldsARequestForSecondsOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.issuer.SetFault(workloadtest.Hang)
	began := time.Now()
	f.requireUnavailable("", f.sign())
	require.Less(t, time.Since(began), 9*time.Second)
}

func TestAnIssuerThatHangsDelaysNoOther(t *testing.T) {
	t.Parallel()
	var slow *workloadtest.Issuer
	f := newFixture(t, func(f *fixture, cfg *workload.Config) {
		slow = f.startIssuer()
		second := f.workload
		second.Issuer = slow.URL()
		cfg.Workloads = []workload.Workload{f.workload, second}
		cfg.Issuers = append(cfg.Issuers, slow.Settings())
	})
	slow.SetFault(workloadtest.Hang)
	ctx, giveUp := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		_, err := f.verifier.VerifyAssertion(ctx, slow.Sign(f.claims()))
		require.ErrorContains(t, err, "have not been read yet")
	})
	require.Eventually(t, func() bool { return slow.Requests() == 1 }, 5*time.Second, time.Millisecond)
	_, err := f.verify(f.sign())
	require.NoError(t, err)
	giveUp()
	waiting.Wait()
}

// The attack: a client begins the read of the keys, and gives up at once, so that the others get none.
func TestACallerThatGivesUpDoesNotEndTheRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gone, giveUp := context.WithCancel(t.Context())
	giveUp()
	_, _ = f.verifier.VerifyAssertion(gone, f.sign()) // can succeed if the read is very fast
	_, err := f.verify(f.sign())
	require.NoError(t, err)
	require.Equal(t, 2, f.issuer.Requests(), "the document and the keys, once")
}

// The issuer has begun to sign with a new key, and answers slowly. An answer that rejects the assertion would
// make the job give up.
func TestAnAssertionIsNotRejectedWhileTheKeysAreRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.verify(f.sign())
	require.NoError(t, err)
	f.issuer.UseKey("EdDSA")
	f.issuer.SetFault(workloadtest.Hang)
	f.clock.Advance(10 * time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = f.verifier.VerifyAssertion(ctx, f.sign())
	require.ErrorContains(t, err, "have not been read yet")
	require.NotErrorIs(t, err, auth.ErrAssertionRejected)
}

func TestAnEmptyKeySetRejectsEveryAssertion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.verify(f.sign())
	require.NoError(t, err)
	f.issuer.SetFault(workloadtest.NoKeys)
	f.clock.Advance(15 * time.Minute)
	f.requireRejected("no such key", f.sign())
}

func TestKnownKeysAreUsedForHoursWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.verify(f.sign())
	require.NoError(t, err)
	f.issuer.SetFault(workloadtest.Down)
	const fresh, good = 15 * time.Minute, 6 * time.Hour
	for _, passed := range []time.Duration{fresh - 1, 1, time.Hour, good - fresh - time.Hour - 1} {
		f.clock.Advance(passed)
		_, err = f.verify(f.sign())
		require.NoError(t, err)
	}
	newKey := map[string]any{"kid": "new"}
	f.requireUnavailable("status 503", f.issuer.SignText(newKey, payloadOf(t, f.sign())))
	f.clock.Advance(1)
	f.requireUnavailable("status 503", f.sign())
}

func TestAKeyThatTheIssuerReplacedIsRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old := f.sign("exp", f.clock.Now().Unix()+3600)
	_, err := f.verify(old)
	require.NoError(t, err)
	f.issuer.UseKey("ES256")
	f.clock.Advance(10 * time.Second)
	_, err = f.verify(f.sign())
	require.NoError(t, err, "a new key is read at once")
	f.requireRejected("no such key", old)
}

// The attack: each assertion names another key, so that the service floods the issuer with requests.
func TestUnknownKeysAreLookedUpAtABoundedRate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.verify(f.sign())
	require.NoError(t, err)
	require.Equal(t, 2, f.issuer.Requests(), "the document and the keys")
	text := payloadOf(t, f.sign())
	flood := func() {
		var all sync.WaitGroup
		for n := range 100 {
			all.Go(func() {
				kid := map[string]any{"kid": fmt.Sprint(n)}
				f.requireRejected("no such key", f.issuer.SignText(kid, text))
			})
		}
		all.Wait()
	}
	flood()
	require.Equal(t, 2, f.issuer.Requests(), "it is too early")
	f.clock.Advance(-time.Millisecond) // the request with the keys has read the clock later
	flood()
	require.Equal(t, 2, f.issuer.Requests(), "it is still too early")
	f.clock.Advance(10*time.Second + time.Millisecond)
	flood()
	require.Equal(t, 4, f.issuer.Requests())
	_, err = f.verify(f.sign())
	require.NoError(t, err)
	require.Equal(t, 4, f.issuer.Requests())
	for range 100 { // a wrong signature under a known key is no reason to ask
		assertion := f.sign()
		f.requireRejected("signature", assertion[:len(assertion)-8]+"AAAAAAAA")
	}
	require.Equal(t, 4, f.issuer.Requests())
}

func TestConcurrentRequestsShareOneRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			_, err := f.verify(f.sign())
			require.NoError(t, err)
		})
	}
	all.Wait()
	require.Equal(t, 2, f.issuer.Requests())
}

func TestAClockThatIsSetBackMakesKeysOld(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.verify(f.sign())
	require.NoError(t, err)
	f.clock.Advance(-500 * time.Millisecond) // another request has read the clock later
	_, err = f.verify(f.sign())
	require.NoError(t, err)
	require.Equal(t, 2, f.issuer.Requests())
	f.clock.Advance(-time.Hour)
	_, err = f.verify(f.sign())
	require.NoError(t, err)
	require.Equal(t, 4, f.issuer.Requests())
}

// The attack: the wall clock is set back, so that a key that was stolen hours ago seems to have been read
// lately.
func TestAClockThatIsSetBackMakesNoKeyYounger(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFixture(t, func(_ *fixture, cfg *workload.Config) { cfg.Now = func() time.Time { return now } })
	sign := func() string { return f.sign("iat", now.Unix(), "exp", now.Unix()+300) }
	_, err := f.verify(sign())
	require.NoError(t, err)
	f.issuer.SetFault(workloadtest.Down)
	now = authtest.Suspended(now.Add(6*time.Hour), -5*3600) // an hour later by the wall clock
	f.requireUnavailable("status 503", sign())
}

// payloadOf returns the payload of an assertion.
func payloadOf(t *testing.T, assertion string) string {
	t.Helper()
	text, err := decode(strings.Split(assertion, ".")[1])
	require.NoError(t, err)
	return string(text)
}

func TestOnlyKeysThatCanSignAssertionsAreUsed(t *testing.T) {
	t.Parallel()
	const x = `"kid":"1","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	rsaKey := `"kid":"1","kty":"RSA","n":"` + strings.Repeat("_", 340) + `_w"`
	const p256 = `"kid":"1","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
		`"y":"x0Q7oG9p2TnmvhHk6jN7Uow_q0PwZ7iRjOm2gXrDUfE"`
	for text, want := range map[string]int{
		`{` + x + `}`:                                                                 1,
		`{` + x + `,"alg":"EdDSA","use":"sig"}`:                                       1,
		`{` + x + `,"alg":"Ed25519"}`:                                                 1,
		`{` + x + `},{` + x + `}`:                                                     2,
		`{` + x + `,"use":"enc"}`:                                                     0,
		`{` + x + `,"alg":"HS256"}`:                                                   0,
		`{` + strings.Replace(x, `"kid":"1",`, "", 1) + `}`:                           0,
		`{` + strings.Replace(x, "11qY", "", 1) + `}`:                                 0,
		`{` + strings.Replace(p256, "x0Q7", "x0Q8", 1) + `}`:                          0, // not on the curve
		`{"kid":"1","kty":"oct","k":"c2VjcmV0"}`:                                      0,
		`{` + rsaKey + `,"e":"AQAB"}`:                                                 1,
		`{` + rsaKey + `,"e":"AQAAAAAAAQAB"}`:                                         0, // more than 64 bits
		`{"kid":"1","kty":"RSA","n":"` + strings.Repeat("AQ", 80) + `","e":"AQAB"}`:   0, // short
		`{"kid":"1","kty":"RSA","n":"` + strings.Repeat("_w", 1500) + `","e":"AQAB"}`: 0, // long
		`null`: 0,
		`"x"`:  0,
		`{}`:   0,
		``:     0,
	} {
		n, err := workload.ParseKeys(`{"keys":[` + text + `]}`)
		require.NoError(t, err, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{`{}`, `[]`, `{"keys":null}`, `{"keys":1}`, ``, `null`,
		`{"keys":[` + strings.Repeat("{},", 64) + `{}]}`} {
		_, err := workload.ParseKeys(text)
		require.Error(t, err, text)
	}
}

func TestOnlyTheCurveOfES256IsAccepted(t *testing.T) {
	t.Parallel()
	for curve, want := range map[elliptic.Curve]int{
		elliptic.P256(): 1, elliptic.P224(): 0, elliptic.P384(): 0, elliptic.P521(): 0,
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		point, err := key.PublicKey.Bytes() // a byte, and both coordinates
		require.NoError(t, err)
		x, y := point[1:len(point)/2+1], point[len(point)/2+1:]
		text, err := json.Marshal(map[string]any{"keys": []any{map[string]string{"kid": "1", "kty": "EC",
			"crv": curve.Params().Name, "x": base64.RawURLEncoding.EncodeToString(x),
			"y": base64.RawURLEncoding.EncodeToString(y)}}})
		require.NoError(t, err)
		n, err := workload.ParseKeys(string(text))
		require.NoError(t, err)
		require.Equal(t, want, n, curve.Params().Name)
	}
}

func TestTheTokenOfTheHostGoesToTheKeysOnly(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("first\n"), 0o600))
	var paths, tokens []string
	var behind *workloadtest.Issuer
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths, tokens = append(paths, r.URL.Path), append(tokens, r.Header.Get("Authorization"))
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{publishedKey(t, behind)}})
	}))
	defer server.Close()
	f := newFixture(t, func(f *fixture, cfg *workload.Config) {
		behind = f.issuer
		f.workload.Issuer = "https://kubernetes.default.svc.cluster.local"
		cfg.Issuers = []workload.Issuer{{URL: f.workload.Issuer, KeysURL: server.URL + "/openid/v1/jwks",
			TokenFile: file, Networks: f.issuer.Settings().Networks}}
	})
	_, err := f.verify(f.sign("iss", f.workload.Issuer))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte("second"), 0o600))
	f.clock.Advance(15 * time.Minute)
	_, err = f.verify(f.sign("iss", f.workload.Issuer))
	require.NoError(t, err)
	require.Equal(t, []string{"/openid/v1/jwks", "/openid/v1/jwks"}, paths)
	require.Equal(t, []string{"Bearer first", "Bearer second"}, tokens)

	// A token that the server no longer accepts, or that is not there, is a failure of the host. The keys
	// that are known stay good.
	for _, token := range []string{"expired", "forbidden", "\n"} {
		require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
		status = map[string]int{"expired": 401, "forbidden": 403}[token]
		f.clock.Advance(15 * time.Minute)
		_, err = f.verify(f.sign("iss", f.workload.Issuer))
		require.NoError(t, err, token)
	}
	require.Equal(t, []string{"Bearer expired", "Bearer forbidden"}, tokens[2:])
	status = http.StatusNotFound
	require.NoError(t, os.WriteFile(file, []byte("third"), 0o600))
	for range 2 {
		f.clock.Advance(15 * time.Minute)
		_, err = f.verify(f.sign("iss", f.workload.Issuer))
		require.NoError(t, err, "the answers to the other tokens were no refusals of keys")
	}
	f.clock.Advance(15 * time.Minute)
	f.requireUnavailable("404", f.sign("iss", f.workload.Issuer))

	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Mkdir(file, 0o700))
	f.clock.Advance(15 * time.Minute)
	f.requireUnavailable("it is not a regular file", f.sign("iss", f.workload.Issuer))
}

func TestAnOutageOfAnIssuerHasTwoLines(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := newFixture(t, func(_ *fixture, cfg *workload.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	f.issuer.SetFault(workloadtest.Garbage)
	for range 30 {
		f.requireUnavailable("", f.sign())
		f.clock.Advance(10 * time.Second)
	}
	f.issuer.SetFault(workloadtest.Healthy)
	for range 3 {
		_, err := f.verify(f.sign())
		require.NoError(t, err)
		f.clock.Advance(15 * time.Minute)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "the keys of an issuer cannot be read")
	require.Contains(t, lines[0], f.issuer.URL())
	require.Less(t, len(lines[0]), 500)
	require.Contains(t, lines[1], "can be read again")
}

func TestAnIssuerWithHugeHeadersIsUnavailable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Padding", strings.Repeat("x", 64<<10))
	}))
	defer server.Close()
	f := newFixture(t, func(f *fixture, cfg *workload.Config) {
		f.workload.Issuer = server.URL
		cfg.Issuers = []workload.Issuer{{URL: server.URL, Networks: f.issuer.Settings().Networks}}
	})
	f.requireUnavailable("response headers exceeded", f.sign("iss", server.URL))
}
