package revocationmodel

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

// Target is a real store with two real instances, which can take the steps of a model. The
// instances have the numbers 0 and 1. Sessions and users have the numbers of the model.
type Target interface {
	Tick()                        // advances all clocks by the interval
	Create(instance, session int) // signs the session's user in
	RevokeSession(instance, session int)
	RevokeUser(instance, user int)
	RevokeEverybody(instance int)
	RevokeOther(instance int) // revokes sessions of a user whom the model does not follow
	PruneSessions(instance int)
	Restart(instance int)
	SetAway(instance int, away bool) // sets whether the instance can read the feed
	Backup()
	Restore()

	// Present makes a request with the session's token and returns "accepted", "refused" or
	// "unavailable".
	Present(instance, session int) string

	// Write adds an access key for the session, and reports whether it was added.
	Write(instance, session int) bool
}

// answers maps a verdict of the model to the response that a client gets.
var answers = map[Verdict]string{
	Accepted: "accepted", Stale: "accepted", Refused: "refused", Lost: "refused",
	Expired: "refused", Unavailable: "unavailable",
}

// replay takes the steps of a model on a target and compares the answers of both.
type replay struct {
	t      testing.TB
	model  *World
	state  worldState
	target Target
	trace  []Step
}

// newReplayed returns a model that matches the real instances of a Target: reads take no time, and
// a request with a token is a separate step.
func newReplayed() *World {
	return &World{Design: Library, Bounds: Bounds{
		Sessions: 0b1001, Creations: 0b0110, Lifetime: 8, Staleness: 2, Kept: 100, MaxNamed: 100,
		BehindBy: 1,
		Entries:  8, UserEnds: 2, Others: 2, Restarts: 2, Outages: 2, Prunes: true,
		Snapshots: 2, Restores: 2, Presenting: true,
	}}
}

// next returns the possible steps, and the state to which each step leads.
func (r *replay) next() (steps []Step, states map[Step]worldState) {
	states = map[Step]worldState{}
	r.model.Next(r.state, func(step Step, after worldState) {
		steps = append(steps, step)
		states[step] = after
	})
	return steps, states
}

// take takes one step in the model and on the target. If the instance then has proof of lost
// commits, take also repairs the store in the model. A real instance has repaired its store in the
// same call already.
func (r *replay) take(step Step) {
	r.t.Helper()
	_, states := r.next()
	after, possible := states[step]
	require.True(r.t, possible, "%+v", step)
	r.trace = append(r.trace, step)
	before := r.state
	r.state = after
	for i := range r.state.instances {
		if r.state.instances[i].suspect > 0 {
			r.model.repair(&r.state, i)
		}
	}
	r.onTarget(step, before)
}

// onTarget takes the step on the target.
func (r *replay) onTarget(step Step, before worldState) {
	r.t.Helper()
	at, of := int(step.At), int(step.Of)
	switch step.Verb {
	case "a tick passes":
		r.target.Tick()
	case "creates session":
		r.target.Create(at, of)
	case "revokes session":
		r.target.RevokeSession(at, of)
	case "revokes the sessions of user":
		r.target.RevokeUser(at, of)
	case "revokes everybody's sessions":
		r.target.RevokeEverybody(at)
	case "revokes a session of another user":
		r.target.RevokeOther(at)
	case "prunes sessions":
		r.target.PruneSessions(at)
	case "restarts":
		r.target.Restart(at)
	case "loses the store", "reaches the store again":
		r.target.SetAway(at, step.Verb == "loses the store")
	case "the store is backed up":
		r.target.Backup()
	case "the store is restored":
		r.target.Restore()
	case "repairs the store": // the real instance has already done this
	case "is shown the token of session":
		require.Equal(r.t, answers[r.answer(before, at, of)], r.target.Present(at, of), "%s", r)
	default:
		require.Fail(r.t, "no such step", "%s", step.Verb)
	}
}

// answer returns the model's answer to a token. If the answer depends on a repair, the model
// repairs the store first. A real instance with proof of lost commits does the same before it
// answers.
func (r *replay) answer(s worldState, i, n int) Verdict {
	answers := !s.instances[i].away
	verdict := r.model.answer(&s, i, n, answers)
	if verdict == Unavailable && s.instances[i].suspect > 0 {
		r.model.repair(&s, i)
		verdict = r.model.answer(&s, i, n, answers)
	}
	return verdict
}

// write tries a lasting change with the session, and compares the results of the model and of the
// target.
func (r *replay) write(i, n int) {
	r.t.Helper()
	t := r.state.tokens[n]
	want := r.state.rows&bit(int8(n)) != 0 && !r.state.isDead(n, t.generation) &&
		!r.state.expired(i, t.left)
	require.Equal(r.t, want, r.target.Write(i, n),
		"a lasting write by session %d at instance %d after\n%s", n, i, r)
}

// String returns the steps that were taken.
func (r *replay) String() string { return Print(r.model, r.trace) }

// compareAll makes a request to both instances with every token, and tries a lasting change with
// each session.
func (r *replay) compareAll() {
	r.t.Helper()
	for i := range r.state.instances {
		for n, t := range r.state.tokens {
			if t.issued {
				r.write(i, n)
				r.take(Step{"is shown the token of session", int8(i), int8(n)})
			}
		}
	}
}

// start begins a replay in one of the model's initial states.
func start(t testing.TB, model *World, which int, newTarget func(ahead int) Target) *replay {
	state := model.Start()[which]
	r := &replay{t: t, model: model, state: state, target: newTarget(int(state.ahead))}
	r.trace = []Step{{"start", -1, int8(which)}}
	return r
}

// walk takes random steps. Every second step presents a token.
func (r *replay) walk(random *rand.Rand, length int) {
	r.t.Helper()
	for range length {
		steps, _ := r.next()
		shown := slices.DeleteFunc(slices.Clone(steps), func(s Step) bool {
			return s.Verb != "is shown the token of session"
		})
		if random.IntN(2) == 0 && len(shown) > 0 {
			steps = shown
		}
		// The verb is picked first, so that a verb with many arguments is not more frequent.
		verb := steps[random.IntN(len(steps))].Verb
		steps = slices.DeleteFunc(steps, func(s Step) bool { return s.Verb != verb })
		r.take(steps[random.IntN(len(steps))])
	}
	r.compareAll()
}

func TestRealInstancesFollowRandomWalksOfTheModel(t *testing.T) {
	t.Parallel()
	for name, newTarget := range targets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			walks := testenv.Rounds(t, testenv.Counts{Small: 60, Moderate: 400, Full: 5000})
			if testenv.Race {
				walks = 10
			}
			model := newReplayed()
			if name == "memory" { // the store in memory has no backups
				model.Bounds.Snapshots = 0
			}
			for walk := range walks {
				random := rand.New(rand.NewPCG(16, uint64(walk)))
				r := start(t, model, random.IntN(2), func(ahead int) Target {
					return newTarget(t, ahead)
				})
				r.walk(random, 60)
			}
		})
	}
}

const shown = "is shown the token of session"

// The explorer found these traces in a wrong design, in which a repair uses the position after the
// highest position that its instance has seen.
func TestRepairCoversUnseenTokensOfTheLostHistory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ends  []Step
		shows Step
	}{
		"the instance that has repaired": {[]Step{{"revokes session", 1, 1}}, Step{shown, 0, 1}},
		"the instance that had seen it":  {nil, Step{shown, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, newReplayed(), 0, func(ahead int) Target { return newSQLiteTarget(t, ahead) })
			steps := []Step{
				{shown, 0, 3}, {shown, 1, 3}, {"the store is backed up", -1, -1},
				{"revokes session", 0, 0}, {"revokes session", 1, 3}, {"creates session", 1, 1},
			}
			steps = append(steps, c.ends...)
			steps = append(steps, Step{"the store is restored", -1, -1},
				Step{"a tick passes", -1, -1}, Step{shown, 0, 0},
				Step{"a tick passes", -1, -1}, Step{shown, 1, 0}, c.shows)
			for _, step := range steps {
				r.take(step)
			}
			require.Equal(t, "refused", r.target.Present(int(c.shows.At), int(c.shows.Of)))
			r.compareAll()
		})
	}
}

// The test replays the shortest trace to each kind of step and answer.
func TestRealInstancesFollowTheShortestTraceToEachKindOfStep(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	model := newReplayed()
	model.Bounds.Creations, model.Bounds.Entries, model.Bounds.Outages = 0b0010, 3, 1
	report := Explore(model, Options[worldState]{
		MaxStates: testenv.Rounds(t, testenv.Counts{Small: 100_000, Moderate: 300_000,
			Full: 3_000_000}),
		Mark: func(before worldState, step Step, after worldState) string {
			return kind(model, before, step, after)
		},
	})
	names := slices.Sorted(maps.Keys(report.Marked))
	require.Greater(t, len(names), 20)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trace := report.Marked[name]
			r := start(t, model, int(trace[0].Of), func(ahead int) Target {
				return newSQLiteTarget(t, ahead)
			})
			for _, step := range trace[1:] {
				if step.Verb != "repairs the store" { // a real instance repairs the store at once
					r.take(step)
				}
			}
			r.compareAll()
		})
	}
}

// kind returns a name for the step, made from its verb, the answer to a token, and earlier events.
func kind(model *World, before worldState, step Step, after worldState) string {
	if before.instances[0].suspect > 0 || before.instances[1].suspect > 0 {
		return "" // a real instance has already repaired the store
	}
	name := step.Verb
	if step.Verb == "is shown the token of session" {
		answering := before
		verdict := model.answer(&answering, int(step.At), int(step.Of), !before.instances[step.At].away)
		name = fmt.Sprintf("%s, answer %d", name, verdict)
	}
	for fact, holds := range map[string]bool{
		"restored": before.spent.restores > 0, "repaired": before.repaired, "proof": after.proven > before.proven,
		"everybody": before.spent.allEnds > 0, "restarted": before.spent.restarts > 0,
	} {
		if holds {
			name += "-" + fact
		}
	}
	return name
}
