package wiretest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

const (
	browserLoginCall = "/auth/browser/login"
	publicOrigin     = "https://api.example.com"
)

// browserSeal is the sealing key of all instances.
var browserSeal = authtest.Random(32)

// newBrowserFixture returns a fixture with session cookies and without GitHub.
func newBrowserFixture(t testing.TB, change ...func(*fixture, *auth.Config)) *fixture {
	t.Helper()
	return newFixture(t, append([]func(*fixture, *auth.Config){withKeySessions}, change...)...)
}

func withKeySessions(f *fixture, cfg *auth.Config) {
	cfg.PublicURL, cfg.BrowserSessions = publicOrigin, &auth.BrowserSessions{}
	key, err := auth.NewSymmetricKey("seal-1", browserSeal)
	require.NoError(f.t, err)
	cfg.SealingKeys = []auth.SymmetricKey{key}
	cfg.Proxies = auth.NoProxies()
}

// secondInstance returns another instance over the store of a fixture of newBrowserFixture.
func (f *fixture) secondInstance() *fixture {
	f.t.Helper()
	other := *f
	cfg := auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}, Now: f.clock.Now}
	withKeySessions(f, &cfg)
	var err error
	other.svc, err = auth.New(f.store, cfg)
	require.NoError(f.t, err)
	return &other
}

// loginByKey signs a browser in. The headers are those of a page of the service, and the given ones.
func (f *fixture) loginByKey(pair auth.KeyPair, header ...string) response {
	return f.send(http.MethodPost, browserLoginCall, loginBody(pair),
		append([]string{"Sec-Fetch-Site", "same-origin"}, header...)...)
}

// sessionCookieOf returns the session cookie that the response sets, as a Cookie header, or "".
func sessionCookieOf(r response) string {
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		if strings.HasSuffix(c.Name, "auth_session") && c.MaxAge > 0 {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

func (f *fixture) signedInByKey(pair auth.KeyPair, header ...string) string {
	f.t.Helper()
	r := f.loginByKey(pair, header...)
	require.Equal(f.t, http.StatusNoContent, r.status, r.body)
	cookie := sessionCookieOf(r)
	require.NotEmpty(f.t, cookie)
	return cookie
}

// ask makes a call with the cookie from a page of the service.
func (f *fixture) ask(cookie, method, target string) response {
	return f.send(method, target, "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
}

// requireEnded fails the test unless the service rejects the cookie.
func (f *fixture) requireEnded(cookie string) {
	f.t.Helper()
	require.Equal(f.t, http.StatusUnauthorized, f.ask(cookie, http.MethodGet, "/auth/user").status)
}

func TestABrowserSignsInWithAKeyWithoutGitHub(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	r := f.loginByKey(f.userPair)
	require.Equal(t, http.StatusNoContent, r.status, r.body)
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))
	set := (&http.Response{Header: r.header}).Cookies()
	require.Len(t, set, 1)
	require.Equal(t, "__Host-auth_session", set[0].Name)
	require.True(t, set[0].Secure && set[0].HttpOnly && set[0].SameSite == http.SameSiteLaxMode)
	require.Equal(t, 12*60*60, set[0].MaxAge)

	cookie := sessionCookieOf(r)
	require.Equal(t, "alice", f.ask(cookie, http.MethodGet, "/auth/user").json(t)["username"])
	sessions, err := f.store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
	require.NoError(t, err)
	require.Equal(t, auth.MethodAccessKey, sessions[0].Method)
	require.Equal(t, f.userPair.AccessKey, sessions[0].AccessKeyID)

	require.Equal(t, http.StatusOK, f.ask(cookie, http.MethodPost, "/auth/logout").status)
	require.Equal(t, http.StatusUnauthorized, f.ask(cookie, http.MethodGet, "/auth/user").status)
}

// Attack: a page of another origin signs a person in as the attacker, so that the person's data goes into
// the attacker's account (login CSRF). A sibling origin of the same site is another origin, too.
func TestLoginCSRFAndSiblingOriginsAreRefused(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"own page":                       {[]string{"Sec-Fetch-Site", "same-origin"}, http.StatusNoContent},
		"an old browser, own page":       {[]string{"Origin", publicOrigin}, http.StatusNoContent},
		"neither header":                 {nil, http.StatusForbidden},
		"another site":                   {[]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"a sibling origin":               {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://evil.example.com"}, http.StatusForbidden},
		"a sibling claims our Origin":    {[]string{"Sec-Fetch-Site", "same-site", "Origin", publicOrigin}, http.StatusForbidden},
		"an old browser, another origin": {[]string{"Origin", "https://evil.example.com"}, http.StatusForbidden},
		"another port":                   {[]string{"Origin", publicOrigin + ":8443"}, http.StatusForbidden},
		"no TLS":                         {[]string{"Origin", "http://api.example.com"}, http.StatusForbidden},
		"Origin null":                    {[]string{"Origin", "null"}, http.StatusForbidden},
		"a typed address":                {[]string{"Sec-Fetch-Site", "none"}, http.StatusForbidden},
		"two headers":                    {[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
	} {
		r := f.send(http.MethodPost, browserLoginCall, loginBody(f.userPair), test.header...)
		require.Equal(t, test.status, r.status, name)
		require.Equal(t, test.status == http.StatusNoContent, len(r.header["Set-Cookie"]) > 0, name)
	}
	form := httptest.NewRequest(http.MethodPost, browserLoginCall, strings.NewReader("access_key=x"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.Header.Set("Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusUnsupportedMediaType, serve(f.svc.Handler(allGroups...), form).status)
}

// Attack: the attacker puts a session cookie of the attacker into the browser before the person signs in,
// and keeps a copy (session fixation).
func TestSessionFixationFailsAndTheReplacedSessionEnds(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	planted := f.signedInByKey(f.userPair)
	cookie := f.signedInByKey(f.adminPair, "Cookie", planted)
	require.NotEqual(t, planted, cookie)
	require.Equal(t, "root", f.ask(cookie, http.MethodGet, "/auth/user").json(t)["username"])
	require.Equal(t, http.StatusUnauthorized, f.ask(planted, http.MethodGet, "/auth/user").status)

	wrong := auth.KeyPair{AccessKey: f.userPair.AccessKey, AccessSecret: f.adminPair.AccessSecret}
	require.Equal(t, http.StatusUnauthorized, f.loginByKey(wrong, "Cookie", cookie).status)
	require.Equal(t, http.StatusOK, f.ask(cookie, http.MethodGet, "/auth/user").status,
		"a failed sign-in ends no session")
}

func TestABrowserLoginIsRefusedAsALoginIs(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	wrong := auth.KeyPair{AccessKey: f.userPair.AccessKey, AccessSecret: f.adminPair.AccessSecret}
	for range 20 {
		browser, login := f.loginByKey(wrong), f.login(f.svc.Credentials().GeneratePair())
		if browser.status == http.StatusTooManyRequests {
			break
		}
		require.Equal(t, http.StatusUnauthorized, browser.status)
		require.Equal(t, login.body, browser.body)
	}
	require.Equal(t, http.StatusTooManyRequests, f.login(wrong).status, "both calls share the limits")
	require.Equal(t, http.StatusTooManyRequests, f.loginByKey(wrong).status)
	require.Equal(t, http.StatusNoContent, f.loginByKey(f.userPair).status, "a right secret is never refused")

	r := f.send(http.MethodPost, browserLoginCall, `{"access_key":"a","access_secret":"b","c":1}`,
		"Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusUnprocessableEntity, r.status)
}

func TestAServiceUserGetsNoBrowserSession(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	made, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "ci",
		IsService: true})
	require.NoError(t, err)
	r := f.loginByKey(made.Pair)
	require.Equal(t, http.StatusForbidden, r.status)
	require.Empty(t, r.header["Set-Cookie"])
	sessions, err := f.store.ListSessions(t.Context(), made.User.ID, f.clock.Now())
	require.NoError(t, err)
	require.Empty(t, sessions)
}

func TestWithoutBrowserSessionsTheBrowserLoginIs404(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	require.Equal(t, http.StatusNotFound, f.loginByKey(f.userPair).status)
	require.PanicsWithValue(t, `auth: Service.Route has no call with the pattern "POST /auth/browser/login": `+
		"Service.Routes lists the calls", func() { f.svc.Route("POST /auth/browser/login") })
	for name, cfg := range map[string]auth.Config{
		"no origin":       {BrowserSessions: &auth.BrowserSessions{}},
		"no sealing keys": {BrowserSessions: &auth.BrowserSessions{}, PublicURL: publicOrigin},
		"plain http":      {BrowserSessions: &auth.BrowserSessions{}, PublicURL: "http://api.example.com"},
		"shorter than a token": {BrowserSessions: &auth.BrowserSessions{MaxLifetime: time.Hour},
			PublicURL: publicOrigin},
		"longer than 30 days": {BrowserSessions: &auth.BrowserSessions{MaxLifetime: 31 * 24 * time.Hour},
			PublicURL: publicOrigin},
	} {
		cfg.Issuer, cfg.SigningKeys = issuer, []auth.SigningKey{f.signer.Key}
		if name != "no sealing keys" {
			cfg.SealingKeys = []auth.SymmetricKey{authtest.SymmetricKey(t, "seal-1")}
		}
		_, err := auth.New(memstore.New(), cfg)
		require.Error(t, err, name)
	}
}

func TestACookieInUseIsRenewedUntilTheSessionIsAWeekOld(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	cookie, began := f.signedInByKey(f.userPair), f.clock.Now()
	f.clock.Advance(8 * time.Hour)
	require.Empty(t, sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user")), "not in the last quarter")
	f.clock.Advance(90 * time.Minute)
	for f.clock.Now().Sub(began) < 7*24*time.Hour-13*time.Hour {
		r := f.ask(cookie, http.MethodGet, "/auth/user")
		require.Equal(t, http.StatusOK, r.status)
		next := sessionCookieOf(r)
		require.NotEmpty(t, next, f.clock.Now().Sub(began))
		require.Empty(t, sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user")), "once a minute")
		cookie = next
		f.clock.Advance(10 * time.Hour)
	}
	cookie = sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user"))
	require.NotEmpty(t, cookie)
	sessions, err := f.store.ListSessions(t.Context(), f.user.ID, f.clock.Now())
	require.NoError(t, err)
	require.Len(t, sessions, 1, "renewals open no session")
	require.Equal(t, began.UTC().Truncate(time.Second), sessions[0].CreatedAt)
	require.Equal(t, sessions[0].CreatedAt.Add(7*24*time.Hour), sessions[0].ExpiresAt)
	f.clock.Advance(sessions[0].ExpiresAt.Sub(f.clock.Now()))
	require.Equal(t, http.StatusUnauthorized, f.ask(cookie, http.MethodGet, "/auth/user").status)
}

// A renewal must not make an old session recent, and must not give it more scopes.
func TestARenewedSessionKeepsItsScopesAndItsAge(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t, hostScopes, func(_ *fixture, cfg *auth.Config) { cfg.ReauthAfter = time.Hour })
	cookie := f.signedInByKey(f.keyOf(f.user, auth.NewScopes(auth.ScopeKeys)))
	f.clock.Advance(10 * time.Hour)
	renewed := sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/keys"))
	require.NotEmpty(t, renewed)
	r := f.ask(renewed, http.MethodPost, "/auth/keys")
	require.Equal(t, http.StatusForbidden, r.status)
	require.Contains(t, r.body, "sign in again")
	require.Equal(t, http.StatusForbidden, f.ask(renewed, http.MethodGet, "/auth/sessions").status)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(strings.SplitN(renewed, "=", 2)[1],
		http.MethodGet, "/auth/user", "").status, "a cookie is no bearer token")
}

// Attack: a cookie that was copied before a revocation, or a renewal that runs at the same time, survives
// the revocation.
func TestNothingOfARenewedSessionSurvivesItsRevocation(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(f *fixture, cookie string) error{
		"signing out with the earlier cookie": func(f *fixture, cookie string) error {
			require.Equal(f.t, http.StatusOK, f.ask(cookie, http.MethodPost, "/auth/logout").status)
			return nil
		},
		"revoking the user": func(f *fixture, _ string) error {
			return errorOf(f.svc.Tokens().RevokeUser(f.t.Context(), authtest.ByHost, f.user.ID))
		},
		"revoking the key": func(f *fixture, _ string) error {
			return f.svc.Credentials().Revoke(f.t.Context(), authtest.ByHost, f.userPair.AccessKey)
		},
		"disabling the user": func(f *fixture, _ string) error { f.setActive(f.user, false); return nil },
		"revoking everybody": func(f *fixture, _ string) error {
			return f.svc.RevokeEverybody(f.t.Context(), authtest.ByHost)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newBrowserFixture(t)
			other := f.secondInstance()
			cookie := f.signedInByKey(f.userPair)
			require.Equal(t, http.StatusOK, other.ask(cookie, http.MethodGet, "/auth/user").status)
			f.clock.Advance(10 * time.Hour)
			var cookies []string
			var racing sync.WaitGroup
			var mu sync.Mutex
			for _, in := range []*fixture{f, other, f, other} {
				racing.Go(func() {
					if next := sessionCookieOf(in.ask(cookie, http.MethodGet, "/auth/user")); next != "" {
						mu.Lock()
						defer mu.Unlock()
						cookies = append(cookies, next)
					}
				})
			}
			racing.Go(func() { require.NoError(t, revoke(f, cookie)) })
			racing.Wait()
			f.clock.Advance(6 * time.Second) // the other instance reads the feed
			for _, copied := range append(cookies, cookie) {
				for _, in := range []*fixture{f, other} {
					in.requireEnded(copied)
				}
			}
			f.clock.Advance(8 * time.Hour) // the first cookie has expired, and the feed is pruned
			require.NoError(t, errorOf(f.svc.Prune(t.Context())))
			fresh := f.secondInstance()
			for _, copied := range cookies {
				fresh.requireEnded(copied)
			}
		})
	}
}

// Two requests on two instances renew the cookie. Both new cookies belong to the session.
func TestTwoInstancesRenewOneSession(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	other := f.secondInstance()
	cookie := f.signedInByKey(f.userPair)
	f.clock.Advance(10 * time.Hour)
	first := sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user"))
	second := sessionCookieOf(other.ask(cookie, http.MethodGet, "/auth/user"))
	require.NotEmpty(t, first)
	require.NotEmpty(t, second)
	require.Equal(t, http.StatusOK, other.ask(first, http.MethodGet, "/auth/user").status)
	require.Equal(t, http.StatusOK, f.ask(first, http.MethodGet, "/auth/user").status)
	require.Equal(t, http.StatusOK, f.ask(second, http.MethodGet, "/auth/user").status)
	require.Equal(t, http.StatusOK, other.ask(first, http.MethodPost, "/auth/logout").status)
	f.clock.Advance(6 * time.Second)
	for _, c := range []string{cookie, first, second} {
		require.Equal(t, http.StatusUnauthorized, f.ask(c, http.MethodGet, "/auth/user").status)
	}
}

// The store has lost the record of a session, but knows nothing else of it. A sign-out with the earlier
// cookie must still end the later one when the earlier one would have expired.
func TestSigningOutEndsALaterCookieAlthoughTheRecordIsLost(t *testing.T) {
	t.Parallel()
	f := newBrowserFixture(t)
	cookie := f.signedInByKey(f.userPair)
	f.clock.Advance(10 * time.Hour)
	later := sessionCookieOf(f.ask(cookie, http.MethodGet, "/auth/user"))
	require.NotEmpty(t, later)
	pruned, err := f.store.PruneSessions(t.Context(), f.clock.Now().Add(30*24*time.Hour), 10)
	require.NoError(t, err)
	require.Positive(t, pruned)
	require.Equal(t, http.StatusOK, f.ask(cookie, http.MethodPost, "/auth/logout").status)
	entries, err := f.store.ListRevocations(t.Context(), 1, 10)
	require.NoError(t, err)
	require.False(t, entries[len(entries)-1].ExpiresAt.Before(f.clock.Now().Add(12*time.Hour-time.Second)))
}

// Attack: a shared cache in front of the service stores a response with a renewed cookie, and gives the
// session to other people.
func TestARenewedCookieIsNeverInAResponseForSharedCaches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		renewed bool
	}{
		"no body":       {func(http.ResponseWriter, *http.Request) {}, true},
		"a body":        {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }, true},
		"a flushed one": {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, true},
		"for all caches": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=60")
			w.WriteHeader(http.StatusOK)
		}, false},
		"for this browser": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60, Private")
			w.WriteHeader(http.StatusCreated)
		}, true},
	} {
		f := newBrowserFixture(t)
		cookie := f.signedInByKey(f.userPair)
		f.clock.Advance(10 * time.Hour)
		h := hostHandler{f.svc.Authenticate(test.handler)}
		r := send(h, http.MethodGet, "/page", "", "Cookie", cookie)
		require.Equal(t, test.renewed, sessionCookieOf(r) != "", name)
	}
}
