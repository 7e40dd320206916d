package wiretest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
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
	other *auth.Service

	boss    auth.Registration // the super user whose token is stolen
	session auth.Token
	bearer  string
}

func newStolen(t *testing.T, store auth.Store, change ...func(*auth.Config)) *stolen {
	t.Helper()
	s := &stolen{}
	var cfg auth.Config
	s.fixture = newFixture(t, func(f *fixture, c *auth.Config) {
		f.store = store
		c.SigningKeys = []auth.SigningKey{f.signer.Key}
		c.Throttling.Off = true
		for _, change := range change {
			change(c)
		}
		cfg = *c
	})
	var err error
	s.other, err = auth.New(store, cfg)
	require.NoError(t, err)
	s.boss, err = s.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{
		Username: "boss", IsSuperUser: true,
	})
	require.NoError(t, err)
	s.session, err = s.svc.Login(t.Context(), s.boss.Pair)
	require.NoError(t, err)
	s.bearer = s.session.Bearer.Reveal()
	for _, svc := range []*auth.Service{s.svc, s.other} {
		require.Equal(t, http.StatusOK, status(svc, s.bearer))
	}
	return s
}

// lastingCall is a documented HTTP call that makes a lasting change.
type lastingCall struct {
	name, method, body string
	target             func(s *stolen) string
	ofSuperUsers       bool
}

func fixed(target string) func(*stolen) string { return func(*stolen) string { return target } }

var lastingCalls = []lastingCall{
	{"create a key", http.MethodPost, `{"label": "mine"}`, fixed("/auth/keys"), false},
	{"rotate a key", http.MethodPost, `{"overlap_seconds": 3600}`, func(s *stolen) string {
		return "/auth/keys/" + s.boss.Pair.AccessKey + "/rotate"
	}, false},
	{"rotate another user's key", http.MethodPost, `{}`, func(s *stolen) string {
		return "/auth/keys/" + s.userPair.AccessKey + "/rotate"
	}, true},
	{"revoke another user's key", http.MethodDelete, "", func(s *stolen) string { return "/auth/keys/" + s.userPair.AccessKey }, true},
	{"register a super user", http.MethodPost, `{"username": "accomplice", "email": "a@example.com", "is_super_user": true}`, fixed("/auth/users/register"), true},
	{"register by the published path", http.MethodPost, `{"username": "accomplice", "email": "a@example.com"}`, fixed("/api/v1/user/register"), true},
	{"promote a user", http.MethodPatch, `{"is_super_user": true}`, func(s *stolen) string { return "/auth/users/" + s.user.ID }, true},
	{"disable a user", http.MethodPatch, `{"is_active": false}`, func(s *stolen) string { return "/auth/users/" + s.user.ID }, true},
	{"regenerate a user's credentials", http.MethodPost, "", func(s *stolen) string {
		return "/auth/users/" + s.user.ID + "/regenerate-credentials"
	}, true},
	{"reinstate a user", http.MethodPost, "", func(s *stolen) string { return "/auth/users/" + s.user.ID + "/reinstate" }, true},
	{"revoke a user's sessions", http.MethodPost, "", func(s *stolen) string { return "/auth/tokens/revoke-user/" + s.user.ID }, true},
	{"delete a user", http.MethodDelete, "", func(s *stolen) string { return "/auth/users/" + s.user.ID }, true},
}

// powerLoss is a way in which the stolen token loses its rights.
type powerLoss struct {
	name   string
	apply  func(ctx context.Context, s *stolen) error
	demote bool // the token loses only the rights of a super user
}

var powerLosses = []powerLoss{
	{"the session is revoked", func(ctx context.Context, s *stolen) error {
		return s.svc.Tokens().Revoke(ctx, authtest.ByHost, s.session.Session.ID)
	}, false},
	{"the token is revoked", func(ctx context.Context, s *stolen) error { return s.svc.Tokens().RevokeToken(ctx, s.bearer) }, false},
	{"the user's sessions are revoked", func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.RevokeUser(ctx, authtest.ByHost, s.boss.User.ID))
	}, false},
	{"the user is reset", func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.RegenerateCredentials(ctx, authtest.ByHost, s.boss.User.ID))
	}, false},
	{"the user is disabled", func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.UpdateUser(ctx, authtest.ByHost, s.boss.User.ID,
			auth.UserChange{IsActive: new(false)}))
	}, false},
	{"the user is demoted", func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.UpdateUser(ctx, authtest.ByHost, s.boss.User.ID,
			auth.UserChange{IsSuperUser: new(false)}))
	}, true},
	{"the user is deleted", func(ctx context.Context, s *stolen) error {
		return s.svc.DeleteUser(ctx, authtest.ByHost, s.boss.User.ID)
	}, false},
	{"the key is revoked", func(ctx context.Context, s *stolen) error {
		return s.svc.Credentials().Revoke(ctx, authtest.ByHost, s.boss.Pair.AccessKey)
	}, false},
	{"the key is revoked as leaked", func(ctx context.Context, s *stolen) error {
		return errorOf(s.svc.Credentials().RevokeLeaked(ctx, s.boss.Pair.AccessSecret))
	}, false},
	{"everybody's sessions are revoked", func(ctx context.Context, s *stolen) error {
		return s.svc.RevokeEverybody(ctx, authtest.ByHost)
	}, false},
}

// snapshot returns everything in the store that a lasting call could change.
func (s *stolen) snapshot() (all []any) {
	s.t.Helper()
	users, err := s.store.ListUsers(s.t.Context(), "", 1000)
	require.NoError(s.t, err)
	for _, user := range users {
		keys, err := s.store.ListKeys(s.t.Context(), user.ID)
		require.NoError(s.t, err)
		sessions, err := s.store.ListSessions(s.t.Context(), user.ID, time.Time{}.Add(time.Hour))
		require.NoError(s.t, err)
		all = append(all, user, keys, sessions)
	}
	return all
}

// expected returns the status of the call after the loss of rights, or 0 if the call still
// succeeds.
func (c lastingCall) expected(e powerLoss) int {
	switch {
	case !e.demote:
		return http.StatusUnauthorized
	case strings.Contains(c.name, "another user's key"):
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
				s := newStolen(t, open(t))
				require.NoError(t, e.apply(t.Context(), s))
				before := s.snapshot()
				for _, c := range lastingCalls {
					want := c.expected(e)
					if want == 0 {
						continue
					}
					require.Equal(t, want, s.call(s.other, c), c.name)
					require.Equal(t, before, s.snapshot(), c.name)
				}
			})
		}
	})
}

func (s *stolen) call(svc *auth.Service, c lastingCall) int {
	return send(svc.Handler(), c.method, c.target(s), c.body, "Authorization", "Bearer "+s.bearer).status
}

// The middleware accepts the request before the loss of rights, and the body of the request arrives
// afterwards.
func TestARequestWhoseBodyArrivesAfterARevocationMakesNoLastingChange(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for _, e := range powerLosses {
			t.Run(e.name, func(t *testing.T) {
				s := newStolen(t, open(t))
				var held []*heldRequest
				for _, c := range lastingCalls {
					if want := c.expected(e); want == 0 || c.method == http.MethodDelete {
						continue // a DELETE has no body to wait for
					}
					for _, svc := range []*auth.Service{s.svc, s.other} {
						held = append(held, s.hold(svc, c))
					}
				}
				require.NoError(t, e.apply(t.Context(), s))
				before := s.snapshot()
				for _, h := range held {
					require.Equal(t, h.call.expected(e), h.release(), h.call.name)
					require.Equal(t, before, s.snapshot(), h.call.name)
				}
			})
		}
	})
}

// heldRequest is a request that the middleware has accepted, but whose body has not arrived yet.
type heldRequest struct {
	call   lastingCall
	body   *heldBody
	answer chan int
}

type heldBody struct {
	reached, released chan struct{}
	text              *bytes.Reader
	waited            bool
}

func (b *heldBody) Read(p []byte) (int, error) {
	if !b.waited {
		b.waited = true
		close(b.reached)
		<-b.released
	}
	return b.text.Read(p)
}

func (s *stolen) hold(svc *auth.Service, c lastingCall) *heldRequest {
	s.t.Helper()
	text := c.body
	if text == "" {
		text = "{}"
	}
	h := &heldRequest{
		c,
		&heldBody{make(chan struct{}), make(chan struct{}), bytes.NewReader([]byte(text)), false},
		make(chan int, 1),
	}
	r := httptest.NewRequest(c.method, c.target(s), io.NopCloser(h.body))
	r.ContentLength = int64(len(text))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.bearer)
	go func() {
		w := httptest.NewRecorder()
		svc.Handler().ServeHTTP(w, r)
		h.answer <- w.Code
	}()
	select {
	case <-h.body.reached:
	case code := <-h.answer:
		s.t.Fatalf("%s: answered %d before its body arrived", c.name, code)
	}
	return h
}

func (h *heldRequest) release() int {
	close(h.body.released)
	return <-h.answer
}
