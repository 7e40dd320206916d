package wiretest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

// rejectedLine contains the arguments of one call of OnRejected.
type rejectedLine struct {
	Line int
	Err  error
}

// importing is a fixture that allows imports. It records the calls of the callbacks of an import.
type importing struct {
	*fixture
	rejected authtest.Record[rejectedLine]
	progress authtest.Record[auth.ImportProgress]
}

func newImporting(t testing.TB, change ...func(*fixture, *auth.Config)) *importing {
	allow := func(_ *fixture, cfg *auth.Config) {
		cfg.Credentials.AllowImported, cfg.Proxies = true, auth.NoProxies()
	}
	return &importing{fixture: newFixture(t, append(change, allow)...)}
}

func (i *importing) options() auth.ImportOptions {
	return auth.ImportOptions{
		OnRejected: func(line int, err error) { i.rejected.Add(rejectedLine{line, err}) },
		OnProgress: i.progress.Add,
	}
}

func (i *importing) importLines(lines ...string) (auth.ImportProgress, error) {
	return i.svc.ImportUsers(i.t.Context(), authtest.ByHost,
		strings.NewReader(strings.Join(lines, "\n")+"\n"), i.options())
}

// mustImport imports the lines and returns the progress. It fails the test if a line is rejected.
func (i *importing) mustImport(lines ...string) auth.ImportProgress {
	i.t.Helper()
	progress, err := i.importLines(lines...)
	require.NoError(i.t, err)
	require.Empty(i.t, i.rejected.Take())
	return progress
}

// users returns all users except those that the fixture has created, keyed by username.
func (i *importing) users() map[string]auth.User {
	i.t.Helper()
	found := map[string]auth.User{}
	for after := ""; ; {
		page, err := i.store.ListUsers(i.t.Context(), auth.UserQuery{After: after, Limit: 100})
		require.NoError(i.t, err)
		for _, user := range page {
			if user.ID != i.admin.ID && user.ID != i.user.ID {
				found[user.Username] = user
			}
			after = user.ID
		}
		if len(page) < 100 {
			return found
		}
	}
}

// bcrypted is the bcrypt hash of "correct horse" at cost 10.
const bcrypted = "$2a$10$3CMIevKJNUzdkcQbOwPmcuxKG8yNvJseVj1yl5Yvixw6ptRhH9shC"

// line returns a valid line for a user with this username.
func line(name string) string {
	return fmt.Sprintf(
		`{"username":%q,"email":"%s@example.com","keys":[{"access_key":"key-%s","hash":%q}]}`,
		name, name, name, bcrypted)
}

func linesOf(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = line(fmt.Sprintf("user-%d", i+1))
	}
	return lines
}

func TestImportedUsersSignInWithTheirOldSecrets(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	digest := sha256.Sum256([]byte("correct horse"))
	options := i.options()
	options.VouchForSHA256 = true
	progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, strings.NewReader(fmt.Sprintf(`
		{"username":"Ada","email":"Ada@example.com","user_id":"42","created_at":"2020-01-02T03:04:05+01:00","is_active":true,"is_super_user":false,
		 "keys":[]}`+"\n"+
		`{"username":"Ada","email":"Ada@example.com","user_id":"42","created_at":"2020-01-02T03:04:05+01:00","is_active":true,"is_super_user":false,"keys":[{"access_key":"bcrypt","hash":%q,"label":"CI","created_at":"2021-01-02T03:04:05Z","expires_at":"2027-01-02T03:04:05Z"},{"access_key":"argon2id","hash":%q},{"access_key":"sha256","sha256":%q}]}`+"\n"+
		`{"username":"Bob","is_active":false,"keys":[{"access_key":"disabled","hash":%[1]q}]}`,
		bcrypted, phc("correct horse", 8192, 1, 1), hex.EncodeToString(digest[:]))), options)
	require.NoError(t, err)
	require.Len(t, i.rejected.Take(), 2, "the first object spans two lines, and both are rejected")
	require.Equal(t, 2, progress.Added)

	users := i.users()
	ada := auth.User{ID: "42", Username: "Ada", Email: "Ada@example.com", IsActive: true,
		CreatedAt: time.Date(2020, 1, 2, 2, 4, 5, 0, time.UTC)}
	require.Equal(t, ada, users["Ada"])
	require.Len(t, users["Bob"].ID, 26)
	require.Equal(t, i.clock.Now().Truncate(time.Microsecond), users["Bob"].CreatedAt)
	keys, err := i.svc.Credentials().List(t.Context(), "42")
	require.NoError(t, err)
	require.Len(t, keys, 3)
	require.Equal(t, auth.AccessKey{ID: "bcrypt", UserID: "42", Label: "CI",
		CreatedAt: time.Date(2021, 1, 2, 3, 4, 5, 0, time.UTC),
		ExpiresAt: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
	}, keys[0])

	good, bad := auth.NewSecret("correct horse"), auth.NewSecret("correct horse ")
	for _, key := range []string{"bcrypt", "argon2id", "sha256"} {
		for range 2 { // the second time with the renewed hash
			require.Equal(t, 200, i.login(auth.KeyPair{AccessKey: key, AccessSecret: good}).status, key)
			require.Equal(t, 401, i.login(auth.KeyPair{AccessKey: key, AccessSecret: bad}).status, key)
			stored, _, err := i.store.FindKey(t.Context(), key)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(stored.Hash, "$argon2id-bound$v=19$m=19456,t=2,p=1$"), key)
		}
	}
	require.Equal(t, 401, i.login(auth.KeyPair{AccessKey: "disabled", AccessSecret: good}).status)
}

func TestAnImportCreatesNoSuperUsersAndChangesNoUsers(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	before := []auth.User{i.admin, i.user}
	key := fmt.Sprintf(`{"access_key":"another","hash":%q}`, bcrypted)
	progress, err := i.importLines(
		`{"username":"eve","is_super_user":true,"keys":[`+key+`]}`,
		`{"username":"ROOT","keys":[`+key+`]}`,
		`{"username":"eve","email":"root@EXAMPLE.com","keys":[`+key+`]}`,
		`{"username":"eve","user_id":"`+i.admin.ID+`","keys":[`+key+`]}`,
		`{"username":"root","user_id":"`+i.admin.ID+`","email":"root@example.com","keys":[{"access_key":"`+i.adminPair.AccessKey+`","hash":"`+bcrypted+`"}]}`,
	)
	require.NoError(t, err)
	require.Equal(t, auth.ImportProgress{Lines: 5, Bytes: progress.Bytes, Rejected: 5}, progress)
	require.Empty(t, i.users())
	for _, user := range before {
		found, err := i.store.FindUser(t.Context(), user.ID)
		require.NoError(t, err)
		require.Equal(t, user.IsSuperUser, found.IsSuperUser)
		require.Equal(t, user.Username, found.Username)
		keys, err := i.svc.Credentials().List(t.Context(), user.ID)
		require.NoError(t, err)
		require.Len(t, keys, 1)
	}
	require.Equal(t, 200, i.login(i.adminPair).status)
}

func TestRepeatingAnImportAddsOnlyMissingUsers(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	lines := linesOf(7)
	corrected := lines[3]
	lines[3] = `{"username":"user-4"}`
	progress, err := i.importLines(lines...)
	require.NoError(t, err)
	require.Equal(t, 6, progress.Added)
	require.Len(t, i.rejected.Take(), 1)
	users := i.users()

	lines[3] = corrected
	require.Equal(t, 200, i.login(auth.KeyPair{
		AccessKey:    "key-user-1",
		AccessSecret: auth.NewSecret("correct horse"),
	}).status)
	// The sign-in above has renewed the hash of the key.
	progress = i.mustImport(lines...)
	require.Equal(t, auth.ImportProgress{Lines: 7, Bytes: progress.Bytes, Added: 1, Present: 6}, progress)
	progress = i.mustImport(append(lines, lines...)...)
	require.Equal(t, auth.ImportProgress{Lines: 14, Bytes: progress.Bytes, Present: 14}, progress)
	again := i.users()
	require.Len(t, again, 7)
	for name, user := range users {
		require.Equal(t, user.ID, again[name].ID)
	}

	// A repeated import must not bring back a deleted user or a revoked key.
	require.NoError(t, i.svc.DeleteUser(t.Context(), authtest.ByHost, users["user-1"].ID))
	require.NoError(t, i.svc.Credentials().Revoke(t.Context(), authtest.ByHost, "key-user-2"))
	progress, err = i.importLines(lines...)
	require.NoError(t, err)
	require.Equal(t, auth.ImportProgress{Lines: 7, Bytes: progress.Bytes, Present: 5, Rejected: 2}, progress)
	require.Len(t, i.users(), 6)
	for _, rejected := range i.rejected.Take() {
		require.EqualError(t, rejected.Err, "auth: username is taken")
	}
}

func TestConcurrentImportsAddEachUserOnce(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	const imports, users = 8, 300
	text := strings.Join(linesOf(users), "\n")
	results := make(chan auth.ImportProgress, imports)
	for n := range imports {
		go func() {
			progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
				strings.NewReader(text), auth.ImportOptions{BatchSize: 1 + n*7})
			if err != nil {
				t.Error(err)
			}
			results <- progress
		}()
	}
	added := 0
	for range imports {
		progress := <-results
		require.Equal(t, users, progress.Added+progress.Present)
		added += progress.Added
	}
	require.Equal(t, users, added)
	require.Len(t, i.users(), users)
}

// faultyBatchStore is a store whose method RegisterUsers breaks its contract. For a batch of two
// users, the method returns an unknown error for the second user. For a larger batch, it returns
// too few errors.
type faultyBatchStore struct{ auth.Store }

var errUnknown = errors.New("no such column")

func (s faultyBatchStore) RegisterUsers(
	ctx context.Context, w auth.Write, users []auth.UserWithKeys,
) ([]error, error) {
	refusals, err := s.Store.RegisterUsers(ctx, w, users[:1])
	if len(users) > 2 {
		return refusals, err // too few errors
	}
	return append(refusals, errUnknown), err
}

func TestAnImportEndsIfTheStoreReturnsAnUnknownError(t *testing.T) {
	t.Parallel()
	i := newImporting(t, func(f *fixture, _ *auth.Config) { f.store = faultyBatchStore{f.store} })
	_, err := i.importLines(line("a"), line("b"))
	require.ErrorIs(t, err, errUnknown)
	require.ErrorContains(t, err, "line 2 of an import")
	require.Empty(t, i.rejected.Take())
	require.Len(t, i.users(), 1)
	require.Contains(t, i.log.String(), "lines 1 to 2")
	_, err = i.importLines(line("c"), line("d"), line("e"))
	require.ErrorContains(t, err, "answers for 1 of 3 users")
}

func TestAPanicInAnImportCallbackIsAnError(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	for _, options := range []auth.ImportOptions{
		{OnRejected: func(int, error) { panic("boom") }},
		{OnProgress: func(auth.ImportProgress) { panic("boom") }},
	} {
		progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
			strings.NewReader(line("a")+"\n{}\n"), options)
		require.EqualError(t, err, "auth: a function of ImportOptions panicked: boom")
		require.Equal(t, 1, progress.Added+progress.Present, "the batch was stored")
		require.Equal(t, 2, progress.Lines)
	}
	require.Equal(t, 1, i.mustImport(line("a")).Present)
}

func TestInvalidImportsAreRejected(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	for _, size := range []int{-1, 100_001} {
		_, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, strings.NewReader(line("a")),
			auth.ImportOptions{BatchSize: size})
		require.ErrorContains(t, err, "BatchSize must be 1 to 100000")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := i.svc.ImportUsers(ctx, authtest.ByHost, strings.NewReader(line("a")), auth.ImportOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, i.users())

	_, err = newFixture(t).svc.ImportUsers(t.Context(), authtest.ByHost,
		strings.NewReader(line("a")), auth.ImportOptions{})
	require.ErrorContains(t, err, "AllowImported")
	peppered := newImporting(t, func(_ *fixture, cfg *auth.Config) {
		cfg.Credentials.Peppers = []auth.SymmetricKey{authtest.SymmetricKey(t, "p1")}
	})
	progress, err := peppered.importLines(line("a"))
	require.NoError(t, err)
	require.Equal(t, 1, progress.Rejected)
	require.ErrorContains(t, peppered.rejected.Take()[0].Err, "NoPepper")
}
