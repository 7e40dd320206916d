//go:build linux

package sqlstore_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/testenv"
)

// postgresPair is a PostgreSQL primary and its synchronous standby.
type postgresPair struct {
	primary, standby *ownPostgres
}

// newPostgresPair starts a primary and a synchronous standby, and stops both at the end of the test.
func newPostgresPair(t *testing.T) *postgresPair {
	t.Helper()
	p := &postgresPair{primary: prepareOwnPostgres(t), standby: prepareOwnPostgres(t)}
	if _, err := os.Stat(filepath.Join(p.primary.bin, "pg_basebackup")); err != nil {
		testenv.Skip(t, "there is no pg_basebackup")
	}
	for _, server := range []*ownPostgres{p.primary, p.standby} {
		// A killed process loses nothing that it has written, even if the disk has not got it yet.
		server.settings = "-c fsync=off -c synchronous_commit=on -c wal_keep_size=128MB"
		t.Cleanup(func() {
			if server.mainProcess() != 0 {
				server.stop(t, "immediate")
			}
		})
	}
	p.primary.initialize(t)
	p.primary.start(t)
	p.primary.exec(t, `CREATE TABLE writes (n int)`)
	p.attachStandby(t)
	return p
}

// dsn returns a data source name that follows the primary. It names both servers, and the driver
// connects to the server that accepts writes.
func (p *postgresPair) dsn() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres"+
		"?target_session_attrs=read-write&connect_timeout=5", p.primary.port, p.standby.port)
}

// attachStandby makes the standby a copy of the primary, and waits until the copy follows the primary.
// After that, the primary waits for the standby in each COMMIT.
func (p *postgresPair) attachStandby(t *testing.T) {
	t.Helper()
	require.NoError(t, os.RemoveAll(p.standby.data()))
	// The copy has the settings of the primary from before the ALTER SYSTEM below. So the standby will
	// wait for no other server when it is promoted.
	p.standby.run(t, "pg_basebackup", "-D", p.standby.data(), "-R", "--checkpoint=fast", "--no-sync",
		"-h", "127.0.0.1", "-p", strconv.Itoa(p.primary.port), "-U", "postgres")
	p.standby.start(t)
	p.primary.waitFor(t, `SELECT COUNT(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'`)
	p.primary.exec(t, `ALTER SYSTEM SET synchronous_standby_names = '*'`)
	p.primary.exec(t, `SELECT pg_reload_conf()`)
	p.primary.waitFor(t, `SELECT COUNT(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'`)
}

// requireSynchronous waits until a COMMIT waits for the standby. A short time passes between the
// command to reload the settings and the first COMMIT that obeys the new ones. While there are
// writes, one of them is soon seen waiting.
func (p *postgresPair) requireSynchronous(t *testing.T) {
	t.Helper()
	p.primary.waitFor(t, `SELECT COUNT(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
}

// failOver kills the primary, waits until the function noticed returns, and makes the standby the
// primary. It returns when the primary was killed, and when the new primary had committed a write.
func (p *postgresPair) failOver(t *testing.T, noticed func()) (killed, writable time.Time) {
	t.Helper()
	killed = time.Now()
	p.primary.kill(t)
	noticed()
	p.standby.run(t, "pg_ctl", "promote", "-w", "-D", p.standby.data())
	p.primary, p.standby = p.standby, p.primary
	p.primary.exec(t, `INSERT INTO writes VALUES (1)`)
	return killed, time.Now()
}

// exec runs a statement on the server. It tries again until the statement succeeds.
func (p *ownPostgres) exec(t *testing.T, statement string) {
	t.Helper()
	db := p.pool(t)
	defer db.Close()
	require.Eventually(t, func() bool {
		_, err := db.Exec(statement)
		return err == nil
	}, time.Minute, time.Millisecond, statement)
}

// waitFor waits until the server answers the yes-or-no query with yes.
func (p *ownPostgres) waitFor(t *testing.T, query string) {
	t.Helper()
	db := p.pool(t)
	defer db.Close()
	require.Eventually(t, func() bool {
		var yes bool
		return db.QueryRow(query).Scan(&yes) == nil && yes
	}, time.Minute, time.Millisecond, query)
}

// pool opens a pool of connections to this server, whether it is the primary or not.
func (p *ownPostgres) pool(t *testing.T) *sql.DB {
	t.Helper()
	connector, err := postgresConnector(p.dsn, "")
	require.NoError(t, err)
	return openConnector(t, connector, 1)
}

// kill kills all processes of the server at once, as a crash of the machine does, and waits until they
// have ended. If only the main process were killed, a busy connection could work on for a while: it
// looks for the end of the main process only when it waits for its client.
func (p *ownPostgres) kill(t *testing.T) {
	t.Helper()
	main := p.mainProcess()
	require.NotZero(t, main)
	require.NoError(t, syscall.Kill(main, syscall.SIGSTOP)) // so that it starts no further process
	require.Eventually(t, func() bool {
		state, _ := processState(main)
		return state == "T"
	}, time.Minute, time.Millisecond)
	victims := []int{main}
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, entry := range entries {
		if id, err := strconv.Atoi(entry.Name()); err == nil {
			if _, parent := processState(id); parent == main {
				victims = append(victims, id)
			}
		}
	}
	for _, id := range victims {
		require.NoError(t, syscall.Kill(id, syscall.SIGKILL))
	}
	require.NoError(t, os.Remove(p.data()+"/postmaster.pid"))
	for _, id := range victims {
		require.Eventually(t, func() bool {
			state, parent := processState(id)
			return state == "Z" || parent == 0
		}, time.Minute, time.Millisecond)
	}
}

// mainProcess returns the ID of the server's main process, or 0 if the server does not run.
func (p *ownPostgres) mainProcess() int {
	text, err := os.ReadFile(p.data() + "/postmaster.pid")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	id, _ := strconv.Atoi(line)
	return id
}

// processState returns the state of a process and the ID of its parent. If there is no such process,
// the ID is 0.
func processState(id int) (state string, parent int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return "", 0
	}
	// The name of the program stands in parentheses, and may contain spaces.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}
