package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

const issuer = "https://api.example.com"

// clock is a clock that moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// record is what a function of the host's has been given, in order.
type record[T any] struct {
	mu   sync.Mutex
	kept []T
}

func (r *record[T]) add(item T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, item)
}

// take returns what has come since it was called last.
func (r *record[T]) take() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.kept
	r.kept = nil
	return kept
}

// signer is a signing key of ours together with what forges with it: golang-jwt,
// which signs anything.
type signer struct {
	key    auth.SigningKey
	method jwt.SigningMethod
	secret any
}

func newSigners(t testing.TB) map[string]signer {
	t.Helper()
	secret := random(32)
	hs, err := auth.NewHS256Key("hs", secret)
	require.NoError(t, err)
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	es, err := auth.NewES256Key("es", ecdsaKey)
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ed, err := auth.NewEdDSAKey("ed", edKey)
	require.NoError(t, err)
	return map[string]signer{
		"HS256": {hs, jwt.SigningMethodHS256, secret},
		"ES256": {es, jwt.SigningMethodES256, ecdsaKey},
		"EdDSA": {ed, jwt.SigningMethodEdDSA, edKey},
	}
}

// forge signs any header and claims, given as JSON text.
func (s signer) forge(t testing.TB, header, claims string) string {
	t.Helper()
	text := segment(header) + "." + segment(claims)
	signature, err := s.method.Sign(text, s.secret)
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func segment(text string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

func rawStd(b []byte) string {
	return base64.RawStdEncoding.EncodeToString(b)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func symmetricKey(t testing.TB, id string) auth.SymmetricKey {
	t.Helper()
	key, err := auth.NewSymmetricKey(id, random(32))
	require.NoError(t, err)
	return key
}

// fixture is a service on a store in memory, with two users.
type fixture struct {
	t      testing.TB
	clock  *clock
	store  auth.Store
	signer signer
	svc    *auth.Service
	log    *bytes.Buffer

	admin     auth.User
	adminPair auth.KeyPair
	user      auth.User
	userPair  auth.KeyPair

	hostsErrors bool // whether Config.WriteError is set
}

// newFixture makes one; the functions may change its parts first. With
// Config.Users it makes nobody.
func newFixture(t testing.TB, change ...func(*fixture, *auth.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: newClock(), store: memstore.New(), signer: newSigners(t)["HS256"], log: new(bytes.Buffer)}
	cfg := auth.Config{
		Issuer: issuer,
		Now:    f.clock.Now,
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(f, &cfg)
	}
	if cfg.SigningKeys == nil {
		cfg.SigningKeys = []auth.SigningKey{f.signer.key}
	}
	f.hostsErrors = cfg.WriteError != nil
	var err error
	f.svc, err = auth.New(f.store, cfg)
	require.NoError(t, err)
	if cfg.Users != nil {
		return f
	}

	f.adminPair = f.svc.Credentials().GeneratePair()
	f.admin, err = f.svc.Bootstrap(t.Context(), auth.UserParams{Username: "root", Email: "root@example.com"}, f.adminPair)
	require.NoError(t, err)
	made, err := f.svc.Register(t.Context(), auth.UserParams{Username: "alice", Email: "alice@example.com"})
	require.NoError(t, err)
	f.user, f.userPair = made.User, made.Pair
	return f
}

func (f *fixture) signIn(user auth.User) string {
	f.t.Helper()
	token, err := f.svc.SignIn(f.t.Context(), user.ID)
	require.NoError(f.t, err)
	return token.Bearer.Reveal()
}

func (f *fixture) setActive(user auth.User, active bool) {
	f.t.Helper()
	_, err := f.svc.UpdateUser(f.t.Context(), user.ID, auth.UserChange{IsActive: &active})
	require.NoError(f.t, err)
}

// response is what a client sees of an answer.
type response struct {
	status int
	header http.Header
	body   string
}

func (r response) json(t testing.TB) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &object), r.body)
	return object
}

// send makes a request of the handler, over no network. A body means that it is
// JSON; header are names and values in turn.
func send(h http.Handler, method, target, body string, header ...string) response {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return serve(h, r)
}

// serve makes a request of the handler, and holds what it answers to openapi.json.
func serve(h http.Handler, r *http.Request) response {
	asked, sent := r.Clone(r.Context()), new(bytes.Buffer)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = io.NopCloser(io.TeeReader(r.Body, sent))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	result := w.Result()
	answer := response{result.StatusCode, result.Header, w.Body.String()}
	if _, ok := h.(ofTheHost); !ok {
		wire.answers(askedAt(), asked, sent.Bytes(), answer)
	}
	return answer
}

func (f *fixture) send(method, target, body string, header ...string) response {
	h := f.svc.Handler()
	if f.hostsErrors {
		h = ofTheHost{h}
	}
	return send(h, method, target, body, header...)
}

// sendAs is send with the token as bearer.
func (f *fixture) sendAs(token, method, target, body string) response {
	return f.send(method, target, body, "Authorization", "Bearer "+token)
}

func loginBody(pair auth.KeyPair) string {
	body, err := json.Marshal(map[string]string{
		"access_key": pair.AccessKey, "access_secret": pair.AccessSecret.Reveal(),
	})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func (f *fixture) login(pair auth.KeyPair) response {
	return f.send(http.MethodPost, "/auth/users/login", loginBody(pair))
}
