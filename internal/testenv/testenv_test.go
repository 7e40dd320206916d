package testenv

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// fakeTB is a testing.TB that records whether a test failed or was skipped. It stops the test as
// package testing does.
type fakeTB struct {
	testing.TB // nil, so that an unexpected method panics
	outcome    string
}

func (f *fakeTB) Helper() {}

func (f *fakeTB) Skip(args ...any) {
	f.outcome = "skip: " + fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.outcome = "fail: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// outcome runs the function test with a fakeTB, and returns how the test ended.
func outcome(test func(testing.TB)) string {
	f := &fakeTB{outcome: "continued"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	return f.outcome
}

func TestSkipSkipsUnlessSkippingIsForbidden(t *testing.T) {
	for require, want := range map[string]string{
		"":  "skip: no database",
		"0": "skip: no database",
		"1": "fail: AUTH_TEST_REQUIRE is 1, so this may not be skipped: no database",
	} {
		t.Setenv("AUTH_TEST_REQUIRE", require)
		got := outcome(func(tb testing.TB) { Skip(tb, "no database") })
		if got != want {
			t.Errorf("AUTH_TEST_REQUIRE=%q: %s; want %s", require, got, want)
		}
	}
}

func TestRoundsReturnsTheNamedCount(t *testing.T) {
	for size, want := range map[string]int{"": 3, "small": 3, "moderate": 20, "full": 1000} {
		t.Setenv("AUTH_TEST_ROUNDS", size)
		if got := Rounds(t, Counts{Small: 3, Moderate: 20, Full: 1000}); got != want {
			t.Errorf("AUTH_TEST_ROUNDS=%q: %d rounds; want %d", size, got, want)
		}
	}
}

func TestRoundsRefusesAnUnknownSize(t *testing.T) {
	for _, size := range []string{"100", "Full", "full ", "-1"} {
		t.Setenv("AUTH_TEST_ROUNDS", size)
		got := outcome(func(tb testing.TB) { Rounds(tb, Counts{Small: 3, Moderate: 20, Full: 1000}) })
		if !strings.HasPrefix(got, "fail: ") {
			t.Errorf("AUTH_TEST_ROUNDS=%q: %s; want a failure", size, got)
		}
	}
}

func TestTempDirDoesNotContainTheNameOfTheTest(t *testing.T) {
	var dir string
	t.Run("a#b", func(t *testing.T) {
		dir = TempDir(t)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			t.Errorf("%s: %v; want a directory", dir, err)
		}
		if strings.ContainsAny(dir, "#?%") {
			t.Errorf("%s has characters that are special in a URI", dir)
		}
	})
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v; want it removed", dir, err)
	}
}
