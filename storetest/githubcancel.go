package storetest

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var githubCancelPromises = []promise[auth.AccountStore]{
	{"a call whose context is done changes nothing", githubCanceledBefore},
	{"a call whose context is done returns that error before any other", githubCanceledFirst},
	{"a call whose context ends during the call does everything or nothing", githubCanceledDuring},
}

// githubDraft contains records that are not stored: a first sign-in, another account, and a state.
type githubDraft struct {
	first   auth.GitHubSignInWrite
	account auth.GitHubAccount
	key     auth.AccessKey // new key for ResetUser
	state   string
}

func newGitHubDraft(own linked) githubDraft {
	account := newGitHubAccount()
	account.Host = "github.example.com"
	return githubDraft{firstSignIn(newUser()), account, newKey(own.user), unique("state")}
}

// githubMethod is a [method] that reads or changes GitHub records.
type githubMethod[S any] = func(ctx context.Context, store S, own linked, draft githubDraft) error

// githubMethodsOf returns one call for each GitHub method of the store.
func githubMethodsOf(store auth.AccountStore) map[string]githubMethod[auth.AccountStore] {
	return withUserMethods(store, githubMethods, githubUserMethods)
}

var githubUserMethods = map[string]githubMethod[auth.UserStore]{
	"ResetUser": func(ctx context.Context, users auth.UserStore, own linked, draft githubDraft) error {
		_, _, err := users.ResetUser(ctx, byHost(now), own.user.ID, auth.UserChange{}, draft.key)
		return err
	},
	"DeleteUser": func(ctx context.Context, users auth.UserStore, own linked, _ githubDraft) error {
		_, err := users.DeleteUser(ctx, byHost(now), own.user.ID)
		return err
	},
}

var githubMethods = map[string]githubMethod[auth.AccountStore]{
	"ConsumeState": func(ctx context.Context, store auth.AccountStore, _ linked, draft githubDraft) error {
		return store.ConsumeState(ctx, draft.state, now)
	},
	"PruneStates": func(ctx context.Context, store auth.AccountStore, _ linked, _ githubDraft) error {
		_, err := store.PruneStates(ctx, now, math.MaxInt)
		return err
	},
	"FindGitHubLink": func(ctx context.Context, store auth.AccountStore, own linked, _ githubDraft) error {
		_, err := store.FindGitHubLink(ctx, own.link.Account)
		return err
	},
	"FindGitHubConnection": func(ctx context.Context, store auth.AccountStore, own linked,
		_ githubDraft) error {
		_, _, err := store.FindGitHubConnection(ctx, own.user.ID, githubHost)
		return err
	},
	"SignInGitHub": func(ctx context.Context, store auth.AccountStore, _ linked, draft githubDraft) error {
		_, _, err := store.SignInGitHub(ctx, byHost(now), asKept(store, draft.first))
		return err
	},
	"SignInGitHub, later": func(ctx context.Context, store auth.AccountStore, own linked,
		draft githubDraft) error {
		signIn := own.nextSignIn()
		signIn.Session.ID = draft.first.Session.ID
		_, _, err := store.SignInGitHub(ctx, byHost(now), signIn)
		return err
	},
	"ConnectGitHub": func(ctx context.Context, store auth.AccountStore, own linked, draft githubDraft) error {
		return newConnect(own.session, draft.account).call(ctx, store)
	},
	"UpdateGitHubLink": func(ctx context.Context, store auth.AccountStore, own linked, _ githubDraft) error {
		return store.UpdateGitHubLink(ctx, own.renewed(refusedAt))
	},
	"ListGitHubAccounts": func(ctx context.Context, store auth.AccountStore, own linked,
		_ githubDraft) error {
		_, err := store.ListGitHubAccounts(ctx, own.user.ID)
		return err
	},
	"PruneGitHubAccounts": func(ctx context.Context, store auth.AccountStore, _ linked, _ githubDraft) error {
		_, err := store.PruneGitHubAccounts(ctx, now, 1)
		return err
	},
	"ListGitHubTokens": func(ctx context.Context, store auth.AccountStore, own linked, _ githubDraft) error {
		_, err := store.ListGitHubTokens(ctx, githubHost, own.user.ID, 1)
		return err
	},
	"LeaseGitHubToken": func(ctx context.Context, store auth.AccountStore, own linked, _ githubDraft) error {
		_, err := store.LeaseGitHubToken(ctx, own.user.ID, githubHost, own.token.Version, now, latest)
		return err
	},
	"ReplaceGitHubToken": func(ctx context.Context, store auth.AccountStore, own linked,
		_ githubDraft) error {
		return store.ReplaceGitHubToken(ctx, newToken(own.link), own.token.Version)
	},
	"DeleteGitHubToken": func(ctx context.Context, store auth.AccountStore, own linked, _ githubDraft) error {
		_, err := store.DeleteGitHubToken(ctx, byHost(now), own.user.ID, githubHost, "")
		return err
	},
	"DeleteGitHubToken, of a version": func(ctx context.Context, store auth.AccountStore, own linked,
		_ githubDraft) error {
		_, err := store.DeleteGitHubToken(ctx, byHost(now), own.user.ID, githubHost, own.token.Version)
		return err
	},
	"UnlinkGitHub": func(ctx context.Context, store auth.AccountStore, own linked, _ githubDraft) error {
		_, _, err := store.UnlinkGitHub(ctx, byHost(now), own.user.ID, githubHost)
		return err
	},
}

// newUnlinkable returns a user who has signed in with GitHub and can also sign in with a key.
func newUnlinkable(t *testing.T, store auth.AccountStore) linked {
	t.Helper()
	a := newAdmitted(t, store)
	addKey(t, store, a.user, time.Time{})
	return a
}

func githubCanceledBefore(t *testing.T, store auth.AccountStore) {
	for name, call := range githubMethodsOf(store) {
		t.Run(name, func(t *testing.T) {
			own := newUnlinkable(t, store)
			draft := newGitHubDraft(own)
			for name, ctx := range doneContexts(t) {
				require.ErrorIs(t, call(ctx, store, own, draft), ctx.Err(), name)
				own.requireUnchanged(t, store)
				requireNoUser(t, store, draft.first.NewUser.ID)
				requireNoLink(t, store, draft.first.Link.Account)
				requireNoSession(t, store, draft.first.Session.ID)
				requireNoLink(t, store, draft.account)
				requireNoConnection(t, store, own.user.ID, draft.account.Host)
				requireNoKey(t, store, draft.key.ID)
			}
			requireLease(t, store, true, own.token, now)
			require.NoError(t, store.ConsumeState(t.Context(), draft.state, latest))
		})
	}
}

// githubCanceledFirst calls each method with a context that is done and with arguments that the
// store must refuse. The method must return the error of the context.
func githubCanceledFirst(t *testing.T, store auth.AccountStore) {
	for name, call := range githubMethodsOf(store) {
		t.Run(name, func(t *testing.T) {
			first := firstSignIn(newUser())
			unknown := linked{*first.NewUser, first.Link, *first.Token, first.Session}
			for name, ctx := range doneContexts(t) {
				require.ErrorIs(t, call(ctx, store, linked{}, githubDraft{}), ctx.Err(), name)
				require.ErrorIs(t, call(ctx, store, unknown, newGitHubDraft(unknown)), ctx.Err(), name)
			}
		})
	}
}

// githubSigns are [signs] of a change of GitHub records.
type githubSigns[S any] = func(t *testing.T, store S, own linked, draft githubDraft) []bool

// interruptedGitHub contains methods that every store has and that change several GitHub records.
// For each method, the [githubSigns] show whether a call has taken effect.
var interruptedGitHub = map[string]githubSigns[auth.AccountStore]{
	"SignInGitHub": func(t *testing.T, store auth.AccountStore, _ linked, draft githubDraft) []bool {
		link, token := hasConnection(t, store, draft.first.Link.UserID, githubHost)
		signs := []bool{
			hasSession(t, store, draft.first.Session.ID), hasLink(t, store,
				draft.first.Link.Account), link, token,
		}
		if users := usersOf(store); users != nil {
			signs = append(signs, hasUser(t, users, draft.first.NewUser.ID))
		}
		return signs
	},
	"SignInGitHub, later": func(t *testing.T, store auth.AccountStore, own linked, draft githubDraft) []bool {
		have := findConnection(t, store, own.user.ID, githubHost)
		signs := []bool{
			hasSession(t, store, draft.first.Session.ID),
			have.Link.SeenAt.Equal(refusedAt), have.Token.Version != own.token.Version,
		}
		if users := usersOf(store); users != nil {
			user, err := users.FindUser(t.Context(), own.user.ID)
			require.NoError(t, err)
			signs = append(signs, user.LastLogin.Equal(refusedAt), user.AdmittedAt.Equal(refusedAt))
		}
		return signs
	},
	"UpdateGitHubLink": func(t *testing.T, store auth.AccountStore, own linked, _ githubDraft) []bool {
		signs := []bool{findConnection(t, store, own.user.ID, githubHost).Link.SeenAt.Equal(refusedAt)}
		if users := usersOf(store); users != nil {
			user, err := users.FindUser(t.Context(), own.user.ID)
			require.NoError(t, err)
			signs = append(signs, user.AdmittedAt.Equal(refusedAt))
		}
		return signs
	},
	"ConnectGitHub": func(t *testing.T, store auth.AccountStore, own linked, draft githubDraft) []bool {
		link, token := hasConnection(t, store, own.user.ID, draft.account.Host)
		return []bool{hasLink(t, store, draft.account), link, token}
	},
	"UnlinkGitHub": func(t *testing.T, store auth.AccountStore, own linked, _ githubDraft) []bool {
		link, token := hasConnection(t, store, own.user.ID, githubHost)
		return []bool{!hasLink(t, store, own.link.Account), !link, !token}
	},
}

// interruptedGitHubUsers does the same as interruptedGitHub, but for the methods that only a store
// with users has.
var interruptedGitHubUsers = map[string]githubSigns[auth.Store]{
	"ResetUser": func(t *testing.T, store auth.Store, own linked, draft githubDraft) []bool {
		link, token := hasConnection(t, store, own.user.ID, githubHost)
		return []bool{
			!hasLink(t, store, own.link.Account), !link, !token,
			!hasSession(t, store, own.session.ID), hasKey(t, store, draft.key.ID),
		}
	},
	"DeleteUser": func(t *testing.T, store auth.Store, own linked, _ githubDraft) []bool {
		link, token := hasConnection(t, store, own.user.ID, githubHost)
		return []bool{
			!hasUser(t, store, own.user.ID), !hasLink(t, store, own.link.Account), !link, !token,
			!hasSession(t, store, own.session.ID),
		}
	},
}

func hasLink(t *testing.T, store auth.AccountStore, account auth.GitHubAccount) bool {
	t.Helper()
	_, err := store.FindGitHubLink(t.Context(), account)
	return wasFound(t, err)
}

func githubCanceledDuring(t *testing.T, store auth.AccountStore) {
	type records struct {
		own   linked
		draft githubDraft
	}
	methods := githubMethodsOf(store)
	for name, signs := range withUserSigns(store, interruptedGitHub, interruptedGitHubUsers) {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				interrupt(t,
					func() records {
						own := newUnlinkable(t, store)
						return records{own, newGitHubDraft(own)}
					},
					func(ctx context.Context, r records) error {
						return methods[name](ctx, store, r.own, r.draft)
					},
					func(r records) []bool { return signs(t, store, r.own, r.draft) },
				)
			}
			newLinked(t, store) // the store still works
		})
	}
}
