package revocationmodel

import (
	"fmt"
	"hash/maphash"
	"strings"
	"time"
)

// Model is a system that takes one step at a time. A state S is a value without pointers, so that
// equal states compare equal.
type Model[S comparable] interface {
	// Start returns the initial states of the system.
	Start() []S

	// Next calls yield for each step that is possible in the state, always in the same order.
	Next(state S, yield func(Step, S))

	// Broken returns the name of a promise that does not hold in the state, or "" if all hold.
	Broken(state S) string

	// Idle reports whether the system may stop in the state. A state that is not idle and has no
	// next step is a deadlock.
	Idle(state S) bool

	// Canonical returns the same state for all equivalent states. For example, two states are
	// equivalent if they differ only in the order of interchangeable requests.
	Canonical(state S) S

	// Describe returns the step in words.
	Describe(step Step) string
}

// Step is a transition between two states.
type Step struct {
	Verb string
	At   int8 // instance or transaction that takes the step; negative if none
	Of   int8 // user, session or operation that the step is about; negative if none
}

// Options limit an exploration. The zero value visits every state.
type Options[S comparable] struct {
	MaxDepth  int // maximum number of steps; zero means no limit
	MaxStates int // maximum number of states; zero means no limit

	// Mark, if not nil, names the steps that a test looks for. Mark returns "" for any other step.
	// For each name, Report.Marked then has the shortest trace that ends with a step of this name.
	Mark func(before S, step Step, after S) string
}

// Report is the result of an exploration.
type Report struct {
	States   int
	Steps    int // steps between states, including steps to states that were visited before
	Depth    int // distance of the farthest state from the start
	Complete bool
	Elapsed  time.Duration

	// Taken counts the steps by verb.
	Taken map[string]int

	// Problem is the first broken promise or deadlock that was found. If none was found, Problem is
	// empty. Trace is the shortest way from the start to Problem.
	Problem string
	Trace   []Step

	// Marked has an entry for each name that Options.Mark returned. The entry is the shortest trace
	// that ends with a step of this name.
	Marked map[string][]Step
}

// digest identifies a state. The probability that two of a million states have the same 128 bits is
// below 1e-26.
type digest [2]uint64

// node records how a state was first reached.
type node struct {
	parent int32  // negative for an initial state
	choice uint16 // index of the step among the parent's next steps
}

type found[S comparable] struct {
	state S
	index int32
}

type explorer[S comparable] struct {
	model  Model[S]
	opt    Options[S]
	seeds  [2]maphash.Seed
	seen   map[digest]struct{}
	nodes  []node
	report Report
}

// Explore visits the states of the model by increasing distance from the start. It stops at the
// first broken promise or deadlock, at a limit of opt, or after it has visited all states.
func Explore[S comparable](model Model[S], opt Options[S]) Report {
	began := time.Now()
	e := &explorer[S]{
		model: model, opt: opt,
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		seen:   map[digest]struct{}{},
		report: Report{Taken: map[string]int{}, Marked: map[string][]Step{}},
	}
	e.run()
	e.report.States = len(e.nodes)
	e.report.Elapsed = time.Since(began)
	return e.report
}

func (e *explorer[S]) run() {
	var level []found[S]
	for i, state := range e.model.Start() {
		if e.visit(state, node{-1, uint16(i)}, &level) {
			return
		}
	}
	for depth := 0; len(level) > 0; depth++ {
		e.report.Depth = depth
		if e.opt.MaxDepth > 0 && depth == e.opt.MaxDepth {
			return
		}
		var next []found[S]
		for _, f := range level {
			if e.expand(f, &next) {
				return
			}
			if e.opt.MaxStates > 0 && len(e.nodes) >= e.opt.MaxStates {
				return
			}
		}
		level = next
	}
	e.report.Complete = true
}

// visit adds the state to the level, unless an equal state was visited before. It reports whether
// the exploration is over.
func (e *explorer[S]) visit(state S, from node, level *[]found[S]) (over bool) {
	canonical := e.model.Canonical(state)
	d := digest{maphash.Comparable(e.seeds[0], canonical), maphash.Comparable(e.seeds[1], canonical)}
	if _, known := e.seen[d]; known {
		return false
	}
	e.seen[d] = struct{}{}
	index := int32(len(e.nodes))
	e.nodes = append(e.nodes, from)
	*level = append(*level, found[S]{state, index})
	return e.judge(e.model.Broken(state), index)
}

// expand visits the successors of the state.
func (e *explorer[S]) expand(f found[S], next *[]found[S]) (over bool) {
	choice := 0
	e.model.Next(f.state, func(step Step, after S) {
		if over {
			return
		}
		e.report.Steps++
		e.report.Taken[step.Verb]++
		e.mark(f, step, after)
		over = e.visit(after, node{f.index, uint16(choice)}, next)
		choice++
	})
	if choice == 0 && !e.model.Idle(f.state) {
		return e.judge("deadlock: no step is possible", f.index)
	}
	return over
}

func (e *explorer[S]) mark(f found[S], step Step, after S) {
	if e.opt.Mark == nil {
		return
	}
	name := e.opt.Mark(f.state, step, after)
	if name == "" {
		return
	}
	if _, known := e.report.Marked[name]; !known {
		e.report.Marked[name] = append(e.trace(f.index), step)
	}
}

func (e *explorer[S]) judge(problem string, index int32) (over bool) {
	if problem == "" {
		return false
	}
	e.report.Problem = problem
	e.report.Trace = e.trace(index)
	return true
}

// trace returns the steps from the start to a state. A node stores the index of a step, but not the
// step itself. Therefore trace goes through the states again to compute the steps.
func (e *explorer[S]) trace(index int32) []Step {
	var choices []uint16
	for ; index >= 0; index = e.nodes[index].parent {
		choices = append(choices, e.nodes[index].choice)
	}
	last := len(choices) - 1
	steps := []Step{{Verb: "start", At: -1, Of: int8(choices[last])}}
	state := e.model.Start()[choices[last]]
	for i := last - 1; i >= 0; i-- {
		choice := 0
		before := state
		e.model.Next(before, func(step Step, after S) {
			if choice == int(choices[i]) {
				state = after
				steps = append(steps, step)
			}
			choice++
		})
	}
	return steps
}

// Print returns the trace in words, one numbered step per line.
func Print[S comparable](model Model[S], trace []Step) string {
	var text strings.Builder
	for i, step := range trace {
		fmt.Fprintf(&text, "%3d  %s\n", i, model.Describe(step))
	}
	return text.String()
}

// String returns the numbers of the report in one line.
func (r Report) String() string {
	extent := "all states"
	if !r.Complete {
		extent = "not all states"
	}
	return fmt.Sprintf("%s: %d states, %d steps, depth %d, %.1f s",
		extent, r.States, r.Steps, r.Depth, r.Elapsed.Seconds())
}
