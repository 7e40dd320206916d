package wiretest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// mustRotate makes a key that the user must rotate.
func (f *fixture) mustRotate(user auth.User, scopes *auth.ScopeSet) auth.KeyPair {
	f.t.Helper()
	pair, err := f.svc.Credentials().Issue(f.t.Context(), authtest.ByHost, user.ID,
		auth.KeyOptions{Scopes: scopes, MustRotate: true})
	require.NoError(f.t, err)
	return pair
}

func rotationOf(pair auth.KeyPair) string { return "/auth/keys/" + pair.AccessKey + "/rotate" }

// requireMustRotate fails the test unless the response says that the key must be rotated first.
func requireMustRotate(t testing.TB, r response, message ...any) {
	t.Helper()
	require.Equal(t, http.StatusForbidden, r.status, message...)
	challenges := r.header.Values("WWW-Authenticate")
	require.Equal(t, []string{challengeFor(auth.ScopeRotate)}, challenges, message...)
	require.Equal(t, `{"detail":"The access key must be rotated first, by a session that it opens"}`+"\n",
		r.body, message...)
}

// newKeys are the calls that make a key which the user can have to rotate.
var newKeys = map[string]struct{ path, fields string }{
	"register":               {"/api/v1/user/register", `"username": "carol", `},
	"register, our path":     {"/auth/users/register", `"username": "carol", `},
	"register a super user":  {"/auth/users/register", `"username": "carol", "is_super_user": true, `},
	"regenerate credentials": {"/auth/users/USER/regenerate-credentials", ""},
	"reinstate":              {"/auth/users/USER/reinstate", ""},
}

// makeKey makes the call newKeys[name] with this value of must_rotate.
func (f *fixture) makeKey(name, mustRotate string) response {
	f.t.Helper()
	call := newKeys[name]
	return f.sendAs(f.signIn(f.admin), http.MethodPost, strings.ReplaceAll(call.path, "USER", f.user.ID),
		"{"+call.fields+`"must_rotate": `+mustRotate+"}")
}

func TestAKeyThatMustBeRotatedWorksAfterItsRotation(t *testing.T) {
	t.Parallel()
	for name := range newKeys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, hostScopes)
			made := f.makeKey(name, "true")
			require.Equal(t, http.StatusOK, made.status, made.body)
			pair := made.pair(t)

			login := f.login(pair)
			require.Equal(t, http.StatusOK, login.status)
			require.Len(t, login.json(t), 4, "the answer has the same fields as always")
			token := login.json(t)["token"].(string)
			requireMustRotate(t, f.sendAs(token, http.MethodGet, "/auth/user", ""))

			rotated := f.sendAs(token, http.MethodPost, rotationOf(pair), "")
			require.Equal(t, http.StatusCreated, rotated.status, rotated.body)
			require.Nil(t, rotated.json(t)["scopes"])
			seen := f.sendAs(token, http.MethodGet, "/auth/user", "")
			require.Equal(t, http.StatusUnauthorized, seen.status, "this instance knows it at once")
			again := f.sendAs(token, http.MethodPost, rotationOf(pair), "")
			require.Equal(t, http.StatusUnauthorized, again.status, "the token rotates once")
			f.requireLogin(pair, http.StatusUnauthorized)

			next := f.login(rotated.pair(t)).json(t)["token"].(string)
			require.Equal(t, http.StatusOK, f.sendAs(next, http.MethodGet, "/auth/user", "").status)
			listed := f.sendAs(next, http.MethodGet, "/auth/keys", "").array(t)
			require.Equal(t, false, listed[0]["must_rotate"])
		})
	}
}

// Attack: a token that can only rotate its key makes every call.
func TestATokenThatMustRotateItsKeyDoesNothingElse(t *testing.T) {
	t.Parallel()
	for _, o := range wire.calls {
		if !protected(o) {
			continue
		}
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			g := newGitHub(t, githubHostScopes)
			for _, scopes := range []*auth.ScopeSet{nil, auth.NewScopes(allScopes...), auth.NewScopes()} {
				pair := g.mustRotate(g.admin, scopes)
				token := g.open(pair)
				path := strings.NewReplacer("{id}", token.Session.ID, "{access_key}", pair.AccessKey).
					Replace(o.path)
				answer := g.sendAs(token.Bearer.Reveal(), o.method, path, "")
				switch o.String() {
				case "POST /auth/logout":
					require.Equal(t, http.StatusOK, answer.status)
				case "POST /auth/keys/{access_key}/rotate":
					require.Equal(t, http.StatusCreated, answer.status)
					require.True(t, scopes.Equal(g.scopesOf(answer.pair(t))))
				default:
					requireMustRotate(t, answer)
				}
			}
		})
	}
}

// Attack: the same token on the routes of the host.
func TestATokenThatMustRotateItsKeyPassesNoRoute(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	served := 0
	for _, scopes := range []*auth.ScopeSet{nil, auth.NewScopes(reading)} {
		token := f.open(f.mustRotate(f.admin, scopes)).Bearer.Reveal()
		for name, guarded := range map[string]http.Handler{
			"plain": f.svc.Authenticate(reached(&served)),
			"scope": f.svc.RequireScope(reading, reached(&served)),
			"super": f.svc.RequireSuperUser(reached(&served)),
		} {
			r := send(guarded, http.MethodGet, "/", "", "Authorization", "Bearer "+token)
			requireMustRotate(t, r, name)
		}
	}
	require.Zero(t, served)
}

// Attack: a service user asks for a delegated token of such a session, even for one without scopes.
func TestASessionThatMustRotateItsKeyGetsNoDelegatedToken(t *testing.T) {
	t.Parallel()
	everyDelegator(t, func(t *testing.T, d *delegator) {
		token := d.open(d.mustRotate(auth.User{ID: d.aliceID}, nil))
		caller, err := d.svc.Tokens().Verify(t.Context(), token.Bearer.Reveal())
		require.NoError(t, err)
		for _, scopes := range []*auth.ScopeSet{auth.NewScopes(), auth.NewScopes(reading)} {
			_, err := d.delegate(caller, func(x *auth.Delegation) { x.Scopes = scopes })
			var insufficient *auth.InsufficientScopeError
			require.ErrorAs(t, err, &insufficient, scopes)
			require.Equal(t, auth.ScopeRotate, insufficient.Scope)
		}
	})
}

// Attack: other sessions rotate a key that must be rotated, and its session rotates other keys.
func TestOnlyItsOwnSessionRotatesAKeyThatMustBeRotated(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, scopesOn(open(t)))
		pair, second := f.mustRotate(f.user, nil), f.mustRotate(f.user, nil)
		own, other := f.open(pair).Bearer.Reveal(), f.open(second).Bearer.Reveal()
		for name, token := range map[string]string{
			"unlimited": f.signIn(f.user), "a second key": other, "a super user": f.signIn(f.admin),
			"limited": f.limited(f.user, auth.ScopeKeys),
		} {
			requireMustRotate(t, f.sendAs(token, http.MethodPost, rotationOf(pair), ""), name)
		}
		stranger := f.open(f.mustRotate(f.other(), nil)).Bearer.Reveal()
		foreign := f.sendAs(stranger, http.MethodPost, rotationOf(pair), "")
		require.Equal(t, http.StatusNotFound, foreign.status)
		requireMustRotate(t, f.sendAs(own, http.MethodPost, rotationOf(f.userPair), ""))
		foreign = f.sendAs(own, http.MethodPost, rotationOf(f.adminPair), "")
		require.Equal(t, http.StatusNotFound, foreign.status)

		for _, body := range []string{`{"overlap_seconds": 1}`, `{"overlap_seconds": 604800}`} {
			refused := f.sendAs(own, http.MethodPost, rotationOf(pair), body)
			require.Equal(t, http.StatusUnprocessableEntity, refused.status)
			require.Contains(t, refused.body, "overlap_seconds must be 0")
		}
		f.requireLogin(pair, http.StatusOK)
		require.Equal(t, http.StatusCreated,
			f.sendAs(own, http.MethodPost, rotationOf(pair), `{"overlap_seconds": 0}`).status)
		f.requireLogin(pair, http.StatusUnauthorized)
		f.requireLogin(second, http.StatusOK)

		by := auth.Identity{UserID: f.user.ID, SessionID: f.open(second).Session.ID}.Authority()
		_, err := f.svc.Credentials().Rotate(t.Context(), by, second.AccessKey, 0)
		requireInsufficient(t, auth.ScopeKeys, err)
		by.Scope = auth.ScopeRotate
		_, err = f.svc.Credentials().Rotate(t.Context(), by, second.AccessKey, 0)
		require.NoError(t, err, "a host passes the scope")
	})
}

// Attack: a person who knows the first secret signs in on one instance. The sign-in is held after the
// secret was verified. Meanwhile, the owner rotates the key on another instance.
func TestASignInWithTheFirstSecretGetsNothingAfterTheRotation(t *testing.T) {
	t.Parallel()
	for name, scopes := range map[string]*auth.ScopeSet{"no limit": nil, "limited": auth.NewScopes(reading)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var gate storeGate
			f := newFixture(t, hostScopes, withFaults(gate.pass))
			pair := f.mustRotate(f.user, scopes)
			owner := f.open(pair).Bearer.Reveal()
			reachedStore, release := make(chan struct{}), make(chan struct{})
			gate.next.Store(&gated{"CreateSession", func() { close(reachedStore); <-release }})
			answer := make(chan response)
			go func() { answer <- f.login(pair) }()
			<-reachedStore
			rotated := f.sendAs(owner, http.MethodPost, rotationOf(pair), "")
			require.Equal(t, http.StatusCreated, rotated.status)
			close(release)
			login := <-answer
			require.Equal(t, http.StatusUnauthorized, login.status)
			require.Contains(t, login.body, "Invalid access key or secret")
		})
	}
}

func TestMustRotateIsStrictlyRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	for name := range newKeys {
		for _, value := range []string{`"yes"`, `1`, `[]`} {
			r := f.makeKey(name, value)
			require.Equal(t, http.StatusUnprocessableEntity, r.status, name)
			require.Contains(t, r.body, "must_rotate", name)
		}
	}
	r := f.sendAs(f.signIn(f.user), http.MethodPost, "/auth/keys", `{"must_rotate": true}`)
	require.Equal(t, http.StatusUnprocessableEntity, r.status, "the caller knows the secret anyway")
	made := f.makeKey("register", "false")
	require.Equal(t, http.StatusOK, made.status)
	require.Equal(t, http.StatusOK, f.login(made.pair(t)).status)
	require.Nil(t, f.scopesOf(made.pair(t)))
}

// A host without scopes has routes that accept every token.
func TestWithoutScopesInTheConfigurationNoKeyMustBeRotated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name := range newKeys {
		r := f.makeKey(name, "true")
		require.Equal(t, http.StatusUnprocessableEntity, r.status, name)
		require.Contains(t, r.body, "must_rotate", name)
	}
	options := auth.KeyOptions{MustRotate: true}
	_, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID, options)
	require.ErrorIs(t, err, auth.ErrInvalid)
	f.requireLogin(f.userPair, http.StatusOK)
}

func TestAnImportedKeyCannotHaveToBeRotated(t *testing.T) {
	t.Parallel()
	f := newFixture(t, scopesOn(testStores["memory"](t)))
	imported := auth.ImportedKey{AccessKey: "alices-old-key", UserID: f.user.ID,
		Secret: auth.NewSecret("correct horse battery staple"), KeyOptions: auth.KeyOptions{MustRotate: true}}
	err := f.svc.Credentials().Import(t.Context(), authtest.ByHost, imported)
	require.ErrorContains(t, err, "must_rotate")
	require.ErrorIs(t, err, auth.ErrInvalid)
	imported.MustRotate = false
	require.NoError(t, f.svc.Credentials().Import(t.Context(), authtest.ByHost, imported))
}

// The host removes its scopes from the configuration after it has made a key that must be rotated.
func TestAKeyMustBeRotatedAlsoAfterTheScopesWereRemoved(t *testing.T) {
	t.Parallel()
	var cfg auth.Config
	f := newFixture(t, func(f *fixture, c *auth.Config) {
		c.SigningKeys = []auth.SigningKey{f.signer.Key}
		cfg = *c
		c.Tokens.Scopes = []string{}
	})
	pair := f.mustRotate(f.user, nil)
	var err error
	f.svc, err = auth.New(f.store, cfg)
	require.NoError(t, err)
	token := f.open(pair).Bearer.Reveal()
	requireMustRotate(t, f.sendAs(token, http.MethodGet, "/auth/keys", ""))
	require.Equal(t, http.StatusCreated, f.sendAs(token, http.MethodPost, rotationOf(pair), "").status)
}

func TestARequiredRotationHoldsOnAllInstances(t *testing.T) {
	t.Parallel()
	s := newStolen(t, authtest.FaultyStore(testStores["memory"](t), func(string) error { return nil }),
		func(cfg *auth.Config) { cfg.Tokens.Scopes = []string{} })
	pair := s.mustRotate(s.user, nil)
	first, second := s.open(pair).Bearer.Reveal(), s.open(pair).Bearer.Reveal()
	require.Equal(t, http.StatusCreated, s.sendAs(first, http.MethodPost, rotationOf(pair), "").status)
	s.clock.Advance(10 * time.Second)
	for _, token := range []string{first, second} {
		r := send(s.other.Handler(), http.MethodPost, rotationOf(pair), "", "Authorization", "Bearer "+token)
		require.Equal(t, http.StatusUnauthorized, r.status)
	}
}

func TestTheEventOfARequiredRotationSaysSo(t *testing.T) {
	t.Parallel()
	f := newFixture(t, hostScopes)
	pair := f.mustRotate(f.user, nil)
	token := f.open(pair)
	f.sendAs(token.Bearer.Reveal(), http.MethodPost, rotationOf(pair), "")
	events, err := f.svc.Events(t.Context(), auth.EventFilter{Kind: eventkind.KeyRotated}, 10)
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, "the key had to be rotated", events[0].Reason)
	require.Equal(t, pair.AccessKey, events[0].AccessKey)
	require.Equal(t, token.Session.ID, events[0].SessionID)
	text, err := json.Marshal(events[0])
	require.NoError(t, err)
	require.NotContains(t, string(text), pair.AccessSecret.Reveal())
}
