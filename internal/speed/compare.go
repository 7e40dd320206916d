package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// processorTime is the unit in which the benchmarks report it.
const processorTime = "cpu-ns/op"

// sample is the time that an iteration took in one turn, in nanoseconds.
type sample struct{ processor, elapsed float64 }

// parseSample reads the output of go test with one benchmark.
func parseSample(output string) (s sample, err error) {
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		fields := strings.Fields(line)
		for i := 3; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i-1], 64)
			switch {
			case err != nil:
				return sample{}, err
			case fields[i] == "ns/op":
				s.elapsed = value
			case fields[i] == processorTime:
				s.processor = value
			}
		}
	}
	if s.processor <= 0 || s.elapsed <= 0 {
		return sample{}, fmt.Errorf("the benchmark reports no times: %s", output)
	}
	return s, nil
}

// comparison compares the two versions with one benchmark.
type comparison struct {
	measure            func(binary string) (sample, error)
	processor, elapsed ratios
}

// ratios has the time after the change divided by the time before it, of each turn.
type ratios []float64

// compareAll gives each comparison its turns, and more of them to a benchmark that looks slower. When the
// function retry returns false, no benchmark gets more than the fewest turns. The function binaries returns
// the binaries for one turn, and a function to call after it.
func compareAll(
	all []*comparison, binaries func() (before, after string, done func(), err error), retry func() bool,
) error {
	for turn := range retries {
		var waiting []*comparison
		for _, c := range all {
			if turn < fewest || (turn < turns || c.looksSlower()) && retry() {
				waiting = append(waiting, c)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		before, after, done, err := binaries()
		if err != nil {
			return err
		}
		for _, c := range waiting {
			err = cmp.Or(err, c.turn(before, after))
		}
		done()
		if err != nil {
			return err
		}
	}
	return nil
}

// isSlower reports whether the current version is slower.
func (c *comparison) isSlower() bool { return c.processor.areSlower() || c.elapsed.areSlower() }

func (c *comparison) looksSlower() bool {
	return c.processor.median() > limit || c.elapsed.median() > limit
}

// turn measures both versions once. The versions go first in turns, because the second one can profit or
// suffer from what the first one has left behind.
func (c *comparison) turn(before, after string) error {
	order := []string{before, after}
	if len(c.processor)%2 == 1 {
		slices.Reverse(order)
	}
	times := map[string]sample{}
	for _, binary := range order {
		var err error
		if times[binary], err = c.measure(binary); err != nil {
			return err
		}
	}
	c.processor = append(c.processor, times[after].processor/times[before].processor)
	c.elapsed = append(c.elapsed, times[after].elapsed/times[before].elapsed)
	return nil
}

// String returns the ratios.
func (c *comparison) String() string {
	return fmt.Sprintf("%.2f of the processor time before (at least %.2f), %.2f of the elapsed time "+
		"(at least %.2f), %d turns", c.processor.median(), c.processor.lowerBound(),
		c.elapsed.median(), c.elapsed.lowerBound(), len(c.processor))
}

// areSlower reports whether the median is above the limit, and is not so by chance.
func (r ratios) areSlower() bool { return r.median() > limit && r.lowerBound() > 1 }

func (r ratios) median() float64 {
	sorted, n := slices.Sorted(slices.Values(r)), len(r)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// confidence is the probability that the true ratio is not below the lower bound.
const confidence = 0.995

// lowerBound returns a value that the true ratio exceeds with the probability confidence. If there are too
// few turns for that, it returns 0. If the true ratio is x, each turn is above or below x with the same
// probability, so the number of turns below x has a binomial distribution.
func (r ratios) lowerBound() float64 {
	sorted, n := slices.Sorted(slices.Values(r)), len(r)
	bound, atMost, exactly := 0.0, 0.0, math.Pow(0.5, float64(n)) // of 0 turns
	for k := range n {
		atMost += exactly // the probability of at most k turns below x
		if atMost > 1-confidence {
			break
		}
		bound = sorted[k]
		exactly *= float64(n-k) / float64(k+1)
	}
	return bound
}
