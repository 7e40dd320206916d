package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// sessionScopePromises are about the scopes of sessions.
var sessionScopePromises = []promise[auth.AccountStore]{
	{"a session has the scopes of its key, or fewer", sessionScopesOfKey},
	{"a session that takes the place of an older one has the scopes of its own key", newestSessionScopes},
	{"a session with scopes that its key has not is refused", widerSessionRefused},
	{"a session without a key keeps its scopes", hostSessionScopes},
	{"a session that GitHub opens keeps its scopes", githubSessionScopes},
	{"a session with invalid scopes is refused", invalidSessionScopes},
	{"of many concurrent sign-ins, each gets the scopes of its own key", racingScopedSignIns},
	{"no session of a key has the scopes from before SetKeyScopes", signInsRacingScopes},
	{"a sign-in waits for a running SetKeyScopes", signInWaitsForScopes},
}

// openScoped opens a session with the account's key, which has no limit. The session has the scopes.
func openScoped(
	t *testing.T, store auth.AccountStore, a account, scopes *auth.ScopeSet,
) auth.Session {
	t.Helper()
	session := newSession(a.key)
	session.Scopes = scopes
	return openSession(t, store, session)
}

// requireInsufficient fails the test unless err is an InsufficientScopeError with the missing scope.
func requireInsufficient(t *testing.T, err error, missing string) {
	t.Helper()
	var insufficient *auth.InsufficientScopeError
	require.ErrorAs(t, err, &insufficient)
	require.ErrorIs(t, err, auth.ErrInsufficientScope)
	require.Equal(t, missing, insufficient.Scope)
}

// requireSessionRead fails the test unless every method that reads sessions returns the session.
func requireSessionRead(t *testing.T, store auth.AccountStore, want auth.Session) {
	t.Helper()
	requireSession(t, store, want)
	sessions, err := store.ListSessions(t.Context(), want.UserID, now)
	require.NoError(t, err)
	require.Contains(t, sessions, want)
}

// openedScopes are the scopes of sessions that the store must open. The session asks for some scopes,
// and the key has others.
var openedScopes = []struct{ key, asked, want *auth.ScopeSet }{
	{nil, nil, nil},
	{nil, auth.NewScopes(), auth.NewScopes()},
	{nil, auth.NewScopes("a", "b"), auth.NewScopes("a", "b")},
	{nil, longestScopes(), longestScopes()},
	{auth.NewScopes(), nil, auth.NewScopes()},
	{auth.NewScopes(), auth.NewScopes(), auth.NewScopes()},
	{auth.NewScopes("a", "b"), nil, auth.NewScopes("a", "b")},
	{auth.NewScopes("a", "b"), auth.NewScopes(), auth.NewScopes()},
	{auth.NewScopes("a", "b"), auth.NewScopes("b"), auth.NewScopes("b")},
	{auth.NewScopes("a", "b"), auth.NewScopes("b", "a"), auth.NewScopes("a", "b")},
	{longestScopes(), nil, longestScopes()},
	{auth.NewScopes("NULL"), nil, auth.NewScopes("NULL")},
	{auth.NewScopes("no", "limit"), nil, auth.NewScopes("limit", "no")},
}

func sessionScopesOfKey(t *testing.T, store auth.AccountStore) {
	for _, test := range openedScopes {
		t.Run(fmt.Sprintf("%.40s for %.40s", test.asked, test.key), func(t *testing.T) {
			user, _ := register(t, store, newUser())
			want := newSession(addLimitedKey(t, store, user, test.key))
			want.Scopes = test.asked
			got := openSession(t, store, want)
			want.Scopes = test.want
			requireSameSession(t, want, got)
			requireSessionRead(t, store, got)
		})
	}

	// The user has several sessions. Each must be listed with its own scopes.
	user, _ := register(t, store, newUser())
	want := make([]auth.Session, len(openedScopes))
	for i, test := range openedScopes {
		session := newSession(addLimitedKey(t, store, user, test.key))
		session.CreatedAt, session.Scopes = now.Add(-time.Duration(i)*time.Second), test.asked
		want[i] = openSession(t, store, session)
		require.Equal(t, test.want, want[i].Scopes)
	}
	sessions, err := store.ListSessions(t.Context(), user.ID, now)
	require.NoError(t, err)
	require.Equal(t, want, sessions)
}

// newestSessionScopes opens sessions of a user who may have only one.
func newestSessionScopes(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for _, test := range openedScopes {
		want := newSession(addLimitedKey(t, store, a.user, test.key))
		want.Scopes = test.asked
		got, _, err := store.CreateSession(t.Context(), want, 1)
		require.NoError(t, err)
		want.Scopes = test.want
		requireSameSession(t, want, got)
		sessions, err := store.ListSessions(t.Context(), a.user.ID, now)
		require.NoError(t, err)
		require.Equal(t, []auth.Session{got}, sessions)
	}
}

// refusedScopes are scopes that a session asks for, and that its key has not.
var refusedScopes = []struct {
	key, asked *auth.ScopeSet
	missing    string
}{
	{auth.NewScopes(), auth.NewScopes("a"), "a"},
	{auth.NewScopes("a"), auth.NewScopes("b"), "b"},
	{auth.NewScopes("a"), auth.NewScopes("a", "b"), "b"},
	{auth.NewScopes("a", "c"), auth.NewScopes("a", "b", "c"), "b"},
	{auth.NewScopes("a"), auth.NewScopes("A"), "A"},
	{auth.NewScopes("ab"), auth.NewScopes("a"), "a"},
	{auth.NewScopes("a"), auth.NewScopes("ab"), "ab"},
	{auth.NewScopes("a:b"), auth.NewScopes("a"), "a"},
	{auth.NewScopes("*"), auth.NewScopes("a"), "a"},
}

func widerSessionRefused(t *testing.T, store auth.AccountStore) {
	for _, test := range refusedScopes {
		t.Run(fmt.Sprintf("%s for %s", test.asked, test.key), func(t *testing.T) {
			a := newAccount(t, store)
			session := newSession(addLimitedKey(t, store, a.user, test.key))
			session.CreatedAt, session.Scopes = refusedAt, test.asked
			key, owner, err := store.FindKey(t.Context(), session.AccessKeyID)
			require.NoError(t, err)
			for _, limit := range []int{0, 1} { // with 1, the store would revoke the user's session first
				_, _, err := store.CreateSession(t.Context(), session, limit)
				requireInsufficient(t, err, test.missing)
				requireNoSession(t, store, session.ID)
				requireKeyOf(t, store, key, owner)
				a.requireUnchanged(t, store)
				require.Empty(t, entriesOf(t, store, a.user))
			}
		})
	}
}

func hostSessionScopes(t *testing.T, store auth.AccountStore) {
	user, _ := register(t, store, newUser())
	for _, test := range scopeSets {
		want := newHostSession(user)
		want.Scopes = test.set
		got := openSession(t, store, want)
		requireSameSession(t, want, got)
		requireSessionRead(t, store, got)
	}
}

func githubSessionScopes(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for _, test := range scopeSets {
		first := firstSignIn(newUser())
		first.Session.Scopes = test.set
		requireSessionRead(t, store, signUp(t, store, first).session)

		next := a.bareSignIn()
		next.Session.Scopes = test.set
		session, _, err := store.SignInGitHub(t.Context(), byHost(now), next)
		require.NoError(t, err)
		requireSameSession(t, next.Session, session)
		requireSessionRead(t, store, session)
	}
}

func invalidSessionScopes(t *testing.T, store auth.AccountStore) {
	a := newAccount(t, store)
	for name, bad := range invalidScopes {
		t.Run(name, func(t *testing.T) {
			for _, session := range []auth.Session{newSession(a.key), newHostSession(a.user)} {
				session.CreatedAt, session.Scopes = refusedAt, bad
				_, _, err := store.CreateSession(t.Context(), session, 0)
				requireInvalidField(t, err, "scopes")
				requireNoSession(t, store, session.ID)
				a.requireUnchanged(t, store)
			}
		})
	}
}

// scopedSignIn is a sign-in whose session must get the wanted scopes. If refused is true, the store must
// refuse the sign-in.
type scopedSignIn struct {
	session auth.Session
	want    *auth.ScopeSet
	refused bool
}

// newScopedSignIns returns n sign-ins of a few users. Most of them have a key of their own.
func newScopedSignIns(t *testing.T, store auth.AccountStore, n int) []scopedSignIn {
	t.Helper()
	users := make([]auth.User, 3)
	for i := range users {
		users[i], _ = register(t, store, newUser())
	}
	all := make([]scopedSignIn, n)
	for i := range all {
		user := users[i%len(users)]
		if i%8 == 7 {
			all[i].session, all[i].want = newHostSession(user), scopeSets[i/8%len(scopeSets)].set
			all[i].session.Scopes = all[i].want
			continue
		}
		if i%4 == 3 {
			test := refusedScopes[i/8%len(refusedScopes)]
			all[i].session = newSession(addLimitedKey(t, store, user, test.key))
			all[i].session.Scopes, all[i].refused = test.asked, true
			continue
		}
		test := openedScopes[i%len(openedScopes)]
		all[i].session = newSession(addLimitedKey(t, store, user, test.key))
		all[i].session.Scopes, all[i].want = test.asked, test.want
	}
	return all
}

// racingScopedSignIns makes many sign-ins at the same time, because a store can make several of them in
// one transaction.
func racingScopedSignIns(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		all := newScopedSignIns(t, store, 64)
		got := make([]auth.Session, len(all))
		errs := race(len(all), func(i int) (err error) {
			got[i], _, err = store.CreateSession(t.Context(), all[i].session, 0)
			return err
		})
		for i, s := range all {
			if s.refused {
				require.ErrorIs(t, errs[i], auth.ErrInsufficientScope)
				requireNoSession(t, store, s.session.ID)
				require.Zero(t, lastUse(t, store, s.session.AccessKeyID))
				continue
			}
			require.NoError(t, errs[i])
			want := s.session
			want.Scopes = s.want
			requireSameSession(t, want, got[i])
			requireSessionRead(t, store, got[i])
			if want.AccessKeyID != "" {
				require.Equal(t, want.CreatedAt, lastUse(t, store, want.AccessKeyID))
			}
		}
	}
}

// signInsRacingScopes sets the scopes of a key, and signs in with the key at the same time. Half of the
// sessions ask for a scope that the key loses.
func signInsRacingScopes(t *testing.T, store auth.AccountStore) {
	after := auth.NewScopes("b", "c")
	for _, before := range []*auth.ScopeSet{nil, auth.NewScopes("a", "b")} {
		for range rounds(t) {
			user, _ := register(t, store, newUser())
			key := addLimitedKey(t, store, user, before)
			sessions := make([]auth.Session, contenders)
			errs := race(contenders, func(i int) (err error) {
				if i == contenders/2 { // the middle call, so that some sessions come before it
					_, err = store.SetKeyScopes(t.Context(), byHost(now), key.ID, after)
					return err
				}
				session := newSession(key)
				if i%2 == 1 {
					session.Scopes = auth.NewScopes("a")
				}
				sessions[i], _, err = store.CreateSession(t.Context(), session, 0)
				if errors.Is(err, auth.ErrInsufficientScope) {
					err = nil
				}
				return err
			})
			require.NoError(t, errors.Join(errs...))
			live, err := store.ListSessions(t.Context(), user.ID, now)
			require.NoError(t, err)
			feed := entriesOf(t, store, user)
			for _, session := range live {
				require.Equal(t, after, session.Scopes, "a session has the earlier scopes")
				require.False(t, isDead(feed, session))
			}
			for _, session := range sessions {
				if session.ID != "" && !hasSession(t, store, session.ID) {
					require.True(t, isDead(feed, session), "a session was removed, but not revoked")
				}
			}
			key.Scopes = after
			requireKey(t, store, usedAt(key, lastUse(t, store, key.ID)))
		}
	}
}

func lastUse(t *testing.T, store auth.AccountStore, id string) time.Time {
	t.Helper()
	key, _, err := store.FindKey(t.Context(), id)
	require.NoError(t, err)
	return key.LastUsedAt
}

// signInWaitsForScopes signs in while SetKeyScopes holds its locks. Then it signs in again.
func signInWaitsForScopes(t *testing.T, store auth.AccountStore) {
	grace := graceOf(t, store)
	after := auth.NewScopes("b")
	for _, asked := range []*auth.ScopeSet{nil, auth.NewScopes("a")} {
		user, _ := register(t, store, newUser())
		key := addLimitedKey(t, store, user, auth.NewScopes("a", "b"))
		session := newSession(key)
		session.Scopes = asked
		h := callBehind(t, t.Context(), grace, now,
			func(ctx context.Context, hold func(auth.Write) auth.Write) error {
				_, err := store.SetKeyScopes(ctx, hold(byHost(now)), key.ID, after)
				return err
			},
			func(ctx context.Context) error {
				_, _, err := store.CreateSession(ctx, session, 0)
				return err
			})
		require.NoError(t, h.firstErr)
		switch found, err := store.FindSession(t.Context(), session.ID); {
		case wasFound(t, err):
			require.NoError(t, h.secondErr)
			require.Equal(t, after, found.Scopes, "a session has the earlier scopes")
		case h.secondErr == nil:
			require.True(t, h.overtook, "a session was revoked by an earlier call")
		default:
			requireInsufficient(t, h.secondErr, "a")
		}
	}
}
