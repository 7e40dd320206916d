package revocationmodel

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// forks is a model of the dining philosophers: three philosophers at a table, each of whom takes
// two forks, eats, and returns them.
type forks struct{ ordered bool }

type table struct {
	holds [3]uint8 // number of forks that each philosopher holds
	meals uint8
}

func (m forks) Start() []table { return []table{{}} }

// order returns the forks of a philosopher in the order in which the philosopher takes them.
func (m forks) order(i int) [2]int {
	if m.ordered && i == 2 {
		return [2]int{0, 2}
	}
	return [2]int{i, (i + 1) % 3}
}

func (m forks) taken(s table, fork int) bool {
	for i, n := range s.holds {
		order := m.order(i)
		if slices.Contains(order[:n], fork) {
			return true
		}
	}
	return false
}

func (m forks) Next(s table, yield func(Step, table)) {
	for i, n := range s.holds {
		after := s
		switch {
		case n == 2:
			after.holds[i], after.meals = 0, min(s.meals+1, 3)
			yield(Step{"eats", int8(i), -1}, after)
		case !m.taken(s, m.order(i)[n]):
			after.holds[i]++
			yield(Step{"takes a fork", int8(i), int8(n)}, after)
		}
	}
}

func (m forks) Broken(s table) string {
	if s.meals == 3 {
		return "three meals were eaten"
	}
	return ""
}

func (m forks) Idle(table) bool         { return false }
func (m forks) Canonical(s table) table { return s }
func (m forks) Describe(s Step) string  { return s.Verb }

func TestExplorerFindsADeadlock(t *testing.T) {
	t.Parallel()
	report := Explore(forks{}, Options[table]{})
	require.Equal(t, "deadlock: no step is possible", report.Problem)
	require.Len(t, report.Trace, 1+3, "each philosopher has taken one fork, which is the shortest way")
	require.False(t, report.Complete)
}

func TestExplorerFindsTheShortestTraceToABrokenPromise(t *testing.T) {
	t.Parallel()
	report := Explore(forks{ordered: true}, Options[table]{})
	require.Equal(t, "three meals were eaten", report.Problem)
	require.Len(t, report.Trace, 1+3*3)
	require.Contains(t, Print(forks{}, report.Trace), "  9  eats")
}

func TestExplorerRespectsAndReportsItsBounds(t *testing.T) {
	t.Parallel()
	report := Explore(forks{ordered: true}, Options[table]{MaxDepth: 4})
	require.Empty(t, report.Problem)
	require.False(t, report.Complete)
	require.Equal(t, 4, report.Depth)
	report = Explore(forks{ordered: true}, Options[table]{MaxStates: 5})
	require.False(t, report.Complete)
	require.Less(t, report.States, 12)
	require.Contains(t, report.String(), "not all states: ")
}

func TestExplorerKeepsTheShortestTraceToMarkedSteps(t *testing.T) {
	t.Parallel()
	report := Explore(forks{ordered: true},
		Options[table]{Mark: func(before table, step Step, _ table) string {
			if step.Verb == "eats" && before.meals == 1 {
				return "the second meal"
			}
			return ""
		}})
	require.Len(t, report.Marked["the second meal"], 1+6)
}
