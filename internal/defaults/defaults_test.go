package defaults_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-go/auth/internal/defaults"
)

func TestMissingPartsAreFilledIn(t *testing.T) {
	t.Parallel()
	fixed := time.Unix(1, 0)
	require.Equal(t, fixed, defaults.Now(func() time.Time { return fixed })())
	require.WithinDuration(t, time.Now(), defaults.Now(nil)(), time.Minute)
	logger := slog.New(slog.DiscardHandler)
	require.Same(t, logger, defaults.Logger(logger))
	require.Same(t, slog.Default(), defaults.Logger(nil))
}

func TestNilInsideAnInterfaceIsFound(t *testing.T) {
	t.Parallel()
	var pointer *int
	var function func()
	var list []int
	var table map[int]int
	var channel chan int
	for _, v := range []any{nil, pointer, function, list, table, channel} {
		require.True(t, defaults.IsNil(v), "%T", v)
	}
	for _, v := range []any{0, "", new(int), func() {}, []int{}, map[int]int{}, struct{}{}} {
		require.False(t, defaults.IsNil(v), "%T", v)
	}
}
