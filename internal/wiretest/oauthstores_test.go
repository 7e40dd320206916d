package wiretest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/oauth"
	"github.com/stretchr/testify/require"
)

// oauthAnswer is an answer of the token endpoint.
type oauthAnswer struct {
	status int
	Token  string `json:"access_token"`
	Scope  *string
	Error  string
}

// tokenFor sends a form with the pair to the OAuth call.
func tokenFor(t testing.TB, svc *auth.Service, path string, pair auth.KeyPair, form url.Values) oauthAnswer {
	server, err := oauth.New(svc, oauth.Config{})
	require.NoError(t, err)
	mux := http.NewServeMux()
	server.Mount(mux)
	form.Set("client_id", pair.AccessKey)
	form.Set("client_secret", pair.AccessSecret.Reveal())
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	answer := oauthAnswer{status: w.Code}
	if w.Body.Len() > 0 {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer), w.Body.String())
	}
	return answer
}

const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
)

func signInForm() url.Values { return url.Values{"grant_type": {"client_credentials"}} }

func exchangeForm(subject string) url.Values {
	return url.Values{"grant_type": {grantExchange}, "subject_token": {subject},
		"subject_token_type": {accessTokenType}, "resource": {audience}, "scope": {reading}}
}

func withAudience(store auth.Store) func(*fixture, *auth.Config) {
	return func(f *fixture, cfg *auth.Config) {
		scopesOn(store)(f, cfg)
		cfg.Tokens.Audiences, cfg.Throttling.Off = []string{audience}, true
	}
}

// The attack: many token requests with one key run on two instances while the key is changed. After the
// change, no token of an earlier request has more power than the key has now.
func TestATokenRequestDuringAChangeOfItsKeyGetsNoMorePower(t *testing.T) {
	t.Parallel()
	narrow := auth.NewScopes(reading)
	type change struct {
		before, after *auth.ScopeSet // after is nil if no token may be accepted
		mustRotate    bool
		make          func(f *fixture, pair auth.KeyPair) error
	}
	changes := map[string]change{
		"limited": {nil, narrow, false, func(f *fixture, pair auth.KeyPair) error {
			return f.svc.Credentials().SetScopes(f.t.Context(), authtest.ByHost, pair.AccessKey, narrow)
		}},
		"limited to nothing": {narrow, auth.NewScopes(), false, func(f *fixture, pair auth.KeyPair) error {
			return f.svc.Credentials().SetScopes(f.t.Context(), authtest.ByHost, pair.AccessKey,
				auth.NewScopes())
		}},
		"revoked": {nil, nil, false, func(f *fixture, pair auth.KeyPair) error {
			return f.svc.Credentials().Revoke(f.t.Context(), authtest.ByHost, pair.AccessKey)
		}},
		"rotated, as it must be": {nil, nil, true, func(f *fixture, pair auth.KeyPair) error {
			return errorOf(f.svc.Credentials().Rotate(f.t.Context(), authtest.ByHost, pair.AccessKey, 0))
		}},
		"the user disabled": {nil, nil, false, func(f *fixture, _ auth.KeyPair) error {
			return errorOf(f.svc.UpdateUser(f.t.Context(), authtest.ByHost, f.user.ID,
				auth.UserChange{IsActive: new(false)}))
		}},
		"the user reset": {nil, nil, false, func(f *fixture, _ auth.KeyPair) error {
			return errorOf(f.svc.RegenerateCredentials(f.t.Context(), authtest.ByHost, f.user.ID,
				auth.KeyOptions{}))
		}},
		"the user deleted": {nil, nil, false, func(f *fixture, _ auth.KeyPair) error {
			return f.svc.DeleteUser(f.t.Context(), authtest.ByHost, f.user.ID)
		}},
	}
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for name, change := range changes {
			t.Run(name, func(t *testing.T) {
				f := newFixture(t, withAudience(open(t)))
				services := []*auth.Service{f.svc, f.another(t)}
				pair, err := f.svc.Credentials().Issue(t.Context(), authtest.ByHost, f.user.ID,
					auth.KeyOptions{Scopes: change.before, MustRotate: change.mustRotate})
				require.NoError(t, err)
				answers := make([]oauthAnswer, 12)
				var running sync.WaitGroup
				for i := range answers {
					running.Go(func() {
						answers[i] = tokenFor(t, services[i%2], "/auth/token", pair, signInForm())
					})
					if i == len(answers)/2 {
						running.Go(func() { err = change.make(f, pair) })
					}
				}
				running.Wait()
				require.NoError(t, err)
				f.clock.Advance(interval)
				for i, answer := range answers {
					if answer.status != http.StatusOK {
						require.Equal(t, "invalid_client", answer.Error)
						continue
					}
					identity, err := services[(i+1)%2].Tokens().Verify(t.Context(), answer.Token)
					if err == nil {
						require.NotNil(t, change.after)
						require.True(t, identity.Scopes().Within(change.after), identity.Scopes())
						require.Equal(t, identity.Scope, *answer.Scope)
						continue
					}
					require.ErrorIs(t, err, auth.ErrTokenRejected)
				}
			})
		}
	})
}

// The attack: a key that must be rotated is used for everything else that OAuth offers.
func TestAKeyThatMustBeRotatedIsOfNoOtherUseForOAuth(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		f := newFixture(t, withAudience(open(t)))
		agent, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "agent",
			IsService: true, Audiences: []string{audience}})
		require.NoError(t, err)
		user := f.signIn(f.user)
		wide := auth.NewScopes(reading, auth.ScopeIntrospect)
		for _, scopes := range []*auth.ScopeSet{nil, wide, auth.NewScopes()} {
			pair := f.mustRotate(agent.User, scopes)
			for name, form := range map[string]url.Values{
				"a scope":          {"scope": {reading}},
				"two scopes":       {"scope": {auth.ScopeRotate + " " + reading}},
				"another audience": {"resource": {audience}},
				"both":             {"resource": {audience}, "scope": {auth.ScopeRotate}},
			} {
				form.Set("grant_type", "client_credentials")
				answer := tokenFor(t, f.svc, "/auth/token", pair, form)
				require.Equal(t, http.StatusBadRequest, answer.status, name)
				require.Equal(t, "invalid_scope", answer.Error, name)
			}
			for _, scope := range []string{reading, auth.ScopeRotate, writing} {
				form := exchangeForm(user)
				form.Set("scope", scope)
				require.Equal(t, "invalid_scope", tokenFor(t, f.svc, "/auth/token", pair, form).Error, scope)
			}
			own := tokenFor(t, f.svc, "/auth/token", pair, signInForm())
			require.Equal(t, auth.ScopeRotate, *own.Scope)
			require.NotEqual(t, http.StatusOK,
				tokenFor(t, f.svc, "/auth/token", agent.Pair, exchangeForm(own.Token)).status,
				"as the subject of a delegated token")
			introspection := url.Values{"token": {user}}
			require.Equal(t, "insufficient_scope",
				tokenFor(t, f.svc, "/auth/introspect", pair, introspection).Error)
			key, found, err := f.svc.VerifyPair(t.Context(), pair)
			require.NoError(t, err)
			require.Equal(t, agent.User.ID, found.ID)
			require.True(t, auth.NewScopes(auth.ScopeRotate).Equal(key.Scopes))
		}
	})
}

// The attack: the session of the subject, or the service user, loses its power on one instance. From then
// on, another instance delegates nothing, and the delegated tokens from before are rejected.
func TestADelegatedTokenDependsOnWhatTheStoreSays(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, open func(testing.TB) auth.Store) {
		for name, test := range map[string]struct {
			lose  func(f *fixture, agent auth.Registration, session string) error
			error string
			stays bool // the delegated token stays valid
		}{
			"the session revoked": {func(f *fixture, _ auth.Registration, session string) error {
				return f.svc.Tokens().Revoke(f.t.Context(), authtest.ByHost, session)
			}, "invalid_request", false},
			"the user disabled": {func(f *fixture, _ auth.Registration, _ string) error {
				f.setActive(f.user, false)
				return nil
			}, "invalid_request", false},
			"everybody revoked": {func(f *fixture, _ auth.Registration, _ string) error {
				return f.svc.RevokeEverybody(f.t.Context(), authtest.ByHost)
			}, "invalid_request", false},
			"the service user disabled": {func(f *fixture, agent auth.Registration, _ string) error {
				f.setActive(agent.User, false)
				return nil
			}, "invalid_client", true},
			"the key limited": {func(f *fixture, agent auth.Registration, _ string) error {
				return f.svc.Credentials().SetScopes(f.t.Context(), authtest.ByHost, agent.Pair.AccessKey,
					auth.NewScopes(writing))
			}, "invalid_scope", true},
		} {
			t.Run(name, func(t *testing.T) {
				f := newFixture(t, withAudience(open(t)))
				var cfg auth.Config
				withAudience(f.store)(f, &cfg)
				cfg.Issuer, cfg.Now, cfg.SigningKeys = issuer, f.clock.Now, []auth.SigningKey{f.signer.Key}
				other, err := auth.New(f.store, cfg)
				require.NoError(t, err)
				agent, err := f.svc.Register(t.Context(), authtest.ByHost, auth.UserParams{Username: "agent",
					IsService: true, Audiences: []string{audience}})
				require.NoError(t, err)
				token := f.open(f.userPair)
				subject := token.Bearer.Reveal()
				made := tokenFor(t, other, "/auth/token", agent.Pair, exchangeForm(subject))
				require.Equal(t, http.StatusOK, made.status, made.Error)
				_, err = other.Tokens().VerifyFor(t.Context(), audience, made.Token)
				require.NoError(t, err)

				require.NoError(t, test.lose(f, agent, token.Session.ID))
				again := tokenFor(t, other, "/auth/token", agent.Pair, exchangeForm(subject))
				require.Equal(t, test.error, again.Error, "before the other instance has read the feed")
				f.clock.Advance(interval)
				_, err = other.Tokens().VerifyFor(t.Context(), audience, made.Token)
				if test.stays {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, auth.ErrTokenRejected)
			})
		}
	})
}
