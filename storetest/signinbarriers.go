package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// signInBarrierPromises are about SignInGitHub. Only the host calls this method, never with the
// authority of a session. Each promise needs its own store, because a blocked call blocks other
// calls.
var signInBarrierPromises = []promise[auth.AccountStore]{
	{"a GitHub sign-in that runs while the user's sessions are revoked leaves no valid session", signInEndedWithTheRest},
	{"a sign-in with GitHub waits for a running revocation of the user's sessions", signInWaitsForEnding},
}

// signInBarrierPromisesOfUsers are also about Bootstrap.
var signInBarrierPromisesOfUsers = []promise[auth.Store]{
	{"the host bootstraps and signs users in, whatever sessions are revoked", hostSignsIn},
}

// signInEnding is a special [ending]: a call that revokes at least all sessions that a GitHub
// account opened for a user.
type signInEnding struct {
	ending
	refused []error // errors that a later sign-in may return; none if it must succeed
}

// signInEndings returns each [ending] that revokes at least all sessions that a GitHub account
// opened for a user.
func signInEndings(store auth.AccountStore) []signInEnding {
	refused := map[string][]error{
		"all sessions of the user are revoked":          nil,
		"all sessions of everybody are revoked":         nil,
		"the GitHub account of the session is unlinked": {auth.ErrGitHubNotAllowed},
		"the user is disabled":                          {auth.ErrUserDisabled},
		"the user is disabled and enabled again":        {auth.ErrUserDisabled},
		"the user is reset":                             {auth.ErrGitHubNotAllowed},
		"the user is deleted":                           {auth.ErrChanged, auth.ErrNotFound},
	}
	var all []signInEnding
	for _, e := range endingsOf(store) {
		if answers, ok := refused[e.name]; ok {
			e.prepare = nil // linkedActor links the actor instead
			all = append(all, signInEnding{e, answers})
		}
	}
	return all
}

// linkedActor returns an actor who can sign in with GitHub and with a key.
func linkedActor(t *testing.T, store auth.AccountStore) (account, linked) {
	t.Helper()
	a := newActor(t, store)
	have := connect(t, store, newConnect(a.session, newGitHubAccount()))
	return a, linked{user: a.user, link: have.Link, token: *have.Token, session: a.session}
}

// bareSignIn returns the write of the user's next sign-in. The write contains no GitHub token, so
// the sign-in changes no stored token.
func (l linked) bareSignIn() auth.GitHubSignInWrite {
	signIn := l.nextSignIn()
	signIn.Token, signIn.TokenVersion = nil, ""
	return signIn
}

// isLive reports whether the session has the authority to make a change.
func isLive(t *testing.T, store auth.AccountStore, session auth.Session) bool {
	t.Helper()
	err := store.AddKey(t.Context(), bySession(session, now), newKey(auth.User{ID: session.UserID}))
	if err != nil {
		require.ErrorIs(t, err, auth.ErrTokenRejected)
	}
	return err == nil
}

func signInEndedWithTheRest(t *testing.T, store auth.AccountStore) {
	grace := graceOf(t, store)
	for _, e := range signInEndings(store) {
		t.Run(e.name, func(t *testing.T) {
			a, l := linkedActor(t, store)
			signIn := l.bareSignIn()
			var session auth.Session
			h := callBehind(t, t.Context(), grace, now,
				func(ctx context.Context, hold func(auth.Write) auth.Write) (err error) {
					session, _, err = store.SignInGitHub(ctx, hold(byHost(now)), signIn)
					return err
				},
				func(ctx context.Context) error { return e.end(ctx, store, byHost(now), a) })
			require.NoError(t, h.secondErr, "the ending")
			if h.firstErr != nil {
				requireOneOf(t, h.firstErr, e.refused...)
				return
			}
			require.False(t, h.overtook && len(e.refused) > 0,
				"a sign-in succeeded after what forbids it was acknowledged")
			if !h.overtook {
				require.False(t, isLive(t, store, session), "the session was created before the ending")
			}
		})
	}
}

func signInWaitsForEnding(t *testing.T, store auth.AccountStore) {
	grace := graceOf(t, store)
	for _, e := range signInEndings(store) {
		t.Run(e.name, func(t *testing.T) {
			a, l := linkedActor(t, store)
			signIn := l.bareSignIn()
			var session auth.Session
			h := callBehind(t, t.Context(), grace, now,
				func(ctx context.Context, hold func(auth.Write) auth.Write) error {
					return e.end(ctx, store, hold(byHost(now)), a)
				},
				func(ctx context.Context) (err error) {
					session, _, err = store.SignInGitHub(ctx, byHost(now), signIn)
					return err
				})
			require.NoError(t, h.firstErr, "the ending")
			switch {
			case len(e.refused) > 0 && e.name != "the user is disabled and enabled again":
				requireOneOf(t, h.secondErr, e.refused...)
				requireNoSession(t, store, signIn.Session.ID)
			case h.secondErr != nil:
				requireOneOf(t, h.secondErr, e.refused...)
			default:
				require.True(t, isLive(t, store, session), "the session was created after the ending")
			}
		})
	}
}

func hostSignsIn(t *testing.T, store auth.Store) {
	for _, e := range endingsOf(store) {
		a := e.newActor(t, store)
		require.NoError(t, e.end(t.Context(), store, byHost(now), a), e.name)
		require.True(t, isLive(t, store, newLinked(t, store).session), e.name)
	}
	require.True(t, isLive(t, store, bootstrap(t, store).session))
}
