// Speed compares the speed of this version with that of the version before the change, and fails if a
// request takes over 10 percent more time. CI runs it:
//
//	go run ./internal/speed
//
// It builds the benchmarks of this package from both versions, and runs them in turns on the same machine.
// So it needs no figures of an earlier run, and other work on the machine slows both versions. It compares
// the processor time, which other processes hardly change, and the elapsed time, which shows waiting.
//
// If a change is meant to make a benchmark slower, the message of a commit says so in a line such as:
//
//	Slower: SignIn, because it also writes the client
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	limit    = 1.10             // the largest accepted ratio of the times
	turns    = 9                // of each benchmark
	fewest   = 8                // turns on a busy machine; with fewer, chance cannot be excluded
	retries  = 25               // turns of a benchmark that looks slower
	patience = 45 * time.Second // after it, no benchmark gets more turns than the fewest
)

// benchmarks are the names of the benchmarks, and how many iterations a turn has. A turn takes about 30
// milliseconds of processor time.
var benchmarks = []struct{ name, iterations string }{
	{"Identify", "200000x"},
	{"Authenticate", "100000x"},
	{"FirstSight", "12000x"},
	{"SignIn", "120x"},
	{"Revoke", "120x"},
}

func main() {
	slower, err := run(".", os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "speed:", err)
		os.Exit(1)
	}
	if len(slower) > 0 {
		fmt.Printf("slower than before: %s. If this is meant, add a line \"Slower: NAME, because …\" to the "+
			"message of the commit\n", strings.Join(slower, ", "))
		os.Exit(1)
	}
}

// run compares the versions in the Git repository at dir, and returns the names of the benchmarks that are
// slower in the current one.
func run(dir string, log io.Writer) (slower []string, err error) {
	base, why := baseOf(dir)
	if base == "" {
		fmt.Fprintln(log, "speed is not compared:", why)
		return nil, nil
	}
	temp, err := os.MkdirTemp("", "speed")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	before, after, err := build(dir, base, temp)
	if err != nil {
		return nil, err
	}
	if before == "" {
		fmt.Fprintf(log, "speed is not compared: %s has no benchmarks\n", base)
		return nil, nil
	}
	messages, err := git(dir, "log", "--format=%B", base+"..HEAD")
	if err != nil {
		return nil, err
	}
	all := make([]*comparison, len(benchmarks))
	for i, b := range benchmarks {
		all[i] = &comparison{measure: func(binary string) (sample, error) {
			return measureOnce(binary, b.name, b.iterations)
		}}
	}
	deadline := time.Now().Add(patience)
	err = compareAll(all, func() (string, string, func(), error) { return copies(before, after, temp) },
		func() bool { return time.Now().Before(deadline) })
	if err != nil {
		return nil, err
	}
	for i, b := range benchmarks {
		isSlower := all[i].isSlower()
		accepted := isSlower && announced(messages, b.name)
		fmt.Fprintf(log, "%s: %s%s\n", b.name, all[i], map[bool]string{true: ", announced"}[accepted])
		if isSlower && !accepted {
			slower = append(slower, b.name)
		}
	}
	return slower, nil
}

// copies copies the two binaries, and returns a function that removes the copies. With the same two files in
// all turns, the times of equal code once differed by 14 percent in most turns, probably because of the
// places of the files in memory. So each turn runs other files.
func copies(before, after, temp string) (string, string, func(), error) {
	dir, err := os.MkdirTemp(temp, "turn")
	if err != nil {
		return "", "", nil, err
	}
	remove := func() { os.RemoveAll(dir) }
	for _, path := range []string{before, after} {
		binary, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), binary, 0o700)
		}
		if err != nil {
			remove()
			return "", "", nil, err
		}
	}
	return filepath.Join(dir, filepath.Base(before)), filepath.Join(dir, filepath.Base(after)), remove, nil
}

// announced reports whether one of the commit messages says that the benchmark becomes slower.
func announced(messages, name string) bool {
	return regexp.MustCompile(`(?m)^Slower: .*\b` + name + `\b`).MatchString(messages)
}

// baseOf returns the commit with which the current one is compared: where the branch began, or the parent
// if the commit is on the main branch. If there is none, it returns a reason.
func baseOf(dir string) (base, why string) {
	head, err := git(dir, "rev-parse", "HEAD")
	if err != nil {
		return "", "this is no clone with a commit"
	}
	if base, err := git(dir, "merge-base", "HEAD", "origin/main"); err == nil && base != head {
		return base, ""
	}
	base, err = git(dir, "rev-parse", "--verify", "--quiet", "HEAD~1")
	if err != nil {
		return "", "the clone has no earlier commit"
	}
	return base, ""
}

func git(dir string, args ...string) (string, error) {
	out, err := command(dir, "git", args...)
	return strings.TrimSpace(out), err
}

func command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, out, problems.String())
	}
	return string(out), err
}

// build builds the benchmarks of both versions. If the base has no benchmarks, before is empty.
func build(dir, base, temp string) (before, after string, err error) {
	source, archive := filepath.Join(temp, "source"), filepath.Join(temp, "source.tar")
	if err := os.Mkdir(source, 0o700); err != nil {
		return "", "", err
	}
	root, err := git(dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", "", err
	}
	if _, err := git(root, "archive", "-o", archive, base); err != nil {
		return "", "", err
	}
	if _, err := command(source, "tar", "-xf", archive); err != nil {
		return "", "", err
	}
	if _, err := os.Stat(filepath.Join(source, "internal", "speed", "bench_test.go")); err != nil {
		return "", "", nil
	}
	before, after = filepath.Join(temp, "before"), filepath.Join(temp, "after")
	for binary, dir := range map[string]string{before: source, after: root} {
		if _, err := command(dir, "go", "test", "-c", "-o", binary, "./internal/speed"); err != nil {
			return "", "", err
		}
	}
	return before, after, nil
}

const sharedMemory = "/dev/shm"

// measureOnce runs a benchmark in a new process. Its database is in memory if the system has a directory
// for that, because the speed of disks changes from one moment to the next.
func measureOnce(binary, name, iterations string) (sample, error) {
	cmd := exec.Command(binary, "-test.run=^$", "-test.bench=^Benchmark"+name+"$",
		"-test.benchtime="+iterations, "-test.cpu=1")
	cmd.Env = os.Environ()
	if info, err := os.Stat(sharedMemory); err == nil && info.IsDir() {
		cmd.Env = append(cmd.Env, "TMPDIR="+sharedMemory)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, out)
	}
	return parseSample(string(out))
}
