package devicecode_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/devicecode"
)

func TestUserCodesHaveEightConsonantsOfEqualFrequency(t *testing.T) {
	t.Parallel()
	const codes = 20_000
	count := map[rune]int{}
	for range codes {
		code := devicecode.NewUserCode()
		require.Regexp(t, `^[BCDFGHJKLMNPQRSTVWXZ]{8}$`, code)
		for _, letter := range code {
			count[letter]++
		}
	}
	require.Len(t, count, 20)
	for letter, n := range count {
		// The standard deviation is 87. Letters of a modulo without rejection would differ by 600.
		require.InDelta(t, codes*8/20, n, 520, "%c", letter)
	}
}

func TestDeviceCodesHave256RandomBits(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		code := devicecode.New()
		require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, code)
		require.False(t, seen[code])
		seen[code] = true
	}
}

func TestAUserCodeIsReadAsPeopleTypeIt(t *testing.T) {
	t.Parallel()
	code := devicecode.NewUserCode()
	for _, typed := range []string{
		code, devicecode.Format(code), strings.ToLower(code), " " + code + " ", strings.Join(strings.Split(code, ""), " "),
		code[:2] + "--" + code[2:], strings.ToLower(devicecode.Format(code)),
	} {
		got, ok := devicecode.Normalize(typed)
		require.True(t, ok, "%q", typed)
		require.Equal(t, code, got)
	}
	for _, typed := range []string{
		"", code[:7], code + "B", "A" + code[1:], "E" + code[1:], "1" + code[1:], code[:7] + "\u212a", code + "\n", code + "\x00",
		code + "-x", strings.Repeat("-", 1000), "ＢＣＤＦＧＨＪＫ", strings.Repeat(" ", 25) + code,
	} {
		_, ok := devicecode.Normalize(typed)
		require.False(t, ok, "%q", typed)
	}
}

// A hash names everything on which it depends, so a code of another client or issuer is unknown.
func TestHashesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, hash := range []string{
		devicecode.Hash("i", "c", "x"), devicecode.Hash("i", "c", "y"), devicecode.Hash("i", "d", "x"),
		devicecode.Hash("j", "c", "x"), devicecode.Hash("ic", "", "x"), devicecode.Hash("i", "", "cx"),
		devicecode.HashUserCode("i", "x"), devicecode.HashUserCode("j", "x"), devicecode.HashUserCode("i", "y"),
	} {
		require.Regexp(t, `^[0-9a-f]{64}$`, hash)
		require.False(t, seen[hash])
		seen[hash] = true
	}
	require.Equal(t, devicecode.Hash("i", "c", "x"), devicecode.Hash("i", "c", "x"))
}

func TestEachPollThatComesTooSoonMakesTheIntervalLonger(t *testing.T) {
	t.Parallel()
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	for name, test := range map[string]struct {
		since, interval, next time.Duration
		tooSoon               bool
	}{
		"in time":                    {5 * time.Second, 5 * time.Second, 5 * time.Second, false},
		"a little too soon":          {4 * time.Second, 5 * time.Second, 5 * time.Second, false},
		"too soon":                   {4*time.Second - 1, 5 * time.Second, 10 * time.Second, true},
		"at once":                    {0, 5 * time.Second, 10 * time.Second, true},
		"too soon again":             {9*time.Second - 1, 10 * time.Second, 15 * time.Second, true},
		"at most a minute":           {0, 58 * time.Second, time.Minute, true},
		"a longer interval stays":    {0, 2 * time.Minute, 2 * time.Minute, true},
		"a clock that has gone back": {-time.Millisecond, 5 * time.Second, 5 * time.Second, false},
		"much later":                 {time.Hour, 5 * time.Second, 5 * time.Second, false},
	} {
		next, tooSoon := devicecode.NextPoll(now.Add(-test.since), test.interval, now)
		require.Equal(t, test.next, next, name)
		require.Equal(t, test.tooSoon, tooSoon, name)
	}
	next, tooSoon := devicecode.NextPoll(time.Time{}, 5*time.Second, now)
	require.Equal(t, 5*time.Second, next)
	require.False(t, tooSoon, "the first poll")
}

// The attack: a clock was ahead when a code was made, or goes back, and the code works for days.
func TestCodesWorkOnlyForTheirTimeWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	created := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	expires := created.Add(devicecode.Lifetime)
	for at, works := range map[time.Duration]bool{
		0: true, devicecode.Lifetime - 1: true, devicecode.Lifetime: false, time.Hour: false,
		-devicecode.Lifetime: true, -devicecode.Lifetime - 1: false, -24 * time.Hour: false,
	} {
		require.Equal(t, works, devicecode.IsLive(created, expires, created.Add(at)), at)
	}
}
