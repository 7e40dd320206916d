package histories

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-go/auth"
)

// record is a call with its answer. The parent process measures both times with its monotonic
// clock, before it sends the call and after it has received the answer.
type record struct {
	call   call
	answer answer
	begin  time.Duration
	end    time.Duration
	client int
}

// unknownGeneration means that no answer of the history shows the Generation of a session.
const unknownGeneration = -1

// infinity is the end of a call with an unknown outcome.
const infinity = time.Duration(1 << 62)

// target makes calls, in this process or in another.
type target interface {
	call(ctx context.Context, c call) answer
}

type inProcess struct{ auth.Store }

func (p inProcess) call(ctx context.Context, c call) answer { return c.on(ctx, p.Store) }

// knowledge is what the clients have learned from answers. Some arguments of later calls come from
// it.
type knowledge struct {
	mu          sync.Mutex
	head        int64            // of the feed
	generations map[string]int64 // of sessions that CreateSession has returned
}

// complete sets the arguments of the call that depend on earlier answers.
func (k *knowledge) complete(c *call, base int64, random *rand.Rand) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch c.Verb {
	case revokeToken:
		// A client has a token only after CreateSession has returned.
		generation, ok := k.generations[c.Session]
		if !ok {
			c.Session += "-lost"
			generation = base + random.Int64N(k.head-base+1)
		}
		c.Generation = generation
	case listRevocations:
		switch random.IntN(4) {
		case 0:
			c.From = base + 1
		case 1:
			c.From = random.Int64N(base + 1)
		default:
			c.From = max(base+1, k.head-random.Int64N(20))
		}
	case revokeEverybody:
		if random.IntN(3) == 0 {
			c.Above = max(1, k.head-1+random.Int64N(3))
		}
	}
}

func (k *knowledge) learn(c call, a answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.head = max(k.head, a.Head)
	for _, e := range a.Entries {
		k.head = max(k.head, e.Position)
	}
	if c.Verb == createSession && a.Error == "" {
		k.generations[c.Session] = a.Sessions[0].Generation
		k.head = max(k.head, a.Sessions[0].Generation)
	}
}

// A recorder lets clients make calls at the same time, and records the calls with their answers.
type recorder struct {
	start   time.Time
	base    int64 // head of the feed before the history
	known   knowledge
	records []record
	mu      sync.Mutex
}

func newRecorder(base int64) *recorder {
	return &recorder{start: time.Now(), base: base,
		known: knowledge{head: base, generations: map[string]int64{}}}
}

// make makes the call and records it.
func (r *recorder) make(ctx context.Context, on target, client int, c call) answer {
	begin := time.Since(r.start)
	a := on.call(ctx, c)
	end := time.Since(r.start)
	if a.Error == notSent {
		return a
	}
	r.known.learn(c, a)
	if a.Error == unknown {
		end = infinity
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, record{call: c, answer: a, begin: begin, end: end, client: client})
	return a
}

// run lets each target make calls as a client, until all calls were made.
func (r *recorder) run(ctx context.Context, seed uint64, clients []target, calls []call) {
	var next atomic.Int64
	var all sync.WaitGroup
	for client, on := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := next.Add(1) - 1; i < int64(len(calls)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				c := calls[i]
				r.known.complete(&c, r.base, random)
				r.make(ctx, on, client, c)
			}
		})
	}
	all.Wait()
}
