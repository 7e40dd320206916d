package leastpower_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/sallyport-go/auth"
)

// audiences are other services. Each one follows the revocations of the service. Its paths begin with the
// name of the service, such as /b/.
var audiences = []string{"https://b.example.com", "https://c.example.com"}

// verifierOf returns the handler of the service with this audience.
func (w *world) verifierOf(t testing.TB, audience string) http.Handler {
	t.Helper()
	verifier, err := auth.NewRemoteVerifier(auth.RemoteVerifierConfig{
		Issuer: issuer, Audience: audience, Proxies: auth.NoProxies(),
		JWKS:           w.svc.Tokens().JWKS(),
		RevocationsURL: w.server.URL + "/auth/revocations", TokenSource: w.source(t),
		RevocationInterval: time.Second, Now: w.clock, Logger: discard,
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	path := "GET " + pathOf(audience)
	mux.Handle(path+"/h/a", verifier.RequireScope("a", ok))
	mux.Handle(path+"/h/b", verifier.RequireScope("b", ok))
	who := func(w http.ResponseWriter, r *http.Request) {
		caller, err := verifier.Identify(r)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		fmt.Fprintf(w, `{"user": %q, "actor": %q}`, caller.UserID, caller.Actor)
	}
	mux.Handle(path+"/h/open", verifier.Authenticate(ok))
	mux.HandleFunc(path+"/who", who)
	return mux
}

// pathOf returns the beginning of the paths of a service, such as /b.
func pathOf(audience string) string { return "/" + strings.TrimPrefix(audience, "https://")[:1] }

// source returns the token with which the other services read the revocations. Its user is not in the
// model, so no step revokes it.
func (w *world) source(t testing.TB) oauth2.TokenSource {
	t.Helper()
	reader, err := w.svc.Register(t.Context(), auth.ByHost("test"), auth.UserParams{
		Username: fmt.Sprint("reader-", rand.Text()), IsService: true,
		Key: auth.KeyOptions{Scopes: auth.NewScopes(auth.ScopeRevocations)},
	})
	require.NoError(t, err)
	token, err := w.svc.Login(t.Context(), reader.Pair, auth.LoginOptions{})
	require.NoError(t, err)
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token.Bearer.Reveal(), TokenType: "Bearer"})
}

// clock returns the time of the world, which passes only in checkElsewhere.
func (w *world) clock() time.Time { return w.began.Add(time.Duration(w.passed.Load())) }

// checkElsewhere compares what a token can do at the other services with the model.
func (w *world) checkElsewhere(t *token) error {
	w.passed.Add(int64(2 * time.Second)) // so that the other services read the revocations
	works := t.works && w.clock().Before(t.expires)
	for _, audience := range audiences {
		accepted := works && t.audience == audience
		for path, allowed := range map[string]bool{
			"/h/a": t.power.allows("a"), "/h/b": t.power.allows("b"),
			"/h/open": t.power == nil, "/who": true,
		} {
			status := http.StatusUnauthorized
			switch {
			case accepted && !allowed:
				status = http.StatusForbidden
			case accepted && path == "/who":
				status = http.StatusOK
			case accepted:
				status = http.StatusNoContent
			}
			a, err := w.expect(t, http.MethodGet, pathOf(audience)+path, nil, status)
			if err != nil {
				return err
			}
			if status == http.StatusOK && (a.text("user") != t.user.id || a.text("actor") != t.actorID()) {
				return fmt.Errorf("a token of %s names %v", t.owner(), a.body)
			}
		}
	}
	return nil
}

func (t *token) actorID() string {
	if t.actor == nil {
		return ""
	}
	return t.actor.id
}

// rotating is the power of a token from a key whose secret must be replaced.
var rotating = power{auth.ScopeRotate}

// opens returns the power of the tokens from the key.
func (k *key) opens() power {
	if k.mustRotate {
		return rotating
	}
	return k.power
}

// loginFor signs in with narrower scopes or for another service.
func (w *world) loginFor(p pick) error {
	k := of(p, w.keys)
	audience := slices.Concat(audiences, []string{"", "https://unknown.example.com"})[p(4)]
	has := k.opens()
	var wanted power
	if p.yes() {
		wanted = p.power()
	}
	if wanted != nil {
		has = wanted
	}
	may := k.working() && has.within(k.opens()) && !strings.Contains(audience, "unknown") &&
		slices.Equal(has, rotating) == k.mustRotate && !(k.mustRotate && audience != "")
	pair := auth.KeyPair{AccessKey: k.id, AccessSecret: auth.NewSecret(k.secret)}
	made, err := w.svc.Login(context.Background(), pair,
		auth.LoginOptions{Scopes: wanted.set(), Audience: audience})
	switch {
	case may != (err == nil):
		return fmt.Errorf("a sign-in for %q with %v, by a key with %v: %v, allowed: %t", audience,
			wanted.set(), k.power.set(), err, may)
	case !may:
		return nil
	}
	t := &token{text: made.Bearer.Reveal(), sessionID: made.Session.ID, user: k.user, key: k, power: has,
		works: true, audience: audience, expires: made.Session.ExpiresAt}
	return w.addToken(t)
}

// addToken adds a token to the model, and checks it.
func (w *world) addToken(t *token) (err error) {
	if t.audience == "" {
		t.identity, err = w.svc.Tokens().Verify(context.Background(), t.text)
	} else {
		t.identity, err = w.svc.Tokens().VerifyFor(context.Background(), t.audience, t.text)
	}
	if err != nil {
		return err
	}
	if w.tokens = append(w.tokens, t); len(w.tokens) > 200 { // check those of the last steps
		w.tokens = w.tokens[100:]
	}
	return w.check(t)
}

// delegate asks for a delegated token of a service user.
func (w *world) delegate(p pick) error {
	t, s := of(p, w.tokens), w.users[p(len(w.users))]
	if t == nil {
		return nil
	}
	for range 3 { // mostly a service user, which can be disabled or deleted
		if !s.service {
			s = w.users[p(len(w.users))]
		}
	}
	audience := slices.Concat(audiences, []string{issuer, "https://unknown.example.com"})[p(4)]
	wanted := p.power()
	if p(4) > 0 { // mostly scopes that can be delegated
		wanted = slices.DeleteFunc(wanted, func(scope string) bool {
			return strings.HasPrefix(scope, "auth:") || !t.power.allows(scope)
		})
	}
	may := t.works && t.own() && !slices.Equal(t.power, rotating) && s.working() &&
		slices.Contains(s.audiences, audience) && wanted != nil &&
		wanted.within(t.power) && wanted.within(power{"a", "b"})
	made, err := w.svc.Tokens().Delegate(context.Background(), t.identity,
		auth.Delegation{For: s.id, Audience: audience, Scopes: wanted.set()})
	switch {
	case may != (err == nil):
		return fmt.Errorf("a token with %v for %q, delegated to %s (%v): %v, allowed: %t, by a token with "+
			"%v of %s", wanted.set(), audience, s.name, s.audiences, err, may, t.describe(), t.owner())
	case !may:
		return nil
	}
	return w.addToken(&token{text: made.Bearer.Reveal(), sessionID: t.sessionID, user: t.user, key: t.key,
		power: wanted, works: true, audience: audience, actor: s, expires: made.Identity.ExpiresAt})
}
