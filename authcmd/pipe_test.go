package authcmd_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/authcmd"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/memstore"
)

// unreadPipe is an output whose reader has ended.
type unreadPipe struct{}

func (unreadPipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

// fails runs a command that must fail, and returns its errors.
func (f *fixture) fails(out io.Writer, input string, args ...string) string {
	f.t.Helper()
	var problem strings.Builder
	code := authcmd.Run(f.t.Context(), f.host, args,
		authcmd.Stdio{In: strings.NewReader(input), Out: out, Err: &problem})
	require.Equal(f.t, authcmd.ExitFailed, code, problem.String())
	return problem.String()
}

// lostConnection is a store whose connection to the database has ended, and counts the reads of events.
type lostConnection struct {
	*memstore.Store
	reads int
}

func (*lostConnection) ListUsers(context.Context, auth.UserQuery) ([]auth.User, error) {
	return nil, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
}

func (s *lostConnection) ListEvents(context.Context, auth.EventFilter, int) ([]auth.Event, error) {
	s.reads++
	return make([]auth.Event, 200), nil
}

// A lost connection to the database has the same error as an output that nobody reads.
func TestALostConnectionIsSaid(t *testing.T) {
	t.Parallel()
	f := newFixture(t, &lostConnection{Store: memstore.New()})
	for _, args := range []string{"user list", "user show alice", "user delete alice -yes"} {
		problem := f.fails(io.Discard, "", strings.Fields(args)...)
		require.Equal(t, "sp: write tcp: write: broken pipe\n", problem, args)
	}
}

func TestEventsEndIfNobodyReadsThem(t *testing.T) {
	t.Parallel()
	store := &lostConnection{Store: memstore.New()}
	f := newFixture(t, store)
	require.Empty(t, f.fails(unreadPipe{}, "", "events", "-n", "10000", "-json"))
	require.Equal(t, 1, store.reads)
}

func TestAnImportSaysThatItsResultWasNotRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New(), func(cfg *auth.Config) { cfg.Credentials.AllowImported = true })
	line := fmt.Sprintf(`{"username": "alice", "keys": [{"access_key": "legacy_1", "hash": %q}]}`,
		"$2y$10$"+strings.Repeat("a", 53))
	problem := f.fails(unreadPipe{}, line, "import", "-")
	require.Contains(t, problem, "the change was made, but this could not be written")
	require.Empty(t, f.fails(unreadPipe{}, line, "import", "-"), "the second import changes nothing")
}

// cancelOnWrite ends a context when something is written.
type cancelOnWrite struct {
	strings.Builder
	cancel context.CancelFunc
}

func (w *cancelOnWrite) Write(text []byte) (int, error) {
	w.cancel()
	return w.Builder.Write(text)
}

// The program that writes to the pipe can have stopped, so that a read or even the opening does not end.
func TestAnImportFromAPipeEndsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, memstore.New(), func(cfg *auth.Config) { cfg.Credentials.AllowImported = true })
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer read.Close()
	defer write.Close()
	open := fmt.Sprintf("/dev/fd/%d", read.Fd())
	if _, err := os.Stat(open); err != nil {
		testenv.Skip(t, "there is no /dev/fd")
	}
	unopened := filepath.Join(t.TempDir(), "pipe")
	if err := exec.Command("mkfifo", unopened).Run(); err != nil {
		testenv.Skip(t, "there is no mkfifo")
	}
	_, err = io.WriteString(write, "no JSON\n")
	require.NoError(t, err)

	for file, cancelAtOnce := range map[string]bool{open: false, unopened: true} {
		ctx, cancel := context.WithCancel(t.Context())
		problem := &cancelOnWrite{cancel: cancel} // the command writes about the first line
		if cancelAtOnce {
			cancel()
		}
		ended := make(chan int, 1)
		go func() {
			ended <- authcmd.Run(ctx, f.host, []string{"import", "-batch", "1", file},
				authcmd.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: problem})
		}()
		select {
		case code := <-ended:
			require.Equal(t, authcmd.ExitFailed, code)
			require.Contains(t, problem.String(), "sp: interrupted: ")
		case <-time.After(20 * time.Second):
			require.FailNow(t, "the import waits for the pipe", file)
		}
	}
}
