//go:build unix

package sqlstore_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// ownPostgres is a PostgreSQL server that belongs to one test, so that the test can stop it.
type ownPostgres struct {
	bin, dir, dsn string
	port          int
	as            *syscall.Credential // runs the server; nil means the account of the test
}

func newOwnPostgres(t *testing.T) *ownPostgres {
	t.Helper()
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	control, err := exec.LookPath("pg_ctl")
	switch {
	case len(installed) > 0:
		control = slices.Max(installed)
	case err != nil:
		testenv.Skip(t, "there is no pg_ctl")
	}
	// The server may run under another account, which could not open t.TempDir.
	dir, err := os.MkdirTemp("", "auth-postgres-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &ownPostgres{bin: filepath.Dir(control), dir: dir}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		p.as = accountOf(t, "postgres")
		require.NoError(t, os.Chown(dir, int(p.as.Uid), int(p.as.Gid)))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.port = listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	p.dsn = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?connect_timeout=5", p.port)
	p.run(t, "initdb", "-D", dir+"/data", "-A", "trust", "-U", "postgres", "-E", "UTF8")
	p.start(t)
	t.Cleanup(func() { p.stop(t, "immediate") })
	return p
}

func accountOf(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	account, err := user.Lookup(name)
	require.NoError(t, err)
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (p *ownPostgres) start(t *testing.T) {
	p.run(t, "pg_ctl", "start", "-w", "-D", p.dir+"/data", "-l", p.dir+"/log",
		"-o", fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1", p.port, p.dir))
}

// stop stops the server. The mode "fast" rolls back open transactions. The mode "immediate" has the
// same effect as a crash.
func (p *ownPostgres) stop(t *testing.T, mode string) {
	p.run(t, "pg_ctl", "stop", "-w", "-D", p.dir+"/data", "-m", mode)
}

func (p *ownPostgres) run(t *testing.T, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	if p.as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	}
	output, err := os.CreateTemp(t.TempDir(), "output") // a pipe would stay open in the server
	require.NoError(t, err)
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(output.Name())
		require.NoError(t, err, "%s", text)
	}
}

// client calls a service until it is told to stop, and counts the responses.
type client struct {
	svc     *auth.Service
	handler http.Handler
	pair    auth.KeyPair

	good, away atomic.Int64 // responses with status 200 and 503
	registered []string     // users that the service reported as created
	token      string       // latest access token
}

func (c *client) use(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		body, err := json.Marshal(map[string]string{"access_key": c.pair.AccessKey,
			"access_secret": c.pair.AccessSecret.Reveal()})
		if err != nil {
			return err
		}
		answer, err := c.ask(http.MethodPost, "/auth/users/login", string(body))
		if err != nil {
			return err
		}
		if answer["token"] != nil {
			c.token = answer["token"].(string)
		}
		if _, err := c.ask(http.MethodGet, "/auth/user", ""); err != nil {
			return err
		}
		made, err := c.svc.Register(context.Background(), byHost.By,
			auth.UserParams{Username: rand.Text()})
		if err == nil {
			c.registered = append(c.registered, made.User.ID)
		} else if status, _ := auth.ErrorStatus(err); status != http.StatusServiceUnavailable {
			return err
		}
	}
}

// ask sends a request. It returns the fields of the response, or nil if the status is 503.
func (c *client) ask(method, path, body string) (map[string]any, error) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+c.token)
	w := httptest.NewRecorder()
	began := time.Now()
	c.handler.ServeHTTP(w, r)
	if took := time.Since(began); took > time.Minute {
		return nil, fmt.Errorf("%s took %v", path, took)
	}
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		return nil, err
	}
	switch w.Code {
	case http.StatusOK:
		c.good.Add(1)
		return answer, nil
	case http.StatusServiceUnavailable:
		c.away.Add(1)
		if len(answer) != 1 || answer["detail"] == "" {
			return nil, fmt.Errorf("%s: a 503 that is not as the contract says: %s", path, w.Body)
		}
		return nil, nil
	}
	return nil, fmt.Errorf("%s: %d %s", path, w.Code, w.Body)
}

func TestPostgresIsRestartedUnderLoadAndTheServiceRecoversByItself(t *testing.T) {
	t.Parallel()
	server := newOwnPostgres(t)
	connector, err := postgresConnector(server.dsn, "")
	require.NoError(t, err)
	db := openConnector(t, connector, 8)
	store, err := sqlstore.Open(context.Background(), db, sqlstore.Config{Dialect: sqlstore.Postgres})
	require.NoError(t, err)
	signing, err := auth.NewHS256Key("", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	svc, err := auth.New(store, auth.Config{
		Issuer: "https://api.example.com", SigningKeys: []auth.SigningKey{signing},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	require.NoError(t, err)

	clients := make([]*client, 8)
	errs := make([]error, len(clients))
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		made, err := svc.Register(context.Background(), byHost.By,
			auth.UserParams{Username: rand.Text()})
		require.NoError(t, err)
		token, err := svc.SignIn(context.Background(), made.User.ID)
		require.NoError(t, err)
		clients[i] = &client{svc: svc, handler: svc.Handler(), pair: made.Pair,
			token: token.Bearer.Reveal()}
		all.Go(func() { errs[i] = clients[i].use(stop) })
	}
	defer func() {
		close(stop)
		all.Wait()
		require.NoError(t, errors.Join(errs...))
		requireKept(t, store, clients)
	}()

	more(t, clients, func(c *client) int64 { return c.good.Load() })
	for _, mode := range []string{"fast", "immediate"} {
		server.stop(t, mode)
		more(t, clients, func(c *client) int64 { return c.away.Load() })
		server.start(t)
		more(t, clients, func(c *client) int64 { return c.good.Load() })
	}
}

// more waits until each client has received at least five more responses of one kind. The function
// answers returns how many responses of this kind a client has received.
func more(t *testing.T, clients []*client, answers func(*client) int64) {
	t.Helper()
	for _, c := range clients {
		enough := answers(c) + 5
		require.Eventually(t, func() bool { return answers(c) >= enough }, time.Minute,
			time.Millisecond)
	}
}

// requireKept requires that everything that the service acknowledged still exists.
func requireKept(t *testing.T, store *sqlstore.Store, clients []*client) {
	t.Helper()
	for _, c := range clients {
		answer, err := c.ask(http.MethodGet, "/auth/user", "")
		require.NoError(t, err)
		require.NotEmpty(t, answer["user_id"])
		require.NotEmpty(t, c.registered)
		for _, id := range c.registered {
			_, err := store.FindUser(context.Background(), id)
			require.NoError(t, err)
		}
	}
}
