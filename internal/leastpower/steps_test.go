package leastpower_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
)

// steps are the changes that a world can make. Each one returns an error if the service answers otherwise
// than the model.
var steps = []func(*world, pick) error{
	(*world).login, (*world).login, (*world).login, (*world).loginFor, (*world).delegate, (*world).delegate,
	(*world).mint, (*world).mint,
	(*world).rotate, (*world).revokeKey, (*world).setScopes, (*world).setScopesAsCaller,
	(*world).register, (*world).renew, (*world).update, (*world).rename, (*world).deleteUser,
	(*world).logout, (*world).revokeSession, (*world).revokeUser,
}

// step makes one change, and then checks a token and a key.
func (w *world) step(p pick) error {
	if err := w.rescue(); err != nil {
		return err
	}
	if err := steps[p(len(steps))](w, p); err != nil {
		return err
	}
	if t := of(p, w.tokens); t != nil {
		if err := w.check(t); err != nil {
			return err
		}
	}
	return w.login(p)
}

// login signs in with a key. The token gets the key's power.
func (w *world) login(p pick) error {
	k := of(p, w.keys)
	status := http.StatusOK
	if !k.works || !k.user.there || !k.user.active {
		status = http.StatusUnauthorized
	}
	body := map[string]string{"access_key": k.id, "access_secret": k.secret}
	a, err := w.expect(nil, http.MethodPost, "/auth/users/login", body, status)
	if err != nil || status != http.StatusOK {
		return err
	}
	if !k.power.within(k.origin) {
		return fmt.Errorf("a key with %v works, although a token with %v made it", k.power.set(),
			k.origin.set())
	}
	t := &token{text: a.text("token"), user: k.user, key: k, power: k.opens(), works: true,
		expires: w.clock().Add(12 * time.Hour)}
	if t.sessionID, err = sessionOf(t.text); err != nil {
		return err
	}
	return w.addToken(t)
}

func sessionOf(token string) (string, error) {
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		return "", err
	}
	var c struct{ JTI string }
	return c.JTI, json.Unmarshal(claims, &c)
}

// refused returns the status for a caller who may not make the call, or 0. The call needs the scope.
func refused(t *token, scope string, superUser bool) int {
	switch {
	case !t.works || !t.own():
		return http.StatusUnauthorized
	case !t.power.allows(scope), superUser && !t.user.super:
		return http.StatusForbidden
	}
	return 0
}

// or returns the first status that is not 0.
func or(statuses ...int) int {
	for _, status := range statuses {
		if status != 0 {
			return status
		}
	}
	return 0
}

func when(condition bool, status int) int {
	if condition {
		return status
	}
	return 0
}

// mint makes a key with a token.
func (w *world) mint(p pick) error {
	t := of(p, w.tokens)
	if t == nil || w.keysOf(t.user) > 90 {
		return nil
	}
	wanted, body := t.power, map[string]any{}
	if p.yes() {
		if wanted = p.power(); wanted == nil {
			wanted = power{"a"}
		}
		body["scopes"] = wanted
	}
	_, given := body["scopes"]
	status := or(refused(t, auth.ScopeKeys, false),
		when(given && len(wanted) == 0, http.StatusUnprocessableEntity),
		when(!wanted.within(t.power), http.StatusForbidden), http.StatusCreated)
	a, err := w.expect(t, http.MethodPost, "/auth/keys", body, status)
	if err == nil && status == http.StatusCreated {
		w.addKey(a, t.user, wanted, t)
	}
	return err
}

func (w *world) keysOf(u *user) (n int) {
	for _, k := range w.keys {
		if k.user == u && k.works {
			n++
		}
	}
	return n
}

func (w *world) addKey(a answer, u *user, has power, by *token) *key {
	k := &key{id: a.text("access_key"), secret: a.text("access_secret"), user: u, power: has, works: true,
		origin: by.power}
	w.keys = append(w.keys, k)
	return k
}

// overKey returns the status for a caller who changes the key, or 0.
func overKey(t *token, k *key) int {
	others := k.user != t.user
	return or(refused(t, auth.ScopeKeys, false),
		when(!k.works || others && !t.user.super, http.StatusNotFound),
		when(others && !t.power.allows(auth.ScopeUsers), http.StatusForbidden),
		when(!k.power.within(t.power), http.StatusForbidden))
}

// rotate replaces the secret of a key.
func (w *world) rotate(p pick) error {
	t, k := of(p, w.tokens), of(p, w.keys)
	if t == nil {
		return nil
	}
	if t.own() && t.works && slices.Equal(t.power, rotating) && k != t.key {
		k = t.key // any other key is refused, with a status that depends on the key
	}
	status := or(overKey(t, k), when(k.mustRotate || opensServices(t, k.user), http.StatusForbidden),
		http.StatusCreated)
	if t.own() && t.works && slices.Equal(t.power, rotating) && k.mustRotate {
		status = http.StatusCreated
	}
	a, err := w.expect(t, http.MethodPost, "/auth/keys/"+k.id+"/rotate", map[string]any{}, status)
	if err != nil || status != http.StatusCreated {
		return err
	}
	k.secret = a.text("access_secret")
	if k.mustRotate {
		k.mustRotate = false
		w.revokeTokens(func(t *token) bool { return t.key == k })
	}
	return nil
}

// revokeKey revokes a key with its sessions.
func (w *world) revokeKey(p pick) error {
	t, k := of(p, w.tokens), of(p, w.keys)
	if t == nil {
		return nil
	}
	status := or(overKey(t, k), http.StatusNoContent)
	_, err := w.expect(t, http.MethodDelete, "/auth/keys/"+k.id, nil, status)
	if err == nil && status == http.StatusNoContent {
		k.works = false
		w.revokeTokens(func(t *token) bool { return t.key == k })
	}
	return err
}

// setScopes is a change by the host, which may give a key any power.
func (w *world) setScopes(p pick) error {
	k, wanted := of(p, w.keys), p.power()
	err := w.svc.Credentials().SetScopes(context.Background(), auth.ByHost("operator"), k.id, wanted.set())
	if !k.works && err != nil {
		return nil
	}
	if err != nil {
		return err
	}
	k.power, k.origin = wanted, everything
	w.revokeTokens(func(t *token) bool { return t.key == k })
	return nil
}

// setScopesAsCaller is a change by the session of a token.
func (w *world) setScopesAsCaller(p pick) error {
	t, k, wanted := of(p, w.tokens), of(p, w.keys), p.power()
	if t == nil {
		return nil
	}
	by := t.identity.Authority()
	by.SuperUser = k.user != t.user
	scope := auth.ScopeKeys
	if by.SuperUser {
		scope = auth.ScopeUsers
	}
	may := k.works && t.works && t.own() && t.power.allows(scope) && (k.user == t.user || t.user.super) &&
		k.power.within(t.power) && wanted.within(t.power) && !opensServices(t, k.user)
	err := w.svc.Credentials().SetScopes(context.Background(), by, k.id, wanted.set())
	switch {
	case may != (err == nil):
		return fmt.Errorf("SetScopes of a key with %v to %v by a token with %v: %v, allowed: %t",
			k.power.set(), wanted.set(), t.describe(), err, may)
	case may:
		k.power, k.origin = wanted, t.power
		w.revokeTokens(func(t *token) bool { return t.key == k })
	}
	return nil
}
