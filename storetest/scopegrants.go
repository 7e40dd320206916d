package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// grantPromises need one store each, because they read the feed and revoke the sessions of all users.
var grantPromises = []promise[auth.AccountStore]{
	{"a limited session grants only what it has", limitedSessionGrants},
	{"a limited session changes only keys within its scopes", keysWithinScopes},
	{"a session without the scope of the authority changes nothing", scopeOfAuthority},
	{"a limited session does not change a key that gets more scopes meanwhile", changesOfKeyThatGrows},
}

// grant is a verb that a limited session with the scopes [limit] calls.
type grant struct {
	verb

	// If refused is true, the store must refuse the call. The error names the scope that the session
	// lacks. It names no scope if only a session without a limit may make the call.
	refused bool
	missing string
}

var (
	limit  = auth.NewScopes("a:read", "b:read")           // of the session
	within = auth.NewScopes("a:read")                     // the session may grant these scopes
	beyond = auth.NewScopes("a:read", "b:read", "c:read") // the session lacks the last of these scopes
)

func allowed(name string, prepare func(*testing.T, auth.AccountStore, account) attempt) grant {
	return grant{verb: verb{name: name, prepare: prepare}}
}

// lacking returns a grant that the store must refuse, because the session lacks the scope. It lacks all
// other scopes if the scope is empty.
func lacking(
	scope, name string, prepare func(*testing.T, auth.AccountStore, account) attempt,
) grant {
	return grant{verb: verb{name: name, prepare: prepare}, refused: true, missing: scope}
}

// byAdmin returns the grant for a verb that needs the authority of a super user.
func (g grant) byAdmin() grant {
	g.admin = true
	return g
}

// ofUsers returns the grant for a verb that needs a super user and a store with users.
func (g grant) ofUsers() grant {
	g.admin, g.users = true, true
	return g
}

var grants = []grant{
	allowed("AddKey within the scopes", addingKey(within)),
	allowed("AddKey with the same scopes", addingKey(limit)),
	allowed("AddKey with the empty set", addingKey(auth.NewScopes())),
	lacking("c:read", "AddKey with a scope more", addingKey(beyond)),
	lacking("", "AddKey without a limit", addingKey(nil)),
	allowed("AddKey for another user", ofAnother(addingKey(within))).byAdmin(),
	lacking("", "AddKey without a limit for another user", ofAnother(addingKey(nil))).byAdmin(),

	allowed("RotateKey within the scopes", rotatingKey(within)),
	lacking("c:read", "RotateKey with a scope more", rotatingKey(beyond)),
	lacking("", "RotateKey without a limit", rotatingKey(nil)),
	lacking("", "RotateKey of another user", ofAnother(rotatingKey(nil))).byAdmin(),

	allowed("RevokeKey within the scopes", revokingKey(within)),
	lacking("c:read", "RevokeKey with a scope more", revokingKey(beyond)),
	lacking("", "RevokeKey without a limit", revokingKey(nil)),
	lacking("", "RevokeKey of another user", ofAnother(revokingKey(nil))).byAdmin(),

	allowed("SetKeyScopes to fewer", settingScopes(limit, within)),
	allowed("SetKeyScopes to more", settingScopes(auth.NewScopes(), limit)),
	lacking("c:read", "SetKeyScopes to a scope more", settingScopes(within, beyond)),
	lacking("c:read", "SetKeyScopes from a scope more", settingScopes(beyond, within)),
	lacking("", "SetKeyScopes to no limit", settingScopes(within, nil)),
	lacking("", "SetKeyScopes from no limit", settingScopes(nil, within)),
	lacking("", "SetKeyScopes of another user", ofAnother(settingScopes(nil, within))).byAdmin(),

	allowed("Register within the scopes", registering(noEmail(newUser), within)).ofUsers(),
	lacking("c:read", "Register with a scope more", registering(noEmail(newUser), beyond)).ofUsers(),
	lacking("", "Register without a limit", registering(noEmail(newUser), nil)).ofUsers(),
	lacking("", "Register of a super user", registering(noEmail(newSuperUser), within)).ofUsers(),

	allowed("RegisterUsers within the scopes", registeringAll(noEmail(newUser), within, limit)).ofUsers(),
	lacking("c:read", "RegisterUsers, the last with a scope more",
		registeringAll(noEmail(newUser), within, beyond)).ofUsers(),
	lacking("", "RegisterUsers, the last without a limit",
		registeringAll(noEmail(newUser), within, nil)).ofUsers(),
	lacking("", "RegisterUsers, the last a super user",
		registeringAll(noEmail(newSuperUser), within)).ofUsers(),

	allowed("UpdateUser without a change", updating(newUser, auth.UserChange{})).ofUsers(),
	allowed("UpdateUser that disables", updating(newUser, disable)).ofUsers(),
	allowed("UpdateUser that demotes", updating(newSuperUser, demote)).ofUsers(),
	lacking("", "UpdateUser that promotes", updating(newUser, promote)).ofUsers(),
	lacking("", "UpdateUser that enables", updating(newDisabled, enable)).ofUsers(),
	lacking("", "UpdateUser that enables and demotes",
		updating(newDisabled, auth.UserChange{IsActive: new(true), IsSuperUser: new(false)})).ofUsers(),
	lacking("", "UpdateUser that promotes and disables",
		updating(newUser, auth.UserChange{IsActive: new(false), IsSuperUser: new(true)})).ofUsers(),

	allowed("ResetUser within the scopes", resetting(newUser, auth.UserChange{}, within)).ofUsers(),
	allowed("ResetUser that enables", resetting(noEmail(newDisabled), enable, within)).ofUsers(),
	allowed("ResetUser that disables", resetting(newUser, disable, within)).ofUsers(),
	allowed("ResetUser that demotes", resetting(newSuperUser, demote, within)).ofUsers(),
	lacking("", "ResetUser that promotes", resetting(newUser, promote, within)).ofUsers(),
	lacking("c:read", "ResetUser with a scope more", resetting(newUser, auth.UserChange{}, beyond)).ofUsers(),
	lacking("", "ResetUser without a limit", resetting(newUser, auth.UserChange{}, nil)).ofUsers(),

	allowed("DeleteUser", prepareDeleteUser).ofUsers(),
	allowed("RevokeSession", prepareRevokeSession),
	allowed("RevokeSession of another user", ofAnother(prepareRevokeSession)).byAdmin(),
	allowed("RevokeUserSessions", prepareRevokeUserSessions),
	allowed("RevokeUserSessions of another user", ofAnother(prepareRevokeUserSessions)).byAdmin(),
	allowed("RevokeEverybody", prepareRevokeEverybody).byAdmin(),
	allowed("UnlinkGitHub", prepareUnlinkGitHub),
	allowed("UnlinkGitHub of another user", ofAnother(prepareUnlinkGitHub)).byAdmin(),
	allowed("DeleteGitHubToken", prepareDeleteGitHubToken),
	allowed("DeleteGitHubToken of another user", ofAnother(prepareDeleteGitHubToken)).byAdmin(),
	lacking("", "ConnectGitHub", prepareConnectGitHub),
	lacking("", "ForgetGitHubAccount", prepareForgetGitHubAccount).byAdmin(),
}

func newDisabled() auth.User { return changed(newUser(), disable) }

func addingKey(scopes *auth.ScopeSet) func(*testing.T, auth.AccountStore, account) attempt {
	return func(_ *testing.T, store auth.AccountStore, a account) attempt {
		return attempt{
			call: func(ctx context.Context, w auth.Write) error {
				return store.AddKey(ctx, w, newLimitedKey(a.user, scopes))
			},
			changes: []string{a.user.ID},
		}
	}
}

// keyCall changes the key with the given ID.
type keyCall func(ctx context.Context, store auth.AccountStore, w auth.Write, id string) error

// changingKey adds a key that opens a session, and returns a call that changes the key.
func changingKey(scopes *auth.ScopeSet, call keyCall) func(*testing.T, auth.AccountStore, account) attempt {
	return func(t *testing.T, store auth.AccountStore, a account) attempt {
		key := addLimitedKey(t, store, a.user, scopes)
		openSession(t, store, newSession(key))
		return attempt{
			call:    func(ctx context.Context, w auth.Write) error { return call(ctx, store, w, key.ID) },
			changes: []string{a.user.ID},
		}
	}
}

func rotateKey(ctx context.Context, store auth.AccountStore, w auth.Write, id string) error {
	_, err := store.RotateKey(ctx, w, id, rotation(unique("hash")))
	return err
}

func revokeKey(ctx context.Context, store auth.AccountStore, w auth.Write, id string) error {
	return store.RevokeKey(ctx, w, id)
}

func rotatingKey(scopes *auth.ScopeSet) func(*testing.T, auth.AccountStore, account) attempt {
	return changingKey(scopes, rotateKey)
}

func revokingKey(scopes *auth.ScopeSet) func(*testing.T, auth.AccountStore, account) attempt {
	return changingKey(scopes, revokeKey)
}

func settingScopes(from, to *auth.ScopeSet) func(*testing.T, auth.AccountStore, account) attempt {
	set := func(ctx context.Context, store auth.AccountStore, w auth.Write, id string) error {
		_, err := store.SetKeyScopes(ctx, w, id, to)
		return err
	}
	return changingKey(from, set)
}

func registering(
	newUser func() auth.User, scopes *auth.ScopeSet,
) func(*testing.T, auth.AccountStore, account) attempt {
	return func(_ *testing.T, store auth.AccountStore, _ account) attempt {
		user := newUser()
		return attempt{
			call: func(ctx context.Context, w auth.Write) error {
				return usersOf(store).Register(ctx, w, user, newLimitedKey(user, scopes))
			},
			changes: []string{user.ID},
		}
	}
}

// registeringAll returns a call that registers two users. The last one comes from newLast. Each has one
// key with each of the sets.
func registeringAll(
	newLast func() auth.User, sets ...*auth.ScopeSet,
) func(*testing.T, auth.AccountStore, account) attempt {
	return func(_ *testing.T, store auth.AccountStore, _ account) attempt {
		first := auth.UserWithKeys{User: storekit.ChangeUser(newUser(), withoutEmail)}
		last := auth.UserWithKeys{User: newLast()}
		first.Keys = []auth.AccessKey{newLimitedKey(first.User, within)}
		for _, scopes := range sets {
			last.Keys = append(last.Keys, newLimitedKey(last.User, scopes))
		}
		return attempt{
			call: func(ctx context.Context, w auth.Write) error {
				refusals, err := usersOf(store).RegisterUsers(ctx, w, []auth.UserWithKeys{first, last})
				return errors.Join(append(refusals, err)...)
			},
			changes: []string{first.User.ID, last.User.ID},
		}
	}
}

func updating(
	newUser func() auth.User, change auth.UserChange,
) func(*testing.T, auth.AccountStore, account) attempt {
	return func(t *testing.T, store auth.AccountStore, _ account) attempt {
		user, _ := register(t, store, newUser())
		return attempt{
			call: func(ctx context.Context, w auth.Write) error {
				_, err := usersOf(store).UpdateUser(ctx, w, user.ID, change)
				return err
			},
			changes: []string{user.ID},
		}
	}
}

// resetting returns a call that resets a user. The user has a key without a limit.
func resetting(
	newUser func() auth.User, change auth.UserChange, scopes *auth.ScopeSet,
) func(*testing.T, auth.AccountStore, account) attempt {
	return func(t *testing.T, store auth.AccountStore, _ account) attempt {
		user, _ := register(t, store, newUser())
		return attempt{
			call: func(ctx context.Context, w auth.Write) error {
				_, _, err := usersOf(store).ResetUser(ctx, w, user.ID, change, newLimitedKey(user, scopes))
				return err
			},
			changes: []string{user.ID},
		}
	}
}

// limitedSessionGrants makes the call of each grant with a limited session of a super user and, if the
// call needs no super user, of another user.
func limitedSessionGrants(t *testing.T, store auth.AccountStore) {
	tested := map[string]bool{}
	for _, g := range grantsOf(store) {
		method, _, _ := strings.Cut(g.name, " ")
		tested[method] = true
		t.Run(g.name, func(t *testing.T) {
			requireGrant(t, store, g, newActor(t, store), limit)
			if !g.admin {
				requireGrant(t, store, g, newAccount(t, store), limit)
			}
		})
	}
	for _, v := range verbsOf(store) {
		method, _, _ := strings.Cut(v.name, " ")
		require.True(t, tested[method], "no grant calls %s", method)
	}
}

// requireGrant makes the call of the grant with a session of the account that is limited to the scopes.
// If the store must refuse it, requireGrant then makes the call with the account's session, which has no
// limit.
func requireGrant(
	t *testing.T, store auth.AccountStore, g grant, a account, scopes *auth.ScopeSet,
) {
	t.Helper()
	try := g.prepare(t, store, a)
	limited := openScoped(t, store, a, scopes)
	if !g.refused {
		require.NoError(t, try.call(t.Context(), g.write(limited, now)))
		return
	}
	write := withEvent(g.write(limited, now))
	before := takeSnapshot(t, store, a, try)
	requireInsufficient(t, try.call(t.Context(), write), g.missing)
	require.Equal(t, before, takeSnapshot(t, store, a, try), "a refused call must not change anything")
	if trail, ok := store.(auth.EventStore); ok {
		require.Empty(t, eventsOf(t, trail, write))
	}

	require.NoError(t, store.RevokeSession(t.Context(), byHost(now), limited.ID))
	require.ErrorIs(t, try.call(t.Context(), write), auth.ErrTokenRejected)
	require.NoError(t, try.call(t.Context(), g.write(a.session, now)))
}

// keysWithinScopes tests the methods that change a key with all combinations of scopes.
func keysWithinScopes(t *testing.T, store auth.AccountStore) {
	sets := []*auth.ScopeSet{nil, auth.NewScopes(), within, limit}
	for _, scopes := range sets {
		t.Run(fmt.Sprintf("session %q", scopes), func(t *testing.T) {
			for _, of := range sets {
				may := of.Within(scopes)
				requireWithin(t, store, addingKey(of), scopes, may, fmt.Sprintf("AddKey with %q", of))
				requireWithin(t, store, rotatingKey(of), scopes, may, fmt.Sprintf("RotateKey of %q", of))
				requireWithin(t, store, revokingKey(of), scopes, may, fmt.Sprintf("RevokeKey of %q", of))
				for _, to := range sets {
					requireWithin(t, store, settingScopes(of, to), scopes, may && to.Within(scopes),
						fmt.Sprintf("SetKeyScopes from %q to %q", of, to))
				}
			}
		})
	}
}

// requireWithin makes a call with a session that has the scopes. The store must accept the call if the
// parameter may is true, and must refuse it otherwise.
func requireWithin(
	t *testing.T, store auth.AccountStore, prepare func(*testing.T, auth.AccountStore, account) attempt,
	scopes *auth.ScopeSet, may bool, what string,
) {
	t.Helper()
	a := newAccount(t, store)
	try, session := prepare(t, store, a), openScoped(t, store, a, scopes)
	before := takeSnapshot(t, store, a, try)
	err := try.call(t.Context(), bySession(session, now))
	if may {
		require.NoError(t, err, what)
		require.NotEqual(t, before, takeSnapshot(t, store, a, try), what)
		return
	}
	require.ErrorIs(t, err, auth.ErrInsufficientScope, what)
	require.Equal(t, before, takeSnapshot(t, store, a, try), what)
}

// scopeOfAuthority calls each verb with an authority that needs a scope.
func scopeOfAuthority(t *testing.T, store auth.AccountStore) {
	const needed = "c:read"
	for _, v := range verbsOf(store) {
		t.Run(v.name, func(t *testing.T) {
			a := newActor(t, store)
			try := v.prepare(t, store, a)
			other := auth.NewScopes("c:re", "c:reader")
			for _, scopes := range []*auth.ScopeSet{limit, auth.NewScopes(), other} {
				limited := openScoped(t, store, a, scopes)
				before := takeSnapshot(t, store, a, try)
				write := withEvent(v.write(limited, now))
				write.By.Scope = needed
				requireInsufficient(t, try.call(t.Context(), write), needed)
				require.Equal(t, before, takeSnapshot(t, store, a, try))
				if trail, ok := store.(auth.EventStore); ok {
					require.Empty(t, eventsOf(t, trail, write))
				}
			}

			// A session with the scope can still lack what the call grants.
			write := v.write(openScoped(t, store, a, auth.NewScopes(needed)), now)
			write.By.Scope = needed
			err := try.call(t.Context(), write)
			if err == nil {
				return
			}
			requireInsufficient(t, err, "")
			write = v.write(a.session, now)
			write.By.Scope = needed
			require.NoError(t, try.call(t.Context(), write), "a session without a limit has every scope")
		})
	}
}

// changesOfKeyThatGrows calls a method that changes a key while SetKeyScopes is blocked and holds its
// locks. After SetKeyScopes, the key has more scopes than the session.
func changesOfKeyThatGrows(t *testing.T, store auth.AccountStore) {
	grace := graceOf(t, store)
	methods := map[string]func(ctx context.Context, store auth.AccountStore, w auth.Write, id string) error{
		"RotateKey": rotateKey, "RevokeKey": revokeKey,
		"SetKeyScopes": func(ctx context.Context, store auth.AccountStore, w auth.Write, id string) error {
			_, err := store.SetKeyScopes(ctx, w, id, auth.NewScopes())
			return err
		},
	}
	for name, call := range methods {
		for _, grown := range []*auth.ScopeSet{nil, beyond} {
			t.Run(fmt.Sprintf("%s, %s", name, grown), func(t *testing.T) {
				a := newActor(t, store)
				limited, other := openScoped(t, store, a, limit), newActor(t, store)
				key := addLimitedKey(t, store, a.user, within)
				h := callBehind(t, t.Context(), grace, now,
					func(ctx context.Context, hold func(auth.Write) auth.Write) error {
						w := hold(bySuperUser(other.session, now))
						_, err := store.SetKeyScopes(ctx, w, key.ID, grown)
						return err
					},
					func(ctx context.Context) error {
						return call(ctx, store, bySession(limited, now), key.ID)
					})
				if h.overtook && h.secondErr == nil { // the call came first
					require.False(t, name == "RevokeKey" && h.firstErr == nil, "a revoked key got scopes")
					return
				}
				require.NoError(t, h.firstErr)
				require.ErrorIs(t, h.secondErr, auth.ErrInsufficientScope)
				key.Scopes = grown
				requireKey(t, store, key)
			})
		}
	}
}
