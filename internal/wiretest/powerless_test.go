package wiretest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// stolen is a fixture in which an attacker holds the token of the super user boss. Two instances
// share the store. Both instances have read the feed, so the instance in the field other does not
// read the feed again during a test.
type stolen struct {
	*fixture
	other    *auth.Service
	checking *auth.Service // a third instance, with CheckSessionsInStore

	boss    auth.Registration // the super user whose token is stolen
	session auth.Token
	bearer  string
	header  []string // the headers with which a request proves the session
	spare   string   // the ID of another session of boss
	alice   string   // the ID of a session of the ordinary user

	gate storeGate
}

func newStolen(t *testing.T, store auth.Store, change ...func(*auth.Config)) *stolen {
	t.Helper()
	s := &stolen{}
	var cfg auth.Config
	s.fixture = newFixture(t, func(f *fixture, c *auth.Config) {
		f.store = authtest.FaultyStore(store, s.gate.pass)
		c.SigningKeys = []auth.SigningKey{f.signer.Key}
		c.SealingKeys = []auth.SymmetricKey{authtest.SymmetricKey(t, "seal-1")}
		c.GitHub = &auth.GitHubConfig{
			ClientID: "client", ClientSecret: auth.NewSecret("secret"), Host: "githubtest.invalid",
			CallbackURL: "https://auth.example.com" + callbackCall,
			HTTPClient:  &http.Client{Transport: noNetwork{}},
		}
		c.Throttling.Off = true
		for _, change := range change {
			change(c)
		}
		cfg = *c
	})
	var err error
	s.other, err = auth.New(s.store, cfg)
	require.NoError(t, err)
	checkSessionsInStore(&cfg)
	s.checking, err = auth.New(s.store, cfg)
	require.NoError(t, err)
	s.boss, err = s.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
		Username: "boss", IsSuperUser: true,
	})
	require.NoError(t, err)
	s.session, err = s.svc.Login(t.Context(), s.boss.Pair, auth.LoginOptions{})
	require.NoError(t, err)
	s.bearer = s.session.Bearer.Reveal()
	s.header = []string{"Authorization", "Bearer " + s.bearer}
	s.linkBoss()
	s.openSessions()
	for _, svc := range s.instances() {
		require.Equal(t, http.StatusOK, s.ask(svc))
	}
	return s
}

func (s *stolen) instances() []*auth.Service { return []*auth.Service{s.svc, s.other} }

// linkBoss connects a GitHub account to boss, with a token that nobody can open.
func (s *stolen) linkBoss() {
	s.t.Helper()
	account, at := auth.GitHubAccount{Host: "githubtest.invalid", ID: octocat}, s.clock.Now()
	by := auth.Authority{SessionID: s.session.Session.ID, UserID: s.boss.User.ID}
	require.NoError(s.t, s.store.ConnectGitHub(s.t.Context(), auth.Write{By: by, Now: s.clock.Now},
		auth.GitHubConnectWrite{
			Link: auth.GitHubLink{Account: account, UserID: by.UserID, Login: octocatLogin,
				CreatedAt: at, SeenAt: at},
			Token: auth.GitHubToken{Account: account, UserID: by.UserID, Version: "1",
				Sealed: []byte("unreadable"), UpdatedAt: at},
		}))
}

// openSessions opens two sessions that a call with the stolen session can revoke.
func (s *stolen) openSessions() {
	s.t.Helper()
	for pair, id := range map[*auth.KeyPair]*string{&s.boss.Pair: &s.spare, &s.userPair: &s.alice} {
		token, err := s.svc.Login(s.t.Context(), *pair, auth.LoginOptions{})
		require.NoError(s.t, err)
		*id = token.Session.ID
	}
}

// noNetwork is the transport of a client that reaches no server.
type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no network")
}

// lastingCall is a documented HTTP call that makes a lasting change.
type lastingCall struct {
	name, method, body string
	target             func(s *stolen) string
	ofSuperUsers       bool

	// without is the method of the store that makes the change, if the handler reads no body.
	// Otherwise it is empty.
	without string
}

func fixed(target string) func(*stolen) string { return func(*stolen) string { return target } }

var lastingCalls = []lastingCall{
	{"create a key", http.MethodPost, `{"label": "mine"}`, fixed("/auth/keys"), false, ""},
	{"rotate a key", http.MethodPost, `{"overlap_seconds": 3600}`, func(s *stolen) string {
		return "/auth/keys/" + s.boss.Pair.AccessKey + "/rotate"
	}, false, ""},
	{"revoke another session of the user", http.MethodDelete, "", func(s *stolen) string {
		return "/auth/sessions/" + s.spare
	}, false, "RevokeSession"},
	{"revoke the other sessions of the user", http.MethodDelete, "",
		fixed("/auth/sessions?except=current"), false, "RevokeOtherSessions"},
	{"disconnect GitHub", http.MethodPost, "", fixed(disconnectCall), false, "DeleteGitHubToken"},
	{"unlink GitHub", http.MethodDelete, "", fixed(unlinkCall), false, "UnlinkGitHub"},
	{"rotate another user's key", http.MethodPost, `{}`, func(s *stolen) string {
		return "/auth/keys/" + s.userPair.AccessKey + "/rotate"
	}, true, ""},
	{"revoke another user's session", http.MethodDelete, "", func(s *stolen) string {
		return "/auth/sessions/" + s.alice
	}, true, "RevokeSession"},
	{"revoke another user's key", http.MethodDelete, "", func(s *stolen) string {
		return "/auth/keys/" + s.userPair.AccessKey
	}, true, "RevokeKey"},
	{"register a super user", http.MethodPost,
		`{"username": "accomplice", "email": "a@example.com", "is_super_user": true}`,
		fixed("/auth/users/register"), true, ""},
	{"register by the published path", http.MethodPost,
		`{"username": "accomplice", "email": "a@example.com"}`, fixed("/api/v1/user/register"), true, ""},
	{"promote a user", http.MethodPatch, `{"is_super_user": true}`, ofUser(""), true, ""},
	{"disable a user", http.MethodPatch, `{"is_active": false}`, ofUser(""), true, ""},
	{"rename a user", http.MethodPatch, `{"username": "renamed"}`, ofUser(""), true, ""},
	{"give a user an e-mail", http.MethodPatch, `{"email": "new@example.com"}`, ofUser(""), true, ""},
	{"remove a user's e-mail", http.MethodPatch, `{"email": null}`, ofUser(""), true, ""},
	{"regenerate a user's credentials", http.MethodPost, "", ofUser("/regenerate-credentials"), true, ""},
	{"reinstate a user", http.MethodPost, "", ofUser("/reinstate"), true, ""},
	{"revoke a user's sessions", http.MethodPost, "", func(s *stolen) string {
		return "/auth/tokens/revoke-user/" + s.user.ID
	}, true, ""},
	{"delete a user", http.MethodDelete, "", ofUser(""), true, "DeleteUser"},
}

// ofUser returns a function for the field target of a [lastingCall]. The call changes the ordinary
// user of the fixture.
func ofUser(suffix string) func(*stolen) string {
	return func(s *stolen) string { return "/auth/users/" + s.user.ID + suffix }
}

// powerLoss is a way in which the stolen token loses its rights.
type powerLoss struct {
	name   string
	apply  func(ctx context.Context, s *stolen) error
	demote bool // the token loses only the rights of a super user
	keyed  bool // only a session that a key opened loses its rights
}

var powerLosses = []powerLoss{
	{name: "the session is revoked", apply: func(ctx context.Context, s *stolen) error {
		return s.svc.Tokens().Revoke(ctx, authtest.ByHost, s.session.Session.ID)
	}},
	{name: "the token is revoked", keyed: true, apply: func(ctx context.Context, s *stolen) error {
		return s.svc.Tokens().RevokeToken(ctx, s.bearer)
	}},
	{name: "the user's sessions are revoked", apply: func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.Tokens().RevokeUser(ctx, authtest.ByHost, s.boss.User.ID))
	}},
	{name: "the user is reset", apply: func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.RegenerateCredentials(ctx, authtest.ByHost, s.boss.User.ID, auth.KeyOptions{}))
	}},
	{name: "the user is disabled", apply: func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.UpdateUser(ctx, authtest.ByHost, s.boss.User.ID,
			auth.UserChange{IsActive: new(false)}))
	}},
	{name: "the user is demoted", demote: true, apply: func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.UpdateUser(ctx, authtest.ByHost, s.boss.User.ID,
			auth.UserChange{IsSuperUser: new(false)}))
	}},
	{name: "the user is deleted", apply: func(ctx context.Context, s *stolen) error {
		return s.svc.DeleteUser(ctx, authtest.ByHost, s.boss.User.ID)
	}},
	{name: "the key is revoked", keyed: true, apply: func(ctx context.Context, s *stolen) error {
		return s.svc.Credentials().Revoke(ctx, authtest.ByHost, s.boss.Pair.AccessKey)
	}},
	{name: "the key is revoked as leaked", keyed: true, apply: func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.Credentials().RevokeLeaked(ctx, s.boss.Pair.AccessSecret))
	}},
	{name: "everybody's sessions are revoked", apply: func(ctx context.Context, s *stolen) error {
		return s.svc.RevokeEverybody(ctx, authtest.ByHost)
	}},
}

// snapshot returns everything in the store that a lasting call could change.
func (s *stolen) snapshot() (all []any) {
	s.t.Helper()
	users, err := s.store.ListUsers(s.t.Context(), auth.UserQuery{Limit: 1000})
	require.NoError(s.t, err)
	for _, user := range users {
		keys, err := s.store.ListKeys(s.t.Context(), user.ID)
		require.NoError(s.t, err)
		sessions, err := s.store.ListSessions(s.t.Context(), user.ID, time.Time{}.Add(time.Hour))
		require.NoError(s.t, err)
		link, token, err := s.store.FindGitHubConnection(s.t.Context(), user.ID, "githubtest.invalid")
		if !errors.Is(err, auth.ErrNotFound) {
			require.NoError(s.t, err)
		}
		all = append(all, user, keys, sessions, link, token)
	}
	entries, err := s.store.ListRevocations(s.t.Context(), 0, 1000)
	require.NoError(s.t, err)
	return append(all, entries)
}

// expected returns the status of the call after the loss of rights, or 0 if the call still
// succeeds.
func (c lastingCall) expected(e powerLoss) int {
	switch {
	case !e.demote:
		return http.StatusUnauthorized
	case strings.Contains(c.name, "another user's "):
		return http.StatusNotFound // as for any ordinary user
	case c.ofSuperUsers:
		return http.StatusForbidden
	}
	return 0 // the call still succeeds
}

// The second instance has not read the feed since the loss of rights, so its middleware still
// accepts the token. The store must reject the change.
func TestARevokedTokenMakesNoLastingChangeOnAnInstanceBehindTheFeed(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, e := range powerLosses {
			t.Run(e.name, func(t *testing.T) {
				newStolen(t, open(t)).requirePowerlessAfter(e)
			})
		}
	})
}

// requirePowerlessAfter applies the loss of rights, and makes the lasting calls on the second
// instance.
func (s *stolen) requirePowerlessAfter(e powerLoss) {
	s.t.Helper()
	require.NoError(s.t, e.apply(s.t.Context(), s))
	require.Equal(s.t, http.StatusOK, s.ask(s.other), "the middleware still accepts the request")
	before := s.snapshot()
	for _, c := range lastingCalls {
		want := c.expected(e)
		if want == 0 {
			continue
		}
		require.Equal(s.t, want, s.call(s.other, c), c.name)
		require.Equal(s.t, before, s.snapshot(), c.name)
	}
}

// ask sends a request with the stolen session to a route that requires a session.
func (s *stolen) ask(svc *auth.Service) int {
	route := svc.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return send(route, http.MethodGet, "/", "", s.header...).status
}

func (s *stolen) call(svc *auth.Service, c lastingCall) int {
	return send(svc.Handler(), c.method, c.target(s), c.body, s.header...).status
}

// The middleware accepts the request before the loss of rights, and the body of the request arrives
// afterwards. If the handler reads no body, its call of the store begins afterwards.
func TestARequestWhoseBodyArrivesAfterARevocationMakesNoLastingChange(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, e := range powerLosses {
			t.Run(e.name, func(t *testing.T) {
				newStolen(t, open(t)).requireHeldPowerlessAfter(e)
			})
		}
	})
}

// requireHeldPowerlessAfter holds the lasting calls on all instances, applies the loss of rights,
// and releases the calls.
func (s *stolen) requireHeldPowerlessAfter(e powerLoss) {
	s.t.Helper()
	var held []*heldRequest
	for _, c := range lastingCalls {
		if c.expected(e) == 0 {
			continue
		}
		for _, svc := range append(s.instances(), s.checking) {
			held = append(held, s.hold(svc, c))
		}
	}
	require.NoError(s.t, e.apply(s.t.Context(), s))
	before := s.snapshot()
	for i, h := range held {
		want := []int{h.call.expected(e)}
		if h.call.without != "" && e.demote {
			want = []int{http.StatusForbidden} // the handler has found the record with the old rights
		}
		require.Contains(s.t, want, h.release(), h.call.name)
		if i+1 == len(held) || held[i+1].call.name != h.call.name { // the last instance of this call
			require.Equal(s.t, before, s.snapshot(), h.call.name)
		}
	}
}
