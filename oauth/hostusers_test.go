package oauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

// people is a host's users table.
type people struct {
	mu   sync.Mutex
	byID map[string]auth.User
	find func() error // called before each look-up
}

func (p *people) FindUser(_ context.Context, id string) (auth.User, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.find != nil {
		if err := p.find(); err != nil {
			return auth.User{}, err
		}
	}
	user, ok := p.byID[id]
	if !ok {
		return auth.User{}, auth.ErrNotFound
	}
	return user, nil
}

func (p *people) ResolveGitHub(context.Context, auth.GitHubProfile, string) (string, error) {
	return "", auth.ErrNotFound
}

// change replaces the record of a user, or removes it.
func (p *people) change(id string, do func(*auth.User) (keep bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user := p.byID[id]
	delete(p.byID, id)
	if do(&user) {
		p.byID[id] = user
	}
}

// hosted is a service whose users are in a host's table: a person and a service user.
type hosted struct {
	*fixture
	people        *people
	accounts      auth.AccountStore
	person, agent auth.KeyPair
	fail          func(method string) error // called before each call of the store
	log           bytes.Buffer
}

func newHosted(t *testing.T) *hosted {
	t.Helper()
	h := &hosted{fail: func(string) error { return nil }, people: &people{byID: map[string]auth.User{
		"1": {ID: "1", Username: "ada", IsActive: true},
		"2": {ID: "2", Username: "agent", IsActive: true, IsService: true, Audiences: reports},
	}}}
	key, err := auth.NewEdDSAKey("", ed25519.NewKeyFromSeed([]byte(strings.Repeat("oauth-fi", 4))))
	require.NoError(t, err)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	store := authtest.FaultyAccounts(memstore.NewAccounts(),
		func(method string) error { return h.fail(method) })
	svc, err := auth.NewWithUsers(store, h.people, auth.Config{
		Issuer: server.URL, SigningKeys: []auth.SigningKey{key}, Proxies: auth.NoProxies(),
		PublicURL: server.URL, BrowserSessions: &auth.BrowserSessions{},
		SealingKeys: []auth.SymmetricKey{authtest.SymmetricKey(t, "s")},
		Tokens:      auth.TokenConfig{Scopes: []string{"reports:read"}, Audiences: []string{reports}},
		Logger:      slog.New(slog.NewTextHandler(&h.log, nil)),
	})
	require.NoError(t, err)
	oauthServer, err := oauth.New(svc, oauth.Config{})
	require.NoError(t, err)
	oauthServer.Mount(mux)
	h.accounts = store
	h.fixture = &fixture{t: t, svc: svc, url: server.URL}
	h.person, h.agent = h.key(auth.User{ID: "1"}, nil), h.key(auth.User{ID: "2"}, nil)
	return h
}

// The attack: the host has disabled or removed a service user, whose key still works at one of the calls.
func TestTheKeyOfADisabledUserOfTheHostIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*auth.User) bool{
		"disabled": func(u *auth.User) bool { u.IsActive = false; return true },
		"removed":  func(*auth.User) bool { return false },
	} {
		h := newHosted(t)
		user := h.token(h.person, auth.LoginOptions{})
		subject := h.token(h.person, auth.LoginOptions{Audience: reports})
		asker := "Bearer " + h.token(h.agent, auth.LoginOptions{})
		calls := map[string]url.Values{
			"/auth/introspect": client(h.agent, "token", subject),
			"/auth/revoke":     client(h.agent, "token", "x"),
			"/auth/token":      exchangeForm(h.agent, user),
		}
		for path, form := range calls {
			require.Equal(t, 200, h.post(path, form).status, path)
		}
		require.Equal(t, true, h.post("/auth/introspect", calls["/auth/introspect"]).body["active"],
			"the audiences are those of the host's record")
		h.people.change("2", change)
		for path, form := range calls {
			a := h.post(path, form)
			require.Equal(t, 401, a.status, "%s: %s: %s", name, path, a.text)
			require.Equal(t, "invalid_client", a.code())
		}
		a := h.post("/auth/introspect", url.Values{"token": {subject}}, "Authorization", asker)
		require.Equal(t, 401, a.status, "%s: with a token: %s", name, a.text)
		require.Equal(t, "invalid_token", a.code())
	}
}

// The attack: a person approves a device, and the host then disables or removes the person in its own table
// without a call of RevokeUser. Or a service user approves a device: only the host knows that it is one.
func TestADeviceGetsNoTokenOfAUserWhomTheHostRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*auth.User) bool
		want   error
	}{
		"disabled":     {func(u *auth.User) bool { u.IsActive = false; return true }, auth.ErrUserDisabled},
		"removed":      {func(*auth.User) bool { return false }, auth.ErrNotFound},
		"service user": {func(u *auth.User) bool { u.IsService = true; return true }, auth.ErrServiceUser},
	} {
		h := newHosted(t)
		codes, err := h.svc.StartDevice(t.Context(), "cli", auth.NewScopes("reports:read"))
		require.NoError(t, err)
		token, err := h.svc.Login(t.Context(), h.person, auth.LoginOptions{})
		require.NoError(t, err)
		by := auth.Authority{SessionID: token.Session.ID, UserID: "1"}
		_, err = h.svc.ClaimDevice(t.Context(), by, codes.UserCode)
		require.NoError(t, err)
		_, err = h.svc.ApproveDevice(t.Context(), by, codes.UserCode)
		require.NoError(t, err)
		h.people.change("1", test.change)
		for _, want := range []error{test.want, auth.ErrNotFound} {
			_, err = h.svc.RedeemDevice(t.Context(), "cli", codes.DeviceCode.Reveal())
			require.ErrorIs(t, err, want, name)
		}
		sessions, err := h.accounts.ListSessions(t.Context(), "1", token.Session.CreatedAt)
		require.NoError(t, err)
		require.Len(t, sessions, 1, "%s: only the session of the person", name)
	}
}

// The attack: the service user is removed after its key was verified.
func TestAServiceUserThatIsRemovedMeanwhileGetsNoToken(t *testing.T) {
	t.Parallel()
	for _, reason := range []error{auth.ErrNotFound, nil} {
		h := newHosted(t)
		form := exchangeForm(h.agent, h.token(h.person, auth.LoginOptions{}))
		lookups := 0
		h.people.find = func() error {
			if lookups++; lookups < 3 { // the owner of the key, the user, and then the service user
				return nil
			}
			disabled := h.people.byID["2"]
			disabled.IsActive = false
			h.people.byID["2"] = disabled
			return reason
		}
		a := h.post("/auth/token", form)
		require.Equal(t, 400, a.status, a.text)
		require.Equal(t, "unauthorized_client", a.code())
		require.Equal(t, 3, lookups)
	}
}

// An operator must see an outage of the store, even if all clients use OAuth. The log must not contain
// secrets.
func TestAnOutageOfTheStoreIsLogged(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	form := client(h.agent, "grant_type", "client_credentials")
	h.fail = func(method string) error {
		if method == "FindKey" {
			return errors.New("the disk is full")
		}
		return nil
	}
	a := h.post("/auth/token", form)
	require.Equal(t, 503, a.status)
	require.Equal(t, "temporarily_unavailable", a.code())
	require.NotContains(t, a.text, "disk")
	require.Contains(t, h.log.String(), "the disk is full")
	require.NotContains(t, h.log.String(), h.agent.AccessSecret.Reveal())
	h.fail = func(string) error { return nil }
	require.Equal(t, 401, h.post("/auth/token", grant("client_id", "x", "client_secret", "y")).status)
	require.NotContains(t, h.log.String(), "succeed again", "a refusal does not prove that the store answers")
	require.Equal(t, 200, h.post("/auth/token", form).status)
	require.Contains(t, h.log.String(), "succeed again")
}

func TestAnOutageIsNoRefusalOfABearerToken(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	bearer := "Bearer " + h.token(h.agent, auth.LoginOptions{})
	h.people.find = func() error { return errors.New("the host's table is locked") }
	a := h.post("/auth/introspect", url.Values{"token": {"x"}}, "Authorization", bearer)
	require.Equal(t, 503, a.status, a.text)
	require.Equal(t, "temporarily_unavailable", a.code())
}
