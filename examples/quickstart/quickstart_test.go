package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/keyfile"
	"github.com/sallyport-go/auth/sqlstore"
	"github.com/stretchr/testify/require"
)

// The quickstart is read before anything else, so it must stay short.
func TestTheQuickstartHasFewerThan200Lines(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	lines := 0
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			lines += strings.Count(string(source), "\n")
		}
	}
	require.Positive(t, lines)
	require.Less(t, lines, 200)
}

func TestOnlyTheFirstStartPrintsThePair(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	first := start(t, "-db", db, "-addr", newAddress())
	require.Equal(t, []string{"access_key=" + first.key, "access_secret=" + first.secret,
		"listening on " + first.url}, first.stdout)
	token := first.login(t, first.key, first.secret)
	require.NoError(t, first.stop(syscall.SIGTERM))
	require.NotContains(t, first.stderr.String(), first.secret)

	second := start(t, "-db", db, "-addr", first.addr())
	require.Equal(t, []string{"listening on " + second.url}, second.stdout)
	status, body := second.text(t, "/notes", token)
	require.Equal(t, http.StatusOK, status, "a token outlives a restart")
	require.Equal(t, "the notes of admin\n", body)
	second.login(t, first.key, first.secret)

	files, err := filepath.Glob(filepath.Join(filepath.Dir(db), "*"))
	require.NoError(t, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(content), first.secret, file)
		require.NotContains(t, string(content), token, file)
	}
}

// text gets a path with a token, and returns the status and the text of the answer.
func (p *process) text(t *testing.T, path, token string) (int, string) {
	t.Helper()
	status, _, body := netHTTP(t, http.MethodGet, p.url+path, token, "")
	return status, body
}

// The quickstart shows the whole library: every group of calls has an answer other than 404.
func TestEveryCallOfTheLibraryIsMounted(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	admin := p.login(t, p.key, p.secret)
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(auth.OpenAPI(), &document))
	require.Greater(t, len(document.Paths), 20)
	for path, methods := range document.Paths {
		for method := range methods {
			if method == "parameters" {
				continue
			}
			status, header, body := netHTTP(t, strings.ToUpper(method), p.url+path, "", "{}")
			require.NotEqual(t, http.StatusMethodNotAllowed, status, "%s %s", method, path)
			if status == http.StatusNotFound { // only the pages answer so, and not in JSON
				require.Equal(t, "application/json", header["content-type"], "%s %s: %s", method, path, body)
			}
		}
	}
	for _, path := range []string{"/auth/token", "/auth/revoke", "/auth/introspect"} { // package oauth
		status, header, body := netHTTP(t, http.MethodPost, p.url+path, "", "")
		require.NotEqual(t, http.StatusNotFound, status, path)
		require.Equal(t, "application/json", header["content-type"], body)
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server",
		"/.well-known/oauth-protected-resource", "/.well-known/jwks.json", "/livez", "/readyz"} {
		status, body := p.mustCall(t, http.MethodGet, path, "", nil)
		require.Equal(t, http.StatusOK, status, path)
		if issuer := body["issuer"]; issuer != nil {
			require.Equal(t, p.url, issuer, "clients compare it with the URL that they asked (RFC 8414)")
		}
	}
	status, _ := p.text(t, "/auth/revocations?from=0&nonce=0123456789abcdef0123456789abcdef", admin)
	require.NotEqual(t, http.StatusNotFound, status)
}

func TestHostRoutesCoexistWithDocumentedCalls(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	status, body := p.mustCall(t, http.MethodGet, "/readyz", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, map[string]any{"status": "ok", "store_writable": true}, body)
	status, _ = p.mustCall(t, http.MethodGet, "/notes", "", nil)
	require.Equal(t, http.StatusUnauthorized, status)
	token := p.login(t, p.key, p.secret)
	status, body = p.mustCall(t, http.MethodGet, "/auth/user", token, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, true, body["is_super_user"])
	status, _ = p.mustCall(t, http.MethodPost, "/auth/logout", token, nil)
	require.Equal(t, http.StatusOK, status)
	status, _ = p.mustCall(t, http.MethodGet, "/notes", token, nil)
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestProtectedRouteNeedsItsScopeFromLimitedTokens(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	token := p.login(t, p.key, p.secret)
	for scope, want := range map[string]int{
		"notes:read": http.StatusOK, "notes:write": http.StatusForbidden,
	} {
		status, made := p.mustCall(t, http.MethodPost, "/auth/keys", token,
			map[string]any{"label": scope, "scopes": []string{scope}})
		require.Equal(t, http.StatusCreated, status, made)
		limited := p.login(t, made["access_key"].(string), made["access_secret"].(string))
		status, body := p.text(t, "/notes", limited)
		require.Equal(t, want, status, "%s: %s", scope, body)
	}
	status, _ := p.mustCall(t, http.MethodPost, "/auth/keys", token,
		map[string]any{"scopes": []string{"notes:reed"}})
	require.Equal(t, http.StatusUnprocessableEntity, status)
}

func TestKeyFileIsReadableByItsOwnerOnly(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	p := start(t, "-db", db)
	info, err := os.Stat(db + ".keys")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	p.kill()
	rest, err := filepath.Glob(db + ".keys.*")
	require.NoError(t, err)
	require.Empty(t, rest, "no temporary file is left")
}

// A start can be interrupted at any point. The next start must then complete what is missing.
func TestInterruptedStartIsCompletedByTheNext(t *testing.T) {
	t.Parallel()
	t.Run("before the database was made", func(t *testing.T) {
		t.Parallel()
		db := newDatabase(t)
		_, err := keyfile.ReadOrCreate(db+".keys", nil)
		require.NoError(t, err)
		p := start(t, "-db", db)
		p.login(t, p.key, p.secret)
	})
	t.Run("before the user was made", func(t *testing.T) {
		t.Parallel()
		path := newDatabase(t)
		_, err := keyfile.ReadOrCreate(path+".keys", nil)
		require.NoError(t, err)
		db, err := sqlstore.OpenFile("sqlite", path)
		require.NoError(t, err)
		_, err = sqlstore.Open(t.Context(), db, sqlstore.Config{Dialect: sqlstore.SQLite})
		require.NoError(t, err)
		require.NoError(t, db.Close())
		p := start(t, "-db", path)
		p.login(t, p.key, p.secret)
	})
	t.Run("with the database removed", func(t *testing.T) {
		t.Parallel()
		db := newDatabase(t)
		p := start(t, "-db", db)
		p.kill()
		for _, file := range []string{db, db + "-wal", db + "-shm"} {
			os.Remove(file)
		}
		again := start(t, "-db", db)
		require.NotEqual(t, p.key, again.key)
		again.login(t, again.key, again.secret)
	})
}

func TestFailingStartSaysWhatToDo(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	start(t, "-db", db).kill()
	keys := db + ".keys"
	content, err := os.ReadFile(keys)
	require.NoError(t, err)

	require.NoError(t, os.Remove(keys))
	p := launch(t, "-db", db)
	require.Error(t, p.cmd.Wait())
	require.Contains(t, p.stderr.String(), "restore their file")
	require.NoFileExists(t, keys, "an old database must not get new keys")

	require.NoError(t, os.WriteFile(keys, content[:len(content)/2], 0o600))
	p = launch(t, "-db", db)
	require.Error(t, p.cmd.Wait())
	require.Contains(t, p.stderr.String(), "restore it from a backup")
	require.NotContains(t, p.stderr.String(), string(content[20:40]))

	p = launch(t, "surplus")
	require.Error(t, p.cmd.Wait())
	require.Contains(t, p.stderr.String(), "usage: quickstart")
}

func TestASecondInstanceOnTheSameAddressTouchesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", newDatabase(t))
	other := newDatabase(t)
	second := launch(t, "-addr", p.url[len("http://"):], "-db", other)
	require.Error(t, second.cmd.Wait())
	require.Contains(t, second.stderr.String(), "in use")
	require.NoFileExists(t, other)
	require.NoFileExists(t, other+".keys")
}

func TestDatabaseFileNameMayContainURLCharacters(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "a #b?c=d&e%20 é.db")
	p := start(t, "-db", db)
	p.login(t, p.key, p.secret)
	require.FileExists(t, db)
}

// Several instances may start at the same time on a new database. One instance creates the keys and
// the user, and the other instances use these.
func TestInstancesThatStartAtOnceShareTheirKeys(t *testing.T) {
	t.Parallel()
	for range testenv.Rounds(t, testenv.Counts{Small: 2, Moderate: 5, Full: 100}) {
		db := newDatabase(t)
		started := make(chan *process, 4)
		for range cap(started) {
			go func() { started <- launch(t, "-db", db) }()
		}
		var made *process
		for range cap(started) {
			switch p := <-started; {
			case p.url != "" && p.key != "":
				require.Nil(t, made, "only one instance creates the user")
				made = p
			case p.url == "": // it has printed a key that does not work, and says so
				require.Error(t, p.cmd.Wait())
				require.Contains(t, p.stderr.String(), "the access key above does not work, so start again")
			}
		}
		require.NotNil(t, made)
		made.login(t, made.key, made.secret)
		again := start(t, "-db", db)
		require.Empty(t, again.key)
		again.login(t, made.key, made.secret)
	}
}

func TestUnprintedSecretIsPrintedAtTheNextStart(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		testenv.Skip(t, "there is no /dev/full")
	}
	defer full.Close()
	db := newDatabase(t)
	path, err := binary()
	require.NoError(t, err)
	command := exec.Command(path, "-addr", "127.0.0.1:0", "-db", db)
	command.Stdout = full
	require.Error(t, command.Run())
	p := start(t, "-db", db)
	p.login(t, p.key, p.secret)
}

func TestFileThatIsNoDatabaseIsRefusedUnchanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, "/dev/null", ""} {
		p := launch(t, "-db", path)
		require.Error(t, p.cmd.Wait(), path)
	}
	require.NoFileExists(t, ".keys")
	require.NoFileExists(t, dir+".keys")
	require.NoFileExists(t, "/dev/null.keys")
}

func TestKeyFileThatOthersCanWriteIsRefused(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	start(t, "-db", db).kill()
	for _, file := range []string{db, db + "-wal"} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, file)
	}
	require.NoError(t, os.Chmod(db+".keys", 0o644))
	p := start(t, "-db", db)
	p.kill()
	require.Contains(t, p.stderr.String(), "every account of this machine can read the key file")
	require.NoError(t, os.Chmod(db+".keys", 0o666))
	p = launch(t, "-db", db)
	require.Error(t, p.cmd.Wait())
	require.Contains(t, p.stderr.String(), "accounts other than its owner can write it (mode 0666)")
}
