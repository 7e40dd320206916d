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
	"strconv"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/testenv"
)

// Config says how many histories are recorded, and which faults happen in the meantime. The zero
// value is a short test without faults, except that the clock of each call jumps, and that some
// contexts end during the call.
type Config struct {
	// Histories is the number of histories. Zero means 4, or more if AUTH_TEST_ROUNDS is set.
	Histories int

	// Calls is the number of calls in each history, at most 1000. Zero means 400.
	Calls int

	// Clients is the number of clients that make calls at the same time. Zero means 8.
	Clients int

	// Seed determines the calls. The order in which the store executes them is still different each
	// time. Zero means the value of AUTH_TEST_SEED, or a random seed. If a history is wrong, the
	// error names the seed.
	Seed uint64

	// Worker, if not nil, starts a process that opens the same store and calls [Serve] with its
	// standard input and output. Half of the clients then make their calls in such processes. While
	// they make calls, some of the processes are killed, and others are stopped for a moment.
	Worker func() *exec.Cmd

	// Disturb, if not nil, is called several times during each history. It can cut connections to
	// the store, for example.
	Disturb func()

	// Timeout is the maximum time for the check of one history. Zero means a minute. A check that
	// takes longer has failed.
	Timeout time.Duration
}

// Report counts what a test has done.
type Report struct {
	Histories, Calls      int
	Unknown               int // calls with an unknown outcome
	Killed, Stopped, Cuts int // faults
	Seed                  uint64
}

func (r Report) String() string {
	return fmt.Sprintf("%d histories, %d calls, %d with an unknown outcome, %d processes killed, "+
		"%d stopped, %d times disturbed, seed %d",
		r.Histories, r.Calls, r.Unknown, r.Killed, r.Stopped, r.Cuts, r.Seed)
}

// Run tests the store that open returns. It calls open once. The store must be empty. To close the
// store after the test, call t.Cleanup in open.
//
// The variables AUTH_TEST_ROUNDS and AUTH_TEST_SEED choose the number of histories and the seed.
func Run(t *testing.T, open func(t *testing.T) auth.Store, cfg Config) {
	t.Helper()
	if cfg.Histories == 0 {
		cfg.Histories = testenv.Rounds(t, testenv.Counts{Small: 4, Moderate: 20, Full: 260})
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

// Check is like [Run], but returns an error if a history is wrong or if the store cannot be used.
// If Histories is zero, Check records 4 histories.
func Check(ctx context.Context, store auth.Store, cfg Config) (Report, error) {
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	for _, field := range []struct {
		value           *int
		byDefault, most int
	}{{&cfg.Histories, 4, 1 << 30}, {&cfg.Calls, 400, 1000}, {&cfg.Clients, 8, 64}} {
		if *field.value == 0 {
			*field.value = field.byDefault
		}
		if *field.value < 1 || *field.value > field.most {
			return Report{}, fmt.Errorf("histories: Config has the number %d; it must be 1 to %d",
				*field.value, field.most)
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
	before  []string // super users of the previous history
	workers []*worker
}

// one records and checks a history.
func (r *runner) one(ctx context.Context, n int) error {
	random := rand.New(rand.NewPCG(r.Seed, uint64(n)))
	p := newPlanner(random, fmt.Sprintf("h%d", n))
	h := &history{supers: p.supers(), subjects: p.subjects(), keys: map[string]string{}, timeout: r.Timeout}
	if err := r.prepare(ctx, p, h); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	calls := make([]call, r.Calls-2*len(p.users))
	for i := range calls {
		calls[i] = p.next()
	}
	rec := newRecorder(h.base)
	clients, err := r.clients()
	if err != nil {
		return err
	}
	stopFaults := r.faults(random.Uint64())
	rec.run(ctx, random.Uint64(), clients, calls)
	stopFaults()
	if err := r.finish(ctx, p, h, rec); err != nil {
		return fmt.Errorf("read the final state: %w", err)
	}
	h.records = rec.records
	r.count(h)
	return h.check()
}

func (r *runner) count(h *history) {
	r.report.Histories++
	r.report.Calls += len(h.records)
	for _, record := range h.records {
		if record.answer.Error == unknown {
			r.report.Unknown++
		}
	}
}

// prepare adds the users and deletes the super users of the previous history.
func (r *runner) prepare(ctx context.Context, p *planner, h *history) error {
	for _, c := range p.setup() {
		if a := c.on(ctx, r.store); a.Error != "" {
			return errors.New(a.Detail)
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
	var err error
	if h.base, err = r.store.RevocationHead(ctx); err != nil {
		return err
	}
	feed, err := r.feed(ctx, 0)
	for _, e := range feed {
		if e.UserID == "" {
			h.everybody = max(h.everybody, e.Generation)
		}
	}
	return err
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
				c := call{Verb: v, User: user, At: epoch.Add(-24 * time.Hour), Patience: patience}
				if a := final.make(ctx, inProcess{r.store}, r.Clients, c); a.Error == unknown {
					err = errors.New(a.Detail)
				}
			}
		}
		if h.feed, err = r.feed(ctx, h.base+1); err == nil && sameFeed(before, h.feed) {
			rec.records = append(rec.records, final.records...)
			return nil
		}
	}
	return fmt.Errorf("no stable state after %d attempts: %w", attempts, err)
}

func sameFeed(a, b []auth.Revocation) bool {
	return len(a) == len(b) && (len(a) == 0 || a[len(a)-1].ID == b[len(b)-1].ID)
}
