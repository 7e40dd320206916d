// Package histories tests a store with random calls from many clients at the same time. It records
// every call and every answer, and then looks for an order of the calls that explains all answers.
// If there is no such order, the store breaks the contract of [auth.Store]: each call takes effect
// entirely or not at all, as if calls ran one after another, and after a call has returned, every
// later call sees its result.
//
// Package storetest tests each rule of the contract alone. This package tests all rules together,
// while processes are killed and connections are lost. A store should pass both.
package histories

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/sallyport-go/auth/storekit"
)

// Config says how many histories are recorded, and which faults happen in the meantime. The zero
// value is a short test without faults, except that the clock of each call jumps, and that some
// contexts end during the call.
type Config struct {
	// Histories is the number of histories. Zero means 4, or more if AUTH_TEST_ROUNDS is set.
	Histories int

	// Calls is the number of calls in each history, from 50 to 1000. Zero means 300, or 1000 if
	// AUTH_TEST_ROUNDS is full.
	Calls int

	// Clients is the number of clients that make calls at the same time, at most 64. Zero means 8.
	Clients int

	// Seed determines the calls. The order in which the store executes them is still different each
	// time. Zero means the value of AUTH_TEST_SEED, or a random seed. If a history is wrong, the
	// error names the seed.
	Seed uint64

	// Worker, if not nil, starts a process that opens the same store and calls [Serve] with its
	// standard input and output. Half of the clients then make their calls in such processes. While
	// they make calls, some of the processes are killed, and on Unix others are stopped for a moment.
	Worker func() *exec.Cmd

	// Disturb, if not nil, is called several times during each history. It can cut connections to
	// the store, for example.
	Disturb func()

	// Timeout is the maximum time for the check of one history. Zero means a minute. A check that
	// takes longer has failed with [ErrTimeout].
	Timeout time.Duration
}

// Report counts what a test has done.
type Report struct {
	Histories, Calls int
	Unknown          int // calls with an unknown outcome
	Entries, Folds   int // entries of the revocation feed, and how many of them folds have added
	Killed, Stopped  int // processes that were killed, or stopped for a moment
	Disturbed        int // calls of Config.Disturb
	Seed             uint64
}

func (r Report) String() string {
	return fmt.Sprintf("%d histories, %d calls, %d with an unknown outcome, %d feed entries, %d folds, "+
		"%d processes killed, %d stopped, %d times disturbed, seed %d", r.Histories, r.Calls, r.Unknown,
		r.Entries, r.Folds, r.Killed, r.Stopped, r.Disturbed, r.Seed)
}

// Run tests the store that open returns. It calls open once. The store must be empty. To close the
// store after the test, call t.Cleanup in open.
//
// The variables AUTH_TEST_ROUNDS and AUTH_TEST_SEED choose the number of histories and the seed.
func Run(t *testing.T, open func(t *testing.T) auth.Store, cfg Config) {
	t.Helper()
	if cfg.Histories == 0 {
		cfg.Histories = testenv.Rounds(t, testenv.Counts{Small: 4, Moderate: 5, Full: 50})
	}
	if cfg.Calls == 0 {
		cfg.Calls = testenv.Rounds(t, testenv.Counts{Small: 300, Moderate: 300, Full: 1000})
	}
	if cfg.Seed == 0 {
		seed, err := strconv.ParseUint(os.Getenv("AUTH_TEST_SEED"), 10, 64)
		if err != nil && os.Getenv("AUTH_TEST_SEED") != "" {
			t.Fatalf("AUTH_TEST_SEED is not a number: %v", err)
		}
		cfg.Seed = seed
	}
	report, err := Check(t.Context(), open(t), cfg)
	t.Log(report)
	if err != nil {
		t.Fatal(err)
	}
}

// Check is like [Run], but returns an error. The error wraps [ErrContract] if a history is wrong, and
// [ErrTimeout] if the check of a history takes too long. Any other error means that the store could
// not be used between two histories. If ctx ends, Check soon returns an error.
//
// It does not read the environment: if Histories is zero, it records 4 histories, and if Calls is
// zero, each has 300 calls.
func Check(ctx context.Context, store auth.Store, cfg Config) (Report, error) {
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	for _, field := range []struct {
		name                   string
		value                  *int
		byDefault, least, most int
	}{
		{"Histories", &cfg.Histories, 4, 1, 1 << 30},
		{"Calls", &cfg.Calls, 300, 50, 1000}, // including the calls that read the final state
		{"Clients", &cfg.Clients, 8, 1, 64},
	} {
		if *field.value == 0 {
			*field.value = field.byDefault
		}
		if *field.value < field.least || *field.value > field.most {
			return Report{}, fmt.Errorf("histories: Config.%s is %d; it must be %d to %d",
				field.name, *field.value, field.least, field.most)
		}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	r := &runner{Config: cfg, store: store, report: Report{Seed: cfg.Seed}}
	defer r.stop()
	for n := range cfg.Histories {
		if err := r.one(ctx, n); err != nil {
			return r.report, fmt.Errorf("history %d of seed %d: %w", n, cfg.Seed, err)
		}
	}
	return r.report, nil
}

// runner records histories.
type runner struct {
	Config
	store   auth.Store
	report  Report
	before  []string // users of the previous history whom prepare deletes
	late    []record // calls of the previous history that can still take effect
	workers []*worker

	base      int64             // Position of the newest entry of the feed
	everybody int64             // Generation of the newest entry for everybody
	older     []auth.Revocation // the newest entries of the feed
}

// one records and checks a history.
func (r *runner) one(ctx context.Context, n int) error {
	random := rand.New(rand.NewPCG(r.Seed, uint64(n)))
	p := newPlanner(random, n)
	h := &history{supers: p.supers(), subjects: p.subjects(), keys: map[string]string{}, timeout: r.Timeout}
	if err := r.prepare(ctx, p, h); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	calls := make([]call, r.Calls-2*len(p.users))
	for i := range calls {
		calls[i] = p.next()
	}
	rec := newRecorder(h.base)
	clients := r.clients() // before the faults, which use the worker processes
	stopFaults := r.faults(random.Uint64())
	rec.run(ctx, random.Uint64(), clients, calls)
	stopFaults()
	if err := r.finish(ctx, p, h, rec); err != nil {
		return fmt.Errorf("read the final state: %w", err)
	}
	h.records = rec.records
	r.count(h)
	r.remember(h.feed)
	h.records = append(h.records, r.late...)
	r.late = lateCalls(rec.records)
	return h.check()
}

// lateCalls returns the calls that can add entries to the feed during the next history, because their
// outcome is unknown. They belong to the next history, too. The super users are deleted before it, so no
// call by one of their sessions can revoke everybody.
func lateCalls(records []record) (late []record) {
	for _, r := range records {
		if r.answer.Error != unknown || r.call.Verb == revokeEverybody && r.call.By.Host == "" {
			continue
		}
		switch r.call.Verb {
		case createSession, revokeSession, revokeToken, revokeKey, revokeEverybody,
			updateUser, resetUser, deleteUser, revokeUserSessions:
			r.begin = 0
			late = append(late, r)
		}
	}
	return late
}

func (r *runner) count(h *history) {
	r.report.Histories++
	r.report.Calls += len(h.records)
	for _, record := range h.records {
		if record.answer.Error == unknown {
			r.report.Unknown++
		}
	}
	r.report.Entries += len(h.feed)
	for _, e := range h.feed {
		if e.SessionID == "" && !isFull(e) {
			r.report.Folds++
		}
	}
}

// prepare adds the users, and deletes the super users of the previous history, and the user who had many
// entries. Without that, and without pruning, the feed would grow from history to history.
func (r *runner) prepare(ctx context.Context, p *planner, h *history) error {
	for _, c := range p.setup() {
		if err := c.succeed(ctx, r.store); err != nil {
			return err
		}
		h.keys[c.User] = c.Key
	}
	for _, user := range r.before {
		c := call{Verb: deleteUser, By: auth.ByHost("test"), User: user, At: epoch, Patience: patience}
		if a := c.on(ctx, r.store); a.Error != "" && a.Error != "ErrNotFound" {
			return errors.New(a.Detail)
		}
	}
	r.before = p.supers()
	if p.folds {
		r.before = p.users
		if err := r.fill(ctx, p); err != nil {
			return err
		}
	}
	if _, err := r.store.PruneRevocations(ctx, pruneBefore, 1000); err != nil {
		return err
	}
	added, err := r.feed(ctx, r.base+1)
	r.remember(added)
	h.base, h.everybody, h.older = r.base, r.everybody, slices.Clone(r.older)
	if err == nil && p.folds {
		h.before, err = r.force(ctx, p.users[0], h.base)
	}
	return err
}

// remember adds entries to those that the runner knows.
func (r *runner) remember(added []auth.Revocation) {
	for _, e := range added {
		r.base = e.Position
		if e.UserID == "" {
			r.everybody = e.Generation
		}
		for i, old := range r.older {
			if mayReplace(e, old) {
				r.older[i].ExpiresAt = time.Time{}
			}
		}
	}
	r.older = append(r.older, added...)
	r.older = r.older[max(0, len(r.older)-2*storekit.KeptRevocations):]
}

// feed returns all entries from the given Position on.
func (r *runner) feed(ctx context.Context, from int64) (all []auth.Revocation, err error) {
	const page = 1000
	for {
		entries, err := r.store.ListRevocations(ctx, from, page)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
		if len(entries) < page {
			return all, nil
		}
		from = entries[len(entries)-1].Position + 1
	}
}

// finish reads the final state. If a call with an unknown outcome takes effect in the meantime,
// finish begins again.
func (r *runner) finish(ctx context.Context, p *planner, h *history, rec *recorder) (err error) {
	const attempts = 100
	for range attempts {
		var before []auth.Revocation
		if before, err = r.feed(ctx, h.base+1); err != nil {
			continue
		}
		final := &recorder{start: rec.start, known: knowledge{generations: map[string]int64{}}}
		for _, user := range p.users {
			for _, v := range []verb{findUser, listSessions} {
				c := call{Verb: v, User: user, At: beforeAll, Patience: patience}
				if a := final.make(ctx, inProcess{r.store}, r.Clients, c); a.Error == unknown {
					err = errors.New(a.Detail)
				}
			}
		}
		if err != nil {
			continue
		}
		if h.feed, err = r.feed(ctx, h.base+1); err == nil && sameFeed(before, h.feed) {
			rec.records = append(rec.records, final.records...)
			if p.folds {
				h.after, err = r.force(ctx, p.users[0], h.base)
			}
			return err
		}
	}
	return fmt.Errorf("no stable state after %d attempts: %w", attempts, err)
}

func sameFeed(a, b []auth.Revocation) bool {
	return len(a) == len(b) && (len(a) == 0 || a[len(a)-1].ID == b[len(b)-1].ID)
}
