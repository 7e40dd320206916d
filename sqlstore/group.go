package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// group lets calls of one verb share a transaction, because a transaction with many changes costs
// the database much less than many transactions. One of the callers is the leader, and runs the
// transaction for all calls of the batch. So the group needs no goroutine. A batch contains only
// calls that began before its first statement.
//
// A caller that finds no leader leads at once, so a lone caller waits for nobody. Callers that
// arrive while a leader is at work form the next batch. A batch never waits for a record that
// another transaction has locked for long. Instead, its answer for this call is that the call must
// run alone. So one locked user delays only the calls that concern this user.
type group[In, Out any] struct {
	// maxLeaders is the maximum number of batches that run at the same time.
	maxLeaders int

	mu      sync.Mutex
	leaders int
	waiting []*member[In, Out] // in the order of arrival
}

// member is a call in a group. The mutex of the group guards the fields taken and leads. Only the
// leader of the batch writes the answer, before it closes done. Only the caller reads the answer,
// after done is closed.
type member[In, Out any] struct {
	in    In
	taken bool // the call is in a batch, and no longer waits
	leads bool
	lead  chan struct{} // closed when the caller must lead
	done  chan struct{} // closed when the answer is complete
	answer[Out]
}

// answer is the answer to one call of a batch.
type answer[Out any] struct {
	out   Out
	err   error
	alone bool // the batch has changed nothing for this call: run it in a transaction of its own
	again bool // the batch has changed nothing for this call: run it in another batch
}

// maxTogether is the maximum number of calls of a batch.
const maxTogether = chunk

// verb says how the calls of a group run.
type verb[In, Out any] struct {
	name string // for errors

	// alone runs one call in a transaction of its own.
	alone func(context.Context, In) (Out, error)

	// again runs one call in another batch. It is nil if no answer is "again".
	again func(context.Context, In) (Out, error)

	// together runs several calls in one transaction, and returns their answers in the same order. If
	// together returns an error, it has changed nothing, or the error is an [unknownError].
	together func(context.Context, []In) ([]answer[Out], error)

	// reads is true if the call changes nothing.
	reads bool
}

// errAlone is an error of verb.together. It means that each call of the batch must run alone.
var errAlone = errors.New("run each call alone")

// writeTogether runs the calls of a batch in one transaction. The function do returns their answers,
// and reports whether it has changed anything. If not, writeTogether rolls back, because a COMMIT can
// fail in a way that leaves its outcome open.
func writeTogether[Out any](
	ctx context.Context, s *core, name string, do func(context.Context, tx) ([]answer[Out], bool, error),
) (answers []answer[Out], err error) {
	err = s.write(ctx, name, func(ctx context.Context, t tx) (err error) {
		changed := false
		if answers, changed, err = do(ctx, t); err == nil && !changed {
			return errUnchanged
		}
		return err
	})
	if errors.Is(err, errUnchanged) {
		return answers, nil
	}
	return answers, err
}

// errUnchanged makes [writeTogether] roll the transaction back.
var errUnchanged = errors.New("nothing has changed")

// do runs the call in the next batch.
//
// If ctx ends while the call waits for its batch, do returns the error of ctx, and the call has
// changed nothing. If ctx ends later, do returns at once with an error that leaves the outcome open.
// The leader is an exception: it completes the batch for the others.
func (g *group[In, Out]) do(ctx context.Context, timeout time.Duration, v verb[In, Out], in In) (Out, error) {
	m := &member[In, Out]{in: in, lead: make(chan struct{}), done: make(chan struct{})}
	if !g.join(m) {
		select {
		case <-m.lead:
		case <-m.done:
			return m.result(ctx, v)
		case <-ctx.Done():
			select {
			case <-m.done: // the answer is known, although ctx has ended, too
				return m.result(ctx, v)
			default:
			}
			var zero Out
			return zero, g.leave(m, v, ctx.Err())
		}
	}
	g.run(ctx, timeout, v, g.take(m))
	return m.result(ctx, v)
}

// result returns the answer, or runs the call alone if the batch has not run it.
func (m *member[In, Out]) result(ctx context.Context, v verb[In, Out]) (Out, error) {
	switch {
	case m.alone:
		return v.alone(ctx, m.in)
	case m.again:
		return v.again(ctx, m.in)
	}
	return m.out, m.err
}

// join adds the call to those that wait, and reports whether its caller must lead.
func (g *group[In, Out]) join(m *member[In, Out]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, m)
	m.leads = g.leaders < g.maxLeaders
	if m.leads {
		g.leaders++
	}
	return m.leads
}

// leave removes a call whose context has ended, and returns the error for its caller.
func (g *group[In, Out]) leave(m *member[In, Out], v verb[In, Out], ctxErr error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.taken && !v.reads {
		return wrap(v.name, unknownError{ctxErr})
	}
	g.waiting = slices.DeleteFunc(g.waiting, func(other *member[In, Out]) bool { return other == m })
	if m.leads {
		g.handOverLocked()
	}
	return wrap(v.name, ctxErr)
}

// take returns the next batch. The leader is in its batch, even if many other calls came first.
func (g *group[In, Out]) take(leader *member[In, Out]) []*member[In, Out] {
	g.mu.Lock()
	defer g.mu.Unlock()
	batch := []*member[In, Out]{leader}
	g.waiting = slices.DeleteFunc(g.waiting, func(m *member[In, Out]) bool {
		if m != leader && !m.leads && len(batch) < maxTogether {
			batch = append(batch, m)
			m.taken = true
		}
		return m.taken || m == leader
	})
	leader.taken = true
	return batch
}

// handOver makes the call that has waited longest the next leader. If no call waits, the next one
// leads itself.
func (g *group[In, Out]) handOver() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handOverLocked()
}

func (g *group[In, Out]) handOverLocked() {
	for _, m := range g.waiting {
		if !m.leads {
			m.leads = true
			close(m.lead)
			return
		}
	}
	g.leaders--
}

// run runs the batch, hands the leadership over, and gives each call its answer.
//
// The context of one caller must not end the calls of the others. So a batch of several calls has a
// context that does not end with that of the leader, but has a deadline. The deadline does not end a
// COMMIT. A lone call runs in the context of its caller, as it would without a group.
func (g *group[In, Out]) run(
	ctx context.Context, timeout time.Duration, v verb[In, Out], batch []*member[In, Out],
) {
	if len(batch) > 1 {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		ctx = bounded
	}
	ins := make([]In, len(batch))
	for i, m := range batch {
		ins[i] = m.in
	}
	var answers []answer[Out]
	err := error(unknownError{errors.New("the goroutine that ran it has ended")})
	defer func() { // deferred, because a driver can call runtime.Goexit
		single := len(batch) == 1 && !errors.Is(err, errAlone)
		g.handOver()
		for i, m := range batch {
			switch {
			case err == nil:
				m.answer = answers[i]
			case single || isUnknown(err):
				m.err = err
			default:
				m.alone = true
			}
			close(m.done)
		}
	}()
	answers, err = g.runTogether(ctx, v, ins)
}

// runTogether calls v.together. If v.together panics, the panic must not reach the leader, whose call
// may not be the cause. The panic was before the COMMIT, so nothing has changed: see [core.commit].
// Each caller then runs its call alone, and one of them panics again.
func (g *group[In, Out]) runTogether(
	ctx context.Context, v verb[In, Out], ins []In,
) (answers []answer[Out], err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w after the panic %v", errAlone, p)
		}
	}()
	return v.together(ctx, ins)
}

// unknownError is an error after which it is unknown whether the transaction took effect.
type unknownError struct{ error }

func (e unknownError) Error() string {
	return "the transaction may or may not have taken effect: " + e.error.Error()
}

func (e unknownError) Unwrap() error { return e.error }

func isUnknown(err error) bool {
	_, unknown := errors.AsType[unknownError](err)
	return unknown
}
