package sqlstore_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// trafficJob is the job of a process that uses a store on a server until it is killed. The value of
// fileVariable is the argument for [openAt].
const trafficJob = "traffic"

func trafficUntilKilled(where string) error {
	store, err := openAt(where)
	if err != nil {
		return err
	}
	return runTraffic(context.Background(), store, fmt.Sprintf("p%d", os.Getpid()), os.Stdout)
}

// openAt opens a store on a server. The argument has three words: the dialect, the schema and the
// prefix.
func openAt(where string) (*sqlstore.Store, error) {
	parts := strings.Fields(where)
	for _, on := range servers {
		if string(on.dialect) != parts[0] {
			continue
		}
		connector, err := on.connector(os.Getenv(on.variable), parts[1])
		if err != nil {
			return nil, err
		}
		return sqlstore.Open(context.Background(), sql.OpenDB(connector),
			sqlstore.Config{Dialect: on.dialect, Prefix: parts[2], Timeout: time.Minute})
	}
	return nil, errors.New("no such server: " + where)
}

// runTraffic uses the store from several goroutines until the context ends or a call fails.
// runTraffic writes a line to the journal before and after each step.
func runTraffic(ctx context.Context, store *sqlstore.Store, name string, journal io.Writer) error {
	const workers = 4
	var mu sync.Mutex
	var all sync.WaitGroup
	errs := make([]error, workers)
	for worker := range workers {
		all.Go(func() {
			note := func(line string) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintln(journal, line)
			}
			for n := 0; errs[worker] == nil && ctx.Err() == nil; n++ {
				errs[worker] = oneLife(store, fmt.Sprintf("%s-%d-%d", name, worker, n), n, note)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// step changes the state of one record.
type step struct {
	what, state string
	take        func(context.Context) error
}

// oneLife adds a user and runs several steps that change records of this user. The steps depend on
// kind, so that no step changes a record that another step has changed.
func oneLife(store *sqlstore.Store, id string, kind int, note func(string)) error {
	second := newKey("second-"+id, id)
	session, bySecond := newSession("s-"+id, id, "k-"+id), newSession("s2-"+id, id, second.ID)
	link := newLink(rand.Int64N(1<<53)+1, id)
	create := func(session auth.Session) func(context.Context) error {
		return func(ctx context.Context) error {
			_, _, err := store.CreateSession(ctx, session, 0)
			return err
		}
	}
	withEvent := byHost
	withEvent.Event = auth.Event{Kind: "test"}
	steps := []step{
		{"user " + id, "active", func(ctx context.Context) error {
			return store.Register(ctx, withEvent, newUser(id), newKey("k-"+id, id))
		}},
		{"session " + session.ID, "there", create(session)},
	}
	switch kind % 3 {
	case 0:
		steps = append(steps, step{"session " + session.ID, "gone", func(ctx context.Context) error {
			return store.RevokeSession(ctx, byHost, session.ID)
		}})
	case 1:
		steps = append(steps,
			step{"key " + second.ID, "there", func(ctx context.Context) error {
				return store.AddKey(ctx, byHost, second)
			}},
			step{"opened " + bySecond.ID, "there", create(bySecond)},
			step{"key " + second.ID, "gone", func(ctx context.Context) error {
				return store.RevokeKey(ctx, byHost, second.ID)
			}})
	case 2:
		steps = append(steps,
			step{"token " + id, "there", func(ctx context.Context) error {
				return store.ConnectGitHub(ctx, byHost,
					auth.GitHubConnectWrite{Link: link, Token: newToken(link, "v1")})
			}},
			step{"token " + id, "gone", func(ctx context.Context) error {
				_, err := store.DeleteGitHubToken(ctx, byHost, id, host, "")
				return err
			}},
			step{"user " + id, "disabled", func(ctx context.Context) error {
				_, err := store.UpdateUser(ctx, byHost, id, auth.UserChange{IsActive: new(bool)})
				return err
			}})
	}
	for _, s := range steps {
		note("begin " + s.what + " " + s.state)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := s.take(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s %s: %w", s.what, s.state, err)
		}
		note("done " + s.what + " " + s.state)
	}
	return nil
}

// ledger has the possible states of each record according to a journal. If a step began but is not
// reported as done, the record may have the state before or after the step.
type ledger struct {
	possible map[string][]string
	done     int
}

func (l *ledger) read(line string) {
	if l.possible == nil {
		l.possible = map[string][]string{}
	}
	verb, rest, _ := strings.Cut(line, " ")
	what, state := rest[:strings.LastIndex(rest, " ")], rest[strings.LastIndex(rest, " ")+1:]
	if verb == "done" {
		l.done++
		l.possible[what] = []string{state}
		return
	}
	before := l.possible[what]
	if before == nil {
		before = []string{"gone"}
	}
	l.possible[what] = append(before, state)
}

// check requires that each record in the tables has one of its possible states.
func (l *ledger) check(t *testing.T, db *sql.DB, prefix string) {
	t.Helper()
	is := map[string]string{}
	for _, query := range []string{
		`SELECT CONCAT('user ', id, ' ', CASE is_active WHEN 1 THEN 'active' ELSE 'disabled' END) FROM auth_users`,
		`SELECT CONCAT('session ', id, ' there') FROM auth_sessions WHERE id NOT LIKE 's2-%'`,
		`SELECT CONCAT('key ', id, ' there') FROM auth_access_keys`,
		`SELECT CONCAT('token ', user_id, ' there') FROM auth_github_tokens`,
	} {
		for _, row := range column(t, db, strings.ReplaceAll(query, "auth_", prefix)) {
			at := strings.LastIndex(row, " ")
			is[row[:at]] = row[at+1:]
		}
	}
	for what, possible := range l.possible {
		state, there := is[what]
		if !there {
			state = "gone"
		}
		kind, id, _ := strings.Cut(what, " ")
		if kind == "opened" {
			// The session is removed with its key. The queries in halves check this.
			continue
		}
		if kind == "session" { // if the user is disabled, the session is removed
			if user := l.possible["user "+strings.TrimPrefix(id,
				"s-")]; user[len(user)-1] == "disabled" {
				continue
			}
		}
		require.Contains(t, possible, state, what)
	}
}

// halves are queries that find transactions of which only a part took effect. Each query must count
// 0.
var halves = map[string]string{
	"a user without the first key": `SELECT COUNT(*) FROM auth_users u WHERE NOT EXISTS (SELECT 1 FROM auth_access_keys k WHERE k.id = CONCAT('k-', u.id))`,
	"a user without the event":     `SELECT COUNT(*) FROM auth_users u WHERE NOT EXISTS (SELECT 1 FROM auth_events e WHERE e.user_id = u.id)`,
	"an event of an unknown user":  `SELECT COUNT(*) FROM auth_events e WHERE NOT EXISTS (SELECT 1 FROM auth_users u WHERE u.id = e.user_id)`,
	"a key of an unknown user":     `SELECT COUNT(*) FROM auth_access_keys k WHERE NOT EXISTS (SELECT 1 FROM auth_users u WHERE u.id = k.user_id)`,
	"a session of a revoked key":   `SELECT COUNT(*) FROM auth_sessions s WHERE NOT EXISTS (SELECT 1 FROM auth_access_keys k WHERE k.id = s.access_key_id)`,
	"a session of a disabled user": `SELECT COUNT(*) FROM auth_sessions s JOIN auth_users u ON u.id = s.user_id WHERE u.is_active = 0`,
	"a session but no last login":  `SELECT COUNT(*) FROM auth_sessions s JOIN auth_users u ON u.id = s.user_id WHERE u.last_login = 0`,
	"a token without its link":     `SELECT COUNT(*) FROM auth_github_tokens t WHERE NOT EXISTS (SELECT 1 FROM auth_github_links l WHERE l.user_id = t.user_id)`,
}

// Two processes use the same store, and one of them is killed repeatedly. Every change that the
// killed process reported must exist, and no change is allowed to be incomplete. The other process
// must never fail.
func TestKilledProcessLosesNothingAndLeavesNoPartialWriteOnAServer(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, on *server) {
		db, cfg := on.open(t, nil, 8), on.config()
		store, err := sqlstore.Open(context.Background(), db, cfg)
		require.NoError(t, err)

		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		survived := make(chan error)
		journal, survivor := io.Pipe()
		go func() {
			err := runTraffic(ctx, store, "survivor", survivor)
			survivor.Close()
			survived <- err
		}()
		var ours, theirs ledger
		read := make(chan struct{})
		go func() {
			defer close(read)
			for lines := bufio.NewScanner(journal); lines.Scan(); {
				ours.read(lines.Text())
			}
		}()

		rounds := testenv.Rounds(t, testenv.Counts{Small: 2, Moderate: 10, Full: 200})
		for range rounds {
			killOne(t, strings.Join([]string{string(on.dialect), on.schema, cfg.Prefix}, " "), &theirs)
		}
		stop()
		require.NoError(t, <-survived)
		<-read
		require.Greater(t, ours.done, rounds)
		t.Logf("%d kills; %d writes acknowledged by the killed, %d by the survivor", rounds,
			theirs.done, ours.done)
		ours.check(t, db, cfg.Prefix)
		theirs.check(t, db, cfg.Prefix)
		for what, query := range halves {
			require.Equal(t, []string{"0"}, column(t, db,
				strings.ReplaceAll(query, "auth_", cfg.Prefix)), what)
		}
	})
}

// killOne starts a process and kills it after some lines of its journal.
func killOne(t *testing.T, where string, l *ledger) {
	t.Helper()
	p := launch(t, trafficJob, where)
	for until := 1 + rand.IntN(60); until > 0; until-- {
		line, err := p.output.ReadString('\n')
		require.NoError(t, err)
		require.Regexp(t, "^(begin|done) ", line)
		l.read(strings.TrimSuffix(line, "\n"))
	}
	require.NoError(t, p.Process.Kill())
	for { // read the rest of the journal
		line, err := p.output.ReadString('\n')
		if err != nil {
			break // the last line may be incomplete
		}
		l.read(strings.TrimSuffix(line, "\n"))
	}
	require.Error(t, p.Wait())
}
