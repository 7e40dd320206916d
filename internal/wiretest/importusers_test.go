package wiretest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
)

// rejectedLine holds the arguments of a call of OnRejected.
type rejectedLine struct {
	Line int
	Err  error
}

// importing is a fixture that allows imports and records the calls of the import callbacks.
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

// mustImport imports lines, fails the test if one is rejected, and returns the progress.
func (i *importing) mustImport(lines ...string) auth.ImportProgress {
	i.t.Helper()
	progress, err := i.importLines(lines...)
	require.NoError(i.t, err)
	require.Empty(i.t, i.rejected.Take())
	return progress
}

// users returns all users except those of the fixture, by username.
func (i *importing) users() map[string]auth.User {
	i.t.Helper()
	found := map[string]auth.User{}
	for after := ""; ; {
		page, err := i.store.ListUsers(i.t.Context(), after, 100)
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
	require.Equal(t, 200, i.login(auth.KeyPair{AccessKey: "key-user-1",
		AccessSecret: auth.NewSecret("correct horse")}).status)
	// The sign-in has renewed the hash of the first user's key.
	progress = i.mustImport(lines...)
	require.Equal(t, auth.ImportProgress{Lines: 7, Bytes: progress.Bytes, Added: 1, Present: 6}, progress)
	progress = i.mustImport(append(lines, lines...)...)
	require.Equal(t, auth.ImportProgress{Lines: 14, Bytes: progress.Bytes, Present: 14}, progress)
	again := i.users()
	require.Len(t, again, 7)
	for name, user := range users {
		require.Equal(t, user.ID, again[name].ID)
	}

	// A deleted user stays deleted, and a revoked key stays revoked.
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

func TestImportProgressCountsLinesAndBytes(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	// The last line has no line end.
	text := line("a") + "\r\n\n \t" + line("b") + " \n{}\n\r\n" + line("c") + "\n" + line("d")
	options := i.options()
	options.BatchSize = 2
	progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, strings.NewReader(text), options)
	require.NoError(t, err)
	require.Equal(t, auth.ImportProgress{Lines: 7, Bytes: int64(len(text)), Added: 4, Rejected: 1}, progress)
	reports := i.progress.Take()
	require.Equal(t, progress, reports[len(reports)-1])
	for at := 1; at < len(reports); at++ {
		require.Greater(t, reports[at].Lines, reports[at-1].Lines)
		require.Greater(t, reports[at].Bytes, reports[at-1].Bytes)
	}
	require.Equal(t, 4, i.rejected.Take()[0].Line)

	progress, err = i.svc.ImportUsers(t.Context(), authtest.ByHost, strings.NewReader(""), i.options())
	require.NoError(t, err)
	require.Zero(t, progress)
	require.Empty(t, i.progress.Take())

	// If the number of lines is a multiple of the batch size, no empty batch is reported.
	progress, err = i.svc.ImportUsers(t.Context(), authtest.ByHost,
		strings.NewReader(line("a")+"\n"+line("b")+"\n"), options)
	require.NoError(t, err)
	require.Equal(t, []auth.ImportProgress{progress}, i.progress.Take())

	// A rejected line counts for its batch.
	progress, err = i.svc.ImportUsers(t.Context(), authtest.ByHost,
		strings.NewReader("{}\n{}\n{}\n"), options)
	require.NoError(t, err)
	require.Equal(t, []auth.ImportProgress{{Lines: 2, Bytes: 6, Rejected: 2}, progress}, i.progress.Take())

	// The progress does not depend on the sizes of the reads.
	for _, reader := range []io.Reader{
		iotest.OneByteReader(strings.NewReader(text)),
		iotest.DataErrReader(strings.NewReader(text)),
	} {
		progress, err = i.svc.ImportUsers(t.Context(), authtest.ByHost, reader, i.options())
		require.NoError(t, err)
		require.Equal(t, auth.ImportProgress{Lines: 7, Bytes: int64(len(text)), Present: 4,
			Rejected: 1}, progress)
	}
}

func TestAnImportLineMayBe128KiBLongWithAnyLineEnd(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	padded := func(length int) string { // pads with spaces before the closing brace
		good := line("a")
		return good[:len(good)-1] + strings.Repeat(" ", length-len(good)) + "}"
	}
	for _, end := range []string{"", "\n", "\r\n"} {
		for length, rejected := range map[int]int{
			128<<10 - 1: 0, 128 << 10: 0, 128<<10 + 1: 1, 128<<10 + 2: 1, 256 << 10: 1,
		} {
			progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
				strings.NewReader(padded(length)+end), i.options())
			require.NoError(t, err)
			require.Equal(t, rejected, progress.Rejected, "%d bytes and %q", length, end)
			require.Equal(t, 1, progress.Lines)
			require.Equal(t, int64(length+len(end)), progress.Bytes)
		}
	}
}

func TestAnEndlessImportLineTakesNoMemory(t *testing.T) {
	// Not parallel, because it counts the allocations of the whole process.
	i := newImporting(t)
	const length = 64 << 20
	endless := io.MultiReader(strings.NewReader(line("a")+"\n"), io.LimitReader(zeros{}, length),
		strings.NewReader("\n"+line("b")))
	progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, endless, i.options())
	require.NoError(t, err)
	require.Equal(t, 2, progress.Added)
	require.Greater(t, progress.Bytes, int64(length))
	require.Equal(t, 2, i.rejected.Take()[0].Line)
	allocated := testing.AllocsPerRun(1, func() {
		_, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, io.LimitReader(zeros{}, length),
			i.options())
		require.NoError(t, err)
	})
	require.Less(t, allocated, 100.0)
}

func TestAnInterruptedImportCanBeRepeated(t *testing.T) {
	t.Parallel()
	errAway := errors.New("the store is away")
	lines := linesOf(100)
	text := strings.Join(lines, "\n")
	for name, interrupt := range map[string]func(ctx context.Context, cancel func(), calls int) error{
		"the store fails": func(context.Context, func(), int) error { return errAway },
		"ctx is canceled": func(ctx context.Context, cancel func(), _ int) error { cancel(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fail func() error
			var calls atomic.Int64
			i := newImporting(t, watch(func(method string) error {
				if method == "RegisterUsers" && calls.Add(1) == 4 {
					return fail()
				}
				return nil
			}))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			fail = func() error { return interrupt(ctx, cancel, 4) }
			options := i.options()
			options.BatchSize = 7
			progress, err := i.svc.ImportUsers(ctx, authtest.ByHost, strings.NewReader(text), options)
			require.Error(t, err)
			require.Contains(t, err.Error(), "lines 22 to 28")
			require.Equal(t, 21, progress.Added)
			require.Equal(t, 21, progress.Lines)
			require.Len(t, i.users(), 21)

			progress = i.mustImport(lines...)
			require.Equal(t, auth.ImportProgress{Lines: 100, Bytes: progress.Bytes, Added: 79,
				Present: 21}, progress)
			require.Len(t, i.users(), 100)
		})
	}
	for name, cut := range map[string]struct {
		text  string
		err   error
		line  string
		added int
	}{
		"the stream fails within a line":     {text[:len(text)-10], errors.New("connection reset"), "line 100", 99},
		"the stream fails after a line":      {text + "\n", errors.New("connection reset"), "line 101", 99},
		"the stream fails with an EOF in it": {text[:len(text)-10], fmt.Errorf("connection reset: %w", io.EOF), "line 100", 99},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImporting(t)
			options := i.options()
			options.BatchSize = 99
			progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
				io.MultiReader(strings.NewReader(cut.text), iotest.ErrReader(cut.err)), options)
			require.ErrorIs(t, err, cut.err)
			require.ErrorContains(t, err, "reading "+cut.line+" of")
			require.Equal(t, cut.added, progress.Added, "a truncated line is not imported")
			require.Empty(t, i.rejected.Take())
		})
	}
}

func TestAnImportOfAnEndlessLineCanBeCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	read := 0
	endless := readerFunc(func(p []byte) (int, error) {
		clear(p)
		if read += len(p); read > 1<<20 {
			cancel()
		}
		if read > 64<<20 {
			return 0, io.EOF
		}
		return len(p), nil
	})
	_, err := newImporting(t).svc.ImportUsers(ctx, authtest.ByHost, endless, auth.ImportOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, read, 2<<20)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAnImportBatchIsLimitedByItsKeys(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	withKeys := func(name string, keys int) string {
		text := make([]string, keys)
		for k := range text {
			text[k] = fmt.Sprintf(`{"access_key":"%s-%d","hash":%q}`, name, k, bcrypted)
		}
		return fmt.Sprintf(`{"username":%q,"keys":[%s]}`, name, strings.Join(text, ","))
	}
	options := i.options()
	options.BatchSize = 20
	lines := []string{withKeys("a", 10), withKeys("b", 27), withKeys("c", 39), withKeys("d", 100)}
	for n := range 20 {
		lines = append(lines, withKeys(fmt.Sprintf("e-%d", n), 1))
	}
	_, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
		strings.NewReader(strings.Join(lines, "\n")), options)
	require.NoError(t, err)
	var added []int
	for _, progress := range i.progress.Take() {
		added = append(added, progress.Added)
	}
	require.Equal(t, []int{3, 4, 24}, added)
}

func TestAnImportBatchThatTimesOutNamesBatchSize(t *testing.T) {
	t.Parallel()
	i := newImporting(t, watch(func(method string) error {
		if method == "RegisterUsers" {
			return fmt.Errorf("insert: %w", context.DeadlineExceeded)
		}
		return nil
	}))
	_, err := i.importLines(line("a"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "set a smaller BatchSize")
}

func TestAnImportThatTheCallerCancelsDoesNotNameBatchSize(t *testing.T) {
	t.Parallel()
	i := newImporting(t, watch(func(method string) error {
		if method == "RegisterUsers" {
			return authtest.ErrHang
		}
		return nil
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := i.svc.ImportUsers(ctx, authtest.ByHost, strings.NewReader(line("a")), auth.ImportOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "adding the users")
	require.NotContains(t, err.Error(), "BatchSize")
}

// oddStore breaks the contract of RegisterUsers: it returns an unknown error for the second of two
// users, and too few errors for more users.
type oddStore struct{ auth.Store }

var errOdd = errors.New("no such column")

func (s oddStore) RegisterUsers(
	ctx context.Context, w auth.Write, users []auth.UserWithKeys,
) ([]error, error) {
	refusals, err := s.Store.RegisterUsers(ctx, w, users[:1])
	if len(users) > 2 {
		return refusals, err // errors of the other users are missing
	}
	return append(refusals, errOdd), err
}

func TestAnImportEndsIfTheStoreReturnsAnUnknownError(t *testing.T) {
	t.Parallel()
	i := newImporting(t, func(f *fixture, _ *auth.Config) { f.store = oddStore{f.store} })
	_, err := i.importLines(line("a"), line("b"))
	require.ErrorIs(t, err, errOdd)
	require.ErrorContains(t, err, "line 2 of an import")
	require.Empty(t, i.rejected.Take())
	require.Len(t, i.users(), 1)
	require.Contains(t, i.log.String(), "lines 1 to 2")
	_, err = i.importLines(line("c"), line("d"), line("e"))
	require.ErrorContains(t, err, "answers for 1 of 3 users")
}

func TestAnImportBatchThatAddsNoUserIsNotAnEvent(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	for range 3 {
		_, err := i.importLines(line("a"), "{}")
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(i.log.String(), "auth: user.imported"))
}

func TestAnImportBatchIsLimitedByItsBytes(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	const length = 1 << 20 // each line is too long
	lines := io.LimitReader(readerFunc(func(p []byte) (int, error) {
		for at := range p {
			p[at] = ' '
		}
		p[0] = '\n'
		return len(p), nil
	}), 200*length)
	_, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, lines, i.options())
	require.NoError(t, err)
	reports := i.progress.Take()
	require.Greater(t, len(reports), 2)
	require.Less(t, reports[0].Bytes, int64(66*length))
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
