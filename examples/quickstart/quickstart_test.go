package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

func TestOnlyTheFirstStartPrintsThePair(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	first := start(t, "-db", db)
	require.Equal(t, []string{"access_key=" + first.key, "access_secret=" + first.secret,
		"fake GitHub on " + first.fake, "listening on " + first.url}, first.stdout)
	token := first.login(t, first.key, first.secret)
	require.NoError(t, first.stop(syscall.SIGTERM))
	require.NotContains(t, first.stderr.String(), first.secret)

	second := start(t, "-db", db)
	require.Equal(t, []string{"fake GitHub on " + second.fake, "listening on " + second.url},
		second.stdout)
	status, body := second.mustCall(t, http.MethodGet, "/api/v1/your-protected-endpoint", token, nil)
	require.Equal(t, http.StatusOK, status, "a token outlives a restart")
	require.Equal(t, "admin", body["username"])
	require.Len(t, body, 2)
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

func TestHostRoutesCoexistWithDocumentedCalls(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", inMemory)
	status, body := p.mustCall(t, http.MethodGet, "/api/v1/healthcheck", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, map[string]any{"status": "ok", "store_writable": true}, body)
	status, _ = p.mustCall(t, http.MethodGet, "/api/v1/your-protected-endpoint", "", nil)
	require.Equal(t, http.StatusUnauthorized, status)
	token := p.login(t, p.key, p.secret)
	status, body = p.mustCall(t, http.MethodGet, "/auth/user", token, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, true, body["is_super_user"])
	status, _ = p.mustCall(t, http.MethodPost, "/auth/logout", token, nil)
	require.Equal(t, http.StatusOK, status)
	status, _ = p.mustCall(t, http.MethodGet, "/api/v1/your-protected-endpoint", token, nil)
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestProtectedRouteNeedsItsScopeFromLimitedTokens(t *testing.T) {
	t.Parallel()
	p := start(t, "-db", inMemory)
	token := p.login(t, p.key, p.secret)
	for scope, want := range map[string]int{
		"notes:read": http.StatusOK, "notes:write": http.StatusForbidden,
	} {
		status, made := p.mustCall(t, http.MethodPost, "/auth/keys", token,
			map[string]any{"label": scope, "scopes": []string{scope}})
		require.Equal(t, http.StatusCreated, status, made)
		limited := p.login(t, made["access_key"].(string), made["access_secret"].(string))
		status, body := p.mustCall(t, http.MethodGet, "/api/v1/your-protected-endpoint", limited, nil)
		require.Equal(t, want, status, "%s: %v", scope, body)
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
	keys, found, err := loadKeys(db + ".keys")
	require.NoError(t, err)
	require.True(t, found)
	require.Len(t, keys.Signing, 32)
	require.Len(t, keys.Sealing, 32)
	require.Len(t, keys.Pepper, 32)
	require.True(t, keys.Printed)
	require.Empty(t, keys.FirstSecret)
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
		require.NoError(t, newKeys().create(db+".keys"))
		p := start(t, "-db", db)
		p.login(t, p.key, p.secret)
	})
	t.Run("after the user was made, before the pair was printed", func(t *testing.T) {
		t.Parallel()
		db := newDatabase(t)
		p := start(t, "-db", db)
		p.kill()
		keys, _, err := loadKeys(db + ".keys")
		require.NoError(t, err)
		keys.FirstKey, keys.FirstSecret, keys.Printed = p.key, p.secret, false
		require.NoError(t, keys.save(db+".keys"))
		again := start(t, "-db", db)
		require.Equal(t, p.key, again.key)
		require.Equal(t, p.secret, again.secret)
		again.login(t, p.key, p.secret)
		again.kill()
		require.Empty(t, start(t, "-db", db).key, "and now it has been printed")
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
	require.Contains(t, p.stderr.String(), "restore it")
	require.NoFileExists(t, keys, "an old database must not get new keys")

	require.NoError(t, os.WriteFile(keys, content[:len(content)/2], 0o600))
	p = launch(t, "-db", db)
	require.Error(t, p.cmd.Wait())
	require.Contains(t, p.stderr.String(), "damaged")
	require.NotContains(t, p.stderr.String(), string(content[20:40]))

	require.NoError(t, os.WriteFile(keys, []byte(`{"signing":"c2hvcnQ=","printed":true}`), 0o600))
	p = launch(t, "-db", db)
	require.Error(t, p.cmd.Wait())
	require.Contains(t, p.stderr.String(), "at least 32 are needed")

	p = launch(t, "surplus")
	require.Error(t, p.cmd.Wait())
	require.Contains(t, p.stderr.String(), "surplus")
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

func TestTheHealthcheckIs503WhileTheStoreDoesNotAnswer(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	github := auth.GitHubConfig{
		ClientID:     "id",
		ClientSecret: auth.NewSecret("secret"),
		CallbackURL:  "http://127.0.0.1/callback",
	}
	svc, closeStore, err := open(t.Context(), inMemory, github, slog.New(slog.DiscardHandler), &stdout)
	require.NoError(t, err)
	handler, err := routes(svc, "http://127.0.0.1")
	require.NoError(t, err)
	require.NoError(t, closeStore())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/healthcheck", nil))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	var body map[string]string
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	require.NotEmpty(t, body["detail"])
}

func TestEveryConnectionToTheDatabaseIsDurable(t *testing.T) {
	t.Parallel()
	db, err := openDatabase(newDatabase(t))
	require.NoError(t, err)
	defer db.Close()
	for range 3 {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		require.Equal(t, "wal", pragma(t, conn, "journal_mode"))
		require.Equal(t, "2", pragma(t, conn, "synchronous"), "FULL")
	}
}

func pragma(t testing.TB, conn *sql.Conn, name string) (value string) {
	t.Helper()
	require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&value))
	return value
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
		var printed *process
		for range cap(started) {
			p := <-started
			require.NotEmpty(t, p.url, p.stderr)
			if p.key != "" {
				printed = p
			}
		}
		require.NotNil(t, printed)
		printed.login(t, printed.key, printed.secret)
		again := start(t, "-db", db)
		again.login(t, printed.key, printed.secret)
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
		require.NotContains(t, p.stderr.String(), "remove", path)
	}
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
