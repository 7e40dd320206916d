package storetest

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// setAccount sets the GitHub account in all records of the sign-in.
func setAccount(signIn *auth.GitHubSignInWrite, account auth.GitHubAccount) {
	signIn.Link.Account = account
	if signIn.Token != nil {
		signIn.Token.Account = account
	}
}

// setUser sets the user ID in all records of the sign-in.
func setUser(signIn *auth.GitHubSignInWrite, id string) {
	signIn.Link.UserID, signIn.Session.UserID = id, id
	if signIn.Token != nil {
		signIn.Token.UserID = id
	}
	if signIn.NewUser != nil {
		signIn.NewUser.ID = id
	}
}

// refusal describes a sign-in that the store must refuse. The function edit turns a valid sign-in
// into the refused sign-in. For this, edit can use the values of two stored users. The parameter
// taken is a user who has signed in with GitHub, and the parameter keyed is a user who has not. The
// field want contains the errors that the store may return.
type refusal struct {
	edit func(signIn *auth.GitHubSignInWrite, taken linked, keyed account)
	want []error
}

// refusalsOfAll contains the refusals that apply to first sign-ins and to later ones.
var refusalsOfAll = map[string]refusal{
	"the session's id is taken": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) { s.Session.ID = taken.session.ID },
		[]error{auth.ErrExists},
	},
	"the session names another user's key": {
		func(s *auth.GitHubSignInWrite, _ linked, keyed account) {
			s.Session.AccessKeyID = keyed.key.ID
		},
		[]error{auth.ErrNotFound},
	},
	"the token has another version": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) { s.TokenVersion = unique("version") },
		[]error{auth.ErrChanged},
	},
	"the token has an impossible version": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) { s.TokenVersion += "\x00" },
		[]error{auth.ErrChanged},
	},
	"the session is another user's": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) { s.Session.UserID = taken.user.ID },
		[]error{auth.ErrInvalid},
	},
	"the token is another user's": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) { s.Token.UserID = taken.user.ID },
		[]error{auth.ErrInvalid},
	},
	"the link is another user's": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) { s.Link.UserID = taken.user.ID },
		[]error{auth.ErrInvalid},
	},
	"the token is another account's": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) {
			s.Token.Account.ID = taken.link.Account.ID
		},
		[]error{auth.ErrInvalid},
	},
	"the token is of another host": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) {
			s.Token.Account.Host = "github.example.com"
		},
		[]error{auth.ErrInvalid},
	},
	"a record cannot be kept, and the account is linked": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) {
			setAccount(s, taken.link.Account)
			s.Session.Method = ""
		},
		[]error{auth.ErrInvalid},
	},
}

var refusalsOfFirst = map[string]refusal{
	"the account is linked": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) { setAccount(s, taken.link.Account) },
		[]error{auth.ErrChanged},
	},
	"the account is linked, and its token known": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) {
			setAccount(s, taken.link.Account)
			s.TokenVersion = taken.token.Version
		},
		[]error{auth.ErrChanged},
	},
	"the user's id is taken": {
		func(s *auth.GitHubSignInWrite, _ linked, keyed account) { setUser(s, keyed.user.ID) },
		[]error{auth.ErrExists},
	},
	"the user's ID is that of a linked user": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) { setUser(s, taken.user.ID) },
		[]error{auth.ErrExists, auth.ErrChanged},
	},
	"the username is taken": {
		func(s *auth.GitHubSignInWrite, _ linked, keyed account) {
			s.NewUser.Username = keyed.user.Username
		},
		[]error{auth.ErrExists},
	},
	"the username is taken, in capitals": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) {
			s.NewUser.Username = strings.ToUpper(taken.user.Username)
		},
		[]error{auth.ErrExists},
	},
	"the new user is not active": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) { s.NewUser.IsActive = false },
		[]error{auth.ErrUserDisabled},
	},
	"the new user is another than the records'": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) { s.NewUser.ID = unique("user") },
		[]error{auth.ErrInvalid},
	},
}

var refusalsOfLater = map[string]refusal{
	"the account is not linked": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) { setAccount(s, newGitHubAccount()) },
		[]error{auth.ErrChanged},
	},
	"the account is not linked, and the user has no account": {
		func(s *auth.GitHubSignInWrite, _ linked, keyed account) {
			setAccount(s, newGitHubAccount())
			setUser(s, keyed.user.ID)
			s.TokenVersion = ""
		},
		[]error{auth.ErrChanged},
	},
	"the account is another user's": {
		func(s *auth.GitHubSignInWrite, taken linked, _ account) { setAccount(s, taken.link.Account) },
		[]error{auth.ErrChanged},
	},
	"the account is another's than the user's, who has none": {
		func(s *auth.GitHubSignInWrite, _ linked, keyed account) { setUser(s, keyed.user.ID) },
		[]error{auth.ErrChanged},
	},
	"there is no such user": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) {
			setAccount(s, newGitHubAccount())
			setUser(s, unique("nobody"))
		},
		[]error{auth.ErrNotFound, auth.ErrChanged},
	},
	"the user is to be made": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) {
			s.NewUser = new(newUser())
			setUser(s, s.NewUser.ID)
		},
		[]error{auth.ErrChanged},
	},
	"there is a token already": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) { s.TokenVersion = "" },
		[]error{auth.ErrChanged},
	},
	"the token's version is in other letters": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) {
			s.TokenVersion = strings.ToLower(s.TokenVersion)
		},
		[]error{auth.ErrChanged},
	},
	"the token's version ends with a space": {
		func(s *auth.GitHubSignInWrite, _ linked, _ account) { s.TokenVersion += " " },
		[]error{auth.ErrChanged},
	},
}

// withRefusalsOfAll returns the given refusals and those in refusalsOfAll.
func withRefusalsOfAll(refusals map[string]refusal) map[string]refusal {
	all := maps.Clone(refusalsOfAll)
	maps.Copy(all, refusals)
	return all
}

func refusedFirstSignIn(t *testing.T, store auth.Store) {
	for name, test := range withRefusalsOfAll(refusalsOfFirst) {
		t.Run(name, func(t *testing.T) {
			taken, keyed := newLinked(t, store), newAccount(t, store)
			free := firstSignIn(newUser())
			refused := free
			refused.NewUser, refused.Token = new(*free.NewUser), new(*free.Token)
			test.edit(&refused, taken, keyed)

			requireRefused(t, store, refused, test.want)
			taken.requireUnchanged(t, store)
			keyed.requireUnchanged(t, store)
			requireNoConnection(t, store, keyed.user.ID, githubHost)
			// The refused sign-in must not have stored anything. So the original sign-in, from
			// which it was made, must still succeed.
			requireNoUser(t, store, free.NewUser.ID)
			requireNoLink(t, store, free.Link.Account)
			requireNoSession(t, store, free.Session.ID)
			signUp(t, store, free).requireUnchanged(t, store)
		})
	}
}

func refusedLaterSignIn(t *testing.T, store auth.Store) {
	for name, test := range withRefusalsOfAll(refusalsOfLater) {
		t.Run(name, func(t *testing.T) {
			own, taken, keyed := newLinked(t, store), newLinked(t, store), newAccount(t, store)
			free := own.nextSignIn()
			refused := free
			refused.Token = new(*free.Token)
			test.edit(&refused, taken, keyed)

			requireRefused(t, store, refused, test.want)
			own.requireUnchanged(t, store)
			taken.requireUnchanged(t, store)
			keyed.requireUnchanged(t, store)
			requireNoConnection(t, store, keyed.user.ID, githubHost)
			if refused.Link.Account != own.link.Account && refused.Link.Account != taken.link.Account {
				requireNoLink(t, store, refused.Link.Account)
			}
			if refused.NewUser != nil {
				requireNoUser(t, store, refused.NewUser.ID)
			}
			requireNoSession(t, store, free.Session.ID)
		})
	}
}

// requireRefused fails the test unless the sign-in returns one of the errors.
func requireRefused(
	t *testing.T, store auth.AccountStore, signIn auth.GitHubSignInWrite, want []error,
) {
	t.Helper()
	session, user, err := store.SignInGitHub(t.Context(), byHost(now), signIn)
	requireOneOf(t, err, want...)
	require.Zero(t, session)
	require.Zero(t, user)
}
