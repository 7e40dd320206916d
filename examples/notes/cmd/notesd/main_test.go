package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/authclient"
	"github.com/sallyport-go/auth/internal/testenv"
)

// createAdmin runs the service with -admin, and returns a source of the key that it prints.
func createAdmin(t *testing.T, args ...string) authclient.Source {
	t.Helper()
	var out, log bytes.Buffer
	args = append([]string{"-addr", "127.0.0.1:0", "-admin", "ada"}, args...)
	require.NoError(t, run(t.Context(), args, &out, &log), log.String())
	var key, secret string
	_, err := fmt.Sscanf(out.String(), "access_key=%s\naccess_secret=%s\n", &key, &secret)
	require.NoError(t, err, out.String())
	require.NotContains(t, log.String(), secret)
	return authclient.FromPair(key, secret)
}

// start runs the service until stop is called. It returns the URL.
func start(t *testing.T, args ...string) (base string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	log := &lockedBuffer{}
	go func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), writer, log)
		writer.Close()
		done <- err
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	line, err := bufio.NewReader(reader).ReadString('\n')
	require.NoError(t, err, "it ended early: %s", log)
	base, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, found, line)
	return base, stop
}

// lockedBuffer is a log that the test reads while the service writes.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// call makes a call with the key, and returns the body of a success.
func call(t *testing.T, base string, source authclient.Source, method, path, body string) string {
	t.Helper()
	client, err := authclient.New(base, source)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	require.NoError(t, err)
	response, err := client.HTTP().Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Less(t, response.StatusCode, 300, "%s %s: %s", method, path, text)
	return string(text)
}

func TestNotesStayWhenTheServiceStartsAgain(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(*testing.T) string{
		"SQLite": sqliteFile, "PostgreSQL": postgresSchema,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"-db", dsn(t), "-keys", filepath.Join(t.TempDir(), "keys")}
			source := createAdmin(t, args...)
			base, stop := start(t, args...)
			call(t, base, source, http.MethodPost, "/notes", `{"text": "buy milk"}`)
			require.NoError(t, stop())
			base, _ = start(t, args...)
			require.Contains(t, call(t, base, source, http.MethodGet, "/notes", ""), `"buy milk"`)
		})
	}
}

// The commands are those of docs/running.md. Both instances have the URL of the first.
func TestTwoInstancesShareUsersAndRevocations(t *testing.T) {
	t.Parallel()
	args := []string{"-db", sqliteFile(t), "-keys", filepath.Join(t.TempDir(), "keys")}
	source := createAdmin(t, args...)
	var instances [2]string
	for i := range instances {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, listener.Close()) // its port is free now
		instances[i] = "http://" + listener.Addr().String()
		base, _ := start(t, append(args, "-addr", listener.Addr().String(), "-url", instances[0])...)
		require.Equal(t, instances[0], base)
	}
	pair, err := source.KeyPair(t.Context())
	require.NoError(t, err)
	response, err := http.Post(instances[0]+"/auth/users/login", "application/json", strings.NewReader(
		fmt.Sprintf(`{"access_key": %q, "access_secret": %q}`, pair.AccessKey, pair.AccessSecret.Reveal())))
	require.NoError(t, err)
	var signedIn struct{ Token string }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&signedIn))
	require.NoError(t, response.Body.Close())
	status := func(method, target string) int {
		request, err := http.NewRequestWithContext(t.Context(), method, target, http.NoBody)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+signedIn.Token)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	require.Equal(t, http.StatusOK, status(http.MethodGet, instances[1]+"/notes"))
	require.Equal(t, http.StatusOK, status(http.MethodPost, instances[0]+"/auth/logout"))
	require.Equal(t, http.StatusUnauthorized, status(http.MethodGet, instances[0]+"/notes"))
	require.Eventually(t, func() bool {
		return status(http.MethodGet, instances[1]+"/notes") == http.StatusUnauthorized
	}, 20*time.Second, 100*time.Millisecond, "documented are 5 seconds")
}

func sqliteFile(t *testing.T) string { return filepath.Join(t.TempDir(), "notes.db") }

// postgresSchema returns the data source name of a new schema.
func postgresSchema(t *testing.T) string {
	t.Helper()
	server := os.Getenv("AUTH_TEST_POSTGRES_DSN")
	if server == "" {
		testenv.Skip(t, "AUTH_TEST_POSTGRES_DSN is not set")
	}
	db, err := sql.Open("pgx", server)
	require.NoError(t, err)
	schema := fmt.Sprintf("notes_%d", time.Now().UnixNano())
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+schema)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.ExecContext(context.Background(), "DROP SCHEMA "+schema+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
	address, err := url.Parse(server)
	require.NoError(t, err)
	query := address.Query()
	query.Set("search_path", schema)
	address.RawQuery = query.Encode()
	return address.String()
}

func TestTheFirstUserIsCreatedOnce(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	args := []string{"-db", filepath.Join(directory, "db"), "-keys", filepath.Join(directory, "keys")}
	createAdmin(t, args...)
	again := append([]string{"-addr", "127.0.0.1:0", "-admin", "eve"}, args...)
	var out bytes.Buffer
	require.ErrorContains(t, run(t.Context(), again, &out, io.Discard), "has users already")
	require.Empty(t, out.String(), "no key that does not work")
}

// Without the old keys, nobody could sign in, and new keys would hide that the old ones are lost.
func TestADatabaseWithUsersNeedsItsKeys(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	keys := filepath.Join(directory, "keys")
	args := []string{"-addr", "127.0.0.1:0", "-db", filepath.Join(directory, "db"), "-keys", keys}
	createAdmin(t, args...)
	require.NoError(t, os.Remove(keys))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // run must not serve
	defer cancel()
	require.ErrorIs(t, run(ctx, args, io.Discard, io.Discard), os.ErrNotExist)
	require.NoFileExists(t, keys)
}

// The service closes its listener, and answers the request that runs at that time.
func TestARunningRequestIsAnsweredBeforeTheServiceEnds(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	args := []string{"-db", filepath.Join(directory, "db"), "-keys", filepath.Join(directory, "keys")}
	source := createAdmin(t, args...)
	base, stop := start(t, args...)

	// The client sends the body only when the service begins to read it.
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	client, err := authclient.NewWithConfig(base, source, authclient.Config{Transport: transport})
	require.NoError(t, err)
	body, send := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/notes", body)
	require.NoError(t, err)
	request.Header.Set("Expect", "100-continue")
	answered := make(chan error, 1)
	go func() {
		response, err := client.HTTP().Do(request)
		if err == nil {
			defer response.Body.Close()
			if response.StatusCode != http.StatusCreated {
				err = fmt.Errorf("the service answers %s", response.Status)
			}
		}
		answered <- err
	}()
	_, err = io.WriteString(send, `{"text": `)
	require.NoError(t, err)
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	require.Eventually(t, func() bool { // the listener is closed
		response, err := http.Get(base + "/livez")
		if err == nil {
			response.Body.Close()
		}
		return err != nil
	}, 10*time.Second, 10*time.Millisecond)
	_, err = io.WriteString(send, `"buy milk"}`)
	require.NoError(t, err)
	require.NoError(t, send.Close())
	require.NoError(t, <-answered)
	require.NoError(t, <-stopped)
}

func TestMetricsAndSpansReachTheCollector(t *testing.T) {
	var mu sync.Mutex
	received := map[string]string{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		received[r.URL.Path] += string(body)
	}))
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	directory := t.TempDir()
	args := []string{"-db", filepath.Join(directory, "db"), "-keys", filepath.Join(directory, "keys")}
	source := createAdmin(t, args...)
	base, stop := start(t, args...)
	call(t, base, source, http.MethodGet, "/notes", "")
	require.NoError(t, stop())
	mu.Lock()
	defer mu.Unlock()
	for path, names := range map[string][]string{
		"/v1/metrics": {"auth.sign_in.duration", "auth.feed.age", "http.server.request.duration"},
		"/v1/traces":  {"CreateSession", "/notes"},
	} {
		for _, name := range names {
			require.Contains(t, received[path], name, path)
		}
	}
	require.NotContains(t, received["/v1/metrics"]+received["/v1/traces"], "ada", "no person is named")
}

func TestOptionsThatAreNotValidAreRefused(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"flag provided but not defined": {"-unknown"},
		"no '/'":                        {"-proxy", "10.0.0.1"},
		"https":                         {"-url", "http://notes.example.com"},
		"address":                       {"-addr", "nowhere"},
		"\"admin\" is not an option":    {"admin", "ada"},
		"failed to connect":             {"-db", "postgres://notes@127.0.0.1:1/notes"},
	} {
		directory := t.TempDir()
		args = append([]string{"-addr", "127.0.0.1:0", "-db", filepath.Join(directory, "db"),
			"-keys", filepath.Join(directory, "keys")}, args...)
		require.ErrorContains(t, run(t.Context(), args, io.Discard, io.Discard), want)
	}
}
