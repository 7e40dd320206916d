package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

var githubRacePromises = []promise[auth.AccountStore]{
	{"of several concurrent sign-ins that replace a token, one succeeds", racingTokens},
	{"of several users who connect an account at once, one succeeds", racingUsers},
	{"of several accounts that a user connects at once, one is connected", racingAccounts},
	{"of several concurrent calls that write or delete a token, one succeeds", racingTokenWrites},
	{"of several concurrent calls that unlink an account, one succeeds", racingUnlinks},
	{"if the last two links are unlinked at once, one stays", racingLastLinks},
	{"a token that is replaced while it is deleted is deleted", replacedWhileDeleted},
	{"a token that is replaced while its version is deleted is either replaced or deleted", replacedWhileVersionDeleted},
	{"a sign-in during unlinking does not link again", signInRacingUnlink},
	{"no connection commits after the revocation of the session", connectRacingItsEnd},
}

var githubRacePromisesOfUsers = []promise[auth.Store]{
	{"of several concurrent first sign-ins of an account, one creates a user", racingFirstSignIns},
	{"of several concurrent first sign-ins with one username, one succeeds", racingUsernames},
	{"of several concurrent first sign-ins with one e-mail address, one gets it", racingEmails},
	{"a first sign-in succeeds while registrations take its e-mail address", racingEmailOfRegistration},
	{"of several sign-ins that fill in one e-mail address at once, one gets it", racingFilledEmails},
	{"a sign-in during a revocation does not survive it", signInsRacingTheirEnd},
}

// raceFirstSignIns makes several first sign-ins at the same time. The parameter edit is a function
// that gives all of them the same value, for example the same username. Exactly one sign-in must
// succeed, and the others must leave nothing in the store.
func raceFirstSignIns(t *testing.T, store auth.Store, edit func(*auth.GitHubSignInWrite), want error) {
	t.Helper()
	signIns := make([]auth.GitHubSignInWrite, contenders)
	for i := range signIns {
		signIns[i] = firstSignIn(newUser())
		edit(&signIns[i])
	}
	errs := race(contenders, func(i int) error {
		_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIns[i])
		return err
	})
	winner := signIns[requireOneWinner(t, errs, want)]
	requireConnection(t, store, connection{Link: winner.Link, Token: winner.Token})
	for _, signIn := range signIns {
		won := signIn.NewUser.ID == winner.NewUser.ID
		require.Equal(t, won, hasUser(t, store, signIn.NewUser.ID))
		require.Equal(t, won, hasSession(t, store, signIn.Session.ID))
		if signIn.Link.Account != winner.Link.Account {
			requireNoLink(t, store, signIn.Link.Account)
		}
	}
}

func racingFirstSignIns(t *testing.T, store auth.Store) {
	for range rounds(t) {
		account := newGitHubAccount()
		raceFirstSignIns(t, store, func(s *auth.GitHubSignInWrite) { setAccount(s, account) },
			auth.ErrChanged)
	}
}

func racingUsernames(t *testing.T, store auth.Store) {
	for range rounds(t) {
		name := unique("name")
		raceFirstSignIns(t, store, func(s *auth.GitHubSignInWrite) { s.NewUser.Username = name },
			auth.ErrExists)
	}
}

func racingEmails(t *testing.T, store auth.Store) {
	for range rounds(t) {
		email := unique("mail")
		users := make([]auth.User, contenders)
		errs := race(contenders, func(i int) (err error) {
			user := newUser()
			user.Email = email
			_, users[i], err = store.SignInGitHub(t.Context(), byHost(now), firstSignIn(user))
			return err
		})
		require.NoError(t, errors.Join(errs...))
		having := 0
		for _, user := range users {
			requireUser(t, store, user)
			if user.Email == email {
				having++
			}
		}
		require.Equal(t, 1, having)
	}
}

// racingFilledEmails signs in linked users without an e-mail address. All get the same address from GitHub.
// The last contender takes the address with UpdateUser.
func racingFilledEmails(t *testing.T, store auth.Store) {
	for range rounds(t) {
		email, renamer := newUser().Email, newAccount(t, store)
		signIns := make([]auth.GitHubSignInWrite, contenders)
		for i := range signIns {
			without := newUser()
			without.Email = ""
			signIns[i] = signUp(t, store, firstSignIn(without)).bareSignIn()
			signIns[i].Email = cases(email)[i%3]
		}
		errs := race(contenders+1, func(i int) (err error) {
			if i < contenders {
				_, _, err = store.SignInGitHub(t.Context(), byHost(now), signIns[i])
				return err
			}
			_, err = store.UpdateUser(t.Context(), byHost(now), renamer.user.ID, toEmail(email))
			if errors.Is(err, auth.ErrExists) {
				return nil
			}
			return err
		})
		require.NoError(t, errors.Join(errs...))
		having := 0
		for _, id := range append(userIDsOf(signIns), renamer.user.ID) {
			user, err := store.FindUser(t.Context(), id)
			require.NoError(t, err)
			if strings.EqualFold(user.Email, email) {
				having++
			} else if id != renamer.user.ID {
				require.Empty(t, user.Email)
			}
		}
		require.Equal(t, 1, having)
	}
}

func userIDsOf(signIns []auth.GitHubSignInWrite) (ids []string) {
	for _, signIn := range signIns {
		ids = append(ids, signIn.Link.UserID)
	}
	return ids
}

func racingEmailOfRegistration(t *testing.T, store auth.Store) {
	for range rounds(t) {
		users := make([]auth.User, contenders)
		for i := range users {
			users[i] = newUser()
			users[i].Email = users[0].Email
		}
		errs := race(contenders, func(i int) (err error) {
			if i%2 == 0 {
				_, users[i], err = store.SignInGitHub(t.Context(), byHost(now), firstSignIn(users[i]))
				return err
			}
			err = store.Register(t.Context(), byHost(now), users[i], newKey(users[i]))
			if errors.Is(err, auth.ErrExists) {
				users[i] = auth.User{}
				return nil
			}
			return err
		})
		require.NoError(t, errors.Join(errs...))
		having := 0
		for _, user := range users {
			if user.ID != "" {
				requireUser(t, store, user)
			}
			if user.Email != "" {
				having++
			}
		}
		require.Equal(t, 1, having)
	}
}

func racingTokens(t *testing.T, store auth.AccountStore) {
	a := newLinked(t, store)
	for range rounds(t) {
		signIns := make([]auth.GitHubSignInWrite, contenders)
		for i := range signIns {
			signIns[i] = a.nextSignIn()
		}
		errs := race(contenders, func(i int) error {
			_, _, err := store.SignInGitHub(t.Context(), byHost(now), signIns[i])
			return err
		})
		winner := signIns[requireOneWinner(t, errs, auth.ErrChanged)]
		for _, signIn := range signIns {
			require.Equal(t, signIn.Session.ID == winner.Session.ID,
				hasSession(t, store, signIn.Session.ID))
		}
		winner.Link.CreatedAt = a.link.CreatedAt
		a.link, a.token = winner.Link, *winner.Token
		requireConnection(t, store, a.connection())
	}
}

func racingUsers(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		account := newGitHubAccount()
		connects := make([]connecting, contenders)
		for i := range connects {
			connects[i] = newConnect(newAccount(t, store).session, account)
		}
		winner := raceConnects(t, store, connects, auth.ErrExists)
		for _, c := range connects {
			if c.write.By.SessionID != winner.write.By.SessionID {
				requireNoConnection(t, store, c.Link.UserID, githubHost)
			}
		}
	}
}

func racingAccounts(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newAccount(t, store)
		connects := make([]connecting, contenders)
		for i := range connects {
			connects[i] = newConnect(a.session, newGitHubAccount())
		}
		winner := raceConnects(t, store, connects, auth.ErrExists, auth.ErrChanged)
		for _, c := range connects {
			if c.Link.Account != winner.Link.Account {
				requireNoLink(t, store, c.Link.Account)
			}
		}
	}
}

// raceConnects makes the connections at the same time. It fails the test unless exactly one
// connection succeeds, and returns the successful connection.
func raceConnects(
	t *testing.T, store auth.AccountStore, connects []connecting, others ...error,
) connecting {
	t.Helper()
	errs := race(len(connects), func(i int) error { return connects[i].call(t.Context(), store) })
	winner := connects[requireOneWinner(t, errs, others...)]
	requireConnection(t, store, connection{Link: winner.Link, Token: &winner.Token})
	return winner
}

func racingTokenWrites(t *testing.T, store auth.AccountStore) {
	for name, test := range map[string]struct {
		call  func(ctx context.Context, a linked) error
		loses error
	}{
		"connect": {func(ctx context.Context, a linked) error {
			again := newConnect(a.session, a.link.Account)
			again.TokenVersion = a.token.Version
			return again.call(ctx, store)
		}, auth.ErrChanged},
		"replace": {func(ctx context.Context, a linked) error {
			return store.ReplaceGitHubToken(ctx, newToken(a.link), a.token.Version)
		}, auth.ErrNotFound},
		"delete": {func(ctx context.Context, a linked) error {
			_, err := store.DeleteGitHubToken(ctx, byHost(now), a.user.ID, githubHost, "")
			return err
		}, auth.ErrNotFound},
		"delete the version": {func(ctx context.Context, a linked) error {
			_, err := store.DeleteGitHubToken(ctx, byHost(now), a.user.ID, githubHost, a.token.Version)
			return err
		}, auth.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				a := newLinked(t, store)
				errs := race(contenders, func(int) error { return test.call(t.Context(), a) })
				requireOneWinner(t, errs, test.loses)
			}
		})
	}
}

func racingUnlinks(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newUnlinkable(t, store)
		errs := race(contenders, func(int) error {
			_, _, err := store.UnlinkGitHub(t.Context(), byHost(now), a.user.ID, githubHost)
			return err
		})
		requireOneWinner(t, errs, auth.ErrNotFound)
		a.requireUnlinked(t, store)
	}
}

func racingLastLinks(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newLinked(t, store)
		elsewhere := a.connectElsewhere(t, store)
		hosts := []string{githubHost, elsewhere.Link.Account.Host}
		errs := race(len(hosts), func(i int) error {
			_, _, err := store.UnlinkGitHub(t.Context(), byHost(now), a.user.ID, hosts[i])
			return err
		})
		stays := []connection{a.connection(), elsewhere}[requireOneLoser(t, errs, auth.ErrLastWayIn)]
		requireConnection(t, store, stays)
	}
}

// replacedWhileDeleted replaces a token while another call deletes the token.
func replacedWhileDeleted(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newLinked(t, store)
		fresh := newToken(a.link)
		var replaced, deleted error
		var removed auth.GitHubToken
		race(2, func(i int) error {
			if i == 0 {
				replaced = store.ReplaceGitHubToken(t.Context(), fresh, a.token.Version)
			} else {
				removed, deleted = store.DeleteGitHubToken(t.Context(), byHost(now), a.user.ID,
					githubHost, "")
			}
			return nil
		})
		require.NoError(t, deleted)
		if replaced == nil { // the token was replaced before it was deleted
			require.Equal(t, fresh, removed)
		} else {
			require.ErrorIs(t, replaced, auth.ErrNotFound)
			require.Equal(t, a.token, removed)
		}
		a.requireDisconnected(t, store)
	}
}

// replacedWhileVersionDeleted replaces a token while another call deletes the old version of the
// token. An instance deletes a version after GitHub has rejected it.
func replacedWhileVersionDeleted(t *testing.T, store auth.AccountStore) {
	for range rounds(t) {
		a := newLinked(t, store)
		fresh := newToken(a.link)
		errs := race(2, func(i int) error {
			if i == 0 {
				return store.ReplaceGitHubToken(t.Context(), fresh, a.token.Version)
			}
			_, err := store.DeleteGitHubToken(t.Context(), byHost(now), a.user.ID, githubHost,
				a.token.Version)
			return err
		})
		if requireOneWinner(t, errs, auth.ErrNotFound) == 0 {
			a.token = fresh
			a.requireUnchanged(t, store)
		} else {
			a.requireDisconnected(t, store)
		}
	}
}
