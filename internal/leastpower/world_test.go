package leastpower_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// everything is the power of a key or a token without a limit. Every other power is a list of scopes.
var everything power = nil

// power is what a key or a token may do: a sorted list of scopes that is not nil, or everything.
type power []string

func (p power) allows(scope string) bool { return p == nil || slices.Contains(p, scope) }

func (p power) within(limit power) bool {
	if limit == nil || p == nil {
		return limit == nil
	}
	return !slices.ContainsFunc(p, func(scope string) bool { return !limit.allows(scope) })
}

func (p power) set() *auth.ScopeSet {
	if p == nil {
		return nil
	}
	return auth.NewScopes(p...)
}

// user, key and token are what the model knows of the records of the service.
type user struct {
	id, name             string
	super, active, there bool
	service, email       bool     // email reports whether the user has an address
	audiences            []string // for which a service user may get delegated tokens
}

type key struct {
	id, secret string
	user       *user
	power      power
	works      bool
	origin     power // of the token that made the key, at that moment
	mustRotate bool
}

type token struct {
	text, sessionID string
	user            *user
	key             *key
	power           power
	works           bool
	audience        string // empty if the token is for the service itself
	actor           *user  // the service user, if the token is delegated
	identity        auth.Identity
	expires         time.Time
}

// scopes are the scopes of the model.
var scopes = []string{"a", "b", auth.ScopeKeys, auth.ScopeSessions, auth.ScopeUsers, auth.ScopeSuperUser}

// pick returns a number from 0 to n-1.
type pick func(n int) int

func (p pick) yes() bool { return p(2) == 1 }

// of returns one of the records, or nil if there is none. It mostly returns one that works.
func of[T interface{ working() bool }](p pick, all []T) (one T) {
	if len(all) == 0 {
		return one
	}
	one = all[p(len(all))]
	for range 3 {
		if !one.working() {
			one = all[p(len(all))]
		}
	}
	return one
}

func (u *user) working() bool  { return u.there && u.active }
func (k *key) working() bool   { return k.works && k.user.working() }
func (t *token) working() bool { return t.works }

// own reports whether the token is for the calls of the service itself.
func (t *token) own() bool { return t.audience == "" && t.actor == nil }

// power returns any power.
func (p pick) power() power {
	if p(4) == 0 {
		return everything
	}
	some := power{}
	for _, scope := range scopes {
		if p.yes() {
			some = append(some, scope)
		}
	}
	slices.Sort(some)
	return some
}

// world is a service and the model of it.
type world struct {
	server *httptest.Server
	svc    *auth.Service
	began  time.Time
	passed atomic.Int64 // nanoseconds
	users  []*user
	keys   []*key
	tokens []*token
	names  int
}

const issuer = "https://api.example.com"

// newWorld returns a world with one super user, over the given store. The caller closes the server, because a
// test has so many worlds that they must not all stay until its end.
func newWorld(t testing.TB, store auth.Store) *world {
	t.Helper()
	signing, err := auth.NewEdDSAKey("", ed25519.NewKeyFromSeed([]byte(strings.Repeat("leastpow", 4))))
	require.NoError(t, err)
	w := &world{began: time.Now()}
	w.svc, err = auth.New(store, auth.Config{
		Issuer: issuer, SigningKeys: []auth.SigningKey{signing}, Proxies: auth.NoProxies(),
		Tokens:     auth.TokenConfig{Scopes: []string{"a", "b"}, Audiences: audiences},
		Throttling: auth.Throttling{Off: true}, Now: w.clock, Logger: discard,
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	w.svc.Mount(mux)
	w.svc.Mount(mux, auth.GroupVerifiers)
	mux.Handle("GET /h/a", w.svc.RequireScope("a", ok))
	mux.Handle("GET /h/b", w.svc.RequireScope("b", ok))
	mux.Handle("GET /h/open", w.svc.Authenticate(ok))
	mux.Handle("GET /h/super", w.svc.RequireSuperUser(ok))
	w.server = httptest.NewServer(mux)
	for _, audience := range audiences {
		mux.Handle(pathOf(audience)+"/", w.verifierOf(t, audience))
	}

	pair := w.svc.Credentials().GeneratePair()
	root, err := w.svc.Bootstrap(context.Background(), auth.UserParams{Username: "root"}, pair)
	require.NoError(t, err)
	u := &user{id: root.ID, name: "root", super: true, active: true, there: true}
	w.users = []*user{u}
	w.keys = []*key{{id: pair.AccessKey, secret: pair.AccessSecret.Reveal(), user: u, works: true}}
	return w
}

// ok is a route of a host.
var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
})

// answer is a response.
type answer struct {
	status int
	body   map[string]any
}

func (a answer) text(field string) string {
	text, _ := a.body[field].(string)
	return text
}

// send sends a request over the network. A nil token means no token.
func (w *world) send(t *token, method, path string, body any) (answer, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		reader = strings.NewReader(string(text))
	}
	r, err := http.NewRequest(method, w.server.URL+path, reader)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if t != nil {
		r.Header.Set("Authorization", "Bearer "+t.text)
	}
	response, err := w.server.Client().Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	a := answer{status: response.StatusCode}
	if len(text) > 0 && text[0] == '{' {
		err = json.Unmarshal(text, &a.body)
	}
	return a, err
}

// expect sends a request and returns an error unless the answer has the status.
func (w *world) expect(t *token, method, path string, body any, status int) (answer, error) {
	a, err := w.send(t, method, path, body)
	if err == nil && a.status != status {
		err = fmt.Errorf("%s %s %v by a token with %v of %s: %d %v instead of %d", method, path, body,
			t.describe(), t.owner(), a.status, a.body, status)
	}
	return a, err
}

func (t *token) describe() string {
	if t == nil {
		return "no token"
	}
	return fmt.Sprintf("%v (works: %t)", t.power.set(), t.works)
}

func (t *token) owner() string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%s (super: %t, active: %t)", t.user.name, t.user.super, t.user.active)
}

// revokeTokens marks the tokens as rejected.
func (w *world) revokeTokens(which func(*token) bool) {
	for _, t := range w.tokens {
		t.works = t.works && !which(t)
	}
}

// reset marks everything with which the user can sign in as revoked.
func (w *world) reset(u *user) {
	for _, k := range w.keys {
		k.works = k.works && k.user != u
	}
	w.revokeTokens(func(t *token) bool { return t.user == u })
}

// loses reports whether no active super user would be left without this one.
func (w *world) loses(u *user) bool {
	isPerson := func(o *user) bool { return o.super && !o.service && o.working() }
	others := slices.ContainsFunc(w.users, func(o *user) bool { return o != u && isPerson(o) })
	return isPerson(u) && !others
}

// rescue gives the first active super user a key without a limit, if no super user has one.
func (w *world) rescue() error {
	for _, k := range w.keys {
		if k.working() && k.user.super && k.opens() == nil {
			return nil
		}
	}
	for _, u := range w.users {
		if u.working() && u.super && !u.service {
			pair, err := w.svc.RecoverSuperUser(context.Background(), u.id)
			w.reset(u)
			w.keys = append(w.keys,
				&key{id: pair.AccessKey, secret: pair.AccessSecret.Reveal(), user: u, works: true})
			return err
		}
	}
	return errors.New("no active super user is left")
}

// check compares what a token can do with the model.
func (w *world) check(t *token) error {
	probe := func(path string, allowed bool) error {
		status := http.StatusNoContent
		switch {
		case !t.works || !t.own():
			status = http.StatusUnauthorized
		case !allowed:
			status = http.StatusForbidden
		case !strings.HasPrefix(path, "/h/"):
			status = http.StatusOK
		}
		_, err := w.expect(t, http.MethodGet, path, nil, status)
		return err
	}
	for path, allowed := range map[string]bool{
		"/auth/user":     !slices.Equal(t.power, rotating),
		"/h/a":           t.power.allows("a"),
		"/h/b":           t.power.allows("b"),
		"/h/open":        t.power == nil,
		"/auth/keys":     t.power.allows(auth.ScopeKeys),
		"/auth/sessions": t.power.allows(auth.ScopeSessions),
		"/auth/users":    t.power.allows(auth.ScopeUsers) && t.user.super,
		"/h/super":       t.power.allows(auth.ScopeSuperUser) && t.user.super,
	} {
		if err := probe(path, allowed); err != nil {
			return err
		}
	}
	return w.checkElsewhere(t)
}
