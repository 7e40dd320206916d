package leastpower_test

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/sallyport-go/auth"
)

// register adds a user. The first key has the power of the caller.
func (w *world) register(p pick) error {
	t := of(p, w.tokens)
	if t == nil {
		return nil
	}
	if len(w.users) > 30 { // few deleted users, so that the steps also meet others
		w.users = slices.DeleteFunc(w.users, func(u *user) bool { return !u.there })
	}
	if len(w.users) > 30 {
		return nil
	}
	w.names++
	u := &user{name: fmt.Sprint("user-", w.names), super: p.yes(), service: p.yes(), active: true,
		there: true}
	body := map[string]any{"username": u.name, "is_super_user": u.super}
	if u.service {
		u.audiences = audiences[p(len(audiences)+1):]
		body["is_service"], body["audiences"] = true, u.audiences
	}
	if u.email = p(3) == 0; u.email {
		body["email"] = u.name + "@example.com"
	}
	power := u.super || u.email || len(u.audiences) > 0
	mustRotate := p(3) == 0
	if mustRotate {
		body["must_rotate"] = true
	}
	status := or(refused(t, auth.ScopeUsers, true), when(power && t.power != nil, http.StatusForbidden),
		http.StatusOK)
	a, err := w.expect(t, http.MethodPost, "/auth/users/register", body, status)
	if err == nil && status == http.StatusOK {
		u.id = a.text("user_id")
		w.users = append(w.users, u)
		w.addKey(a, u, t.power, t).mustRotate = mustRotate
	}
	return err
}

// opensServices reports whether a key of the user opens services that the limited token cannot call.
func opensServices(t *token, u *user) bool {
	return t.power != nil && u != t.user && len(u.audiences) > 0
}

// renew regenerates the credentials of a user, or reinstates the user.
func (w *world) renew(p pick) error {
	t, u := of(p, w.tokens), of(p, w.users)
	if t == nil {
		return nil
	}
	call := "regenerate-credentials"
	if p.yes() {
		call = "reinstate"
	}
	status := or(refused(t, auth.ScopeUsers, true), when(!u.there, http.StatusNotFound),
		when(opensServices(t, u), http.StatusForbidden),
		when(call == "reinstate" && !u.active && u.email && t.power != nil, http.StatusForbidden),
		http.StatusOK)
	made := t.power // before the reset, which may revoke t
	a, err := w.expect(t, http.MethodPost, "/auth/users/"+u.id+"/"+call, map[string]any{}, status)
	if err == nil && status == http.StatusOK {
		w.reset(u)
		u.active = u.active || call == "reinstate"
		w.addKey(a, u, made, t)
	}
	return err
}

// update promotes, demotes, enables or disables a user.
func (w *world) update(p pick) error {
	t, u := of(p, w.tokens), of(p, w.users)
	if t == nil {
		return nil
	}
	field, value := "is_active", p.yes()
	if p.yes() {
		field = "is_super_user"
	}
	status := or(refused(t, auth.ScopeUsers, true), when(!u.there, http.StatusNotFound),
		when(!value && w.loses(u), http.StatusConflict), when(value && t.power != nil, http.StatusForbidden),
		http.StatusOK)
	_, err := w.expect(t, http.MethodPatch, "/auth/users/"+u.id, map[string]any{field: value}, status)
	if err != nil || status != http.StatusOK {
		return err
	}
	if field == "is_super_user" {
		u.super = value
		return nil
	}
	if u.active = value; !value {
		w.revokeTokens(func(t *token) bool { return t.user == u })
	}
	return nil
}

// rename gives a user another name or e-mail address.
func (w *world) rename(p pick) error {
	t, u := of(p, w.tokens), of(p, w.users)
	if t == nil {
		return nil
	}
	w.names++
	name := fmt.Sprint("user-", w.names)
	body, power, email := map[string]any{"username": name}, u.super, u.email
	switch p(4) {
	case 0:
		body, power, email = map[string]any{"email": name + "@example.com"}, true, true
	case 1:
		body, power, email = map[string]any{"email": nil}, false, false
	}
	status := or(refused(t, auth.ScopeUsers, true), when(!u.there, http.StatusNotFound),
		when(power && t.power != nil, http.StatusForbidden), http.StatusOK)
	_, err := w.expect(t, http.MethodPatch, "/auth/users/"+u.id, body, status)
	if err == nil && status == http.StatusOK {
		u.email = email
	}
	return err
}

func (w *world) deleteUser(p pick) error {
	t, u := of(p, w.tokens), of(p, w.users)
	if t == nil {
		return nil
	}
	status := or(refused(t, auth.ScopeUsers, true), when(!u.there, http.StatusNotFound),
		when(w.loses(u), http.StatusConflict), http.StatusOK)
	_, err := w.expect(t, http.MethodDelete, "/auth/users/"+u.id, nil, status)
	if err == nil && status == http.StatusOK {
		w.reset(u)
		u.there = false
	}
	return err
}

func (w *world) logout(p pick) error {
	t := of(p, w.tokens)
	if t == nil {
		return nil
	}
	status := or(when(!t.works || !t.own(), http.StatusUnauthorized), http.StatusOK)
	_, err := w.expect(t, http.MethodPost, "/auth/logout", map[string]any{}, status)
	if err == nil && status == http.StatusOK {
		w.revokeTokens(func(o *token) bool { return o.sessionID == t.sessionID })
	}
	return err
}

// revokeSession revokes the session of another token, or of the same one.
func (w *world) revokeSession(p pick) error {
	t, other := of(p, w.tokens), of(p, w.tokens)
	if t == nil {
		return nil
	}
	others := other.user != t.user
	status := or(refused(t, auth.ScopeSessions, false),
		when(!other.works || others && !t.user.super, http.StatusNotFound),
		when(others && !t.power.allows(auth.ScopeUsers), http.StatusForbidden), http.StatusNoContent)
	_, err := w.expect(t, http.MethodDelete, "/auth/sessions/"+other.sessionID, nil, status)
	if err == nil && status == http.StatusNoContent {
		w.revokeTokens(func(o *token) bool { return o.sessionID == other.sessionID })
	}
	return err
}

func (w *world) revokeUser(p pick) error {
	t, u := of(p, w.tokens), of(p, w.users)
	if t == nil {
		return nil
	}
	status := or(refused(t, auth.ScopeUsers, true), when(!u.there, http.StatusNotFound), http.StatusOK)
	_, err := w.expect(t, http.MethodPost, "/auth/tokens/revoke-user/"+u.id, map[string]any{}, status)
	if err == nil && status == http.StatusOK {
		w.revokeTokens(func(t *token) bool { return t.user == u })
	}
	return err
}
