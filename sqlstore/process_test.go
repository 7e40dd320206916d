package sqlstore_test

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
)

// Some tests start the test binary as another process. If jobVariable is set, the process runs no
// tests, but does the job that the variable names. The value of fileVariable tells the job which
// file or server to use.
const (
	jobVariable  = "SQLSTORE_TEST_JOB"
	fileVariable = "SQLSTORE_TEST_FILE"
)

var jobs = map[string]func(db *sql.DB) error{
	"work": work, "migrate": stopInMigration, "write": stopInTransaction,
}

func TestMain(m *testing.M) {
	job := os.Getenv(jobVariable)
	switch job {
	case "":
		os.Exit(runAndRemove(m))
	case trafficJob:
		fmt.Println(trafficUntilKilled(os.Getenv(fileVariable)))
		os.Exit(1)
	case importJob:
		fmt.Println(importUntilKilled(os.Getenv(fileVariable)))
		os.Exit(1)
	case deliverJob:
		fmt.Println(deliverUntilKilled(os.Getenv(fileVariable)))
		os.Exit(1)
	case verbJob:
		fmt.Println(callAndDie(os.Getenv(fileVariable)))
		os.Exit(1)
	}
	db, err := sql.Open("sqlite", "file:"+os.Getenv(fileVariable)+impatient)
	if err == nil {
		err = jobs[job](db)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

const usersPerProcess = 10

// work waits for the parent process, then opens the database and uses it.
func work(db *sql.DB) error {
	waitForParent()
	store, err := open(db)
	if err != nil {
		return err
	}
	for i := range usersPerProcess {
		if err := readThenWrite(context.Background(), store,
			fmt.Sprintf("u-%d-%d", os.Getpid(), i)); err != nil {
			return err
		}
	}
	return nil
}

// stopInMigration applies migrations, and waits in the last one, after some tables were created.
func stopInMigration(db *sql.DB) error {
	sqlite.MustRegisterScalarFunction("wait_for_parent", 0,
		func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
			waitForParent()
			return nil, nil
		})
	_, err := openWith(context.Background(), db, withMigration(`CREATE TABLE last (id); SELECT wait_for_parent();`))
	return err
}

// stopInTransaction deletes all sessions in a transaction, and waits before the commit.
func stopInTransaction(db *sql.DB) error {
	store, err := open(db)
	if err != nil {
		return err
	}
	return store.Transact(context.Background(), func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, `DELETE FROM auth_sessions`)
		waitForParent()
		return err
	})
}

// waitForParent reports that the process is ready, and waits until the parent process closes the
// pipe.
func waitForParent() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

type process struct {
	*exec.Cmd
	release io.Closer
	output  *bufio.Reader
}

// start does the same as [launch], but returns only after the process has reported that it is
// ready.
func start(t *testing.T, job, file string) process {
	t.Helper()
	p := launch(t, job, file)
	line, err := p.output.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return p
}

// launch starts the test binary as another process that does the job.
func launch(t *testing.T, job, file string) process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), jobVariable+"="+job, fileVariable+"="+file)
	cmd.Stderr = os.Stderr
	release, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	return process{cmd, release, bufio.NewReader(output)}
}

func (p process) kill(t *testing.T) {
	require.NoError(t, p.Process.Kill())
	require.Error(t, p.Wait())
}

func TestProcessesShareAFileThatIsEmptyWhenTheyStart(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	processes := make([]process, 4)
	for i := range processes {
		processes[i] = start(t, "work", file)
	}
	for _, p := range processes {
		require.NoError(t, p.release.Close())
	}
	for _, p := range processes {
		output, err := io.ReadAll(p.output)
		require.NoError(t, err)
		require.NoError(t, p.Wait(), "%s", output)
	}
	require.Equal(t, []string{fmt.Sprint(len(processes) * usersPerProcess)},
		column(t, openDB(t, file, recommended), `SELECT COUNT(*) FROM auth_users WHERE is_super_user AND last_login > 0`))
}

func TestAProcessKilledInAMigrationLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	start(t, "migrate", file).kill(t)
	db := openDB(t, file, recommended)
	require.Empty(t, tables(t, db))
	seed(t, mustOpen(t, db))
}

func TestAProcessKilledInATransactionLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	file := newFile(t)
	db := openDB(t, file, recommended)
	store := mustOpen(t, db)
	seed(t, store)
	before := dump(t, db)
	start(t, "write", file).kill(t)
	require.Equal(t, before, dump(t, db))
	require.NoError(t, store.RevokeSession(context.Background(), byHost, "s-ada"))
}
