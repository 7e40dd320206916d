package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storekit"
)

// ending is a call after which a session has less authority or none.
type ending struct {
	name string

	users   bool // only a store that keeps users has this ending
	noWrite bool // end makes a call that takes no Write, so no clock can block it
	demotes bool // the session loses only the authority of a super user

	// prepare prepares the given actor for this ending, and returns the prepared actor. The field
	// prepare is nil if the ending works for any actor.
	prepare func(t *testing.T, store auth.AccountStore, a account) account

	end func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error
}

// newActor returns a new actor, prepared for this ending.
func (e ending) newActor(t *testing.T, store auth.AccountStore) account {
	t.Helper()
	a := newActor(t, store)
	if e.prepare != nil {
		a = e.prepare(t, store, a)
	}
	return a
}

// claimsOf returns the claims of the session's token.
func claimsOf(session auth.Session) auth.SessionClaims {
	return auth.SessionClaims{
		UserID: session.UserID, SessionID: session.ID, Generation: session.Generation,
		ExpiresAt: session.ExpiresAt,
	}
}

// endings contains all endings except two: [folded] and the expiry of the session.
var endings = []ending{
	{name: "the session is revoked",
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			return store.RevokeSession(ctx, w, a.session.ID)
		}},
	{name: "the session's token is revoked", noWrite: true,
		end: func(ctx context.Context, store auth.AccountStore, _ auth.Write, a account) error {
			return store.RevokeToken(ctx, claimsOf(a.session))
		}},
	{name: "all sessions of the user are revoked",
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			_, err := store.RevokeUserSessions(ctx, w, a.user.ID)
			return err
		}},
	{name: "the key is revoked",
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			return store.RevokeKey(ctx, w, a.key.ID)
		}},
	{name: "the key gets other scopes",
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			_, err := store.SetKeyScopes(ctx, w, a.key.ID, auth.NewScopes("a"))
			return err
		}},
	{name: "a newer session takes the session's place", noWrite: true,
		end: func(ctx context.Context, store auth.AccountStore, _ auth.Write, a account) error {
			_, _, err := store.CreateSession(ctx, newHostSession(a.user), 1)
			return err
		}},
	{name: "the GitHub account of the session is unlinked", prepare: signedInWithGitHub,
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			_, _, err := store.UnlinkGitHub(ctx, w, a.user.ID, githubHost)
			return err
		}},
	{name: "all sessions of everybody are revoked",
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, _ account) error {
			return store.RevokeEverybody(ctx, w, 0)
		}},
	{name: "the user is disabled", users: true,
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			_, err := usersOf(store).UpdateUser(ctx, w, a.user.ID, disable)
			return err
		}},
	{name: "the user is disabled and enabled again", users: true,
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			if _, err := usersOf(store).UpdateUser(ctx, w, a.user.ID, disable); err != nil {
				return err
			}
			_, err := usersOf(store).UpdateUser(ctx, byHost(now), a.user.ID, enable)
			return err
		}},
	{name: "the user is demoted", users: true, demotes: true,
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			_, err := usersOf(store).UpdateUser(ctx, w, a.user.ID, demote)
			return err
		}},
	{name: "the user is reset", users: true,
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			_, _, err := usersOf(store).ResetUser(ctx, w, a.user.ID, auth.UserChange{}, newKey(a.user))
			return err
		}},
	{name: "the user is deleted", users: true,
		end: func(ctx context.Context, store auth.AccountStore, w auth.Write, a account) error {
			_, err := usersOf(store).DeleteUser(ctx, w, a.user.ID)
			return err
		}},
}

// folded is an ending that makes the store fold the feed: see [storekit.FoldRevocations]. The feed may
// have at most [storekit.MaxNamedRevocations] entries that each name a session of the same user.
// nearlyFolded adds this number of entries. The ending then adds one more entry, so the store folds
// the feed. The fold also revokes the actor's session.
var folded = ending{name: "the feed folds", noWrite: true, prepare: nearlyFolded,
	end: func(ctx context.Context, store auth.AccountStore, _ auth.Write, a account) error {
		return store.RevokeToken(ctx, newClaims(a.user, a.session.Generation+1))
	}}

// endingsOf returns the endings that the store has.
func endingsOf(store auth.AccountStore) []ending {
	var all []ending
	for _, e := range endings {
		if usersOf(store) != nil || !e.users {
			all = append(all, e)
		}
	}
	return all
}

// signedInWithGitHub signs the actor in with a GitHub account. It returns the actor with the new
// session and the old key.
func signedInWithGitHub(t *testing.T, store auth.AccountStore, a account) account {
	t.Helper()
	have := connect(t, store, newConnect(a.session, newGitHubAccount()))
	signIn := linked{user: a.user, link: have.Link, token: *have.Token}.nextSignIn()
	signIn.Session.CreatedAt = now
	session, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	require.NoError(t, err)
	return account{user, a.key, session}
}

// newClaims returns claims for a session of the user. The session is not stored.
func newClaims(user auth.User, generation int64) auth.SessionClaims {
	return auth.SessionClaims{
		UserID: user.ID, SessionID: unique("session"), Generation: generation,
		ExpiresAt: now.Add(time.Hour),
	}
}

// nearlyFolded adds entries to the feed, each for a different session of the actor. All these
// sessions are newer than the session of the parameter a. An entry for one more session makes the
// store fold the feed.
func nearlyFolded(t *testing.T, store auth.AccountStore, a account) account {
	t.Helper()
	nameSessions(t, store, a.user, a.session.Generation+1, storekit.MaxNamedRevocations)
	return a
}

// nameSessions adds n entries to the feed, for n different sessions of the user. These sessions are
// not stored.
func nameSessions(t *testing.T, store auth.AccountStore, user auth.User, generation int64, n int) {
	t.Helper()
	for range n {
		require.NoError(t, store.RevokeToken(t.Context(), newClaims(user, generation)))
	}
}
