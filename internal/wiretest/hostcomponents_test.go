package wiretest

import (
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/sallyport-go/auth/memstore"
	"github.com/stretchr/testify/require"
)

// Without a Service, the credential verifier returns only the ID of the key's user. The token
// issuer then checks that the user exists and is active.
func TestComponentsWorkOverAHostsUserTable(t *testing.T) {
	t.Parallel()
	table, store, clock := newHostTable(), memstore.NewAccounts(), authtest.NewClock()
	keys := []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}
	tokens, err := auth.NewTokenIssuer(store, issuer, keys,
		auth.TokenConfig{Users: table, Now: clock.Now})
	require.NoError(t, err)
	credentials, err := auth.NewCredentialVerifier(store, tokens, auth.CredentialConfig{Now: clock.Now})
	require.NoError(t, err)
	pair, err := credentials.Issue(t.Context(), authtest.ByHost, "u-alice", auth.KeyOptions{})
	require.NoError(t, err)

	key, user, err := credentials.Verify(t.Context(), pair)
	require.NoError(t, err)
	require.Equal(t, auth.User{ID: "u-alice"}, user, "the issuer reads the rest from the table")
	finds, _ := table.counts()
	require.Zero(t, finds)
	signIn := auth.IssueParams{UserID: user.ID, Method: auth.MethodAccessKey, AccessKeyID: key.ID}
	token, err := tokens.Issue(t.Context(), signIn)
	require.NoError(t, err)
	require.Equal(t, "alice", token.User.Username)
	require.NoError(t, errorOf(tokens.Verify(t.Context(), token.Bearer.Reveal())))

	table.setActive("u-alice", false)
	require.ErrorIs(t, errorOf(tokens.Issue(t.Context(), signIn)), auth.ErrUserDisabled)
}

func TestVerifyRejectsKeysOfDisabledUsers(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, auth.CredentialConfig{})
	pair := c.issue(t)
	for _, active := range []bool{false, true} {
		_, err := c.store.UpdateUser(t.Context(), authtest.HostWrite, "u1",
			auth.UserChange{IsActive: &active})
		require.NoError(t, err)
		if active {
			c.requireGood(t, pair)
		} else {
			c.requireBad(t, pair)
		}
	}
}

// A store without users must not let anyone sign in, even if the host combines it with other stores
// or components.
func TestAStoreThatDoesNotKnowActiveUsersSignsNobodyIn(t *testing.T) {
	t.Parallel()
	accounts := memstore.NewAccounts()
	keys := []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}
	credentials, err := auth.NewCredentialVerifier(struct{ auth.CredentialStore }{accounts}, nil,
		auth.CredentialConfig{})
	require.NoError(t, err)
	pair, err := credentials.Issue(t.Context(), authtest.ByHost, "u-alice", auth.KeyOptions{})
	require.NoError(t, err)
	params := auth.IssueParams{UserID: "u-alice", Method: auth.MethodAccessKey, AccessKeyID: pair.AccessKey}
	requireNoSession := func() {
		t.Helper()
		sessions, err := accounts.ListSessions(t.Context(), "u-alice", time.Now())
		require.NoError(t, err)
		require.Empty(t, sessions)
	}

	_, _, err = credentials.Verify(t.Context(), pair)
	require.ErrorIs(t, err, auth.ErrInvalidCredentials, "a store of keys alone")

	tokens, err := auth.NewTokenIssuer(struct{ auth.SessionStore }{accounts}, issuer, keys,
		auth.TokenConfig{})
	require.NoError(t, err)
	require.ErrorIs(t, errorOf(tokens.Issue(t.Context(), params)), auth.ErrUserDisabled,
		"a store of sessions alone")
	requireNoSession()

	users := memstore.New() // the host's own table of users
	key, _, err := accounts.FindKey(t.Context(), pair.AccessKey)
	require.NoError(t, err)
	alice := auth.User{
		ID: "u-alice", Username: "alice", Email: "alice@example.com", IsActive: true,
		CreatedAt: key.CreatedAt,
	}
	require.NoError(t, users.Register(t.Context(), authtest.HostWrite, alice, key))
	composite := struct {
		*memstore.Accounts
		auth.UserStore
	}{accounts, users}
	svc, err := auth.New(composite, auth.Config{Issuer: issuer, SigningKeys: keys})
	require.NoError(t, err)
	require.ErrorIs(t, errorOf(svc.Login(t.Context(), pair, auth.LoginOptions{})), auth.ErrInvalidCredentials,
		"accounts and users combined in one store")
	require.ErrorIs(t, errorOf(svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{})), auth.ErrUserDisabled)
	requireNoSession()
}

func TestAStoreWithoutUsersNeedsAUserSource(t *testing.T) {
	t.Parallel()
	keys := []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}
	_, err := auth.NewTokenIssuer(memstore.NewAccounts(), issuer, keys, auth.TokenConfig{})
	require.ErrorContains(t, err, "the store keeps no users")
}

// A store with users returns a key together with its user. That also holds if a wrapper hides the
// other methods of the store.
func TestAWrapperThatHidesTheUsersOfAStoreAdmitsNoDisabledUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.setActive(f.user, false)
	keys := []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}
	hosts, err := auth.NewTokenIssuer(memstore.NewAccounts(), issuer, keys,
		auth.TokenConfig{Users: newHostTable()})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		store  auth.CredentialStore
		tokens *auth.TokenIssuer
	}{
		"all but the users": {struct{ auth.AccountStore }{f.store}, nil},
		"the keys alone":    {struct{ auth.CredentialStore }{f.store}, nil},
		"the keys alone and an issuer with a UserSource": {struct{ auth.CredentialStore }{f.store}, hosts},
	} {
		credentials, err := auth.NewCredentialVerifier(test.store, test.tokens,
			auth.CredentialConfig{Now: f.clock.Now})
		require.NoError(t, err)
		_, _, err = credentials.Verify(t.Context(), f.userPair)
		require.ErrorIs(t, err, auth.ErrInvalidCredentials, name)
	}
}

// The verifier accepts the key of a user in the host's table, in each combination of a store and a
// token issuer below. The issuer checks the host's table later, when the user signs in.
func TestKeysOfAHostsUsersVerify(t *testing.T) {
	t.Parallel()
	accounts := memstore.NewAccounts()
	keys := []auth.SigningKey{authtest.NewSigners(t)["HS256"].Key}
	hosts, err := auth.NewTokenIssuer(accounts, issuer, keys, auth.TokenConfig{Users: newHostTable()})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		store  auth.CredentialStore
		tokens *auth.TokenIssuer
	}{
		"accounts":                     {accounts, nil},
		"accounts and an issuer":       {accounts, hosts},
		"the keys alone and an issuer": {struct{ auth.CredentialStore }{accounts}, hosts},
	} {
		credentials, err := auth.NewCredentialVerifier(test.store, test.tokens, auth.CredentialConfig{})
		require.NoError(t, err)
		pair, err := credentials.Issue(t.Context(), authtest.ByHost, "u-alice", auth.KeyOptions{})
		require.NoError(t, err)
		_, user, err := credentials.Verify(t.Context(), pair)
		require.NoError(t, err, name)
		require.Equal(t, auth.User{ID: "u-alice"}, user)
	}
}

// Authority.SuperUser requires that the acting user is a super user, according to the host's table.
func TestAnAuthorityWithSuperUserIsCheckedWithHostUsers(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	h.issue("u-boss")
	theirs := h.issue("u-boss")
	token, err := h.svc.SignIn(t.Context(), "u-alice", auth.LoginOptions{}) // an ordinary user
	require.NoError(t, err)
	by := auth.Authority{SessionID: token.Session.ID, UserID: "u-alice", SuperUser: true}
	_, err = h.svc.Credentials().Issue(t.Context(), by, "u-boss", auth.KeyOptions{})
	t.Run("Issue", func(t *testing.T) {
		require.Error(t, err, "an ordinary user must not create a key for boss")
	})
	_, err = h.svc.Credentials().Rotate(t.Context(), by, theirs.AccessKey, 0)
	t.Run("Rotate", func(t *testing.T) { require.Error(t, err) })
	err = h.svc.RevokeEverybody(t.Context(), by)
	t.Run("RevokeEverybody", func(t *testing.T) { require.ErrorIs(t, err, auth.ErrSuperUserRequired) })
}

// A store without users cannot check who is a super user. So each method with an authority must ask
// the UserSource.
func TestEveryMethodAsksTheUserSourceWhoIsASuperUser(t *testing.T) {
	t.Parallel()
	h := newHostGitHub(t)
	ctx, keys := t.Context(), h.svc.Credentials()
	boss, err := h.svc.SignIn(ctx, "u-boss", auth.LoginOptions{})
	require.NoError(t, err)
	pair, err := keys.Issue(ctx, authtest.ByHost, "u-boss", auth.KeyOptions{})
	require.NoError(t, err)
	alice, err := h.svc.SignIn(ctx, "u-alice", auth.LoginOptions{}) // an ordinary user
	require.NoError(t, err)
	claimed := auth.Authority{SessionID: alice.Session.ID, UserID: "u-alice", SuperUser: true}
	for name, call := range map[string]func() error{
		"RevokeUser":      func() error { return errorOf(h.svc.Tokens().RevokeUser(ctx, claimed, "u-boss")) },
		"RevokeEverybody": func() error { return h.svc.RevokeEverybody(ctx, claimed) },
		"RevokeSession":   func() error { return h.svc.Tokens().Revoke(ctx, claimed, boss.Session.ID) },
		"Issue":           func() error { return errorOf(keys.Issue(ctx, claimed, "u-boss", auth.KeyOptions{})) },
		"Rotate":          func() error { return errorOf(keys.Rotate(ctx, claimed, pair.AccessKey, 0)) },
		"RevokeKey":       func() error { return keys.Revoke(ctx, claimed, pair.AccessKey) },
		"Import":          func() error { return keys.Import(ctx, claimed, auth.ImportedKey{UserID: "u-boss"}) },
		"Disconnect":      func() error { return h.svc.GitHub().Disconnect(ctx, claimed, "u-boss") },
		"Unlink":          func() error { return h.svc.GitHub().Unlink(ctx, claimed, "u-boss") },
		"Forget":          func() error { return h.svc.GitHub().Forget(ctx, claimed, account(octocat)) },
	} {
		require.ErrorIs(t, call(), auth.ErrSuperUserRequired, name)
	}
	require.NoError(t, errorOf(h.svc.Tokens().Verify(ctx, boss.Bearer.Reveal())), "nothing has changed")
	require.Equal(t, 200, h.login(pair).status)
}

// The host disables or deletes a super user in its table, but has not called RevokeUser yet.
func TestADisabledOrDeletedSuperUserOfTheHostHasNoPower(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*hostTable){
		"disabled": func(table *hostTable) { table.setActive("u-boss", false) },
		"deleted":  func(table *hostTable) { table.delete("u-boss") },
	} {
		h := newHostFixture(t)
		token, err := h.svc.SignIn(t.Context(), "u-boss", auth.LoginOptions{})
		require.NoError(t, err)
		by := auth.Authority{SessionID: token.Session.ID, UserID: "u-boss", SuperUser: true}
		_, err = h.svc.Credentials().Issue(t.Context(), by, "u-alice", auth.KeyOptions{})
		require.NoError(t, err, name)
		end(h.table)
		_, err = h.svc.Credentials().Issue(t.Context(), by, "u-alice", auth.KeyOptions{})
		require.ErrorIs(t, err, auth.ErrTokenRejected, name)
	}
}

// A host's own table may have no columns for these times. Without null, the answer would have a time in
// the year 1.
func TestTimesThatAHostUserDoesNotHaveAreNull(t *testing.T) {
	t.Parallel()
	h := newHostFixture(t)
	token := h.login(h.pair).json(t)["token"].(string)
	for want, at := range map[string]time.Time{
		"1970-01-01T00:00:00Z": time.Unix(0, 0), "2026-01-02T03:04:05Z": h.clock.Now(), "": {},
	} {
		h.table.change("u-alice", func(u *auth.User) { u.CreatedAt, u.LastLogin, u.Email = at, at, "" })
		got := h.sendAs(token, http.MethodGet, "/auth/user", "").json(t)
		for _, field := range []string{"created_at", "last_login"} {
			require.Contains(t, got, field)
			if want == "" {
				require.Nil(t, got[field], field)
				continue
			}
			require.Equal(t, want, got[field], field)
		}
		require.Nil(t, got["email"])
	}
}
