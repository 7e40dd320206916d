package wiretest

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// loginFrom signs in with the user's key and this User-Agent header, and returns the token.
func (f *fixture) loginFrom(userAgent string, header ...string) string {
	f.t.Helper()
	r := f.send("POST", "/auth/users/login", loginBody(f.userPair),
		append(header, "User-Agent", userAgent)...)
	require.Equal(f.t, http.StatusOK, r.status, r.body)
	return r.json(f.t)["token"].(string)
}

func TestAUserListsAndRevokesTheirSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.loginFrom("curl/8.14.1")
	f.clock.Advance(time.Hour)
	second := f.loginFrom("Mozilla/5.0 (X11; Linux x86_64)")
	f.signIn(f.admin) // sessions of other users are not listed

	sessions := f.sendAs(second, "GET", "/auth/sessions", "").array(t)
	require.Len(t, sessions, 2)
	ids := []string{sessions[0]["id"].(string), sessions[1]["id"].(string)}
	require.Equal(t, []map[string]any{
		{
			"id": ids[0], "method": "access_key", "created_at": "2026-01-02T04:04:05Z",
			"expires_at": "2026-01-02T16:04:05Z",
			"user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "ip": "192.0.2.1", "current": true,
		},
		{
			"id": ids[1], "method": "access_key", "created_at": "2026-01-02T03:04:05Z",
			"expires_at": "2026-01-02T15:04:05Z",
			"user_agent": "curl/8.14.1", "ip": "192.0.2.1", "current": false,
		},
	}, sessions)

	require.Equal(t, http.StatusNoContent, f.sendAs(second, "DELETE", "/auth/sessions/"+ids[1], "").status)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(first, "GET", "/auth/user", "").status)
	require.Equal(t, http.StatusNotFound, f.sendAs(second, "DELETE", "/auth/sessions/"+ids[1], "").status)
	require.Len(t, f.sendAs(second, "GET", "/auth/sessions", "").array(t), 1)
	require.Equal(t, http.StatusNoContent, f.sendAs(second, "DELETE", "/auth/sessions/"+ids[0], "").status)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(second, "GET", "/auth/sessions", "").status)
}

func TestAUserSignsOutEverywhereElse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	others := []string{f.loginFrom("curl/8.14.1"), f.loginFrom("curl/8.14.1")}
	own, admin := f.loginFrom("Mozilla/5.0 (X11; Linux x86_64)"), f.signIn(f.admin)
	for _, query := range []string{"", "?except", "?except=", "?except=others", "?except=Current",
		"?Except=current", "?except=current&except=current"} {
		r := f.sendAs(own, "DELETE", "/auth/sessions"+query, "")
		require.Equal(t, http.StatusUnprocessableEntity, r.status, query)
	}
	require.Len(t, f.sendAs(own, "GET", "/auth/sessions", "").array(t), 3)

	r := f.sendAs(own, "DELETE", "/auth/sessions?except=current", "")
	require.Equal(t, http.StatusOK, r.status)
	require.JSONEq(t, `{"revoked_count": 2}`, r.body)
	for _, other := range others {
		require.Equal(t, http.StatusUnauthorized, f.sendAs(other, "GET", "/auth/user", "").status)
	}
	require.Len(t, f.sendAs(own, "GET", "/auth/sessions", "").array(t), 1)
	require.Equal(t, http.StatusOK, f.sendAs(admin, "GET", "/auth/user", "").status, "another user")
	require.JSONEq(t, `{"revoked_count": 0}`, f.sendAs(own, "DELETE", "/auth/sessions?except=current", "").body)
	require.Equal(t, http.StatusOK, f.sendAs(f.loginFrom("curl/8.14.1"), "GET", "/auth/user", "").status,
		"a later session")
}

func TestASessionOfAGitHubSignInHasTheMethodAndTheClient(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	token := g.browser().signIn()["token"].(string)
	sessions := g.sendAs(token, "GET", "/auth/sessions", "").array(t)
	require.Len(t, sessions, 1)
	require.Equal(t, "github", sessions[0]["method"])
	require.Equal(t, "127.0.0.1", sessions[0]["ip"])
	require.Equal(t, "Go-http-client/1.1", sessions[0]["user_agent"])
	require.Equal(t, true, sessions[0]["current"])
}

func TestASignInBeyondMaxSessionsRevokesTheOldestSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Tokens.MaxSessions = 3 })
	var tokens []string
	for range 5 {
		tokens = append(tokens, f.loginFrom("test"))
		f.clock.Advance(time.Second)
	}
	for i, token := range tokens {
		want := http.StatusOK
		if i < 2 {
			want = http.StatusUnauthorized
		}
		require.Equal(t, want, f.sendAs(token, "GET", "/auth/user", "").status, i)
	}
	f.signIn(f.user)
	require.Equal(t, http.StatusUnauthorized, f.sendAs(tokens[2], "GET", "/auth/user", "").status,
		"sessions opened by the host count too")
	require.Len(t, f.sendAs(tokens[4], "GET", "/auth/sessions", "").array(t), 3)
}

func TestSigningInInALoopKeepsAtMostMaxSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Tokens.MaxSessions = 10 })
	var token string
	for range 2500 {
		token = f.loginFrom("loop")
		require.Equal(t, http.StatusOK, f.sendAs(token, "GET", "/auth/user", "").status,
			"the newest session is always live")
	}
	require.Len(t, f.sendAs(token, "GET", "/auth/sessions", "").array(t), 10)
}

func TestUserAgentsAreCleanedAndTruncated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for sent, want := range map[string]string{
		"":                                 "",
		"é🦆":                               "é🦆",
		"a\xffb\xc3":                       "ab",
		"a\u202eb\u2028c\x00d\x1b[2Je\r\n": "abcd[2Je",
		strings.Repeat("x", 10_000):        strings.Repeat("x", 256),
		strings.Repeat("🦆", 100):           strings.Repeat("🦆", 64),
		"x" + strings.Repeat("🦆", 100):     "x" + strings.Repeat("🦆", 63),
		strings.Repeat("\xf0", 2000) + "x": "",
	} {
		ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{UserAgent: sent})
		token, err := f.svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})
		require.NoError(t, err)
		require.Equal(t, want, token.Session.UserAgent)
		require.True(t, utf8.ValidString(token.Session.UserAgent))
		require.Empty(t, token.Session.Address)
	}
	ctx := auth.WithClientInfo(t.Context(), auth.ClientInfo{Address: netip.MustParseAddr("fe80::1%eth0")})
	token, err := f.svc.SignIn(ctx, f.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	require.Equal(t, "fe80::1", token.Session.Address)
}

func TestTheClientAddressIsTakenOnlyFromTrustedProxies(t *testing.T) {
	t.Parallel()
	proxies := auth.TrustProxies(netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("2001:db8:1::/48"))
	for _, test := range []struct {
		name, peer string
		trusted    auth.Proxies
		forwarded  []string
		want       string
	}{
		{"no proxy", "203.0.113.7:1234", proxies, nil, "203.0.113.7"},
		{"a client that claims another address", "203.0.113.7:1234", proxies, []string{"198.51.100.1"}, "203.0.113.7"},
		{"no trusted proxy", "10.0.0.1:1234", auth.NoProxies(), []string{"198.51.100.1"}, "10.0.0.1"},
		{"undecided proxies, and a header", "10.0.0.1:1234", auth.Proxies{}, []string{"198.51.100.1"}, ""},
		{"undecided proxies, no header", "203.0.113.7:1234", auth.Proxies{}, nil, "203.0.113.7"},
		{"a proxy", "10.0.0.1:1234", proxies, []string{"198.51.100.1"}, "198.51.100.1"},
		{"a proxy for a client that claims another address", "10.0.0.1:1234", proxies, []string{"192.0.2.99, 198.51.100.1"}, "198.51.100.1"},
		{"the same in two headers", "10.0.0.1:1234", proxies, []string{"192.0.2.99", "198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:1234", proxies, []string{"192.0.2.99, 198.51.100.1,10.0.0.2"}, "198.51.100.1"},
		{"a client that claims to be a proxy", "10.0.0.1:1234", proxies, []string{"10.9.9.9, 198.51.100.1"}, "198.51.100.1"},
		{"a proxy without header", "10.0.0.1:1234", proxies, nil, "10.0.0.1"},
		{"only proxies", "10.0.0.1:1234", proxies, []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		{"a port", "10.0.0.1:1234", proxies, []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"IPv6", "[2001:db8:1::1]:1234", proxies, []string{"2001:db8:2::9"}, "2001:db8:2::9"},
		{"IPv6 with a port", "[2001:db8:1::1]:1234", proxies, []string{"[2001:db8:2::9]:4711"}, "2001:db8:2::9"},
		{"IPv4-mapped IPv6", "[::ffff:10.0.0.1]:1234", proxies, []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"a peer with a zone", "[fe80::1%eth0]:1234", proxies, nil, "fe80::1"},
		{"a proxy with a zone", "[fe80::1%eth0]:1234", auth.TrustProxies(netip.MustParsePrefix("fe80::/10")), []string{"198.51.100.1"}, "198.51.100.1"},
		{"a client with a zone", "10.0.0.1:1234", proxies, []string{"fe80::1%eth0"}, "fe80::1"},
		{"the maximum of proxies", "10.0.0.1:1234", proxies, []string{"198.51.100.1" + strings.Repeat(",10.0.0.2", 14)}, "198.51.100.1"},
		{"one proxy too many", "10.0.0.1:1234", proxies, []string{"198.51.100.1" + strings.Repeat(",10.0.0.2", 15)}, ""},
		{"an invalid address", "10.0.0.1:1234", proxies, []string{"198.51.100.1, unknown"}, ""},
		{"an empty element", "10.0.0.1:1234", proxies, []string{"198.51.100.1,"}, ""},
		{"markup", "10.0.0.1:1234", proxies, []string{"<script>"}, ""},
		{"100,000 proxies", "10.0.0.1:1234", proxies, []string{strings.Repeat("10.0.0.2,", 100_000) + "10.0.0.3"}, ""},
		{"a Unix socket", "@", proxies, []string{"198.51.100.1"}, "198.51.100.1"},
	} {
		f := newFixture(t, func(_ *fixture, cfg *auth.Config) { cfg.Proxies = test.trusted })
		r := httptest.NewRequest("POST", "/auth/users/login", strings.NewReader(loginBody(f.userPair)))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = test.peer
		r.Header["X-Forwarded-For"] = test.forwarded
		token := serve(f.svc.Handler(), r).json(t)["token"].(string)
		require.Equal(t, test.want, f.sendAs(token, "GET", "/auth/sessions", "").array(t)[0]["ip"], test.name)
	}
}

func TestInvalidSessionConfigurationsAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, change := range map[string]func(*auth.Config){
		"MaxSessions must be from 1 to 1000":              func(c *auth.Config) { c.Tokens.MaxSessions = -1 },
		"MaxSessions must be from 1 to 1000 ":             func(c *auth.Config) { c.Tokens.MaxSessions = 1001 },
		"Config.ReauthAfter must not be negative":         func(c *auth.Config) { c.ReauthAfter = -1 },
		"a prefix is invalid or contains every address":   func(c *auth.Config) { c.Proxies = auth.TrustProxies(netip.MustParsePrefix("0.0.0.0/0")) },
		"a prefix is invalid or contains every address ":  func(c *auth.Config) { c.Proxies = auth.TrustProxies(netip.MustParsePrefix("::/0")) },
		"not ::ffff:192.0.2.0/120":                        func(c *auth.Config) { c.Proxies = auth.TrustProxies(netip.MustParsePrefix("::ffff:192.0.2.0/120")) },
		"a prefix is invalid or contains every address  ": func(c *auth.Config) { c.Proxies = auth.TrustProxies(netip.Prefix{}) },
	} {
		cfg := auth.Config{Issuer: issuer, SigningKeys: []auth.SigningKey{f.signer.Key}}
		change(&cfg)
		_, err := auth.New(f.store, cfg)
		require.ErrorContains(t, err, strings.TrimSpace(name))
	}
}

// With ReauthAfter, a call that creates credentials or gives rights needs a recent session. Other
// calls do not.
func TestReauthAfterRejectsLastingChangesOfOldSessions(t *testing.T) {
	t.Parallel()
	const age = 10 * time.Minute
	for _, call := range []struct {
		method, path, body string
		needsRecent        bool
	}{
		{"POST", "/auth/keys", "", true},
		{"POST", "/auth/keys/KEY/rotate", "", true},
		{"GET", "/api/v1/auth/github/login", "", true},
		{"POST", "/auth/users/register", `{"username":"new","email":"new@example.com"}`, true},
		{"POST", "/api/v1/user/register", `{"username":"new","email":"new@example.com"}`, true},
		{"POST", "/auth/users/USER/regenerate-credentials", "", true},
		{"POST", "/auth/users/USER/reinstate", "", true},
		{"PATCH", "/auth/users/USER", `{"is_active":true}`, true},
		{"PATCH", "/auth/users/USER", `{"is_super_user":true}`, true},
		{"PATCH", "/auth/users/USER", `{"is_super_user":true,"is_active":false}`, true},

		{"GET", "/auth/keys", "", false},
		{"DELETE", "/auth/keys/KEY", "", false},
		{"GET", "/auth/sessions", "", false},
		{"GET", "/auth/users", "", false},
		{"PATCH", "/auth/users/USER", `{"is_active":false}`, false},
		{"PATCH", "/auth/users/USER", `{"is_super_user":false}`, false},
		{"POST", "/auth/tokens/revoke-user/USER", "", false},
		{"DELETE", "/auth/users/USER", "", false},
		{"GET", "/api/v1/auth/github/login-user", "", false},
		{"POST", "/auth/logout", "", false},
	} {
		for _, configured := range []time.Duration{0, age} {
			for _, waited := range []time.Duration{0, age - time.Second, age, 11 * time.Hour} {
				g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
					cfg.ReauthAfter = configured
				}})
				token := g.signIn(g.admin)
				g.clock.Advance(waited)
				path := strings.NewReplacer("KEY", g.userPair.AccessKey, "USER", g.user.ID).Replace(call.path)
				r := g.sendAs(token, call.method, path, call.body)
				if call.needsRecent && configured > 0 && waited >= configured {
					require.Equal(t, http.StatusForbidden, r.status, "%s %s: %s", call.method, path, r.body)
					require.Equal(t, "This needs a newer session: sign in again first", r.json(t)["detail"])
					continue
				}
				require.Less(t, r.status, 300, "%s %s: %s", call.method, path, r.body)
			}
		}
	}
}

// The session becomes too old after the handler has checked its age and before the store makes the
// change. A change that only takes rights or sessions away still succeeds.
func TestASessionThatBecomesTooOldBeforeTheStoreChangesAUserGivesNoPower(t *testing.T) {
	t.Parallel()
	for _, call := range []struct {
		method, path, body string
		change             string // the method of the store
		want               int
	}{
		{"POST", "/auth/users/register", `{"username":"new","email":"new@example.com"}`, "Register", 403},
		{"POST", "/auth/users/USER/regenerate-credentials", "", "ResetUser", 403},
		{"POST", "/auth/users/USER/reinstate", "", "ResetUser", 403},
		{"PATCH", "/auth/users/USER", `{"is_active":true}`, "UpdateUser", 403},
		{"PATCH", "/auth/users/USER", `{"is_super_user":true}`, "UpdateUser", 403},

		{"PATCH", "/auth/users/USER", `{"is_active":false}`, "UpdateUser", 200},
		{"PATCH", "/auth/users/USER", `{"is_super_user":false}`, "UpdateUser", 200},
		{"POST", "/auth/tokens/revoke-user/USER", "", "RevokeUserSessions", 200},
		{"DELETE", "/auth/users/USER", "", "DeleteUser", 200},
	} {
		age := func() {}
		f := newFixture(t, withFaults(func(method string) error {
			if method == call.change {
				age()
			}
			return nil
		}), func(_ *fixture, cfg *auth.Config) { cfg.ReauthAfter = time.Minute })
		token := f.signIn(f.admin)
		age = func() { f.clock.Advance(time.Minute) }
		r := f.sendAs(token, call.method, strings.Replace(call.path, "USER", f.user.ID, 1), call.body)
		require.Equal(t, call.want, r.status, "%s %s %s: %s", call.method, call.path, call.body, r.body)
	}
}

// A token contains the start of its session in whole seconds.
func TestReauthAfterCountsFromTheSecondInWhichTheSessionBegan(t *testing.T) {
	t.Parallel()
	g := newGitHub(t, githubOptions{configure: func(_ *githubFixture, cfg *auth.Config) {
		cfg.ReauthAfter = time.Minute
	}})
	token, err := g.svc.SignIn(t.Context(), g.user.ID, auth.LoginOptions{})
	require.NoError(t, err)
	const connect = "/api/v1/auth/github/login"
	end := token.Session.CreatedAt.Add(time.Minute)
	g.clock.Advance(end.Sub(g.clock.Now()) - 1)
	require.Equal(t, http.StatusOK, g.sendAs(token.Bearer.Reveal(), http.MethodGet, connect, "").status)
	g.clock.Advance(1)
	require.Equal(t, http.StatusForbidden, g.sendAs(token.Bearer.Reveal(), http.MethodGet,
		connect, "").status)
}
