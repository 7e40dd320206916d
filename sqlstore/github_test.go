package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/limits"
	"github.com/sallyport-go/auth/sqlstore"
)

const host = "github.com"

func newLink(accountID int64, userID string) auth.GitHubLink {
	return auth.GitHubLink{
		Account: auth.GitHubAccount{Host: host, ID: accountID}, UserID: userID,
		Login: "login-of-" + userID, Name: "Name", AvatarURL: "https://example.com/avatar",
		CreatedAt: now, SeenAt: now,
	}
}

// newToken returns a token for the link, with the given version.
func newToken(link auth.GitHubLink, version string) auth.GitHubToken {
	return auth.GitHubToken{
		Account: link.Account, UserID: link.UserID,
		Version: version, Scopes: "read:org repo", Sealed: []byte("sealed " + version), UpdatedAt: now,
	}
}

func newGitHubSession(id, userID string) auth.Session {
	session := newSession(id, userID, "")
	session.Method = auth.MethodGitHub
	return session
}

// newSignIn returns a sign-in of a user who is already linked.
func newSignIn(link auth.GitHubLink) auth.GitHubSignInWrite {
	return auth.GitHubSignInWrite{Link: link, Session: newGitHubSession("s-github", link.UserID)}
}

// newRegistration returns the first sign-in with an account, which adds the user.
func newRegistration(link auth.GitHubLink) auth.GitHubSignInWrite {
	signIn, user, token := newSignIn(link), newUser(link.UserID), newToken(link, "v1")
	signIn.NewUser, signIn.Token = &user, &token
	return signIn
}

// connectAda returns a write that links account 1 to the user "ada".
func connectAda(version, oldVersion string) auth.GitHubConnectWrite {
	link := newLink(1, "ada")
	return auth.GitHubConnectWrite{
		Link: link, Token: newToken(link, version), TokenVersion: oldVersion,
	}
}

// seedGitHub links account 1 to the user "ada", with the token "v1". It links account 3 to the user
// "eve" and unlinks the account again, so that the store remembers account 3 for "eve". seedGitHub
// also consumes the state "used", which expires in an hour.
func seedGitHub(t testing.TB, store *sqlstore.Store) {
	ctx := context.Background()
	require.NoError(t, store.ConnectGitHub(ctx, byHost, connectAda("v1", "")))
	require.NoError(t, store.ConsumeState(ctx, "used", now.Add(time.Hour)))

	eve := newLink(3, "eve")
	connect := auth.GitHubConnectWrite{Link: eve, Token: newToken(eve, "v1")}
	require.NoError(t, store.ConnectGitHub(ctx, byHost, connect))
	_, _, err := store.UnlinkGitHub(ctx, byHost, "eve", host)
	require.NoError(t, err)
}

// lastingGitHubVerbs returns the calls in githubVerbs whose methods take an [auth.Write].
func lastingGitHubVerbs(w auth.Write) []verb {
	ada := newLink(1, "ada")
	return []verb{
		{"SignInGitHub", true, func(ctx context.Context, s *sqlstore.Store) error {
			signIn, token := newSignIn(ada), newToken(ada, "v2")
			signIn.Token, signIn.TokenVersion = &token, "v1"
			_, _, err := s.SignInGitHub(ctx, w, signIn)
			return err
		}},
		{"SignInGitHub of a new user", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.SignInGitHub(ctx, w, newRegistration(newLink(2, "bob")))
			return err
		}},
		{"ConnectGitHub", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.ConnectGitHub(ctx, w, connectAda("v2", "v1"))
		}},
		{"DeleteGitHubToken", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.DeleteGitHubToken(ctx, w, "ada", host, "")
			return err
		}},
		{"DeleteGitHubToken of a version", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.DeleteGitHubToken(ctx, w, "ada", host, "v1")
			return err
		}},
		{"UnlinkGitHub", true, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.UnlinkGitHub(ctx, w, "ada", host)
			return err
		}},
		{"ForgetGitHubAccount", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.ForgetGitHubAccount(ctx, w, auth.GitHubAccount{Host: host, ID: 3})
		}},
		{"SignInGitHub with a grant", true, func(ctx context.Context, s *sqlstore.Store) error {
			signIn := newSignIn(ada)
			signIn.GrantSuperUser = true
			_, _, err := s.SignInGitHub(ctx, w, signIn)
			return err
		}},
	}
}

func githubVerbs() []verb {
	ada := newLink(1, "ada")
	return []verb{
		{"ConsumeState", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.ConsumeState(ctx, "new", now.Add(time.Hour))
		}},
		{"PruneGitHubAccounts", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(0)(s.PruneGitHubAccounts(ctx, now, 10))
		}},
		{"PruneStates", true, func(ctx context.Context, s *sqlstore.Store) error {
			return expect(1)(s.PruneStates(ctx, now.Add(time.Hour), 10))
		}},
		{"ListGitHubAccounts", false, func(ctx context.Context, s *sqlstore.Store) error {
			accounts, err := s.ListGitHubAccounts(ctx, "ada")
			return expect(1)(len(accounts), err)
		}},
		{"UpdateGitHubLink", true, func(ctx context.Context, s *sqlstore.Store) error {
			renewed := ada
			renewed.Login = "renamed"
			return s.UpdateGitHubLink(ctx, renewed)
		}},
		{"LeaseGitHubToken", true, func(ctx context.Context, s *sqlstore.Store) error {
			leased, err := s.LeaseGitHubToken(ctx, "ada", host, "v1", now, now.Add(time.Minute))
			if err == nil && !leased {
				err = errors.New("no lease")
			}
			return err
		}},
		{"ListGitHubTokens", false, func(ctx context.Context, s *sqlstore.Store) error {
			tokens, err := s.ListGitHubTokens(ctx, host, "a", 10)
			return expect(1)(len(tokens), err)
		}},
		{"ReplaceGitHubToken", true, func(ctx context.Context, s *sqlstore.Store) error {
			return s.ReplaceGitHubToken(ctx, newToken(ada, "v2"), "v1")
		}},
		{"FindGitHubLink", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.FindGitHubLink(ctx, ada.Account)
			return err
		}},
		{"FindGitHubConnection", false, func(ctx context.Context, s *sqlstore.Store) error {
			_, _, err := s.FindGitHubConnection(ctx, "ada", host)
			return err
		}},
	}
}

func TestGitHubSignInTakesFewStatements(t *testing.T) {
	t.Parallel()
	store, _, s := spiedStore(t)
	_, _, err := store.SignInGitHub(context.Background(), byHost, newSignIn(newLink(1, "ada")))
	require.NoError(t, err)
	require.Equal(t, []string{"BEGIN", "SELECT", "SELECT", "SELECT", "UPDATE", "SELECT", "INSERT",
		"UPDATE", "COMMIT"}, s.verbs())
}

func TestSealedBytesAreStoredUnchanged(t *testing.T) {
	t.Parallel()
	store, db, _ := spiedStore(t)
	var every []byte
	for b := range 256 {
		every = append(every, byte(b))
	}
	version := "v1"
	for _, sealed := range [][]byte{{0}, {0xff, 0xfe}, []byte("text"), every,
		bytes.Repeat([]byte{0xa5}, limits.Sealed)} {
		token := newToken(newLink(1, "ada"), version+"'")
		token.Sealed = bytes.Clone(sealed)
		require.NoError(t, store.ReplaceGitHubToken(context.Background(), token, version))
		version = token.Version
		// The store must have copied the slice.
		clear(token.Sealed)

		_, have, err := store.FindGitHubConnection(context.Background(), "ada", host)
		require.NoError(t, err)
		require.Equal(t, sealed, have.Sealed)
		require.Equal(t, []string{"blob"}, column(t, db, `SELECT typeof(sealed) FROM auth_github_tokens`))
	}
	deleted, err := store.DeleteGitHubToken(context.Background(), byHost, "ada", host, "")
	require.NoError(t, err)
	require.Len(t, deleted.Sealed, limits.Sealed)
}

// The lease is stored in the record of the token, so every instance that opens the same file sees
// the lease.
func TestTokenLeaseHoldsAcrossInstances(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	stores := make([]*sqlstore.Store, 4)
	for i := range stores {
		stores[i] = mustOpen(t, openDB(t, file, impatient))
	}
	seed(t, stores[0])
	for round := range rounds(t) {
		at := now.Add(time.Duration(round) * time.Minute)
		leased := make([]bool, len(stores))
		together(t, len(stores), func(i int) (err error) {
			leased[i], err = stores[i].LeaseGitHubToken(context.Background(), "ada", host, "v1", at,
				at.Add(time.Minute))
			return err
		})
		require.Equal(t, 1, countTrue(leased), "%v", leased)
	}
}

// Two instances handle the first sign-in with the same account at the same time. Only one of them
// is allowed to create the user.
func TestOnlyOneInstanceCreatesTheUserOfAnAccount(t *testing.T) {
	t.Parallel()
	db := openDB(t, newFile(t), impatient)
	stores := []*sqlstore.Store{mustOpen(t, db), mustOpen(t, db)}
	made := make([]bool, len(stores))
	together(t, len(stores), func(i int) error {
		signIn := newRegistration(newLink(1, string(rune('a'+i))))
		signIn.Session.ID += signIn.Link.UserID
		_, _, err := stores[i].SignInGitHub(context.Background(), byHost, signIn)
		made[i] = err == nil
		if errors.Is(err, auth.ErrChanged) {
			return nil
		}
		return err
	})
	require.Equal(t, 1, countTrue(made))
	require.Equal(t, []string{"1 1 1"}, column(t, db, `SELECT (SELECT COUNT(*) FROM auth_users) || ' ' ||
		(SELECT COUNT(*) FROM auth_github_links) || ' ' || (SELECT COUNT(*) FROM auth_sessions)`))
}

func countTrue(values []bool) (n int) {
	for _, value := range values {
		if value {
			n++
		}
	}
	return n
}

// On a database that allows several writers, another transaction can commit between a check and an
// insertion. The unique indexes then refuse the insertion.
func TestCollidingGitHubSignInCanBeRetried(t *testing.T) {
	t.Parallel()
	for table, want := range map[string]error{
		"auth_users":         auth.ErrExists,
		"auth_sessions":      auth.ErrExists,
		"auth_github_links":  auth.ErrChanged,
		"auth_github_tokens": auth.ErrChanged,
	} {
		store, db, s := spiedStore(t)
		before := dump(t, db)
		s.watch(func(_ context.Context, statement string) error {
			if strings.HasPrefix(statement, "INSERT INTO "+table+" ") {
				return coded(2067)
			}
			return nil
		})
		_, _, err := store.SignInGitHub(context.Background(), byHost,
			newRegistration(newLink(2, "bob")))
		s.watch(nil)
		require.Equal(t, want, err, table)
		require.Equal(t, before, dump(t, db))
	}
}

func TestUniqueIndexesKeepGitHubLinksOneToOne(t *testing.T) {
	t.Parallel()
	_, db, _ := spiedStore(t)
	for _, link := range []auth.GitHubLink{newLink(1, "eve"), newLink(2, "ada")} {
		_, err := db.Exec(`INSERT INTO auth_github_links (host, account_id, user_id, login, name, avatar_url, created_at, seen_at)
			VALUES (?, ?, ?, '', '', '', 1, 1)`, host, link.Account.ID, link.UserID)
		require.ErrorContains(t, err, "UNIQUE constraint failed", link.UserID)
	}
}

func TestErrLastWayInIsNotWrapped(t *testing.T) {
	t.Parallel()
	store, db, _ := spiedStore(t)
	_, err := db.Exec(`DELETE FROM auth_access_keys`)
	require.NoError(t, err)
	_, _, err = store.UnlinkGitHub(context.Background(), byHost, "ada", host)
	require.Equal(t, auth.ErrLastWayIn, err)
}

// Databases differ in how they treat an ID that cannot be stored.
func TestUnstorableIDNeverReachesTheDatabase(t *testing.T) {
	t.Parallel()
	store, _, s := spiedStore(t)
	ctx, ada := context.Background(), newLink(1, "ada")
	for _, id := range []string{"", "\x00", "v1\x00", "\xff", strings.Repeat("x", 10_000)} {
		account := auth.GitHubAccount{Host: id, ID: 1}
		require.ErrorIs(t, store.ForgetGitHubAccount(ctx, byHost, account), auth.ErrNotFound)
		require.ErrorIs(t, store.ReplaceGitHubToken(ctx, newToken(ada, "v2"), id), auth.ErrNotFound)
		if id != "" { // an empty version means any version
			_, err := store.DeleteGitHubToken(ctx, byHost, "ada", host, id)
			require.ErrorIs(t, err, auth.ErrNotFound)
		}
		_, err := store.FindGitHubLink(ctx, auth.GitHubAccount{Host: id, ID: 1})
		require.ErrorIs(t, err, auth.ErrNotFound)
		for _, call := range []func(userID, host string) error{
			func(userID, host string) error {
				_, _, err := store.FindGitHubConnection(ctx, userID, host)
				return err
			},
			func(userID, host string) error {
				_, _, err := store.UnlinkGitHub(ctx, byHost, userID, host)
				return err
			},
			func(userID, host string) error {
				_, err := store.DeleteGitHubToken(ctx, byHost, userID, host, "")
				return err
			},
			func(userID, host string) error {
				_, err := store.DeleteGitHubToken(ctx, byHost, userID, host, "v1")
				return err
			},
			func(userID, host string) error {
				_, err := store.LeaseGitHubToken(ctx, userID, host, "v1", now, now)
				return err
			},
		} {
			require.ErrorIs(t, call(id, host), auth.ErrNotFound)
			require.ErrorIs(t, call("ada", id), auth.ErrNotFound)
		}
	}
	for _, verb := range s.verbs() {
		require.Contains(t, []string{"BEGIN", "ROLLBACK"}, verb)
	}
}

// Normally a disabled user has no sessions, because disabling the user removes them. This test
// disables the user in the table and keeps the sessions.
func TestDisabledUserCannotConnectInRemainingSession(t *testing.T) {
	t.Parallel()
	store, db, _ := spiedStore(t)
	_, err := db.Exec(`UPDATE auth_users SET is_active = 0 WHERE id = 'ada'`)
	require.NoError(t, err)
	before := dump(t, db)
	require.ErrorIs(t, store.ConnectGitHub(context.Background(), bySession("s-ada", "ada"),
		connectAda("v2", "v1")), auth.ErrTokenRejected)
	require.Equal(t, before, dump(t, db))
}

func TestInconsistentRecordsAreRefusedWithoutAQuery(t *testing.T) {
	t.Parallel()
	store, _, s := spiedStore(t)
	for _, edit := range []func(*auth.GitHubSignInWrite){
		func(g *auth.GitHubSignInWrite) { g.Session.UserID = "ada" },
		func(g *auth.GitHubSignInWrite) { g.NewUser.ID = "ada" },
		func(g *auth.GitHubSignInWrite) { g.Token.UserID = "ada" },
		func(g *auth.GitHubSignInWrite) { g.Token.Account.ID = 1 },
		func(g *auth.GitHubSignInWrite) { g.Token.Account.Host = "github.example.com" },
		func(g *auth.GitHubSignInWrite) { g.Link.Login = "" },
		func(g *auth.GitHubSignInWrite) { g.Session.ID = "" },
		func(g *auth.GitHubSignInWrite) { g.NewUser.Username = "" },
		func(g *auth.GitHubSignInWrite) { g.Token.Sealed = nil },
	} {
		signIn := newRegistration(newLink(2, "bob"))
		edit(&signIn)
		_, _, err := store.SignInGitHub(context.Background(), byHost, signIn)
		require.ErrorIs(t, err, auth.ErrInvalid)
	}
	for _, edit := range []func(*auth.GitHubConnectWrite){
		func(c *auth.GitHubConnectWrite) { c.Link.Login = "" },
		func(c *auth.GitHubConnectWrite) { c.Token.Sealed = nil },
		func(c *auth.GitHubConnectWrite) { c.Token.UserID = "eve" },
		func(c *auth.GitHubConnectWrite) { c.Token.Account.ID = 2 },
	} {
		connect := connectAda("v2", "v1")
		edit(&connect)
		require.ErrorIs(t, store.ConnectGitHub(context.Background(), byHost, connect), auth.ErrInvalid)
	}
	require.ErrorIs(t, store.ConsumeState(context.Background(), "", now), auth.ErrInvalid)
	require.ErrorIs(t, store.ConsumeState(context.Background(), "new", time.Time{}), auth.ErrInvalid)
	require.ErrorIs(t, store.ConsumeState(context.Background(), "new", now.AddDate(8000, 0, 0)),
		auth.ErrInvalid)
	require.Empty(t, s.statements())
}
