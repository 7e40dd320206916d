package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/sqlstore"
)

// verbJob is the job of a process that calls one method of the store, and kills itself at a given
// statement. The value of fileVariable is the argument for [callAndDie].
const verbJob = "verb"

// verbsWithEvent returns calls of all methods that take an [auth.Write]. Each method is called
// twice: with an event of the host, and with an event of a session.
func verbsWithEvent() []verb {
	w := byHost
	w.Event, w.Deliver = auth.Event{Kind: "test", Host: "test"}, true
	all := lastingVerbs(w)
	for _, v := range lastingVerbs(bySession("s-eve", "eve")) {
		v.name += " by a session"
		all = append(all, v)
	}
	return all
}

// whereabouts names a database that two processes can open. The value is "sqlite" and a path, or
// the argument for [openAt].
type whereabouts string

// open opens the store with the spy s between the store and the database.
func (p whereabouts) open(s *spy) (*sqlstore.Store, error) {
	parts := strings.Fields(string(p))
	cfg := sqlstore.Config{Dialect: sqlstore.Dialect(parts[0]), Timeout: time.Minute}
	var err error
	if cfg.Dialect == sqlstore.SQLite {
		s.Connector, err = sqlite.NewConnector("file:" + parts[1] + impatient)
	} else {
		at := slices.IndexFunc(servers, func(on *server) bool { return on.dialect == cfg.Dialect })
		s.Connector, err = servers[at].connector(os.Getenv(servers[at].variable), parts[1])
		cfg.Prefix = parts[2]
	}
	if err != nil {
		return nil, err
	}
	return sqlstore.Open(context.Background(), sql.OpenDB(s), cfg)
}

// killItself kills this process with SIGKILL.
func killItself() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}

// callAndDie calls a method of the store. The argument what has four parts, separated by "|":
//   - the number n of a statement
//   - the number of the last statement
//   - the name of the call in verbsWithEvent
//   - the [whereabouts] of the store
//
// Instead of running statement n, the process kills itself. If n is 0, the process runs all
// statements, reports that the method has returned, and waits. If n is greater than the number of
// the last statement, the process kills itself after the method has returned.
func callAndDie(what string) error {
	words := strings.SplitN(what, "|", 4)
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	last, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	s := &spy{}
	store, err := whereabouts(words[3]).open(s)
	if err != nil {
		return err
	}
	all := verbsWithEvent()
	which := slices.IndexFunc(all, func(v verb) bool { return v.name == words[2] })
	if which < 0 {
		return errors.New("no such verb: " + words[2])
	}
	die := func(context.Context) error { killItself(); return nil }
	s.watch(nil)
	if n > 0 {
		s.watch(at(n, die))
	}
	fmt.Println("ready")
	if err := all[which].call(context.Background(), store); err != nil {
		return err
	}
	if n > last {
		killItself()
	}
	fmt.Println("done")
	select {}
}

// verbStage is a stage whose database other processes can open.
type verbStage struct {
	*stage
	place whereabouts
}

// onEachPlace runs the test with an SQLite file and with each available server.
func onEachPlace(t *testing.T, test func(t *testing.T, s verbStage)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		file, s := newFile(t), &spy{}
		db := openSpied(t, "file:"+file+impatient, s)
		alone := &stage{store: mustOpen(t, db), db: db, spy: s, prefix: "auth_"}
		test(t, verbStage{alone, whereabouts("sqlite " + file)})
	})
	onServers(t, func(t *testing.T, on *server) {
		s := on.stage(t)
		test(t, verbStage{s, whereabouts(strings.Join([]string{string(on.dialect), on.schema,
			s.prefix}, " "))})
	})
}

// seeded does the same as [stage.seeded], and then makes "ada" an ordinary user, so that a sign-in
// with GitHub can make her a super user again.
func (s verbStage) seeded(t *testing.T) {
	t.Helper()
	s.stage.seeded(t)
	_, err := s.db.Exec(`UPDATE ` + s.prefix + `users SET is_super_user = 0 WHERE id = 'ada'`)
	require.NoError(t, err)
}

// effect has the rows before and after a call, and the statements of the call.
type effect struct {
	before, after []string
	statements    []string
}

// events returns the number of events among the rows.
func events(rows []string) (n int) {
	for _, row := range rows {
		if strings.HasPrefix(row, "events:") {
			n++
		}
	}
	return n
}

// effectOf calls the method v, records the effect, and restores the stage.
func (s verbStage) effectOf(t *testing.T, v verb) (e effect) {
	t.Helper()
	s.seeded(t)
	e.before = s.rows(t)
	s.spy.watch(nil)
	require.NoError(t, v.call(context.Background(), s.store))
	e.statements = s.spy.statements()
	e.after = s.rows(t)
	want := events(e.before) + 1
	// This sign-in makes no lasting change, so it adds no event.
	if v.name == "SignInGitHub" || v.name == "SignInGitHub by a session" {
		want--
	}
	require.Equal(t, want, events(e.after))
	require.NotEqual(t, e.before, e.after)
	s.seeded(t)
	return e
}

// settle waits until the database has rolled back the transaction of a killed process. To wait,
// settle changes a row that this transaction locked.
func (s verbStage) settle(t *testing.T) {
	t.Helper()
	_, err := s.db.Exec(`UPDATE ` + s.prefix + `everybody SET generation = generation + 1`)
	require.NoError(t, err)
	_, err = s.db.Exec(`UPDATE ` + s.prefix + `everybody SET generation = generation - 1`)
	require.NoError(t, err)
}

// A process is killed before a statement of a method, or after the method has returned. The change
// and its event must either both exist or both not exist. If the method has returned, both must
// exist.
func TestProcessKilledAtAnyStatementLeavesChangeAndEventOrNeither(t *testing.T) {
	t.Parallel()
	size := testenv.Rounds(t, testenv.Counts{Small: 0, Moderate: 0, Full: 2})
	onEachPlace(t, func(t *testing.T, s verbStage) {
		kills := 0
		for _, v := range verbsWithEvent() {
			t.Run(v.name, func(t *testing.T) {
				e := s.effectOf(t, v)
				last := len(e.statements)
				require.Equal(t, "COMMIT", e.statements[last-1])
				addsEvent := 1 + slices.IndexFunc(e.statements, func(statement string) bool {
					return strings.HasPrefix(statement, "INSERT INTO "+s.prefix+"events")
				})
				everyStatement := size == 2 || size == 1 && !strings.HasSuffix(v.name, " by a session")
				for n := 1; n <= last+1; n++ {
					if ofEvent := n == addsEvent || n == addsEvent+1 ||
						n >= last; !everyStatement && !ofEvent {
						continue
					}
					about := fmt.Sprintf("before statement %d of %d: %s", n, last,
						append(e.statements, "nothing")[n-1])
					p := launch(t, verbJob, fmt.Sprintf("%d|%d|%s|%s", n, last, v.name, s.place))
					output, err := io.ReadAll(p.output)
					require.NoError(t, err)
					require.Equal(t, "ready\n", string(output), about)
					require.ErrorContains(t, p.Wait(), "killed", about)
					kills++
					if n > last {
						require.Equal(t, e.after, s.rows(t), about)
						continue
					}
					s.settle(t)
					require.Equal(t, e.before, s.rows(t), about)
				}
			})
		}
		t.Logf("%d kills", kills)
	})
}

// A process is killed at a random moment of a call, possibly while the database runs a statement.
func TestProcessKilledAtAnyMomentLeavesChangeAndEventOrNeither(t *testing.T) {
	t.Parallel()
	onEachPlace(t, func(t *testing.T, s verbStage) {
		all := verbsWithEvent()
		effects := map[string]effect{}
		// took estimates the duration of a call. Each round corrects it.
		took := 2 * time.Millisecond
		rounds := testenv.Rounds(t, testenv.Counts{Small: 10, Moderate: 10, Full: 1000})
		var none, unknown, acknowledged int
		for range rounds {
			v := all[rand.IntN(len(all))]
			e, known := effects[v.name]
			if !known {
				e = s.effectOf(t, v)
				effects[v.name] = e
			}
			p := launch(t, verbJob, fmt.Sprintf("0|%d|%s|%s", len(e.statements), v.name, s.place))
			line, err := p.output.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "ready\n", line)
			began, wait := time.Now(), rand.N(2*took)
			for time.Since(began) < wait { // time.Sleep is not precise enough
			}
			require.NoError(t, p.Process.Kill())
			output, err := io.ReadAll(p.output)
			require.NoError(t, err)
			require.Error(t, p.Wait())
			s.settle(t)
			rows := s.rows(t)
			switch changed := slices.Equal(rows, e.after); {
			case string(output) == "done\n":
				require.Equal(t, e.after, rows, v.name+" was acknowledged")
				acknowledged++
				took = max(took*3/4, 100*time.Microsecond)
			case changed:
				unknown++
			default:
				require.Empty(t, string(output))
				require.Equal(t, e.before, rows, v.name)
				none++
				took = took * 4 / 3
				continue
			}
			s.seeded(t)
		}
		t.Logf("%d kills: %d before the commit, %d after it, %d after it was acknowledged", rounds,
			none, unknown, acknowledged)
	})
}
