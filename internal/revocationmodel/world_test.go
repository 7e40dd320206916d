package revocationmodel

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sallyport-go/auth/internal/testenv"
	"github.com/stretchr/testify/require"
)

const (
	tooLate      = "a token was accepted too late after its revocation was acknowledged"
	lostAccepted = "a token was accepted whose revocation was lost, although lost commits had been proven"
	lateWrite    = "a session made a lasting change after its revocation was committed"
)

// bounded changes the bounds of the model and returns the model.
func bounded(m *World, change func(*Bounds)) *World {
	change(&m.Bounds)
	return m
}

func requireTaken(t *testing.T, report Report, verbs ...string) {
	t.Helper()
	for _, verb := range verbs {
		require.NotZero(t, report.Taken[verb], verb)
	}
}

func TestRevocationsHoldInTimeWhileTheFeedIsFoldedAndPruned(t *testing.T) {
	t.Parallel()
	report := requireHolds(t, NewFeed(Library))
	requireTaken(t, report, "a tick passes", "creates session", "reads the feed", "restarts",
		"revokes session",
		"prunes sessions", "prunes the feed")
}

func TestRevocationsHoldInTimeWhileAllSessionsOfAUserAreRevoked(t *testing.T) {
	t.Parallel()
	report := requireHolds(t, bounded(NewFeed(Library), func(b *Bounds) {
		b.Creations, b.Entries, b.UserEnds = 0, 3, 1
		if testenv.Rounds(t, testenv.Counts{Full: 1}) > 0 {
			b.Creations = 0b0100
		}
	}))
	requireTaken(t, report, "revokes the sessions of user")
}

func TestRevocationsHoldInTimeWhileReadsOfTheFeedAreSlow(t *testing.T) {
	t.Parallel()
	report := requireHolds(t, NewSlowFeed(Library))
	requireTaken(t, report, "begins to read the feed", "finishes reading the feed",
		"revokes session and cannot read that back, which was")
}

func TestRevocationsHoldAfterLostCommitsAreProven(t *testing.T) {
	t.Parallel()
	report := requireHolds(t, NewRestore(Library))
	requireTaken(t, report, "the store is backed up", "the store is restored",
		"is shown the token of session",
		"repairs the store", "revokes a session of another user", "a lasting write commits for session")
}

func TestExplorerCatchesEveryWrongFeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrong func(*Design)
		model func(Design) *World
	}{
		"positions are timestamps":                         {func(d *Design) { d.Timestamps = true }, NewFeed},
		"positions are taken before commits, in any order": {func(d *Design) { d.AutoIncrement = true }, NewFeed},
		"a reader goes on behind a hole":                   {func(d *Design) { d.PassHoles = true }, NewSlowFeed},
		"knowledge is as new as the end of the read":       {func(d *Design) { d.ReadAtEnd = true }, NewSlowFeed},
		"entries are pruned without a grace":               {func(d *Design) { d.Grace = 0 }, NewFeed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			design := Library
			c.wrong(&design)
			requireBroken(t, tooLate, c.model(design))
		})
	}
}

func TestExplorerCatchesEveryWrongHandlingOfLostCommits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrong func(*Design)
		want  string
	}{
		"the refusal lapses when the head has climbed":           {func(d *Design) { d.Repair = false }, lostAccepted},
		"the next position is below a token of the lost history": {func(d *Design) { d.NextPosition = true }, lostAccepted},
		"no repair once the head has climbed":                    {func(d *Design) { d.HeadIsEnough = true }, lostAccepted},
		"the repair passes a lasting write":                      {func(d *Design) { d.Unlocked = true }, lateWrite},
		"a revocation is written from rows":                      {func(d *Design) { d.FromClaims = false }, tooLate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			design := Library
			c.wrong(&design)
			requireBroken(t, c.want, bounded(NewRestore(design), func(b *Bounds) {
				if !design.FromClaims {
					b.UserEnds = 1
				}
			}))
		})
	}
}

// The model that combines all other models has too many states to visit them all, so the test
// limits their number.
func TestProductHoldsToABoundedDepth(t *testing.T) {
	t.Parallel()
	states := testenv.Rounds(t, testenv.Counts{Small: 20_000, Moderate: 200_000, Full: 5_000_000})
	skipUnderRace(t)
	model := NewProduct(Library)
	report := Explore(model, Options[worldState]{MaxStates: states})
	require.Empty(t, report.Problem, "%s", Print(model, report.Trace))
	t.Log(report)
}

// Random runs take more steps than an exploration can.
func TestRandomRunsOfTheProductHold(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	model := NewProduct(Library)
	for run := range testenv.Rounds(t, testenv.Counts{Small: 200, Moderate: 1_000, Full: 20_000}) {
		random := rand.New(rand.NewPCG(16, uint64(run)))
		starts := model.Start()
		which := random.IntN(len(starts))
		state, trace := starts[which], []Step{{"start", -1, int8(which)}}
		for range 80 {
			var steps []Step
			var states []worldState
			model.Next(state, func(step Step, after worldState) {
				steps, states = append(steps, step), append(states, after)
			})
			choice := random.IntN(len(steps))
			state, trace = states[choice], append(trace, steps[choice])
			require.Empty(t, model.Broken(state), "%s", Print(model, trace))
		}
	}
}

// Random runs found this trace. A session that was created by lost commits has a generation that
// the store has not reached, so an entry for the user does not revoke the session.
func TestAnEntryForAUserMustNotReplaceOneForASessionOfALostHistory(t *testing.T) {
	t.Parallel()
	const other = "revokes a session of another user"
	steps := []Step{
		{"the store is backed up", -1, -1}, {other, 0, -1}, {other, 0, -1}, {"creates session", 0, 1},
		{"the store is restored", -1, -1}, {"revokes session", 1, 1}, {"revokes the sessions of user", 1, 0},
		{"revokes session", 1, 3}, {"prunes the feed", 1, -1}, {"restarts", 1, -1}, {"a tick passes", -1, -1},
	}
	design := Library
	design.ReplaceCapped = true
	require.Equal(t, tooLate, brokenAfter(t, NewProduct(design), steps))
	// In the design of the library, the entry is not replaced, so the feed cannot be pruned.
	kept := slices.DeleteFunc(steps, func(s Step) bool { return s.Verb == "prunes the feed" })
	require.Empty(t, brokenAfter(t, NewProduct(Library), kept))
}

// brokenAfter takes the steps and returns the first promise that they break.
func brokenAfter(t *testing.T, model *World, steps []Step) (problem string) {
	t.Helper()
	state := model.Start()[0]
	for _, want := range steps {
		taken := false
		model.Next(state, func(step Step, after worldState) {
			if step == want && !taken {
				state, taken = after, true
			}
		})
		require.True(t, taken, "%+v", want)
		if problem = model.Broken(state); problem != "" {
			return problem
		}
	}
	return ""
}
