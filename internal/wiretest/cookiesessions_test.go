package wiretest

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/githubtest"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/internal/seal"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// cookieHost is a service, and the session cookie of a browser in which octocat is signed in.
type cookieHost struct {
	cfg    auth.Config
	store  *memstore.Store
	svc    *auth.Service
	sealer *seal.Sealer // for an attacker who knows the sealing key
	cookie *http.Cookie
	origin *url.URL
}

func newCookieHost(t *testing.T) *cookieHost {
	t.Helper()
	fake, err := githubtest.Start("", githubtest.Config{AutoApprove: "octocat"})
	require.NoError(t, err)
	t.Cleanup(func() { fake.Close() })
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	id, secret := fake.Client()
	sealingSecret := authtest.Random(32)
	sealing, err := auth.NewSymmetricKey("s1", sealingSecret)
	require.NoError(t, err)
	h := &cookieHost{store: memstore.New(), cfg: auth.Config{
		Issuer:          authtest.Issuer,
		SigningKeys:     []auth.SigningKey{authtest.NewSigners(t)["ES256"].Key},
		SealingKeys:     []auth.SymmetricKey{sealing},
		BrowserSessions: &auth.BrowserSessions{},
		GitHub: &auth.GitHubConfig{
			ClientID: id, ClientSecret: auth.NewSecret(secret), CallbackURL: server.URL + "/api/v1/auth/github/callback",
			BaseURL: fake.URL(), APIURL: fake.URL() + "/api/v3", Host: "githubtest.invalid",
			SuperUsers: []int64{583231},
		},
	}}
	h.svc, err = auth.New(h.store, h.cfg)
	require.NoError(t, err)
	derived, err := hkdf.Key(sha256.New, sealingSecret, nil, "sallyport seal browser session cookie", 32)
	require.NoError(t, err)
	h.sealer, err = seal.New([]seal.Key{{ID: "s1", Bytes: derived}}, "browser session cookie")
	require.NoError(t, err)
	server.Config.Handler = h.svc.Handler()

	browser := server.Client()
	browser.Jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	response, err := browser.Get(server.URL + "/api/v1/auth/github/start")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	h.origin, err = url.Parse(server.URL)
	require.NoError(t, err)
	for _, cookie := range browser.Jar.Cookies(h.origin) {
		if cookie.Name == "__Host-auth_session" {
			h.cookie = cookie
		}
	}
	require.NotNil(t, h.cookie)
	return h
}

// status returns the status of a request with the session cookie at the service.
func (h *cookieHost) status(svc *auth.Service, value string) int {
	r := httptest.NewRequest(http.MethodGet, "/auth/user", nil)
	r.AddCookie(&http.Cookie{Name: "__Host-auth_session", Value: value})
	w := httptest.NewRecorder()
	svc.Handler().ServeHTTP(w, r)
	return w.Code
}

// token returns the token that is sealed in the cookie.
func (h *cookieHost) token(t *testing.T) string {
	t.Helper()
	sealed, err := base64.RawURLEncoding.DecodeString(h.cookie.Value)
	require.NoError(t, err)
	text, _, err := h.sealer.Open(sealed, h.cfg.Issuer, h.origin.String())
	require.NoError(t, err)
	return string(text)
}

// seal returns a cookie with a text that the attacker chooses, sealed for this service.
func (h *cookieHost) seal(text string) string {
	return base64.RawURLEncoding.EncodeToString(h.sealer.Seal([]byte(text), h.cfg.Issuer, h.origin.String()))
}

func TestACookieEndsWithTheSigningKeysAndWithTheIssuer(t *testing.T) {
	t.Parallel()
	h := newCookieHost(t)
	require.Equal(t, http.StatusOK, h.status(h.svc, h.cookie.Value))
	require.Equal(t, http.StatusOK, h.status(h.svc, h.seal(h.token(t))),
		"the control: this is how it is sealed")

	for name, change := range map[string]func(*auth.Config){
		"another issuer":      func(c *auth.Config) { c.Issuer = "https://other.example.com" },
		"a shorter life":      func(c *auth.Config) { c.Tokens.Lifetime, c.Tokens.MaxLifetime = time.Hour, time.Hour },
		"other keys":          func(c *auth.Config) { c.SigningKeys = []auth.SigningKey{authtest.NewSigners(t)["ES256"].Key} },
		"another sealing key": func(c *auth.Config) { c.SealingKeys = []auth.SymmetricKey{authtest.SymmetricKey(t, "s1")} },
		"a service at another origin": func(c *auth.Config) {
			github := *c.GitHub
			github.CallbackURL = "https://www.example.com/api/v1/auth/github/callback"
			c.GitHub = &github
		},
	} {
		cfg := h.cfg
		change(&cfg)
		other, err := auth.New(h.store, cfg)
		require.NoError(t, err, name)
		require.Equal(t, http.StatusUnauthorized, h.status(other, h.cookie.Value), name)
	}
	require.NoError(t, h.svc.Tokens().SetKeys([]auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}))
	require.Equal(t, http.StatusUnauthorized, h.status(h.svc, h.cookie.Value), "replaced at run time")
}

// A sealing key may leak, for example from a backup. The key alone must not be enough to open a
// session.
func TestASealingKeyAloneOpensNoSession(t *testing.T) {
	t.Parallel()
	h := newCookieHost(t)
	token := h.token(t)
	bearer, err := h.svc.SignIn(t.Context(), h.user(t), auth.LoginOptions{})
	require.NoError(t, err)
	mallory := authtest.NewSigners(t)["ES256"] // another key with the same key ID
	parts := strings.Split(token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	require.NoError(t, err)
	old, err := json.Marshal(map[string]any{"u": h.user(t),
		"n": "octocat", "s": "s", "i": time.Now().Unix(), "e": time.Now().Unix() + 1000, "g": 0})
	require.NoError(t, err)
	for name, text := range map[string]string{
		"an identity":       string(old),
		"a forged token":    mallory.Forge(t, string(header), string(claims)),
		"an unsigned token": parts[0] + "." + parts[1] + ".",
		"a bearer token":    bearer.Bearer.Reveal(),
		"nothing":           "",
	} {
		require.Equal(t, http.StatusUnauthorized, h.status(h.svc, h.seal(text)), name)
	}
	r := httptest.NewRequest(http.MethodGet, "/auth/user", nil)
	for _, sent := range []string{token, h.cookie.Value} {
		require.Equal(t, http.StatusOK, h.status(h.svc, h.cookie.Value), "and it is in the cache of cookies")
		r.Header.Set("Authorization", "Bearer "+sent)
		w := httptest.NewRecorder()
		h.svc.Handler().ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code, "a cookie's token is no bearer token")
	}
}

// A cookie is for the issuer, even if the key that signs cookies signs tokens for other services, too.
func TestACookieForAnotherServiceOpensNoSession(t *testing.T) {
	t.Parallel()
	h := newCookieHost(t)
	signer := authtest.NewSigners(t)["EdDSA"]
	cfg := h.cfg
	cfg.SigningKeys = []auth.SigningKey{signer.Key}
	cfg.Tokens.Audiences, cfg.Tokens.Scopes = []string{audience}, []string{reading}
	svc, err := auth.New(h.store, cfg)
	require.NoError(t, err)
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(h.token(t), ".")[1])
	require.NoError(t, err)
	header := encode(map[string]any{"alg": "EdDSA", "kid": signer.Key.ID(), "typ": "session+jwt"}, nil)
	act := map[string]any{"sub": "agent"}
	for name, c := range map[string]struct {
		changes map[string]any
		status  int
	}{
		"the control":         {nil, http.StatusOK},
		"another audience":    {map[string]any{"aud": audience}, http.StatusUnauthorized},
		"an unknown audience": {map[string]any{"aud": "https://c.example.com"}, http.StatusUnauthorized},
		"a delegated token":   {map[string]any{"sid": "x", "act": act, "scope": reading, "client_id": ""}, http.StatusUnauthorized},
		"an actor alone":      {map[string]any{"act": act}, http.StatusUnauthorized},
		"for another, delegated": {map[string]any{"aud": audience, "sid": "x", "act": act, "scope": reading,
			"client_id": ""}, http.StatusUnauthorized},
	} {
		claims := map[string]any{}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		require.NoError(t, decoder.Decode(&claims))
		cookie := h.seal(signer.Forge(t, header, encode(claims, c.changes)))
		for range 2 {
			require.Equal(t, c.status, h.status(svc, cookie), name)
		}
	}
}

func (h *cookieHost) user(t *testing.T) string {
	t.Helper()
	link, err := h.store.FindGitHubLink(t.Context(),
		auth.GitHubAccount{Host: "githubtest.invalid", ID: 583231})
	require.NoError(t, err)
	return link.UserID
}
