package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// report prints a line for each variant. The column "of none" compares the requests in a second
// with those of "none". report computes this ratio for each round, because the servers of a round
// run at almost the same time. It prints the median of the ratios.
func report(out io.Writer, results map[string][]result) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "middleware\trequests/s\tof none\tp50\tp90\tp99\t")
	for _, variant := range variants {
		rounds := results[variant]
		var ratios []float64
		for i, r := range rounds {
			ratios = append(ratios, r.perSecond/results["none"][i].perSecond)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.1f %%\t%v\t%v\t%v\t\n", variant,
			median(each(rounds, func(r result) float64 { return r.perSecond })), 100*median(ratios),
			medianTime(rounds, func(r result) time.Duration { return r.p50 }),
			medianTime(rounds, func(r result) time.Duration { return r.p90 }),
			medianTime(rounds, func(r result) time.Duration { return r.p99 }))
	}
	_ = w.Flush() // errors of out are ignored, here and in Fprintln
}

func each(rounds []result, of func(result) float64) (values []float64) {
	for _, r := range rounds {
		values = append(values, of(r))
	}
	return values
}

func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func medianTime(rounds []result, of func(result) time.Duration) time.Duration {
	m := median(each(rounds, func(r result) float64 { return float64(of(r)) }))
	return time.Duration(m).Round(time.Microsecond)
}
