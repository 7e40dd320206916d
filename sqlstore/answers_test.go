package sqlstore_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
)

// An error of the contract is the answer of a database that works. If the store took it for a failure, it
// would ping the server, and the log would speak of a failing store.
func TestRefusalsOfServiceUsersAndDelegatedTokensAreNoFailuresOfTheDatabase(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newStage func(*testing.T) *stage) {
		s := newStage(t)
		agent := newUser("agent")
		agent.IsService = true
		require.NoError(t, s.store.Register(background, byHost, agent, newKey("k-agent", "agent")))
		_, _, err := s.store.CreateSession(background, newSession("s-agent", "agent", "k-agent"), 0)
		require.NoError(t, err)
		delegated := bySession("s-eve", "eve")
		delegated.By.Actor = "agent"
		link := newLink(9, "agent")
		connect := auth.GitHubConnectWrite{Link: link, Token: newToken(link, "v1")}
		for name, test := range map[string]struct {
			want error
			call func() error
		}{
			"a delegated token": {auth.ErrDelegated, func() error {
				return s.store.AddKey(background, delegated, newKey("k-new", "ada"))
			}},
			"a sign-in of a service user": {auth.ErrServiceUser, func() error {
				_, _, err := s.store.SignInGitHub(background, byHost, newSignIn(link))
				return err
			}},
			"a connection of a service user": {auth.ErrServiceUser, func() error {
				return s.store.ConnectGitHub(background, byHost, connect)
			}},
		} {
			s.spy.watch(nil)
			err := test.call()
			require.ErrorIs(t, err, test.want, name)
			require.NotContains(t, err.Error(), "sqlstore:", "the error names no operation of the database")
			status, _ := auth.ErrorStatus(err)
			require.Equal(t, http.StatusForbidden, status, name)
			statements := s.spy.statements()
			require.Equal(t, "ROLLBACK", statements[len(statements)-1], name)
			rollbacks := slices.DeleteFunc(statements, func(text string) bool { return text != "ROLLBACK" })
			require.Len(t, rollbacks, 1, "%s: the transaction is not repeated", name)
		}
	})
}
