// Command plot draws the results of BenchmarkGrowth. It reads the output of go test from standard
// input, and writes an SVG to standard output. If the input has several rounds, plot draws the
// medians of the rounds.
package main

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"log"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
)

func main() {
	log.SetFlags(0)
	if err := plot(os.Stdin, os.Stdout); err != nil {
		log.Fatal("plot: ", err)
	}
}

func plot(in io.Reader, out io.Writer) error {
	lines, err := read(in)
	if err != nil {
		return err
	}
	_, err = out.Write(draw(lines))
	return err
}

// line is one line of the plot.
type line struct {
	revoked int // number of revoked sessions, or textAlone
	points  []point
}

type point struct {
	live int
	ns   float64 // the median of the rounds
}

const textAlone = math.MaxInt // for the cost of fetching the token's text; sorts last

var measured = regexp.MustCompile(`^BenchmarkGrowth/live=(\d+)/(?:revoked=(\d+)|text)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op`)

// read returns one line of the plot for each number of revoked sessions. The lines are sorted by
// the number of revoked sessions.
func read(in io.Reader) ([]line, error) {
	rounds := map[int]map[int][]float64{} // [revoked sessions][live tokens]
	scanner := bufio.NewScanner(in)
	for scanner.Scan() {
		match := measured.FindStringSubmatch(scanner.Text())
		if match == nil {
			continue
		}
		live, err1 := strconv.Atoi(match[1])
		revoked, err2 := textAlone, error(nil)
		if match[2] != "" {
			revoked, err2 = strconv.Atoi(match[2])
		}
		ns, err3 := strconv.ParseFloat(match[3], 64)
		if err := cmp.Or(err1, err2, err3); err != nil {
			return nil, err
		}
		if live < 1 {
			return nil, errors.New("a logarithm needs a token")
		}
		if rounds[revoked] == nil {
			rounds[revoked] = map[int][]float64{}
		}
		rounds[revoked][live] = append(rounds[revoked][live], ns)
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	var lines []line
	for _, revoked := range slices.Sorted(maps.Keys(rounds)) {
		l := line{revoked: revoked}
		for _, live := range slices.Sorted(maps.Keys(rounds[revoked])) {
			l.points = append(l.points, point{live, median(rounds[revoked][live])})
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 {
		return nil, errors.New("there is nothing of BenchmarkGrowth in the input")
	}
	return lines, nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
