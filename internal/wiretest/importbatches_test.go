package wiretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/internal/authtest"
	"github.com/stretchr/testify/require"
)

func TestImportProgressCountsLinesAndBytes(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	// The text has different line ends, empty lines, and no line end after the last line.
	text := line("a") + "\r\n\n \t" + line("b") + " \n{}\n\r\n" + line("c") + "\n" + line("d")
	options := i.options()
	options.BatchSize = 2
	progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, strings.NewReader(text), options)
	require.NoError(t, err)
	require.Equal(t, auth.ImportProgress{Lines: 7, Bytes: int64(len(text)), Added: 4, Rejected: 1}, progress)
	reports := i.progress.Take()
	require.Equal(t, progress, reports[len(reports)-1])
	for at := 1; at < len(reports); at++ {
		require.Greater(t, reports[at].Lines, reports[at-1].Lines)
		require.Greater(t, reports[at].Bytes, reports[at-1].Bytes)
	}
	require.Equal(t, 4, i.rejected.Take()[0].Line)

	progress, err = i.svc.ImportUsers(t.Context(), authtest.ByHost, strings.NewReader(""), i.options())
	require.NoError(t, err)
	require.Zero(t, progress)
	require.Empty(t, i.progress.Take())

	// The number of lines is a multiple of the batch size. An empty batch must not be reported.
	progress, err = i.svc.ImportUsers(t.Context(), authtest.ByHost,
		strings.NewReader(line("a")+"\n"+line("b")+"\n"), options)
	require.NoError(t, err)
	require.Equal(t, []auth.ImportProgress{progress}, i.progress.Take())

	// A rejected line counts as a line of its batch.
	progress, err = i.svc.ImportUsers(t.Context(), authtest.ByHost,
		strings.NewReader("{}\n{}\n{}\n"), options)
	require.NoError(t, err)
	require.Equal(t, []auth.ImportProgress{{Lines: 2, Bytes: 6, Rejected: 2}, progress}, i.progress.Take())

	// The progress must not depend on how many bytes a read returns.
	for _, reader := range []io.Reader{
		iotest.OneByteReader(strings.NewReader(text)),
		iotest.DataErrReader(strings.NewReader(text)),
	} {
		progress, err = i.svc.ImportUsers(t.Context(), authtest.ByHost, reader, i.options())
		require.NoError(t, err)
		require.Equal(t, auth.ImportProgress{
			Lines: 7, Bytes: int64(len(text)), Present: 4,
			Rejected: 1,
		}, progress)
	}
}

func TestAnImportLineMayBe128KiBLongWithAnyLineEnd(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	padded := func(length int) string { // adds spaces before the closing brace
		good := line("a")
		return good[:len(good)-1] + strings.Repeat(" ", length-len(good)) + "}"
	}
	for _, end := range []string{"", "\n", "\r\n"} {
		for length, rejected := range map[int]int{
			128<<10 - 1: 0, 128 << 10: 0, 128<<10 + 1: 1, 128<<10 + 2: 1, 256 << 10: 1,
		} {
			progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
				strings.NewReader(padded(length)+end), i.options())
			require.NoError(t, err)
			require.Equal(t, rejected, progress.Rejected, "%d bytes and %q", length, end)
			require.Equal(t, 1, progress.Lines)
			require.Equal(t, int64(length+len(end)), progress.Bytes)
		}
	}
}

func TestAnEndlessImportLineTakesNoMemory(t *testing.T) {
	// Not parallel, because it counts the allocations of the whole process.
	i := newImporting(t)
	const length = 64 << 20
	endless := io.MultiReader(strings.NewReader(line("a")+"\n"), io.LimitReader(zeros{}, length),
		strings.NewReader("\n"+line("b")))
	progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, endless, i.options())
	require.NoError(t, err)
	require.Equal(t, 2, progress.Added)
	require.Greater(t, progress.Bytes, int64(length))
	require.Equal(t, 2, i.rejected.Take()[0].Line)
	allocated := testing.AllocsPerRun(1, func() {
		_, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, io.LimitReader(zeros{}, length),
			i.options())
		require.NoError(t, err)
	})
	require.Less(t, allocated, 100.0)
}

func TestAnInterruptedImportCanBeRepeated(t *testing.T) {
	t.Parallel()
	errAway := errors.New("the store is away")
	lines := linesOf(100)
	text := strings.Join(lines, "\n")
	for name, interrupt := range map[string]func(ctx context.Context, cancel func(), calls int) error{
		"the store fails": func(context.Context, func(), int) error { return errAway },
		"ctx is canceled": func(ctx context.Context, cancel func(), _ int) error { cancel(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fail func() error
			var calls atomic.Int64
			i := newImporting(t, withFaults(func(method string) error {
				if method == "RegisterUsers" && calls.Add(1) == 4 {
					return fail()
				}
				return nil
			}))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			fail = func() error { return interrupt(ctx, cancel, 4) }
			options := i.options()
			options.BatchSize = 7
			progress, err := i.svc.ImportUsers(ctx, authtest.ByHost, strings.NewReader(text), options)
			require.Error(t, err)
			require.Contains(t, err.Error(), "lines 22 to 28")
			require.Equal(t, 21, progress.Added)
			require.Equal(t, 21, progress.Lines)
			require.Len(t, i.users(), 21)

			progress = i.mustImport(lines...)
			require.Equal(t, auth.ImportProgress{
				Lines: 100, Bytes: progress.Bytes, Added: 79, Present: 21,
			}, progress)
			require.Len(t, i.users(), 100)
		})
	}
	for name, cut := range map[string]struct {
		text  string
		err   error
		line  string
		added int
	}{
		"the stream fails within a line":     {text[:len(text)-10], errors.New("connection reset"), "line 100", 99},
		"the stream fails after a line":      {text + "\n", errors.New("connection reset"), "line 101", 99},
		"the stream fails with an EOF in it": {text[:len(text)-10], fmt.Errorf("connection reset: %w", io.EOF), "line 100", 99},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImporting(t)
			options := i.options()
			options.BatchSize = 99
			progress, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
				io.MultiReader(strings.NewReader(cut.text), iotest.ErrReader(cut.err)), options)
			require.ErrorIs(t, err, cut.err)
			require.ErrorContains(t, err, "reading "+cut.line+" of")
			require.Equal(t, cut.added, progress.Added, "a truncated line is not imported")
			require.Empty(t, i.rejected.Take())
		})
	}
}

func TestAnImportOfAnEndlessLineCanBeCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	read := 0
	endless := readerFunc(func(p []byte) (int, error) {
		clear(p)
		if read += len(p); read > 1<<20 {
			cancel()
		}
		if read > 64<<20 {
			return 0, io.EOF
		}
		return len(p), nil
	})
	_, err := newImporting(t).svc.ImportUsers(ctx, authtest.ByHost, endless, auth.ImportOptions{})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, read, 2<<20)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAnImportBatchIsLimitedByItsKeys(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	withKeys := func(name string, keys int) string {
		text := make([]string, keys)
		for k := range text {
			text[k] = fmt.Sprintf(`{"access_key":"%s-%d","hash":%q}`, name, k, bcrypted)
		}
		return fmt.Sprintf(`{"username":%q,"keys":[%s]}`, name, strings.Join(text, ","))
	}
	options := i.options()
	options.BatchSize = 20
	lines := []string{withKeys("a", 10), withKeys("b", 27), withKeys("c", 39), withKeys("d", 100)}
	for n := range 20 {
		lines = append(lines, withKeys(fmt.Sprintf("e-%d", n), 1))
	}
	_, err := i.svc.ImportUsers(t.Context(), authtest.ByHost,
		strings.NewReader(strings.Join(lines, "\n")), options)
	require.NoError(t, err)
	var added []int
	for _, progress := range i.progress.Take() {
		added = append(added, progress.Added)
	}
	require.Equal(t, []int{3, 4, 24}, added)
}

func TestAnImportBatchThatTimesOutNamesBatchSize(t *testing.T) {
	t.Parallel()
	i := newImporting(t, withFaults(func(method string) error {
		if method == "RegisterUsers" {
			return fmt.Errorf("insert: %w", context.DeadlineExceeded)
		}
		return nil
	}))
	_, err := i.importLines(line("a"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "set a smaller BatchSize")
}

func TestAnImportThatTheCallerCancelsDoesNotNameBatchSize(t *testing.T) {
	t.Parallel()
	i := newImporting(t, withFaults(func(method string) error {
		if method == "RegisterUsers" {
			return authtest.ErrHang
		}
		return nil
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := i.svc.ImportUsers(ctx, authtest.ByHost, strings.NewReader(line("a")), auth.ImportOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "adding the users")
	require.NotContains(t, err.Error(), "BatchSize")
}

func TestAnImportBatchThatAddsNoUserIsNotAnEvent(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	for range 3 {
		_, err := i.importLines(line("a"), "{}")
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(i.log.String(), "auth: user.imported"))
}

func TestAnImportBatchIsLimitedByItsBytes(t *testing.T) {
	t.Parallel()
	i := newImporting(t)
	const length = 1 << 20 // each line is too long
	lines := io.LimitReader(readerFunc(func(p []byte) (int, error) {
		for at := range p {
			p[at] = ' '
		}
		p[0] = '\n'
		return len(p), nil
	}), 200*length)
	_, err := i.svc.ImportUsers(t.Context(), authtest.ByHost, lines, i.options())
	require.NoError(t, err)
	reports := i.progress.Take()
	require.Greater(t, len(reports), 2)
	require.Less(t, reports[0].Bytes, int64(66*length))
}
