//go:build unix

package sqlstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
)

// ownPostgres is a PostgreSQL server that belongs to one test, so that the test can stop it.
type ownPostgres struct {
	bin, dir, dsn string
	port          int
	settings      string              // further arguments of the server
	as            *syscall.Credential // runs the server; nil means the account of the test
}

// newOwnPostgres starts an empty server. It stops the server at the end of the test.
func newOwnPostgres(t *testing.T) *ownPostgres {
	t.Helper()
	p := prepareOwnPostgres(t)
	p.initialize(t)
	p.start(t)
	t.Cleanup(func() { p.stop(t, "immediate") })
	return p
}

// prepareOwnPostgres returns a server that has no data yet and does not run.
func prepareOwnPostgres(t *testing.T) *ownPostgres {
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
	p := &ownPostgres{bin: filepath.Dir(control), dir: dir, port: freePort(t)}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		p.as = accountOf(t, "postgres")
		require.NoError(t, os.Chown(dir, int(p.as.Uid), int(p.as.Gid)))
	}
	p.dsn = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?connect_timeout=5", p.port)
	return p
}

// freePort returns a port on which nobody listens. Linux gives ports from 32768 on to outgoing
// connections, so freePort returns a lower one. Otherwise, a connection of another test could take
// the port while the server is down.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			require.NoError(t, listener.Close())
			return port
		}
	}
	require.Fail(t, "there is no free port")
	return 0
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

func (p *ownPostgres) data() string { return p.dir + "/data" }
func (p *ownPostgres) log() string  { return p.dir + "/log" }

func (p *ownPostgres) initialize(t *testing.T) {
	t.Helper()
	p.run(t, "initdb", "-D", p.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8")
}

// start starts the server without a Unix socket. A killed server would leave the lock file of its socket.
func (p *ownPostgres) start(t *testing.T) {
	t.Helper()
	p.run(t, "pg_ctl", "start", "-w", "-D", p.data(), "-l", p.log(), "-o",
		fmt.Sprintf("-p %d -c unix_socket_directories= -c listen_addresses=127.0.0.1 %s", p.port, p.settings))
}

// stop stops the server. The mode "fast" rolls back open transactions. The mode "immediate" has the
// same effect as a crash.
func (p *ownPostgres) stop(t *testing.T, mode string) {
	t.Helper()
	p.run(t, "pg_ctl", "stop", "-w", "-D", p.data(), "-m", mode)
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
		log, _ := os.ReadFile(p.log())
		require.NoError(t, err, "%s\nthe end of the server's log:\n%s", text, log[max(0, len(log)-4000):])
	}
}
